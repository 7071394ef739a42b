//! The least noise that meets a target.

use crate::accountant::gaussian;
use crate::accountant::pld::PldRefused;
use crate::mechanism::{Mechanism, Relation, Truncation, Unit, composed_mu};
use crate::quantity::{Delta, Epsilon, NoiseMultiplier, SamplingRate, Steps};
use crate::spend::{exact, pld, rdp};

/// Relative width at which the search for a sampled job's noise stops: far below what a grid leaves.
const WIDTH: f64 = 1e-6;

/// Most evaluations of a search.
const TRIALS: u32 = 200;

/// The multipliers that are searched.
const RANGE: (f64, f64) = (1e-3, 1e6);

/// The least noise multiplier in steps of 1/10 000 with which `steps` full-batch releases together satisfy
/// (`epsilon`, `delta`), by the exact curve of the Gaussian mechanism.
///
/// # Errors
/// [`CalibrationError`] if no noise multiplier in range does.
pub fn least_noise_multiplier(
    epsilon: Epsilon,
    delta: Delta,
    steps: Steps,
    relation: Relation,
) -> Result<NoiseMultiplier, CalibrationError> {
    let sigma = least_sigma(epsilon, delta, steps, relation);
    // A target so weak that even the least multiplier is more than enough takes the least.
    let start = NoiseMultiplier::new(sigma.max(1e-3))
        .map_err(|_| CalibrationError::OutOfReach)?
        .ten_thousandths_up();
    // The rounded value is checked by the accountant that will be asked later; one more step absorbs its last digit.
    [start, start + 1]
        .into_iter()
        .filter_map(|count| NoiseMultiplier::from_ten_thousandths(count).ok())
        .find(|noise| {
            let job = Mechanism::new(
                *noise,
                SamplingRate::FULL_BATCH,
                steps,
                relation,
                Unit::Record,
            );
            gaussian::epsilon(composed_mu([job].iter()), delta) <= epsilon
        })
        .ok_or(CalibrationError::OutOfReach)
}

/// Whose epsilon a search is to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accountant {
    /// Rényi divergences at integer orders.
    Rdp,
    /// Privacy loss distributions; the exact curve where batches are full.
    Pld,
}

/// What noise is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledTarget {
    /// Epsilon of all steps together.
    pub epsilon: Epsilon,
    /// Delta of all steps together.
    pub delta: Delta,
    /// Probability of a record to take part in a step.
    pub sampling: SamplingRate,
    /// Number of releases.
    pub steps: Steps,
    /// Which data sets count as neighbours.
    pub relation: Relation,
    /// Cap on the batches.
    pub truncation: Option<Truncation>,
}

/// A noise multiplier that meets the target by this accountant, at most a millionth above the least.
///
/// # Errors
/// [`CalibrationError`] if no noise multiplier in range does, or loss distributions are not computed for the target.
pub fn least_sampled_noise_multiplier(
    target: &SampledTarget,
    accountant: Accountant,
) -> Result<NoiseMultiplier, CalibrationError> {
    // What is too large for a table is too weak a noise: epsilon counts as infinite there.
    let excess = |sigma: f64| match target.cost(sigma, accountant) {
        Ok(epsilon) => Ok(epsilon.value().ln() - target.epsilon.value().ln()),
        Err(PldRefused::TableTooLarge) => Ok(f64::INFINITY),
        Err(refused) => Err(CalibrationError::Pld(refused)),
    };
    // Loss distributions ask for less noise than the Rényi figure, by some percent, and take longer: start there.
    let (start, stride) = match accountant {
        Accountant::Rdp => (1.0, 2.0),
        Accountant::Pld => least_sampled_noise_multiplier(target, Accountant::Rdp)
            .map_or((1.0, 2.0), |noise| (noise.value(), 1.1)),
    };
    let (mut low, mut high) = bracket(&excess, start, stride)?;
    // Regula falsi in logarithms with the Illinois weight, and halving wherever it has no footing.
    let mut kept = 0_i32;
    for _ in 0..TRIALS {
        if high.0 <= low.0 * (1.0 + WIDTH) || low.1 <= 0.0 {
            break;
        }
        let width = high.0.ln() - low.0.ln();
        let part = low.1 / (low.1 - high.1);
        let part = if part.is_finite() && kept.abs() < 4 {
            part
        } else {
            0.5
        };
        // Never nearer to an end than a tenth of the final width, or the other end would not move.
        let inset = (0.4 * WIDTH / width).min(0.5);
        let middle = (low.0.ln() + width * part.clamp(inset, 1.0 - inset)).exp();
        let value = excess(middle)?;
        if value > 0.0 {
            low = (middle, value);
            kept = kept.max(0) + 1;
            if kept > 1 {
                high.1 *= 0.5;
            }
        } else {
            high = (middle, value);
            kept = kept.min(0) - 1;
            if kept < -1 {
                low.1 *= 0.5;
            }
        }
    }
    let found = if low.1 <= 0.0 { low.0 } else { high.0 };
    NoiseMultiplier::new(found).map_err(|_| CalibrationError::OutOfReach)
}

/// A multiplier, and ln of its epsilon relative to the target.
type Trial = (f64, f64);

/// Two multipliers, the lower too weak and the upper enough; the least multiplier twice if even that is enough.
fn bracket(
    excess: &impl Fn(f64) -> Result<f64, CalibrationError>,
    start: f64,
    stride: f64,
) -> Result<(Trial, Trial), CalibrationError> {
    let (least, greatest) = RANGE;
    let at = |sigma: f64| excess(sigma).map(|value| (sigma, value));
    let first = at(start)?;
    let (mut low, mut high, mut stride) = (first, first, stride);
    while high.1 > 0.0 {
        if high.0 >= greatest {
            return Err(CalibrationError::OutOfReach);
        }
        (low, high) = (high, at((stride * high.0).min(greatest))?);
        stride *= stride.min(2.0);
    }
    while low.1 <= 0.0 {
        if low.0 <= least {
            return Ok((low, low));
        }
        (low, high) = (at((low.0 / stride).max(least))?, low);
        stride *= stride.min(2.0);
    }
    Ok((low, high))
}

impl SampledTarget {
    fn cost(&self, sigma: f64, accountant: Accountant) -> Result<Epsilon, PldRefused> {
        let noise = NoiseMultiplier::new(sigma).map_err(|_| PldRefused::TableTooLarge)?;
        let job = Mechanism::new(
            noise,
            self.sampling,
            self.steps,
            self.relation,
            Unit::Record,
        );
        let job = [self.truncation.map_or(job, |cap| job.truncated(cap))];
        match accountant {
            Accountant::Rdp => Ok(rdp(&job, self.delta)),
            Accountant::Pld => exact(&job, self.delta).map_or_else(|| pld(&job, self.delta), Ok),
        }
    }
}

/// A target that no noise in range meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// The noise would be beyond the range of multipliers.
    #[error(
        "no noise multiplier up to 1000000 meets this epsilon and delta over so many rounds: raise epsilon, or plan fewer rounds"
    )]
    OutOfReach,
    /// Loss distributions are not computed for this target.
    #[error(transparent)]
    Pld(#[from] PldRefused),
}

impl CalibrationError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfReach => "privacy_target_out_of_reach",
            Self::Pld(refused) => refused.code(),
        }
    }
}

/// The same before rounding: σ = sensitivity·√steps / μ.
fn least_sigma(epsilon: Epsilon, delta: Delta, steps: Steps, relation: Relation) -> f64 {
    relation.sensitivity() * f64::from(steps.count()).sqrt() / gaussian::greatest_mu(epsilon, delta)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The unrounded answer for one add/remove release, for the known answers.
    pub(crate) fn sigma_of(epsilon: f64, delta: f64, steps: u32) -> f64 {
        let (epsilon, delta) = (Epsilon::new(epsilon).unwrap(), Delta::new(delta).unwrap());
        least_sigma(
            epsilon,
            delta,
            Steps::new(steps).unwrap(),
            Relation::AddRemove,
        )
    }

    fn calibrated(epsilon: f64, steps: u32, relation: Relation) -> NoiseMultiplier {
        let (epsilon, delta) = (Epsilon::new(epsilon).unwrap(), Delta::new(1e-5).unwrap());
        least_noise_multiplier(epsilon, delta, Steps::new(steps).unwrap(), relation).unwrap()
    }

    #[test]
    fn the_answer_meets_the_target_and_one_step_less_does_not() {
        let delta = Delta::new(1e-5).unwrap();
        for (epsilon, steps) in [(0.1, 20), (1.0, 20), (1.0, 60), (8.0, 1), (50.0, 1000)] {
            let found = calibrated(epsilon, steps, Relation::AddRemove).ten_thousandths_up();
            let cost = |count: u64| {
                let sigma = NoiseMultiplier::from_ten_thousandths(count).unwrap();
                gaussian::epsilon(f64::from(steps).sqrt() / sigma.value(), delta).value()
            };
            assert!(
                cost(found) <= epsilon && cost(found - 1) > epsilon,
                "{epsilon} {steps}"
            );
        }
    }

    #[test]
    fn replace_one_takes_twice_the_noise() {
        let (single, double) = (
            calibrated(1.0, 20, Relation::AddRemove),
            calibrated(1.0, 20, Relation::ReplaceOne),
        );
        assert!((double.value() - 2.0 * single.value()).abs() <= 2e-4);
    }

    #[test]
    fn a_target_out_of_reach_is_an_error_that_says_what_to_do() {
        let (epsilon, delta) = (Epsilon::new(1e-6).unwrap(), Delta::new(1e-12).unwrap());
        let refused = least_noise_multiplier(
            epsilon,
            delta,
            Steps::new(100_000_000).unwrap(),
            Relation::AddRemove,
        );
        assert!(refused.unwrap_err().to_string().contains("raise epsilon"));
    }

    #[test]
    fn a_target_weaker_than_any_noise_takes_the_least_multiplier() {
        assert_eq!(calibrated(1e9, 1, Relation::AddRemove).value(), 1e-3);
    }
}
