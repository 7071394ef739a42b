//! A data file that lies encrypted: opened in memory under a released key, and never written.

use std::fs::File;
use std::path::Path;

use consort_contract::{DataSchema, Label};
use consort_vault::sealed_data::{Header, Reader, SealedDataError};
use consort_vault::{DataKey, KeyName};

use super::csv::parse;
use super::{DataError, DataSet};

/// Which key a file says that it lies under, if it is this data set under this key's id. Needs no key, and believes nothing more.
///
/// # Errors
/// [`DataError::Sealed`].
pub fn sealed_under(path: &Path, key_id: &Label, data_set: &Label) -> Result<KeyName, DataError> {
    open(path, key_id, data_set)
        .map(|(_, header)| header.key)
        .map_err(|error| sealed(path, error))
}

/// Reads the records of an encrypted file as the schema describes them.
///
/// # Errors
/// [`DataError::Sealed`] when the file does not open, and everything that [`super::load`] refuses.
///
/// # Security
/// The text is in memory that is zeroised when this returns. What the CSV reader held of a row, and the records themselves, are
/// not: they last as long as the job, in the memory of the confidential machine.
pub fn load_sealed(
    path: &Path,
    name: &KeyName,
    key: &DataKey,
    schema: &DataSchema,
    max_records: usize,
) -> Result<DataSet, DataError> {
    let text = || {
        let (file, header) = open(path, &name.key_id, &name.data_set)?;
        if header.key != *name {
            return Err(SealedDataError::WrongKey(header.key));
        }
        // The file's length is what the content has and a little more. It is only said, as by a sparse file: the reader refuses what
        // memory cannot be had for.
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        Reader::new(file, &header, key)?.read_all(length)
    };
    let text = text().map_err(|error| sealed(path, error))?;
    parse(path, &text, schema, max_records)
}

fn open(path: &Path, key_id: &Label, data_set: &Label) -> Result<(File, Header), SealedDataError> {
    let mut file = File::open(path)?;
    let header = Header::read(&mut file)?;
    header.expect(key_id, data_set)?;
    Ok((file, header))
}

fn sealed(path: &Path, source: SealedDataError) -> DataError {
    DataError::Sealed {
        path: path.to_owned(),
        source,
    }
}
