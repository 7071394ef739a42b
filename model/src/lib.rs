//! What is trained, as data: the declared architecture, its flat parameters and the server's deterministic step (`optimizer/`, a file each).
//!
//! A job names its model as a list of layers ([`ModelSpec`]); shapes and the layout of the flat parameter vector follow
//! from it. Nothing here is code from a job, and nothing here touches a clock, a disk, a thread or a random source.
//! The bytes of [`Parameters`] and [`OptimizerState`] are the same on every machine, so they can be hashed and compared.

mod arriving;
mod average;
mod encoding;
mod optimizer;
mod parameters;
mod spec;
mod step;

pub use arriving::{ArrivedParameters, ArrivingParameters};
pub use average::AverageRule;
pub use encoding::ModelHash;
pub use optimizer::{Adaptive, Momentum, Scaffold, ServerOptimizer};
pub use parameters::{InitialSeed, Parameters, ParametersError};
pub use spec::{
    EmbeddedColumn, LOSS_CAP, Layer, LayerPath, Layout, Loss, MAX_ELEMENTS, MAX_LAYERS,
    MAX_PARAMETERS, ModelSpec, Operation, OperationKind, Shape, SpecError, SpecFault, Tensor,
};
pub use step::{OptimizerState, StepError, StepRule};
