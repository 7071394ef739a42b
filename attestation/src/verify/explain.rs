//! The list of checks for people: what the evidence says, what was wanted, how each check ended.

use std::time::SystemTime;

use super::{Checks, Finding, Verifier, Wanted};
use crate::evidence::Evidence;
use crate::policy::{Policy, PolicyError};
use crate::reason::Reason;
use crate::trust::TrustStore;

/// Every check on a piece of evidence, in order.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The first check that failed, if any did.
    pub outcome: Result<Unrefused, Reason>,
    /// One finding or more for each check.
    pub findings: Vec<Finding>,
}

/// Evidence that no check refused, for people to read of.
///
/// # Security
/// It is no passed check, and nothing lets a peer in for it: what nobody wanted was not judged. Only [`super::Claims`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrefused {
    /// Whether a simulated root vouches for it, and so no hardware does.
    pub simulated: bool,
}

/// Explains evidence to people, under a policy or without one. It judges no peer.
pub struct Explainer(Verifier);

impl Explainer {
    /// Under a policy, with the roots that it pins.
    ///
    /// # Errors
    /// As [`Verifier::new`].
    pub fn new(policy: Policy, store: &TrustStore) -> Result<Self, PolicyError> {
        Verifier::new(policy, store).map(Self)
    }

    /// Without a policy: what can be asked of any evidence, under those of AMD's and Intel's own roots that are in the store; nothing
    /// where none is. A report version that tells of the alias check, no Milan, no debugging, no migration agent, no VLEK, no TDX
    /// platform that is not up to date; any software, any firmware level of AMD's, anybody's machine.
    pub fn vendors_roots_alone(store: &TrustStore) -> Option<Self> {
        let policy = Policy::vendors_roots_alone().with_roots_of(store)?;
        Self::new(policy, store).ok()
    }

    /// As [`Verifier::explain`].
    pub fn explain(&self, bytes: &[u8], wanted: &Wanted, now: SystemTime) -> Explanation {
        self.0.explain(bytes, wanted, now)
    }
}

impl Verifier {
    /// Judges evidence, as it came, by the same checks, and tells of each what the evidence says, what was wanted, and how it ended.
    /// It goes on after a failure where there is something left to look at; the first failure is the outcome.
    ///
    /// # Security
    /// For people. What is not in `wanted` is not judged, so a good outcome is worth less than [`Verifier::verify`]'s. After the
    /// first failure findings are about what the evidence says, not about what any machine said.
    pub fn explain(&self, bytes: &[u8], wanted: &Wanted, now: SystemTime) -> Explanation {
        let mut checks = Checks::explaining();
        let read = checks.parsed(Evidence::CHECKS, Evidence::from_bytes(bytes), |read| {
            let report = read.report().len();
            match read.vcek_der() {
                Some(der) => format!("{report} bytes of report, {} of certificate", der.len()),
                None => format!("{report} bytes of quote"),
            }
        });
        let technology = read.as_ref().ok().map(Evidence::technology);
        let judged = read.and_then(|read| self.judge(&mut checks, &read, wanted, now));
        let outcome = match (checks.first_failure(), judged) {
            (Some(reason), _) | (None, Err(reason)) => Err(reason),
            (None, Ok(claims)) => claims.ok_or(Reason::ReportSignature),
        };
        Explanation {
            outcome: outcome.map(|claims| Unrefused {
                simulated: claims.simulated(),
            }),
            findings: checks.into_findings(technology),
        }
    }
}
