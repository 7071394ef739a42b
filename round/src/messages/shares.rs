//! P3: shares of both secrets, sealed for each neighbour, and how they are handed on in P4.

use std::collections::{BTreeMap, BTreeSet};

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
        let threshold = terms.thresholds.share_threshold();
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
    /// The others of U2; none in a complete graph.
    pub others: BTreeSet<MemberIndex>,
    /// For the recipient, by sender.
    pub sealed: BTreeMap<MemberIndex, Vec<u8>>,
}
