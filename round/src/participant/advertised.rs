//! After P1: keys are drawn and advertised. Next comes the key list (P2), answered with sealed shares (P3).

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{
    Digest, MemberIndex, RoundKeyContext, Seating, SecretKey, SelfMaskSecret, SharePair,
    VectorSchema, seal_shares, split,
};
use consort_contract::{ConsortiumId, JobId, OrganisationId, Thresholds};

use super::shared::Shared;
use super::{Seat, Surroundings};
use crate::messages::{
    Advert, AdvertHead, KeyList, RoundKeys, RoundOpen, ShareKeys, ShareStatement, VerifiedAdvert,
    context_of_heads,
};
use crate::rejection::Rejection;
use crate::rules::Rule;
use crate::terms::{CohortMember, RoundTerms};

/// What this member agreed to and therefore expects of every announcement of a job's rounds.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// The consortium.
    pub consortium: ConsortiumId,
    /// The job.
    pub job: JobId,
    /// This member.
    pub organisation: OrganisationId,
    /// The contract this member voted for.
    pub contract: Digest,
    /// Hash over the votes, each of which this member verified.
    pub votes: Digest,
    /// The roster this member pinned.
    pub roster_root: Digest,
    /// The cohort of the contract, keys from the pinned roster.
    pub cohort: BTreeMap<MemberIndex, CohortMember>,
    /// n, c, t, n_min of the contract.
    pub thresholds: Thresholds,
    /// The vector of the contract.
    pub schema: VectorSchema,
    /// Last round of the contract.
    pub rounds: u32,
    /// The newest (round, attempt) this member answered, kept on disk.
    pub newest_answered: Option<(u32, u32)>,
    /// Entries in this member's ledger.
    pub ledger_sequence: u64,
    /// Hash of the model bytes this member holds for the round.
    pub model: Digest,
}

impl Expectations {
    /// The rules of P0 (docs/protocol.md, R1 to R5).
    ///
    /// # Errors
    /// [`Rejection`] names the first rule that is broken.
    pub fn check(&self, terms: &RoundTerms) -> Result<MemberIndex, Rejection> {
        let same = [
            (
                Rule::R2a,
                terms.consortium == self.consortium,
                "another consortium",
            ),
            (Rule::R2a, terms.job == self.job, "another job"),
            (
                Rule::R2a,
                terms.contract == self.contract,
                "not the contract this member voted for",
            ),
            (
                Rule::R2a,
                terms.votes == self.votes,
                "not the votes this member verified",
            ),
            (
                Rule::R2b,
                terms.roster_root == self.roster_root,
                "not the roster this member pinned",
            ),
            (
                Rule::R2b,
                terms.cohort == self.cohort,
                "not the cohort of the contract",
            ),
            (
                Rule::R2c,
                terms.thresholds == self.thresholds,
                "not the thresholds of the contract",
            ),
            (
                Rule::R2d,
                terms.schema == self.schema,
                "not the vector schema of the contract",
            ),
            (
                Rule::R2e,
                (1..=self.rounds).contains(&terms.round.0),
                "a round outside the contract",
            ),
            (Rule::R2e, terms.attempt.0 >= 1, "attempts count from 1"),
            (
                Rule::R3,
                terms.model == self.model,
                "not the model this member holds",
            ),
        ];
        for (rule, holds, broken) in same {
            rule.require(holds, || Rejection::Terms(broken))?;
        }
        let (round, attempt) = (terms.round.0, terms.attempt.0);
        Rule::R4.require(
            self.newest_answered
                .is_none_or(|newest| (round, attempt) > newest),
            || Rejection::Stale { round, attempt },
        )?;
        terms
            .index_of(&self.organisation)
            .ok_or(Rejection::Terms("this member is not in the cohort"))
    }
}

/// Keys are advertised.
#[derive(Debug)]
pub struct Advertised {
    pub(super) seat: Seat,
    pub(super) advert: Advert,
    mask_key: SecretKey,
    share_key: SecretKey,
}

impl Advertised {
    pub(super) fn join(
        open: &RoundOpen,
        expected: &Expectations,
        attest: &mut dyn FnMut(&RoundKeys) -> Result<Vec<u8>, String>,
        around: &mut Surroundings<'_>,
    ) -> Result<(Self, Advert), Rejection> {
        open.verify(around.coordinator)?;
        let member = expected.check(&open.terms)?;
        let own = &open.terms.cohort[&member];
        Rule::R5.require(own.identity == around.identity.public(), || {
            Rejection::Terms("the cohort names another identity key for this member")
        })?;
        let (mask_key, share_key) = (
            SecretKey::random(&mut around.rng),
            SecretKey::random(&mut around.rng),
        );
        let publics = (mask_key.public(), share_key.public());
        let keys = RoundKeys::for_member(open, own, publics.0.to_bytes(), publics.1.to_bytes());
        let evidence = attest(&keys).map_err(|reason| Rejection::Evidence { member, reason })?;
        let context = open.terms.context();
        let advert = Advert::sign(
            &context,
            member,
            publics,
            evidence,
            expected.ledger_sequence,
            around.identity,
        );
        let seat = Seat {
            open: open.clone(),
            member,
        };
        Ok((
            Self {
                seat,
                advert: advert.clone(),
                mask_key,
                share_key,
            },
            advert,
        ))
    }

    /// Answers P2: verifies every neighbour itself, then shares both secrets with all of them and itself.
    pub(super) fn share(
        self,
        list: &KeyList,
        around: &mut Surroundings<'_>,
    ) -> Result<(Shared, ShareKeys), Box<(Self, Rejection)>> {
        let peers = match self.verified(list, around) {
            Ok(peers) => peers,
            Err(rejection) => return Err(Box::new((self, rejection))),
        };
        let own = self.seat.member;
        let context2 = peers.context2;
        let threshold = self.seat.open.terms.share_threshold();
        let holders: Vec<_> = peers.adverts.keys().copied().collect();
        let self_mask = SelfMaskSecret::random(&mut around.rng);
        let (mask_commitments, mut mask_shares) = split(
            &self.mask_key.to_share_secret(),
            threshold,
            &holders,
            &mut around.rng,
        )
        .expect(SPLITS);
        let (self_commitments, mut self_shares) = split(
            &self_mask.to_share_secret(),
            threshold,
            &holders,
            &mut around.rng,
        )
        .expect(SPLITS);
        let mut kept = None;
        let mut sealed = BTreeMap::new();
        for (peer, advert) in &peers.adverts {
            let both = mask_shares.remove(peer).zip(self_shares.remove(peer));
            let (mask_key, self_mask) =
                both.expect("both secrets were split over exactly these members");
            let pair = SharePair {
                mask_key,
                self_mask,
            };
            if *peer == own {
                kept = Some(pair);
            } else {
                sealed.insert(
                    *peer,
                    seal_shares(
                        &self.share_key,
                        &advert.advert().share_key,
                        &context2,
                        own,
                        *peer,
                        &pair,
                    ),
                );
            }
        }
        let statement = ShareStatement::sign(
            &context2,
            own,
            (mask_commitments, self_commitments),
            &sealed,
            around.identity,
        );
        let message = ShareKeys { statement, sealed };
        let shared = Shared {
            seat: self.seat,
            peers,
            mask_key: self.mask_key,
            share_key: self.share_key,
            self_mask,
            own_shares: kept.expect("the key list has the member's own advert"),
            message: message.clone(),
        };
        Ok((shared, message))
    }

    /// The rules of P2 (docs/protocol.md, R6 to R9).
    pub(crate) fn verified(
        &self,
        list: &KeyList,
        around: &Surroundings<'_>,
    ) -> Result<Peers, Rejection> {
        let terms = &self.seat.open.terms;
        let own = self.seat.member;
        let count = list.adverts.len().saturating_add(list.heads.len());
        Rule::R6c.require(count <= terms.cohort.len(), || {
            Rejection::Malformed("more adverts than members")
        })?;
        let heads = list.by_member()?;
        let whole = list.adverts.iter().any(|advert| advert.member == own);
        Rule::R6a.require(whole, || {
            Rejection::Malformed("the key list lacks this member's own advert")
        })?;
        let context = terms.context();
        for head in heads.values() {
            head.verify(terms, &context)?;
        }
        let keys: BTreeSet<_> = heads
            .values()
            .flat_map(|head| [head.mask_key.to_bytes(), head.share_key.to_bytes()])
            .collect();
        Rule::R8a.require(keys.len() == 2 * heads.len(), || {
            Rejection::Malformed("two adverts share a key")
        })?;
        let (have, need) = (
            heads.len() as u64,
            u64::from(terms.thresholds.fewest_survivors()),
        );
        Rule::R8b.require(have >= need, || {
            let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            Rejection::TooFew {
                have: small(have),
                need: small(need),
            }
        })?;
        let twice = 2 * u64::from(terms.thresholds.threshold());
        let colluders = u64::from(terms.thresholds.colluders());
        Rule::R9a.require(twice > have + colluders, || {
            Rejection::Terms("2t must exceed |U1| + c")
        })?;
        let context2 = context_of_heads(&context, &heads);
        let graph = terms.graph();
        let seating = graph.seat(&context2, heads.keys().copied().chain([own]));
        let adverts = self.judged(list, &seating, around)?;
        Ok(Peers {
            adverts,
            heads,
            context2,
            seating,
        })
    }

    /// R7 and R8c: the evidence of every neighbour. Of the others a member needs none: their own neighbours judge it, and
    /// one that lies about its machine is at worst one of the c corrupt members that the graph withstands.
    fn judged(
        &self,
        list: &KeyList,
        seating: &Seating,
        around: &Surroundings<'_>,
    ) -> Result<BTreeMap<MemberIndex, VerifiedAdvert>, Rejection> {
        let own = self.seat.member;
        let mut adverts = BTreeMap::new();
        for advert in &list.adverts {
            let member = advert.member;
            let judge = if member == own {
                Rule::R6a.require(*advert == self.advert, || {
                    Rejection::Malformed("the key list changes this member's own advert")
                })?;
                &OwnEvidence
            } else {
                around.judge
            };
            adverts.insert(member, advert.clone().judged(&self.seat.open, judge)?);
        }
        let near = adverts.keys().filter(|member| **member != own);
        Rule::R8c.require(near.eq(&seating.neighbours(own)), || {
            Rejection::Malformed("the evidence of each neighbour, and of no other, is needed")
        })?;
        Ok(adverts)
    }
}

/// U1 as a member verified it, and its place in it.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Of the neighbours and of the member itself.
    pub(crate) adverts: BTreeMap<MemberIndex, VerifiedAdvert>,
    /// Of everybody.
    pub(super) heads: BTreeMap<MemberIndex, AdvertHead>,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Seating,
}

/// Why splitting cannot fail.
const SPLITS: &str = "U1 has room for the graph, and the thresholds keep the shares that open a secret within 1..=256";

/// A member does not judge its own evidence; it made it.
struct OwnEvidence;

impl crate::messages::RoundKeyJudge for OwnEvidence {
    fn judge(&self, _: &RoundKeys, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}
