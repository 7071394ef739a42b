//! The four hospitals of the UCI heart-disease data (Janosi, Steinbrunn, Pfisterer and Detrano, CC BY 4.0), prepared by
//! FLamby's recipe. The files are the user's own download; none is part of this program.

use super::flamby;
use super::site::{Site, Table};
use std::path::{Path, PathBuf};

/// Hospitals and their files, in FLamby's order.
pub(crate) const HOSPITALS: [(&str, &str); 4] = [
    ("cleveland", "processed.cleveland.data"),
    ("hungarian", "processed.hungarian.data"),
    ("switzerland", "processed.switzerland.data"),
    ("va", "processed.va.data"),
];

/// The columns of the files as UCI's `heart-disease.names` calls them; `num` above 0 is disease.
const COLUMNS: [&str; 14] = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak",
    "slope", "ca", "thal", "num",
];

/// Columns 10 to 12 (from 0) are missing in most rows of three hospitals; FLamby leaves them out.
const LEFT_OUT: std::ops::Range<usize> = 10..13;

/// The heart-disease files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HospitalError {
    /// A file cannot be read.
    #[error(
        "cannot read {}; download the processed files of https://archive.ics.uci.edu/dataset/45/heart+disease into that \
         folder",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line has not the form of the UCI files.
    #[error("{} line {line} has not 14 fields; download the file again", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Line in the file, from 1.
        line: usize,
    },
}

/// Reads the four hospitals from a folder with UCI's processed files.
///
/// # Errors
/// [`HospitalError`] names the file, and the line if it has another form.
pub(crate) fn hospitals(folder: &Path) -> Result<Vec<Site>, HospitalError> {
    HOSPITALS
        .iter()
        .map(|(name, file)| {
            let table = read(&folder.join(file))?;
            let labels: Vec<bool> = table.rows.iter().map(|row| is_positive(row)).collect();
            let split = flamby::split(&labels);
            Ok(Site {
                name: (*name).to_owned(),
                train: table.select(&split.train),
                held_out: table.select(&split.test),
            })
        })
        .collect()
}

/// The complete rows of one file, without the columns that are left out.
fn read(path: &Path) -> Result<Table, HospitalError> {
    let text = std::fs::read_to_string(path).map_err(|source| HospitalError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        if fields.len() != COLUMNS.len() {
            return Err(HospitalError::Form {
                path: path.to_owned(),
                line: index + 1,
            });
        }
        let row = kept(&fields);
        if !row.iter().any(|field| field == "?") {
            rows.push(row);
        }
    }
    Ok(Table {
        header: kept(&COLUMNS),
        rows,
    })
}

fn kept(fields: &[&str]) -> Vec<String> {
    let fields = fields.iter().enumerate();
    fields
        .filter(|(index, _)| !LEFT_OUT.contains(index))
        .map(|(_, field)| (*field).to_owned())
        .collect()
}

fn is_positive(row: &[String]) -> bool {
    row.last().is_some_and(|field| field != "0")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Where the tests find the files: `CONSORT_HEART_DATA`, or beside the workspace.
    pub(in crate::demo) fn folder() -> Option<PathBuf> {
        let folder = std::env::var_os("CONSORT_HEART_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/fed_heart"),
            PathBuf::from,
        );
        let found = folder.join(HOSPITALS[0].1).exists();
        if !found {
            println!(
                "not run: no heart-disease files in {}; set CONSORT_HEART_DATA",
                folder.display()
            );
        }
        found.then_some(folder)
    }

    #[test]
    fn the_four_hospitals_have_the_published_numbers_of_rows() {
        let Some(folder) = folder() else { return };
        let rows = |table: &Table| table.rows.len();
        let sizes: Vec<_> = hospitals(&folder)
            .unwrap()
            .iter()
            .map(|site| (rows(&site.train), rows(&site.held_out)))
            .collect();
        assert_eq!(sizes, [(199, 104), (172, 89), (30, 16), (85, 45)]);
    }

    #[test]
    fn the_test_rows_are_those_of_flamby() {
        let Some(folder) = folder() else { return };
        // Sums of the positions of the test rows, from scikit-learn 1.9.1 on the same files.
        let published = [16_832, 11_704, 326, 3_089];
        for ((_, file), sum) in HOSPITALS.iter().zip(published) {
            let table = read(&folder.join(file)).unwrap();
            let labels: Vec<bool> = table.rows.iter().map(|row| is_positive(row)).collect();
            assert_eq!(
                flamby::split(&labels).test.iter().sum::<usize>(),
                sum,
                "{file}"
            );
        }
    }

    #[test]
    fn a_missing_file_is_named_with_where_to_get_it() {
        let message = hospitals(Path::new("/no/such")).err().unwrap().to_string();
        assert!(
            message.contains("/no/such/processed.cleveland.data"),
            "{message}"
        );
        assert!(message.contains("archive.ics.uci.edu"), "{message}");
    }
}
