//! Row-major matrices whose rows are padded with zeros, so that vector code needs no second loop for what is left over.

use std::fmt;

/// Floats to which a row is padded: one vector of the widest processor, 16 × f32.
pub(crate) const PAD: usize = 16;

/// [rows, columns] of f32, each row padded with zeros to a multiple of [`PAD`].
#[derive(Clone, Default)]
pub(crate) struct Matrix {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// All zero.
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self {
            values: vec![0.0; rows * padded(columns)],
            rows,
            columns,
        }
    }

    /// Takes [rows, columns] without padding.
    pub(crate) fn from_rows(values: &[f32], columns: usize) -> Self {
        let mut matrix = Self::zeros(values.len() / columns, columns);
        matrix.fill_rows(values);
        matrix
    }

    /// Takes [rows, columns] without padding, transposed.
    pub(crate) fn from_columns(values: &[f32], rows: usize) -> Self {
        let mut matrix = Self::zeros(rows, values.len() / rows);
        for (column, entries) in values.chunks_exact(rows).enumerate() {
            for (row, entry) in entries.iter().enumerate() {
                matrix.row_mut(row)[column] = *entry;
            }
        }
        matrix
    }

    /// Becomes all zero with `rows` rows of `columns`, in the memory that it has.
    pub(crate) fn reset(&mut self, rows: usize, columns: usize) {
        self.values.clear();
        self.values.resize(rows * padded(columns), 0.0);
        (self.rows, self.columns) = (rows, columns);
    }

    /// Becomes one with `rows` rows of `columns`, for whoever writes every entry: what was there stays if the columns are the same. The padding
    /// becomes zero: a product with an infinity leaves NaN there, which must not meet the record that takes the row next.
    pub(crate) fn reset_to_be_written(&mut self, rows: usize, columns: usize) {
        if self.columns == columns {
            let stride = self.stride();
            self.values.resize(rows * stride, 0.0);
            self.rows = rows;
            for row in self.values.chunks_exact_mut(stride) {
                row[columns..].fill(0.0);
            }
        } else {
            self.reset(rows, columns);
        }
    }

    /// Writes [rows, columns] without padding into this matrix of that shape.
    pub(crate) fn fill_rows(&mut self, values: &[f32]) {
        let columns = self.columns;
        for (row, given) in self.rows_mut().zip(values.chunks_exact(columns)) {
            row.copy_from_slice(given);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Floats from one row to the next, a multiple of [`PAD`].
    pub(crate) fn stride(&self) -> usize {
        padded(self.columns)
    }

    /// One row without its padding.
    #[cfg(test)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride()..][..self.columns]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let (stride, columns) = (self.stride(), self.columns);
        &mut self.values[row * stride..][..columns]
    }

    /// One row with its padding.
    pub(crate) fn padded_row(&self, row: usize) -> &[f32] {
        let stride = self.stride();
        &self.values[row * stride..][..stride]
    }

    /// The rows without their padding.
    pub(crate) fn iter_rows(&self) -> impl Iterator<Item = &[f32]> {
        let columns = self.columns;
        self.values
            .chunks_exact(self.stride())
            .map(move |row| &row[..columns])
    }

    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let (stride, columns) = (self.stride(), self.columns);
        self.values
            .chunks_exact_mut(stride)
            .map(move |row| &mut row[..columns])
    }

    /// All rows with their padding.
    pub(crate) fn padded_values(&self) -> &[f32] {
        &self.values
    }

    /// All rows with their padding. Who writes leaves zeros in the padding.
    pub(crate) fn padded_values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

/// Shows the shape only: records never reach a log.
impl fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Matrix({} × {})", self.rows, self.columns)
    }
}

/// Floats from one row to the next; at least [`PAD`], so that a matrix without columns has rows.
pub(crate) fn padded(columns: usize) -> usize {
    columns.max(1).next_multiple_of(PAD)
}
