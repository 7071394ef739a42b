//! Key release.

use consort_contract::{Job, JobId, Label, Plan, Vote};

use super::{WireError, approval_from_wire, fixed, job_from_wire, name, plan_from_wire, required};
use crate::wire::keys::v1 as wire;

/// Bytes of a broker's nonce.
pub const NONCE_BYTES: usize = 32;

/// What a participant asks of its broker. The votes and the evidence are not checked here.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRequest {
    /// The broker's nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The public key to seal to, of whatever length.
    pub hpke_key: Vec<u8>,
    /// The data key's id.
    pub key_id: Label,
    /// Its version, from 1.
    pub version: u32,
    /// The job's name.
    pub job: JobId,
    /// The contract: what is to be done, and what follows from it.
    pub contract: (Job, Plan),
    /// The members' votes.
    pub votes: Vec<Vote>,
    /// The asking machine's evidence.
    pub evidence: Vec<u8>,
}

/// From the wire. The plan is computed again.
///
/// # Errors
/// [`WireError`] names the field.
pub fn key_request_from_wire(request: wire::ReleaseRequest) -> Result<KeyRequest, WireError> {
    let nonce = fixed(&request.nonce, "nonce")?;
    let key_id = name(&request.key_id, "key_id")?;
    if request.version == 0 {
        return Err(WireError::invalid("version", "versions count from 1"));
    }
    let proposal = required(request.proposal, "proposal")?;
    let job: JobId = name(&proposal.job, "proposal.job")?;
    let (voted_on, votes) = approval_from_wire(required(request.approval, "approval")?)?;
    if voted_on != job {
        return Err(WireError::invalid(
            "approval.job",
            "the approval is about another job than the proposal",
        ));
    }
    let document = job_from_wire(proposal.spec)?;
    let agreed = Job::new(document).map_err(|error| WireError::invalid("proposal.spec", error))?;
    let plan = plan_from_wire(&agreed, proposal.plan)?;
    Ok(KeyRequest {
        nonce,
        hpke_key: request.hpke_key,
        key_id,
        version: request.version,
        job,
        contract: (agreed, plan),
        votes,
        evidence: request.evidence,
    })
}

/// What a participant that starts asks of its broker. The evidence is not checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateKeyRequest {
    /// The broker's nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// The public key to seal to, of whatever length.
    pub hpke_key: Vec<u8>,
    /// The state key's id.
    pub key_id: Label,
    /// The asking machine's evidence.
    pub evidence: Vec<u8>,
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn state_key_request_from_wire(
    request: wire::StateReleaseRequest,
) -> Result<StateKeyRequest, WireError> {
    Ok(StateKeyRequest {
        nonce: fixed(&request.nonce, "nonce")?,
        hpke_key: request.hpke_key,
        key_id: name(&request.key_id, "key_id")?,
        evidence: request.evidence,
    })
}

/// The nonce of a challenge, from the wire.
///
/// # Errors
/// [`WireError`] when it is none.
pub fn nonce_from_wire(
    challenge: &wire::ChallengeResponse,
) -> Result<[u8; NONCE_BYTES], WireError> {
    fixed(&challenge.nonce, "nonce")
}

/// The nonce of a challenge to a participant that starts, from the wire.
///
/// # Errors
/// [`WireError`] when it is none.
pub fn state_nonce_from_wire(
    challenge: &wire::StateChallengeResponse,
) -> Result<[u8; NONCE_BYTES], WireError> {
    fixed(&challenge.nonce, "nonce")
}
