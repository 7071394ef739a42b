//! Why a computation was refused or failed.

use consort_privacy::GridError;

/// A computation over records was refused or failed. Never says a value of a record or of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainingError {
    /// Features and labels are no [records, inputs] and `[records]`.
    #[error(
        "{features} feature values for {records} records of {inputs} inputs: give exactly records × inputs values, and \
         at least 1 input"
    )]
    FeaturesShape {
        /// Feature values given.
        features: usize,
        /// Labels given.
        records: usize,
        /// Features per record.
        inputs: usize,
    },
    /// A label is none that the model's loss knows.
    #[error(
        "the label of record {record} is not {expected}: check the target column, or take another loss"
    )]
    Label {
        /// Position in the batch, from 0.
        record: usize,
        /// What the loss knows.
        expected: &'static str,
    },
    /// The parameters belong to another architecture.
    #[error(
        "{found} parameters were given and the model has {expected}: take those of this job's architecture"
    )]
    ParametersOfAnotherModel {
        /// Parameters of the model.
        expected: usize,
        /// Parameters given.
        found: usize,
    },
    /// The records belong to another architecture.
    #[error(
        "records have {found} features and the model {expected} inputs: take the features of this job's schema"
    )]
    InputsOfAnotherModel {
        /// Inputs of the model.
        expected: usize,
        /// Features per record.
        found: usize,
    },
    /// The share of the clip norm given to the loss query is none.
    #[error("the loss weight must be at least 0 and below 1; 0 asks no loss")]
    LossWeight,
    /// The grid refused the records.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A parameter left the finite numbers during a comparison run.
    #[error("the training diverged: lower the learning rate")]
    Diverged,
    /// The tensor library failed.
    #[error("the tensor engine failed: {0}")]
    Engine(String),
}

impl TrainingError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FeaturesShape { .. } => "training_features_shape",
            Self::Label { .. } => "training_label",
            Self::ParametersOfAnotherModel { .. } => "training_parameters_of_another_model",
            Self::InputsOfAnotherModel { .. } => "training_inputs_of_another_model",
            Self::LossWeight => "training_loss_weight",
            Self::Grid(error) => error.code(),
            Self::Diverged => "training_diverged",
            Self::Engine(_) => "training_engine",
        }
    }
}
