//! The data of one site of the demo: records to train on, records held out, and how they become files.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// File of the records a site trains on, inside the site's folder.
pub(crate) const TRAIN_FILE: &str = "train.csv";

/// File of the records a site only evaluates on.
pub(crate) const HELD_OUT_FILE: &str = "held_out.csv";

/// A table of text fields under named columns, each row as wide as the header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// Fields of the rows, none with a comma, a quote or a line break.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// The rows at these positions, in the order of the list.
    pub(crate) fn select(&self, positions: &[usize]) -> Self {
        Self {
            header: self.header.clone(),
            rows: positions
                .iter()
                .map(|&row| self.rows[row].clone())
                .collect(),
        }
    }

    /// Writes the table as CSV with its header.
    ///
    /// # Errors
    /// The error of the file system.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            writeln!(file, "{}", row.join(","))?;
        }
        file.flush()
    }
}

/// One clinic or hospital of the demo and its records.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// Short name, fit for a folder and an organisation.
    pub(crate) name: String,
    /// Records it trains on.
    pub(crate) train: Table,
    /// Records it only evaluates on.
    pub(crate) held_out: Table,
}

impl Site {
    /// Writes both files into a folder, which is created.
    ///
    /// # Errors
    /// The error of the file system.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        self.train.write(&folder.join(TRAIN_FILE))?;
        self.held_out.write(&folder.join(HELD_OUT_FILE))
    }
}
