//! The server's step by an average of model updates: the sibling of the step by a gradient sum.

use std::num::NonZeroUsize;

use crate::step::{OptimizerState, StepError};

/// The public constants of a step by an average: learning rate and momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AverageRule {
    learning_rate: f32,
    momentum: f32,
}

impl AverageRule {
    /// A step that takes `learning_rate` times the velocity; 1 without momentum takes the average as it is.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] naming the constant that is out of range.
    pub fn new(learning_rate: f32, momentum: f32) -> Result<Self, StepError> {
        let refuse = |constant, range| Err(StepError::RuleOutOfRange { constant, range });
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            return refuse("learning_rate", "above 0 and finite");
        }
        if !(0.0..1.0).contains(&momentum) {
            return refuse("momentum", "at least 0 and below 1");
        }
        Ok(Self {
            learning_rate,
            momentum,
        })
    }
}

impl OptimizerState {
    /// The state after one averaged update: `velocity = momentum·velocity + update`, `parameters += learning_rate·velocity`
    /// (Hsu, Qi and Brown 2019, "Measuring the Effects of Non-Identical Data Distribution", section 4.2). One f32
    /// operation per element and line, as in [`Self::step`].
    ///
    /// # Errors
    /// [`StepError::WrongLength`] if the update has another length than the model; [`StepError::Diverged`] if an element leaves
    /// the finite numbers. The old state stays valid.
    ///
    /// `update` becomes the velocity where it lies. So many threads work on parts of it, which changes no bit of the result.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    pub fn step_by_average(
        &self,
        rule: &AverageRule,
        update: Vec<f32>,
        workers: NonZeroUsize,
    ) -> Result<Self, StepError> {
        self.check_length(update.len())?;
        let mut velocity = update;
        let mut parameters = vec![0.0; velocity.len()];
        let part = velocity.len().div_ceil(workers.get()).max(1);
        let parts = velocity.chunks_mut(part).zip(parameters.chunks_mut(part));
        let before = self.velocity().chunks(part);
        let before = before.zip(self.parameters().as_slice().chunks(part));
        let finite = std::thread::scope(|scope| {
            let mut parts = parts.zip(before);
            let first = parts.next();
            let others: Vec<_> = parts
                .map(|(after, before)| scope.spawn(move || rule.step(after, before)))
                .collect();
            let first = first.is_none_or(|(after, before)| rule.step(after, before));
            others.into_iter().fold(first, |finite, other| {
                finite
                    & other
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        if finite {
            return Ok(Self::of_finite(parameters, velocity));
        }
        Self::of(parameters, velocity)
    }
}

impl AverageRule {
    /// Makes of a part of the update the velocity, and of velocity and parameters before the parameters after. Whether all of them
    /// are finite.
    fn step(&self, after: (&mut [f32], &mut [f32]), before: (&[f32], &[f32])) -> bool {
        let ((velocities, parameters), (old_velocities, old_parameters)) = (after, before);
        let mut finite = true;
        for (velocity, old) in velocities.iter_mut().zip(old_velocities) {
            let kept = self.momentum * old;
            *velocity += kept;
            finite &= velocity.is_finite();
        }
        let old = old_parameters.iter().zip(velocities);
        for (parameter, (old, velocity)) in parameters.iter_mut().zip(old) {
            let change = self.learning_rate * *velocity;
            *parameter = old + change;
            finite &= parameter.is_finite();
        }
        finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use crate::spec::{Layer, Loss, ModelSpec};

    fn start() -> OptimizerState {
        let layers = vec![Layer::Dense { outputs: 1 }];
        let spec = ModelSpec::new(1, layers, Loss::BinaryCrossEntropy).unwrap();
        OptimizerState::initial(Parameters::new(&spec, vec![1.0, -2.0]).unwrap())
    }

    /// The step by one thread, which is the step by any number of them.
    fn stepped(
        state: &OptimizerState,
        rule: &AverageRule,
        update: &[f32],
    ) -> Result<OptimizerState, StepError> {
        let by = |workers| {
            let workers = NonZeroUsize::new(workers).unwrap();
            state.step_by_average(rule, update.to_vec(), workers)
        };
        let step = by(1);
        assert!((2..5).all(|workers| by(workers) == step));
        step
    }

    #[test]
    fn a_learning_rate_of_one_without_momentum_adds_the_average() {
        let rule = AverageRule::new(1.0, 0.0).unwrap();
        let next = stepped(&start(), &rule, &[0.5, 0.25]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.5, -1.75]);
        let next = stepped(&next, &rule, &[-0.5, 0.0]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.0, -1.75]);
    }

    #[test]
    fn momentum_keeps_a_share_of_the_way() {
        let rule = AverageRule::new(0.5, 0.5).unwrap();
        let first = stepped(&start(), &rule, &[2.0, 0.0]).unwrap();
        assert_eq!(first.parameters().as_slice(), [2.0, -2.0]);
        let second = stepped(&first, &rule, &[0.0, 1.0]).unwrap();
        assert_eq!(second.parameters().as_slice(), [2.5, -1.5]);
    }

    #[test]
    fn an_update_of_another_length_and_one_that_leaves_the_finite_numbers_are_refused() {
        let rule = AverageRule::new(2.0, 0.0).unwrap();
        let code = |update: &[f32]| stepped(&start(), &rule, update).unwrap_err().code();
        assert_eq!(code(&[1.0]), "model_step_wrong_length");
        assert_eq!(code(&[f32::MAX, 0.0]), "model_step_diverged");
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        for (rate, momentum) in [(0.0, 0.0), (f32::NAN, 0.0), (1.0, 1.0), (1.0, -0.1)] {
            let refused = AverageRule::new(rate, momentum).unwrap_err();
            assert_eq!(refused.code(), "model_step_rule_out_of_range");
        }
    }
}
