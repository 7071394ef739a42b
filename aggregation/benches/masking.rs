//! What masking costs: CPU time of one thread per parameter and neighbour, for each tier, width and size of vector.
//!
//! `cargo bench -p consort-aggregation --bench masking [-- [REPETITIONS] [TIER...]]`: the median of the repetitions, 3 unless
//! told, for the named tiers or all that the processor has.

use consort_aggregation::{MaskSeed, MaskStream, Sign, Tier, Width, Word, add_masks};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

fn main() {
    let repetitions = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(3);
    println!("ns per parameter and neighbour, median (minimum) of {repetitions}");
    println!("{:<10}{:>5}{:>6}{:>12}", "tier", "bits", "n", "d");
    let named: Vec<Tier> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    for tier in Tier::available().filter(|tier| named.is_empty() || named.contains(tier)) {
        for parameters in [1_000_000, 10_000_000] {
            for members in [10, 100] {
                for bits in [22, 32] {
                    report::<u32>(tier, bits, members, parameters, repetitions);
                }
                for bits in [45, 64] {
                    report::<u64>(tier, bits, members, parameters, repetitions);
                }
            }
        }
    }
}

/// One member of `members` masks with one stream for each of the others and one of its own.
fn report<W: Word>(tier: Tier, bits: u8, members: u16, parameters: u32, repetitions: usize) {
    let width = Width::new(bits).expect("1 to 64 bits");
    let Ok(streams) = (0..members)
        .map(|member| {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&member.to_le_bytes());
            let sign = if member % 2 == 0 {
                Sign::Plus
            } else {
                Sign::Minus
            };
            MaskStream::of_tier(&MaskSeed::new(seed), tier).map(|stream| (stream, sign))
        })
        .collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let mut vector = vec![W::default(); parameters as usize];
    // The first pass brings the vector into memory: that is not what masking costs.
    add_masks(&mut vector, &streams[..1], 0, width);
    let mut costs: Vec<f64> = (0..repetitions)
        .map(|_| {
            let start = cpu_time();
            add_masks(&mut vector, &streams, 0, width);
            let cost = cpu_time().saturating_sub(start);
            cost.as_secs_f64() * 1e9 / f64::from(parameters) / f64::from(members)
        })
        .collect();
    std::hint::black_box(&vector);
    costs.sort_by(f64::total_cmp);
    let (median, minimum) = (costs[costs.len() / 2], costs[0]);
    let tier = tier.name();
    println!("{tier:<10}{bits:>5}{members:>6}{parameters:>12}{median:>9.3} ({minimum:.3})");
}

/// The processor time of this thread: what other programs take of the machine does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
