//! What a job asks of the records instead of training on them: every record becomes one vector of norm at most 1, and their noised sum
//! is the answer.
//!
//! # Sensitivity
//! A query vector consists of blocks. A block's own values have an L2 norm of at most 1 for every record that there could be, because
//! columns are limited to their public bounds before anything is computed of them; block i is multiplied by the public factor a_i, and
//! Σ a_i² ≤ 1. Adding or removing a record therefore moves the sum by a vector v with ‖v‖² = Σ a_i²·‖block_i‖² ≤ Σ a_i² ≤ 1. The grid
//! checks the same once more in integers ([`consort_privacy::Grid::clip_record`]), so that no rounding here can break it.

mod answers;
mod columns;
mod estimate;
mod evaluate;
mod report;
mod stats;

pub use answers::{Answer, ColumnAnswer, Scores};
pub use estimate::Estimate;
pub use evaluate::{
    ClassScore, ClassScores, CountErrors, Evaluate, EvaluateWeights, MAX_CONFUSION_CLASSES,
    MAX_SCORE_BINS, NumberErrors, cross_entropy, score_of,
};
pub use report::{REPORT_VERSION, Report, ReportError};
pub use stats::{MAX_BINS, MAX_QUANTILES, MAX_QUERIES, Stats, StatsQuery};

use consort_aggregation::Canonical;
use consort_model::ModelSpec;

use crate::features::DataSchema;
use crate::job::JobError;
use estimate::Noised;
use evaluate::EvaluateVector;
use stats::StatsVector;

/// Most coordinates of a query vector: 512 KiB of integers, a thousand columns of 64 bins.
pub const MAX_COORDINATES: usize = 1 << 16;

/// The L2 norm that a record's query vector never passes: the clip norm of a query job.
pub const QUERY_CLIP: f64 = 1.0;

/// What a query or a part of an evaluation may weigh.
const WEIGHTS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// By so much a block's factor is below its share, so that rounding the factors and values to f32 cannot carry a record past the
/// norm: 2^-20, where each of the roundings is below 2^-24 of its value.
const SHORTENING: f64 = 1.0 - 1.0 / 1_048_576.0;

/// A job that asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Counts, means, variances, histograms and quantiles of columns.
    Stats(Stats),
    /// How well a released model does.
    Evaluate(Evaluate),
}

impl Query {
    /// Most records of one member.
    pub fn max_records_per_member(&self) -> u32 {
        match self {
            Self::Stats(stats) => stats.max_records_per_member,
            Self::Evaluate(evaluate) => evaluate.max_records_per_member,
        }
    }

    pub(crate) fn check(&self) -> Result<(), JobError> {
        match self {
            Self::Stats(stats) => stats.check(),
            Self::Evaluate(evaluate) => evaluate.check(),
        }
    }

    pub(crate) fn encode(&self, job: Canonical) -> Canonical {
        match self {
            Self::Stats(stats) => stats.encode(job),
            Self::Evaluate(evaluate) => evaluate.encode(job),
        }
    }

    /// What of a record goes into the sum, and where.
    pub(crate) fn vector(
        &self,
        data: &DataSchema,
        model: &ModelSpec,
    ) -> Result<QueryVector, QueryError> {
        match self {
            Self::Stats(stats) => Ok(QueryVector::Stats(StatsVector::new(stats, data)?)),
            Self::Evaluate(evaluate) => {
                let vector = EvaluateVector::new(evaluate, data, model)?;
                Ok(QueryVector::Evaluate(vector))
            }
        }
    }
}

/// The layout of a job's query vector, resolved against its data schema. It is public, like the job.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryVector {
    /// Of columns.
    Stats(StatsVector),
    /// Of scores.
    Evaluate(EvaluateVector),
}

impl QueryVector {
    /// Coordinates of the vector.
    pub fn elements(&self) -> usize {
        match self {
            Self::Stats(vector) => vector.elements(),
            Self::Evaluate(vector) => vector.elements(),
        }
    }

    /// Writes one record's vector. `inputs` and `label` are the record as the data schema makes it; `outputs` are the model's for
    /// it, which columns' statistics do not look at. A record with a number that is not finite becomes a vector of NaN, which the
    /// grid counts as zero.
    ///
    /// # Panics
    /// If the row has not [`Self::elements`] elements, or the record not the schema's inputs.
    pub fn record(&self, inputs: &[f32], label: f32, outputs: &[f32], row: &mut [f32]) {
        assert_eq!(row.len(), self.elements(), "a row has the vector's length");
        row.fill(0.0);
        let finite = match self {
            Self::Stats(vector) => vector.record(inputs, label, row),
            Self::Evaluate(vector) => vector.record(label, outputs, row),
        };
        if finite.is_none() {
            row.fill(f32::NAN);
        }
    }

    /// Whether the model's output for a record is needed.
    pub fn reads_scores(&self) -> bool {
        match self {
            Self::Stats(_) => false,
            Self::Evaluate(_) => true,
        }
    }

    /// The estimates that a noised sum gives.
    pub(crate) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        match self {
            Self::Stats(vector) => vector.answer(sum),
            Self::Evaluate(vector) => vector.answer(sum),
        }
    }
}

/// A block of a query vector: neighbouring coordinates and what they are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    first: usize,
    length: usize,
    factor: f32,
}

impl Block {
    /// Lays blocks of these lengths and weights one after the other.
    fn lay<const N: usize>(
        head: [(usize, f64); N],
        rest: impl Iterator<Item = (usize, f64)> + Clone,
    ) -> Result<Vec<Self>, QueryError> {
        let blocks = || head.into_iter().chain(rest.clone());
        // Beyond, squares would lose what the norm is made of.
        if blocks().any(|(_, weight)| !WEIGHTS.contains(&weight)) {
            return Err(QueryError::Weights);
        }
        let norm = blocks()
            .map(|(_, weight)| weight * weight)
            .sum::<f64>()
            .sqrt();
        let mut first = 0_usize;
        let mut laid = Vec::new();
        for (length, weight) in blocks() {
            let factor = crate::plan::narrow(weight / norm * SHORTENING);
            // A factor that rounds to nothing would have to be divided by.
            if !factor.is_normal() {
                return Err(QueryError::Weights);
            }
            laid.push(Self {
                first,
                length,
                factor,
            });
            first = first.saturating_add(length);
            if first > MAX_COORDINATES {
                return Err(QueryError::TooManyCoordinates);
            }
        }
        Ok(laid)
    }

    /// Writes a value of this block.
    fn put(&self, row: &mut [f32], index: usize, value: f64) {
        let place = self.first + index;
        row[place] = crate::plan::narrow(value * f64::from(self.factor));
    }
}

/// A query that cannot be asked. The fault is in the job document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A column that the data schema does not list.
    #[error(
        "a query names the column {column:?}, which the job's data schema does not list; list it there with its public bounds"
    )]
    UnknownColumn {
        /// The column.
        column: String,
    },
    /// A number is asked of a category, or of a target that is none.
    #[error(
        "a {query} is asked of the column {column:?}, which is no number with public bounds; ask for categories"
    )]
    NotANumber {
        /// The kind of query.
        query: &'static str,
        /// The column.
        column: String,
    },
    /// A category is asked of a number.
    #[error(
        "categories are asked of the column {column:?}, which is a number; ask for a histogram, or list it as one_hot with its levels"
    )]
    NotACategory {
        /// The column.
        column: String,
    },
    /// Bounds that are not finite.
    #[error(
        "the bounds of the column {column:?}, center ± scale·clip, are not finite numbers of a size to compute with; \
         a column without bounds has no query"
    )]
    Unbounded {
        /// The column.
        column: String,
    },
    /// Weights out of range, or too far from each other.
    #[error(
        "a weight of the queries is not within 1e-6 and 1e6, or they are too far from each other; 1 is the weight of each by default"
    )]
    Weights,
    /// Too long a vector.
    #[error(
        "the queries have more than {MAX_COORDINATES} coordinates together; ask for fewer bins"
    )]
    TooManyCoordinates,
    /// A stats job with a model.
    #[error("a stats job has no model; leave it out")]
    NeedlessModel,
    /// A binary target without what its scores are read by.
    #[error("the target is binary: evaluate must say threshold and bins")]
    ScoresUnsaid,
    /// Scores of a target that has none.
    #[error(
        "threshold and bins are those of a binary target, which the job's is not; leave both out"
    )]
    NeedlessScores,
    /// Confusion among numbers.
    #[error("numbers and counts have no confusion counts; leave weights.confusion out")]
    NeedlessConfusion,
}

impl QueryError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownColumn { .. } => "query_unknown_column",
            Self::NotANumber { .. } => "query_not_a_number",
            Self::NotACategory { .. } => "query_not_a_category",
            Self::Unbounded { .. } => "query_unbounded_column",
            Self::Weights => "query_weights",
            Self::TooManyCoordinates => "query_too_many_coordinates",
            Self::NeedlessModel => "query_needless_model",
            Self::ScoresUnsaid => "query_scores_unsaid",
            Self::NeedlessScores => "query_needless_scores",
            Self::NeedlessConfusion => "query_needless_confusion",
        }
    }
}

pub(crate) fn one() -> f64 {
    1.0
}

pub(crate) fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

#[cfg(test)]
mod tests;
