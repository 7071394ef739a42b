//! What FedAdam and FedYogi share: two moments of the aggregate, and a step by the first over the root of the second.
//!
//! Reddi et al., "Adaptive Federated Optimization" (ICLR 2021), algorithm 2, without the correction of bias that
//! the paper leaves out too: m = β₁·m + (1 − β₁)·a, v from its own file, x += η·m/(√v + τ), with m = 0 and v = τ² before the
//! first round.

use std::num::NonZeroUsize;

use super::{SignedRate, all_finite, part_of};
use crate::step::{OptimizerState, StepError, out_of_range};

/// β₁, β₂ and τ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    beta1: f32,
    beta2: f32,
    tau: f32,
}

impl Adaptive {
    /// Shares of the moments that are kept, and τ, which bounds the step of a coordinate that hardly moves.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] naming the constant that is out of range.
    pub fn new(beta1: f32, beta2: f32, tau: f32) -> Result<Self, StepError> {
        if !(0.0..1.0).contains(&beta1) {
            return Err(out_of_range("beta1", "at least 0 and below 1"));
        }
        if !(0.0..1.0).contains(&beta2) {
            return Err(out_of_range("beta2", "at least 0 and below 1"));
        }
        // τ² and the root of it stay normal f32 numbers.
        if !(1e-9..=1e9).contains(&tau) {
            return Err(out_of_range("tau", "1e-9 to 1e9"));
        }
        Ok(Self { beta1, beta2, tau })
    }

    /// The share of the second moment that is kept, and the share of a square that is new.
    pub(super) fn kept_and_new(&self) -> (f32, f32) {
        (self.beta2, 1.0 - self.beta2)
    }
}

impl OptimizerState {
    /// `second_moment` makes of v and the square of the aggregate the next v.
    pub(super) fn moved_adaptively(
        &self,
        rule: &Adaptive,
        second_moment: impl Fn(&Adaptive, f32, f32) -> f32 + Sync,
        rate: SignedRate,
        aggregate: Vec<f32>,
        workers: NonZeroUsize,
    ) -> Result<Self, StepError> {
        let mut first = aggregate;
        let rest = || vec![rule.tau * rule.tau; first.len()];
        let mut second = self.second().map_or_else(rest, <[f32]>::to_vec);
        let mut parameters = self.parameters().as_slice().to_vec();
        let part = part_of(first.len(), workers);
        let moments = first.chunks_mut(part).zip(second.chunks_mut(part));
        let after = moments.zip(parameters.chunks_mut(part));
        let finite = all_finite(
            after.zip(self.velocity().chunks(part)),
            |(((first, second), parameters), old)| {
                let mut finite = true;
                let moments = first.iter_mut().zip(second).zip(old);
                for (parameter, ((first, second), old)) in parameters.iter_mut().zip(moments) {
                    let square = *first * *first;
                    *second = second_moment(rule, *second, square);
                    *first = rule.first_moment(*old, *first);
                    *parameter += rate.0 * rule.way(*first, *second);
                    finite &= parameter.is_finite() & first.is_finite() & second.is_finite();
                }
                finite
            },
        );
        Self::of(parameters, first, Some(second), finite)
    }
}

impl Adaptive {
    fn first_moment(&self, old: f32, update: f32) -> f32 {
        let kept = self.beta1 * old;
        let new = (1.0 - self.beta1) * update;
        kept + new
    }

    fn way(&self, first: f32, second: f32) -> f32 {
        let root = second.sqrt();
        first / (root + self.tau)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::ServerOptimizer;
    use crate::parameters::Parameters;
    use crate::spec::{Layer, Loss, ModelSpec};
    use crate::{AverageRule, StepRule};

    fn spec() -> ModelSpec {
        let layers = vec![Layer::Dense { outputs: 1 }];
        ModelSpec::new(4, layers, Loss::BinaryCrossEntropy).unwrap()
    }

    fn start() -> OptimizerState {
        let values = vec![1.0, -2.0, 0.5, 0.0, 3.0];
        OptimizerState::initial(Parameters::new(&spec(), values).unwrap())
    }

    fn both() -> [ServerOptimizer; 2] {
        let rule = Adaptive::new(0.5, 0.75, 0.5).unwrap();
        [
            ServerOptimizer::FedAdam(rule),
            ServerOptimizer::FedYogi(rule),
        ]
    }

    fn stepped(
        state: &OptimizerState,
        optimizer: ServerOptimizer,
        update: &[f32],
    ) -> OptimizerState {
        let rule = AverageRule::new(2.0, optimizer).unwrap();
        let by = |workers| {
            let workers = NonZeroUsize::new(workers).unwrap();
            state.step_by_average(&rule, update.to_vec(), workers)
        };
        let one = by(1).unwrap();
        assert!((2..7).all(|workers| by(workers).unwrap() == one));
        one
    }

    #[test]
    fn a_first_step_is_that_of_the_paper_by_hand() {
        // v = τ² = 1/4 at rest. An update of 1: m = 1/2, and v = 3/16 + 1/4 = 7/16 by Adam, 1/4 + 1/4 = 1/2 by Yogi.
        for (optimizer, second) in both().into_iter().zip([0.4375_f32, 0.5]) {
            let next = stepped(&start(), optimizer, &[1.0, 0.0, 0.0, 0.0, 0.0]);
            assert_eq!(next.velocity(), [0.5, 0.0, 0.0, 0.0, 0.0]);
            assert_eq!(next.second().unwrap()[0], second);
            assert_eq!(
                next.parameters().as_slice()[0],
                1.0 + 2.0 * (0.5 / (second.sqrt() + 0.5))
            );
            assert_eq!(next.parameters().as_slice()[1], -2.0);
        }
    }

    #[test]
    fn adam_forgets_a_large_square_by_its_share_and_yogi_by_the_size_of_the_new_one() {
        let [adam, yogi] = both().map(|optimizer| {
            let large = stepped(&start(), optimizer, &[8.0, 0.0, 0.0, 0.0, 0.0]);
            let before = large.second().unwrap()[0];
            let small = stepped(&large, optimizer, &[1.0, 0.0, 0.0, 0.0, 0.0]);
            (before, small.second().unwrap()[0])
        });
        assert_eq!(adam.1, 0.75 * adam.0 + 0.25);
        assert_eq!(yogi.1, yogi.0 - 0.25);
    }

    #[test]
    fn a_gradient_moves_the_model_by_the_same_bits_as_an_update_of_the_other_sign() {
        for optimizer in both() {
            let rule = StepRule::new(2.0, optimizer, 1.0, 1, 1.0).unwrap();
            let sum = [2_i64, -6, 1, 0, 8];
            let against = start().step(&rule, &sum).unwrap();
            let along = stepped(&start(), optimizer, &[-1.0, 3.0, -0.5, 0.0, -4.0]);
            assert_eq!(against.parameters(), along.parameters());
            assert_eq!(against.second(), along.second());
        }
    }

    #[test]
    fn a_moment_that_leaves_the_finite_numbers_is_refused() {
        for optimizer in both() {
            let rule = AverageRule::new(1.0, optimizer).unwrap();
            // The square overflows; the step, first / infinity, would be 0.
            let update = vec![1e30, 0.0, 0.0, 0.0, 0.0];
            let refused = start().step_by_average(&rule, update, NonZeroUsize::MIN);
            assert_eq!(refused.unwrap_err().code(), "model_step_diverged");
        }
    }

    #[test]
    fn constants_out_of_range_are_refused_by_name() {
        for (beta1, beta2, tau, named) in [
            (1.0, 0.9, 0.1, "beta1"),
            (f32::NAN, 0.9, 0.1, "beta1"),
            (0.9, -0.1, 0.1, "beta2"),
            (0.9, 0.9, 0.0, "tau"),
            (0.9, 0.9, f32::INFINITY, "tau"),
        ] {
            let said = Adaptive::new(beta1, beta2, tau).unwrap_err().to_string();
            assert!(said.starts_with(named), "{said}");
        }
    }
}
