//! Tests of the sampler: exhaustive where the space is small, statistics with derived tolerances elsewhere.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A source that repeats the given words.
struct Scripted(std::vec::IntoIter<u64>);

impl Scripted {
    fn new(words: Vec<u64>) -> Self {
        Self(words.into_iter())
    }
}

impl RngCore for Scripted {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() & 0xffff_ffff).unwrap()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next().expect("the script is long enough")
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Scripted {}

fn sampler(sigma_squared: u64) -> DiscreteGaussian {
    DiscreteGaussian::new(NoiseVariance::new(sigma_squared).unwrap())
}

fn draws(sigma_squared: u64, count: usize, seed: u64) -> Vec<i64> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let noise = sampler(sigma_squared)
        .sample_vector(count, &mut rng)
        .unwrap();
    noise.values().to_vec()
}

/// Exact probabilities of −reach..=reach, by summation to twelve sigma.
fn probabilities(sigma_squared: f64, reach: i32) -> Vec<f64> {
    let weight = |x: i32| (-f64::from(x) * f64::from(x) / (2.0 * sigma_squared)).exp();
    let total: f64 = (-1000..=1000).map(weight).sum();
    (-reach..=reach).map(|x| weight(x) / total).collect()
}

#[test]
fn each_residue_below_a_bound_comes_from_equally_many_words() {
    for bound in 1..=40_u64 {
        let width = bound.next_power_of_two();
        for word in 0..width {
            // A word past the bound is rejected, and the next one (0) is taken.
            let expected = if word < bound { word } else { 0 };
            assert_eq!(
                uniform_below_u64(bound, &mut Scripted::new(vec![word | width << 8, 0])),
                expected
            );
        }
    }
}

#[test]
fn a_wide_bound_takes_high_word_first_and_rejects_what_lies_past_it() {
    let bound = (1_u128 << 64) + 5;
    let draw = |words: Vec<u64>| uniform_below(bound, &mut Scripted::new(words));
    assert_eq!(draw(vec![1, 4]), (1 << 64) + 4);
    assert_eq!(draw(vec![1, 5, 0, 9]), 9);
    assert_eq!(draw(vec![0xff00, 7]), 7);
}

#[test]
fn algorithm_1_counts_its_successes_as_written() {
    // γ = 1/2. Draws below 2, 4, 6: a draw of 0 continues, any other stops; an even number of successes is true.
    let flip = |words: Vec<u64>| bernoulli_exp(1, 2, &mut Scripted::new(words)).unwrap();
    assert!(flip(vec![1]));
    assert!(!flip(vec![0, 1]));
    assert!(flip(vec![0, 0, 1]));
    // γ = 0 is always true, whatever is drawn.
    assert!(bernoulli_exp(0, 7, &mut Scripted::new(vec![0])).unwrap());
}

#[test]
fn bernoulli_exp_has_the_probability_of_its_name() {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let count = 200_000_i32;
    for (numerator, denominator) in [(1_u128, 3_u128), (1, 1), (5, 2), (1 << 100, 3 << 100)] {
        let hits = (0..count)
            .filter(|_| bernoulli_exp(numerator, denominator, &mut rng).unwrap())
            .count();
        let gamma = numerator as f64 / denominator as f64;
        let p = (-gamma).exp();
        let deviation = (hits as f64 / f64::from(count) - p).abs();
        // Five standard deviations of a binomial share: fails by chance once in 1.7 million.
        assert!(
            deviation < 5.0 * (p * (1.0 - p) / f64::from(count)).sqrt(),
            "{numerator}/{denominator}: {deviation}"
        );
    }
}

#[test]
fn small_variances_pass_a_chi_square_test_against_exact_probabilities() {
    for (sigma_squared, reach, seed) in [(1_u64, 3_i32, 1_u64), (2, 4, 2), (9, 8, 3), (50, 18, 4)] {
        let count = 100_000;
        let drawn = draws(sigma_squared, count, seed);
        let exact = probabilities(sigma_squared as f64, reach);
        let mut statistic = 0.0;
        let mut inside = 0.0;
        for (x, p) in (-i64::from(reach)..=i64::from(reach)).zip(&exact) {
            let observed = drawn.iter().filter(|value| **value == x).count() as f64;
            let expected = p * count as f64;
            statistic += (observed - expected).powi(2) / expected;
            inside += observed;
        }
        let expected = (1.0 - exact.iter().sum::<f64>()) * count as f64;
        assert!(
            expected > 5.0,
            "each cell of the test needs a few expected hits"
        );
        statistic += (count as f64 - inside - expected).powi(2) / expected;
        // Cells − 1 degrees of freedom f; Laurent and Massart (2000), lemma 1: P(X ≥ f + 2√(f·x) + 2x) ≤ e^−x, x = 15.
        let freedom = f64::from(2 * reach + 1);
        assert!(
            statistic < freedom + 2.0 * (freedom * 15.0).sqrt() + 30.0,
            "σ²={sigma_squared}: {statistic}"
        );
    }
}

#[test]
fn mean_and_variance_are_those_of_the_distribution_at_every_scale() {
    for (sigma_squared, seed) in [(1_u64, 5_u64), (100, 6), (1 << 40, 7), (MAX_VARIANCE, 8)] {
        let count = 100_000_u32;
        let drawn = draws(sigma_squared, count as usize, seed);
        let n = f64::from(count);
        // From σ² = 1 on, the variance of the discrete Gaussian differs from σ² by less than 2e-7.
        let sigma = (sigma_squared as f64).sqrt();
        let mean = drawn.iter().map(|x| *x as f64 / sigma).sum::<f64>() / n;
        let square = drawn
            .iter()
            .map(|x| (*x as f64 / sigma).powi(2))
            .sum::<f64>()
            / n;
        // The mean has standard deviation 1/√n, the mean square √(2/n) (the fourth moment is 3): five of each.
        assert!(
            mean.abs() < 5.0 / n.sqrt(),
            "σ²={sigma_squared}: mean {mean}"
        );
        assert!(
            (square - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
            "σ²={sigma_squared}: mean square {square}"
        );
    }
}

#[test]
fn tails_are_as_heavy_as_a_gaussian_s() {
    let sigma = 1_i64 << 20;
    let count = 200_000;
    let drawn = draws(1 << 40, count, 9);
    // P(|X| > kσ) of the normal, which the discrete Gaussian meets to 1e-5 relative at this σ.
    for (k, p) in [(1, 0.317_310_5), (2, 0.045_500_3), (3, 0.002_699_8)] {
        let share = drawn.iter().filter(|x| x.abs() > k * sigma).count() as f64 / count as f64;
        assert!(
            (share - p).abs() < 5.0 * (p * (1.0 - p) / count as f64).sqrt(),
            "{k}: {share}"
        );
    }
}

#[test]
fn a_source_that_never_stops_the_geometric_loop_is_an_error_and_not_a_wrong_number() {
    // Words of zero make each Bernoulli(1/K) with K > 1 succeed, so the source alternates to end each inner loop at an
    // even count: first draw below 1 (always 0), then 0 below 2, then 1 below 3 stops after two successes.
    struct Endless(u64);
    impl RngCore for Endless {
        fn next_u32(&mut self) -> u32 {
            0
        }
        fn next_u64(&mut self) -> u64 {
            self.0 ^= 1;
            1 - self.0
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }
    assert_eq!(
        discrete_laplace(1, &mut Endless(0)),
        Err(NoiseError::Overflow)
    );
}

#[test]
fn variances_out_of_range_are_refused() {
    assert_eq!(NoiseVariance::new(0), Err(NoiseError::Variance));
    assert_eq!(
        NoiseVariance::new(MAX_VARIANCE + 1),
        Err(NoiseError::Variance)
    );
}

#[test]
fn debug_output_of_noise_shows_no_value() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let noise = sampler(100).sample_vector(4, &mut rng).unwrap();
    assert_eq!(format!("{noise:?}"), "NoiseVector(4 elements)");
}
