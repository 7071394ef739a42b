//! `evaluate`: how well a released model does on records that it was not trained on. What is asked follows from the target: scores and
//! called outcomes, called classes, or distances from numbers and counts; and always the loss.

mod binary;
mod classes;
mod distances;

pub use binary::{cross_entropy, score_of};
pub use classes::{ClassScore, ClassScores, MAX_CONFUSION_CLASSES};
pub use distances::{CountErrors, NumberErrors};

use binary::BinaryVector;
use classes::ClassesVector;
use distances::DistancesVector;

use consort_aggregation::Canonical;
use consort_model::ModelSpec;
use serde::{Deserialize, Serialize};

use super::answers::Answer;
use super::estimate::{Estimate, Noised};
use super::{QueryError, is_one, one};
use crate::algorithm::{NumberRule, first_broken, positive};
use crate::features::{DataSchema, TargetKind};
use crate::job::{JobError, MAX_RECORDS_PER_MEMBER};
use crate::organisation::JobId;

/// Most bins of the two histograms of scores.
pub const MAX_SCORE_BINS: u32 = 1024;

/// Which model is evaluated, and how finely. `threshold` and `bins` are those of a binary target, and no other has them: a record is
/// called positive when its score, the logistic function of the model's output, is at least the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The completed job that released the model: where the coordinator finds it.
    #[serde(with = "job_name")]
    pub model_of: JobId,
    /// The hash of its parameters alone, `consort.parameters` in the metadata of its file; 32 bytes, hexadecimal. No other parameters are evaluated.
    #[serde(with = "crate::roster::hex_array")]
    pub parameters: [u8; 32],
    /// Above 0 and below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Equally wide bins of the score, at least 2: for the area under the curve and for calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<u32>,
    /// How the noise is divided among the parts.
    #[serde(default, skip_serializing_if = "EvaluateWeights::are_even")]
    pub weights: EvaluateWeights,
    /// Most records of one member.
    pub max_records_per_member: u32,
}

/// Weights of the parts of an evaluation: a part of twice the weight has half the noise, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateWeights {
    /// Of the number of records, by which sums are divided.
    pub count: f64,
    /// Of the confusion counts; numbers and counts have none.
    pub confusion: f64,
    /// Of the histograms of scores; of classes: of the records that are called right; of numbers and counts: of the distances.
    pub scores: f64,
    /// Of the loss.
    pub loss: f64,
}

impl Default for EvaluateWeights {
    fn default() -> Self {
        Self {
            count: one(),
            confusion: one(),
            scores: one(),
            loss: one(),
        }
    }
}

impl EvaluateWeights {
    fn are_even(&self) -> bool {
        [self.count, self.confusion, self.scores, self.loss]
            .iter()
            .all(is_one)
    }
}

impl Evaluate {
    pub(super) fn check(&self) -> Result<(), JobError> {
        let weights = &self.weights;
        // What is not said, the target's kind decides about.
        let (threshold, bins) = (self.threshold.unwrap_or(0.5), self.bins.unwrap_or(2));
        let weight = |field, weight| -> NumberRule { (positive(weight), field, weight, "above 0") };
        first_broken([
            (
                threshold.is_finite() && threshold > 0.0 && threshold < 1.0,
                "evaluate.threshold",
                threshold,
                "above 0 and below 1",
            ),
            (
                (2..=MAX_SCORE_BINS).contains(&bins),
                "evaluate.bins",
                bins.into(),
                "2 to 1024",
            ),
            weight("evaluate.weights.count", weights.count),
            weight("evaluate.weights.confusion", weights.confusion),
            weight("evaluate.weights.scores", weights.scores),
            weight("evaluate.weights.loss", weights.loss),
            (
                (1..=MAX_RECORDS_PER_MEMBER).contains(&self.max_records_per_member),
                "evaluate.max_records_per_member",
                f64::from(self.max_records_per_member),
                "1 to 4194304",
            ),
        ])
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        job.str("evaluate")
            .str(self.model_of.as_str())
            .bytes(&self.parameters)
            // Neither can be 0 where it is said.
            .u64(self.threshold.map_or(0, f64::to_bits))
            .u64(self.bins.unwrap_or(0).into())
            .u64(self.weights.count.to_bits())
            .u64(self.weights.confusion.to_bits())
            .u64(self.weights.scores.to_bits())
            .u64(self.weights.loss.to_bits())
            .u64(self.max_records_per_member.into())
    }
}

/// The layout of an evaluate job's vector, which follows from the model's loss.
#[derive(Debug, Clone, PartialEq)]
pub enum EvaluateVector {
    /// Of scores: `binary_cross_entropy`.
    Binary(BinaryVector),
    /// Of called classes: `cross_entropy`.
    Classes(ClassesVector),
    /// Of distances: `squared_error` and `poisson`.
    Distances(DistancesVector),
}

impl EvaluateVector {
    pub(super) fn new(
        evaluate: &Evaluate,
        data: &DataSchema,
        model: &ModelSpec,
    ) -> Result<Self, QueryError> {
        let said = evaluate.threshold.is_some() || evaluate.bins.is_some();
        match &data.target().kind {
            TargetKind::Binary { .. } => {
                let scores = evaluate.threshold.zip(evaluate.bins);
                let scores = scores.ok_or(QueryError::ScoresUnsaid)?;
                Ok(Self::Binary(BinaryVector::new(evaluate, scores, model)?))
            }
            TargetKind::Classes { .. } | TargetKind::Number { .. } | TargetKind::Count { .. }
                if said =>
            {
                Err(QueryError::NeedlessScores)
            }
            TargetKind::Classes { names } => {
                let vector = ClassesVector::new(evaluate, names, model)?;
                Ok(Self::Classes(vector))
            }
            kind @ (TargetKind::Number { .. } | TargetKind::Count { .. }) => {
                let vector = DistancesVector::new(evaluate, kind, model)?;
                Ok(Self::Distances(vector))
            }
        }
    }

    pub(super) fn elements(&self) -> usize {
        match self {
            Self::Binary(vector) => vector.elements(),
            Self::Classes(vector) => vector.elements(),
            Self::Distances(vector) => vector.elements(),
        }
    }

    /// `outputs` are the model's for the record.
    pub(super) fn record(&self, label: f32, outputs: &[f32], row: &mut [f32]) -> Option<()> {
        match self {
            Self::Binary(vector) => vector.record(label, *outputs.first()?, row),
            Self::Classes(vector) => vector.record(label, outputs, row),
            Self::Distances(vector) => vector.record(label, *outputs.first()?, row),
        }
    }

    pub(super) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        match self {
            Self::Binary(vector) => vector.answer(sum),
            Self::Classes(vector) => vector.answer(sum),
            Self::Distances(vector) => vector.answer(sum),
        }
    }
}

mod job_name {
    //! A job's name as text.
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::organisation::JobId;

    pub(super) fn serialize<S: Serializer>(name: &JobId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<JobId, D::Error> {
        let text = String::deserialize(from)?;
        JobId::new(&text).map_err(D::Error::custom)
    }
}
