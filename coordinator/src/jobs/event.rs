//! What is stored about a job: inputs that were accepted, in order, and their wire form in the event store.

use std::collections::BTreeMap;

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{Job, JobId, Vote};
use consort_proto::bounds::{self, BoundsError};
use consort_proto::convert::{self, AttemptKey, WireError};
use consort_proto::wire::events::v1 as wire;
use consort_proto::wire::job::v1::JobState as WireState;
use consort_proto::wire::round::v1::RoundAborted;
use consort_round::blame::{Blame, Proceedings, Unproven};
use consort_round::{
    Advert, Confirmation, RoundOpen, RoundResult, ShareKeys, Survivors, UnmaskShares, UpdateSeal,
};
use prost::Message;

use super::Contract;

/// Something that was accepted.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// The job was proposed.
    Submitted(Box<Contract>),
    /// A member voted.
    Voted(Vote),
    /// An attempt at a round was opened.
    RoundOpened(Box<RoundOpen>),
    /// P1.
    Advertised(Advert),
    /// P3.
    Shared(ShareKeys),
    /// P4: the chunks are in the blob store.
    Sealed {
        /// The seal.
        seal: UpdateSeal,
        /// Bytes of the masked update.
        bytes: u64,
    },
    /// The survivor set was signed.
    Survivors(Survivors),
    /// P5.
    Confirmed(Confirmation),
    /// P6.
    Unmasked(UnmaskShares),
    /// A member will not answer any more in this attempt.
    Departed(MemberIndex),
    /// What a member signed convicts it.
    Blamed(Box<Blamed>),
    /// The phase's deadline passed.
    PhaseExpired,
    /// P7: the sum was opened and the server step taken.
    Released(Box<Released>),
    /// The attempt ended without a sum.
    Aborted {
        /// Stable code.
        code: String,
        /// For people.
        reason: String,
    },
    /// The coordinator was started again.
    Restarted,
    /// The job ended.
    Ended(Ending),
}

/// A record of blame that was verified, as the log takes it.
#[derive(Debug, Clone)]
pub struct Blamed {
    /// Whom it convicts.
    pub member: MemberIndex,
    /// The record.
    pub record: Blame,
    /// What it was verified with.
    pub proceedings: Proceedings,
}

/// What a released round published.
#[derive(Debug, Clone)]
pub struct Released {
    /// The signed result.
    pub result: RoundResult,
    /// Hash of the model after the server step.
    pub model: Digest,
    /// Mean loss over the divisor, noised.
    pub noised_loss: Option<f64>,
    /// Wall time per phase, milliseconds.
    pub phase_ms: BTreeMap<String, u64>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In which way.
    pub state: Final,
    /// Stable code of the reason; empty when completed.
    pub code: String,
    /// For people.
    pub reason: String,
}

/// The ways in which a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    /// With a model.
    Completed,
    /// Without one.
    Failed,
    /// By a person.
    Cancelled,
}

/// An event and when it was accepted.
#[derive(Debug, Clone)]
pub struct Stamped {
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What was accepted.
    pub event: JobEvent,
}

/// Stored bytes are no event of this job: the store was damaged or written by another program.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not a message.
    #[error("a stored event is no message of this schema: {0}")]
    Decode(#[from] BoundsError),
    /// A field is wrong.
    #[error("a stored event does not hold what it should: {0}")]
    Field(#[from] WireError),
    /// A record of blame is none.
    #[error("a stored record of blame is none: {0}")]
    Blame(#[from] Unproven),
    /// Job or plan do not follow the rules of this program.
    #[error("a stored job is not accepted by this program: {0}")]
    Job(#[from] consort_contract::JobError),
}

impl EventError {
    /// Stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Field(error) => error.code(),
            Self::Blame(error) => error.code(),
            Self::Job(error) => error.code(),
        }
    }
}

/// Most bytes of an ending's reason, as operators are told it (job.proto).
const MAX_REASON_BYTES: usize = 1024;

/// What stands in place of the rest of a reason.
const CUT: &str = " …";

impl Ending {
    /// An ending whose reason fits what operators are told; a longer one is cut.
    pub fn new(state: Final, code: &str, mut reason: String) -> Self {
        if reason.len() > MAX_REASON_BYTES {
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES - CUT.len()));
            reason.push_str(CUT);
        }
        Self {
            state,
            code: code.to_owned(),
            reason,
        }
    }
}

impl JobEvent {
    /// The bytes to store.
    pub fn encode(&self, job: &JobId, at_unix_ms: u64, attempt: Option<&AttemptKey>) -> Vec<u8> {
        let event = Some(self.to_wire(job, attempt));
        wire::JobEvent { at_unix_ms, event }.encode_to_vec()
    }

    /// Who sent what this event holds, and how many bytes that was: the message as it is encoded, and with a seal the masked
    /// update. Framing and encryption of the connection are not in it.
    pub fn sent(&self, attempt: &AttemptKey) -> Option<(MemberIndex, u64)> {
        let (member, message) = match self {
            Self::Advertised(advert) => {
                (advert.member, convert::advert_to_wire(advert).encoded_len())
            }
            Self::Shared(message) => {
                let sent = convert::share_keys_to_wire(attempt, message).encoded_len();
                (message.statement.member, sent)
            }
            Self::Sealed { seal, bytes } => {
                let seal_bytes = convert::seal_to_wire(seal).encoded_len() as u64;
                return Some((seal.member, seal_bytes + bytes));
            }
            Self::Confirmed(message) => (
                message.member,
                convert::confirmation_to_wire(message).encoded_len(),
            ),
            Self::Unmasked(message) => (
                message.member,
                convert::unmask_to_wire(attempt, message).encoded_len(),
            ),
            Self::Submitted(_)
            | Self::Voted(_)
            | Self::RoundOpened(_)
            | Self::Survivors(_)
            | Self::Departed(_)
            | Self::Blamed(_)
            | Self::PhaseExpired
            | Self::Released(_)
            | Self::Aborted { .. }
            | Self::Restarted
            | Self::Ended(_) => return None,
        };
        Some((member, message as u64))
    }

    fn to_wire(&self, job: &JobId, attempt: Option<&AttemptKey>) -> wire::job_event::Event {
        use wire::job_event::Event;
        let outside = || AttemptKey {
            job: job.clone(),
            round: consort_round::RoundNumber(0),
            attempt: consort_round::Attempt(0),
        };
        let key = attempt.cloned().unwrap_or_else(outside);
        match self {
            Self::Submitted(contract) => Event::Submitted(wire::Submitted {
                job: job.to_string(),
                spec: Some(convert::job_to_wire(contract.job.document())),
                plan: Some(contract.plan_to_wire()),
            }),
            Self::Voted(vote) => Event::Voted(convert::vote_to_wire(vote)),
            Self::RoundOpened(open) => Event::RoundOpened(convert::round_open_to_wire(open)),
            Self::Advertised(advert) => Event::Advertised(convert::advert_to_wire(advert)),
            Self::Shared(message) => Event::Shared(convert::share_keys_to_wire(&key, message)),
            Self::Sealed { seal, bytes } => Event::Sealed(wire::Sealed {
                seal: Some(convert::seal_to_wire(seal)),
                bytes: *bytes,
            }),
            Self::Survivors(survivors) => {
                Event::Survivors(convert::survivors_to_wire(&key, survivors))
            }
            Self::Confirmed(confirmation) => {
                Event::Confirmed(convert::confirmation_to_wire(confirmation))
            }
            Self::Unmasked(message) => Event::Unmasked(convert::unmask_to_wire(&key, message)),
            Self::Departed(member) => Event::Departed(wire::Departed {
                member: member.get(),
            }),
            Self::Blamed(blamed) => Event::Blamed(wire::Blamed {
                member: blamed.member.get(),
                record: blamed.record.encode(),
                proceedings: blamed.proceedings.encode(),
            }),
            Self::PhaseExpired => Event::PhaseExpired(wire::PhaseExpired {}),
            Self::Released(released) => Event::Released(wire::Released {
                result: Some(convert::result_to_wire(&key, &released.result)),
                model: released.model.as_bytes().to_vec(),
                noised_loss: released.noised_loss,
                phase_ms: released.phase_ms.clone().into_iter().collect(),
            }),
            Self::Aborted { code, reason } => Event::Aborted(RoundAborted {
                id: Some(convert::attempt_to_wire(&key)),
                code: code.clone(),
                reason: reason.clone(),
            }),
            Self::Restarted => Event::Restarted(wire::Restarted {}),
            Self::Ended(ending) => Event::Ended(wire::Ended {
                state: ending.state.to_wire().into(),
                code: ending.code.clone(),
                reason: ending.reason.clone(),
            }),
        }
    }
}

impl Stamped {
    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        use wire::job_event::Event;
        let stored: wire::JobEvent = bounds::decode(bytes)?;
        let event = match stored.event.ok_or(WireError::Missing("event"))? {
            Event::Submitted(submitted) => {
                JobEvent::Submitted(Box::new(contract_from_wire(submitted)?))
            }
            Event::Voted(vote) => JobEvent::Voted(convert::vote_from_wire(Some(vote))?),
            Event::RoundOpened(open) => {
                JobEvent::RoundOpened(Box::new(convert::round_open_from_wire(open)?))
            }
            Event::Advertised(advert) => {
                JobEvent::Advertised(convert::advert_from_wire(Some(advert))?)
            }
            Event::Shared(message) => JobEvent::Shared(convert::share_keys_from_wire(message)?.1),
            Event::Sealed(sealed) => {
                let seal = sealed.seal.ok_or(WireError::Missing("sealed.seal"))?;
                JobEvent::Sealed {
                    seal: convert::seal_from_wire(&seal)?,
                    bytes: sealed.bytes,
                }
            }
            Event::Survivors(survivors) => {
                JobEvent::Survivors(convert::survivors_from_wire(survivors)?.1)
            }
            Event::Confirmed(confirmation) => {
                JobEvent::Confirmed(convert::confirmation_from_wire(&confirmation)?)
            }
            Event::Unmasked(message) => JobEvent::Unmasked(convert::unmask_from_wire(message)?.1),
            Event::Departed(departed) => {
                let member = MemberIndex::new(departed.member);
                JobEvent::Departed(member.ok_or(WireError::Missing("departed.member"))?)
            }
            Event::Blamed(blamed) => {
                let member = MemberIndex::new(blamed.member);
                JobEvent::Blamed(Box::new(Blamed {
                    member: member.ok_or(WireError::Missing("blamed.member"))?,
                    record: Blame::decode(&blamed.record)?,
                    proceedings: Proceedings::decode(&blamed.proceedings)?,
                }))
            }
            Event::PhaseExpired(_) => JobEvent::PhaseExpired,
            Event::Released(released) => {
                JobEvent::Released(Box::new(released_from_wire(released)?))
            }
            Event::Aborted(aborted) => JobEvent::Aborted {
                code: aborted.code,
                reason: aborted.reason,
            },
            Event::Restarted(_) => JobEvent::Restarted,
            Event::Ended(ended) => JobEvent::Ended(Ending {
                state: Final::from_wire(ended.state()).ok_or(WireError::Missing("ended.state"))?,
                code: ended.code,
                reason: ended.reason,
            }),
        };
        Ok(Self {
            at_unix_ms: stored.at_unix_ms,
            event,
        })
    }
}

fn contract_from_wire(submitted: wire::Submitted) -> Result<Contract, EventError> {
    let id = JobId::new(&submitted.job).map_err(|_| WireError::Missing("submitted.job"))?;
    let job = Job::new(convert::job_from_wire(submitted.spec)?)?;
    let plan = convert::plan_from_wire(&job, submitted.plan)?;
    Ok(Contract::of(id, job, plan))
}

fn released_from_wire(released: wire::Released) -> Result<Released, EventError> {
    let result = released
        .result
        .ok_or(WireError::Missing("released.result"))?;
    let model = <[u8; 32]>::try_from(released.model.as_slice())
        .map_err(|_| WireError::Missing("released.model"))?;
    Ok(Released {
        result: convert::result_from_wire(result)?.1,
        model: Digest::new(model),
        noised_loss: released.noised_loss,
        phase_ms: released.phase_ms.into_iter().collect(),
    })
}

impl Final {
    /// The state on the wire.
    pub fn to_wire(self) -> WireState {
        match self {
            Self::Completed => WireState::Completed,
            Self::Failed => WireState::Failed,
            Self::Cancelled => WireState::Cancelled,
        }
    }

    fn from_wire(state: WireState) -> Option<Self> {
        match state {
            WireState::Completed => Some(Self::Completed),
            WireState::Failed => Some(Self::Failed),
            WireState::Cancelled => Some(Self::Cancelled),
            WireState::Unspecified | WireState::Voting | WireState::Running => None,
        }
    }

    /// The state's name, as members are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
