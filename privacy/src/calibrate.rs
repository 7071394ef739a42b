//! The least noise that meets a target, for full-batch rounds.

use crate::accountant::gaussian;
use crate::mechanism::{Mechanism, Relation, Unit, composed_mu};
use crate::quantity::{Delta, Epsilon, NoiseMultiplier, SamplingRate, Steps};

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
            gaussian::epsilon(composed_mu(&[job]), delta) <= epsilon
        })
        .ok_or(CalibrationError::OutOfReach)
}

/// A target that no noise in range meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// The noise would be beyond the range of multipliers.
    #[error(
        "no noise multiplier up to 1000000 meets this epsilon and delta over so many rounds: raise epsilon, or plan fewer rounds"
    )]
    OutOfReach,
}

impl CalibrationError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfReach => "privacy_target_out_of_reach",
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
