//! P7: the published sum.

use std::collections::BTreeSet;

use consort_aggregation::{Canonical, Digest, MemberIndex};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use super::member_set_hash;
use crate::rejection::Rejection;

/// P7, coordinator → everybody: the published sum, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundResult {
    /// ctx of the attempt.
    pub context: Digest,
    /// U3.
    pub survivors: BTreeSet<MemberIndex>,
    /// Digest of the decoded sum.
    pub aggregate: Digest,
    /// By the coordinator.
    pub signature: Signature,
}

impl RoundResult {
    /// Signs a result as the coordinator.
    pub fn new(
        context: Digest,
        survivors: BTreeSet<MemberIndex>,
        aggregate: Digest,
        coordinator: &IdentitySecret,
    ) -> Self {
        let mut result = Self {
            context,
            survivors,
            aggregate,
            signature: Signature([0; 64]),
        };
        result.signature = coordinator.sign(&result.signed_bytes());
        result
    }

    fn signed_bytes(&self) -> Vec<u8> {
        Canonical::new("consort/round/result/v1")
            .bytes(self.context.as_bytes())
            .bytes(member_set_hash(&self.survivors).as_bytes())
            .bytes(self.aggregate.as_bytes())
            .finish()
    }

    /// Checks the coordinator's signature.
    ///
    /// # Errors
    /// [`Rejection::CoordinatorSignature`].
    pub fn verify(&self, coordinator: &IdentityKey) -> Result<(), Rejection> {
        coordinator
            .verify(&self.signed_bytes(), &self.signature)
            .map_err(|_| Rejection::CoordinatorSignature)
    }
}
