//! The server's step by an average of model updates: the sibling of the step by a gradient sum.

use std::num::NonZeroUsize;

use crate::optimizer::{Direction, ServerOptimizer};
use crate::step::{OptimizerState, StepError, rate};

/// The public constants of a step by an average: learning rate and optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AverageRule {
    learning_rate: f32,
    optimizer: ServerOptimizer,
}

impl AverageRule {
    /// A step that takes `learning_rate` times the optimizer's way; 1 without momentum takes the average as it is.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] naming the constant that is out of range.
    pub fn new(learning_rate: f32, optimizer: ServerOptimizer) -> Result<Self, StepError> {
        Ok(Self {
            learning_rate: rate(learning_rate)?,
            optimizer,
        })
    }

    /// The same with another optimizer.
    #[must_use]
    pub fn optimized_by(self, optimizer: ServerOptimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// The same step at this share of its learning rate, as a schedule has it for a round.
    #[must_use]
    pub fn scaled(self, share: f32) -> Self {
        Self {
            learning_rate: self.learning_rate * share,
            ..self
        }
    }
}

impl OptimizerState {
    /// The state after one averaged update: the optimizer's step along it. With momentum `velocity = momentum·velocity + update`,
    /// `parameters += learning_rate·velocity` (Hsu, Qi and Brown 2019, "Measuring the Effects of Non-Identical Data
    /// Distribution", section 4.2). One f32 operation per element and line, as in [`Self::step`].
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
        let rate = Direction::Along.of(rule.learning_rate);
        self.moved(&rule.optimizer, rate, update, workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Momentum;
    use crate::parameters::Parameters;
    use crate::spec::{Layer, Loss, ModelSpec};

    fn start() -> OptimizerState {
        let layers = vec![Layer::Dense { outputs: 1 }];
        let spec = ModelSpec::new(1, layers, Loss::BinaryCrossEntropy).unwrap();
        OptimizerState::initial(Parameters::new(&spec, vec![1.0, -2.0]).unwrap())
    }

    fn by_momentum(learning_rate: f32, momentum: f32) -> Result<AverageRule, StepError> {
        let momentum = ServerOptimizer::Momentum(Momentum::new(momentum)?);
        AverageRule::new(learning_rate, momentum)
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
        let rule = by_momentum(1.0, 0.0).unwrap();
        let next = stepped(&start(), &rule, &[0.5, 0.25]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.5, -1.75]);
        let next = stepped(&next, &rule, &[-0.5, 0.0]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.0, -1.75]);
    }

    #[test]
    fn momentum_keeps_a_share_of_the_way() {
        let rule = by_momentum(0.5, 0.5).unwrap();
        let first = stepped(&start(), &rule, &[2.0, 0.0]).unwrap();
        assert_eq!(first.parameters().as_slice(), [2.0, -2.0]);
        let second = stepped(&first, &rule, &[0.0, 1.0]).unwrap();
        assert_eq!(second.parameters().as_slice(), [2.5, -1.5]);
    }

    #[test]
    fn an_update_of_another_length_and_one_that_leaves_the_finite_numbers_are_refused() {
        let rule = by_momentum(2.0, 0.0).unwrap();
        let code = |update: &[f32]| stepped(&start(), &rule, update).unwrap_err().code();
        assert_eq!(code(&[1.0]), "model_step_wrong_length");
        assert_eq!(code(&[f32::MAX, 0.0]), "model_step_diverged");
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        for (rate, momentum) in [(0.0, 0.0), (f32::NAN, 0.0), (1.0, 1.0), (1.0, -0.1)] {
            let refused = by_momentum(rate, momentum).unwrap_err();
            assert_eq!(refused.code(), "model_step_rule_out_of_range");
        }
    }
}
