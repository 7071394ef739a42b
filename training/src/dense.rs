//! A dense layer: `y = x·W + b`, and back.

use crate::kernel::{add_product, add_product_of_rows, add_row_products};
use crate::matrix::{Matrix, PAD};

/// Weight and bias of one layer, laid out for both directions.
pub(crate) struct Dense {
    /// W, [inputs, outputs]; none for few outputs, which are products of rows of the transposed one.
    weight: Option<Matrix>,
    /// W transposed, [outputs, inputs]; none where nothing flows back and there are many outputs.
    transposed: Option<Matrix>,
    bias: Vec<f32>,
}

impl Dense {
    /// Takes W, [inputs, outputs] row-major, and b. `flows_back` says whether a layer before this one is trained.
    pub(crate) fn new(weight: &[f32], bias: &[f32], flows_back: bool) -> Self {
        let few = bias.len() < PAD;
        Self {
            weight: (!few).then(|| Matrix::from_rows(weight, bias.len())),
            transposed: (few || flows_back).then(|| Matrix::from_columns(weight, bias.len())),
            bias: bias.to_vec(),
        }
    }

    /// Writes the layer's output for each row of `inputs`.
    pub(crate) fn forward(&self, inputs: &Matrix, outputs: &mut Matrix) {
        for row in outputs.rows_mut() {
            row.copy_from_slice(&self.bias);
        }
        match (&self.weight, &self.transposed) {
            (Some(weight), _) => add_product(outputs, inputs, weight),
            (None, Some(transposed)) => add_row_products(outputs, inputs, transposed),
            (None, None) => unreachable!("a layer of few outputs has its weight transposed"),
        }
    }

    /// Adds what flows back to the layer's inputs.
    ///
    /// # Panics
    /// If the layer was made as one from which nothing flows back.
    pub(crate) fn backward(&self, deltas: &Matrix, before: &mut Matrix) {
        let transposed = self.transposed.as_ref();
        add_product(before, deltas, transposed.expect("made to flow back"));
    }

    /// The same for as many rows of `deltas` as `before` has, from `first` on.
    ///
    /// # Panics
    /// If the layer was made as one from which nothing flows back.
    pub(crate) fn backward_rows(&self, deltas: &Matrix, first: usize, before: &mut Matrix) {
        let transposed = self.transposed.as_ref();
        add_product_of_rows(
            before,
            deltas,
            first,
            transposed.expect("made to flow back"),
        );
    }
}
