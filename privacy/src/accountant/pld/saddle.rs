//! Where a composition matters: the exponential tilt under which its loss lies around the epsilon that is looked for.
//!
//! Tilting by λ multiplies the mass at loss l by e^{λl}. With the λ of the Chernoff bound, λK'(λ) − K(λ) = ln(1/δ), where K is
//! the logarithm of the moment generating function of the sum, tails far below a float's digits become the middle of
//! the distribution, so a transform keeps relative instead of absolute digits there (Wilson and Keich, Computational
//! Statistics and Data Analysis 2016; the saddle point in privacy: Alghamdi and others, ICML 2023). Half of that λ is taken:
//! it still leaves the losses around epsilon within a few orders of magnitude of the greatest mass, and where rare steps
//! have a large loss it does not blow up sums of several of them. Any λ gives a valid bound; what is found here only
//! decides how tight it is, so scattered points are good enough.

use super::table::Cloud;

/// Halvings of the search for λ.
const HALVINGS: u32 = 80;

/// Greatest λ, in inverse standard deviations of the untilted sum: beyond, the tilted sum is one point.
const STEEPEST: f64 = 40.0;

/// The part of the Chernoff bound's λ that is taken.
const PART: f64 = 0.5;

/// −ln of the tilted mass that may lie outside of the window on either side.
const OUTSIDE: f64 = 22.0;

/// A tilt and the window of losses that holds the tilted sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saddle {
    /// λ.
    pub(super) tilt: f64,
    /// Standard deviation of the tilted sum.
    pub(super) deviation: f64,
    /// Mean of the tilted sum.
    pub(super) mean: f64,
    /// Least loss of interest.
    pub(super) low: f64,
    /// Greatest loss of interest.
    pub(super) high: f64,
    /// Added to the tilt, the best exponent to bound what lies above `high`.
    pub(super) beyond: f64,
}

/// K and its first two derivatives.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    k: f64,
    mean: f64,
    variance: f64,
}

/// The saddle point of the sum of `steps` losses from each cloud, for this ln δ.
pub(super) fn find(parts: &[(Cloud, f64)], ln_delta: f64) -> Saddle {
    let plain = moments(parts, 0.0);
    let spread = plain.variance.sqrt().max(f64::MIN_POSITIVE);
    let steepest = STEEPEST / spread;
    let (mut low, mut high) = (steepest * 1e-12, steepest);
    let is_below = |tilt: f64| {
        let at = moments(parts, tilt);
        tilt * at.mean - at.k < -ln_delta
    };
    if is_below(high) {
        low = high;
    }
    for _ in 0..HALVINGS {
        if high <= low * (1.0 + 1e-6) {
            break;
        }
        let middle = (low * high).sqrt();
        if is_below(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    let bound = moments(parts, low).mean;
    let mut saddle = window(parts, PART * low);
    // Epsilon is below the Chernoff bound; more room than that is of no use if the sum cannot reach it.
    saddle.high = saddle.high.max(bound);
    saddle
}

/// The window of a tilt, by the Chernoff bound on both sides with the best of some exponents.
fn window(parts: &[(Cloud, f64)], tilt: f64) -> Saddle {
    let at = moments(parts, tilt);
    let plain = moments(parts, 0.0);
    let deviation = at.variance.sqrt();
    let unit = 1.0 / deviation.max(plain.variance.sqrt()).max(f64::MIN_POSITIVE);
    let mut saddle = Saddle {
        tilt,
        deviation,
        mean: at.mean,
        low: parts
            .iter()
            .map(|(cloud, steps)| steps * cloud.least())
            .sum(),
        high: parts
            .iter()
            .map(|(cloud, steps)| steps * cloud.greatest())
            .sum(),
        beyond: unit,
    };
    for doubling in -8..=16 {
        let exponent = unit * (0.5 * f64::from(doubling)).exp2();
        let above = (moments(parts, tilt + exponent).k - at.k + OUTSIDE) / exponent;
        if above < saddle.high {
            (saddle.high, saddle.beyond) = (above, exponent);
        }
        let below = -(moments(parts, tilt - exponent).k - at.k + OUTSIDE) / exponent;
        saddle.low = saddle.low.max(below);
    }
    saddle
}

fn moments(parts: &[(Cloud, f64)], tilt: f64) -> Moments {
    parts
        .iter()
        .fold(Moments::default(), |sum, (cloud, steps)| {
            let one = cloud.moments(tilt);
            Moments {
                k: sum.k + steps * one.k,
                mean: sum.mean + steps * one.mean,
                variance: sum.variance + steps * one.variance,
            }
        })
}

impl Cloud {
    fn least(&self) -> f64 {
        self.losses.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn greatest(&self) -> f64 {
        self.losses
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }

    fn moments(&self, tilt: f64) -> Moments {
        let points = || self.losses.iter().zip(&self.ln_masses);
        let exponent = |(loss, ln_mass): (&f64, &f64)| tilt * loss + ln_mass;
        // Relative to the greatest term, so that the sum neither overflows nor vanishes.
        let top = points().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let (mut total, mut first) = (0.0, 0.0);
        for point in points() {
            let share = (exponent(point) - top).exp();
            total += share;
            first += share * point.0;
        }
        let mean = first / total;
        let second: f64 = points()
            .map(|point| (exponent(point) - top).exp() * (point.0 - mean).powi(2))
            .sum();
        Moments {
            k: top + total.ln(),
            mean,
            variance: second / total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::{Pair, Side};
    use super::super::table::{Shape, Source};
    use super::*;

    #[test]
    fn of_a_gaussian_the_saddle_is_known_in_closed_form() {
        // The loss of μ is N(μ²/2, μ²): K = λμ²/2 + λ²μ²/2, so λ = sqrt(2·ln(1/δ))/μ, and at half of it the mean is
        // μ²/2 + λμ²/2.
        for (mu, delta) in [(0.01_f64, 1e-5_f64), (1.0, 1e-9), (20.0, 1e-3)] {
            let source = Source::one(Shape::Pair(Pair::new(Side::Remove, 1.0, mu)));
            let found = find(&[(source.cloud(1e-60).unwrap(), 1.0)], delta.ln());
            let tilt = 0.5 * (-2.0 * delta.ln()).sqrt() / mu;
            assert!(
                (found.tilt / tilt - 1.0).abs() < 1e-3,
                "{mu} {delta}: {found:?}"
            );
            assert!(
                (found.deviation / mu - 1.0).abs() < 1e-2,
                "{mu} {delta}: {found:?}"
            );
            let mean = 0.5 * mu * mu + tilt * mu * mu;
            assert!(
                (found.mean / mean - 1.0).abs() < 1e-2,
                "{mu} {delta}: {found:?}"
            );
        }
    }
}
