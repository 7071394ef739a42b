//! What the log says: one typed record for each thing that happened, a line of JSON each. Hashes, names, codes and counts;
//! never data, keys or model values.

use serde::{Deserialize, Serialize};

use crate::epsilon::Epsilon;
use crate::fact::Fact;
use crate::hash::Hash;
use crate::proof::Proof;
use crate::text::{Code, JobId, Organisation, Text};

/// The version in which records are written. A reader reads it and those before it, and refuses a newer one by name.
///
/// 2: a wrong share is judged by the U2 under which its holder answered (blame records of version 2, docs/protocol.md).
pub const RECORD_VERSION: u32 = 2;

/// The first version.
const OLDEST_RECORD_VERSION: u32 = 1;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    v: u32,
    /// The coordinator's clock when it was entered, in milliseconds since 1970: later than it happened where a crash came
    /// between. Clocks jump: order is that of the log.
    pub time_unix_ms: u64,
    /// The job it belongs to; none for what concerns the whole consortium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The round it belongs to; none for what concerns the whole job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundRef>,
    /// What happened.
    pub event: Event,
}

impl Record {
    pub(crate) fn new(time_unix_ms: u64, fact: Fact) -> Self {
        let Fact { job, round, event } = fact;
        Self {
            v: RECORD_VERSION,
            time_unix_ms,
            job,
            round,
            event,
        }
    }

    /// The line of the log, without its newline.
    ///
    /// # Errors
    /// [`RecordError::Scope`] if the record lacks the job or round that its event needs, or names one it cannot have.
    pub fn to_line(&self) -> Result<String, RecordError> {
        self.check_scope()?;
        Ok(serde_json::to_string(self).expect("a record holds nothing that JSON cannot hold"))
    }

    /// Reads a line of the log, without its newline.
    ///
    /// # Errors
    /// [`RecordError`] unless the line is exactly what [`Record::to_line`] writes: one record has one spelling.
    pub fn from_line(line: &[u8]) -> Result<Self, RecordError> {
        // Before the rest: what a newer version holds, this program need not know.
        let Versioned { v } = serde_json::from_slice(line).map_err(RecordError::Json)?;
        if !(OLDEST_RECORD_VERSION..=RECORD_VERSION).contains(&v) {
            return Err(RecordError::Version { found: v });
        }
        let record: Self = serde_json::from_slice(line).map_err(RecordError::Json)?;
        if record.to_line()?.as_bytes() == line {
            Ok(record)
        } else {
            Err(RecordError::Spelling)
        }
    }

    fn check_scope(&self) -> Result<(), RecordError> {
        let kind = self.event.kind();
        let fits = match self.event.scope() {
            Scope::Consortium => self.job.is_none() && self.round.is_none(),
            Scope::Job => self.job.is_some() && self.round.is_none(),
            Scope::Round => self.job.is_some() && self.round.is_some(),
            Scope::JobOrRound => self.job.is_some(),
            Scope::Any => self.job.is_some() || self.round.is_none(),
        };
        if fits {
            Ok(())
        } else {
            Err(RecordError::Scope { kind })
        }
    }
}

/// A line of any version.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// A round of a job, and which attempt at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRef {
    /// The number of the round in its job.
    pub number: u64,
    /// The number of the attempt at the round.
    pub attempt: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The log begins. Every later start is a `CoordinatorRestarted`.
    Started {
        /// Name and version of the program.
        build: Text,
        /// The `dangerous_...` choices of the configuration, as they are spelled there.
        dangerous: Vec<Text>,
    },
    /// The coordinator started again on this log.
    CoordinatorRestarted {
        /// Name and version of the program.
        build: Text,
        /// How many entries it found, which is the index of this one.
        log_size: u64,
        /// The `dangerous_...` choices of the configuration, as they are spelled there.
        dangerous: Vec<Text>,
    },
    /// An organisation joined.
    Enrolment {
        /// Who.
        organisation: Organisation,
        /// SHA-256 of its public identity key.
        identity: Hash,
        /// Hash of the roster that names it.
        roster: Hash,
    },
    /// An attestation manifest is in force from here on: what evidence is judged by.
    ManifestInForce {
        /// Its version.
        version: u64,
        /// Its hash, which all statements name.
        manifest: Hash,
    },
    /// A peer was not spoken to.
    MemberRefused {
        /// Whom it said it was.
        organisation: Organisation,
        /// Why.
        code: Code,
    },
    /// Strangers were refused oftener than each is recorded: these stand in no record of their own.
    RefusalsLeftOut {
        /// How many, since the last that was recorded.
        count: u64,
    },
    /// The evidence of a peer was judged.
    EvidenceVerdict {
        /// Whose.
        organisation: Organisation,
        /// Whether it was accepted.
        accepted: bool,
        /// Why, or `accepted`.
        code: Code,
        /// Whether its root is a simulated one that the policy trusts.
        simulated: bool,
        /// SHA-256 of the attestation report.
        report: Hash,
    },
    /// A job was submitted.
    JobSubmitted {
        /// Hash of the contract that is voted on.
        contract: Hash,
        /// Who submitted it.
        by: Text,
    },
    /// An organisation voted; a later vote replaces an earlier one, so that it can withdraw.
    Vote {
        /// Who.
        organisation: Organisation,
        /// Hash of the contract it voted on.
        contract: Hash,
        /// Yes or no.
        approve: bool,
    },
    /// A job went into another state.
    JobState {
        /// The state it is in now.
        state: JobState,
    },
    /// A round was opened.
    RoundOpened {
        /// Hash of the round's context.
        context: Hash,
        /// Hash of the model it starts from.
        model: Hash,
        /// Who may take part.
        cohort: Vec<Organisation>,
        /// The least number of survivors.
        n_min: u32,
        /// The number of shares that open a secret.
        threshold: u32,
    },
    /// A round went into another phase.
    PhaseChanged {
        /// The phase it is in now.
        phase: Phase,
        /// Until when, in milliseconds since 1970.
        deadline_unix_ms: u64,
    },
    /// A member sent its keys for the round.
    Advert {
        /// Who.
        organisation: Organisation,
        /// Hash of the signed advert.
        advert: Hash,
    },
    /// A member sent its encrypted shares.
    Shares {
        /// Who.
        organisation: Organisation,
        /// Hash of the signed message.
        shares: Hash,
    },
    /// A member's masked update is whole, and it was told so.
    UpdateAcknowledged {
        /// Who.
        organisation: Organisation,
        /// Tree hash of the masked update.
        tree: Hash,
    },
    /// What a member signed convicts it of breaking the protocol. At most one for each member and attempt.
    Blame {
        /// Who.
        organisation: Organisation,
        /// Of what: `contradiction`, `wrong-share` or `wrong-box`.
        fault: Code,
        /// The record, which holds what the member signed (docs/protocol.md, "Blame").
        record: Proof,
        /// The announcement and the adverts that the record is verified with.
        proceedings: Proof,
    },
    /// Whose updates are in the sum.
    Survivors {
        /// Who.
        members: Vec<Organisation>,
        /// Hash of the list as the members sign it.
        root: Hash,
    },
    /// A member's ledger was debited.
    Spend {
        /// Whose ledger.
        by: Organisation,
        /// What the job has spent there in all, this debit included.
        epsilon: Epsilon,
    },
    /// The sum was opened.
    RoundReleased {
        /// Hash of the aggregate.
        aggregate: Hash,
    },
    /// The round ended without a sum.
    RoundAborted {
        /// Why.
        code: Code,
    },
    /// An organisation's broker is about to send a data key, sealed to a key of its participant's machine. In the broker's log.
    KeyReleased {
        /// Whose participant.
        organisation: Organisation,
        /// The data key's id.
        key: Code,
        /// Its version.
        version: u32,
        /// The data set that lies under it.
        data_set: Text,
        /// Hash of the contract that all members approved.
        contract: Hash,
        /// The broker's nonce: one release each.
        nonce: Hash,
        /// SHA-256 of the key that it is sealed to.
        sealed_to: Hash,
        /// SHA-256 of the attestation report over both.
        report: Hash,
        /// Whether a simulated root vouches for the machine, and so no hardware does.
        simulated: bool,
    },
    /// An organisation's broker is about to send the key of its participant's state, sealed to a key of its machine. It is for no job.
    /// In the broker's log.
    StateKeyReleased {
        /// Whose participant.
        organisation: Organisation,
        /// The state key's id.
        key: Code,
        /// Its version.
        version: u32,
        /// The broker's nonce: one release each.
        nonce: Hash,
        /// SHA-256 of the key that it is sealed to.
        sealed_to: Hash,
        /// SHA-256 of the attestation report over both.
        report: Hash,
        /// Whether a simulated root vouches for the machine, and so no hardware does.
        simulated: bool,
    },
    /// An organisation's broker kept a key. In the broker's log.
    KeyRefused {
        /// Whose participant asked.
        organisation: Organisation,
        /// The data key's id, as it was asked for.
        key: Text,
        /// Why.
        code: Code,
        /// Under which name the participant was told to ask for the reason.
        correlation: Code,
    },
    /// A model was released.
    ModelReleased {
        /// Hash of its bytes.
        model: Hash,
        /// Hash of its manifest.
        manifest: Hash,
    },
}

/// What a record must name beside its event.
enum Scope {
    Consortium,
    Job,
    Round,
    JobOrRound,
    Any,
}

impl Event {
    /// The name of the kind, as the log spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::CoordinatorRestarted { .. } => "coordinator_restarted",
            Self::Enrolment { .. } => "enrolment",
            Self::ManifestInForce { .. } => "manifest_in_force",
            Self::MemberRefused { .. } => "member_refused",
            Self::RefusalsLeftOut { .. } => "refusals_left_out",
            Self::EvidenceVerdict { .. } => "evidence_verdict",
            Self::JobSubmitted { .. } => "job_submitted",
            Self::Vote { .. } => "vote",
            Self::JobState { .. } => "job_state",
            Self::RoundOpened { .. } => "round_opened",
            Self::PhaseChanged { .. } => "phase_changed",
            Self::Advert { .. } => "advert",
            Self::Shares { .. } => "shares",
            Self::UpdateAcknowledged { .. } => "update_acknowledged",
            Self::Blame { .. } => "blame",
            Self::Survivors { .. } => "survivors",
            Self::Spend { .. } => "spend",
            Self::RoundReleased { .. } => "round_released",
            Self::RoundAborted { .. } => "round_aborted",
            Self::KeyReleased { .. } => "key_released",
            Self::StateKeyReleased { .. } => "state_key_released",
            Self::KeyRefused { .. } => "key_refused",
            Self::ModelReleased { .. } => "model_released",
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Started { .. }
            | Self::CoordinatorRestarted { .. }
            | Self::Enrolment { .. }
            | Self::ManifestInForce { .. }
            | Self::RefusalsLeftOut { .. }
            | Self::StateKeyReleased { .. } => Scope::Consortium,
            Self::MemberRefused { .. } | Self::EvidenceVerdict { .. } | Self::KeyRefused { .. } => {
                Scope::Any
            }
            Self::JobSubmitted { .. }
            | Self::Vote { .. }
            | Self::JobState { .. }
            | Self::KeyReleased { .. } => Scope::Job,
            Self::RoundOpened { .. }
            | Self::PhaseChanged { .. }
            | Self::Advert { .. }
            | Self::Shares { .. }
            | Self::UpdateAcknowledged { .. }
            | Self::Blame { .. }
            | Self::Survivors { .. }
            | Self::RoundReleased { .. }
            | Self::RoundAborted { .. } => Scope::Round,
            Self::Spend { .. } | Self::ModelReleased { .. } => Scope::JobOrRound,
        }
    }
}

/// The states of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Submitted.
    Proposed,
    /// The organisations vote.
    Voting,
    /// Approved, waiting to run.
    Scheduled,
    /// Rounds are run.
    Running,
    /// Stopped for a while.
    Paused,
    /// Ended with a model.
    Completed,
    /// Ended by a fault.
    Failed,
    /// Ended by a person.
    Cancelled,
    /// Ended by its deadline.
    Expired,
}

impl JobState {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled | Self::Expired => true,
            Self::Proposed | Self::Voting | Self::Scheduled | Self::Running | Self::Paused => false,
        }
    }
}

/// The phases of a round, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Members send their keys.
    Joining,
    /// Members send each other shares.
    Sharing,
    /// Members send masked updates.
    Collecting,
    /// Members sign who survived.
    Confirming,
    /// Members send the shares that open the sum.
    Unmasking,
}

/// A line is no record, or a record no line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The line is no JSON of a known record.
    #[error("the line is no record of a version up to {RECORD_VERSION}")]
    Json(#[source] serde_json::Error),
    /// The record is of another version.
    #[error(
        "the record has version {found}, this program reads {OLDEST_RECORD_VERSION} to {RECORD_VERSION}: take a newer one"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// The record is spelled in another way than records are.
    #[error("the record is not spelled as records are")]
    Spelling,
    /// The record lacks a job or round, or has one too much.
    #[error("a {kind} record names the wrong one of consortium, job and round")]
    Scope {
        /// The kind of its event.
        kind: &'static str,
    },
}

impl RecordError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "record_json",
            Self::Version { .. } => "record_version",
            Self::Spelling => "record_spelling",
            Self::Scope { .. } => "record_scope",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend() -> Record {
        let event = Event::Spend {
            by: Organisation::new("clinic-a").unwrap(),
            epsilon: Epsilon::new(0.1 + 0.2).unwrap(),
        };
        let round = RoundRef {
            number: 2,
            attempt: 1,
        };
        Fact::of_round(JobId::new("j").unwrap(), round, event).at(5)
    }

    #[test]
    fn a_record_is_one_line_and_reads_back() {
        let line = spend().to_line().unwrap();
        assert_eq!(
            line,
            r#"{"v":2,"time_unix_ms":5,"job":"j","round":{"number":2,"attempt":1},"event":{"spend":{"by":"clinic-a","epsilon":0.30000000000000004}}}"#
        );
        assert_eq!(Record::from_line(line.as_bytes()).unwrap(), spend());
    }

    #[test]
    fn a_record_of_the_first_version_reads_back_as_it_was_written() {
        let line = spend().to_line().unwrap().replace("\"v\":2", "\"v\":1");
        let record = Record::from_line(line.as_bytes()).unwrap();
        assert_eq!(record.event, spend().event);
        assert_eq!(record.to_line().unwrap(), line);
    }

    #[test]
    fn a_record_has_one_spelling() {
        let line = spend().to_line().unwrap();
        for (refused, code) in [
            (line.replace("\"v\":2", "\"v\":3"), "record_version"),
            (line.replace("\"v\":2", "\"v\":0"), "record_version"),
            // Of a newer version, things that this program does not know.
            (
                line.replace("{\"v\":2", "{\"v\":3,\"key\":\"x\""),
                "record_version",
            ),
            (line.replace("{\"v\"", "{ \"v\""), "record_spelling"),
            (
                line.replace("0.30000000000000004", "3.0000000000000004e-1"),
                "record_spelling",
            ),
            (
                line.replace("\"job\":\"j\"", "\"job\":\"\\u006a\""),
                "record_spelling",
            ),
            (
                line.replace("\"round\":{\"number\":2,\"attempt\":1},", "\"round\":null,"),
                "record_spelling",
            ),
            (line.replace("\"by\"", "\"extra\":1,\"by\""), "record_json"),
            (
                line.replace("{\"v\":2", "{\"v\":2,\"key\":\"x\""),
                "record_json",
            ),
            (line.replace("spend", "spent"), "record_json"),
            (line.replace("0.3", "-0.3"), "record_json"),
            (line.replace("clinic-a", ""), "record_json"),
            (line.replace("clinic-a", "clinic\\n"), "record_json"),
            (line.replace("\"job\":\"j\",", ""), "record_scope"),
            (format!("{line}{line}"), "record_json"),
            (String::new(), "record_json"),
        ] {
            assert_eq!(
                Record::from_line(refused.as_bytes()).unwrap_err().code(),
                code,
                "{refused}"
            );
        }
    }
}
