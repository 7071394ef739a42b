//! The exact privacy curve of the Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8).
//!
//! A Gaussian mechanism is described by μ, its sensitivity divided by its standard deviation. Releases with μ₁, μ₂, …
//! are together exactly one with μ² = Σ μᵢ² (Dong, Roth and Su 2022, corollary 3.3), so full-batch rounds of any noise
//! compose without loss. The members' discrete noise differs from the Gaussian by less than 1e-38 at σ ≥ 2^20 units.

use crate::accountant::mills::{ln_density, mills};
use crate::quantity::{Delta, Epsilon};

/// Relative width at which a bisection stops; what is returned is the pessimistic end.
const WIDTH: f64 = 1e-14;

/// Most halvings of a bisection; 2^-200 of any interval is below [`WIDTH`].
const HALVINGS: u32 = 200;

/// Below this μ the difference of two ratios loses digits, and an upper bound that is tight to μ takes its place.
const SMALL_MU: f64 = 1e-4;

/// The least epsilon at which μ satisfies (epsilon, delta).
pub(crate) fn epsilon(mu: f64, delta: Delta) -> Epsilon {
    let target = delta.ln();
    if mu <= 0.0 || ln_delta(mu, 0.0) <= target {
        return Epsilon::ZERO;
    }
    // Concentrated privacy gives an upper bound: ρ + 2√(ρ·ln(1/δ)) with ρ = μ²/2 (Bun and Steinke 2016, proposition 1.3).
    let (mut low, mut high) = (0.0, 0.5 * mu * mu + mu * (-2.0 * target).sqrt());
    for _ in 0..HALVINGS {
        if high - low <= high * WIDTH {
            break;
        }
        let middle = 0.5 * (low + high);
        if ln_delta(mu, middle) > target {
            low = middle
        } else {
            high = middle
        }
    }
    Epsilon::accounted(high)
}

/// The greatest μ that satisfies (epsilon, delta).
pub(crate) fn greatest_mu(epsilon: Epsilon, delta: Delta) -> f64 {
    let holds = |mu: f64| ln_delta(mu, epsilon.value()) <= delta.ln();
    let mut high = 1.0;
    while holds(high) {
        high *= 2.0;
    }
    let mut low = 0.5 * high;
    while !holds(low) {
        high = low;
        low *= 0.5;
    }
    for _ in 0..HALVINGS {
        if high - low <= high * WIDTH {
            break;
        }
        let middle = 0.5 * (low + high);
        if holds(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// ln δ(ε) of μ: δ = Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ).
///
/// With a = ε/μ − μ/2 and b = ε/μ + μ/2, e^ε·φ(b) = φ(a), so δ = φ(a)·(M(a) − M(b)) with Mills' ratio M: no term
/// overflows or underflows, and the logarithm is exact far below the least float.
fn ln_delta(mu: f64, epsilon: f64) -> f64 {
    let a = epsilon / mu - 0.5 * mu;
    let b = epsilon / mu + 0.5 * mu;
    if mu < SMALL_MU {
        // M(a) − M(b) = ∫ₐᵇ (1 − x·M(x)) dx, whose integrand falls with x.
        let steepest = if a >= 0.0 {
            1.0 - a * mills(a)
        } else {
            1.0 - a * (mills(0.0) + mu)
        };
        return ln_density(a) + (mu * steepest).ln();
    }
    if a >= 0.0 {
        ln_density(a) + (mills(a) - mills(b)).ln()
    } else {
        // Φ(−a) = 1 − φ(a)·M(−a), and −a > 0.
        (1.0 - ln_density(a).exp() * (mills(-a) + mills(b))).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(value: f64) -> Delta {
        Delta::new(value).unwrap()
    }

    #[test]
    fn delta_at_epsilon_zero_is_the_total_variation() {
        // δ(0) = 2Φ(μ/2) − 1; for μ = 2 that is 0.6826894921370859.
        assert!((ln_delta(2.0, 0.0).exp() - 0.682_689_492_137_085_9).abs() < 1e-15);
    }

    #[test]
    fn the_curve_is_continuous_where_the_formulas_meet() {
        for mu in [0.01, 1.0, 5.0] {
            let middle = 0.5 * mu * mu;
            let (below, above) = (
                ln_delta(mu, middle * (1.0 - 1e-12)),
                ln_delta(mu, middle * (1.0 + 1e-12)),
            );
            assert!((below - above).abs() < 1e-9, "{mu}");
        }
        let (below, above) = (
            ln_delta(SMALL_MU * (1.0 - 1e-9), 3e-4),
            ln_delta(SMALL_MU, 3e-4),
        );
        assert!((below - above).abs() < 1e-3 && below >= above - 1e-6);
    }

    #[test]
    fn deltas_far_below_the_usual_keep_epsilon_monotone_and_finite() {
        let mut last = 0.0;
        for exponent in [-3, -12, -50, -100, -200, -300] {
            let found = epsilon(1.0, delta(10_f64.powi(exponent))).value();
            assert!(found > last && found.is_finite());
            last = found;
        }
    }

    #[test]
    fn greatest_mu_is_the_inverse_of_epsilon() {
        for (target, probability) in [
            (0.01, 1e-5),
            (1.0, 1e-5),
            (8.0, 1e-9),
            (100.0, 1e-3),
            (1e-3, 0.3),
        ] {
            let mu = greatest_mu(Epsilon::new(target).unwrap(), delta(probability));
            assert!(
                (epsilon(mu, delta(probability)).value() / target - 1.0).abs() < 1e-9,
                "{target}"
            );
        }
    }

    #[test]
    fn a_large_delta_costs_no_epsilon() {
        assert_eq!(epsilon(0.01, delta(0.1)), Epsilon::ZERO);
    }
}
