//! The driver of one job: holds its state and the machine of the round that runs, and stores before it adopts.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::{Digest, MemberIndex};
use consort_audit::{Fact, MAX_PROOF_BYTES};
use consort_contract::{JobId, OrganisationId};
use consort_model::{OptimizerState, Parameters};
use consort_proto::handout::Handout;
use consort_proto::wire::round::v1::follow_response::Event;
use consort_round::blame::Blame;
use consort_round::coordinator::{Accepted, Input, Round};
use consort_round::rejection::Rejection;
use consort_round::{Millis, RoundOpen};
use consort_storage::{RecordChange, RecordKey, StreamId, Version};
use prost::bytes::Bytes;

use super::board::Instance;
use super::rounds::released_parameters;
use super::{Services, projection};
use crate::error::Fault;
use crate::jobs::{Blamed, Contract, JobEvent, JobState, Stage, Stamped};
use crate::spool::Upload;

/// What time it is, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines: monotonic, from the start of the process.
    pub mono: Millis,
    /// For records: milliseconds since 1970.
    pub unix_ms: u64,
}

/// Who advertised in the attempt that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) instance: Instance,
    pub(super) simulated: bool,
}

/// How long each phase took.
#[derive(Debug, Default)]
struct PhaseClock {
    current: Option<(&'static str, u64)>,
    ended_ms: BTreeMap<String, u64>,
}

/// One job.
pub struct Driver {
    pub(super) services: Arc<Services>,
    pub(super) state: JobState,
    pub(super) round: Option<Round>,
    /// The announcement of the newest attempt.
    pub(super) open: Option<Arc<RoundOpen>>,
    pub(super) optimizer: OptimizerState,
    /// The noised sum of a job that asks, once it is opened.
    pub(super) answer: Option<Vec<i64>>,
    pub(super) arrivals: BTreeMap<MemberIndex, Arrival>,
    /// Whether any evidence in this job was simulated.
    pub(super) simulated: bool,
    /// Hashes of the released file and manifest.
    pub(super) released: Option<(Digest, Digest)>,
    /// What became of the newest attempt.
    pub(super) outcome: Option<Arc<Event>>,
    /// What the phase that runs hands to its members.
    pub(super) handout: Option<(&'static str, Arc<Handout>)>,
    /// Proposal and approval.
    pub(super) papers: BTreeMap<&'static str, Arc<Event>>,
    /// Members in order of the index, for who shows them.
    pub(super) members: Arc<[OrganisationId]>,
    pub(super) voting_ends: Millis,
    /// Updates of the attempt that runs, while they arrive.
    pub(super) uploads: BTreeMap<MemberIndex, Arc<Upload>>,
    /// The model that members fetch, by its hash.
    pub(super) model_bytes: Option<(Digest, Bytes)>,
    stream: StreamId,
    version: Version,
    clock: PhaseClock,
    pending: Vec<Fact>,
    /// Records of this job that the log has already.
    skip: u64,
}

impl Driver {
    /// Stores a proposal; `changes` go into the same transaction.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn submit(
        services: Arc<Services>,
        contract: Contract,
        changes: &[RecordChange],
        now: Now,
    ) -> Result<Self, Fault> {
        let mut driver = Self::empty(services, contract.clone(), now)?;
        driver.commit(JobEvent::Submitted(Box::new(contract)), changes, now)?;
        Ok(driver)
    }

    /// A driver before its first event.
    pub(super) fn empty(
        services: Arc<Services>,
        contract: Contract,
        now: Now,
    ) -> Result<Self, Fault> {
        let initial = match released_parameters(&*services.blobs, &contract.job)? {
            Ok(released) => released,
            // They were there when the job was submitted.
            Err(refusal) => {
                return Err(Fault::Replay {
                    job: contract.id.to_string(),
                    problem: refusal.message,
                });
            }
        };
        let initial = initial.unwrap_or_else(|| {
            Parameters::initial(contract.job.model(), &contract.job.initial_seed())
        });
        Ok(Self {
            stream: stream_of(&contract.id)?,
            version: Version::START,
            skip: services.recorder.found(contract.id.as_str()),
            voting_ends: now.mono.after(contract.job.document().deadlines.voting_ms),
            members: contract.members().into(),
            state: JobState::submitted(contract),
            services,
            round: None,
            open: None,
            optimizer: OptimizerState::initial(initial),
            answer: None,
            arrivals: BTreeMap::new(),
            simulated: false,
            released: None,
            outcome: None,
            handout: None,
            papers: BTreeMap::new(),
            uploads: BTreeMap::new(),
            model_bytes: None,
            clock: PhaseClock::default(),
            pending: Vec::new(),
        })
    }

    /// The job's name.
    pub fn id(&self) -> &JobId {
        &self.state.contract.id
    }

    /// The job's state.
    pub fn state(&self) -> &JobState {
        &self.state
    }

    /// Parameters and velocity after the newest released round.
    pub fn optimizer(&self) -> &OptimizerState {
        &self.optimizer
    }

    /// The phase of the attempt that runs.
    pub fn phase(&self) -> Option<&'static str> {
        self.round.as_ref().map(Round::phase)
    }

    /// When something is due although nobody says anything.
    pub fn deadline(&self) -> Option<Millis> {
        match self.state.stage {
            Stage::Voting => Some(self.voting_ends),
            Stage::Running => self.round.as_ref().and_then(Round::deadline),
            Stage::Ended(_) => None,
        }
    }

    /// Stores an event that is no input of a machine, then takes it.
    pub(super) fn commit(
        &mut self,
        event: JobEvent,
        changes: &[RecordChange],
        now: Now,
    ) -> Result<(), Fault> {
        self.store(&event, changes, now)?;
        self.adopt(
            Stamped {
                at_unix_ms: now.unix_ms,
                event,
            },
            now.mono,
        );
        Ok(())
    }

    /// Gives the machine an input; an accepted one is stored before it is taken.
    pub(super) fn feed(
        &mut self,
        input: Input,
        event: JobEvent,
        changes: &[RecordChange],
        now: Now,
    ) -> Result<Result<Accepted, Rejection>, Fault> {
        let Some(round) = self.round.take() else {
            return Ok(Err(Rejection::WrongPhase {
                message: "round",
                phase: "between rounds",
            }));
        };
        let before = round.phase();
        let said = input.clone();
        let transition = round.handle(input, now.mono);
        if transition.outcome == Ok(Accepted::New) {
            self.store(&event, changes, now)?;
        }
        self.round = Some(transition.round);
        if transition.outcome == Ok(Accepted::New) {
            self.note(
                Stamped {
                    at_unix_ms: now.unix_ms,
                    event,
                },
                Some(before),
            );
        }
        if transition.outcome.is_err() {
            self.blame(&said, now)?;
        }
        Ok(transition.outcome)
    }

    /// Keeps what a refused input proves against its sender: once for each member and attempt, so that nobody fills the log
    /// by contradicting itself again and again. What is accepted proves nothing, and a refusal leaves the machine as it was.
    pub(super) fn blame(&mut self, said: &Input, now: Now) -> Result<(), Fault> {
        let attempt = self.state.attempt.as_ref();
        let is_blamed = |member| attempt.is_some_and(|attempt| attempt.blamed.contains(&member));
        if said.sender().is_some_and(is_blamed) {
            return Ok(());
        }
        let record = self.round.as_ref().and_then(|round| round.blame(said));
        record.map_or(Ok(()), |record| self.convict(record, now))
    }

    /// Stores a record of the attempt that runs, unless it convicts nobody or somebody who is convicted already.
    pub(super) fn convict(&mut self, record: Blame, now: Now) -> Result<(), Fault> {
        let Some(proceedings) = self.round.as_ref().and_then(Round::proceedings) else {
            return Ok(());
        };
        let Ok(member) = record.verify(&proceedings) else {
            return Ok(());
        };
        let attempt = self.state.attempt.as_ref();
        if attempt.is_none_or(|attempt| attempt.blamed.contains(&member)) {
            return Ok(());
        }
        let fault = record.fault();
        let (job, index) = (self.id().clone(), member.get());
        let lengths = [record.encode().len(), proceedings.encode().len()];
        if lengths.iter().any(|length| *length > MAX_PROOF_BYTES) {
            tracing::warn!(%job, member = index, fault, "a member is convicted by a record that is too long for the log");
            return Ok(());
        }
        tracing::warn!(%job, member = index, fault, "a member is convicted by what it signed");
        let blamed = Blamed {
            member,
            record,
            proceedings,
        };
        self.commit(JobEvent::Blamed(Box::new(blamed)), &[], now)
    }

    fn store(&mut self, event: &JobEvent, changes: &[RecordChange], now: Now) -> Result<(), Fault> {
        let key = self.state.attempt.as_ref().map(|attempt| &attempt.key);
        let bytes = event.encode(self.id(), now.unix_ms, key);
        self.version =
            self.services
                .store
                .append_with(&self.stream, self.version, &[bytes], changes)?;
        Ok(())
    }

    /// Takes an event that is stored and no input of a machine.
    pub(super) fn adopt(&mut self, stamped: Stamped, now: Millis) {
        let before = self.phase();
        match &stamped.event {
            JobEvent::RoundOpened(open) => {
                let deadlines = self.state.contract.deadlines();
                let open = Arc::new((**open).clone());
                self.round = Some(Round::open(open.clone(), deadlines, now));
                self.open = Some(open);
                self.arrivals.clear();
                self.handout = None;
                self.clock = PhaseClock::default();
            }
            JobEvent::Released(_) | JobEvent::Aborted { .. } | JobEvent::Ended(_) => {
                self.round = None
            }
            JobEvent::Submitted(_)
            | JobEvent::Voted(_)
            | JobEvent::Advertised(_)
            | JobEvent::Shared(_)
            | JobEvent::Sealed { .. }
            | JobEvent::Survivors(_)
            | JobEvent::Confirmed(_)
            | JobEvent::Unmasked(_)
            | JobEvent::Departed(_)
            | JobEvent::Blamed(_)
            | JobEvent::PhaseExpired
            | JobEvent::Restarted => {}
        }
        self.note(stamped, before);
    }

    /// Notes an event that the machine, if it is one of its inputs, has taken.
    pub(super) fn note(&mut self, stamped: Stamped, phase_before: Option<&'static str>) {
        let stage_before = self.state.stage.clone();
        let attempt_before = self.state.attempt.clone();
        self.state.apply(&stamped.event);
        let phase_after = self.phase();
        self.clock.enter(phase_after, stamped.at_unix_ms);
        let mut simulated = false;
        if let JobEvent::Advertised(advert) = &stamped.event {
            let arrival = self.arrivals.get(&advert.member);
            simulated = arrival.is_some_and(|arrival| arrival.simulated);
        }
        let moment = projection::Moment {
            state: &self.state,
            stage_before: &stage_before,
            attempt_before: attempt_before.as_ref(),
            phase_before,
            phase_after,
            simulated,
            released: self.released,
        };
        for fact in moment.facts(&stamped) {
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                self.pending.push(fact);
            }
        }
    }

    /// Moves past a stored event on replay.
    pub(super) fn replayed(&mut self, version: Version) {
        self.version = version;
    }

    /// Writes what is pending to the audit log.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let facts = std::mem::take(&mut self.pending);
        Ok(self.services.recorder.append(facts)?)
    }

    /// How long each phase of the attempt took, up to now.
    pub(super) fn phase_ms(&self, now: Now) -> BTreeMap<String, u64> {
        let mut spans = self.clock.ended_ms.clone();
        if let Some((phase, since)) = self.clock.current {
            *spans.entry(phase.to_owned()).or_default() += now.unix_ms.saturating_sub(since);
        }
        spans
    }

    /// The record that says which process advertised, kept beside the advert.
    pub(super) fn arrival_key(&self, member: MemberIndex) -> Result<RecordKey, Fault> {
        let key = self.state.attempt.as_ref().map_or((0, 0), |attempt| {
            (attempt.key.round.0, attempt.key.attempt.0)
        });
        Ok(RecordKey::new(
            "arrivals",
            format!("{}/{}/{}/{}", self.id(), key.0, key.1, member.get()),
        )?)
    }
}

impl Arrival {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.instance.0.to_vec();
        bytes.push(self.simulated.into());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (simulated, instance) = bytes.split_last()?;
        Some(Self {
            instance: Instance(instance.try_into().ok()?),
            simulated: *simulated != 0,
        })
    }
}

impl PhaseClock {
    fn enter(&mut self, phase: Option<&'static str>, at_unix_ms: u64) {
        if self.current.map(|(name, _)| name) == phase {
            return;
        }
        if let Some((name, since)) = self.current {
            *self.ended_ms.entry(name.to_owned()).or_default() += at_unix_ms.saturating_sub(since);
        }
        self.current = phase.map(|name| (name, at_unix_ms));
    }
}

/// The stream of a job's events.
pub(super) fn stream_of(job: &JobId) -> Result<StreamId, Fault> {
    Ok(StreamId::new(format!("job/{job}"))?)
}
