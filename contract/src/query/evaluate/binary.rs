//! An evaluation of scores: confusion counts, two histograms of scores, loss.

use consort_model::ModelSpec;

use super::Evaluate;
use crate::query::answers::{Answer, Scores};
use crate::query::estimate::{Estimate, Noised};
use crate::query::stats::bin_of;
use crate::query::{Block, QueryError};

/// The layout of the vector for a binary target.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryVector {
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

impl BinaryVector {
    pub(super) fn new(
        evaluate: &Evaluate,
        (threshold, bins): (f64, u32),
        model: &ModelSpec,
    ) -> Result<Self, QueryError> {
        let bins = usize::try_from(bins).unwrap_or(usize::MAX);
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
            threshold,
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
