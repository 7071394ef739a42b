//! The only border between wire and domain: what comes in is checked once and becomes a domain type, or a [`WireError`].

mod audit;
mod consent;
mod job;
mod keys;
mod model;
mod query;
mod round;
mod target;

pub use audit::{
    COSIGNATURE_BYTES, ShownHead, cosign_from_wire, prove_head_from_wire, shown_head_from_wire,
    shown_head_to_wire,
};
pub use consent::{approval_from_wire, vote_from_wire, vote_to_wire};
pub use job::{job_from_wire, job_to_wire, plan_from_wire, plan_to_wire};
pub use keys::{
    KeyRequest, NONCE_BYTES, StateKeyRequest, key_request_from_wire, nonce_from_wire,
    state_key_request_from_wire, state_nonce_from_wire,
};
pub use round::{
    AttemptKey, advert_from_wire, advert_to_wire, attempt_from_wire, attempt_to_wire,
    complaint_from_wire, complaint_to_wire, confirmation_from_wire, confirmation_to_wire,
    directive_from_wire, directive_to_wire, result_from_wire, result_to_wire, round_open_from_wire,
    round_open_to_wire, seal_from_wire, seal_to_wire, share_keys_from_wire, share_keys_to_wire,
    survivors_from_wire, survivors_to_wire, unmask_from_wire, unmask_to_wire,
};

pub(crate) use round::{
    box_to_wire, encoded, head_to_wire, member_digest_to_wire, statement_to_wire,
};

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{NameError, Signature, Thresholds};

/// Why bytes from outside are no message of this protocol.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WireError {
    /// A field is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field has a value it may not have.
    #[error("the field {field} is not valid: {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong and what is expected.
        problem: String,
    },
}

impl WireError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "wire_field_missing",
            Self::Invalid { .. } => "wire_field_invalid",
        }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl ToString) -> Self {
        Self::Invalid {
            field,
            problem: problem.to_string(),
        }
    }
}

pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing(field))
}

pub(crate) fn member(index: u32, field: &'static str) -> Result<MemberIndex, WireError> {
    MemberIndex::new(index).ok_or_else(|| WireError::invalid(field, "member indices count from 1"))
}

pub(crate) fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, WireError> {
    Ok(Digest::new(fixed(bytes, field)?))
}

pub(crate) fn fixed<const N: usize>(
    bytes: &[u8],
    field: &'static str,
) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| {
        WireError::invalid(field, format!("{N} bytes are needed, not {}", bytes.len()))
    })
}

pub(crate) fn signature(bytes: &[u8], field: &'static str) -> Result<Signature, WireError> {
    Ok(Signature(fixed(bytes, field)?))
}

/// h and m as they stand on the wire: zeros for a complete graph.
pub(crate) fn circle_of(thresholds: &Thresholds) -> (u32, u32) {
    thresholds
        .circle()
        .map_or((0, 0), |circle| (circle.reach, circle.witnesses))
}

pub(crate) fn name<T: std::str::FromStr<Err = NameError>>(
    text: &str,
    field: &'static str,
) -> Result<T, WireError> {
    text.parse()
        .map_err(|error: NameError| WireError::invalid(field, error))
}
