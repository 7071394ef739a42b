//! What one record may weigh: the clip norm on its grid, and the share of it that the loss query takes.

use consort_privacy::Grid;

use crate::TrainingError;

/// Less room for what f64 rounds in the lengths that are compared with the bound: sums of at most 2^26 squares in 16 running sums have a relative
/// error below 2^-30, and the constants here below 2^-50.
const ROUNDING_OF_LENGTHS: f64 = 1.0 - 1.0 / 67_108_864.0;

/// The share of the clip norm that the loss coordinate of a record may take; 0 asks no loss.
///
/// A record's vector is (gradient, loss). With weight w and clip norm C the gradient is clipped to C·√(1 − w²) and the
/// loss coordinate is min(loss, cap)·w·C/cap ≤ w·C with the cap of the model's loss, so that the joint L2 norm is at most C and the
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

    /// How long a gradient of so many coordinates may be in grid units, so that its nearest integers and the loss are together
    /// no longer than 2^g. Their room without the loss is G = 2^g·√(1 − w²). Rounding moves a coordinate by ½ at most, and only from ½ on
    /// does it leave 0, so it at most doubles one: a gradient of length t becomes one of at most t + √d/2 and of at most 2t.
    pub(crate) fn longest_gradient(&self, coordinates: usize) -> f64 {
        let room = self.units() * (1.0 - self.loss_weight.0 * self.loss_weight.0).sqrt();
        let rounding = self::count(coordinates).sqrt() / 2.0;
        (room - rounding).max(room / 2.0) * ROUNDING_OF_LENGTHS
    }

    /// The loss coordinate of a record with this loss, in grid units; `cap` is the most that is counted.
    pub(crate) fn loss_units(&self, loss: f64, cap: f64) -> i64 {
        let share = loss.clamp(0.0, cap) / cap;
        truncate(share * self.loss_weight.0 * self.units())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "2^g is a power of two and exact"
    )]
    fn units(&self) -> f64 {
        self.grid.bits().units() as f64
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a model has at most 2^26 coordinates"
)]
fn count(coordinates: usize) -> f64 {
    coordinates as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 2^40, and never NaN"
)]
fn truncate(value: f64) -> i64 {
    value as i64
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
            // What rounding may add to 100 coordinates is 5 units.
            let loss = f64::from(u32::try_from(rule.loss_units(1e9, 2.0)).unwrap());
            let joint = (rule.longest_gradient(100) + 5.0).hypot(loss);
            let below = 1.0 - joint / 1_048_576.0;
            assert!((0.0..3e-6).contains(&below), "weight {weight}");
        }
    }

    #[test]
    fn rounding_takes_at_most_half_of_the_room() {
        // √(2^44)/2 is above 2^20.
        let rule = clipping(0.0);
        assert!((rule.longest_gradient(1 << 44) / f64::from(1 << 19) - 1.0).abs() < 1e-6);
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
        // 1.5 of 2 nats is 3/4 of w = 1/4 of 2^20.
        assert_eq!(clipping(0.25).loss_units(1.5, 2.0), 196_608);
        assert_eq!(clipping(0.25).loss_units(7.0, 2.0), 262_144);
        assert_eq!(clipping(0.25).loss_units(1.5, 6.0), 65_536);
        assert_eq!(clipping(0.0).loss_units(1.5, 2.0), 0);
    }
}
