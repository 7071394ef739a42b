//! Reads a data file: comma-separated values in UTF-8, the first line naming the columns.

use super::features::{FieldFault, label, push_inputs};
use super::schema::Columns;
use super::{DataError, DataSet};
use consort_contract::{DataSchema, MissingValues};
use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::path::Path;

/// Reads the records of a file as the schema describes them; at most `max_records`, the job's cap on one site.
///
/// # Errors
/// [`DataError`] names the file, the line and the column of the first fault, and what to do about it.
pub fn load(path: &Path, schema: &DataSchema, max_records: usize) -> Result<DataSet, DataError> {
    let text = std::fs::read(path).map_err(|source| DataError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text, schema, max_records)
}

/// Reads the records from the bytes of a file; `path` is for messages alone.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &Path,
    text: &[u8],
    schema: &DataSchema,
    max_records: usize,
) -> Result<DataSet, DataError> {
    // Rows of another length are found below: the reader's own error would not tell the reader what to do.
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text);
    let header = reader
        .headers()
        .map_err(|fault| unreadable(path, fault))?
        .clone();
    if header.is_empty() {
        return Err(DataError::NoHeader {
            path: path.to_owned(),
        });
    }
    let columns = Columns::find(path, &header, schema)?;
    let mut data = DataSet {
        features: Vec::new(),
        labels: Vec::new(),
        inputs: schema.inputs(),
        dropped: 0,
        beyond: 0,
    };
    let mut row = StringRecord::new();
    while reader
        .read_record(&mut row)
        .map_err(|fault| unreadable(path, fault))?
    {
        let place = Place {
            path,
            line: first_line(text, &row),
        };
        place.check_length(&row, header.len())?;
        if read_row(place, &row, &columns, schema, &mut data)? {
            if data.records() > max_records {
                return Err(DataError::TooManyRecords {
                    path: path.to_owned(),
                    max: max_records,
                });
            }
        } else {
            data.dropped += 1;
        }
    }
    if data.labels.is_empty() {
        return Err(DataError::NoRecords {
            path: path.to_owned(),
        });
    }
    Ok(data)
}

/// Appends one record; false if the row is dropped for a missing value.
fn read_row(
    place: Place<'_>,
    row: &StringRecord,
    columns: &Columns<'_>,
    schema: &DataSchema,
    data: &mut DataSet,
) -> Result<bool, DataError> {
    let (features, records) = (data.features.len(), data.labels.len());
    // A dropped row is still read to its end: a damaged field beside a missing one is a damaged file.
    let mut missing = false;
    let mut note = |column: &str, fault| {
        let dropped = fault == FieldFault::Missing && schema.missing() == MissingValues::DropRow;
        missing |= dropped;
        if dropped {
            Ok(())
        } else {
            Err(place.error(column, fault))
        }
    };
    for (index, feature) in &columns.features {
        if let Err(fault) = push_inputs(feature, &row[*index], &mut data.features) {
            note(feature.column(), fault)?;
        }
    }
    let mut beyond = false;
    match label(schema.target(), &row[columns.target]) {
        Ok(label) => {
            data.labels.push(label.value);
            beyond = label.beyond;
        }
        Err(fault) => note(&schema.target().column, fault)?,
    }
    if missing {
        data.features.truncate(features);
        data.labels.truncate(records);
    } else {
        data.beyond += usize::from(beyond);
    }
    Ok(!missing)
}

/// A row of a file, for messages.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn check_length(self, row: &StringRecord, expected: usize) -> Result<(), DataError> {
        if row.len() == expected {
            return Ok(());
        }
        Err(DataError::RowLength {
            path: self.path.to_owned(),
            line: self.line,
            expected,
            found: row.len(),
        })
    }

    fn error(self, column: &str, fault: FieldFault) -> DataError {
        let (path, line, column) = (self.path.to_owned(), self.line, column.to_owned());
        match fault {
            FieldFault::Missing => DataError::MissingValue { path, line, column },
            FieldFault::NotANumber => DataError::NotANumber { path, line, column },
            FieldFault::NotACount => DataError::NotACount { path, line, column },
            FieldFault::UnknownLevel => DataError::UnknownLevel { path, line, column },
        }
    }
}

/// The line a row starts on. The reader's own position lies before the empty lines that it skips.
fn first_line(text: &[u8], row: &StringRecord) -> u64 {
    let Some(position) = row.position() else {
        return 0;
    };
    let start = usize::try_from(position.byte()).map_or(text.len(), |byte| byte.min(text.len()));
    (text[start..].iter())
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .fold(position.line(), |line, byte| {
            line + u64::from(*byte == b'\n')
        })
}

fn unreadable(path: &Path, fault: csv::Error) -> DataError {
    let path = path.to_owned();
    let line = fault.position().map_or(1, csv::Position::line);
    // Of the other kinds a reader of flexible string records has only the one of its encoding.
    if let ErrorKind::Io(source) = fault.into_kind() {
        DataError::Read { path, source }
    } else {
        DataError::NotText { path, line }
    }
}
