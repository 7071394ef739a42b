//! Evidence that a peer runs known code in a confidential machine, the policy it is judged by, and the channel that
//! nobody passes without it.
//!
//! Start reading at [`verify`], which is the list of checks, and at [`channel`], which is where they guard a connection.

pub mod attester;
mod certificate;
pub mod channel;
mod crl;
mod evidence;
pub mod fields;
mod limits;
mod machine;
pub mod measure;

mod pem;
pub mod policy;
mod reason;
mod require;
pub mod simulated;
mod snp;
pub mod statements;
mod tdx;
mod trust;
pub mod verify;

#[cfg(test)]
mod tests;

pub use attester::{Attester, AttesterFault};
pub use certificate::{EndorsementKey, certificate_der};
pub use evidence::{Evidence, MAX_EVIDENCE_BYTES, REPORT_BYTES};
pub use machine::{
    ChipId, FirmwareVersion, HostData, IdentityKey, KeyDigest, LaunchId, MachineBinding,
    Measurement, Product, Tcb,
};
pub use policy::{Policy, PolicyError};
pub use reason::{Reason, Technology};
pub use statements::{ReportData, Role};
pub use trust::{AMD_ROOT_HASHES, INTEL_ROOT_HASH, TrustError, TrustStore};
pub use verify::{
    Claims, Expected, Explainer, Explanation, Finding, SnpClaims, TdxClaims, Unrefused, Verdict,
    Verifier, Wanted,
};
