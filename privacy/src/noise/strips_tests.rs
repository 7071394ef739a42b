//! Tests of the staircase: that it is over the curve, that what 64 bits decide is what long integers decide, and that the rare
//! paths draw what they should.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The smallest and the largest variance, those around a change of width, and some of jobs.
const VARIANCES: [u64; 12] = [
    1,
    2,
    50,
    4095,
    4096,
    16_383,
    16_384,
    123_457,
    1 << 40,
    (1 << 40) + 12_345,
    1 << 47,
    1 << 54,
];

/// A·exp(−m²/2σ²) times 2^256, between two integers.
fn curve_at(strips: &Strips, magnitude: u64) -> (BigUint, BigUint) {
    let square = u128::from(magnitude) * u128::from(magnitude);
    let exp = ExpBounds::of(square, strips.twice_variance, TABLE_BITS);
    (&strips.scale * exp.low, &strips.scale * exp.high)
}

fn shifted(integer: u64) -> BigUint {
    BigUint::from(integer) << TABLE_BITS
}

#[test]
fn every_step_is_over_the_curve_and_its_sure_part_is_under_it() {
    for variance in VARIANCES {
        let strips = Strips::new(variance);
        let steps = strips.sure.len();
        assert_eq!(strips.starts.len(), steps + 2);
        for step in 0..steps {
            let first = (step as u64) << strips.width_bits;
            let last = first + (1 << strips.width_bits) - 1;
            let full = strips.starts[step + 1] - strips.starts[step];
            assert!(
                shifted(full) >= curve_at(&strips, first).1,
                "{variance} {step}"
            );
            let (low, _) = curve_at(&strips, last);
            assert!(shifted(strips.sure[step]) <= low, "{variance} {step}");
        }
    }
}

#[test]
fn the_step_of_the_tail_is_over_every_block_of_it() {
    for variance in VARIANCES {
        for tail_bits in [1, 5, TAIL_BITS] {
            let strips = Strips::ending_at(variance, tail_bits);
            let steps = strips.sure.len();
            let full = strips.starts[steps + 1] - strips.starts[steps];
            let start = (steps as u64) << strips.width_bits;
            for zeros in [0_u32, 1, 2, 3, 10] {
                // Further out the curve is below 2^-500, and its series long.
                let sigmas =
                    (u64::from(zeros) << strips.width_bits << BLOCK_BITS) / variance.isqrt();
                if sigmas > 26 {
                    continue;
                }
                let first = start + (u64::from(zeros) << (strips.width_bits + BLOCK_BITS));
                let most = curve_at(&strips, first).1 << (zeros + 1 + BLOCK_BITS);
                assert!(shifted(full) >= most, "{variance} {tail_bits} {zeros}");
            }
        }
    }
}

#[test]
fn the_steps_fill_almost_all_words_and_are_found_by_each_of_their_points() {
    for variance in VARIANCES {
        let strips = Strips::new(variance);
        let end = *strips.starts.last().unwrap();
        // Of 2^64 words fewer are left over than there are steps, and A's own rounding.
        assert!(u64::MAX - end < 4096, "{variance}");
        assert_eq!(strips.find(end), None);
        assert_eq!(strips.find(u64::MAX), None);
        for (step, bounds) in strips.starts.windows(2).enumerate() {
            let [start, end] = [bounds[0], bounds[1]];
            assert_eq!(strips.find(start), Some((step, 0)), "{variance}");
            assert_eq!(
                strips.find(end - 1),
                Some((step, end - 1 - start)),
                "{variance}"
            );
        }
    }
}

#[test]
fn what_64_bits_decide_is_what_long_integers_say() {
    let mut rng = ChaCha20Rng::seed_from_u64(31);
    for variance in VARIANCES {
        let strips = Strips::new(variance);
        for _ in 0..400 {
            let step = usize::try_from(rng.next_u64() % strips.sure.len() as u64).unwrap();
            let offset = match rng.next_u32() % 4 {
                0 => 0,
                1 => (1 << strips.width_bits) - 1,
                _ => rng.next_u64() & ((1 << strips.width_bits) - 1),
            };
            let first = (step as u64) << strips.width_bits;
            let (low, high) = strips.bounds(step, first, offset);
            let (curve_low, curve_high) = curve_at(&strips, first + offset);
            let case = format!("σ²={variance} step {step} offset {offset}");
            assert!(shifted(low) <= curve_low, "{case}");
            assert!(shifted(high) >= curve_high, "{case}");
            // What stays open: two by the rounding of the step, 16 units of 2^-64 of it, and the two roundings.
            assert!(high - low < 24, "{case}: {}", high - low);
        }
    }
}

#[test]
fn an_open_height_is_decided_with_the_probability_that_is_left() {
    // Heights around the curve at one place: the exact comparison must split them where the curve is.
    let mut rng = ChaCha20Rng::seed_from_u64(32);
    let strips = Strips::new((1 << 40) + 12_345);
    let (step, offset) = (40, 12_000);
    let first = step << strips.width_bits;
    let (low, high) = strips.bounds(40, first, offset);
    let square = u128::from(first + offset).pow(2);
    let exp = ExpBounds::of(square, strips.twice_variance, TABLE_BITS);
    let here = (&strips.scale * exp.low) >> (TABLE_BITS - 20);
    let (whole, twentieths) = (&here >> 20_u8, here & BigUint::from((1_u32 << 20) - 1));
    let whole = u64::try_from(whole).unwrap();
    assert!((low..high).contains(&whole));
    let share = |height: u64, rng: &mut ChaCha20Rng| {
        let under = (0..2000).filter(|_| strips.is_under(40, first, offset, height, rng));
        under.count() as f64 / 2000.0
    };
    assert!((low..whole).all(|height| share(height, &mut rng) == 1.0));
    assert!((whole + 1..high).all(|height| share(height, &mut rng) == 0.0));
    let expected = u64::try_from(twentieths).unwrap() as f64 / f64::from(1 << 20);
    // Five standard deviations of a share of 2000.
    let deviation = (share(whole, &mut rng) - expected).abs();
    assert!(
        deviation < 5.0 * (0.25_f64 / 2000.0).sqrt(),
        "{deviation} from {expected}"
    );
}

#[test]
fn a_staircase_that_ends_early_draws_the_same_distribution_through_its_tail() {
    // Ending where the curve is at ½, about half of all points fall on the tail's step and 24 % of the draws come from it.
    for (variance, seed) in [(5000_u64, 33), (1 << 40, 34)] {
        let strips = Strips::ending_at(variance, 1);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let sigma = (variance as f64).sqrt();
        let count = 10_000;
        let drawn: Vec<f64> = (0..count)
            .map(|_| strips.draw(&mut rng).unwrap() as f64 / sigma)
            .collect();
        let n = f64::from(count);
        let mean = drawn.iter().sum::<f64>() / n;
        let square = drawn.iter().map(|x| x * x).sum::<f64>() / n;
        let fourth = drawn.iter().map(|x| x.powi(4)).sum::<f64>() / n;
        // Five standard deviations each: 1/√n, √2/√n, √96/√n (moments of the normal, which these lattices meet to 1e-9).
        assert!(mean.abs() < 5.0 / n.sqrt(), "{mean}");
        assert!((square - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{square}");
        assert!((fourth - 3.0).abs() < 5.0 * (96.0 / n).sqrt(), "{fourth}");
        // The weight beyond two places past the end of the steps (1.18σ), of the normal: a lattice of σ = 70 moves it by half a step.
        for (sigmas, p) in [(1.5, 0.133_614_4), (2.5, 0.012_419_3)] {
            let share = drawn.iter().filter(|x| x.abs() > sigmas).count() as f64 / n;
            let half_a_step =
                0.5 / sigma * 0.52 * (-0.5 * (sigmas - 0.01) * (sigmas - 0.01)).exp() * 2.0;
            let tolerance = 5.0 * (p * (1.0 - p) / n).sqrt() + half_a_step;
            assert!((share - p).abs() < tolerance, "{sigmas}: {share}");
        }
    }
}

#[test]
fn a_coin_that_never_falls_is_an_error_and_not_a_wrong_number() {
    struct Zeros;
    impl RngCore for Zeros {
        fn next_u32(&mut self) -> u32 {
            0
        }
        fn next_u64(&mut self) -> u64 {
            0
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }
    let strips = Strips::new(1 << 40);
    assert_eq!(strips.beyond(0, 0, &mut Zeros), Err(NoiseError::Overflow));
}
