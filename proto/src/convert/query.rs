//! Jobs that ask.

use consort_contract::{Evaluate, EvaluateWeights, Stats, StatsQuery};

use super::{WireError, fixed, name, required};
use crate::wire::job::v1 as wire;
use crate::wire::job::v1::stats_query::Kind;

pub(super) fn stats_to_wire(stats: &Stats) -> wire::Stats {
    let query = |query: &StatsQuery| wire::StatsQuery {
        column: query.column().to_owned(),
        weight: Some(query.weight()),
        kind: Some(match query {
            StatsQuery::Mean { .. } => Kind::Mean(wire::MeanQuery {}),
            StatsQuery::Variance { .. } => Kind::Variance(wire::VarianceQuery {}),
            StatsQuery::Histogram { bins, .. } => {
                Kind::Histogram(wire::HistogramQuery { bins: *bins })
            }
            StatsQuery::Quantiles { bins, at, .. } => Kind::Quantiles(wire::QuantilesQuery {
                bins: *bins,
                at: at.clone(),
            }),
            StatsQuery::Categories { .. } => Kind::Categories(wire::CategoriesQuery {}),
        }),
    };
    wire::Stats {
        queries: stats.queries.iter().map(query).collect(),
        count_weight: Some(stats.count_weight),
        max_records_per_member: stats.max_records_per_member,
    }
}

pub(super) fn stats_from_wire(stats: wire::Stats) -> Result<Stats, WireError> {
    let query = |query: wire::StatsQuery| {
        let (column, weight) = (query.column, query.weight.unwrap_or(1.0));
        Ok(match required(query.kind, "spec.stats.queries.kind")? {
            Kind::Mean(wire::MeanQuery {}) => StatsQuery::Mean { column, weight },
            Kind::Variance(wire::VarianceQuery {}) => StatsQuery::Variance { column, weight },
            Kind::Histogram(wire::HistogramQuery { bins }) => StatsQuery::Histogram {
                column,
                bins,
                weight,
            },
            Kind::Quantiles(wire::QuantilesQuery { bins, at }) => StatsQuery::Quantiles {
                column,
                bins,
                at,
                weight,
            },
            Kind::Categories(wire::CategoriesQuery {}) => StatsQuery::Categories { column, weight },
        })
    };
    Ok(Stats {
        queries: stats
            .queries
            .into_iter()
            .map(query)
            .collect::<Result<_, WireError>>()?,
        count_weight: stats.count_weight.unwrap_or(1.0),
        max_records_per_member: stats.max_records_per_member,
    })
}

pub(super) fn evaluate_to_wire(evaluate: &Evaluate) -> wire::Evaluate {
    let weights = &evaluate.weights;
    wire::Evaluate {
        model_of: evaluate.model_of.to_string(),
        parameters: evaluate.parameters.to_vec(),
        threshold: evaluate.threshold.unwrap_or(0.0),
        bins: evaluate.bins.unwrap_or(0),
        weights: Some(wire::EvaluateWeights {
            count: Some(weights.count),
            confusion: Some(weights.confusion),
            scores: Some(weights.scores),
            loss: Some(weights.loss),
        }),
        max_records_per_member: evaluate.max_records_per_member,
    }
}

pub(super) fn evaluate_from_wire(evaluate: wire::Evaluate) -> Result<Evaluate, WireError> {
    let even = EvaluateWeights::default();
    let weights = evaluate.weights.unwrap_or_default();
    Ok(Evaluate {
        model_of: name(&evaluate.model_of, "spec.evaluate.model_of")?,
        parameters: fixed(&evaluate.parameters, "spec.evaluate.parameters")?,
        // Neither is 0 where it is said.
        threshold: (evaluate.threshold != 0.0).then_some(evaluate.threshold),
        bins: (evaluate.bins != 0).then_some(evaluate.bins),
        weights: EvaluateWeights {
            count: weights.count.unwrap_or(even.count),
            confusion: weights.confusion.unwrap_or(even.confusion),
            scores: weights.scores.unwrap_or(even.scores),
            loss: weights.loss.unwrap_or(even.loss),
        },
        max_records_per_member: evaluate.max_records_per_member,
    })
}
