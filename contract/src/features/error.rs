//! Why a data schema cannot be used.

use super::{MAX_COUNT, MAX_FEATURES, MAX_LEVELS, MAX_NAME_BYTES};

/// A data schema that cannot be used. The fault is in the job document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There is nothing to learn from.
    #[error("the data schema lists no features; list at least one")]
    NoFeatures,
    /// More features than [`MAX_FEATURES`].
    #[error(
        "the data schema lists {features} features, at most {MAX_FEATURES} are allowed; leave some out"
    )]
    TooManyFeatures {
        /// Features listed.
        features: usize,
    },
    /// A column or level name is empty, too long, or has control characters.
    #[error(
        "a column or level name in the data schema is empty, longer than {MAX_NAME_BYTES} bytes, padded with spaces or \
         holds control characters; use the name as it stands in the header"
    )]
    BadName,
    /// Two features read one column.
    #[error("column {column:?} is listed twice in the data schema; list it once")]
    RepeatedColumn {
        /// The column.
        column: String,
    },
    /// The target is also a feature, so the model would be told the answer.
    #[error("column {column:?} is both the target and a feature; remove it from the features")]
    TargetIsFeature {
        /// The column.
        column: String,
    },
    /// A constant is not a finite number.
    #[error("{constant} of column {column:?} is not a finite number")]
    NotFinite {
        /// The column.
        column: String,
        /// Which constant.
        constant: &'static str,
    },
    /// A constant that must be above zero is not.
    #[error("{constant} of column {column:?} must be above 0")]
    NotPositive {
        /// The column.
        column: String,
        /// Which constant.
        constant: &'static str,
    },
    /// A target says nothing, or more than one thing, about its values.
    #[error(
        "the target {column:?} must say exactly one of positive_above, classes, number and count"
    )]
    TargetKinds {
        /// The column.
        column: String,
    },
    /// The bounds of a target of numbers.
    #[error(
        "number.least of the target {column:?} must be below number.most, and their distance a finite number"
    )]
    TargetBounds {
        /// The column.
        column: String,
    },
    /// The bound of a target of counts.
    #[error("count.most of the target {column:?} must be 1 to {MAX_COUNT}")]
    TargetCount {
        /// The column.
        column: String,
    },
    /// A category has fewer than two or more than [`MAX_LEVELS`] levels.
    #[error("column {column:?} lists {levels} levels; a category has 2 to {MAX_LEVELS}")]
    LevelCount {
        /// The column.
        column: String,
        /// Levels listed.
        levels: usize,
    },
    /// A level is listed twice, or marks a missing value.
    #[error(
        "the levels of column {column:?} must differ from each other (1 and 1.0 are the same) and must not be \"?\""
    )]
    BadLevels {
        /// The column.
        column: String,
    },
}

impl SchemaError {
    /// Stable name of the error, for clients, metrics and the audit log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFeatures => "schema_no_features",
            Self::TooManyFeatures { .. } => "schema_too_many_features",
            Self::BadName => "schema_bad_name",
            Self::RepeatedColumn { .. } => "schema_repeated_column",
            Self::TargetIsFeature { .. } => "schema_target_is_feature",
            Self::NotFinite { .. } => "schema_not_finite",
            Self::NotPositive { .. } => "schema_not_positive",
            Self::TargetKinds { .. } => "schema_target_kinds",
            Self::TargetBounds { .. } => "schema_target_bounds",
            Self::TargetCount { .. } => "schema_target_count",
            Self::LevelCount { .. } => "schema_level_count",
            Self::BadLevels { .. } => "schema_bad_levels",
        }
    }
}
