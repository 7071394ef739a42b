//! Categories as learned rows: a record touches one row of each table, on the way forward and in its gradient.

use std::ops::Range;

use consort_model::EmbeddedColumn;

use crate::matrix::Matrix;

/// The tables of the embedded columns.
pub(crate) struct Embedding {
    columns: Vec<Column>,
}

struct Column {
    /// Its inputs: one for each level but the first.
    inputs: Range<usize>,
    /// Its elements of the output.
    outputs: Range<usize>,
    /// [levels, outputs] row-major.
    table: Vec<f32>,
    /// Where the table begins among the parameters of the layer.
    offset: usize,
}

impl Embedding {
    pub(crate) fn new<'v>(columns: &[EmbeddedColumn], mut next: impl FnMut() -> &'v [f32]) -> Self {
        // Inputs that no column took so far are outputs before it.
        let (mut read, mut written, mut offset) = (0, 0, 0);
        let column = |column: &EmbeddedColumn| {
            let first = column.first as usize;
            let inputs = first..first + column.levels as usize - 1;
            written += first - read;
            read = inputs.end;
            let outputs = written..written + column.outputs as usize;
            written = outputs.end;
            let table = next().to_vec();
            let begin = offset;
            offset += table.len();
            Column {
                inputs,
                outputs,
                table,
                offset: begin,
            }
        };
        Self {
            columns: columns.iter().map(column).collect(),
        }
    }

    /// Elements of the tables.
    pub(crate) fn parameters(&self) -> usize {
        self.columns.iter().map(|column| column.table.len()).sum()
    }

    /// Which elements of the output are rows of tables.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = Range<usize>> {
        self.columns.iter().map(|column| column.outputs.clone())
    }

    pub(crate) fn forward(&self, inputs: &Matrix, outputs: &mut Matrix) {
        for (input, output) in inputs.iter_rows().zip(outputs.rows_mut()) {
            let (mut read, mut written) = (0, 0);
            for column in &self.columns {
                output[written..column.outputs.start]
                    .copy_from_slice(&input[read..column.inputs.start]);
                let row = column.row(input);
                output[column.outputs.clone()].copy_from_slice(&column.table[row]);
                (read, written) = (column.inputs.end, column.outputs.end);
            }
            output[written..].copy_from_slice(&input[read..]);
        }
    }

    /// What one record adds to the gradient: the elements of the layer's parameters that it touches, with what flowed back to each.
    pub(crate) fn gradient<'a>(
        &'a self,
        input: &'a [f32],
        delta: &'a [f32],
    ) -> impl Iterator<Item = (usize, f32)> + 'a {
        self.columns.iter().flat_map(move |column| {
            let first = column.offset + column.row(input).start;
            let deltas = delta[column.outputs.clone()].iter().copied();
            deltas
                .enumerate()
                .map(move |(index, delta)| (first + index, delta))
        })
    }
}

impl Column {
    /// The row of a record's level: the first input above 0 tells it, or none.
    fn row(&self, input: &[f32]) -> Range<usize> {
        let own = input[self.inputs.clone()].iter().position(|x| *x > 0.0);
        let level = own.map_or(0, |index| index + 1);
        let width = self.outputs.len();
        level * width..(level + 1) * width
    }
}
