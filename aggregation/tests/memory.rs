//! What the arithmetic of a round takes of memory beyond its vectors, counted by the allocator: a member holds one packed
//! vector, the coordinator one accumulator, whatever the number of members.
//!
//! One test, because the allocator counts for the whole process.

use std::num::NonZeroUsize;

use consort_aggregation::{
    Accumulator, CHUNK_BYTES, MaskSeed, MaskedUpdate, Sign, UpdateBuilder, VectorSchema, Width,
    mask_update_with,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What either side may take beyond its vector: blocks of 4096 words for each thread, a kibibyte of key schedule for each
/// mask and one chunk. The design allows 64 MiB.
const WORKING_SET: usize = 1024 * 1024;

/// The most that was held at any time during `work`, beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    (ALLOCATOR.peak_usage() - before, result)
}

fn masks(n: u8) -> Vec<(MaskSeed, Sign)> {
    (1..n)
        .map(|peer| (MaskSeed::new([peer; 32]), Sign::Minus))
        .collect()
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
fn member(schema: VectorSchema, n: u8, workers: NonZeroUsize) -> MaskedUpdate {
    let mut builder = UpdateBuilder::new(schema);
    let piece = [-3; 1000];
    let mut left = schema.elements();
    while left > 0 {
        let now = usize::try_from(left.min(1000)).unwrap();
        builder.push(&piece[..now]).unwrap();
        left -= now as u64;
    }
    let update = builder.finish().unwrap();
    mask_update_with(update, &MaskSeed::new([0; 32]), &masks(n), workers).unwrap()
}

#[test]
fn beyond_its_vector_each_side_takes_less_than_a_mebibyte_at_any_length_and_for_any_number_of_members()
 {
    for (elements, bits, n, workers) in [
        (1_000_000, 22, 3, 1),
        (1_000_000, 22, 100, 2),
        (1_000_000, 45, 100, 2),
        (10_000_000, 22, 3, 2),
    ] {
        let case = format!("{elements} elements of {bits} bits, {n} members, {workers} threads");
        let schema = VectorSchema::new(elements, Width::new(bits).unwrap()).unwrap();
        let workers = NonZeroUsize::new(workers).unwrap();
        let packed = usize::try_from(schema.packed_len()).unwrap();

        let (taken, update) = peak(|| member(schema, n, workers));
        assert!(taken >= packed, "{case}: counted {taken}");
        assert!(
            taken < packed + WORKING_SET,
            "{case}: a member took {taken}"
        );

        // Each member's update is read back piece by piece, here from one update that stands for all.
        let words = usize::try_from(elements).unwrap() * if bits <= 32 { 4 } else { 8 };
        let (taken, sum) = peak(|| {
            let mut sum = Accumulator::new(schema);
            for _ in 0..n {
                let mut bytes = Vec::with_capacity(2 * CHUNK_BYTES);
                let mut first = 0;
                let chunks = update.chunks().len() as u64;
                for (index, chunk) in update.chunks() {
                    bytes.extend_from_slice(chunk);
                    // Eight elements are `bits` bytes; what is left of a chunk waits for the next one.
                    let eights = bytes.len() / usize::from(bits);
                    let ready = if index + 1 == chunks {
                        bytes.len()
                    } else {
                        eights * usize::from(bits)
                    };
                    sum.add_packed_range(first, &bytes[..ready]).unwrap();
                    bytes.drain(..ready);
                    first += 8 * eights as u64;
                }
            }
            sum.subtract_masks_with(&masks(n), workers);
            sum
        });
        assert!(taken >= words, "{case}: counted {taken}");
        assert!(
            taken < words + WORKING_SET,
            "{case}: the coordinator took {taken}"
        );

        let sum = sum.finish();
        let (taken, _) = peak(|| sum.digest());
        assert!(taken < WORKING_SET, "{case}: the digest took {taken}");
    }
}
