//! SCAFFOLD at the server: the model takes the average, and the control of all follows from it.
//!
//! Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning" (ICML 2020), algorithm 1, option II. There
//! a member sends Δc_i = −c + (x − y_i)/(K·η_l) beside its update Δy_i = y_i − x. The first is an affine function of the second, so the
//! average of the updates tells the average of the Δc_i too, and no second vector is summed:
//! c ← c + (|S|/N)·(−c − a/(K·η_l)).

use std::num::NonZeroUsize;

use super::{SignedRate, all_finite, part_of};
use crate::step::{OptimizerState, StepError, out_of_range};

/// The public numbers of a round: which share of the members is in the average, and K·η_l.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaffold {
    share: f32,
    local_way: f32,
}

impl Scaffold {
    /// `survivors` of `members` took local steps that were together `local_way` learning rates long.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] if the way is not above 0 and finite.
    #[expect(
        clippy::cast_precision_loss,
        reason = "cohorts have at most 1024 members, which f32 holds exactly"
    )]
    pub fn of_round(survivors: u32, members: u32, local_way: f32) -> Result<Self, StepError> {
        if !(local_way.is_finite() && local_way > 0.0) {
            return Err(out_of_range(
                "local_steps times local_learning_rate",
                "above 0 and finite",
            ));
        }
        let share = survivors.min(members) as f32 / members.max(1) as f32;
        Ok(Self { share, local_way })
    }
}

impl OptimizerState {
    pub(super) fn moved_by_scaffold(
        &self,
        rule: &Scaffold,
        rate: SignedRate,
        aggregate: Vec<f32>,
        workers: NonZeroUsize,
    ) -> Result<Self, StepError> {
        let rest = || vec![0.0; aggregate.len()];
        let mut control = self.second().map_or_else(rest, <[f32]>::to_vec);
        let mut parameters = self.parameters().as_slice().to_vec();
        let part = part_of(aggregate.len(), workers);
        let after = control.chunks_mut(part).zip(parameters.chunks_mut(part));
        let finite = all_finite(
            after.zip(aggregate.chunks(part)),
            |((control, parameters), average)| {
                let mut finite = true;
                let both = control.iter_mut().zip(parameters);
                for ((control, parameter), average) in both.zip(average) {
                    let gradient = *average / rule.local_way;
                    let change = rule.share * (*control + gradient);
                    *control -= change;
                    *parameter += rate.0 * *average;
                    finite &= control.is_finite() & parameter.is_finite();
                }
                finite
            },
        );
        Self::of(parameters, aggregate, Some(control), finite)
    }
}
