//! The columns that queries are about: where a record has their values, and between which bounds.

use super::QueryError;
use super::stats::StatsQuery;
use crate::features::{DataSchema, FeatureSpec, TargetKind};

/// A numeric column between its bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounded {
    source: Source,
    /// The middle of the bounds, in the unit of the column.
    pub(super) center: f64,
    /// Half the distance of the bounds, in the unit of the column.
    pub(super) half: f64,
}

/// Where a number of a record stands.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// Among its inputs, with the largest magnitude that it may have there.
    Input { place: usize, clip: f64 },
    /// It is the label, of at most so much, and at least 0.
    Label { most: f64 },
}

impl Bounded {
    /// The record's value between its bounds, −1 to 1.
    pub(super) fn read(&self, inputs: &[f32], label: f32) -> Option<f64> {
        let value = match self.source {
            Source::Input { place, clip } => f64::from(inputs[place]) / clip,
            Source::Label { most } => 2.0 * f64::from(label) / most - 1.0,
        };
        value.is_finite().then(|| value.clamp(-1.0, 1.0))
    }
}

/// The column of a query about a number.
pub(super) fn bounded(query: &StatsQuery, data: &DataSchema) -> Result<Bounded, QueryError> {
    let column = query.column();
    let not_a_number = || QueryError::NotANumber {
        query: query.kind(),
        column: column.to_owned(),
    };
    if *column == data.target().column {
        return match data.target().kind {
            TargetKind::Number { least, most } => Ok(Bounded {
                source: Source::Label { most: 1.0 },
                center: least + (most - least) / 2.0,
                half: (most - least) / 2.0,
            }),
            TargetKind::Count { most } => Ok(Bounded {
                source: Source::Label { most: most.into() },
                center: f64::from(most) / 2.0,
                half: f64::from(most) / 2.0,
            }),
            TargetKind::Binary { .. } | TargetKind::Classes { .. } => Err(not_a_number()),
        };
    }
    let (place, feature) = find(column, data)?;
    let FeatureSpec::Numeric {
        center,
        scale,
        clip,
        ..
    } = feature
    else {
        return Err(not_a_number());
    };
    let half = scale * clip;
    let usable = crate::plan::narrow(*clip).is_normal()
        && half.is_normal()
        && (2.0 * half).is_finite()
        && (center - half).is_finite()
        && (center + half).is_finite();
    if !usable {
        return Err(QueryError::Unbounded {
            column: column.to_owned(),
        });
    }
    Ok(Bounded {
        source: Source::Input { place, clip: *clip },
        center: *center,
        half,
    })
}

/// What a target's labels stand for, from 0; nothing where they are numbers.
pub(super) fn levels_of(target: &TargetKind) -> Option<Vec<String>> {
    match target {
        TargetKind::Binary { positive_above } => Some(vec![
            format!("at most {positive_above}"),
            format!("above {positive_above}"),
        ]),
        TargetKind::Classes { names } => Some(names.clone()),
        TargetKind::Number { .. } | TargetKind::Count { .. } => None,
    }
}

/// A feature and the place of its first input.
pub(super) fn find<'a>(
    column: &str,
    data: &'a DataSchema,
) -> Result<(usize, &'a FeatureSpec), QueryError> {
    let mut first = 0;
    for feature in data.features() {
        if feature.column() == column {
            return Ok((first, feature));
        }
        first += feature.inputs();
    }
    Err(QueryError::UnknownColumn {
        column: column.to_owned(),
    })
}
