//! `stats`: counts, means, variances, histograms, quantiles and counts of categories, over columns with public bounds.

use consort_aggregation::Canonical;
use serde::{Deserialize, Serialize};

use super::answers::{Answer, ColumnAnswer, number};
use super::columns::{Bounded, bounded, find, levels_of};
use super::estimate::{Estimate, Noised};
use super::{Block, QueryError, is_one, one};
use crate::algorithm::{first_broken, positive};
use crate::features::{DataSchema, FeatureSpec};
use crate::job::{JobError, MAX_RECORDS_PER_MEMBER};

/// Most queries of a job; each more makes all of them noisier, and this many are of no use already.
pub const MAX_QUERIES: usize = 256;

/// Most bins of a histogram.
pub const MAX_BINS: u32 = 4096;

/// Most quantiles of one query.
pub const MAX_QUANTILES: usize = 64;

/// What a job asks of columns. The number of records is always asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// The questions, answered in this order.
    pub queries: Vec<StatsQuery>,
    /// Weight of the number of records, which every mean is divided by.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count_weight: f64,
    /// Most records of one member.
    pub max_records_per_member: u32,
}

/// One question about one column of the data schema. A query of twice the weight has half the noise, relative to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StatsQuery {
    /// The mean of a number.
    Mean {
        /// A numeric column.
        column: String,
        /// Relative to the other queries.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: f64,
    },
    /// The mean and the variance of a number.
    Variance {
        /// A numeric column.
        column: String,
        /// Relative to the other queries.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: f64,
    },
    /// How many records lie in each of equally wide bins between the column's bounds.
    Histogram {
        /// A numeric column.
        column: String,
        /// Bins, at least 1.
        bins: u32,
        /// Relative to the other queries.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: f64,
    },
    /// Quantiles, read off such a histogram.
    Quantiles {
        /// A numeric column.
        column: String,
        /// Bins, at least 1: no quantile is finer than their width.
        bins: u32,
        /// Which quantiles, each above 0 and below 1; 0.5 is the median.
        at: Vec<f64>,
        /// Relative to the other queries.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: f64,
    },
    /// How many records are of each level of a category, or on either side of the target.
    Categories {
        /// A category of the features, or the target.
        column: String,
        /// Relative to the other queries.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: f64,
    },
}

impl StatsQuery {
    /// The column it is about.
    pub fn column(&self) -> &str {
        match self {
            Self::Mean { column, .. }
            | Self::Variance { column, .. }
            | Self::Histogram { column, .. }
            | Self::Quantiles { column, .. }
            | Self::Categories { column, .. } => column,
        }
    }

    /// Its weight.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Mean { weight, .. }
            | Self::Variance { weight, .. }
            | Self::Histogram { weight, .. }
            | Self::Quantiles { weight, .. }
            | Self::Categories { weight, .. } => *weight,
        }
    }

    /// Its name in a job.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mean { .. } => "mean",
            Self::Variance { .. } => "variance",
            Self::Histogram { .. } => "histogram",
            Self::Quantiles { .. } => "quantiles",
            Self::Categories { .. } => "categories",
        }
    }

    fn bins(&self) -> Option<u32> {
        match self {
            Self::Histogram { bins, .. } | Self::Quantiles { bins, .. } => Some(*bins),
            Self::Mean { .. } | Self::Variance { .. } | Self::Categories { .. } => None,
        }
    }

    fn at(&self) -> &[f64] {
        match self {
            Self::Quantiles { at, .. } => at,
            Self::Mean { .. }
            | Self::Variance { .. }
            | Self::Histogram { .. }
            | Self::Categories { .. } => &[],
        }
    }
}

impl Stats {
    pub(super) fn check(&self) -> Result<(), JobError> {
        #[expect(clippy::cast_precision_loss, reason = "only shown to a person")]
        let asked = self.queries.len() as f64;
        first_broken([
            (
                self.queries.len() <= MAX_QUERIES,
                "stats.queries",
                asked,
                "at most 256 queries",
            ),
            (
                positive(self.count_weight),
                "stats.count_weight",
                self.count_weight,
                "above 0",
            ),
            (
                (1..=MAX_RECORDS_PER_MEMBER).contains(&self.max_records_per_member),
                "stats.max_records_per_member",
                f64::from(self.max_records_per_member),
                "1 to 4194304",
            ),
        ])?;
        self.queries.iter().try_for_each(check_query)
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        let head = job
            .str("stats")
            .u64(self.count_weight.to_bits())
            .u64(self.max_records_per_member.into())
            .list(self.queries.len());
        self.queries.iter().fold(head, |canonical, query| {
            let at = query.at();
            let head = canonical
                .str(query.kind())
                .str(query.column())
                .u64(query.weight().to_bits())
                .u64(query.bins().unwrap_or(0).into())
                .list(at.len());
            at.iter()
                .fold(head, |canonical, at| canonical.u64(at.to_bits()))
        })
    }
}

fn check_query(query: &StatsQuery) -> Result<(), JobError> {
    let bins = query.bins().unwrap_or(1);
    let at = query.at();
    #[expect(clippy::cast_precision_loss, reason = "only shown to a person")]
    let asked = at.len() as f64;
    let quantiles = matches!(query, StatsQuery::Quantiles { .. });
    first_broken([
        (
            positive(query.weight()),
            "stats.queries.weight",
            query.weight(),
            "above 0",
        ),
        (
            (1..=MAX_BINS).contains(&bins),
            "stats.queries.bins",
            bins.into(),
            "1 to 4096",
        ),
        (
            !quantiles || (1..=MAX_QUANTILES).contains(&at.len()),
            "stats.queries.at",
            asked,
            "1 to 64 quantiles",
        ),
    ])?;
    first_broken(at.iter().map(|at| {
        let inside = at.is_finite() && *at > 0.0 && *at < 1.0;
        (inside, "stats.queries.at", *at, "above 0 and below 1")
    }))
}

/// How a query reads a record.
#[derive(Debug, Clone, PartialEq)]
enum Reading {
    Mean(Bounded),
    Variance(Bounded),
    Histogram(Bounded),
    Quantiles(Bounded, Vec<f64>),
    /// The place of the second level among the inputs, and the levels.
    Levels(usize, Vec<String>),
    /// The levels of the target, which the label numbers.
    Target(Vec<String>),
}

/// One query: its column, how it reads a record, and where that stands in the vector.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    column: String,
    reading: Reading,
    block: Block,
}

/// The layout of a stats job's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsVector {
    count: Block,
    asked: Vec<Asked>,
    elements: usize,
}

impl StatsVector {
    pub(super) fn new(stats: &Stats, data: &DataSchema) -> Result<Self, QueryError> {
        let readings = stats
            .queries
            .iter()
            .map(|query| reading(query, data))
            .collect::<Result<Vec<_>, _>>()?;
        let lengths = stats
            .queries
            .iter()
            .zip(&readings)
            .map(|(query, (_, length))| (*length, query.weight()));
        let blocks = Block::lay([(1, stats.count_weight)], lengths)?;
        let count = blocks[0];
        let elements = blocks.iter().map(|block| block.length).sum();
        let asked = stats
            .queries
            .iter()
            .zip(readings)
            .zip(&blocks[1..])
            .map(|((query, (reading, _)), block)| Asked {
                column: query.column().to_owned(),
                reading,
                block: *block,
            })
            .collect();
        Ok(Self {
            count,
            asked,
            elements,
        })
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    pub(super) fn record(&self, inputs: &[f32], label: f32, row: &mut [f32]) -> Option<()> {
        self.count.put(row, 0, 1.0);
        for Asked { reading, block, .. } in &self.asked {
            match reading {
                Reading::Mean(bounded) => block.put(row, 0, bounded.read(inputs, label)?),
                Reading::Variance(bounded) => {
                    // t² + t⁴ is at most 2.
                    let value = bounded.read(inputs, label)?;
                    let share = std::f64::consts::FRAC_1_SQRT_2;
                    block.put(row, 0, value * share);
                    block.put(row, 1, value * value * share);
                }
                Reading::Histogram(bounded) | Reading::Quantiles(bounded, _) => {
                    block.put(row, bin_of(bounded.read(inputs, label)?, block.length), 1.0);
                }
                Reading::Levels(first, levels) => {
                    let others = &inputs[*first..first + levels.len() - 1];
                    let own = others.iter().position(|input| *input > 0.0);
                    block.put(row, own.map_or(0, |place| place + 1), 1.0);
                }
                Reading::Target(levels) => {
                    let own = (0..levels.len()).find(|level| number(*level) == f64::from(label));
                    block.put(row, own?, 1.0);
                }
            }
        }
        Some(())
    }

    pub(super) fn answer(&self, sum: &Noised<'_>) -> (Estimate, Answer) {
        let count = sum.block(&self.count).at(0);
        let answers = self
            .asked
            .iter()
            .map(|asked| asked.answer(&count, sum))
            .collect();
        (count, Answer::Stats(answers))
    }
}

impl Asked {
    fn answer(&self, count: &Estimate, sum: &Noised<'_>) -> ColumnAnswer {
        let column = self.column.clone();
        let block = sum.block(&self.block);
        match &self.reading {
            Reading::Mean(bounded) => ColumnAnswer::mean(column, bounded, count, &block.at(0)),
            Reading::Variance(bounded) => {
                let share = std::f64::consts::FRAC_1_SQRT_2;
                let (first, second) = (
                    block.at(0).times(1.0 / share),
                    block.at(1).times(1.0 / share),
                );
                ColumnAnswer::variance(column, bounded, count, (&first, &second))
            }
            Reading::Histogram(bounded) => ColumnAnswer::histogram(column, bounded, &block),
            Reading::Quantiles(bounded, at) => ColumnAnswer::quantiles(column, bounded, &block, at),
            Reading::Levels(_, levels) | Reading::Target(levels) => ColumnAnswer::Categories {
                column,
                levels: levels.clone(),
                counts: block.values(),
                standard_error: block.standard_error(),
            },
        }
    }
}

/// How a query reads a record, and how many coordinates it fills.
fn reading(query: &StatsQuery, data: &DataSchema) -> Result<(Reading, usize), QueryError> {
    match query {
        StatsQuery::Mean { .. } => Ok((Reading::Mean(bounded(query, data)?), 1)),
        StatsQuery::Variance { .. } => Ok((Reading::Variance(bounded(query, data)?), 2)),
        StatsQuery::Histogram { bins, .. } => {
            Ok((Reading::Histogram(bounded(query, data)?), length(*bins)))
        }
        StatsQuery::Quantiles { bins, at, .. } => {
            let reading = Reading::Quantiles(bounded(query, data)?, at.clone());
            Ok((reading, length(*bins)))
        }
        StatsQuery::Categories { column, .. } => {
            if *column == data.target().column {
                let levels = levels_of(&data.target().kind).ok_or(QueryError::NotACategory {
                    column: column.clone(),
                })?;
                let length = levels.len();
                return Ok((Reading::Target(levels), length));
            }
            match find(column, data)? {
                (input, FeatureSpec::OneHot { levels, .. }) => {
                    Ok((Reading::Levels(input, levels.clone()), levels.len()))
                }
                (_, FeatureSpec::Numeric { .. }) => Err(QueryError::NotACategory {
                    column: column.clone(),
                }),
            }
        }
    }
}

/// The bin of a value of −1 to 1: bins are closed below, the last one also above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the value is limited to 0..=bins, and bins to 4096"
)]
pub(super) fn bin_of(value: f64, bins: usize) -> usize {
    let place = ((value + 1.0) / 2.0 * bins as f64).floor();
    (place.max(0.0) as usize).min(bins - 1)
}

fn length(bins: u32) -> usize {
    usize::try_from(bins).unwrap_or(usize::MAX)
}
