//! Tests of the sampler: exhaustive where the space is small, statistics with derived tolerances elsewhere.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

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
