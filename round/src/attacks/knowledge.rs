//! What the attacker can derive: shares give secrets, secrets give masks, and masks that are known come off the uploads.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{
    Accumulator, Interpolation, MaskSeed, MaskedUpdate, MemberIndex, SecretKey, SelfMaskSecret,
    Share, SharePair, Sign, VectorSchema, pair_mask_seed, pair_sign, recover_mask_key,
    recover_self_mask, self_mask_seed,
};

use super::lab::World;
use crate::messages::UnmaskShares;

type Shares = BTreeMap<MemberIndex, BTreeMap<MemberIndex, Share>>;

/// Everything that was learned under one ctx2.
#[derive(Default)]
pub(super) struct Knowledge {
    /// Shares of σ, by owner and holder.
    mask_key_shares: Shares,
    /// Shares of b, by owner and holder.
    self_mask_shares: Shares,
    pub(super) mask_keys: BTreeMap<MemberIndex, SecretKey>,
    pub(super) self_masks: BTreeMap<MemberIndex, SelfMaskSecret>,
}

impl Knowledge {
    pub(super) fn learn_pair(&mut self, owner: MemberIndex, holder: MemberIndex, pair: SharePair) {
        let (mask_key, self_mask) = (pair.mask_key.clone(), pair.self_mask.clone());
        self.mask_key_shares
            .entry(owner)
            .or_default()
            .insert(holder, mask_key);
        self.self_mask_shares
            .entry(owner)
            .or_default()
            .insert(holder, self_mask);
    }

    pub(super) fn learn_answer(&mut self, answer: &UnmaskShares) {
        for (owner, share) in &answer.shares.self_mask {
            let known = self.self_mask_shares.entry(*owner).or_default();
            known.insert(answer.member, share.clone());
        }
        for (owner, share) in &answer.shares.mask_key {
            let known = self.mask_key_shares.entry(*owner).or_default();
            known.insert(answer.member, share.clone());
        }
    }

    /// Closes under "t shares on the committed polynomial give the secret". Nothing that a secret gives is a new share, so one
    /// pass is the fixpoint.
    pub(super) fn close(&mut self, world: &World) {
        for (owner, message) in &world.shares {
            let statement = &message.statement;
            let usable = |shares: Option<&BTreeMap<MemberIndex, Share>>,
                          of: &consort_aggregation::Commitments| {
                let good: BTreeMap<_, _> = shares
                    .into_iter()
                    .flatten()
                    .filter(|(holder, share)| of.verify(**holder, share))
                    .map(|(holder, share)| (*holder, share.clone()))
                    .collect();
                let holders: Vec<_> = good.keys().copied().collect();
                Interpolation::new(of.threshold(), &holders)
                    .ok()
                    .map(|weights| (weights, good))
            };
            if let Some((weights, shares)) =
                usable(self.mask_key_shares.get(owner), &statement.mask_key)
            {
                let key =
                    recover_mask_key(*owner, &weights, &shares, &statement.mask_key.constant());
                self.mask_keys.insert(*owner, key.unwrap());
            }
            if let Some((weights, shares)) =
                usable(self.self_mask_shares.get(owner), &statement.self_mask)
            {
                let secret = recover_self_mask(*owner, &weights, &shares, &statement.self_mask);
                self.self_masks.insert(*owner, secret.unwrap());
            }
        }
    }

    /// The mask that two members share, when either mask key is known.
    pub(super) fn pair_seed(
        &self,
        world: &World,
        a: MemberIndex,
        b: MemberIndex,
    ) -> Option<MaskSeed> {
        let seed = |own: MemberIndex, peer: MemberIndex| {
            let peer = world.adverts.get(&peer)?.advert().mask_key;
            Some(pair_mask_seed(
                self.mask_keys.get(&own)?,
                &peer,
                &world.context2,
                a,
                b,
            ))
        };
        seed(a, b).or_else(|| seed(b, a))
    }

    /// The sum of these members' updates, when every mask that does not cancel among them is known.
    pub(super) fn sum(
        &self,
        world: &World,
        of: &BTreeSet<MemberIndex>,
        schema: VectorSchema,
    ) -> Option<Vec<i64>> {
        let mut masks: Vec<(MaskSeed, Sign)> = Vec::new();
        let mut sum = Accumulator::new(schema);
        for member in of {
            let upload = world.uploads.get(member)?;
            sum.add_packed(&bytes(&upload.masked)).unwrap();
            let secret = self.self_masks.get(member)?;
            masks.push((self_mask_seed(secret, &world.context2, *member), Sign::Plus));
            for peer in &upload.peers {
                let cancels = of.contains(peer) && world.uploads.get(peer)?.peers.contains(member);
                if !cancels {
                    masks.push((
                        self.pair_seed(world, *member, *peer)?,
                        pair_sign(*member, *peer),
                    ));
                }
            }
        }
        sum.subtract_masks(&masks);
        Some(sum.finish().into_values())
    }

    /// The smallest sets whose sums the attacker has: members that uploaded, joined where both carry a mask that it does not
    /// know. Such a set is closed (its sums are uniformly random) when one self-mask in it is unknown, or when one member
    /// carries an unknown mask that nobody else carries; otherwise it is open.
    pub(super) fn open_sets(&self, world: &World) -> Vec<BTreeSet<MemberIndex>> {
        let mut left: BTreeSet<_> = world.uploads.keys().copied().collect();
        let mut sets = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut set, mut todo) = (BTreeSet::from([first]), vec![first]);
            let mut closed = false;
            while let Some(member) = todo.pop() {
                closed |= !self.self_masks.contains_key(&member);
                for peer in &world.uploads[&member].peers {
                    if self.pair_seed(world, member, *peer).is_some() {
                        continue;
                    }
                    let cancels = world
                        .uploads
                        .get(peer)
                        .is_some_and(|u| u.peers.contains(&member));
                    closed |= !cancels;
                    if cancels && set.insert(*peer) {
                        left.remove(peer);
                        todo.push(*peer);
                    }
                }
            }
            if !closed {
                sets.push(set);
            }
        }
        sets
    }
}

fn bytes(masked: &MaskedUpdate) -> Vec<u8> {
    masked
        .chunks()
        .flat_map(|(_, chunk)| chunk.to_vec())
        .collect()
}
