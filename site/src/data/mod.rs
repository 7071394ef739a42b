//! This organisation's data file, read into the inputs and labels that the job's schema describes.
//!
//! Records live in memory only, and no error or log line shows a value: a message names the file, the line and the
//! column, and the reader looks there.

mod csv;
mod error;
mod features;
mod schema;
mod sealed;

pub use csv::{load, parse};
pub use error::DataError;
pub use sealed::{load_sealed, sealed_under};

use std::fmt;
use std::path::Path;

use consort_contract::features::{TargetKind, TargetSpec};

/// The records of one data file, as the model sees them.
#[derive(Clone, PartialEq)]
pub struct DataSet {
    features: Vec<f32>,
    labels: Vec<f32>,
    inputs: usize,
    dropped: usize,
    beyond: usize,
}

impl DataSet {
    /// Features, shape `[records, inputs]`, row-major. Each is finite and within the clip of its column.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Labels, shape `[records]`, as the target makes them: 0 or 1, the place of a class, a number of 0 to 1, or a count.
    #[must_use]
    pub fn labels(&self) -> &[f32] {
        &self.labels
    }

    /// Number of records.
    #[must_use]
    pub fn records(&self) -> usize {
        self.labels.len()
    }

    /// Number of inputs of one record.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows that were left out because a value was missing. For the data steward only: it is an exact count.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Records whose target lies beyond a public bound and counts as the bound. For the data steward only: it is an exact count.
    #[must_use]
    pub fn beyond(&self) -> usize {
        self.beyond
    }

    /// Refuses records of which nothing can be learnt because all have one label: a wrong column or unit, or a file that was cut. A few
    /// equal numbers are a chance; of outcomes, classes and counts there may be rare ones, of which a small site has none.
    ///
    /// # Errors
    /// [`DataError::ConstantTarget`]; `path` is for the message alone.
    pub fn varies(&self, path: &Path, target: &TargetSpec) -> Result<(), DataError> {
        let (fewest, hint) = match &target.kind {
            TargetKind::Binary { .. } => (FEW_RECORDS, "compare it with positive_above of the job"),
            TargetKind::Classes { .. } => (FEW_RECORDS, "check that the file has all classes"),
            TargetKind::Count { .. } => {
                (FEW_RECORDS, "check that it is the column to be predicted")
            }
            TargetKind::Number { .. } => {
                (FEW_NUMBERS, "compare its unit with the bounds of the job")
            }
        };
        let constant = self.labels.windows(2).all(|pair| pair[0] == pair[1]);
        if self.labels.len() < fewest || !constant {
            return Ok(());
        }
        Err(DataError::ConstantTarget {
            path: path.to_owned(),
            column: target.column.clone(),
            hint,
        })
    }
}

/// A site of fewer records may have none of a rare outcome: of a hundred records one in twenty of them is missed once in a hundred and
/// seventy times.
const FEW_RECORDS: usize = 100;

/// Even coarse numbers are not all equal ten times.
const FEW_NUMBERS: usize = 10;

/// Shows sizes only: records never reach a log.
impl fmt::Debug for DataSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "DataSet({} records, {} inputs)",
            self.records(),
            self.inputs
        )
    }
}

#[cfg(test)]
mod tests;
