//! What must hold before a data key is released, in this order; the first that does not gives the reason.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Digest;
use consort_attestation::channel::Rules;
use consort_attestation::statements::{self, KeyRelease, Statement};
use consort_attestation::{Evidence, Expected, MachineBinding, Reason};
use consort_contract::{
    ApprovedVotes, IdentityKey, JobError, Label, OrganisationId, Roster, VoteError,
    members_in_roster,
};
use consort_daemon::peers::binding;
use consort_privacy::{AccountError, Mechanism, QuantityError, Steps};
use consort_proto::convert::{KeyRequest, WireError};
use consort_vault::release::ReleaseError;

use crate::config::{KeyRule, days};
use crate::keys::{KeyFault, StoredVersion, unix_ms};

/// Whom a broker serves, and by what it judges.
pub(crate) struct Judge<'a> {
    pub(crate) organisation: &'a OrganisationId,
    pub(crate) roster: &'a Roster,
    /// The rules of now: one release is judged by one manifest.
    pub(crate) rules: Arc<Rules>,
    pub(crate) release_to_simulated: bool,
}

/// What was found good about a request.
pub(crate) struct Judged {
    /// Whether no hardware vouches for the machine.
    pub(crate) simulated: bool,
    /// SHA-256 of the attestation report.
    pub(crate) report: [u8; 32],
    /// The manifest in force.
    pub(crate) manifest: Digest,
    /// What the whole job costs one record.
    pub(crate) whole_job: Mechanism,
}

impl Judge<'_> {
    /// Judges everything but the nonce, which is spent already, and the budget, which is booked later.
    pub(crate) fn judge(
        &self,
        request: &KeyRequest,
        rule: &KeyRule,
        version: &StoredVersion,
        now: SystemTime,
    ) -> Result<Judged, Refusal> {
        let claims = self.evidence(request, now)?;
        self.approved(request)?;
        let document = request.contract.0.document();
        if document.dataset != rule.data_set || version.data_set != rule.data_set {
            return Err(Refusal::DataSet);
        }
        if !rule.purposes.contains(&document.purpose) {
            return Err(Refusal::Purpose(document.purpose.clone()));
        }
        let (job, plan) = &request.contract;
        let asked = job.document().data_access.encryption;
        let asked = asked.map_or(Duration::MAX, |it| days(it.key_rotation_days));
        young_enough(version, rule.max_age().min(asked), now)?;
        let rounds = Steps::new(job.algorithm().rounds())?;
        let whole_job = plan.noise().mechanism_of(rounds)?;
        let (simulated, report) = claims;
        Ok(Judged {
            simulated,
            report,
            manifest: Digest::new(self.rules.manifest.hash),
            whole_job,
        })
    }

    /// The machine of this organisation's roster entry made the key to seal to, for this nonce, key, job and manifest.
    fn evidence(&self, request: &KeyRequest, now: SystemTime) -> Result<(bool, [u8; 32]), Refusal> {
        let entry = self
            .roster
            .member(self.organisation)
            .ok_or(Refusal::NotAMember)?;
        let statement = statements::key_release(&KeyRelease {
            nonce: &request.nonce,
            hpke_key: &request.hpke_key,
            key_id: request.key_id.as_str(),
            job: request.job.as_str().as_bytes(),
            manifest_hash: &self.rules.manifest.hash,
        });
        machine_vouches(
            &self.rules,
            &binding(entry),
            &statement,
            &request.evidence,
            self.release_to_simulated,
            now,
        )
    }

    /// Every member of the job, this organisation among them, said yes to this very contract.
    fn approved(&self, request: &KeyRequest) -> Result<(), Refusal> {
        let (job, plan) = &request.contract;
        let members = members_in_roster(job, self.roster)?;
        if !members.contains(self.organisation) {
            return Err(Refusal::NotAMember);
        }
        let identities = members.into_iter().filter_map(|name| {
            let identity: IdentityKey = self.roster.member(&name)?.identity;
            Some((name, identity))
        });
        let contract = plan.contract_hash(job);
        let votes = request.votes.iter().cloned();
        ApprovedVotes::verify(&request.job, &contract, &identities.collect(), votes)?;
        Ok(())
    }
}

/// This machine made the key to seal to, as the statement says. Whether it is simulated, and the hash of its report.
pub(crate) fn machine_vouches(
    rules: &Rules,
    machine: &MachineBinding,
    statement: &Statement,
    evidence: &[u8],
    release_to_simulated: bool,
    now: SystemTime,
) -> Result<(bool, [u8; 32]), Refusal> {
    let evidence = Evidence::from_bytes(evidence)?;
    let expected = Expected {
        machine,
        report_data: statement.report_data(),
    };
    let claims = rules.verifier.verify(&evidence, &expected, now)?;
    if claims.simulated() && !release_to_simulated {
        return Err(Refusal::Simulated);
    }
    let report = Digest::of(evidence.report());
    Ok((claims.simulated(), *report.as_bytes()))
}

/// A clock that went back makes no key older.
fn young_enough(version: &StoredVersion, most: Duration, now: SystemTime) -> Result<(), Refusal> {
    let age = unix_ms(now).saturating_sub(version.created_unix_ms);
    if u128::from(age) <= most.as_millis() {
        Ok(())
    } else {
        Err(Refusal::TooOld {
            days: age / (24 * 60 * 60 * 1000),
        })
    }
}

/// Why a data key is kept. This is what the log says; the participant is told [`Refusal::coarse`].
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The nonce is not good in this session: used, too old, of another session, or of an earlier process.
    #[error("the nonce is not good: it was used, is too old, or was drawn for another session")]
    Nonce,
    /// No such key.
    #[error("there is no data key of this id and version")]
    NoKey,
    /// The evidence failed a check.
    #[error("the evidence is refused: {0}")]
    Evidence(Reason),
    /// Good evidence of a machine that no hardware vouches for.
    #[error("the machine is SIMULATED, and dangerous_release_to_simulated is not set")]
    Simulated,
    /// This organisation is not in the job, or not in the roster.
    #[error("this organisation is not a member of the job")]
    NotAMember,
    /// The job's members are not the roster's.
    #[error("the job does not fit the roster: {0}")]
    Job(#[from] JobError),
    /// Not every member said yes to this contract.
    #[error("the job is not approved: {0}")]
    Votes(#[from] VoteError),
    /// The key is for another data set than the job's.
    #[error("the key is not for the data set of the job")]
    DataSet,
    /// The key is not for this purpose.
    #[error("the key is not released for the purpose {0}")]
    Purpose(Label),
    /// The version is too old.
    #[error(
        "this version of the key is {days} days old, older than is released: rotate the key and seal the data again"
    )]
    TooOld {
        /// Its age.
        days: u64,
    },
    /// The jobs together would cost too much.
    #[error("the budget of the key does not cover the job: {0}")]
    Budget(#[from] consort_privacy::Refused),
    /// The job cannot be accounted.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A number of the job is out of range.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// What it is to be sealed to is no key.
    #[error(transparent)]
    SealTo(#[from] ReleaseError),
    /// The key on disk or the organisation's key.
    #[error(transparent)]
    Keys(#[from] KeyFault),
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Evidence(reason)
    }
}

impl Refusal {
    /// Stable code for the log and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Wire(error) => error.code(),
            Self::Nonce => "key_nonce",
            Self::NoKey => "key_unknown",
            Self::Evidence(reason) => reason.code(),
            Self::Simulated => "key_simulated_machine",
            Self::NotAMember => "key_not_a_member",
            Self::Job(error) => error.code(),
            Self::Votes(error) => error.code(),
            Self::DataSet => "key_other_data_set",
            Self::Purpose(_) => "key_purpose",
            Self::TooOld { .. } => "key_too_old",
            Self::Budget(refused) => refused.code(),
            Self::Account(error) => error.code(),
            Self::Quantity(error) => error.code(),
            Self::SealTo(error) => error.code(),
            Self::Keys(fault) => fault.code(),
        }
    }

    /// As much as the participant is told.
    pub fn coarse(&self) -> CoarseRefusal {
        match self {
            Self::Wire(_) | Self::SealTo(_) => CoarseRefusal::Malformed,
            Self::Nonce => CoarseRefusal::Nonce,
            Self::Evidence(_) | Self::Simulated => CoarseRefusal::Evidence,
            Self::NoKey
            | Self::NotAMember
            | Self::Job(_)
            | Self::Votes(_)
            | Self::DataSet
            | Self::Purpose(_)
            | Self::TooOld { .. }
            | Self::Budget(_)
            | Self::Account(_)
            | Self::Quantity(_) => CoarseRefusal::Rule,
            Self::Keys(_) => CoarseRefusal::Unavailable,
        }
    }
}

/// What a refused participant is told: enough to know what to do, too little to learn the policy from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoarseRefusal {
    /// The request is none.
    Malformed,
    /// Ask for another nonce.
    Nonce,
    /// The machine is not accepted.
    Evidence,
    /// The rules of the key say no.
    Rule,
    /// The broker cannot get at the key.
    Unavailable,
}

impl CoarseRefusal {
    /// Stable code, as gRPC details carry it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "key_request_malformed",
            Self::Nonce => "key_request_nonce",
            Self::Evidence => "key_request_evidence",
            Self::Rule => "key_request_rule",
            Self::Unavailable => "key_request_unavailable",
        }
    }
}

impl std::fmt::Display for CoarseRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the request is not well-formed",
            Self::Nonce => "the nonce is not good",
            Self::Evidence => "the evidence is not accepted",
            Self::Rule => "the rules of the key do not allow it",
            Self::Unavailable => "the key is not available now",
        })
    }
}
