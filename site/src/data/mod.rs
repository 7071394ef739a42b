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

/// The records of one data file, as the model sees them.
#[derive(Clone, PartialEq)]
pub struct DataSet {
    features: Vec<f32>,
    labels: Vec<f32>,
    inputs: usize,
    dropped: usize,
}

impl DataSet {
    /// Features, shape `[records, inputs]`, row-major. Each is finite and within the clip of its column.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Labels, shape `[records]`, each 0 or 1.
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
}

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
