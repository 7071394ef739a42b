//! One attempt on both real machines: each answer of a member that the vectors show is held against them before it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{Accumulator, EncodedUpdate, MaskedUpdate, MemberIndex};
use consort_contract::IdentitySecret;
use consort_round::coordinator::{Accepted, Input, Opening, Round};
use consort_round::messages::{RoundKeyJudge, RoundKeys, member_set_hash};
use consort_round::participant::{Answer, Expectations, Member, Surroundings};
use consort_round::{
    Deadlines, Directive, MemberMessage, Millis, RoundOpen, RoundResult, UnmaskShares,
};
use serde_json::Value;

use crate::answers::{array, at, bytes, digest, list};
use crate::replay::Replay;
use crate::{about, announced, by_member, member, read_by_member, signature};

/// What decides what a member says: its secrets, in the order in which it draws them, and its vector.
pub struct Given {
    pub identity_seed: [u8; 32],
    pub evidence: Vec<u8>,
    pub ledger_sequence: u64,
    /// Its two keys, its self-mask secret, and the coefficients that hide its mask key and its self-mask secret.
    pub scalars: Vec<[u8; 32]>,
    /// None of a member that does not submit.
    pub integers: Option<Vec<i64>>,
}

/// The files of an attempt.
pub struct Files {
    pub opened: Value,
    pub keys: Value,
    pub sharing: Value,
    pub updates: Value,
    pub opening: Value,
}

/// Accepts exactly the evidence that the member gives, for exactly the attempt of the vectors.
struct Judge {
    opened: Value,
    evidence: BTreeMap<String, Vec<u8>>,
}

impl RoundKeyJudge for Judge {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        assert_eq!(keys.announcement, digest(&self.opened, "/announcement"));
        match self.evidence.get(keys.organisation.as_str()) {
            Some(given) if given == evidence => Ok(()),
            _ => Err("wrong_evidence".into()),
        }
    }
}

struct Participant {
    state: Option<Member>,
    identity: IdentitySecret,
    rng: Replay,
}

/// Who speaks in which phase.
pub struct Phases {
    pub u1: BTreeSet<MemberIndex>,
    pub u2: BTreeSet<MemberIndex>,
    pub u3: BTreeSet<MemberIndex>,
    /// Those of U3 that confirm and answer.
    pub confirming: BTreeSet<MemberIndex>,
}

/// The whole attempt.
pub struct Scene {
    pub files: Files,
    pub open: RoundOpen,
    coordinator: IdentitySecret,
    judge: Judge,
    given: BTreeMap<MemberIndex, Given>,
    participants: BTreeMap<MemberIndex, Participant>,
    round: Option<Round>,
    uploads: BTreeMap<MemberIndex, MaskedUpdate>,
}

const DEADLINES: Deadlines = Deadlines {
    joining_ms: 1,
    sharing_ms: 1,
    collecting_ms: 1,
    confirming_ms: 1,
    unmasking_ms: 1,
};

impl Scene {
    pub fn new(files: Files, given: BTreeMap<MemberIndex, Given>) -> Self {
        let open = announced(&files.opened);
        let name = |own: &MemberIndex| open.terms.cohort[own].organisation.to_string();
        let evidence = given
            .iter()
            .map(|(own, it)| (name(own), it.evidence.clone()));
        let judge = Judge {
            opened: files.opened.clone(),
            evidence: evidence.collect(),
        };
        let round = Round::open(Arc::new(open.clone()), DEADLINES, Millis::default());
        Self {
            coordinator: IdentitySecret::from_seed(&array(&files.opened, "/coordinator_seed")),
            judge,
            participants: BTreeMap::new(),
            round: Some(round),
            uploads: BTreeMap::new(),
            open,
            given,
            files,
        }
    }

    /// P0 to P7 with these members in each phase; whoever else is asked is silent.
    pub fn run(&mut self, phases: &Phases) {
        phases.u1.iter().for_each(|own| self.join(*own));
        self.reach("sharing");
        phases.u2.iter().for_each(|own| self.share(*own));
        self.reach("collecting");
        phases.u3.iter().for_each(|own| self.submit(*own));
        self.reach("collected");
        self.announce_survivors(&phases.u3);
        assert_eq!(self.phase(), "confirming");
        phases.confirming.iter().for_each(|own| self.confirm(*own));
        self.reach("unmasking");
        let answers: Vec<_> = phases
            .confirming
            .iter()
            .map(|own| self.unmask(*own))
            .collect();
        for answer in answers {
            // The round is open as soon as enough have answered.
            if self.phase() == "unmasking" {
                self.feed(Input::Unmask(answer));
            }
        }
        self.release(&phases.u3);
    }

    /// Whoever the phase still waits for is silent until its deadline.
    fn reach(&mut self, phase: &str) {
        if self.wants_survivors() {
            return assert_eq!(phase, "collected");
        }
        if self.phase() != phase {
            let round = self.round.take().unwrap();
            let ends = round.deadline().unwrap();
            self.round = Some(round.handle(Input::Tick, ends).round);
        }
        assert!(self.phase() == phase || self.wants_survivors(), "{phase}");
    }

    fn wants_survivors(&self) -> bool {
        self.round.as_ref().unwrap().survivors_wanted().is_some()
    }

    fn release(&mut self, u3: &BTreeSet<MemberIndex>) {
        let opening = self.opened();
        let said = &self.files.opening;
        assert_eq!(opening.context, digest(&self.files.opened, "/ctx"));
        let mut sum = Accumulator::new(self.open.terms.schema);
        for masked in self.uploads.values() {
            let wire: Vec<u8> = masked.chunks().flat_map(|(_, c)| c.to_vec()).collect();
            sum.add_packed(&wire).unwrap();
        }
        sum.subtract_masks(&opening.masks);
        let sum = sum.finish();
        let expected: Vec<i64> = serde_json::from_value(at(said, "/sum").clone()).unwrap();
        assert_eq!(sum.values(), expected);
        assert_eq!(sum.to_packed(), bytes(said, "/packed_sum"));
        assert_eq!(sum.digest(), digest(said, "/sum_digest"));
        let result = RoundResult::new(opening.context, u3.clone(), sum.digest(), &self.coordinator);
        assert_eq!(result.signature, signature(said, "/result/signature"));
    }

    fn opened(&mut self) -> Opening {
        match self.round.take() {
            Some(Round::Opened(opening)) => opening,
            _ => panic!("as many answered as shares open a secret"),
        }
    }

    fn feed(&mut self, input: Input) {
        let transition = self.round.take().unwrap().handle(input, Millis::default());
        assert_eq!(transition.outcome, Ok(Accepted::New));
        self.round = Some(transition.round);
    }

    fn phase(&self) -> &'static str {
        self.round.as_ref().unwrap().phase()
    }

    fn join(&mut self, own: MemberIndex) {
        let given = &self.given[&own];
        let mut participant = Participant {
            state: None,
            identity: IdentitySecret::from_seed(&given.identity_seed),
            rng: Replay::new(given.scalars.iter().copied()),
        };
        let terms = self.open.terms.clone();
        let expected = Expectations {
            organisation: terms.cohort[&own].organisation.clone(),
            consortium: terms.consortium,
            job: terms.job,
            contract: terms.contract,
            votes: terms.votes,
            roster_root: terms.roster_root,
            cohort: terms.cohort,
            thresholds: terms.thresholds,
            schema: terms.schema,
            rounds: 3,
            newest_answered: Some((2, 2)),
            ledger_sequence: given.ledger_sequence,
            model: terms.model,
        };
        let (state, advert) = Member::join(
            &self.open,
            &expected,
            &mut |_| Ok(given.evidence.clone()),
            &mut Surroundings {
                identity: &participant.identity,
                coordinator: &self.coordinator.public(),
                judge: &self.judge,
                rng: &mut participant.rng,
            },
        )
        .unwrap();
        if let Some(said) = about(&self.files.keys, "/adverts", own) {
            assert_eq!(advert.mask_key.to_bytes(), array(said, "/mask_key"));
            assert_eq!(advert.share_key.to_bytes(), array(said, "/share_key"));
            assert_eq!(advert.signature, signature(said, "/signature"));
        }
        participant.state = Some(state);
        self.participants.insert(own, participant);
        let verified = advert.verify(&self.open, &self.judge).unwrap();
        self.feed(Input::Advertise(verified));
    }

    /// What the coordinator asks of the member now.
    fn directive(&self, own: MemberIndex) -> Directive {
        self.round.as_ref().unwrap().directive(own).unwrap()
    }

    /// What the member answers to what the coordinator asks it now.
    fn answer(&mut self, own: MemberIndex) -> Answer {
        let directive = self.directive(own);
        self.tell(own, &directive)
    }

    fn tell(&mut self, own: MemberIndex, directive: &Directive) -> Answer {
        let participant = self.participants.get_mut(&own).unwrap();
        let transition = participant.state.take().unwrap().handle(
            directive,
            &mut Surroundings {
                identity: &participant.identity,
                coordinator: &self.coordinator.public(),
                judge: &self.judge,
                rng: &mut participant.rng,
            },
        );
        participant.state = Some(transition.member);
        transition.outcome.unwrap()
    }

    fn share(&mut self, own: MemberIndex) {
        let Answer::Send(MemberMessage::ShareKeys(message)) = self.answer(own) else {
            panic!("the key list is answered with shares");
        };
        let statement = &message.statement;
        if let Some(said) = about(&self.files.sharing, "/statements", own) {
            let commitments = [&statement.mask_key, &statement.self_mask];
            for (made, name) in commitments.iter().zip(["mask_key", "self_mask"]) {
                let commitments = bytes(said, &format!("/{name}_commitments"));
                assert_eq!(made.to_bytes(), commitments);
            }
            let boxes = by_member(message.sealed.clone());
            assert_eq!(boxes, read_by_member(said, "/boxes"));
            assert_eq!(statement.signature, signature(said, "/signature"));
        }
        assert!(self.participants[&own].rng.is_used_up());
        self.feed(Input::ShareKeys(message));
    }

    fn submit(&mut self, own: MemberIndex) {
        assert_eq!(self.answer(own), Answer::Submit);
        let integers = self.given[&own].integers.as_ref().unwrap();
        let update = EncodedUpdate::from_integers(integers, self.open.terms.schema).unwrap();
        let participant = self.participants.get_mut(&own).unwrap();
        let state = participant.state.take().unwrap();
        let (state, masked, seal) = state.submit(update, &participant.identity).unwrap();
        participant.state = Some(state);
        if let Some(said) = about(&self.files.updates, "/updates", own) {
            let wire: Vec<u8> = masked.chunks().flat_map(|(_, c)| c.to_vec()).collect();
            assert_eq!(wire, bytes(said, "/masked"));
            assert_eq!(seal.tree_hash, digest(said, "/tree_hash"));
            assert_eq!(seal.signature, signature(said, "/signature"));
        }
        self.uploads.insert(own, masked);
        self.feed(Input::Seal(seal));
    }

    fn announce_survivors(&mut self, u3: &BTreeSet<MemberIndex>) {
        let wanted = self.round.as_ref().unwrap().survivors_wanted().unwrap();
        let survivors = wanted.announce(&self.coordinator);
        assert_eq!(survivors.members, *u3);
        assert_eq!(member_set_hash(u3), digest(&self.files.opening, "/u3_hash"));
        assert_eq!(
            survivors.inputs_root,
            digest(&self.files.opening, "/inputs_root")
        );
        let said = signature(&self.files.opening, "/survivors/signature");
        assert_eq!(survivors.signature, said);
        self.feed(Input::AnnounceSurvivors(survivors));
    }

    fn confirm(&mut self, own: MemberIndex) {
        let Answer::Send(MemberMessage::Confirmation(confirmation)) = self.answer(own) else {
            panic!("the survivors are answered with a confirmation");
        };
        if let Some(said) = about(&self.files.opening, "/confirmations", own) {
            assert_eq!(confirmation.signature, signature(said, "/signature"));
        }
        self.feed(Input::Confirm(confirmation));
    }

    /// On a circle: the seals of the neighbours that did not confirm, which come with the confirmations.
    fn told_seals(&self, own: MemberIndex) {
        let Directive::Unmask(told) = self.directive(own) else {
            panic!("the confirmations are told");
        };
        let seals = told
            .seals
            .iter()
            .map(|seal| (seal.member, (seal.tree_hash, seal.signature)));
        let seals: BTreeMap<_, _> = seals.collect();
        let Some(said) = self.files.opening.pointer("/seals") else {
            return assert!(seals.is_empty());
        };
        let said = list(said, "").iter();
        for said in said.filter(|said| member(said, "/told") == own) {
            let said = list(said, "/seals").iter();
            let said = said.map(|seal| {
                let sealed = (digest(seal, "/tree_hash"), signature(seal, "/signature"));
                (member(seal, "/member"), sealed)
            });
            assert_eq!(seals, said.collect());
        }
    }

    fn unmask(&mut self, own: MemberIndex) -> UnmaskShares {
        self.told_seals(own);
        let Answer::Send(MemberMessage::Unmask(answer)) = self.answer(own) else {
            panic!("the confirmations are answered with shares");
        };
        let Some(said) = about(&self.files.opening, "/answers", own) else {
            return answer;
        };
        for (shares, name) in [
            (&answer.shares.self_mask, "/self_mask"),
            (&answer.shares.mask_key, "/mask_key"),
        ] {
            let shares = shares.iter().map(|(m, s)| (*m, *s.to_bytes()));
            assert_eq!(by_member(shares), read_by_member(said, name));
        }
        assert_eq!(answer.signature, signature(said, "/signature"));
        answer
    }
}
