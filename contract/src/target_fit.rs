//! Whether what a model minimises, and what it gives, fit the target of the data.

use consort_model::{Loss, ModelSpec};

use crate::features::{TargetKind, TargetSpec};

/// A model that does not learn the target. The fault is in the job document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A loss for another kind of target.
    #[error(
        "the loss {loss} is not that of the target {column:?}, which says {target}; the loss of such a target is {expected}"
    )]
    OtherLoss {
        /// The target.
        column: String,
        /// What it says of its values.
        target: &'static str,
        /// The loss of the model.
        loss: &'static str,
        /// The loss of such a target.
        expected: &'static str,
    },
    /// Another number of outputs than classes.
    #[error(
        "the last layer has {outputs} outputs and the target {column:?} has {classes} classes; declare an output for each class"
    )]
    OtherClasses {
        /// The target.
        column: String,
        /// Its classes.
        classes: usize,
        /// The outputs of the last layer.
        outputs: usize,
    },
}

impl TargetError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherLoss { .. } => "job_loss_of_another_target",
            Self::OtherClasses { .. } => "job_outputs_of_other_classes",
        }
    }

    /// The field of a job that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::OtherLoss { .. } => "model.loss",
            Self::OtherClasses { .. } => "model.layers",
        }
    }
}

/// The one loss that learns such a target.
pub fn loss_of(target: &TargetKind) -> Loss {
    match target {
        TargetKind::Binary { .. } => Loss::BinaryCrossEntropy,
        TargetKind::Classes { .. } => Loss::CrossEntropy,
        TargetKind::Number { .. } => Loss::SquaredError,
        TargetKind::Count { .. } => Loss::Poisson,
    }
}

/// Before the layers are looked at: a loss of another target expects other outputs, too.
pub(crate) fn check_loss(target: &TargetSpec, loss: Loss) -> Result<(), TargetError> {
    let expected = loss_of(&target.kind);
    if loss == expected {
        return Ok(());
    }
    Err(TargetError::OtherLoss {
        column: target.column.clone(),
        target: target.kind.name(),
        loss: loss.name(),
        expected: expected.name(),
    })
}

pub(crate) fn check_outputs(target: &TargetSpec, model: &ModelSpec) -> Result<(), TargetError> {
    let TargetKind::Classes { names } = &target.kind else {
        return Ok(());
    };
    let outputs = outputs_of(model);
    if outputs == names.len() {
        return Ok(());
    }
    Err(TargetError::OtherClasses {
        column: target.column.clone(),
        classes: names.len(),
        outputs,
    })
}

/// Outputs of a model for one record; none if it has no layers.
pub fn outputs_of(model: &ModelSpec) -> usize {
    let last = model.operations().last();
    last.map_or(0, |last| {
        usize::try_from(last.output.elements()).unwrap_or(usize::MAX)
    })
}
