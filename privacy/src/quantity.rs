//! The quantities of differential privacy as checked types: epsilon, delta, noise multiplier, sampling rate, steps.

use std::fmt;

/// Least and greatest noise multiplier in use. Below, no mechanism is worth its name; above, a planner's 64-bit integers
/// and any model's accuracy are long gone.
const NOISE_MULTIPLIER_RANGE: std::ops::RangeInclusive<f64> = 1e-3..=1e6;

/// Most steps one mechanism may have: a job of a hundred million steps is a mistake in a unit.
const MAX_STEPS: u32 = 100_000_000;

/// The epsilon of (epsilon, delta)-differential privacy.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Epsilon(f64);

impl Epsilon {
    /// What is spent before anything is released.
    pub const ZERO: Self = Self(0.0);

    /// A target or a cap.
    ///
    /// # Errors
    /// [`QuantityError`] unless the value is positive and finite.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(QuantityError::Epsilon)
        }
    }

    /// What an accountant computed; zero is possible. What is no number is no bound, so it counts as infinity.
    pub(crate) fn accounted(value: f64) -> Self {
        Self(if value.is_nan() {
            f64::INFINITY
        } else {
            value.max(0.0)
        })
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// The delta of (epsilon, delta)-differential privacy.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Delta(f64);

impl Delta {
    /// A probability strictly between 0 and 1; one well below 1/records is meant.
    ///
    /// # Errors
    /// [`QuantityError`] for anything else.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        // Subnormal values are refused too: their logarithm has lost its digits.
        if value.is_normal() && value > 0.0 && value < 1.0 {
            Ok(Self(value))
        } else {
            Err(QuantityError::Delta)
        }
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Natural logarithm of the number.
    pub(crate) fn ln(self) -> f64 {
        self.0.ln()
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Standard deviation of the noise on a sum, relative to the clip norm C.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct NoiseMultiplier(f64);

impl NoiseMultiplier {
    /// A noise multiplier of 0.001 to 1 000 000.
    ///
    /// # Errors
    /// [`QuantityError`] for anything else.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        if NOISE_MULTIPLIER_RANGE.contains(&value) {
            Ok(Self(value))
        } else {
            Err(QuantityError::NoiseMultiplier)
        }
    }

    /// The multiplier k/10 000, the form in which a plan fixes it.
    ///
    /// # Errors
    /// [`QuantityError`] if the value is out of range.
    pub fn from_ten_thousandths(count: u64) -> Result<Self, QuantityError> {
        if count > 10_000_000_000 {
            return Err(QuantityError::NoiseMultiplier);
        }
        // Exact below 2^53, so that the division rounds once.
        Self::new(count as f64 / 10_000.0)
    }

    /// The least integer k with k/10 000 at or above the multiplier.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range keeps the product within 1 and 10^10"
    )]
    pub fn ten_thousandths_up(self) -> u64 {
        let below = ((self.0 * 10_000.0).floor() as u64).saturating_sub(1);
        let reaches =
            |count: u64| Self::from_ten_thousandths(count).is_ok_and(|rounded| rounded >= self);
        // The product may round either way; the three neighbours decide exactly.
        (below..below + 3)
            .find(|count| reaches(*count))
            .unwrap_or(below + 3)
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for NoiseMultiplier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Probability with which a record takes part in a step, independently of all others and of all other steps.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct SamplingRate(f64);

impl SamplingRate {
    /// Each record takes part in each step.
    pub const FULL_BATCH: Self = Self(1.0);

    /// A rate above 0, at most 1.
    ///
    /// # Errors
    /// [`QuantityError`] for anything else.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        if value.is_normal() && value > 0.0 && value <= 1.0 {
            Ok(Self(value))
        } else {
            Err(QuantityError::SamplingRate)
        }
    }

    /// Whether each record takes part in each step.
    pub fn is_full_batch(self) -> bool {
        self.0 >= 1.0
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// How many times a mechanism runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps(u32);

impl Steps {
    /// A single run.
    pub const ONE: Self = Self(1);

    /// 1 to 100 000 000 runs.
    ///
    /// # Errors
    /// [`QuantityError`] for anything else.
    pub fn new(count: u32) -> Result<Self, QuantityError> {
        if (1..=MAX_STEPS).contains(&count) {
            Ok(Self(count))
        } else {
            Err(QuantityError::Steps)
        }
    }

    /// The number.
    pub fn count(self) -> u32 {
        self.0
    }
}

/// A number that is not the quantity it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not an epsilon.
    #[error("epsilon must be a finite number above 0: choose one, usually between 0.1 and 10")]
    Epsilon,
    /// Not a delta.
    #[error(
        "delta must lie strictly between 0 and 1: choose one well below 1 divided by the number of records"
    )]
    Delta,
    /// Not a noise multiplier.
    #[error(
        "the noise multiplier must lie between 0.001 and 1000000: it is relative to the clip norm"
    )]
    NoiseMultiplier,
    /// Not a sampling rate.
    #[error("the sampling rate must be above 0 and at most 1: give 1 for full batches")]
    SamplingRate,
    /// Not a number of steps.
    #[error("the number of steps must lie between 1 and {MAX_STEPS}")]
    Steps,
    /// Not a cap on batches.
    #[error("a cap on batches needs the largest batch and the number of records, both at least 1")]
    Truncation,
}

impl QuantityError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Epsilon => "privacy_epsilon_out_of_range",
            Self::Delta => "privacy_delta_out_of_range",
            Self::NoiseMultiplier => "privacy_noise_multiplier_out_of_range",
            Self::SamplingRate => "privacy_sampling_rate_out_of_range",
            Self::Steps => "privacy_steps_out_of_range",
            Self::Truncation => "privacy_truncation_out_of_range",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_negative_infinite_and_nan_are_no_epsilon() {
        for value in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(Epsilon::new(value), Err(QuantityError::Epsilon));
        }
        assert_eq!(Epsilon::new(0.5).unwrap().value(), 0.5);
    }

    #[test]
    fn zero_one_subnormal_and_nan_are_no_delta() {
        for value in [0.0, 1.0, -1e-5, 1e-310, f64::NAN] {
            assert_eq!(Delta::new(value), Err(QuantityError::Delta));
        }
    }

    #[test]
    fn rates_steps_and_multipliers_out_of_range_are_refused() {
        for value in [0.0, 1.1, f64::NAN] {
            assert!(SamplingRate::new(value).is_err());
        }
        for value in [0.0, -2.0, f64::INFINITY, f64::NAN] {
            assert!(NoiseMultiplier::new(value).is_err());
        }
        assert!(Steps::new(0).is_err());
    }

    #[test]
    fn a_multiplier_is_rounded_up_to_ten_thousandths_and_a_round_one_stays() {
        for (value, count) in [
            (1.0, 10_000),
            (1.000_000_1, 10_001),
            (0.3, 3_000),
            (76.673_951, 766_740),
            (1e6, 10_000_000_000),
        ] {
            assert_eq!(
                NoiseMultiplier::new(value).unwrap().ten_thousandths_up(),
                count,
                "{value}"
            );
        }
        for count in [10_u64, 11, 9_999, 123_457, 9_999_999_999] {
            assert_eq!(
                NoiseMultiplier::from_ten_thousandths(count)
                    .unwrap()
                    .ten_thousandths_up(),
                count
            );
        }
    }
}
