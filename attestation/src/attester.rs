//! Whoever can have the machine sign a statement.

use crate::evidence::Evidence;
use crate::statements::ReportData;

/// A source of evidence about the machine this process runs in.
pub trait Attester: Send + Sync {
    /// Has the hardware sign this report data. May block: real firmware answers in milliseconds and may throttle.
    ///
    /// # Errors
    /// [`AttesterFault`] when no evidence could be had.
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault>;
}

/// No evidence could be had from this machine. The fault lies on this side, never with a peer.
#[derive(Debug, thiserror::Error)]
#[error("this machine gave no evidence: {what}; look at its attestation device and its host")]
pub struct AttesterFault {
    what: String,
}

impl AttesterFault {
    /// A fault, in words that name no secret.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        "attest.attester-fault"
    }
}
