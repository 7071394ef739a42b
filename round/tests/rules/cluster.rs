//! A whole cohort in one process: the coordinator's machine and each member's, with chosen integer updates, so that the
//! sum can be asserted bit for bit. Every random choice comes from one printed seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{
    Accumulator, AggregateSum, Digest, EncodedUpdate, MaskedUpdate, MemberIndex, RoundKeyContext,
    VectorSchema, Width,
};
use consort_contract::{ConsortiumId, IdentitySecret, JobId, OrganisationId, Thresholds};
use consort_round::coordinator::{Accepted, Input, Opening, Round};
use consort_round::messages::{
    ConfirmedSets, RoundKeyJudge, RoundKeys, SharedSet, keys_context, member_set_hash,
};
use consort_round::participant::{Answer, Expectations, Member, Surroundings};
use consort_round::{
    Attempt, CohortMember, Deadlines, Directive, MemberMessage, Millis, Rejection, RoundNumber,
    RoundOpen, RoundTerms, UnmaskShares, UpdateSeal,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Evidence in these tests is the announcement and the keys themselves: good if and only if it is about them.
pub struct Judge;

impl RoundKeyJudge for Judge {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        if evidence == evidence_of(keys) {
            Ok(())
        } else {
            Err("wrong_evidence".into())
        }
    }
}

pub fn evidence_of(keys: &RoundKeys) -> Vec<u8> {
    [
        keys.announcement.as_bytes().as_slice(),
        &keys.mask_key,
        &keys.share_key,
        keys.organisation.as_str().as_bytes(),
    ]
    .concat()
}

pub fn index(i: u32) -> MemberIndex {
    MemberIndex::new(i).unwrap()
}

pub const WIDTH_BITS: u8 = 40;
pub const ELEMENTS: u64 = 5;

pub const DEADLINES: Deadlines = Deadlines {
    joining_ms: 100,
    sharing_ms: 100,
    collecting_ms: 100,
    confirming_ms: 100,
    unmasking_ms: 100,
};

pub struct Cluster {
    pub rng: ChaCha20Rng,
    pub coordinator: IdentitySecret,
    pub identities: BTreeMap<MemberIndex, IdentitySecret>,
    pub open: Arc<RoundOpen>,
    pub round: Option<Round>,
    pub members: BTreeMap<MemberIndex, Member>,
    pub uploads: BTreeMap<MemberIndex, MaskedUpdate>,
    /// What each member has on its disk: the newest (round, attempt) it answered.
    pub answered: BTreeMap<MemberIndex, (u32, u32)>,
    /// Accepted inputs, in order: what a driver stores.
    pub stored: Vec<Input>,
    pub now: Millis,
}

impl Cluster {
    pub fn new(n: u32, colluders: Option<u32>, minimum: Option<u32>, seed: u64) -> Self {
        println!("seed {seed}");
        Self::quiet(n, colluders, minimum, seed)
    }

    /// As [`Cluster::new`], for who runs thousands of them and prints its own seeds.
    pub fn quiet(n: u32, colluders: Option<u32>, minimum: Option<u32>, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let coordinator = IdentitySecret::random(&mut rng);
        let identities: BTreeMap<_, _> = (1..=n)
            .map(|i| (index(i), IdentitySecret::random(&mut rng)))
            .collect();
        let cohort = identities.iter().map(|(i, secret)| {
            let organisation = OrganisationId::new(&format!("clinic-{i}")).unwrap();
            (
                *i,
                CohortMember {
                    organisation,
                    identity: secret.public(),
                },
            )
        });
        let terms = RoundTerms {
            consortium: ConsortiumId::new("tests").unwrap(),
            job: JobId::new("job-1").unwrap(),
            round: RoundNumber(1),
            attempt: Attempt(1),
            cohort: cohort.collect(),
            thresholds: Thresholds::new(n, colluders, minimum).unwrap(),
            roster_root: Digest::of(b"roster"),
            contract: Digest::of(b"contract"),
            votes: Digest::of(b"votes"),
            model: Digest::of(b"model"),
            schema: VectorSchema::new(ELEMENTS, Width::new(WIDTH_BITS).unwrap()).unwrap(),
            log_head: Digest::of(b"log head"),
        };
        let open = Arc::new(RoundOpen::new(terms, &coordinator));
        let round = Some(Round::open(open.clone(), DEADLINES, Millis(0)));
        Self {
            rng,
            coordinator,
            identities,
            open,
            round,
            members: BTreeMap::new(),
            uploads: BTreeMap::new(),
            answered: BTreeMap::new(),
            stored: Vec::new(),
            now: Millis(0),
        }
    }

    pub fn round(&self) -> &Round {
        self.round.as_ref().unwrap()
    }

    pub fn everyone(&self) -> Vec<MemberIndex> {
        self.identities.keys().copied().collect()
    }

    pub fn expectations(&self, member: MemberIndex) -> Expectations {
        let terms = &self.open.terms;
        Expectations {
            consortium: terms.consortium.clone(),
            job: terms.job.clone(),
            organisation: terms.cohort[&member].organisation.clone(),
            contract: terms.contract,
            votes: terms.votes,
            roster_root: terms.roster_root,
            cohort: terms.cohort.clone(),
            thresholds: terms.thresholds,
            schema: terms.schema,
            rounds: 20,
            newest_answered: self.answered.get(&member).copied(),
            ledger_sequence: 0,
            model: terms.model,
        }
    }

    /// Gives the coordinator an input, as a driver would: accepted ones are stored.
    pub fn feed(&mut self, input: Input) -> Result<Accepted, Rejection> {
        let transition = self.round.take().unwrap().handle(input.clone(), self.now);
        self.round = Some(transition.round);
        if transition.outcome == Ok(Accepted::New) {
            self.stored.push(input);
        }
        let wanted = self
            .round()
            .survivors_wanted()
            .map(|phase| phase.announce(&self.coordinator));
        if let Some(survivors) = wanted {
            self.feed(Input::AnnounceSurvivors(survivors))?;
        }
        transition.outcome
    }

    /// What member `i` says to a directive; training is the given vector.
    pub fn answer(
        &mut self,
        member: MemberIndex,
        directive: &Directive,
        update: &[i64],
    ) -> Result<MemberMessage, Rejection> {
        let expected = self.expectations(member);
        let identity = &self.identities[&member];
        let coordinator = self.coordinator.public();
        let mut around = Surroundings {
            identity,
            coordinator: &coordinator,
            judge: &Judge,
            rng: &mut self.rng,
        };
        if let (Directive::Advertise(open), None) = (directive, self.members.get(&member)) {
            let (state, advert) = Member::join(
                open,
                &expected,
                &mut |keys| Ok(evidence_of(keys)),
                &mut around,
            )?;
            self.members.insert(member, state);
            let announced = (open.terms.round.0, open.terms.attempt.0);
            self.answered.insert(member, announced);
            return Ok(MemberMessage::Advert(advert));
        }
        let state = self
            .members
            .remove(&member)
            .ok_or(Rejection::NotAsked(member))?;
        let transition = state.handle(directive, &mut around);
        match transition.outcome {
            Ok(Answer::Send(message)) => {
                self.members.insert(member, transition.member);
                Ok(message)
            }
            Ok(Answer::Submit) => {
                let encoded = EncodedUpdate::from_integers(update, self.open.terms.schema).unwrap();
                let (state, masked, seal) = transition
                    .member
                    .submit(encoded, identity)
                    .map_err(|refused| refused.1)?;
                self.members.insert(member, state);
                self.uploads.insert(member, masked);
                Ok(MemberMessage::Seal(seal))
            }
            Err(rejection) => {
                self.members.insert(member, transition.member);
                Err(rejection)
            }
        }
    }

    pub fn input_of(&self, message: MemberMessage) -> Result<Input, Rejection> {
        Ok(match message {
            MemberMessage::Advert(advert) => Input::Advertise(advert.verify(&self.open, &Judge)?),
            MemberMessage::ShareKeys(shares) => Input::ShareKeys(shares),
            MemberMessage::Seal(seal) => Input::Seal(seal),
            MemberMessage::Confirmation(confirmation) => Input::Confirm(confirmation),
            MemberMessage::Unmask(shares) => Input::Unmask(shares),
        })
    }

    /// Lets the given members answer the current phase once. Silent ones hold it up until [`Cluster::expire`].
    pub fn step(&mut self, members: &[MemberIndex], updates: &BTreeMap<MemberIndex, Vec<i64>>) {
        let directives: Vec<_> = members
            .iter()
            .filter_map(|m| Some((*m, self.round().directive(*m)?)))
            .collect();
        for (member, directive) in directives {
            let message = self
                .answer(member, &directive, &updates[&member])
                .expect("an honest coordinator is answered");
            let input = self.input_of(message).expect("an honest advert verifies");
            // A phase may close early (t answers suffice to unmask): late answers of it are refused and harm nobody.
            let _ = self.feed(input);
        }
    }

    pub fn expire(&mut self) {
        self.now = self.now.after(1_000);
        self.feed(Input::Tick).expect("a tick is never refused");
    }

    /// Runs the round; member m stops answering from phase `stops[m]` on (0 = never advertises, 5 = answers all).
    pub fn run(
        &mut self,
        stops: &BTreeMap<MemberIndex, u32>,
        updates: &BTreeMap<MemberIndex, Vec<i64>>,
    ) {
        for _ in 0..5 {
            let phase = match self.round().phase() {
                "joining" => 0,
                "sharing" => 1,
                "collecting" => 2,
                "confirming" => 3,
                "unmasking" => 4,
                _ => return,
            };
            let before = self.round().phase();
            let alive: Vec<_> = stops
                .iter()
                .filter(|(_, stop)| **stop > phase)
                .map(|(m, _)| *m)
                .collect();
            self.step(&alive, updates);
            if self.round().phase() == before {
                self.expire();
            }
        }
    }

    /// What a driver does with an opening: adds the survivors' uploads, takes the masks away.
    pub fn open_sum(&self) -> AggregateSum {
        let Round::Opened(opening) = self.round() else {
            panic!("the round is {}", self.round().phase())
        };
        open_sum(opening, &self.uploads, self.open.terms.schema)
    }

    pub fn survivors(&self) -> BTreeSet<MemberIndex> {
        match self.round() {
            Round::Opened(opening) => opening.survivors.clone(),
            other => panic!("the round is {}", other.phase()),
        }
    }

    /// ctx2, as every member computes it from the stored adverts.
    pub fn context2(&self) -> RoundKeyContext {
        let adverts = self.stored.iter().filter_map(|input| match input {
            Input::Advertise(advert) => Some((advert.advert().member, advert.clone())),
            _ => None,
        });
        keys_context(&self.open.terms.context(), &adverts.collect())
    }

    /// What the coordinator asks in the unmasking phase, when every survivor stopped before answering it.
    pub fn unmask_directive(&mut self, member: MemberIndex) -> Directive {
        assert_eq!(self.round().phase(), "unmasking");
        self.round().directive(member).unwrap()
    }

    /// Signs changed shares with the member's own key, as a malicious member would.
    pub fn sign_unmask(&self, member: MemberIndex, changed: UnmaskShares) -> UnmaskShares {
        UnmaskShares::sign(
            &self.context2(),
            &self.sets(),
            member,
            changed.shares,
            &self.identities[&member],
        )
    }

    /// What the members sign: the hashes of U2 and, once the survivors are announced, of U3.
    pub fn sets(&self) -> ConfirmedSets {
        let context2 = self.context2();
        let shared = self.stored.iter().filter_map(|input| match input {
            Input::ShareKeys(message) => {
                let statement = &message.statement;
                Some((statement.member, statement.digest(&context2)))
            }
            _ => None,
        });
        let survivors = self.stored.iter().find_map(|input| match input {
            Input::AnnounceSurvivors(survivors) => Some(survivors),
            _ => None,
        });
        ConfirmedSets {
            u2: shared.collect::<SharedSet>().root(),
            u3: survivors.map_or(Digest::of(b"none yet"), |s| member_set_hash(&s.members)),
            inputs_root: survivors.map_or(Digest::of(b"none yet"), |s| s.inputs_root),
            log_head: self.open.terms.log_head,
        }
    }

    /// A seal over something else than what was uploaded, rightly signed by nobody.
    pub fn forged_seal(&self, member: MemberIndex) -> UpdateSeal {
        UpdateSeal {
            member,
            tree_hash: Digest::of(b"other"),
            signature: self.coordinator.sign(b"other"),
        }
    }
}

pub fn open_sum(
    opening: &Opening,
    uploads: &BTreeMap<MemberIndex, MaskedUpdate>,
    schema: VectorSchema,
) -> AggregateSum {
    let mut sum = Accumulator::new(schema);
    for survivor in &opening.survivors {
        let upload = &uploads[survivor];
        assert_eq!(upload.tree_hash(), opening.tree_hashes[survivor]);
        sum.add_packed(
            &upload
                .chunks()
                .flat_map(|(_, chunk)| chunk.to_vec())
                .collect::<Vec<_>>(),
        )
        .unwrap();
    }
    sum.subtract_masks(&opening.masks);
    sum.finish()
}

/// Member i contributes i·1000 + j in coordinate j, with alternating signs.
pub fn updates(members: &[MemberIndex]) -> BTreeMap<MemberIndex, Vec<i64>> {
    let value = |i: u32, j: i64| {
        if i.is_multiple_of(2) {
            i64::from(i) * 1000 + j
        } else {
            -(i64::from(i) * 1000 + j)
        }
    };
    members
        .iter()
        .map(|m| {
            (
                *m,
                (0..ELEMENTS as i64).map(|j| value(m.get(), j)).collect(),
            )
        })
        .collect()
}

pub fn plain_sum(
    updates: &BTreeMap<MemberIndex, Vec<i64>>,
    over: &BTreeSet<MemberIndex>,
) -> Vec<i64> {
    (0..updates.values().map(Vec::len).max().unwrap_or(0))
        .map(|j| over.iter().map(|m| updates[m][j]).sum())
        .collect()
}
