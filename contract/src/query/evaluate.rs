//! `evaluate`: how well a released model does on records that it was not trained on: confusion counts, two histograms of scores, loss.

use consort_aggregation::Canonical;
use consort_model::{Loss, ModelSpec};
use serde::{Deserialize, Serialize};

use super::answers::{Answer, Scores};
use super::estimate::{Estimate, Noised};
use super::stats::bin_of;
use super::{Block, QueryError, is_one, one};
use crate::algorithm::{NumberRule, first_broken, positive};
use crate::job::{JobError, MAX_RECORDS_PER_MEMBER};
use crate::organisation::JobId;

/// Most bins of the two histograms of scores.
pub const MAX_SCORE_BINS: u32 = 1024;

/// Which model is evaluated, and how finely. A record is called positive when its score, the logistic function of the model's output,
/// is at least the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The completed job that released the model: where the coordinator finds it.
    #[serde(with = "job_name")]
    pub model_of: JobId,
    /// The hash of its parameters, as rounds announce it; 32 bytes, hexadecimal. No other parameters are evaluated.
    #[serde(with = "crate::roster::hex_array")]
    pub parameters: [u8; 32],
    /// Above 0 and below 1.
    pub threshold: f64,
    /// Equally wide bins of the score, at least 2: for the area under the curve and for calibration.
    pub bins: u32,
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
    /// Of the number of records, by which the loss is divided.
    pub count: f64,
    /// Of the confusion counts.
    pub confusion: f64,
    /// Of the histograms of scores.
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
        let weight = |field, weight| -> NumberRule { (positive(weight), field, weight, "above 0") };
        first_broken([
            (
                self.threshold.is_finite() && self.threshold > 0.0 && self.threshold < 1.0,
                "evaluate.threshold",
                self.threshold,
                "above 0 and below 1",
            ),
            (
                (2..=MAX_SCORE_BINS).contains(&self.bins),
                "evaluate.bins",
                self.bins.into(),
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
            .u64(self.threshold.to_bits())
            .u64(self.bins.into())
            .u64(self.weights.count.to_bits())
            .u64(self.weights.confusion.to_bits())
            .u64(self.weights.scores.to_bits())
            .u64(self.weights.loss.to_bits())
            .u64(self.max_records_per_member.into())
    }
}

/// The layout of an evaluate job's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateVector {
    threshold: f64,
    bins: usize,
    /// Of the loss.
    cap: f64,
    count: Block,
    /// True positives, false positives, false negatives, true negatives.
    confusion: Block,
    /// Bins of the negative records' scores, then of the positive ones'.
    scores: Block,
    loss: Block,
    elements: usize,
}

impl EvaluateVector {
    pub(super) fn new(evaluate: &Evaluate, model: &ModelSpec) -> Result<Self, QueryError> {
        if model.loss() != Loss::BinaryCrossEntropy {
            return Err(QueryError::OtherLoss);
        }
        let bins = usize::try_from(evaluate.bins).unwrap_or(usize::MAX);
        let weights = &evaluate.weights;
        let blocks = Block::lay(
            [
                (1, weights.count),
                (4, weights.confusion),
                (bins.saturating_mul(2), weights.scores),
                (1, weights.loss),
            ],
            std::iter::empty(),
        )?;
        Ok(Self {
            threshold: evaluate.threshold,
            bins,
            cap: model.loss_cap(),
            count: blocks[0],
            confusion: blocks[1],
            scores: blocks[2],
            loss: blocks[3],
            elements: blocks.iter().map(|block| block.length).sum(),
        })
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    pub(super) fn record(&self, label: f32, logit: f32, row: &mut [f32]) -> Option<()> {
        let score = score_of(logit)?;
        let positive = label > 0.5;
        let cell = match (score >= self.threshold, positive) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.count.put(row, 0, 1.0);
        self.confusion.put(row, cell, 1.0);
        let bin = bin_of(2.0 * score - 1.0, self.bins);
        self.scores
            .put(row, bin + if positive { self.bins } else { 0 }, 1.0);
        let loss = cross_entropy(logit, positive).min(self.cap);
        self.loss.put(row, 0, loss / self.cap);
        Some(())
    }

    pub(super) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        let count = sum.block(&self.count).at(0);
        let loss = sum.block(&self.loss).at(0).times(self.cap).quotient(&count);
        let answer = Scores::of(
            self.threshold,
            &sum.block(&self.confusion),
            &sum.block(&self.scores),
            loss.within(0.0, self.cap),
        );
        (count, Answer::Evaluate(answer))
    }
}

/// The logistic function of a model's output; nothing for one that is not finite.
pub fn score_of(logit: f32) -> Option<f64> {
    // exp of a number at most 0 does not overflow.
    let small = (-f64::from(logit).abs()).exp();
    let score = if logit < 0.0 { small } else { 1.0 } / (1.0 + small);
    logit.is_finite().then_some(score)
}

/// Binary cross entropy of a finite logit, in nats.
pub fn cross_entropy(logit: f32, positive: bool) -> f64 {
    let logit = f64::from(logit);
    let label = if positive { 1.0 } else { 0.0 };
    logit.max(0.0) - label * logit + (-logit.abs()).exp().ln_1p()
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
