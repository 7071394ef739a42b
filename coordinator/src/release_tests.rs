//! The sum from what is stored: exact, by any number of threads, and of nothing that is not what was sealed.

use std::collections::BTreeSet;

use consort_aggregation::{
    CHUNK_BYTES, EncodedUpdate, MaskSeed, MaskedUpdate, Sign, Width, mask_update,
};
use consort_round::{Attempt, RoundNumber};
use consort_storage::LocalBlobs;

use super::*;

/// Elements of 22 bits in three chunks; the cuts lie within elements.
const ELEMENTS: usize = 200_001;
const MEMBERS: u32 = 5;

fn attempt() -> AttemptKey {
    AttemptKey {
        job: JobId::new("job-1").unwrap(),
        round: RoundNumber(1),
        attempt: Attempt(1),
    }
}

fn schema() -> VectorSchema {
    VectorSchema::new(ELEMENTS as u64, Width::new(22).unwrap()).unwrap()
}

fn index(member: u32) -> MemberIndex {
    MemberIndex::new(member).unwrap()
}

fn seed(member: u32, peer: u32) -> MaskSeed {
    let low_first = [
        member.min(peer).to_le_bytes()[0],
        member.max(peer).to_le_bytes()[0],
    ];
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&low_first);
    MaskSeed::new(seed)
}

fn values(member: u32) -> Vec<i64> {
    (0..ELEMENTS)
        .map(|i| i64::try_from(i).unwrap() % 1000 * i64::from(member) - 1500)
        .collect()
}

/// Everybody's masks cancel but the own ones.
fn masked(member: u32) -> MaskedUpdate {
    let pairs: Vec<_> = (1..=MEMBERS)
        .filter(|peer| *peer != member)
        .map(|peer| {
            let sign = if member < peer {
                Sign::Plus
            } else {
                Sign::Minus
            };
            (seed(member, peer), sign)
        })
        .collect();
    let update = EncodedUpdate::from_integers(&values(member), schema()).unwrap();
    mask_update(update, &seed(member, member), &pairs).unwrap()
}

fn store(blobs: &LocalBlobs, member: u32, bytes: &[u8]) {
    let key = update_key(&attempt(), index(member)).unwrap();
    blobs.remove(&key).unwrap();
    let mut writer = blobs.begin(&key).unwrap();
    writer.write(bytes).unwrap();
    writer.finish().unwrap();
}

fn bytes(update: &MaskedUpdate) -> Vec<u8> {
    update
        .chunks()
        .flat_map(|(_, chunk)| chunk)
        .copied()
        .collect()
}

fn stored() -> (tempfile::TempDir, LocalBlobs, Opening) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(folder.path()).unwrap();
    let mut tree_hashes = BTreeMap::new();
    for member in 1..=MEMBERS {
        let update = masked(member);
        store(&blobs, member, &bytes(&update));
        tree_hashes.insert(index(member), update.tree_hash());
    }
    let opening = Opening {
        context: Digest::of(b"context"),
        survivors: tree_hashes.keys().copied().collect::<BTreeSet<_>>(),
        tree_hashes,
        masks: (1..=MEMBERS)
            .map(|member| (seed(member, member), Sign::Plus))
            .collect(),
    };
    (folder, blobs, opening)
}

fn open(blobs: &LocalBlobs, opening: &Opening, workers: usize) -> Result<AggregateSum, SumError> {
    let workers = NonZeroUsize::new(workers).unwrap();
    open_sum(opening, &attempt(), schema(), blobs, workers)
}

#[test]
fn the_sum_is_exact_whatever_the_number_of_workers() {
    let (_folder, blobs, opening) = stored();
    let expected: Vec<i64> = (0..ELEMENTS)
        .map(|i| i64::try_from(i).unwrap() % 1000 * 15 - 7500)
        .collect();
    for workers in [1, 2, 3, 8] {
        let sum = open(&blobs, &opening, workers).unwrap();
        assert!(sum.values() == expected, "{workers} workers");
    }
}

#[test]
fn an_update_that_is_not_what_was_sealed_is_named_and_nothing_is_opened() {
    let (_folder, blobs, opening) = stored();
    let good = bytes(&masked(3));
    let mut changed = good.clone();
    changed[CHUNK_BYTES + 5] ^= 1;
    let mut longer = good.clone();
    longer.push(0);
    let mut unused_bit = good.clone();
    *unused_bit.last_mut().unwrap() |= 0x80;
    for wrong in [changed, longer, good[..CHUNK_BYTES].to_vec(), unused_bit] {
        store(&blobs, 3, &wrong);
        for workers in [1, 2] {
            let error = open(&blobs, &opening, workers).unwrap_err();
            assert!(matches!(error, SumError::NotSealed(member) if member == index(3)));
        }
    }
    blobs
        .remove(&update_key(&attempt(), index(3)).unwrap())
        .unwrap();
    let error = open(&blobs, &opening, 2).unwrap_err();
    assert!(matches!(error, SumError::NotSealed(member) if member == index(3)));
    store(&blobs, 3, &good);
    assert!(open(&blobs, &opening, 2).is_ok());
}
