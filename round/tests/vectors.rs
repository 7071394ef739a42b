//! Both machines against the published vectors: members that draw the reference's scalars say, byte for byte, what the
//! reference says, and the coordinator that hears them comes to the reference's sum.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

#[path = "../../vectors/rust/answers.rs"]
mod answers;
#[path = "../../vectors/rust/replay.rs"]
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use answers::{array, at, bytes, digest, list, number, read, small, text};
use consort_aggregation::{
    Accumulator, Digest, EncodedUpdate, MaskedUpdate, MemberIndex, PublicKey, VectorSchema, Width,
};
use consort_contract::{
    ConsortiumId, IdentityKey, IdentitySecret, JobId, OrganisationId, Signature, Thresholds,
};
use consort_round::blame::{Blame, Proceedings};
use consort_round::coordinator::{Accepted, Input, Round};
use consort_round::messages::{RoundKeyJudge, RoundKeys, SharedSet, keys_context, member_set_hash};
use consort_round::participant::{Answer, Expectations, Member, Surroundings};
use consort_round::{
    AdvertHead, Attempt, CohortMember, Deadlines, Directive, MemberMessage, Millis, RoundNumber,
    RoundOpen, RoundResult, RoundTerms, UnmaskShares,
};
use replay::Replay;
use serde_json::Value;

const CONTEXT: &str = include_str!("../../vectors/secure-aggregation/context.json");
const SPARSE: &str = include_str!("../../vectors/secure-aggregation/context_sparse.json");
const KEYS: &str = include_str!("../../vectors/secure-aggregation/keys.json");
const SHARING: &str = include_str!("../../vectors/secure-aggregation/sharing.json");
const UPDATES: &str = include_str!("../../vectors/secure-aggregation/updates.json");
const OPENING: &str = include_str!("../../vectors/secure-aggregation/opening.json");
const BLAME: &str = include_str!("../../vectors/secure-aggregation/blame.json");

fn member(value: &Value, place: &str) -> MemberIndex {
    MemberIndex::new(small(value, place)).unwrap()
}

fn members(value: &Value, place: &str) -> BTreeSet<MemberIndex> {
    list(value, place).iter().map(|m| member(m, "")).collect()
}

/// The entry of a list that is about this member.
fn about<'a>(value: &'a Value, place: &str, member: MemberIndex) -> &'a Value {
    let mut entries = list(value, place).iter();
    entries
        .find(|entry| number(entry, "/member") == u64::from(member.get()))
        .unwrap_or_else(|| panic!("{place} has nothing of member {member}"))
}

fn signature(value: &Value, place: &str) -> Signature {
    Signature(array(value, place))
}

/// A map from members to hexadecimal text, as both sides can be compared.
fn by_member<B: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (MemberIndex, B)>,
) -> BTreeMap<MemberIndex, Vec<u8>> {
    let entries = entries.into_iter();
    entries.map(|(m, b)| (m, b.as_ref().to_vec())).collect()
}

fn read_by_member(value: &Value, place: &str) -> BTreeMap<MemberIndex, Vec<u8>> {
    let entries = at(value, place).as_object().unwrap().iter();
    by_member(entries.map(|(name, entry)| {
        let member = MemberIndex::new(name.parse().unwrap()).unwrap();
        (member, bytes(entry, ""))
    }))
}

fn terms(opened: &Value) -> RoundTerms {
    let terms = at(opened, "/terms");
    let asked = |name: &str| small(terms, &format!("/thresholds/{name}"));
    let cohort = list(terms, "/cohort").iter().map(|entry| {
        let organisation = OrganisationId::new(text(entry, "/organisation")).unwrap();
        let identity = IdentityKey::from_slice(&bytes(entry, "/identity")).unwrap();
        let cohort_member = CohortMember {
            organisation,
            identity,
        };
        (member(entry, "/index"), cohort_member)
    });
    let width = Width::new(small(terms, "/width")).unwrap();
    RoundTerms {
        consortium: ConsortiumId::new(text(terms, "/consortium")).unwrap(),
        job: JobId::new(text(terms, "/job")).unwrap(),
        round: RoundNumber(small(terms, "/round")),
        attempt: Attempt(small(terms, "/attempt")),
        cohort: cohort.collect(),
        thresholds: Thresholds::new(asked("n"), Some(asked("c")), Some(asked("n_min"))).unwrap(),
        roster_root: digest(terms, "/roster_root"),
        contract: digest(terms, "/contract"),
        votes: digest(terms, "/votes"),
        model: digest(terms, "/model"),
        schema: VectorSchema::new(number(terms, "/elements"), width).unwrap(),
        log_head: digest(terms, "/log_head"),
    }
}

fn announced(opened: &Value) -> RoundOpen {
    let coordinator = IdentitySecret::from_seed(&array(opened, "/coordinator_seed"));
    RoundOpen::new(terms(opened), &coordinator)
}

#[test]
fn the_announcements_of_a_complete_and_of_a_sparse_round_are_those_of_the_reference() {
    for file in [CONTEXT, SPARSE] {
        let opened = read(file);
        let open = announced(&opened);
        assert_eq!(open.terms.context(), digest(&opened, "/ctx"));
        assert_eq!(open.signature, signature(&opened, "/open/signature"));
        assert_eq!(open.announcement(), digest(&opened, "/announcement"));
    }
    assert!(terms(&read(CONTEXT)).thresholds.circle().is_none());
    assert!(terms(&read(SPARSE)).thresholds.circle().is_some());
}

#[test]
fn the_hashes_of_member_sets_are_those_of_the_reference() {
    for set in list(&read(KEYS), "/member_sets") {
        let hash = member_set_hash(&members(set, "/members"));
        assert_eq!(hash, digest(set, "/hash"), "{set}");
    }
}

/// Accepts exactly the evidence of the vectors, for exactly the keys that they advertise.
struct Judge {
    opened: Value,
    keys: Value,
}

impl RoundKeyJudge for Judge {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        assert_eq!(keys.announcement, digest(&self.opened, "/announcement"));
        let adverts = list(&self.keys, "/adverts").iter();
        let mut named = adverts.filter(|advert| bytes(advert, "/mask_key") == keys.mask_key);
        match named.next() {
            Some(advert) if bytes(advert, "/evidence") == evidence => Ok(()),
            _ => Err("wrong_evidence".into()),
        }
    }
}

/// The scalars that a member draws, in the order in which it draws them: its two keys, its self-mask secret, and the
/// coefficients that hide its mask key and its self-mask secret.
fn draws(keys: &Value, sharing: &Value, own: MemberIndex) -> Replay {
    let advert = about(keys, "/adverts", own);
    let mut scalars: Vec<[u8; 32]> = ["/mask_secret", "/share_secret"]
        .map(|name| array(advert, name))
        .to_vec();
    let shared = list(sharing, "/statements").iter();
    let mut shared = shared.filter(|s| member(s, "/member") == own);
    if let Some(statement) = shared.next() {
        let mask_key = list(statement, "/mask_key_coefficients").iter();
        let self_mask = list(statement, "/self_mask_coefficients").iter();
        let self_mask: Vec<[u8; 32]> = self_mask.map(|a| array(a, "")).collect();
        scalars.push(self_mask[0]);
        scalars.extend(mask_key.skip(1).map(|a| array::<32>(a, "")));
        scalars.extend(&self_mask[1..]);
    }
    Replay::new(scalars)
}

struct Participant {
    state: Option<Member>,
    identity: IdentitySecret,
    rng: Replay,
}

/// The whole attempt: each answer is held against the vectors before it goes on.
struct Scene {
    opened: Value,
    keys: Value,
    sharing: Value,
    updates: Value,
    opening: Value,
    coordinator: IdentitySecret,
    open: RoundOpen,
    judge: Judge,
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
    fn new() -> Self {
        let (opened, keys) = (read(CONTEXT), read(KEYS));
        let open = announced(&opened);
        Self {
            sharing: read(SHARING),
            updates: read(UPDATES),
            opening: read(OPENING),
            coordinator: IdentitySecret::from_seed(&array(&opened, "/coordinator_seed")),
            judge: Judge {
                opened: opened.clone(),
                keys: keys.clone(),
            },
            participants: BTreeMap::new(),
            round: Some(Round::open(
                Arc::new(open.clone()),
                DEADLINES,
                Millis::default(),
            )),
            uploads: BTreeMap::new(),
            open,
            opened,
            keys,
        }
    }

    fn feed(&mut self, input: Input) {
        let transition = self.round.take().unwrap().handle(input, Millis::default());
        assert_eq!(transition.outcome, Ok(Accepted::New));
        self.round = Some(transition.round);
    }

    /// Whoever the phase still waits for is silent.
    fn deadline(&mut self) {
        let round = self.round.take().unwrap();
        let ends = round.deadline().unwrap();
        self.round = Some(round.handle(Input::Tick, ends).round);
    }

    fn phase(&self) -> &'static str {
        self.round.as_ref().unwrap().phase()
    }

    fn join(&mut self, own: MemberIndex) {
        let said = about(&self.keys, "/adverts", own);
        let mut participant = Participant {
            state: None,
            identity: IdentitySecret::from_seed(&array(said, "/identity_seed")),
            rng: draws(&self.keys, &self.sharing, own),
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
            ledger_sequence: number(said, "/ledger_sequence"),
            model: terms.model,
        };
        let (state, advert) = Member::join(
            &self.open,
            &expected,
            &mut |_| Ok(bytes(said, "/evidence")),
            &mut Surroundings {
                identity: &participant.identity,
                coordinator: &self.coordinator.public(),
                judge: &self.judge,
                rng: &mut participant.rng,
            },
        )
        .unwrap();
        assert_eq!(advert.mask_key.to_bytes(), array(said, "/mask_key"));
        assert_eq!(advert.share_key.to_bytes(), array(said, "/share_key"));
        assert_eq!(advert.signature, signature(said, "/signature"));
        participant.state = Some(state);
        self.participants.insert(own, participant);
        let verified = advert.verify(&self.open, &self.judge).unwrap();
        self.feed(Input::Advertise(verified));
    }

    /// What the member answers to what the coordinator asks it now.
    fn answer(&mut self, own: MemberIndex) -> Answer {
        let directive = self.round.as_ref().unwrap().directive(own).unwrap();
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
        let said = about(&self.sharing, "/statements", own);
        let statement = &message.statement;
        let commitments = [&statement.mask_key, &statement.self_mask];
        for (made, name) in commitments.iter().zip(["mask_key", "self_mask"]) {
            assert_eq!(
                made.to_bytes(),
                bytes(said, &format!("/{name}_commitments"))
            );
        }
        assert_eq!(
            by_member(message.sealed.clone()),
            read_by_member(said, "/boxes")
        );
        assert_eq!(statement.signature, signature(said, "/signature"));
        assert!(self.participants[&own].rng.is_used_up());
        self.feed(Input::ShareKeys(message));
    }

    fn submit(&mut self, own: MemberIndex) {
        assert_eq!(self.answer(own), Answer::Submit);
        let said = about(&self.updates, "/updates", own);
        let integers: Vec<i64> = serde_json::from_value(at(said, "/integers").clone()).unwrap();
        let update = EncodedUpdate::from_integers(&integers, self.open.terms.schema).unwrap();
        let participant = self.participants.get_mut(&own).unwrap();
        let state = participant.state.take().unwrap();
        let (state, masked, seal) = state.submit(update, &participant.identity).unwrap();
        participant.state = Some(state);
        let wire: Vec<u8> = masked.chunks().flat_map(|(_, c)| c.to_vec()).collect();
        assert_eq!(wire, bytes(said, "/masked"));
        assert_eq!(seal.tree_hash, digest(said, "/tree_hash"));
        assert_eq!(seal.signature, signature(said, "/signature"));
        self.uploads.insert(own, masked);
        self.feed(Input::Seal(seal));
    }

    fn announce_survivors(&mut self) {
        let wanted = self.round.as_ref().unwrap().survivors_wanted().unwrap();
        let survivors = wanted.announce(&self.coordinator);
        assert_eq!(survivors.members, members(&self.opening, "/u3"));
        assert_eq!(survivors.inputs_root, digest(&self.opening, "/inputs_root"));
        let said = signature(&self.opening, "/survivors/signature");
        assert_eq!(survivors.signature, said);
        self.feed(Input::AnnounceSurvivors(survivors));
    }

    fn confirm(&mut self, own: MemberIndex) {
        let Answer::Send(MemberMessage::Confirmation(confirmation)) = self.answer(own) else {
            panic!("the survivors are answered with a confirmation");
        };
        let said = about(&self.opening, "/confirmations", own);
        assert_eq!(confirmation.signature, signature(said, "/signature"));
        self.feed(Input::Confirm(confirmation));
    }

    fn unmask(&mut self, own: MemberIndex) -> UnmaskShares {
        let Answer::Send(MemberMessage::Unmask(answer)) = self.answer(own) else {
            panic!("the confirmations are answered with shares");
        };
        let said = about(&self.opening, "/answers", own);
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

#[test]
fn a_round_among_members_with_the_scalars_of_the_reference_is_that_of_the_reference() {
    let mut scene = Scene::new();
    let joining = list(&scene.keys, "/adverts").iter();
    let u1: BTreeSet<_> = joining.map(|a| member(a, "/member")).collect();
    let u2 = members(&scene.updates, "/u2");
    let u3 = members(&scene.opening, "/u3");
    assert!(u3.is_subset(&u2) && u2.is_subset(&u1) && u3.len() < u2.len() && u2.len() < u1.len());

    u1.iter().for_each(|own| scene.join(*own));
    scene.deadline();
    assert_eq!(scene.phase(), "sharing");
    u2.iter().for_each(|own| scene.share(*own));
    scene.deadline();
    assert_eq!(scene.phase(), "collecting");
    u3.iter().for_each(|own| scene.submit(*own));
    scene.deadline();
    scene.announce_survivors();
    assert_eq!(scene.phase(), "confirming");
    u3.iter().for_each(|own| scene.confirm(*own));
    assert_eq!(scene.phase(), "unmasking");
    let answers: Vec<_> = u3.iter().map(|own| scene.unmask(*own)).collect();
    let enough: usize = small(&scene.sharing, "/threshold");
    assert!(enough < answers.len());
    for answer in answers.into_iter().take(enough) {
        scene.feed(Input::Unmask(answer));
    }

    let Some(Round::Opened(opening)) = scene.round.take() else {
        panic!("as many answered as shares open a secret");
    };
    assert_eq!(opening.context, digest(&scene.opened, "/ctx"));
    let mut sum = Accumulator::new(scene.open.terms.schema);
    for masked in scene.uploads.values() {
        let wire: Vec<u8> = masked.chunks().flat_map(|(_, c)| c.to_vec()).collect();
        sum.add_packed(&wire).unwrap();
    }
    sum.subtract_masks(&opening.masks);
    let sum = sum.finish();
    let expected: Vec<i64> = serde_json::from_value(at(&scene.opening, "/sum").clone()).unwrap();
    assert_eq!(sum.values(), expected);
    assert_eq!(sum.to_packed(), bytes(&scene.opening, "/packed_sum"));
    assert_eq!(sum.digest(), digest(&scene.opening, "/sum_digest"));
    let result = RoundResult::new(opening.context, u3, sum.digest(), &scene.coordinator);
    let said = signature(&scene.opening, "/result/signature");
    assert_eq!(result.signature, said);
}

#[test]
fn the_root_over_the_statements_of_u2_is_that_of_the_reference() {
    let sharing = read(SHARING);
    let statements = list(&sharing, "/statements").iter().map(|said| {
        let signed = Digest::of(&bytes(said, "/bytes"));
        (member(said, "/member"), signed)
    });
    let u2: SharedSet = statements.collect();
    for (file, place) in [
        (SHARING, "/u2_root"),
        (UPDATES, "/u2_root"),
        (OPENING, "/u2_root"),
    ] {
        assert_eq!(u2.root(), digest(&read(file), place));
    }
}

#[test]
fn the_context_of_the_keys_is_that_of_the_reference() {
    let scene = Scene::new();
    let adverts = list(&scene.keys, "/adverts").iter().map(|said| {
        let own = member(said, "/member");
        let key = |name| PublicKey::from_bytes(array(said, name)).unwrap();
        let advert = consort_round::Advert {
            member: own,
            mask_key: key("/mask_key"),
            share_key: key("/share_key"),
            evidence: bytes(said, "/evidence"),
            ledger_sequence: number(said, "/ledger_sequence"),
            signature: signature(said, "/signature"),
        };
        (own, advert.verify(&scene.open, &scene.judge).unwrap())
    });
    let context2 = keys_context(&scene.open.terms.context(), &adverts.collect());
    assert_eq!(*context2.digest(), digest(&scene.keys, "/ctx2"));
}

#[test]
fn each_record_of_the_reference_convicts_its_culprit_and_is_written_as_the_reference_writes_it() {
    let scene = Scene::new();
    let heads = list(&scene.keys, "/adverts").iter().map(|said| {
        let key = |name| PublicKey::from_bytes(array(said, name)).unwrap();
        let head = AdvertHead {
            member: member(said, "/member"),
            mask_key: key("/mask_key"),
            share_key: key("/share_key"),
            evidence: Digest::of(&bytes(said, "/evidence")),
            ledger_sequence: number(said, "/ledger_sequence"),
            signature: signature(said, "/signature"),
        };
        (head.member, head)
    });
    let proceedings = Proceedings::new(&scene.open.terms, heads.collect());
    let blame = read(BLAME);
    let records = list(&blame, "/records");
    assert_eq!(records.len(), 4);
    for record in records {
        let encoded = bytes(record, "/record");
        let read = Blame::decode(&encoded).unwrap();
        assert_eq!(read.verify(&proceedings), Ok(member(record, "/culprit")));
        assert_eq!(read.encode(), encoded);
    }
}
