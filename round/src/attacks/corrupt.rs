//! A member in the attacker's hands: its keys are the attacker's own, and it deals and signs whatever it is told to.

use std::collections::BTreeMap;

use consort_aggregation::{
    Commitments, MemberIndex, PublicKey, SecretKey, SelfMaskSecret, Share, SharePair, open_shares,
    seal_shares, split,
};
use consort_contract::IdentitySecret;
use rand_chacha::ChaCha20Rng;

use super::lab::World;
use crate::messages::{Advert, RoundKeys, RoundOpen, ShareKeys, ShareStatement};

pub(super) struct Corrupt {
    pub(super) member: MemberIndex,
    pub(super) identity: IdentitySecret,
    pub(super) mask_key: SecretKey,
    pub(super) share_key: SecretKey,
}

/// What a corrupt member dealt: nothing binds it to t or to its advertised key.
pub(super) struct Dealing {
    pub(super) mask_key: (Commitments, BTreeMap<MemberIndex, Share>),
    pub(super) self_mask: (Commitments, BTreeMap<MemberIndex, Share>),
}

impl Dealing {
    pub(super) fn pair(&self, holder: MemberIndex) -> SharePair {
        SharePair {
            mask_key: self.mask_key.1[&holder].clone(),
            self_mask: self.self_mask.1[&holder].clone(),
        }
    }
}

impl Corrupt {
    pub(super) fn new(
        member: MemberIndex,
        identity: IdentitySecret,
        rng: &mut ChaCha20Rng,
    ) -> Self {
        Self {
            member,
            identity,
            mask_key: SecretKey::random(rng),
            share_key: SecretKey::random(rng),
        }
    }

    pub(super) fn advert(&self, open: &RoundOpen) -> Advert {
        self.advert_of(open, (self.mask_key.public(), self.share_key.public()))
    }

    pub(super) fn advert_of(&self, open: &RoundOpen, keys: (PublicKey, PublicKey)) -> Advert {
        let cohort_member = &open.terms.cohort[&self.member];
        let round_keys =
            RoundKeys::for_member(open, cohort_member, keys.0.to_bytes(), keys.1.to_bytes());
        let evidence = super::cluster::evidence_of(&round_keys);
        let context = open.terms.context();
        Advert::sign(&context, self.member, keys, evidence, 0, &self.identity)
    }

    /// Deals both secrets with these thresholds.
    pub(super) fn deal(
        &self,
        world: &World,
        thresholds: (u32, u32),
        rng: &mut ChaCha20Rng,
    ) -> Dealing {
        let holders: Vec<_> = world.seating.holders(self.member).into_iter().collect();
        let self_mask = SelfMaskSecret::random(rng);
        let secrets = (self.mask_key.to_share_secret(), self_mask.to_share_secret());
        Dealing {
            mask_key: split(&secrets.0, thresholds.0, &holders, rng).unwrap(),
            self_mask: split(&secrets.1, thresholds.1, &holders, rng).unwrap(),
        }
    }

    pub(super) fn seal(&self, world: &World, to: MemberIndex, pair: &SharePair) -> Vec<u8> {
        let peer = &world.adverts[&to].advert().share_key;
        seal_shares(
            &self.share_key,
            peer,
            &world.context2,
            self.member,
            to,
            pair,
        )
    }

    /// P3 from a dealing, boxes as it chooses.
    pub(super) fn share(
        &self,
        world: &World,
        dealing: &Dealing,
        change: impl FnOnce(&mut BTreeMap<MemberIndex, Vec<u8>>),
    ) -> ShareKeys {
        let near = world.seating.neighbours(self.member);
        let mut sealed = near
            .into_iter()
            .map(|peer| (peer, self.seal(world, peer, &dealing.pair(peer))))
            .collect();
        change(&mut sealed);
        let commitments = (dealing.mask_key.0.clone(), dealing.self_mask.0.clone());
        let statement = ShareStatement::sign(
            &world.context2,
            self.member,
            commitments,
            &sealed,
            &self.identity,
        );
        ShareKeys { statement, sealed }
    }

    /// The shares that another member sealed for this one.
    pub(super) fn open(&self, world: &World, from: &ShareKeys) -> Option<SharePair> {
        let owner = from.statement.member;
        let peer = &world.adverts[&owner].advert().share_key;
        let sealed = from.sealed.get(&self.member)?;
        open_shares(
            &self.share_key,
            peer,
            &world.context2,
            owner,
            self.member,
            sealed,
        )
        .ok()
    }
}
