//! P5: the survivor set, and the members' signatures on it.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Canonical, ChunkTree, Digest, MemberIndex, RoundKeyContext};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use super::{UpdateSeal, member_set_hash};
use crate::rejection::Rejection;
use crate::rules::Rule;

/// P5, coordinator → member: the survivors U3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivors {
    /// U3.
    pub members: BTreeSet<MemberIndex>,
    /// Merkle root over the survivors' update seals, in order.
    pub inputs_root: Digest,
    /// By the coordinator, over ctx2, H(U3) and the root.
    pub signature: Signature,
}

impl Survivors {
    /// Signs the survivor set as the coordinator.
    pub fn new(
        context2: &RoundKeyContext,
        seals: &BTreeMap<MemberIndex, UpdateSeal>,
        coordinator: &IdentitySecret,
    ) -> Self {
        let members: BTreeSet<_> = seals.keys().copied().collect();
        let mut tree = ChunkTree::new();
        for seal in seals.values() {
            let leaf = Canonical::new("consort/round/input/v1")
                .u64(seal.member.get().into())
                .bytes(seal.tree_hash.as_bytes());
            tree.push(&leaf.bytes(&seal.signature.0).finish());
        }
        let inputs_root = tree.root();
        let signature = coordinator.sign(&Self::signed_bytes(context2, &members, &inputs_root));
        Self {
            members,
            inputs_root,
            signature,
        }
    }

    fn signed_bytes(
        context2: &RoundKeyContext,
        members: &BTreeSet<MemberIndex>,
        inputs_root: &Digest,
    ) -> Vec<u8> {
        Canonical::new("consort/round/survivors/v1")
            .bytes(context2.digest().as_bytes())
            .bytes(member_set_hash(members).as_bytes())
            .bytes(inputs_root.as_bytes())
            .finish()
    }

    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        coordinator: &IdentityKey,
    ) -> Result<(), Rejection> {
        let signed = Self::signed_bytes(context2, &self.members, &self.inputs_root);
        Rule::R13.require_ok(coordinator.verify(&signed, &self.signature), |_| {
            Rejection::CoordinatorSignature
        })
    }
}

/// P5, member → coordinator → members: "I will open this survivor set and no other".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Who.
    pub member: MemberIndex,
    /// Over ctx2, H(U2), H(U3), the input root and the log head.
    pub signature: Signature,
}

/// What a confirmation covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfirmedSets {
    pub(crate) context2: RoundKeyContext,
    pub(crate) u2: Digest,
    pub(crate) u3: Digest,
    pub(crate) inputs_root: Digest,
    pub(crate) log_head: Digest,
}

impl ConfirmedSets {
    pub(crate) fn signed_bytes(&self, member: MemberIndex) -> Vec<u8> {
        Canonical::new("consort/round/confirmation/v1")
            .bytes(self.context2.digest().as_bytes())
            .u64(member.get().into())
            .bytes(self.u2.as_bytes())
            .bytes(self.u3.as_bytes())
            .bytes(self.inputs_root.as_bytes())
            .bytes(self.log_head.as_bytes())
            .finish()
    }

    pub(crate) fn sign(&self, member: MemberIndex, identity: &IdentitySecret) -> Confirmation {
        Confirmation {
            member,
            signature: identity.sign(&self.signed_bytes(member)),
        }
    }

    /// Checks a confirmation, by the rule of whoever reads it: a member's R16a or the coordinator's C8.
    pub(crate) fn verify(
        &self,
        confirmation: &Confirmation,
        identity: &IdentityKey,
        rule: Rule,
    ) -> Result<(), Rejection> {
        let signed = self.signed_bytes(confirmation.member);
        rule.require_ok(identity.verify(&signed, &confirmation.signature), |_| {
            Rejection::Signature(confirmation.member)
        })
    }
}
