//! Votes and approvals.

use consort_contract::{JobId, MAX_REASON_BYTES, Vote};

use super::{WireError, digest, name, required, signature};
use crate::wire::consent::v1 as wire;

/// To the wire.
pub fn vote_to_wire(vote: &Vote) -> wire::Vote {
    wire::Vote {
        organisation: vote.organisation.to_string(),
        contract: vote.contract.as_bytes().to_vec(),
        approve: vote.approve,
        reason: vote.reason.clone(),
        signature: vote.signature.0.to_vec(),
    }
}

/// From the wire. The signature is not checked here but by [`Vote::verify`].
///
/// # Errors
/// [`WireError`] names the field.
pub fn vote_from_wire(vote: Option<wire::Vote>) -> Result<Vote, WireError> {
    let vote = required(vote, "vote")?;
    if vote.reason.len() > MAX_REASON_BYTES {
        return Err(WireError::invalid(
            "vote.reason",
            format!("at most {MAX_REASON_BYTES} bytes"),
        ));
    }
    Ok(Vote {
        organisation: name(&vote.organisation, "vote.organisation")?,
        contract: digest(&vote.contract, "vote.contract")?,
        approve: vote.approve,
        reason: vote.reason,
        signature: signature(&vote.signature, "vote.signature")?,
    })
}

/// From the wire.
///
/// # Errors
/// [`WireError`] names the field.
pub fn approval_from_wire(approval: wire::Approval) -> Result<(JobId, Vec<Vote>), WireError> {
    let votes = approval
        .votes
        .into_iter()
        .map(|vote| vote_from_wire(Some(vote)))
        .collect::<Result<_, _>>()?;
    Ok((name(&approval.job, "approval.job")?, votes))
}
