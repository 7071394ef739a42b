//! P6: the shares that open a sum.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, MemberIndex, RoundKeyContext, Share};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use super::{Confirmation, ConfirmedSets, UpdateSeal};
use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;

/// P6, coordinator → member: the confirmations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmations {
    /// At least ⌊(n+c)/2⌋ + 1 valid ones on one survivor set are needed.
    pub confirmations: Vec<Confirmation>,
    /// Of each of the member's neighbours in U3 that did not confirm, the seal; none in a complete graph.
    pub seals: Vec<UpdateSeal>,
}

/// The shares of one answer to P6. Each member appears in exactly one of the two maps.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretShares {
    /// For v in U3, a neighbour or the member itself: the share of b_v.
    pub self_mask: BTreeMap<MemberIndex, Share>,
    /// For v in U2∖U3, a neighbour: the share of σ_v.
    pub mask_key: BTreeMap<MemberIndex, Share>,
}

impl std::fmt::Debug for SecretShares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "SecretShares({} self-mask, {} mask-key)",
            self.self_mask.len(),
            self.mask_key.len()
        )
    }
}

/// P6, member → coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmaskShares {
    /// Who.
    pub member: MemberIndex,
    /// The shares.
    pub shares: SecretShares,
    /// Over ctx2, S(U2), H(U3) and the shares.
    pub signature: Signature,
}

impl UnmaskShares {
    /// Signs shares as their sender, under the sets that it confirmed.
    pub fn sign(
        context2: &RoundKeyContext,
        sets: &ConfirmedSets,
        member: MemberIndex,
        shares: SecretShares,
        identity: &IdentitySecret,
    ) -> Self {
        let mut message = Self {
            member,
            shares,
            signature: Signature([0; 64]),
        };
        message.signature = identity.sign(&message.signed_bytes(context2, sets));
        message
    }

    fn signed_bytes(&self, context2: &RoundKeyContext, sets: &ConfirmedSets) -> Vec<u8> {
        let mut canonical = Canonical::new("consort/round/unmask/v2")
            .bytes(context2.digest().as_bytes())
            .bytes(sets.u2.as_bytes())
            .bytes(sets.u3.as_bytes())
            .u64(self.member.get().into());
        for shares in [&self.shares.self_mask, &self.shares.mask_key] {
            canonical = canonical.list(shares.len());
            for (owner, share) in shares {
                canonical = canonical
                    .u64(owner.get().into())
                    .bytes(share.to_bytes().as_ref());
            }
        }
        canonical.finish()
    }

    /// As it was signed.
    pub(crate) fn signed(&self, context2: &RoundKeyContext, sets: &ConfirmedSets) -> Signed {
        Signed {
            bytes: self.signed_bytes(context2, sets),
            signature: self.signature,
        }
    }

    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        sets: &ConfirmedSets,
        identity: &IdentityKey,
    ) -> Result<(), Rejection> {
        let signed = self.signed_bytes(context2, sets);
        Rule::C9.require_ok(identity.verify(&signed, &self.signature), |_| {
            Rejection::Signature(self.member)
        })
    }
}
