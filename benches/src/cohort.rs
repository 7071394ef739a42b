//! One cohort and what its members and its coordinator compute: every call into `consort-aggregation` is here.

use crate::meter::cpu_seconds;
use consort_aggregation::{
    Accumulator, ChunkSum, ChunkTree, Commitments, Digest, EncodedUpdate, Interpolation, MaskSeed,
    MaskedUpdate, MemberIndex, PackingError, RoundKeyContext, SecretKey, SelfMaskSecret, Share,
    SharePair, Sign, VectorSchema, mask_update, open_shares, pack, pair_mask_seed, pair_sign,
    recover_mask_key, recover_self_mask, seal_shares, self_mask_seed, split, width_for,
};
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeMap;

/// A cohort in which everybody drew its keys.
pub(crate) struct Cohort {
    members: Vec<Member>,
    context: RoundKeyContext,
    threshold: u32,
    /// Neighbours on each side of a member on the circle; none when everybody is everybody's neighbour.
    reach: Option<u32>,
    /// The positions in their order on the circle.
    circle: Vec<u32>,
}

struct Member {
    index: MemberIndex,
    keys: Keys,
}

/// The secrets of one member.
pub(crate) struct Keys {
    mask_key: SecretKey,
    share_key: SecretKey,
    self_mask: SelfMaskSecret,
}

impl Keys {
    /// P1: draws the secrets and computes the public keys that are advertised.
    pub(crate) fn draw(rng: &mut ChaCha20Rng) -> Self {
        let keys = Self {
            mask_key: SecretKey::random(rng),
            share_key: SecretKey::random(rng),
            self_mask: SelfMaskSecret::random(rng),
        };
        std::hint::black_box((keys.mask_key.public(), keys.share_key.public()));
        keys
    }
}

/// What one member dealt: what all see of it, and the pair of shares for each holder.
pub(crate) struct Sharing {
    mask_key: Commitments,
    self_mask: Commitments,
    pairs: BTreeMap<MemberIndex, SharePair>,
}

/// The ring for `n` members whose integers are within `q`.
pub(crate) fn schema(elements: u64, n: u32, q: u32) -> anyhow::Result<VectorSchema> {
    Ok(VectorSchema::new(elements, width_for(n, u64::from(q), 0)?)?)
}

impl Cohort {
    /// A cohort on the complete graph, or, with a reach, on the Harary graph of degree twice the reach over the positions in the order
    /// of their hashes, which stands for a seed's permutation: those who are lost lie anywhere.
    pub(crate) fn new(n: u32, threshold: u32, reach: Option<u32>, rng: &mut ChaCha20Rng) -> Self {
        let members = (1..=n)
            .map(|position| Member {
                index: index(position),
                keys: Keys::draw(rng),
            })
            .collect();
        let mut circle: Vec<u32> = (1..=n).collect();
        circle.sort_by_key(|position| *Digest::of(&position.to_be_bytes()).as_bytes());
        Self {
            members,
            context: RoundKeyContext::new(&Digest::of(b"context"), &Digest::of(b"adverts")),
            threshold,
            reach,
            circle,
        }
    }

    /// The positions of the neighbours of the member at `position`, itself left out.
    pub(crate) fn neighbours(&self, position: u32) -> Vec<u32> {
        let n = self.circle.len();
        match self.reach {
            None => (1..).take(n).filter(|&other| other != position).collect(),
            Some(reach) => {
                let place = self.circle.iter().position(|other| *other == position);
                let place = place.expect("every position lies on the circle");
                (1..=reach as usize)
                    .flat_map(|step| [(place + step) % n, (place + n - step) % n])
                    .map(|place| self.circle[place])
                    .collect()
            }
        }
    }

    /// The fewest holders of one member's shares among the first positions.
    pub(crate) fn fewest_holders(&self, survivors: u32) -> usize {
        let surviving = |position| {
            let holders = self.holders(position).into_iter();
            holders.filter(|holder| holder.get() <= survivors).count()
        };
        let everyone = (1..).take(self.circle.len());
        everyone.map(surviving).min().unwrap_or(0)
    }

    fn member(&self, position: u32) -> &Member {
        &self.members[position as usize - 1]
    }

    fn holders(&self, position: u32) -> Vec<MemberIndex> {
        let others = self.neighbours(position);
        others.into_iter().chain([position]).map(index).collect()
    }

    /// P3, the dealer's half: splits both secrets among the neighbours and itself.
    pub(crate) fn deal(&self, position: u32, rng: &mut ChaCha20Rng) -> Sharing {
        let keys = &self.member(position).keys;
        let holders = self.holders(position);
        let mut share = |secret| split(&secret, self.threshold, &holders, rng);
        let checked = "the threshold was checked against the degree";
        let (mask_key, key_shares) = share(keys.mask_key.to_share_secret()).expect(checked);
        let (self_mask, self_shares) = share(keys.self_mask.to_share_secret()).expect(checked);
        let pairs = key_shares
            .into_iter()
            .zip(self_shares.into_values())
            .map(|((holder, mask_key), self_mask)| {
                let pair = SharePair {
                    mask_key,
                    self_mask,
                };
                (holder, pair)
            })
            .collect();
        Sharing {
            mask_key,
            self_mask,
            pairs,
        }
    }

    /// Seals what `from` dealt for `to`.
    pub(crate) fn seal(&self, from: u32, to: u32, sharing: &Sharing) -> Vec<u8> {
        let (own, peer) = (&self.member(from).keys, &self.member(to).keys);
        seal_shares(
            &own.share_key,
            &peer.share_key.public(),
            &self.context,
            index(from),
            index(to),
            &sharing.pairs[&index(to)],
        )
    }

    /// P4, the holder's half: opens each box and checks both shares in it against what its dealer published.
    pub(crate) fn open_and_verify(&self, to: u32, boxes: &[(u32, Vec<u8>, &Sharing)]) -> bool {
        let own = &self.member(to).keys.share_key;
        boxes.iter().all(|(from, sealed, sharing)| {
            let peer = self.member(*from).keys.share_key.public();
            let (from, to) = (index(*from), index(to));
            open_shares(own, &peer, &self.context, from, to, sealed).is_ok_and(|pair| {
                sharing.mask_key.verify(to, &pair.mask_key)
                    && sharing.self_mask.verify(to, &pair.self_mask)
            })
        })
    }

    /// The masks of one member: its own, and one for each neighbour.
    pub(crate) fn agree(&self, position: u32) -> (MaskSeed, Vec<(MaskSeed, Sign)>) {
        let own = self.member(position);
        let own_seed = self_mask_seed(&own.keys.self_mask, &self.context, own.index);
        let pairs = self
            .neighbours(position)
            .into_iter()
            .map(|other| {
                let peer = self.member(other);
                let public = peer.keys.mask_key.public();
                let (key, context) = (&own.keys.mask_key, &self.context);
                let seed = pair_mask_seed(key, &public, context, own.index, peer.index);
                (seed, pair_sign(own.index, peer.index))
            })
            .collect();
        (own_seed, pairs)
    }

    /// P6 and P7: the secrets of all members from the shares of the survivors (positions 1..=survivors), checked, and all
    /// remaining masks taken from the sum in one pass. `shares` was gathered from the answers beforehand.
    pub(crate) fn unmask(&self, sum: &mut Accumulator, survivors: u32, shares: &Answers) {
        let mut interpolations: BTreeMap<Vec<MemberIndex>, Interpolation> = BTreeMap::new();
        let mut masks = Vec::new();
        for (owner, (commitments, answers)) in (1..).zip(&shares.0) {
            let holders: Vec<MemberIndex> = answers.keys().copied().collect();
            let interpolation = interpolations.entry(holders).or_insert_with_key(|holders| {
                Interpolation::new(self.threshold, holders).expect("enough members survived")
            });
            let whose = index(owner);
            let honest = "the shares are those that were dealt";
            if owner <= survivors {
                let secret =
                    recover_self_mask(whose, interpolation, answers, commitments).expect(honest);
                masks.push((self_mask_seed(&secret, &self.context, whose), Sign::Plus));
                continue;
            }
            let public = commitments.constant();
            let key = recover_mask_key(whose, interpolation, answers, &public).expect(honest);
            let surviving = self
                .neighbours(owner)
                .into_iter()
                .filter(|&peer| peer <= survivors);
            masks.extend(surviving.map(|peer| {
                let public = self.member(peer).keys.mask_key.public();
                let peer = index(peer);
                let seed = pair_mask_seed(&key, &public, &self.context, whose, peer);
                (seed, pair_sign(peer, whose))
            }));
        }
        sum.subtract_masks(&masks);
    }
}

/// The shares that the survivors opened, by owner in order of position, with what the owner committed to.
pub(crate) struct Answers(Vec<(Commitments, BTreeMap<MemberIndex, Share>)>);

impl Answers {
    /// For each owner the share of one of its secrets from each of its surviving holders.
    pub(crate) fn gather(sharings: &[Sharing], survivors: u32) -> Self {
        let answers = (1..)
            .zip(sharings)
            .map(|(owner, sharing)| {
                let survived = owner <= survivors;
                let opened = sharing
                    .pairs
                    .iter()
                    .filter(|(holder, _)| holder.get() <= survivors)
                    .map(|(holder, pair)| {
                        let share = if survived {
                            &pair.self_mask
                        } else {
                            &pair.mask_key
                        };
                        (*holder, share.clone())
                    })
                    .collect();
                let commitments = if survived {
                    &sharing.self_mask
                } else {
                    &sharing.mask_key
                };
                (commitments.clone(), opened)
            })
            .collect();
        Self(answers)
    }
}

/// P4: an integer vector in the ring.
pub(crate) fn encode(integers: &[i64], schema: VectorSchema) -> EncodedUpdate {
    EncodedUpdate::from_integers(integers, schema).expect("the generator keeps the bound")
}

/// P4: masks, packs and hashes.
pub(crate) fn mask(
    update: EncodedUpdate,
    own: &MaskSeed,
    pairs: &[(MaskSeed, Sign)],
) -> MaskedUpdate {
    mask_update(update, own, pairs).expect("every member has neighbours")
}

/// Packing alone.
pub(crate) fn pack_alone(elements: &[u64], schema: VectorSchema) -> Vec<u8> {
    pack(elements, schema.width())
}

/// The bytes that go over the wire, chunk by chunk.
pub(crate) fn wire(update: &MaskedUpdate) -> Vec<u8> {
    update
        .chunks()
        .flat_map(|(_, chunk)| chunk)
        .copied()
        .collect()
}

/// Adds uploads chunk by chunk, as the coordinator does when it reads them back, and says how many CPU seconds went into copying chunks,
/// which stands for the reading. (The coordinator hashes each chunk between the two: [`hash`].)
pub(crate) fn ingest(sum: &mut Accumulator, uploads: &[Vec<u8>]) -> Result<f64, PackingError> {
    let mut chunk_sum = ChunkSum::new(sum.schema());
    let (mut index, mut copying) = (0, 0.0);
    while chunk_sum.begin(index) {
        for upload in uploads {
            let first = usize::try_from(chunk_sum.first_byte()).expect("an upload is in memory");
            let chunk = chunk_sum.chunk();
            let ((), seconds) =
                cpu_seconds(|| chunk.copy_from_slice(&upload[first..first + chunk.len()]));
            copying += seconds;
            chunk_sum.add()?;
        }
        sum.add_chunk_sum(&chunk_sum);
        index += 1;
    }
    Ok(copying)
}

/// The tree hash over the chunks of one upload, as the coordinator checks it.
pub(crate) fn hash(update: &MaskedUpdate) -> Digest {
    let mut tree = ChunkTree::new();
    update.chunks().for_each(|(_, chunk)| tree.push(chunk));
    tree.root()
}

fn index(position: u32) -> MemberIndex {
    MemberIndex::new(position).expect("positions start at 1")
}
