//! Training on a site's own records, on burn's CPU tensors; no other crate depends on burn.
//!
//! A declared model ([`consort_model::ModelSpec`]), its flat parameters and a [`Batch`] of records go in, counts and
//! losses come out ([`evaluate`]). [`reference`] trains without privacy, for comparison with what was given up.

mod batch;
mod error;
mod evaluate;
mod loss;
mod network;
pub mod reference;

pub use batch::Batch;
pub use error::TrainingError;
pub use evaluate::{Evaluation, evaluate};
