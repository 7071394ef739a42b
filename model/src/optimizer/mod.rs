//! What the server makes of a round's aggregate: one optimizer, each in a file of its own, over the same state.
//!
//! Elementwise IEEE 754 f32 in a fixed order: no fused multiply-add, no reduction across elements, and beyond sums, products and
//! quotients the square root alone, which IEEE 754 rounds correctly too. So the bytes are the same everywhere.

mod adaptive;
mod fed_adam;
mod fed_yogi;
mod momentum;
mod scaffold;

pub use adaptive::Adaptive;
pub use momentum::Momentum;
pub use scaffold::Scaffold;

use std::num::NonZeroUsize;

use crate::step::{OptimizerState, StepError};

/// The optimizer of a job, with its public constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServerOptimizer {
    /// A velocity that decays.
    Momentum(Momentum),
    /// Steps by the root of a decaying mean of squares (Reddi et al. 2021).
    FedAdam(Adaptive),
    /// Steps by the root of a mean of squares that moves towards each new one by a share of that (Reddi et al. 2021).
    FedYogi(Adaptive),
    /// The average itself, and the control that follows from it (Karimireddy et al. 2020).
    Scaffold(Scaffold),
}

/// Which way the aggregate points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To where the model should go.
    Along,
    /// Uphill.
    Against,
}

/// A learning rate with the sign of its direction: changing a sign rounds nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SignedRate(f32);

impl Direction {
    pub(crate) fn of(self, learning_rate: f32) -> SignedRate {
        SignedRate(match self {
            Self::Along => learning_rate,
            Self::Against => -learning_rate,
        })
    }
}

impl OptimizerState {
    /// The state after this aggregate, which is as long as the model.
    pub(crate) fn moved(
        &self,
        optimizer: &ServerOptimizer,
        rate: SignedRate,
        aggregate: Vec<f32>,
        workers: NonZeroUsize,
    ) -> Result<Self, StepError> {
        match optimizer {
            ServerOptimizer::Momentum(rule) => {
                self.moved_by_momentum(rule, rate, aggregate, workers)
            }
            ServerOptimizer::FedAdam(rule) => {
                self.moved_adaptively(rule, fed_adam::second_moment, rate, aggregate, workers)
            }
            ServerOptimizer::FedYogi(rule) => {
                self.moved_adaptively(rule, fed_yogi::second_moment, rate, aggregate, workers)
            }
            ServerOptimizer::Scaffold(rule) => {
                self.moved_by_scaffold(rule, rate, aggregate, workers)
            }
        }
    }
}

/// Whether `work` finds only finite numbers in each of these parts, done by a thread for each but the first.
fn all_finite<P: Send>(parts: impl Iterator<Item = P>, work: impl Fn(P) -> bool + Sync) -> bool {
    let work = &work;
    std::thread::scope(|scope| {
        let mut parts = parts;
        let first = parts.next();
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let first = first.is_none_or(work);
        others.into_iter().fold(first, |finite, other| {
            let joined = other.join();
            finite & joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// The length of a part when so many workers share a vector.
fn part_of(elements: usize, workers: NonZeroUsize) -> usize {
    elements.div_ceil(workers.get()).max(1)
}
