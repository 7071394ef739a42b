//! P5: the survivor set, and the members' signatures on it.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Canonical, ChunkTree, Digest, MemberIndex, RoundKeyContext};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use super::{UpdateSeal, member_set_hash};
use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;

/// The label of what the coordinator signs in P5.
pub(crate) const SURVIVORS: &str = "consort/round/survivors/v1";

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
        Canonical::new(SURVIVORS)
            .bytes(context2.digest().as_bytes())
            .bytes(member_set_hash(members).as_bytes())
            .bytes(inputs_root.as_bytes())
            .finish()
    }

    /// As it was signed.
    pub(crate) fn signed(&self, context2: &RoundKeyContext) -> Signed {
        Signed {
            bytes: Self::signed_bytes(context2, &self.members, &self.inputs_root),
            signature: self.signature,
        }
    }

    /// Whether this coordinator signed it in this context.
    pub fn is_signed_by(&self, coordinator: &IdentityKey, context2: &RoundKeyContext) -> bool {
        let signed = self.signed(context2);
        coordinator.verify(&signed.bytes, &signed.signature).is_ok()
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
    /// What it signed. It travels along so that who reads two of one member can prove it.
    pub sets: ConfirmedSets,
    /// Over ctx2 and the sets.
    pub signature: Signature,
}

/// What a confirmation covers besides ctx2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmedSets {
    /// S(U2), over the statements of U2.
    pub u2: Digest,
    /// H(U3).
    pub u3: Digest,
    /// Merkle root over the survivors' seals.
    pub inputs_root: Digest,
    /// The head of the audit log that P0 announced.
    pub log_head: Digest,
}

impl ConfirmedSets {
    /// Signs the sets as a member.
    pub fn sign(
        self,
        context2: &RoundKeyContext,
        member: MemberIndex,
        identity: &IdentitySecret,
    ) -> Confirmation {
        Confirmation {
            member,
            sets: self,
            signature: identity.sign(&self.signed_bytes(context2, member)),
        }
    }

    fn signed_bytes(&self, context2: &RoundKeyContext, member: MemberIndex) -> Vec<u8> {
        Canonical::new("consort/round/confirmation/v2")
            .bytes(context2.digest().as_bytes())
            .u64(member.get().into())
            .bytes(self.u2.as_bytes())
            .bytes(self.u3.as_bytes())
            .bytes(self.inputs_root.as_bytes())
            .bytes(self.log_head.as_bytes())
            .finish()
    }
}

impl Confirmation {
    /// As it was signed.
    pub(crate) fn signed(&self, context2: &RoundKeyContext) -> Signed {
        Signed {
            bytes: self.sets.signed_bytes(context2, self.member),
            signature: self.signature,
        }
    }

    /// Checks that it is over these sets, by the rule of whoever reads it: a member's R16a or the coordinator's C8.
    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        sets: &ConfirmedSets,
        identity: &IdentityKey,
        rule: Rule,
    ) -> Result<(), Rejection> {
        let signed = sets.signed_bytes(context2, self.member);
        let holds = self.sets == *sets && identity.verify(&signed, &self.signature).is_ok();
        rule.require(holds, || Rejection::Signature(self.member))
    }
}
