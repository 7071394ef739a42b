//! How columns of a data file become the inputs and the label of a record: part of the contract, equal at every member.
//!
//! The constants are public and belong to the job. Scaling by the mean of a member's own data would be an unaccounted
//! release, so there is no such choice here.

mod error;
mod target;

pub use error::SchemaError;
pub use target::{Label, MAX_COUNT, NoLabel, TargetKind, TargetSpec};

use consort_aggregation::Canonical;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most features of a schema: the widest tables seen in practice are far below it, and an error list stays readable.
pub const MAX_FEATURES: usize = 4096;

/// Most levels of one categorical column; beyond it a column is a free text, not a category.
pub const MAX_LEVELS: usize = 1024;

/// Longest column or level name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// One column of the data file and what becomes of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeatureSpec {
    /// A number `x` becomes one input: `(x - center) / scale`, limited to ±`clip`.
    Numeric {
        /// Name of the column in the header.
        column: String,
        /// The value that becomes 0, in the unit of the column.
        center: f64,
        /// The distance from the centre that becomes 1, in the unit of the column; above 0.
        scale: f64,
        /// Largest magnitude of the input, in scales; above 0.
        clip: f64,
    },
    /// A category becomes one input for each level but the first: +1 for its own level and -1 for the others. The first
    /// level is the reference, for which all are -1. A value that is no level is an error of the row.
    OneHot {
        /// Name of the column in the header.
        column: String,
        /// The levels, the reference first; at least two. `1` and `1.0` are the same level.
        levels: Vec<String>,
    },
}

impl FeatureSpec {
    /// Name of the column it reads.
    #[must_use]
    pub fn column(&self) -> &str {
        match self {
            Self::Numeric { column, .. } | Self::OneHot { column, .. } => column,
        }
    }

    /// How many inputs of the model it fills.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::Numeric { .. } => 1,
            Self::OneHot { levels, .. } => levels.len().saturating_sub(1),
        }
    }

    fn encode(&self, canonical: Canonical) -> Canonical {
        match self {
            Self::Numeric {
                column,
                center,
                scale,
                clip,
            } => canonical
                .str("numeric")
                .str(column)
                .u64(center.to_bits())
                .u64(scale.to_bits())
                .u64(clip.to_bits()),
            Self::OneHot { column, levels } => levels.iter().fold(
                canonical.str("one_hot").str(column).list(levels.len()),
                |canonical, level| canonical.str(level),
            ),
        }
    }
}

/// What is done with a row in which a value of the schema is missing (empty, or `?`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingValues {
    /// The file is refused, naming the line and the column.
    #[default]
    Refuse,
    /// The row is left out, and counted locally.
    DropRow,
}

/// The checked description of a job's data: features in the order of the model's inputs, the target, and what is done
/// with missing values.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "UncheckedSchema", into = "UncheckedSchema")]
pub struct DataSchema {
    features: Vec<FeatureSpec>,
    target: TargetSpec,
    missing: MissingValues,
}

impl DataSchema {
    /// Checks and builds a schema.
    ///
    /// # Errors
    /// [`SchemaError`] names the first column that cannot be used, and what to change.
    pub fn new(
        features: Vec<FeatureSpec>,
        target: TargetSpec,
        missing: MissingValues,
    ) -> Result<Self, SchemaError> {
        if features.is_empty() {
            return Err(SchemaError::NoFeatures);
        }
        if features.len() > MAX_FEATURES {
            return Err(SchemaError::TooManyFeatures {
                features: features.len(),
            });
        }
        let mut columns = BTreeSet::new();
        for feature in &features {
            check_feature(feature)?;
            if !columns.insert(feature.column()) {
                return Err(SchemaError::RepeatedColumn {
                    column: feature.column().to_owned(),
                });
            }
        }
        target.check()?;
        if columns.contains(target.column.as_str()) {
            return Err(SchemaError::TargetIsFeature {
                column: target.column,
            });
        }
        Ok(Self {
            features,
            target,
            missing,
        })
    }

    /// The features, in the order of the model's inputs.
    #[must_use]
    pub fn features(&self) -> &[FeatureSpec] {
        &self.features
    }

    /// The column to be predicted.
    #[must_use]
    pub fn target(&self) -> &TargetSpec {
        &self.target
    }

    /// What is done with missing values.
    #[must_use]
    pub fn missing(&self) -> MissingValues {
        self.missing
    }

    /// How many inputs a model of this data has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.features.iter().map(FeatureSpec::inputs).sum()
    }

    /// Appends the schema to a canonical encoding, such as the contract's. Numbers enter as their IEEE 754 bits.
    #[must_use]
    pub fn encode(&self, canonical: Canonical) -> Canonical {
        let missing = match self.missing {
            MissingValues::Refuse => "refuse",
            MissingValues::DropRow => "drop_row",
        };
        let head = self
            .target
            .encode(canonical.str(missing))
            .list(self.features.len());
        self.features
            .iter()
            .fold(head, |canonical, feature| feature.encode(canonical))
    }
}

/// Whether two spellings mean the same level of a category: equal text, or equal numbers (`1` and `1.0`).
#[must_use]
pub fn same_level(left: &str, right: &str) -> bool {
    let (left, right) = (left.trim(), right.trim());
    left == right
        || match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left == right,
            _ => false,
        }
}

/// The form in documents, before it is checked.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct UncheckedSchema {
    #[serde(default)]
    missing: MissingValues,
    target: TargetSpec,
    features: Vec<FeatureSpec>,
}

impl TryFrom<UncheckedSchema> for DataSchema {
    type Error = SchemaError;

    fn try_from(unchecked: UncheckedSchema) -> Result<Self, SchemaError> {
        Self::new(unchecked.features, unchecked.target, unchecked.missing)
    }
}

impl From<DataSchema> for UncheckedSchema {
    fn from(schema: DataSchema) -> Self {
        Self {
            missing: schema.missing,
            target: schema.target,
            features: schema.features,
        }
    }
}

fn check_feature(feature: &FeatureSpec) -> Result<(), SchemaError> {
    match feature {
        FeatureSpec::Numeric {
            column,
            center,
            scale,
            clip,
        } => {
            check_name(column)?;
            check_finite(column, "center", *center)?;
            check_positive(column, "scale", *scale)?;
            check_positive(column, "clip", *clip)
        }
        FeatureSpec::OneHot { column, levels } => {
            check_name(column)?;
            check_levels(column, levels)
        }
    }
}

fn check_levels(column: &str, levels: &[String]) -> Result<(), SchemaError> {
    if !(2..=MAX_LEVELS).contains(&levels.len()) {
        return Err(SchemaError::LevelCount {
            column: column.to_owned(),
            levels: levels.len(),
        });
    }
    for (index, level) in levels.iter().enumerate() {
        check_name(level)?;
        if level == "?" || levels[..index].iter().any(|other| same_level(other, level)) {
            return Err(SchemaError::BadLevels {
                column: column.to_owned(),
            });
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    let usable = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name == name.trim()
        && !name.chars().any(char::is_control);
    if usable {
        Ok(())
    } else {
        Err(SchemaError::BadName)
    }
}

fn check_finite(column: &str, constant: &'static str, value: f64) -> Result<(), SchemaError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(SchemaError::NotFinite {
            column: column.to_owned(),
            constant,
        })
    }
}

fn check_positive(column: &str, constant: &'static str, value: f64) -> Result<(), SchemaError> {
    check_finite(column, constant, value)?;
    if value > 0.0 {
        Ok(())
    } else {
        Err(SchemaError::NotPositive {
            column: column.to_owned(),
            constant,
        })
    }
}

#[cfg(test)]
mod tests;
