//! Training on a site's own records, on the processor's vector instructions; burn's automatic differentiation is what it is tested against.
//!
//! A declared model ([`consort_model::ModelSpec`]), its flat parameters and a [`Batch`] of records go in. Out comes a
//! sum of clipped per-record vectors on the integer grid of `consort-privacy` ([`clipped_sum`]), or counts and losses
//! ([`evaluate()`]). The clipped sum has no noise yet and no way out but [`consort_privacy::RecordSum`]'s.
//! [`mod@reference`] trains without privacy, for comparison with what was given up.

mod batch;
mod clipping;
mod contribution;
mod convolution;
mod dense;
mod embedding;
mod error;
mod evaluate;
mod kernel;
mod loss;
mod matrix;
mod network;
mod norm;
#[cfg(test)]
mod oracle;
mod place;
mod pool;
pub mod reference;
mod rounded;
mod rows;
mod stage;
mod sum;
mod threads;
#[cfg(test)]
mod vectors_tests;

pub use batch::Batch;
pub use clipping::{Clipping, LossWeight};
pub use error::TrainingError;
pub use evaluate::{Evaluation, evaluate, logits};
pub use sum::{ClippedSum, clipped_sum, sum_elements};
