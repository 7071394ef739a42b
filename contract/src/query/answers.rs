//! From noised sums to what was asked for: all of it computed from the noised numbers alone, so that it costs nothing more.

use serde::{Deserialize, Serialize};

use super::columns::Bounded;
use super::estimate::{Estimate, NoisedBlock};
use super::evaluate::{ClassScores, CountErrors, NumberErrors};

/// What a report answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The queries of a stats job, in their order.
    Stats(Vec<ColumnAnswer>),
    /// An evaluation on a binary target.
    Evaluate(Scores),
    /// An evaluation on a target of classes.
    Classes(ClassScores),
    /// An evaluation on a target of numbers.
    Numbers(NumberErrors),
    /// An evaluation on a target of counts.
    Counts(CountErrors),
}

/// The answer to one query about a column. Values beyond a column's bounds count as the bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnAnswer {
    /// A mean.
    Mean {
        /// The column.
        column: String,
        /// In the unit of the column.
        mean: Estimate,
    },
    /// A mean and a variance: that of these records, divided by their number.
    Variance {
        /// The column.
        column: String,
        /// In the unit of the column.
        mean: Estimate,
        /// In the squared unit of the column.
        variance: Estimate,
    },
    /// Counts between edges.
    Histogram {
        /// The column.
        column: String,
        /// One more than counts.
        edges: Vec<f64>,
        /// Noise makes some of them negative; they are told as they are, so that their sums are not biased.
        counts: Vec<f64>,
        /// Of each count.
        standard_error: f64,
    },
    /// Quantiles.
    Quantiles {
        /// The column.
        column: String,
        /// No quantile is finer.
        bin_width: f64,
        /// In the order in which they were asked for.
        quantiles: Vec<Quantile>,
    },
    /// Counts of levels.
    Categories {
        /// The column.
        column: String,
        /// As many as counts.
        levels: Vec<String>,
        /// Noise makes some of them negative.
        counts: Vec<f64>,
        /// Of each count.
        standard_error: f64,
    },
}

/// One quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    /// Which: 0.5 is the median.
    pub at: f64,
    /// In the unit of the column.
    pub estimate: Estimate,
}

impl ColumnAnswer {
    pub(super) fn mean(column: String, by: &Bounded, count: &Estimate, sum: &Estimate) -> Self {
        let mean = mean_of(by, &sum.quotient(count));
        Self::Mean { column, mean }
    }

    /// From the sums of t and t², where t is the value between its bounds, −1 to 1.
    pub(super) fn variance(
        column: String,
        by: &Bounded,
        count: &Estimate,
        sums: (&Estimate, &Estimate),
    ) -> Self {
        let mean = mean_of(by, &sums.0.quotient(count));
        let parts = (sums.0.value.zip(sums.1.value), sums.0.standard_error);
        let variance = match (parts, count.certain()) {
            ((Some((first, second)), Some(error)), Some((count, count_error))) => {
                let (m1, m2) = (first / count, second / count);
                // Of m2 − m1², by both sums and by the count: −2·m1/N, 1/N and (2·m1² − m2)/N.
                let by_sums = (2.0 * m1 * error).hypot(error);
                let noise = by_sums.hypot((2.0 * m1 * m1 - m2) * count_error) / count;
                Estimate::new(m2 - m1 * m1, noise)
            }
            ((None, _) | (_, None), _) | (_, None) => Estimate::unknown(),
        };
        let variance = variance.within(0.0, 1.0).times(by.half * by.half);
        Self::Variance {
            column,
            mean,
            variance,
        }
    }

    pub(super) fn histogram(column: String, by: &Bounded, block: &NoisedBlock) -> Self {
        let counts = block.values();
        Self::Histogram {
            column,
            edges: (0..=counts.len())
                .map(|bin| edge(by, number(bin), counts.len()))
                .collect(),
            standard_error: block.standard_error(),
            counts,
        }
    }

    pub(super) fn quantiles(column: String, by: &Bounded, block: &NoisedBlock, at: &[f64]) -> Self {
        let counts = block.values();
        let error = block.standard_error();
        let (bins, all) = (number(counts.len()), counts.iter().sum::<f64>());
        let total = Estimate::new(all, bins.sqrt() * error).certain();
        let below = monotone_sums(&counts, all);
        let quantile = |at: &f64| {
            let estimate = total.map_or(Estimate::unknown(), |(total, _)| {
                let rank = at * total;
                let place = place_of(&below, rank);
                // The rank's noise is that of the bins below less its share of the noise of all.
                let (under, over) = (place, bins - place);
                let noise = error * ((1.0 - at).powi(2) * under + at * at * over).sqrt();
                let spread = place_of(&below, rank + noise) - place_of(&below, rank - noise);
                let width = 2.0 * by.half / bins;
                Estimate::new(edge(by, place, counts.len()), spread / 2.0 * width)
            });
            Quantile { at: *at, estimate }
        };
        Self::Quantiles {
            column,
            bin_width: 2.0 * by.half / bins,
            quantiles: at.iter().map(quantile).collect(),
        }
    }
}

fn mean_of(by: &Bounded, mean: &Estimate) -> Estimate {
    let scaled = mean.within(-1.0, 1.0).times(by.half);
    Estimate {
        value: scaled.value.map(|value| by.center + value),
        ..scaled
    }
}

/// The value at a place among equally wide bins.
fn edge(by: &Bounded, place: f64, bins: usize) -> f64 {
    by.center + by.half * (2.0 * place / number(bins) - 1.0)
}

/// How many records lie below each edge, from the first bin's upper one: the noised sums, made to rise by least squares (pool adjacent
/// violators, Ayer et al. 1955), between nothing and all.
fn monotone_sums(counts: &[f64], all: f64) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::with_capacity(counts.len());
    let mut sum = 0.0;
    for count in counts {
        sum += count;
        let mut pool = (sum, 1);
        while let Some((mean, size)) = pools.pop_if(|(mean, _)| *mean > pool.0) {
            let whole = size + pool.1;
            pool = (
                (mean * number(size) + pool.0 * number(pool.1)) / number(whole),
                whole,
            );
        }
        pools.push(pool);
    }
    pools
        .into_iter()
        .flat_map(|(mean, size)| std::iter::repeat_n(mean.clamp(0.0, all.max(0.0)), size))
        .collect()
}

/// Where a rank lies, in bins: between edges as if a bin's records lay evenly in it.
fn place_of(below: &[f64], rank: f64) -> f64 {
    let mut before = 0.0;
    for (bin, sum) in below.iter().enumerate() {
        if *sum >= rank {
            let inside = if *sum > before {
                ((rank - before) / (sum - before)).clamp(0.0, 1.0)
            } else {
                0.0
            };
            return number(bin) + inside;
        }
        before = *sum;
    }
    number(below.len())
}

/// How well a model does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// From this score on a record is called positive.
    pub threshold: f64,
    /// Positive records that are called so.
    pub true_positives: Estimate,
    /// Negative records that are called positive.
    pub false_positives: Estimate,
    /// Positive records that are called negative.
    pub false_negatives: Estimate,
    /// Negative records that are called so.
    pub true_negatives: Estimate,
    /// Share of the records that are called what they are.
    pub accuracy: Estimate,
    /// Share of the positive records that are called so.
    pub sensitivity: Estimate,
    /// Share of the negative records that are called so.
    pub specificity: Estimate,
    /// Share of those called positive that are.
    pub precision: Estimate,
    /// Area under the receiver's operating curve of the binned scores: of two records in one bin none is ranked before the other.
    pub area_under_curve: Estimate,
    /// Mean loss in nats; each record's is limited to 2.
    pub loss: Estimate,
    /// Bins of the score, from 0 to 1.
    pub calibration: Vec<ScoreBin>,
}

/// The records whose scores lie in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreBin {
    /// Least score.
    pub from: f64,
    /// Scores are below it; in the last bin also at it.
    pub to: f64,
    /// Positive records.
    pub positives: Estimate,
    /// Negative records.
    pub negatives: Estimate,
    /// Share of the positive ones: that of a calibrated model lies between the bin's ends.
    pub positive_share: Estimate,
}

impl Scores {
    pub(super) fn of(
        threshold: f64,
        confusion: &NoisedBlock,
        scores: &NoisedBlock,
        loss: Estimate,
    ) -> Self {
        let cells = confusion.values();
        let [tp, fp, fn_, tn] = [cells[0], cells[1], cells[2], cells[3]];
        let error = confusion.standard_error();
        let share = |a, b, many| Estimate::share(a, b, many, error).within(0.0, 1.0);
        let both = scores.values();
        let (negatives, positives) = both.split_at(both.len() / 2);
        Self {
            threshold,
            true_positives: confusion.at(0),
            false_positives: confusion.at(1),
            false_negatives: confusion.at(2),
            true_negatives: confusion.at(3),
            accuracy: share(tp + tn, fp + fn_, (2.0, 2.0)),
            sensitivity: share(tp, fn_, (1.0, 1.0)),
            specificity: share(tn, fp, (1.0, 1.0)),
            precision: share(tp, fp, (1.0, 1.0)),
            area_under_curve: area(negatives, positives, scores.standard_error()),
            loss,
            calibration: calibration(negatives, positives, scores.standard_error()),
        }
    }
}

/// The share of pairs of a positive and a negative record in which the positive one's bin is higher; half of those in one bin.
fn area(negatives: &[f64], positives: &[f64], error: f64) -> Estimate {
    let total = |counts: &[f64]| {
        let noise = number(counts.len()).sqrt() * error;
        Estimate::new(counts.iter().sum(), noise).certain()
    };
    let (Some((all_negatives, _)), Some((all_positives, _))) = (total(negatives), total(positives))
    else {
        return Estimate::unknown();
    };
    // Of the negative records, the share below a bin; of the positive ones, that above.
    let below = halves(negatives.iter(), all_negatives);
    let mut above = halves(positives.iter().rev(), all_positives);
    above.reverse();
    let area: f64 = positives
        .iter()
        .zip(&below)
        .map(|(count, below)| count * below)
        .sum::<f64>()
        / all_positives;
    let slope = |shares: &[f64], all: f64| -> f64 {
        let squares = shares.iter().map(|share| ((share - area) / all).powi(2));
        squares.sum()
    };
    let variance = slope(&below, all_positives) + slope(&above, all_negatives);
    Estimate::new(area, variance.sqrt() * error).within(0.0, 1.0)
}

/// The share of the counts before each place, with half of its own.
fn halves<'a>(counts: impl Iterator<Item = &'a f64>, all: f64) -> Vec<f64> {
    let mut before = 0.0;
    counts
        .map(|count| {
            let here = (before + count / 2.0) / all;
            before += count;
            here
        })
        .collect()
}

fn calibration(negatives: &[f64], positives: &[f64], error: f64) -> Vec<ScoreBin> {
    let bins = number(negatives.len());
    let bin = |(place, (negative, positive)): (usize, (&f64, &f64))| ScoreBin {
        from: number(place) / bins,
        to: number(place + 1) / bins,
        positives: Estimate::new(*positive, error),
        negatives: Estimate::new(*negative, error),
        positive_share: Estimate::share(*positive, *negative, (1.0, 1.0), error).within(0.0, 1.0),
    };
    negatives
        .iter()
        .zip(positives)
        .enumerate()
        .map(bin)
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bins are at most a few thousand"
)]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}
