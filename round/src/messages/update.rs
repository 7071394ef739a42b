//! P4: the seal under a masked update.

use consort_aggregation::{Canonical, Digest, MemberIndex, RoundKeyContext};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;

/// P4, member → coordinator, after the last chunk: what was uploaded, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSeal {
    /// Who.
    pub member: MemberIndex,
    /// Tree hash over the chunks of the masked vector.
    pub tree_hash: Digest,
    /// Over ctx2, S(U2) and the tree hash.
    pub signature: Signature,
}

impl UpdateSeal {
    pub(crate) fn sign(
        context2: &RoundKeyContext,
        u2: &Digest,
        member: MemberIndex,
        tree_hash: Digest,
        identity: &IdentitySecret,
    ) -> Self {
        let signature = identity.sign(&Self::signed_bytes(context2, u2, member, &tree_hash));
        Self {
            member,
            tree_hash,
            signature,
        }
    }

    fn signed_bytes(
        context2: &RoundKeyContext,
        u2: &Digest,
        member: MemberIndex,
        tree_hash: &Digest,
    ) -> Vec<u8> {
        Canonical::new("consort/round/update/v2")
            .bytes(context2.digest().as_bytes())
            .bytes(u2.as_bytes())
            .u64(member.get().into())
            .bytes(tree_hash.as_bytes())
            .finish()
    }

    /// As it was signed.
    pub(crate) fn signed(&self, context2: &RoundKeyContext, u2: &Digest) -> Signed {
        Signed {
            bytes: Self::signed_bytes(context2, u2, self.member, &self.tree_hash),
            signature: self.signature,
        }
    }

    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        u2: &Digest,
        identity: &IdentityKey,
    ) -> Result<(), Rejection> {
        let signed = Self::signed_bytes(context2, u2, self.member, &self.tree_hash);
        Rule::C5.require_ok(identity.verify(&signed, &self.signature), |_| {
            Rejection::Signature(self.member)
        })
    }
}
