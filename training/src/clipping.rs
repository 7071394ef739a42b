//! What one record may weigh: the clip norm on its grid, and the share of it that the loss query takes.

use consort_model::LOSS_CAP;
use consort_privacy::Grid;

use crate::TrainingError;

/// The share of the clip norm that the loss coordinate of a record may take; 0 asks no loss.
///
/// A record's vector is (gradient, loss). With weight w and clip norm C the gradient is clipped to C·√(1 − w²) and the
/// loss coordinate is min(loss, [`LOSS_CAP`])·w·C/[`LOSS_CAP`] ≤ w·C, so that the joint L2 norm is at most C and the
/// round's one mechanism covers both.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LossWeight(f64);

impl LossWeight {
    /// No loss query: the coordinate is there and always zero.
    pub const NONE: Self = Self(0.0);

    /// A weight of at least 0 and below 1.
    ///
    /// # Errors
    /// [`TrainingError::LossWeight`] for anything else.
    pub fn new(value: f64) -> Result<Self, TrainingError> {
        if (0.0..1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(TrainingError::LossWeight)
        }
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// How a record's gradient and loss become one vector on the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clipping {
    grid: Grid,
    loss_weight: LossWeight,
}

impl Clipping {
    /// The rule of a job: its grid, with the clip norm of the joint vector, and the weight of its loss query.
    pub fn new(grid: Grid, loss_weight: LossWeight) -> Self {
        Self { grid, loss_weight }
    }

    /// The grid of the joint vector.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The weight of the loss query.
    pub fn loss_weight(&self) -> LossWeight {
        self.loss_weight
    }

    /// The norm to which the gradient alone is clipped, C·√(1 − w²).
    pub(crate) fn gradient_norm(&self) -> f64 {
        self.clip() * (1.0 - self.loss_weight.0 * self.loss_weight.0).sqrt()
    }

    /// The loss coordinate of a record with this loss; NaN stays NaN, so that the record counts as zero.
    pub(crate) fn loss_coordinate(&self, loss: f64) -> f64 {
        let capped = if loss > LOSS_CAP { LOSS_CAP } else { loss };
        capped * (self.loss_weight.0 * self.clip() / LOSS_CAP)
    }

    fn clip(&self) -> f64 {
        f64::from(self.grid.clip().value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_privacy::{ClipNorm, GridBits};

    fn clipping(weight: f64) -> Clipping {
        let grid = Grid::new(ClipNorm::new(0.5).unwrap(), GridBits::new(20).unwrap());
        Clipping::new(grid, LossWeight::new(weight).unwrap())
    }

    #[test]
    fn gradient_and_loss_at_their_bounds_have_the_joint_norm() {
        for weight in [0.0, 0.1, 0.5, 0.99] {
            let rule = clipping(weight);
            let joint = rule.gradient_norm().hypot(rule.loss_coordinate(1e9));
            assert!((joint - 0.5).abs() < 1e-12, "weight {weight}");
        }
    }

    #[test]
    fn a_weight_of_one_or_none_at_all_is_refused() {
        for weight in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            let refused = LossWeight::new(weight).unwrap_err();
            assert_eq!(refused.code(), "training_loss_weight");
        }
    }

    #[test]
    fn a_loss_takes_its_share_of_the_weight_up_to_the_cap() {
        // 1.5 of 2 nats is 3/4 of w = 1/4 of C = 1/2.
        assert!((clipping(0.25).loss_coordinate(1.5) - 0.09375).abs() < 1e-12);
        assert!((clipping(0.25).loss_coordinate(7.0) - 0.125).abs() < 1e-12);
        assert!(clipping(0.0).loss_coordinate(1.5).abs() < 1e-12);
    }

    #[test]
    fn a_damaged_loss_is_not_taken_for_the_cap() {
        assert!(clipping(0.25).loss_coordinate(f64::NAN).is_nan());
    }
}
