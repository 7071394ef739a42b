//! What this organisation answers to its coordinator: votes, then rounds. Level-triggered: what is asked again is answered
//! again with the same bytes, and nothing depends on the order or the number of events.
//!
//! The agent opens no socket and starts no task: inputs come in, [`Effect`]s go out, and only the state file is written, always
//! before the effect that depends on it. It may block (disk, evidence, data files), so it runs on a thread of its own.

mod agreement;
mod rounds;
mod witness;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use consort_aggregation::{Digest, MaskedUpdate};
use consort_audit::{Cosignature, SignedNote};
use consort_contract::{IdentitySecret, Job, JobId, Label, OrganisationId, Plan, Roster, Vote};
use consort_model::{ArrivedParameters, Parameters};
use consort_proto::convert::{
    AttemptKey, ShownHead, attempt_from_wire, directive_from_wire, result_from_wire,
};
use consort_proto::wire::round::v1 as wire;
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::{JobClosed, RoundAborted, RoundResult};
use consort_round::blame::Complaint;
use consort_round::messages::{RoundKeyJudge, RoundKeys};
use consort_round::{Directive, MemberMessage, UpdateSeal};
use consort_vault::{DataKey, KeyName};

use crate::config::DatasetConfig;
use crate::consent::ConsentPolicy;
use crate::keys::KeyWanted;
use crate::ledger::{LedgerFault, PrivacyLedger};
use crate::premises::Premises;
use crate::state::{SiteState, StateFault};
use crate::trainer::{Contribution, TrainingFault, TrainingTask};
use agreement::Agreement;
use rounds::RunningRound;

/// Has this machine vouch for round keys.
pub type Attest = dyn FnMut(&RoundKeys) -> Result<Vec<u8>, String> + Send;

/// This organisation: who it is, whom it trusts, what it agrees to, what it has.
pub struct Site {
    /// Its name in the roster.
    pub organisation: OrganisationId,
    /// Its identity key.
    pub identity: IdentitySecret,
    /// The roster, every signature checked.
    pub roster: Arc<Roster>,
    /// Judges its peers' evidence.
    pub judge: Box<dyn RoundKeyJudge + Send>,
    /// Makes its own evidence.
    pub attest: Box<Attest>,
    /// What it agrees to.
    pub consent: ConsentPolicy,
    /// Its data files, plain and encrypted.
    pub datasets: BTreeMap<Label, DatasetConfig>,
    /// Measures what its machine has.
    pub premises: Box<Measure>,
    /// Threads that mask an update.
    pub workers: NonZeroUsize,
    /// The wall clock, seconds since 1970: what co-signatures on the coordinator's log are dated with.
    pub unix_s: fn() -> u64,
}

/// Tells what this machine has now.
pub type Measure = dyn Fn() -> Premises + Send;

/// What can happen to an agent.
#[derive(Debug)]
pub enum Input {
    /// The coordinator said something.
    Said(Box<Event>),
    /// A model was fetched, or could not be.
    Model {
        /// For which job.
        job: JobId,
        /// The hash that was asked for.
        model: Digest,
        /// The parameters; that they are the ones asked for is checked here.
        arrived: Result<ArrivedParameters, String>,
    },
    /// The checkpoint of an announced log head was shown, or could not be fetched.
    Head {
        /// By which job's announcement.
        job: JobId,
        /// The head that was announced.
        head: Digest,
        /// Entries of the longest log that this member had seen when it asked.
        kept_entries: u64,
        /// The checkpoint and its proof; that they hold is checked here.
        shown: Result<ShownHead, String>,
    },
    /// The broker released a data key, or did not.
    Key {
        /// For which job.
        job: JobId,
        /// The key that was asked for.
        name: KeyName,
        /// The key, or why there is none.
        key: Result<DataKey, String>,
    },
    /// Training ended.
    Trained {
        /// For which attempt.
        key: AttemptKey,
        /// The contribution.
        result: Result<Contribution, TrainingFault>,
    },
}

/// What is to be done. Whoever does it may drop an effect that needs a connection while there is none: it is asked for again.
#[derive(Debug)]
pub enum Effect {
    /// Send a vote.
    Vote {
        /// On which job.
        job: JobId,
        /// The vote.
        vote: Vote,
    },
    /// Send a message of a round.
    Send {
        /// Of which attempt.
        key: AttemptKey,
        /// The message; never a seal, which goes with its update.
        message: Box<MemberMessage>,
    },
    /// Tell the coordinator what convicts a dealer.
    Complain {
        /// In which attempt.
        key: AttemptKey,
        /// Of whom, and what proves it.
        complaint: Box<Complaint>,
    },
    /// Upload a masked update, then its seal.
    Upload {
        /// Of which attempt.
        key: AttemptKey,
        /// The update. A resend carries the same bytes.
        update: Arc<MaskedUpdate>,
        /// The seal.
        seal: UpdateSeal,
        /// Whether some of it may have been sent before: the coordinator then says where to go on.
        again: bool,
    },
    /// Fetch a model and come back with [`Input::Model`].
    FetchModel {
        /// Of which job.
        job: JobId,
        /// Its hash.
        model: Digest,
        /// What it is a model of: more bytes than it has are not read.
        agreed: Arc<(Job, Plan)>,
    },
    /// Have the coordinator show the log head that it announced, and come back with [`Input::Head`].
    ProveHead {
        /// By which job's announcement.
        job: JobId,
        /// The head.
        head: Digest,
        /// Entries of the longest log that this member has seen.
        kept_entries: u64,
    },
    /// Co-sign the coordinator's log.
    Cosign {
        /// Which head of it.
        head: Digest,
        /// The co-signature.
        cosignature: Cosignature,
    },
    /// Ask this organisation's broker for a data key and come back with [`Input::Key`].
    FetchKey(Box<KeyWanted>),
    /// Train, and come back with [`Input::Trained`].
    Train(TrainingTask),
}

/// The disk failed: the process must end, since what is stored is not known any more.
#[derive(Debug, thiserror::Error)]
pub enum AgentFault {
    /// The state.
    #[error(transparent)]
    State(#[from] StateFault),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
}

impl AgentFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::State(fault) => fault.code(),
            Self::Ledger(fault) => fault.code(),
        }
    }
}

/// The agent of one organisation.
pub struct Agent {
    site: Site,
    state: SiteState,
    ledger: PrivacyLedger,
    agreements: BTreeMap<JobId, Agreement>,
    rounds: BTreeMap<JobId, RunningRound>,
    /// The checkpoint of the longest log of the coordinator's that was seen.
    longest_log: Option<SignedNote>,
    /// The announced log head of each job that was proven last.
    proven: BTreeMap<JobId, Digest>,
}

impl Agent {
    /// Takes up the jobs that were voted on before a restart. The rounds that ran then are lost with their secrets.
    ///
    /// # Errors
    /// [`AgentFault`] when the state cannot be read.
    pub fn open(site: Site, state: SiteState, ledger: PrivacyLedger) -> Result<Self, AgentFault> {
        let longest_log = state.log_head().map(|note| note.parse());
        let longest_log = longest_log.transpose().map_err(|_| StateFault::LogHead)?;
        let mut agreements = BTreeMap::new();
        for job in state.open_jobs()? {
            let Some(stored) = state.job(&job)? else {
                continue;
            };
            match Agreement::restore(&job, &stored, &site) {
                Ok(agreement) => {
                    tracing::info!(%job, "this job goes on after the restart");
                    agreements.insert(job, agreement);
                }
                Err(problem) => {
                    tracing::error!(%job, %problem, "a job that was voted on is not taken up again");
                }
            }
        }
        Ok(Self {
            site,
            state,
            ledger,
            agreements,
            rounds: BTreeMap::new(),
            longest_log,
            proven: BTreeMap::new(),
        })
    }

    /// Handles one input. What is refused is said in the log and changes nothing.
    ///
    /// # Errors
    /// [`AgentFault`] when the disk failed: the process must end.
    pub fn handle(&mut self, input: Input) -> Result<Vec<Effect>, AgentFault> {
        match input {
            Input::Said(event) => self.heard(*event),
            Input::Model {
                job,
                model,
                arrived,
            } => self.fetched(&job, model, arrived),
            Input::Head {
                job,
                head,
                kept_entries,
                shown,
            } => self.head_shown(&job, head, kept_entries, shown),
            Input::Key { job, name, key } => self.keyed(&job, &name, key),
            Input::Trained { key, result } => self.trained(&key, result),
        }
    }

    /// What this organisation remembers of jobs.
    #[cfg(test)]
    pub(crate) fn state(&self) -> &SiteState {
        &self.state
    }

    /// The ledger, for metrics.
    pub fn ledger(&self) -> &PrivacyLedger {
        &self.ledger
    }

    fn heard(&mut self, event: Event) -> Result<Vec<Effect>, AgentFault> {
        match event {
            Event::Proposal(proposal) => self.proposed(proposal),
            Event::Approval(approval) => self.approved(approval),
            Event::RoundResult(result) => {
                self.published(result);
                Ok(Vec::new())
            }
            Event::RoundAborted(aborted) => {
                self.aborted(&aborted);
                Ok(Vec::new())
            }
            Event::JobClosed(closed) => self.closed(&closed),
            Event::Heartbeat(_) => Ok(Vec::new()),
            Event::KeyList(wire::KeyList { ref id, .. })
            | Event::SharesDelivery(wire::SharesDelivery { ref id, .. }) => {
                let id = id.clone();
                match self.whole(id, event) {
                    Some(event) => self.directed(event),
                    None => Ok(Vec::new()),
                }
            }
            event @ (Event::RoundOpen(_) | Event::Survivors(_) | Event::Confirmations(_)) => {
                self.directed(event)
            }
        }
    }

    /// A message that may come in parts, once it is whole.
    fn whole(&mut self, id: Option<wire::AttemptId>, part: Event) -> Option<Event> {
        let key = attempt_from_wire(id)
            .inspect_err(|error| {
                tracing::warn!(code = error.code(), %error, "the coordinator sent a message that is not valid");
            })
            .ok()?;
        let Some(RunningRound::Joined(joined)) = self.rounds.get_mut(&key.job) else {
            return None;
        };
        joined.whole(&key, part)
    }

    fn directed(&mut self, event: Event) -> Result<Vec<Effect>, AgentFault> {
        match directive_from_wire(event) {
            Ok(Some((_, Directive::Advertise(open)))) => self.announced(open),
            Ok(Some((key, directive))) => self.asked(&key, &directive),
            Ok(None) => Ok(Vec::new()),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the coordinator sent a message that is not valid");
                Ok(Vec::new())
            }
        }
    }

    fn published(&mut self, result: RoundResult) {
        let (key, result) = match result_from_wire(result) {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "a round result is not valid");
                return;
            }
        };
        let coordinator = &self.site.roster.coordinator().identity;
        if let Err(rejection) = result.verify(coordinator) {
            tracing::warn!(job = %key.job, round = key.round.0, code = rejection.code(), "a round result is refused");
            return;
        }
        let survivors = result.survivors.len();
        tracing::info!(job = %key.job, round = key.round.0, survivors, "the round's sum is published");
        self.forget(&key);
    }

    fn aborted(&mut self, aborted: &RoundAborted) {
        let Ok(key) = attempt_from_wire(aborted.id.clone()) else {
            tracing::warn!("an aborted attempt has no valid name");
            return;
        };
        tracing::info!(job = %key.job, round = key.round.0, attempt = key.attempt.0, code = %aborted.code, "the attempt was aborted");
        self.forget(&key);
    }

    fn closed(&mut self, closed: &JobClosed) -> Result<Vec<Effect>, AgentFault> {
        let Ok(job) = JobId::new(&closed.job) else {
            tracing::warn!("a closed job has no valid name");
            return Ok(Vec::new());
        };
        if self.agreements.remove(&job).is_some() {
            self.rounds.remove(&job);
            self.proven.remove(&job);
            self.state.close(&job, &closed.state)?;
            tracing::info!(%job, state = %closed.state, "the job ended");
        }
        Ok(Vec::new())
    }

    /// Drops the secrets and the update of an attempt that is over.
    fn forget(&mut self, key: &AttemptKey) {
        if self
            .rounds
            .get(&key.job)
            .is_some_and(|running| running.key() == key)
        {
            self.rounds.remove(&key.job);
        }
    }
}

/// The hash of a model as round contexts name it.
pub fn model_digest(parameters: &Parameters) -> Digest {
    Digest::new(*parameters.hash().as_bytes())
}

#[cfg(test)]
#[path = "../agent_tests.rs"]
mod tests;
