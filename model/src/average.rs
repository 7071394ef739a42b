//! The server's step by an average of model updates: the sibling of the step by a gradient sum.

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
    pub fn step_by_average(&self, rule: &AverageRule, update: &[f32]) -> Result<Self, StepError> {
        self.check_length(update.len())?;
        let velocity: Vec<f32> = self
            .velocity()
            .iter()
            .zip(update)
            .map(|(velocity, update)| {
                let kept = rule.momentum * velocity;
                kept + update
            })
            .collect();
        let parameters = self
            .parameters()
            .as_slice()
            .iter()
            .zip(&velocity)
            .map(|(parameter, velocity)| {
                let change = rule.learning_rate * velocity;
                parameter + change
            })
            .collect();
        Self::of(parameters, velocity)
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

    #[test]
    fn a_learning_rate_of_one_without_momentum_adds_the_average() {
        let rule = AverageRule::new(1.0, 0.0).unwrap();
        let next = start().step_by_average(&rule, &[0.5, 0.25]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.5, -1.75]);
        let next = next.step_by_average(&rule, &[-0.5, 0.0]).unwrap();
        assert_eq!(next.parameters().as_slice(), [1.0, -1.75]);
    }

    #[test]
    fn momentum_keeps_a_share_of_the_way() {
        let rule = AverageRule::new(0.5, 0.5).unwrap();
        let first = start().step_by_average(&rule, &[2.0, 0.0]).unwrap();
        assert_eq!(first.parameters().as_slice(), [2.0, -2.0]);
        let second = first.step_by_average(&rule, &[0.0, 1.0]).unwrap();
        assert_eq!(second.parameters().as_slice(), [2.5, -1.5]);
    }

    #[test]
    fn an_update_of_another_length_and_one_that_leaves_the_finite_numbers_are_refused() {
        let rule = AverageRule::new(2.0, 0.0).unwrap();
        let code = |update: &[f32]| start().step_by_average(&rule, update).unwrap_err().code();
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
