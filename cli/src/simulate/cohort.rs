//! The cohort: the coordinator's machine, every member's machine, and what a driver does between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{Accumulator, Digest, EncodedUpdate, MaskedUpdate, MemberIndex};
use consort_contract::{ConsortiumId, IdentitySecret, JobId, OrganisationId};
use consort_round::coordinator::{Input, Round};
use consort_round::messages::{RoundKeyJudge, RoundKeys};
use consort_round::participant::{Answer, Expectations, Member, Surroundings};
use consort_round::{
    Attempt, CohortMember, Deadlines, Directive, MemberMessage, Millis, RoundNumber, RoundOpen,
    RoundTerms,
};
use indicatif::ProgressBar;
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use rand_core::{RngCore, SeedableRng};

use super::options::Plan;
use crate::failure::Failure;

/// Nobody waits in a simulation: who is silent when the others have answered is lost.
const DEADLINES: Deadlines = Deadlines {
    joining_ms: 1,
    sharing_ms: 1,
    collecting_ms: 1,
    confirming_ms: 1,
    unmasking_ms: 1,
};

/// The phases in which members answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Joining,
    Sharing,
    Collecting,
    Confirming,
    Unmasking,
}

impl Phase {
    pub(crate) const ALL: [Self; 5] = [
        Self::Joining,
        Self::Sharing,
        Self::Collecting,
        Self::Confirming,
        Self::Unmasking,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Sharing => "sharing",
            Self::Collecting => "collecting",
            Self::Confirming => "confirming",
            Self::Unmasking => "unmasking",
        }
    }
}

/// A coordinator and its members.
pub(crate) struct Cohort<'a> {
    plan: &'a Plan,
    coordinator: IdentitySecret,
    open: Arc<RoundOpen>,
    round: Option<Round>,
    seats: BTreeMap<MemberIndex, Seat>,
    now: Millis,
    /// The masked sum of the completed updates.
    sum: Accumulator,
    /// The sum of the same updates without masks.
    expected: Vec<i64>,
    survivors: BTreeSet<MemberIndex>,
}

/// One member's own things.
struct Seat {
    identity: IdentitySecret,
    rng: ChaCha20Rng,
    member: Option<Member>,
}

/// What one member says, and for P4 what it uploaded.
struct Said {
    message: MemberMessage,
    upload: Option<(MaskedUpdate, Vec<i64>)>,
}

impl<'a> Cohort<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
        let coordinator = IdentitySecret::random(&mut rng);
        let seats: BTreeMap<MemberIndex, Seat> = (1..=plan.members)
            .filter_map(MemberIndex::new)
            .map(|index| {
                let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
                // One stream for each member; stream 0 is the coordinator's.
                rng.set_stream(index.get().into());
                let identity = IdentitySecret::random(&mut rng);
                let member = None;
                (
                    index,
                    Seat {
                        identity,
                        rng,
                        member,
                    },
                )
            })
            .collect();
        let open = Arc::new(RoundOpen::new(terms(plan, &seats), &coordinator));
        Self {
            plan,
            round: Some(Round::open(open.clone(), DEADLINES, Millis(0))),
            coordinator,
            open,
            seats,
            now: Millis(0),
            sum: Accumulator::new(plan.schema),
            expected: vec![0; usize::try_from(plan.schema.elements()).unwrap_or(0)],
            survivors: BTreeSet::new(),
        }
    }

    pub(crate) fn round(&self) -> &Round {
        self.round.as_ref().expect("feed puts the round back")
    }

    pub(crate) fn survivors(&self) -> &BTreeSet<MemberIndex> {
        &self.survivors
    }

    /// Lets every living member answer one phase.
    pub(crate) fn run(&mut self, phase: Phase, bar: &ProgressBar) -> Result<(), Failure> {
        let alive: Vec<MemberIndex> = self.seats.keys().copied().collect();
        for several in alive.chunks(self.plan.workers.get()) {
            for (member, said) in self.answers(phase, several)? {
                // The last answers of P6 come when enough are there: they are refused and harm nobody.
                let wanted = self.round().directive(member).is_some();
                if wanted {
                    self.take(member, said)?;
                }
            }
            bar.inc(several.len() as u64);
        }
        if self.round().phase() == phase.name() {
            self.now = self.now.after(2);
            self.feed(Input::Tick)?;
        }
        Ok(())
    }

    /// What several members say, each in a thread of its own.
    fn answers(
        &mut self,
        phase: Phase,
        several: &[MemberIndex],
    ) -> Result<Vec<(MemberIndex, Said)>, Failure> {
        let asked: Vec<(MemberIndex, Directive)> = several
            .iter()
            .filter(|member| {
                phase == Phase::Joining
                    || phase == Phase::Sharing
                    || !self.plan.lost.contains(member)
            })
            .filter_map(|member| Some((*member, self.round().directive(*member)?)))
            .collect();
        let open = &self.open;
        let coordinator = self.coordinator.public();
        let mut seats: BTreeMap<MemberIndex, &mut Seat> = self
            .seats
            .iter_mut()
            .map(|(index, seat)| (*index, seat))
            .collect();
        let (plan, coordinator) = (self.plan, &coordinator);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (index, directive) in asked {
                let Some(seat) = seats.remove(&index) else {
                    continue;
                };
                let answer = move || seat.answer(index, &directive, open, coordinator, plan);
                threads.push((index, scope.spawn(answer)));
            }
            threads
                .into_iter()
                .map(|(index, thread)| {
                    let said = thread
                        .join()
                        .map_err(|_| Failure::failed("simulate_panic", "a member panicked"))??;
                    Ok((index, said))
                })
                .collect()
        })
    }

    /// What a driver does with an answer: checks it in, and counts a completed update.
    fn take(&mut self, member: MemberIndex, said: Said) -> Result<(), Failure> {
        let input = match said.message {
            MemberMessage::Advert(advert) => {
                Input::Advertise(advert.verify(&self.open, &SameProcess).map_err(refused)?)
            }
            MemberMessage::ShareKeys(shares) => Input::ShareKeys(shares),
            MemberMessage::Seal(seal) => Input::Seal(seal),
            MemberMessage::Confirmation(confirmation) => Input::Confirm(confirmation),
            MemberMessage::Unmask(shares) => Input::Unmask(shares),
        };
        self.feed(input)?;
        if let Some((masked, values)) = said.upload {
            let packed: Vec<u8> = masked
                .chunks()
                .flat_map(|(_, chunk)| chunk.iter().copied())
                .collect();
            self.sum
                .add_packed(&packed)
                .map_err(|error| Failure::failed(error.code(), error))?;
            for (sum, value) in self.expected.iter_mut().zip(values) {
                *sum += value;
            }
            self.survivors.insert(member);
        }
        Ok(())
    }

    fn feed(&mut self, input: Input) -> Result<(), Failure> {
        let round = self.round.take().expect("feed puts the round back");
        let transition = round.handle(input, self.now);
        self.round = Some(transition.round);
        transition.outcome.map_err(refused)?;
        let wanted = self.round().survivors_wanted();
        match wanted.map(|phase| phase.announce(&self.coordinator)) {
            Some(survivors) => self.feed(Input::AnnounceSurvivors(survivors)),
            None => Ok(()),
        }
    }

    /// Takes the masks away, and says whether what is left is the survivors' sum.
    pub(crate) fn open(&mut self) -> Result<bool, Failure> {
        let Some(Round::Opened(opening)) = &self.round else {
            return Ok(false);
        };
        if opening.survivors != self.survivors {
            return Ok(false);
        }
        let mut sum = std::mem::replace(&mut self.sum, Accumulator::new(self.plan.schema));
        sum.subtract_masks(&opening.masks);
        Ok(sum.finish().values() == self.expected)
    }
}

impl Seat {
    fn answer(
        &mut self,
        index: MemberIndex,
        directive: &Directive,
        open: &RoundOpen,
        coordinator: &consort_contract::IdentityKey,
        plan: &Plan,
    ) -> Result<Said, Failure> {
        let mut around = Surroundings {
            identity: &self.identity,
            coordinator,
            judge: &SameProcess,
            rng: &mut self.rng,
        };
        let Some(member) = self.member.take() else {
            let expected = expectations(&open.terms, index);
            let mut attest = |keys: &RoundKeys| Ok(evidence(keys));
            let (member, advert) =
                Member::join(open, &expected, &mut attest, &mut around).map_err(refused)?;
            self.member = Some(member);
            return Ok(Said {
                message: MemberMessage::Advert(advert),
                upload: None,
            });
        };
        let transition = member.handle(directive, &mut around);
        match transition.outcome.map_err(refused)? {
            Answer::Send(message) => {
                self.member = Some(transition.member);
                Ok(Said {
                    message,
                    upload: None,
                })
            }
            Answer::Submit => {
                let values = update(plan, index);
                let encoded = EncodedUpdate::from_integers(&values, plan.schema)
                    .map_err(|error| Failure::failed(error.code(), error))?;
                let (member, masked, seal) = transition
                    .member
                    .submit(encoded, &self.identity)
                    .map_err(|refusal| refused(refusal.1))?;
                self.member = Some(member);
                let message = MemberMessage::Seal(seal);
                Ok(Said {
                    message,
                    upload: Some((masked, values)),
                })
            }
        }
    }
}

/// A member's update: numbers of ±Q from the seed.
fn update(plan: &Plan, member: MemberIndex) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    rng.set_stream(member.get().into());
    let span = 2 * plan.quantised + 1;
    let bound = plan.quantised.cast_signed();
    (0..plan.schema.elements())
        .map(|_| ((u64::from(rng.next_u32()) * span) >> 32).cast_signed() - bound)
        .collect()
}

fn terms(plan: &Plan, seats: &BTreeMap<MemberIndex, Seat>) -> RoundTerms {
    let member = |(index, seat): (&MemberIndex, &Seat)| {
        let organisation = OrganisationId::new(&format!("member-{index}"));
        let organisation = organisation.expect("a short lower-case name");
        (
            *index,
            CohortMember {
                organisation,
                identity: seat.identity.public(),
            },
        )
    };
    let nothing = Digest::of(b"simulation");
    RoundTerms {
        consortium: ConsortiumId::new("simulation").expect("a short lower-case name"),
        job: JobId::new("simulation").expect("a short lower-case name"),
        round: RoundNumber(1),
        attempt: Attempt(1),
        cohort: seats.iter().map(member).collect(),
        thresholds: plan.thresholds,
        roster_root: nothing,
        contract: nothing,
        votes: nothing,
        model: nothing,
        schema: plan.schema,
        log_head: nothing,
    }
}

fn expectations(terms: &RoundTerms, member: MemberIndex) -> Expectations {
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
        rounds: 1,
        newest_answered: None,
        ledger_sequence: 0,
        model: terms.model,
    }
}

/// There is no machine to attest: members of one process trust it. The keys stand in the evidence's place.
struct SameProcess;

impl RoundKeyJudge for SameProcess {
    fn judge(&self, keys: &RoundKeys, evidence_given: &[u8]) -> Result<(), String> {
        if evidence_given == evidence(keys) {
            Ok(())
        } else {
            Err("simulate_other_keys".to_owned())
        }
    }
}

fn evidence(keys: &RoundKeys) -> Vec<u8> {
    [keys.mask_key, keys.share_key].concat()
}

fn refused(rejection: consort_round::Rejection) -> Failure {
    Failure::refused(rejection.code(), rejection)
}
