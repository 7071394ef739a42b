//! An evaluation of distances from numbers and counts: loss, and absolute error.

use consort_model::ModelSpec;
use serde::{Deserialize, Serialize};

use super::Evaluate;
use crate::features::TargetKind;
use crate::query::answers::Answer;
use crate::query::estimate::{Estimate, Noised};
use crate::query::{Block, QueryError, is_one};

/// The layout of the vector for a target of numbers or of counts.
#[derive(Debug, Clone, PartialEq)]
pub struct DistancesVector {
    reading: Reading,
    count: Block,
    distance: Block,
    loss: Block,
}

/// How an output and a label become numbers between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    /// The range of the column, which label and output have as unit.
    Number { range: f64 },
    /// The bound of the counts, and the cap of the loss.
    Count { most: f64, cap: f64 },
}

/// How far a model's predictions are from numbers. A prediction beyond a public bound counts as the bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberErrors {
    /// In the squared unit of the column.
    pub mean_squared_error: Estimate,
    /// In the unit of the column.
    pub root_mean_squared_error: Estimate,
    /// In the unit of the column.
    pub mean_absolute_error: Estimate,
}

/// How far a model's predictions are from counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountErrors {
    /// Mean deviance of the expected counts, 2·(λ − y + y·ln(y/λ)); each record's is limited.
    pub mean_deviance: Estimate,
    /// To what.
    pub deviance_limit: f64,
    /// An expected count beyond the public bound counts as the bound.
    pub mean_absolute_error: Estimate,
}

impl DistancesVector {
    pub(super) fn new(
        evaluate: &Evaluate,
        target: &TargetKind,
        model: &ModelSpec,
    ) -> Result<Self, QueryError> {
        let reading = match target {
            TargetKind::Number { least, most } => Reading::Number {
                range: most - least,
            },
            TargetKind::Count { most } => Reading::Count {
                most: f64::from(*most),
                cap: model.loss_cap(),
            },
            TargetKind::Binary { .. } | TargetKind::Classes { .. } => {
                return Err(QueryError::NeedlessScores);
            }
        };
        let weights = &evaluate.weights;
        if !is_one(&weights.confusion) {
            return Err(QueryError::NeedlessConfusion);
        }
        let blocks = Block::lay(
            [(1, weights.count), (1, weights.scores), (1, weights.loss)],
            std::iter::empty(),
        )?;
        Ok(Self {
            reading,
            count: blocks[0],
            distance: blocks[1],
            loss: blocks[2],
        })
    }

    pub(super) fn elements(&self) -> usize {
        3
    }

    pub(super) fn record(&self, label: f32, output: f32, row: &mut [f32]) -> Option<()> {
        let (label, output) = (f64::from(label), f64::from(output));
        if !(label.is_finite() && output.is_finite()) {
            return None;
        }
        let (distance, loss) = match self.reading {
            Reading::Number { .. } => {
                let distance = (output.clamp(0.0, 1.0) - label.clamp(0.0, 1.0)).abs();
                (distance, distance * distance)
            }
            Reading::Count { most, cap } => {
                let expected = output.exp();
                let distance = (expected.min(most) - label.clamp(0.0, most)).abs();
                (distance / most, half_deviance(output, label).min(cap) / cap)
            }
        };
        self.count.put(row, 0, 1.0);
        self.distance.put(row, 0, distance);
        self.loss.put(row, 0, loss);
        Some(())
    }

    pub(super) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        let count = sum.block(&self.count).at(0);
        let mean = |block: &Block| sum.block(block).at(0).quotient(&count).within(0.0, 1.0);
        let (distance, loss) = (mean(&self.distance), mean(&self.loss));
        let answer = match self.reading {
            Reading::Number { range } => Answer::Numbers(NumberErrors {
                mean_squared_error: loss.times(range * range),
                root_mean_squared_error: loss.root().times(range),
                mean_absolute_error: distance.times(range),
            }),
            Reading::Count { most, cap } => Answer::Counts(CountErrors {
                mean_deviance: loss.times(2.0 * cap),
                deviance_limit: 2.0 * cap,
                mean_absolute_error: distance.times(most),
            }),
        };
        (count, answer)
    }
}

/// e^z − y·z − y + y·ln y of a finite output; at least 0, and perhaps infinite.
fn half_deviance(output: f64, label: f64) -> f64 {
    let own = if label > 0.0 {
        label * (label.ln() - output - 1.0)
    } else {
        0.0
    };
    (output.exp() + own).max(0.0)
}
