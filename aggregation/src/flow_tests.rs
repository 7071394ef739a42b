//! One round of arithmetic from keys to sum: the recovered sum is bit-exact over the survivors.

use crate::*;
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::RngCore, rand_core::SeedableRng};
use std::collections::BTreeMap;

/// What a member keeps in memory for one round.
struct Member {
    index: MemberIndex,
    mask_key: SecretKey,
    share_key: SecretKey,
    self_mask: SelfMaskSecret,
}

/// What a dealer published and what its neighbours hold of it.
struct Sharing {
    self_mask_commitments: Commitments,
    held: BTreeMap<MemberIndex, SharePair>,
}

struct Cohort {
    members: Vec<Member>,
    context: RoundKeyContext,
    threshold: u32,
}

impl Cohort {
    fn new(n: u32, threshold: u32, rng: &mut ChaCha20Rng) -> Self {
        let members = (1..=n)
            .map(|position| Member {
                index: MemberIndex::new(position).unwrap(),
                mask_key: SecretKey::random(rng),
                share_key: SecretKey::random(rng),
                self_mask: SelfMaskSecret::random(rng),
            })
            .collect();
        let context = RoundKeyContext::new(&Digest::of(b"context"), &Digest::of(b"adverts"));
        Self {
            members,
            context,
            threshold,
        }
    }

    fn indices(&self) -> Vec<MemberIndex> {
        self.members.iter().map(|member| member.index).collect()
    }

    fn pair_masks(&self, own: &Member, peers: &[&Member]) -> Vec<(MaskSeed, Sign)> {
        peers
            .iter()
            .filter(|peer| peer.index != own.index)
            .map(|peer| {
                let public = peer.mask_key.public();
                let seed =
                    pair_mask_seed(&own.mask_key, &public, &self.context, own.index, peer.index);
                (seed, pair_sign(own.index, peer.index))
            })
            .collect()
    }

    /// P3: commitments to all, a sealed pair of shares to each, opened and checked by its receiver.
    fn share(&self, dealer: &Member, rng: &mut ChaCha20Rng) -> Sharing {
        let (key_commitments, mut key_shares) = split(
            &dealer.mask_key.to_share_secret(),
            self.threshold,
            &self.indices(),
            rng,
        )
        .unwrap();
        let (self_mask_commitments, mut self_shares) = split(
            &dealer.self_mask.to_share_secret(),
            self.threshold,
            &self.indices(),
            rng,
        )
        .unwrap();
        assert_eq!(key_commitments.constant(), dealer.mask_key.public());

        let mut held = BTreeMap::new();
        for holder in &self.members {
            let pair = SharePair {
                mask_key: key_shares.remove(&holder.index).unwrap(),
                self_mask: self_shares.remove(&holder.index).unwrap(),
            };
            let (from, to) = (dealer.index, holder.index);
            let (keys, peer) = (&dealer.share_key, holder.share_key.public());
            let sealed = seal_shares(keys, &peer, &self.context, from, to, &pair);
            let (keys, peer) = (&holder.share_key, dealer.share_key.public());
            let opened = open_shares(keys, &peer, &self.context, from, to, &sealed).unwrap();
            assert!(key_commitments.verify(to, &opened.mask_key));
            assert!(self_mask_commitments.verify(to, &opened.self_mask));
            held.insert(to, opened);
        }
        Sharing {
            self_mask_commitments,
            held,
        }
    }

    /// P4 to P7 over the members at `survivors`, everybody having shared.
    fn sum(
        &self,
        survivors: &[usize],
        updates: &[Vec<i64>],
        schema: VectorSchema,
        rng: &mut ChaCha20Rng,
    ) -> AggregateSum {
        let sharings: Vec<Sharing> = self
            .members
            .iter()
            .map(|dealer| self.share(dealer, rng))
            .collect();
        let everybody: Vec<&Member> = self.members.iter().collect();
        let surviving: Vec<&Member> = survivors.iter().map(|&u| &self.members[u]).collect();

        let mut sum = Accumulator::new(schema);
        for &u in survivors {
            let own = &self.members[u];
            let update = EncodedUpdate::from_integers(&updates[u], schema).unwrap();
            let self_seed = self_mask_seed(&own.self_mask, &self.context, own.index);
            let masked =
                mask_update(update, &self_seed, &self.pair_masks(own, &everybody)).unwrap();
            let wire: Vec<u8> = masked
                .chunks()
                .flat_map(|(_, chunk)| chunk.to_vec())
                .collect();
            sum.add_packed(&wire).unwrap();
        }

        let holders: Vec<MemberIndex> = surviving.iter().map(|member| member.index).collect();
        let interpolation = Interpolation::new(self.threshold, &holders).unwrap();
        for (u, (member, sharing)) in self.members.iter().zip(&sharings).enumerate() {
            let answers = |share: fn(&SharePair) -> &Share| -> BTreeMap<MemberIndex, Share> {
                holders
                    .iter()
                    .map(|holder| (*holder, share(&sharing.held[holder]).clone()))
                    .collect()
            };
            let owner = member.index;
            if survivors.contains(&u) {
                let shares = answers(|pair| &pair.self_mask);
                let commitments = &sharing.self_mask_commitments;
                let secret =
                    recover_self_mask(owner, &interpolation, &shares, commitments).unwrap();
                sum.subtract_mask(&self_mask_seed(&secret, &self.context, owner), Sign::Plus);
            } else {
                let shares = answers(|pair| &pair.mask_key);
                let public = member.mask_key.public();
                let key = recover_mask_key(owner, &interpolation, &shares, &public).unwrap();
                let masks: Vec<_> = surviving
                    .iter()
                    .map(|peer| {
                        let public = peer.mask_key.public();
                        let seed = pair_mask_seed(&key, &public, &self.context, owner, peer.index);
                        (seed, pair_sign(peer.index, owner))
                    })
                    .collect();
                sum.subtract_masks(&masks);
            }
        }
        sum.finish()
    }
}

fn expected(survivors: &[usize], updates: &[Vec<i64>]) -> Vec<i64> {
    let elements = updates[0].len();
    (0..elements)
        .map(|i| survivors.iter().map(|&u| updates[u][i]).sum())
        .collect()
}

#[test]
fn five_members_of_which_one_drops_after_sharing_sum_exactly() {
    let mut rng = ChaCha20Rng::seed_from_u64(20);
    let cohort = Cohort::new(5, 4, &mut rng);
    let (q, noise_bound) = (1 << 30, 1 << 33);
    let schema = VectorSchema::new(3001, width_for(5, q, noise_bound).unwrap()).unwrap();
    let bound = q + noise_bound;
    let updates: Vec<Vec<i64>> = (0..5)
        .map(|_| {
            (0..3001)
                .map(|_| (rng.next_u64() % (2 * bound + 1)).cast_signed() - bound.cast_signed())
                .collect()
        })
        .collect();

    let survivors = [0, 1, 3, 4];
    let sum = cohort.sum(&survivors, &updates, schema, &mut rng);
    assert_eq!(sum.values(), expected(&survivors, &updates));
}

proptest! {
    // Each case shares every key with everybody: a few dozen cases take about a second.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn masks_cancel_for_any_cohort_width_and_dropouts(
        seed: u64,
        n in 2_u32..=7,
        dropped: u8,
        spare_bits in 0_u8..=56,
        elements in 1_u64..300,
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let threshold = n / 2 + 1;
        // Whoever is marked drops out, as long as the threshold stays.
        let mut survivors: Vec<usize> = (0..n as usize).collect();
        for u in 0..n as usize {
            if dropped >> u & 1 == 1 && survivors.len() > threshold as usize {
                survivors.retain(|&other| other != u);
            }
        }
        let cohort = Cohort::new(n, threshold, &mut rng);
        let width = Width::new(width_for(n, 7, 0).unwrap().bits() + spare_bits).unwrap();
        let schema = VectorSchema::new(elements, width).unwrap();
        let updates: Vec<Vec<i64>> = (0..n)
            .map(|_| (0..elements).map(|_| i64::from(rng.next_u32() % 15) - 7).collect())
            .collect();
        let sum = cohort.sum(&survivors, &updates, schema, &mut rng);
        prop_assert_eq!(sum.values(), expected(&survivors, &updates));
    }
}
