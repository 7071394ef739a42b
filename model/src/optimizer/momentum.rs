//! Momentum: `velocity = momentum·velocity + aggregate`, and the model moves by the learning rate times the velocity.

use std::num::NonZeroUsize;

use super::{SignedRate, all_finite, part_of};
use crate::step::{OptimizerState, StepError, out_of_range};

/// Momentum, at least 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum(f32);

impl Momentum {
    /// The share of a velocity that is left after a round.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] for what is not at least 0 and below 1.
    pub fn new(momentum: f32) -> Result<Self, StepError> {
        if (0.0..1.0).contains(&momentum) {
            Ok(Self(momentum))
        } else {
            Err(out_of_range("momentum", "at least 0 and below 1"))
        }
    }
}

impl OptimizerState {
    pub(super) fn moved_by_momentum(
        &self,
        rule: &Momentum,
        rate: SignedRate,
        aggregate: Vec<f32>,
        workers: NonZeroUsize,
    ) -> Result<Self, StepError> {
        let mut velocity = aggregate;
        let mut parameters = vec![0.0; velocity.len()];
        let part = part_of(velocity.len(), workers);
        let after = velocity.chunks_mut(part).zip(parameters.chunks_mut(part));
        let before = self.velocity().chunks(part);
        let before = before.zip(self.parameters().as_slice().chunks(part));
        let finite = all_finite(after.zip(before), |(after, before)| {
            rule.step(rate, after, before)
        });
        Self::of(parameters, velocity, None, finite)
    }
}

impl Momentum {
    /// Makes of a part of the aggregate the velocity, and of velocity and parameters before the parameters after. Whether all of
    /// them are finite.
    fn step(
        self,
        rate: SignedRate,
        after: (&mut [f32], &mut [f32]),
        before: (&[f32], &[f32]),
    ) -> bool {
        let ((velocities, parameters), (old_velocities, old_parameters)) = (after, before);
        let mut finite = true;
        for (velocity, old) in velocities.iter_mut().zip(old_velocities) {
            let kept = self.0 * old;
            *velocity += kept;
            finite &= velocity.is_finite();
        }
        let old = old_parameters.iter().zip(velocities);
        for (parameter, (old, velocity)) in parameters.iter_mut().zip(old) {
            let change = rate.0 * *velocity;
            *parameter = old + change;
            finite &= parameter.is_finite();
        }
        finite
    }
}
