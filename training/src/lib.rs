//! Training on a site's own records, on burn's CPU tensors; no other crate depends on burn.
//!
//! A declared model ([`consort_model::ModelSpec`]), its flat parameters and a [`Batch`] of records go in. Out comes a
//! sum of clipped per-record vectors on the integer grid of `consort-privacy` ([`clipped_sum`]), or counts and losses
//! ([`evaluate()`]). The clipped sum has no noise yet and no way out but [`consort_privacy::RecordSum`]'s.
//! [`mod@reference`] trains without privacy, for comparison with what was given up.

mod batch;
mod clipping;
mod error;
mod evaluate;
mod loss;
mod network;
#[cfg(test)]
mod oracle;
pub mod reference;
mod sum;
#[cfg(test)]
mod vectors_tests;

pub use batch::Batch;
pub use clipping::{Clipping, LossWeight};
pub use error::TrainingError;
pub use evaluate::{Evaluation, evaluate, logits};
pub use sum::{ClippedSum, clipped_sum, sum_elements};
