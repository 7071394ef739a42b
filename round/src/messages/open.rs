//! P0: the announcement.

use consort_aggregation::{Canonical, Digest};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;
use crate::terms::RoundTerms;

/// The label of what the coordinator signs in P0.
pub(crate) const OPEN: &str = "consort/round/open/v1";

/// P0, coordinator → member: the terms, signed by the coordinator's identity key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundOpen {
    /// The terms of the attempt.
    pub terms: RoundTerms,
    /// Over the label `consort/round/open/v1` and ctx.
    pub signature: Signature,
}

impl RoundOpen {
    /// Signs terms as the coordinator.
    pub fn new(terms: RoundTerms, coordinator: &IdentitySecret) -> Self {
        let signature = coordinator.sign(&Self::signed_bytes(&terms));
        Self { terms, signature }
    }

    fn signed_bytes(terms: &RoundTerms) -> Vec<u8> {
        Canonical::new(OPEN)
            .bytes(terms.context().as_bytes())
            .finish()
    }

    /// As it was signed.
    pub(crate) fn signed(&self) -> Signed {
        Signed {
            bytes: Self::signed_bytes(&self.terms),
            signature: self.signature,
        }
    }

    /// Checks the coordinator's signature.
    ///
    /// # Errors
    /// [`Rejection::CoordinatorSignature`].
    pub fn verify(&self, coordinator: &IdentityKey) -> Result<(), Rejection> {
        Rule::R1.require_ok(
            coordinator.verify(&Self::signed_bytes(&self.terms), &self.signature),
            |_| Rejection::CoordinatorSignature,
        )
    }

    /// Hash of the signed announcement, which round-key evidence is bound to.
    pub fn announcement(&self) -> Digest {
        Canonical::new("consort/round/announcement/v1")
            .bytes(self.terms.context().as_bytes())
            .bytes(&self.signature.0)
            .hash()
    }
}
