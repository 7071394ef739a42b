//! P3: shares of both secrets, sealed for each neighbour, and how they are handed on in P4.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, Commitments, Digest, MemberIndex, RoundKeyContext, Seating};
use consort_contract::{IdentitySecret, Signature};

use super::VerifiedAdvert;
use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;
use crate::terms::RoundTerms;

/// P3, the public part: commitments to both secrets and the hash of every sealed share, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareStatement {
    /// Whose secrets.
    pub member: MemberIndex,
    /// Feldman commitments to σ_u; the constant is M_u.
    pub mask_key: Commitments,
    /// Feldman commitments to b_u.
    pub self_mask: Commitments,
    /// SHA-256 of the sealed share for each neighbour.
    pub sealed: BTreeMap<MemberIndex, Digest>,
    /// Over the content and ctx2.
    pub signature: Signature,
}

impl ShareStatement {
    pub(crate) fn sign(
        context2: &RoundKeyContext,
        member: MemberIndex,
        commitments: (Commitments, Commitments),
        sealed: &BTreeMap<MemberIndex, Vec<u8>>,
        identity: &IdentitySecret,
    ) -> Self {
        let (mask_key, self_mask) = commitments;
        let sealed = sealed
            .iter()
            .map(|(to, bytes)| (*to, Digest::of(bytes)))
            .collect();
        let mut statement = Self {
            member,
            mask_key,
            self_mask,
            sealed,
            signature: Signature([0; 64]),
        };
        statement.signature = identity.sign(&statement.signed_bytes(context2));
        statement
    }

    fn signed_bytes(&self, context2: &RoundKeyContext) -> Vec<u8> {
        let mut canonical = Canonical::new("consort/round/shares/v1")
            .bytes(context2.digest().as_bytes())
            .u64(self.member.get().into())
            .bytes(&self.mask_key.to_bytes())
            .bytes(&self.self_mask.to_bytes())
            .list(self.sealed.len());
        for (to, digest) in &self.sealed {
            canonical = canonical.u64(to.get().into()).bytes(digest.as_bytes());
        }
        canonical.finish()
    }

    /// As it was signed.
    pub(crate) fn signed(&self, context2: &RoundKeyContext) -> Signed {
        Signed {
            bytes: self.signed_bytes(context2),
            signature: self.signature,
        }
    }

    /// SHA-256 of what its owner signed: its place in a [`SharedSet`].
    pub fn digest(&self, context2: &RoundKeyContext) -> Digest {
        Digest::of(&self.signed_bytes(context2))
    }

    /// Checks a statement against its owner's advert and the terms.
    ///
    /// # Errors
    /// [`Rejection`] names the rule that is broken.
    pub fn verify(
        &self,
        context2: &RoundKeyContext,
        terms: &RoundTerms,
        seating: &Seating,
        adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
    ) -> Result<(), Rejection> {
        let identity = terms
            .identity(self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        let advert = adverts
            .get(&self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        Rule::R10a.require_ok(
            identity.verify(&self.signed_bytes(context2), &self.signature),
            |_| Rejection::Signature(self.member),
        )?;
        let threshold = terms.share_threshold();
        Rule::R10b.require(
            self.mask_key.threshold() == threshold && self.self_mask.threshold() == threshold,
            || {
                Rejection::Malformed(
                    "commitments must have a point for each share that opens a secret",
                )
            },
        )?;
        Rule::R10c.require(self.mask_key.constant() == advert.advert().mask_key, || {
            Rejection::Material {
                member: self.member,
                what: "the commitment to the mask key is not its public key",
            }
        })?;
        let near = seating.neighbours(self.member);
        Rule::R10d.require(self.sealed.keys().eq(&near), || {
            Rejection::Malformed("one sealed share for each neighbour is needed")
        })
    }
}

/// P3, member → coordinator: the statement and the sealed shares themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareKeys {
    /// What everybody sees.
    pub statement: ShareStatement,
    /// Ciphertext for each neighbour.
    pub sealed: BTreeMap<MemberIndex, Vec<u8>>,
}

impl ShareKeys {
    /// Checks the statement and that each ciphertext is the one it names.
    ///
    /// # Errors
    /// [`Rejection`] names the rule that is broken.
    pub fn verify(
        &self,
        context2: &RoundKeyContext,
        terms: &RoundTerms,
        seating: &Seating,
        adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
    ) -> Result<(), Rejection> {
        self.statement.verify(context2, terms, seating, adverts)?;
        let digests: BTreeMap<_, _> = self
            .sealed
            .iter()
            .map(|(to, bytes)| (*to, Digest::of(bytes)))
            .collect();
        Rule::C4.require(digests == self.statement.sealed, || {
            Rejection::Malformed("a sealed share is not the one its statement names")
        })
    }
}

/// P4, coordinator → member: U2 and what its members sealed for this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharesDelivery {
    /// Statements of U2: of the recipient's neighbours and its own.
    pub statements: Vec<ShareStatement>,
    /// The others of U2, with the digests of their statements; none in a complete graph.
    pub others: BTreeMap<MemberIndex, Digest>,
    /// For the recipient, by sender.
    pub sealed: BTreeMap<MemberIndex, Vec<u8>>,
}

/// U2: who shared its keys, and SHA-256 of the statement that each of them signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedSet(BTreeMap<MemberIndex, Digest>);

impl SharedSet {
    /// S(U2), which every member signs with its update, its confirmation and its answer to P6 (docs/protocol.md, "Context").
    ///
    /// # Security
    /// Whoever answers under it answers for these statements and no others: a dealer that signed two cannot have a holder
    /// judged by the one that the holder was not shown.
    pub fn root(&self) -> Digest {
        let mut canonical = Canonical::new("consort/round/shared-set/v1").list(self.0.len());
        for (member, statement) in &self.0 {
            canonical = canonical
                .u64(member.get().into())
                .bytes(statement.as_bytes());
        }
        canonical.hash()
    }

    /// Each member and the digest of its statement, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&MemberIndex, &Digest)> {
        self.0.iter()
    }

    /// The digest of a member's statement.
    pub fn statement(&self, of: MemberIndex) -> Option<&Digest> {
        self.0.get(&of)
    }
}

impl FromIterator<(MemberIndex, Digest)> for SharedSet {
    fn from_iter<T: IntoIterator<Item = (MemberIndex, Digest)>>(statements: T) -> Self {
        Self(statements.into_iter().collect())
    }
}
