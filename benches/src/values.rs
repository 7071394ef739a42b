//! The vectors that are summed. `scripts/bench_flower.py` has the same generator, so both sides sum the same vectors.

/// The integers of the member at `position`, uniform in -q..=q: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), with the
/// position in the upper half of the seed.
pub(crate) fn update(position: u32, elements: u64, q: u32) -> Vec<i64> {
    let seed = u64::from(position) << 32;
    let span = 2 * u64::from(q) + 1;
    (1..=elements)
        .map(|i| {
            let word = mixed(seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            (word % span).cast_signed() - i64::from(q)
        })
        .collect()
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for seed 0, published with the xoshiro generators (Vigna, splitmix64.c).
        let first: Vec<u64> = (1..=3_u64)
            .map(|i| mixed(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let published = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(first, published);
    }

    #[test]
    fn every_integer_is_within_the_bound_and_members_differ() {
        let one = update(1, 10_000, 7);
        assert!(one.iter().all(|integer| (-7..=7).contains(integer)));
        assert!(one.contains(&-7) && one.contains(&7));
        assert_ne!(one, update(2, 10_000, 7));
    }
}
