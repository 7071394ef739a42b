//! Numbers with the noise that is on them, and what becomes of it in sums, quotients and products.
//!
//! Standard errors are those of the noise alone: the records are taken as they are, not as a sample of others. Where an estimate is not
//! linear in the sums they are of first order (the delta method), which holds as long as the noise is small beside the sums.

use serde::{Deserialize, Serialize};

use super::Block;

/// A denominator must be this many of its standard errors above nothing; else what is divided by it says nothing.
const CERTAIN: f64 = 4.0;

/// A number and the standard error of the noise on it. Both are absent where the noise drowns what the number is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The estimate.
    pub value: Option<f64>,
    /// Of the noise alone.
    pub standard_error: Option<f64>,
}

impl Estimate {
    pub(super) fn new(value: f64, standard_error: f64) -> Self {
        let known = value.is_finite() && standard_error.is_finite();
        Self {
            value: known.then_some(value),
            standard_error: known.then_some(standard_error),
        }
    }

    pub(super) fn unknown() -> Self {
        Self {
            value: None,
            standard_error: None,
        }
    }

    /// The value and the error, if the value is so far above nothing that it may be divided by.
    pub(super) fn certain(&self) -> Option<(f64, f64)> {
        let (value, error) = (self.value?, self.standard_error?);
        (value > CERTAIN * error).then_some((value, error))
    }

    pub(super) fn times(&self, factor: f64) -> Self {
        Self {
            value: self.value.map(|value| value * factor),
            standard_error: self.standard_error.map(|error| error * factor.abs()),
        }
    }

    /// The square root, by its slope; nothing where the noise drowns the number.
    pub(super) fn root(&self) -> Self {
        match self.certain() {
            Some((value, error)) => Self::new(value.sqrt(), error / (2.0 * value.sqrt())),
            None => Self::unknown(),
        }
    }

    /// a/b for independent noises: the variance is (s_a² + (a/b)²·s_b²)/b².
    pub(super) fn quotient(&self, by: &Self) -> Self {
        match (self.value.zip(self.standard_error), by.certain()) {
            (Some((value, error)), Some((divisor, divisor_error))) => {
                let quotient = value / divisor;
                let noise = error.hypot(quotient * divisor_error) / divisor;
                Self::new(quotient, noise)
            }
            (None, _) | (_, None) => Self::unknown(),
        }
    }

    /// a/(a + b) for sums of `many.0` and `many.1` counts with independent noise of one size each.
    pub(super) fn share(a: f64, b: f64, many: (f64, f64), error: f64) -> Self {
        let whole = Self::new(a + b, (many.0 + many.1).sqrt() * error);
        match whole.certain() {
            // The derivatives are b/(a + b)² and −a/(a + b)².
            Some((whole, _)) => {
                let noise = (many.0.sqrt() * b).hypot(many.1.sqrt() * a) * error / (whole * whole);
                Self::new(a / whole, noise)
            }
            None => Self::unknown(),
        }
    }

    /// The same, with the value between bounds that it must have.
    pub(super) fn within(self, least: f64, most: f64) -> Self {
        Self {
            value: self.value.map(|value| value.clamp(least, most)),
            ..self
        }
    }
}

/// The noised sum of the records' vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noised<'a> {
    /// In grid units.
    sum: &'a [i64],
    /// A grid unit.
    unit: f64,
    /// Standard deviation of the noise on each coordinate, in units of the record's norm.
    deviation: f64,
}

impl<'a> Noised<'a> {
    pub(crate) fn new(sum: &'a [i64], unit: f64, deviation: f64) -> Self {
        Self {
            sum,
            unit,
            deviation,
        }
    }

    /// The values of a block, in units of the block.
    #[expect(
        clippy::cast_precision_loss,
        reason = "what is beyond 53 bits of a sum is far below its noise"
    )]
    pub(super) fn block(&self, block: &Block) -> NoisedBlock {
        let factor = f64::from(block.factor);
        let scale = self.unit / factor;
        let integers = &self.sum[block.first..block.first + block.length];
        NoisedBlock {
            values: integers.iter().map(|value| *value as f64 * scale).collect(),
            standard_error: self.deviation / factor,
        }
    }
}

/// The noised values of one block, each with the same independent noise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NoisedBlock {
    values: Vec<f64>,
    standard_error: f64,
}

impl NoisedBlock {
    pub(super) fn at(&self, index: usize) -> Estimate {
        Estimate::new(self.values[index], self.standard_error)
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.values.clone()
    }

    pub(super) fn standard_error(&self) -> f64 {
        self.standard_error
    }
}
