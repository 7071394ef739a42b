//! What opening a sum costs from stored updates: read, hashed, added, masks taken away, decoded; wall clock and CPU time.
//!
//! `cargo bench --workspace --bench opening [-- MEMBERS ELEMENTS [REPETITIONS]]`: 100 members, 10^6 elements of 23 bits and 3 repetitions
//! unless told; the fastest counts. "one by one" reads, hashes and adds one whole update after the other on one thread, "by
//! chunks" is what the coordinator does, without and with the masks of all members.
#![expect(clippy::unwrap_used, reason = "a measurement that fails may panic")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

use consort_aggregation::{
    Accumulator, CHUNK_BYTES, ChunkTree, Digest, MaskSeed, MemberIndex, Sign, VectorSchema, Width,
};
use consort_contract::JobId;
use consort_coordinator::release::{open_sum, update_key};
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Opening;
use consort_round::{Attempt, RoundNumber};
use consort_storage::{BlobStore, LocalBlobs};

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let (members, elements) = (number(0, 100), number(1, 1_000_000));
    let schema = VectorSchema::new(elements, Width::new(23).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(folder.path()).unwrap();
    let attempt = AttemptKey {
        job: JobId::new("job-1").unwrap(),
        round: RoundNumber(1),
        attempt: Attempt(1),
    };
    let members = u32::try_from(members).unwrap();
    let tree_hashes = stored(&blobs, &attempt, schema, members);
    let opening = |masks: u32| Opening {
        context: Digest::of(b"context"),
        survivors: tree_hashes.keys().copied().collect(),
        tree_hashes: tree_hashes.clone(),
        masks: (0..masks).map(|mask| (seed(mask), Sign::Plus)).collect(),
    };
    println!("{members} members, {elements} elements of 23 bits; ns are per parameter and member");
    let per = 1e9 / f64::from(members) / f64::from(u32::try_from(elements).unwrap());
    let report = |what: &str, work: &dyn Fn()| {
        let seconds = (0..number(2, 3)).map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64()
        });
        let seconds = seconds.fold(f64::INFINITY, f64::min);
        println!("{what:<32} {seconds:>8.3} s {:>8.3} ns", seconds * per);
    };
    report("one by one, no masks", &|| {
        one_by_one(&blobs, &attempt, schema, &tree_hashes);
    });
    for (masks, note) in [(0, "no masks"), (members, "one mask each")] {
        for workers in [1, 2] {
            let opening = opening(masks);
            let workers = NonZeroUsize::new(workers).unwrap();
            report(&format!("by chunks, {workers} threads, {note}"), &|| {
                open_sum(&opening, &attempt, schema, &blobs, workers).unwrap();
            });
        }
    }
}

fn seed(number: u32) -> MaskSeed {
    let mut seed = [3; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    MaskSeed::new(seed)
}

/// Updates of any bytes: no step looks at what is masked.
fn stored(
    blobs: &LocalBlobs,
    attempt: &AttemptKey,
    schema: VectorSchema,
    members: u32,
) -> BTreeMap<MemberIndex, Digest> {
    let length = usize::try_from(schema.packed_len()).unwrap();
    let mut bytes: Vec<u8> = (0..length)
        .map(|i| i.wrapping_mul(37).to_le_bytes()[0])
        .collect();
    // The unused bits of the last byte are zero.
    *bytes.last_mut().unwrap() = 0;
    let store = |member: u32| {
        bytes[0] = member.to_le_bytes()[0];
        let index = MemberIndex::new(member).unwrap();
        let mut tree = ChunkTree::new();
        let mut writer = blobs.begin(&update_key(attempt, index).unwrap()).unwrap();
        for chunk in bytes.chunks(CHUNK_BYTES) {
            tree.push(chunk);
            writer.write(chunk).unwrap();
        }
        writer.finish().unwrap();
        (index, tree.root())
    };
    (1..=members).map(store).collect()
}

fn one_by_one(
    blobs: &LocalBlobs,
    attempt: &AttemptKey,
    schema: VectorSchema,
    tree_hashes: &BTreeMap<MemberIndex, Digest>,
) {
    let mut sum = Accumulator::new(schema);
    for (member, sealed) in tree_hashes {
        let mut tree = ChunkTree::new();
        let mut update = Vec::new();
        let key = update_key(attempt, *member).unwrap();
        let read = blobs.read_pieces(&key, CHUNK_BYTES, &mut |chunk| {
            tree.push(chunk);
            update.extend_from_slice(chunk);
        });
        assert_eq!(read.unwrap(), schema.packed_len());
        sum.add_packed(&update).unwrap();
        assert_eq!(tree.root(), *sealed);
    }
    std::hint::black_box(sum.finish());
}
