//! P1 and P2: the keys of one attempt, and the context that follows from all of them.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, ChunkTree, Digest, MemberIndex, PublicKey, RoundKeyContext};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use super::RoundOpen;
use crate::blame::Signed;
use crate::rejection::Rejection;
use crate::rules::Rule;
use crate::terms::RoundTerms;

/// Longest evidence an advert carries, in bytes: a report of 1184 and a certificate of about 1400 fit ten times.
pub const MAX_EVIDENCE_BYTES: usize = 16 * 1024;

/// P1, member → coordinator → members: fresh keys of one attempt and the evidence that binds them to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Who.
    pub member: MemberIndex,
    /// M_u, agrees pair masks.
    pub mask_key: PublicKey,
    /// E_u, encrypts shares.
    pub share_key: PublicKey,
    /// Evidence whose report data is the round-keys statement; opaque here, at most [`MAX_EVIDENCE_BYTES`].
    pub evidence: Vec<u8>,
    /// Entries in the member's own privacy ledger: peers refuse a number that falls.
    pub ledger_sequence: u64,
    /// Over the content and ctx.
    pub signature: Signature,
}

impl Advert {
    pub(crate) fn sign(
        context: &Digest,
        member: MemberIndex,
        keys: (PublicKey, PublicKey),
        evidence: Vec<u8>,
        ledger_sequence: u64,
        identity: &IdentitySecret,
    ) -> Self {
        let (mask_key, share_key) = keys;
        let mut advert = Self {
            member,
            mask_key,
            share_key,
            evidence,
            ledger_sequence,
            signature: Signature([0; 64]),
        };
        advert.signature = identity.sign(&advert.head().signed_bytes(context));
        advert
    }

    /// The same advert for members that do not judge its evidence.
    pub fn head(&self) -> AdvertHead {
        AdvertHead {
            member: self.member,
            mask_key: self.mask_key,
            share_key: self.share_key,
            evidence: Digest::of(&self.evidence),
            ledger_sequence: self.ledger_sequence,
            signature: self.signature,
        }
    }

    /// Checks signature and evidence; only this makes a [`VerifiedAdvert`].
    ///
    /// # Errors
    /// [`Rejection::NotAsked`], [`Rejection::Signature`], [`Rejection::Malformed`] or [`Rejection::Evidence`].
    pub fn verify(
        self,
        open: &RoundOpen,
        judge: &dyn RoundKeyJudge,
    ) -> Result<VerifiedAdvert, Rejection> {
        if self.evidence.len() > MAX_EVIDENCE_BYTES {
            return Err(Rejection::Malformed("evidence is longer than 16 KiB"));
        }
        self.head().verify(&open.terms, &open.terms.context())?;
        self.judged(open, judge)
    }

    /// Checks the evidence of an advert whose signature was checked.
    pub(crate) fn judged(
        self,
        open: &RoundOpen,
        judge: &dyn RoundKeyJudge,
    ) -> Result<VerifiedAdvert, Rejection> {
        Rule::R7.require_ok(
            judge.judge(&RoundKeys::of(open, &self), &self.evidence),
            |reason| Rejection::Evidence {
                member: self.member,
                reason,
            },
        )?;
        Ok(VerifiedAdvert(self))
    }
}

/// An advert with the hash of its evidence in place of the evidence: what a member needs of those that are not its neighbours.
///
/// Its signature is that of the advert, which covers the evidence by this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertHead {
    /// Who.
    pub member: MemberIndex,
    /// M_u.
    pub mask_key: PublicKey,
    /// E_u.
    pub share_key: PublicKey,
    /// SHA-256 of the evidence.
    pub evidence: Digest,
    /// Entries in the member's own privacy ledger.
    pub ledger_sequence: u64,
    /// Over the content and ctx.
    pub signature: Signature,
}

impl AdvertHead {
    fn signed_bytes(&self, context: &Digest) -> Vec<u8> {
        Canonical::new("consort/round/advert/v1")
            .bytes(context.as_bytes())
            .u64(self.member.get().into())
            .bytes(&self.mask_key.to_bytes())
            .bytes(&self.share_key.to_bytes())
            .bytes(self.evidence.as_bytes())
            .u64(self.ledger_sequence)
            .finish()
    }

    /// Checks the signature, not the evidence; the context is that of the terms.
    pub(crate) fn verify(&self, terms: &RoundTerms, context: &Digest) -> Result<(), Rejection> {
        let identity = terms
            .identity(self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        Rule::R8a.require(self.mask_key != self.share_key, || {
            Rejection::Malformed("mask key and share key must differ")
        })?;
        Rule::R6b.require_ok(
            identity.verify(&self.signed_bytes(context), &self.signature),
            |_| Rejection::Signature(self.member),
        )
    }

    /// As it was signed.
    pub(crate) fn signed(&self, context: &Digest) -> Signed {
        Signed {
            bytes: self.signed_bytes(context),
            signature: self.signature,
        }
    }

    fn leaf(&self, context: &Digest) -> Vec<u8> {
        let mut leaf = self.signed_bytes(context);
        leaf.extend_from_slice(&self.signature.0);
        leaf
    }
}

/// An advert whose signature and evidence were checked. The coordinator's machine takes no other (by construction: C1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAdvert(Advert);

impl VerifiedAdvert {
    /// The advert.
    pub fn advert(&self) -> &Advert {
        &self.0
    }
}

/// What a round-keys statement covers (domain `consort/attest/round-keys/v1`).
#[derive(Debug, Clone)]
pub struct RoundKeys {
    /// The member's name.
    pub organisation: consort_contract::OrganisationId,
    /// Its identity key.
    pub identity: IdentityKey,
    /// The job.
    pub job: consort_contract::JobId,
    /// The round.
    pub round: u32,
    /// The attempt.
    pub attempt: u32,
    /// Hash of the signed announcement.
    pub announcement: Digest,
    /// M_u.
    pub mask_key: [u8; 32],
    /// E_u.
    pub share_key: [u8; 32],
}

impl RoundKeys {
    fn of(open: &RoundOpen, advert: &Advert) -> Self {
        let member = &open.terms.cohort[&advert.member];
        Self::for_member(
            open,
            member,
            advert.mask_key.to_bytes(),
            advert.share_key.to_bytes(),
        )
    }

    pub(crate) fn for_member(
        open: &RoundOpen,
        member: &crate::terms::CohortMember,
        mask_key: [u8; 32],
        share_key: [u8; 32],
    ) -> Self {
        Self {
            organisation: member.organisation.clone(),
            identity: member.identity,
            job: open.terms.job.clone(),
            round: open.terms.round.0,
            attempt: open.terms.attempt.0,
            announcement: open.announcement(),
            mask_key,
            share_key,
        }
    }
}

/// Judges evidence over round keys; the attestation verifier stands behind it.
pub trait RoundKeyJudge {
    /// Accepts, or gives the reason code of the refusal.
    ///
    /// # Errors
    /// The stable reason code of the check that failed.
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String>;
}

/// ctx2 = SHA-256(ctx ‖ Merkle root of all signed adverts), the salt of every derived key.
pub fn keys_context(
    context: &Digest,
    adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
) -> RoundKeyContext {
    let heads = adverts.iter().map(|(m, advert)| (*m, advert.0.head()));
    context_of_heads(context, &heads.collect())
}

/// ctx2 from what every member knows of every advert.
pub(crate) fn context_of_heads(
    context: &Digest,
    heads: &BTreeMap<MemberIndex, AdvertHead>,
) -> RoundKeyContext {
    let mut tree = ChunkTree::new();
    for head in heads.values() {
        tree.push(&head.leaf(context));
    }
    RoundKeyContext::new(context, &tree.root())
}

/// P2, coordinator → member: U1, each advert once, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// Adverts of the member and its neighbours.
    pub adverts: Vec<Advert>,
    /// The others' adverts, without their evidence; none in a complete graph.
    pub heads: Vec<AdvertHead>,
}

impl KeyList {
    /// U1.
    pub(crate) fn by_member(&self) -> Result<BTreeMap<MemberIndex, AdvertHead>, Rejection> {
        let mut members = BTreeMap::new();
        let near = self.adverts.iter().map(Advert::head);
        for head in near.chain(self.heads.iter().cloned()) {
            let member = head.member;
            let again = members.insert(member, head).is_some();
            Rule::R6c.require(!again, || Rejection::Equivocation(member))?;
        }
        Ok(members)
    }
}
