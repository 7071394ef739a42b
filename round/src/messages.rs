//! What members and coordinator say, and the canonical bytes that each of them signs.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{
    Canonical, ChunkTree, Commitments, Digest, MemberIndex, PublicKey, RoundKeyContext, Share,
};
use consort_contract::{IdentityKey, IdentitySecret, Signature};

use crate::rejection::Rejection;
use crate::terms::RoundTerms;

/// Longest evidence an advert carries, in bytes: a report of 1184 and a certificate of about 1400 fit ten times.
pub const MAX_EVIDENCE_BYTES: usize = 16 * 1024;

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
        Canonical::new("consort/round/open/v1")
            .bytes(terms.context().as_bytes())
            .finish()
    }

    /// Checks the coordinator's signature.
    ///
    /// # Errors
    /// [`Rejection::CoordinatorSignature`].
    pub fn verify(&self, coordinator: &IdentityKey) -> Result<(), Rejection> {
        coordinator
            .verify(&Self::signed_bytes(&self.terms), &self.signature)
            .map_err(|_| Rejection::CoordinatorSignature)
    }

    /// Hash of the signed announcement, which round-key evidence is bound to.
    pub fn announcement(&self) -> Digest {
        Canonical::new("consort/round/announcement/v1")
            .bytes(self.terms.context().as_bytes())
            .bytes(&self.signature.0)
            .hash()
    }
}

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
        advert.signature = identity.sign(&advert.signed_bytes(context));
        advert
    }

    fn signed_bytes(&self, context: &Digest) -> Vec<u8> {
        Canonical::new("consort/round/advert/v1")
            .bytes(context.as_bytes())
            .u64(self.member.get().into())
            .bytes(&self.mask_key.to_bytes())
            .bytes(&self.share_key.to_bytes())
            .bytes(Digest::of(&self.evidence).as_bytes())
            .u64(self.ledger_sequence)
            .finish()
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
        let identity = open
            .terms
            .identity(self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        if self.evidence.len() > MAX_EVIDENCE_BYTES {
            return Err(Rejection::Malformed("evidence is longer than 16 KiB"));
        }
        if self.mask_key == self.share_key {
            return Err(Rejection::Malformed("mask key and share key must differ"));
        }
        identity
            .verify(&self.signed_bytes(&open.terms.context()), &self.signature)
            .map_err(|_| Rejection::Signature(self.member))?;
        judge
            .judge(&RoundKeys::of(open, &self), &self.evidence)
            .map_err(|reason| Rejection::Evidence {
                member: self.member,
                reason,
            })?;
        Ok(VerifiedAdvert(self))
    }

    fn leaf(&self, context: &Digest) -> Vec<u8> {
        let mut leaf = self.signed_bytes(context);
        leaf.extend_from_slice(&self.signature.0);
        leaf
    }
}

/// An advert whose signature and evidence were checked.
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
    /// Root of the roster.
    pub roster_root: Digest,
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
            roster_root: open.terms.roster_root,
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
    let mut tree = ChunkTree::new();
    for advert in adverts.values() {
        tree.push(&advert.0.leaf(context));
    }
    RoundKeyContext::new(context, &tree.root())
}

/// H(U): the hash of a set of members, in order.
pub fn member_set_hash(members: &BTreeSet<MemberIndex>) -> Digest {
    let mut canonical = Canonical::new("consort/round/member-set/v1").list(members.len());
    for member in members {
        canonical = canonical.u64(member.get().into());
    }
    canonical.hash()
}

/// P2, coordinator → member: all adverts U1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// Adverts, any order; a member may appear once.
    pub adverts: Vec<Advert>,
}

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

    /// Checks a statement against its owner's advert and the terms.
    ///
    /// # Errors
    /// [`Rejection`] names the rule that is broken.
    pub fn verify(
        &self,
        context2: &RoundKeyContext,
        terms: &RoundTerms,
        adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
    ) -> Result<(), Rejection> {
        let identity = terms
            .identity(self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        let advert = adverts
            .get(&self.member)
            .ok_or(Rejection::NotAsked(self.member))?;
        identity
            .verify(&self.signed_bytes(context2), &self.signature)
            .map_err(|_| Rejection::Signature(self.member))?;
        let threshold = terms.thresholds.threshold();
        if self.mask_key.threshold() != threshold || self.self_mask.threshold() != threshold {
            return Err(Rejection::Malformed(
                "commitments must have exactly t points",
            ));
        }
        if self.mask_key.constant() != advert.0.mask_key {
            return Err(Rejection::Material {
                member: self.member,
                what: "the commitment to the mask key is not its public key",
            });
        }
        if !self
            .sealed
            .keys()
            .eq(adverts.keys().filter(|peer| **peer != self.member))
        {
            return Err(Rejection::Malformed(
                "one sealed share for each other member of the key list is needed",
            ));
        }
        Ok(())
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
        adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
    ) -> Result<(), Rejection> {
        self.statement.verify(context2, terms, adverts)?;
        let digests: BTreeMap<_, _> = self
            .sealed
            .iter()
            .map(|(to, bytes)| (*to, Digest::of(bytes)))
            .collect();
        if digests != self.statement.sealed {
            return Err(Rejection::Malformed(
                "a sealed share is not the one its statement names",
            ));
        }
        Ok(())
    }
}

/// P4, coordinator → member: U2 and what its members sealed for this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharesDelivery {
    /// Statements of U2, the recipient's own included.
    pub statements: Vec<ShareStatement>,
    /// For the recipient, by sender.
    pub sealed: BTreeMap<MemberIndex, Vec<u8>>,
}

/// P4, member → coordinator, after the last chunk: what was uploaded, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSeal {
    /// Who.
    pub member: MemberIndex,
    /// Tree hash over the chunks of the masked vector.
    pub tree_hash: Digest,
    /// Over ctx2, H(U2) and the tree hash.
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
        Canonical::new("consort/round/update/v1")
            .bytes(context2.digest().as_bytes())
            .bytes(u2.as_bytes())
            .u64(member.get().into())
            .bytes(tree_hash.as_bytes())
            .finish()
    }

    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        u2: &Digest,
        identity: &IdentityKey,
    ) -> Result<(), Rejection> {
        identity
            .verify(
                &Self::signed_bytes(context2, u2, self.member, &self.tree_hash),
                &self.signature,
            )
            .map_err(|_| Rejection::Signature(self.member))
    }
}

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
        coordinator
            .verify(
                &Self::signed_bytes(context2, &self.members, &self.inputs_root),
                &self.signature,
            )
            .map_err(|_| Rejection::CoordinatorSignature)
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
    fn signed_bytes(&self, member: MemberIndex) -> Vec<u8> {
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

    pub(crate) fn verify(
        &self,
        confirmation: &Confirmation,
        identity: &IdentityKey,
    ) -> Result<(), Rejection> {
        identity
            .verify(
                &self.signed_bytes(confirmation.member),
                &confirmation.signature,
            )
            .map_err(|_| Rejection::Signature(confirmation.member))
    }
}

/// P6, coordinator → member: the confirmations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmations {
    /// At least ⌊(n+c)/2⌋ + 1 valid ones on one survivor set are needed.
    pub confirmations: Vec<Confirmation>,
}

/// The shares of one answer to P6. Each member appears in exactly one of the two maps.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretShares {
    /// For v in U3: the share of b_v.
    pub self_mask: BTreeMap<MemberIndex, Share>,
    /// For v in U2∖U3: the share of σ_v.
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
    /// Over ctx2, H(U3) and the shares.
    pub signature: Signature,
}

impl UnmaskShares {
    /// Signs shares as their sender.
    pub fn sign(
        context2: &RoundKeyContext,
        u3: &Digest,
        member: MemberIndex,
        shares: SecretShares,
        identity: &IdentitySecret,
    ) -> Self {
        let mut message = Self {
            member,
            shares,
            signature: Signature([0; 64]),
        };
        message.signature = identity.sign(&message.signed_bytes(context2, u3));
        message
    }

    fn signed_bytes(&self, context2: &RoundKeyContext, u3: &Digest) -> Vec<u8> {
        let mut canonical = Canonical::new("consort/round/unmask/v1")
            .bytes(context2.digest().as_bytes())
            .bytes(u3.as_bytes())
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

    pub(crate) fn verify(
        &self,
        context2: &RoundKeyContext,
        u3: &Digest,
        identity: &IdentityKey,
    ) -> Result<(), Rejection> {
        identity
            .verify(&self.signed_bytes(context2, u3), &self.signature)
            .map_err(|_| Rejection::Signature(self.member))
    }
}

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

/// What a member is asked to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// P0 → answer with an [`Advert`].
    Advertise(RoundOpen),
    /// P2 → answer with [`ShareKeys`].
    ShareKeys(KeyList),
    /// P4 → answer with the masked chunks and an [`UpdateSeal`].
    Submit(SharesDelivery),
    /// P5 → answer with a [`Confirmation`].
    Confirm(Survivors),
    /// P6 → answer with [`UnmaskShares`].
    Unmask(Confirmations),
}

/// What a member answers (the masked chunks travel beside it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberMessage {
    /// P1.
    Advert(Advert),
    /// P3.
    ShareKeys(ShareKeys),
    /// P4.
    Seal(UpdateSeal),
    /// P5.
    Confirmation(Confirmation),
    /// P6.
    Unmask(UnmaskShares),
}
