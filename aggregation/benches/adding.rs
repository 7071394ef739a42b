//! What adding packed updates costs: CPU time of one thread per parameter and update, for each tier and width.
//!
//! `cargo bench -p consort-aggregation --bench adding [-- [REPETITIONS]]`: the median of the repetitions (minimum behind it), 9
//! unless told. "whole" adds one whole vector after the other; "ranges" adds, for one range of 32 768 elements after the other,
//! that range of every update.

use consort_aggregation::{Accumulator, Tier, VectorSchema, Width, force_tier};
use rustix::time::{ClockId, clock_gettime};
use std::{ops::Range, time::Duration};

/// Elements of a range: it stays in a second-level cache with its packed bytes.
const RANGE: u64 = 32_768;

/// Updates that are added: different ones, as many as do not fit any cache together.
const UPDATES: u8 = 16;

fn main() {
    let repetitions = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(9);
    println!("ns per parameter and update, median (minimum) of {repetitions}");
    println!("tier       bits           d          whole         ranges");
    for tier in Tier::available() {
        if force_tier(tier).is_err() {
            continue;
        }
        for bits in [8, 16, 22, 23, 32, 45, 64] {
            for parameters in [1_000_000, 10_000_000] {
                report(tier, bits, parameters, repetitions);
            }
        }
    }
}

fn report(tier: Tier, bits: u8, parameters: u32, repetitions: usize) {
    let schema = Width::new(bits).map(|width| VectorSchema::new(parameters.into(), width));
    let Ok(Ok(schema)) = schema else {
        return;
    };
    let length = usize::try_from(schema.packed_len()).unwrap_or_default();
    let updates: Vec<Vec<u8>> = (0..UPDATES)
        .map(|update| {
            let bytes = (0..length).map(|i| i.to_le_bytes()[0].wrapping_mul(31) ^ update);
            let mut bytes: Vec<u8> = bytes.collect();
            // A vector has one encoding: its unused bits are zero.
            if let Some(last) = bytes.last_mut() {
                *last = 0;
            }
            bytes
        })
        .collect();
    let mut sum = Accumulator::new(schema);
    // The first pass brings the sum into memory.
    whole(&mut sum, &updates);
    let mut cost = |add: fn(&mut Accumulator, &[Vec<u8>])| {
        let mut costs: Vec<f64> = (0..repetitions)
            .map(|_| {
                let start = cpu_time();
                add(&mut sum, &updates);
                let cost = cpu_time().saturating_sub(start);
                cost.as_secs_f64() * 1e9 / f64::from(parameters) / f64::from(UPDATES)
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        format!("{:>7.3} ({:.3})", costs[costs.len() / 2], costs[0])
    };
    let (whole, ranges) = (cost(whole), cost(ranges));
    let tier = tier.name();
    println!("{tier:<10}{bits:>5}{parameters:>12}{whole:>15}{ranges:>15}");
}

fn whole(sum: &mut Accumulator, updates: &[Vec<u8>]) {
    for update in updates {
        sum.add_packed(update).expect("a vector of the schema");
    }
}

fn ranges(sum: &mut Accumulator, updates: &[Vec<u8>]) {
    let bytes = |elements: Range<u64>, schema: VectorSchema| {
        let at =
            |element| usize::try_from(schema.width().packed_len(element)).unwrap_or(usize::MAX);
        at(elements.start)..at(elements.end)
    };
    let schema = sum.schema();
    let mut first = 0;
    while first < schema.elements() {
        let next = schema.elements().min(first + RANGE);
        for update in updates {
            let range = &update[bytes(first..next, schema)];
            sum.add_packed_range(first, range)
                .expect("a range of the schema");
        }
        first = next;
    }
}

/// The processor time of this thread: what other programs take of the machine does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
