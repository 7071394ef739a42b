//! What can be wrong with a data file, and where.

use std::path::PathBuf;

use consort_vault::sealed_data::SealedDataError;

/// A data file that cannot be used. The fault is in the file or its path; no message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("cannot read the data file {}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file lies encrypted and does not open.
    #[error("{}: {source}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealedDataError,
    },
    /// The file is empty.
    #[error("{} has no header; its first line must name the columns", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// A column of the schema is not in the header.
    #[error(
        "{} line 1: the job needs a column named {column:?} and the header has none; rename or add it",
        path.display()
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column the job asks for.
        column: String,
    },
    /// A column of the schema stands in the header more than once.
    #[error("{} line 1: the header names {column:?} more than once; keep one", path.display())]
    RepeatedColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A line is not UTF-8 text.
    #[error("{} line {line}: not UTF-8 text; save the file as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
    },
    /// A row has more or fewer fields than the header.
    #[error(
        "{} line {line}: {found} fields where the header has {expected}; check its commas and quotes",
        path.display()
    )]
    RowLength {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// Columns of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A value is missing and the schema does not drop such rows.
    #[error(
        "{} line {line}: column {column:?} is empty; fill it in, remove the row, or agree on a job that drops such rows",
        path.display()
    )]
    MissingValue {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// A value is not a finite number.
    #[error(
        "{} line {line}: column {column:?} is not a finite number; use digits, a decimal point and no unit",
        path.display()
    )]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// A count is negative or has a fraction.
    #[error(
        "{} line {line}: column {column:?} is not a count, an integer from 0; correct the row, or agree on a job whose target is \
         a number",
        path.display()
    )]
    NotACount {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// The target is the same in all records of a file that is to be trained on.
    #[error(
        "{} lines 2 and below: column {column:?} gives all records the same label, from which nothing is learnt; {hint}",
        path.display()
    )]
    ConstantTarget {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What to look at.
        hint: &'static str,
    },
    /// A category is none of the levels of the schema.
    #[error(
        "{} line {line}: column {column:?} is none of the levels or classes the job lists; correct the row, or agree on a job \
         that lists it",
        path.display()
    )]
    UnknownLevel {
        /// The file.
        path: PathBuf,
        /// Line in the file, the header being line 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// More records than the job allows one site.
    #[error(
        "{} has more than {max} records, the most the job allows one site; use a smaller file, or agree on a job with a \
         higher cap",
        path.display()
    )]
    TooManyRecords {
        /// The file.
        path: PathBuf,
        /// The cap.
        max: usize,
    },
    /// Nothing is left to train on.
    #[error("{} has no complete record; add rows below the header", path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
    },
}

impl DataError {
    /// Stable name of the error, for metrics and the audit log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "DATA_READ",
            Self::Sealed { source, .. } => source.code(),
            Self::NoHeader { .. } => "DATA_NO_HEADER",
            Self::MissingColumn { .. } => "DATA_MISSING_COLUMN",
            Self::RepeatedColumn { .. } => "DATA_REPEATED_COLUMN",
            Self::NotText { .. } => "DATA_NOT_TEXT",
            Self::RowLength { .. } => "DATA_ROW_LENGTH",
            Self::MissingValue { .. } => "DATA_MISSING_VALUE",
            Self::NotANumber { .. } => "DATA_NOT_A_NUMBER",
            Self::NotACount { .. } => "DATA_NOT_A_COUNT",
            Self::ConstantTarget { .. } => "DATA_CONSTANT_TARGET",
            Self::UnknownLevel { .. } => "DATA_UNKNOWN_LEVEL",
            Self::TooManyRecords { .. } => "DATA_TOO_MANY_RECORDS",
            Self::NoRecords { .. } => "DATA_NO_RECORDS",
        }
    }
}
