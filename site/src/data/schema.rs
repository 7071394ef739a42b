//! Finds the columns of a schema in the header of a file.

use super::DataError;
use consort_contract::{DataSchema, FeatureSpec};
use csv::StringRecord;
use std::path::Path;

/// Where each feature and the target stand in a row.
pub(super) struct Columns<'a> {
    /// Each feature with its field number, in the order of the model's inputs.
    pub(super) features: Vec<(usize, &'a FeatureSpec)>,
    /// Field number of the target.
    pub(super) target: usize,
}

impl<'a> Columns<'a> {
    /// Finds every column exactly once; columns that the schema does not name are ignored.
    pub(super) fn find(
        path: &Path,
        header: &StringRecord,
        schema: &'a DataSchema,
    ) -> Result<Self, DataError> {
        let features = schema
            .features()
            .iter()
            .map(|feature| Ok((position(path, header, feature.column())?, feature)))
            .collect::<Result<_, DataError>>()?;
        Ok(Self {
            features,
            target: position(path, header, &schema.target().column)?,
        })
    }
}

fn position(path: &Path, header: &StringRecord, column: &str) -> Result<usize, DataError> {
    let mut found = (0_usize..)
        .zip(header)
        .filter(|(_, name)| *name == column)
        .map(|(index, _)| index);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (None, _) => Err(DataError::MissingColumn {
            path: path.to_owned(),
            column: column.to_owned(),
        }),
        (Some(_), Some(_)) => Err(DataError::RepeatedColumn {
            path: path.to_owned(),
            column: column.to_owned(),
        }),
    }
}
