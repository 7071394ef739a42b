//! What each trained stage adds to a clipped sum: how long a record's part of the gradient is, and its integers.
//!
//! A dense layer's part is a product of two rows and never written down; those of a convolution and a layer norm are written down, a row for each
//! record; of an embedding only the rows of the tables that the record touches are there.

use crate::matrix::Matrix;
use crate::network::{Network, Trace};
use crate::rounded::{RoundedProducts, RoundedRows};
use crate::rows::{RowMeasure, measure_part, measure_rows, nearest, scale_rows_to_odd};
use crate::stage::{Stage, StageKind};

/// One trained stage of a network, and what was added up for it.
pub(crate) struct Contribution<'n> {
    index: usize,
    stage: &'n Stage,
    sums: Sums,
    /// What entered a dense layer, record by record; what of the gradient is added as it is has 1 there.
    inputs: Vec<RowMeasure>,
    /// What is multiplied with it.
    factors: Vec<RowMeasure>,
}

enum Sums {
    /// The weight, and the bias behind it.
    Dense(RoundedProducts, RoundedRows),
    Written(RoundedRows),
    Touched,
}

impl<'n> Contribution<'n> {
    /// One for each trained stage, in the order of the layout.
    pub(crate) fn of(network: &'n Network) -> Vec<Self> {
        let one = |(index, stage): (usize, &'n Stage)| {
            let sums = match &stage.kind {
                StageKind::Dense(_) => {
                    let (inputs, outputs) = (stage.input.elements(), stage.output.elements());
                    Sums::Dense(
                        RoundedProducts::new(inputs, outputs),
                        RoundedRows::new(outputs),
                    )
                }
                StageKind::Convolution(_) | StageKind::LayerNorm(_) => {
                    Sums::Written(RoundedRows::new(stage.written()))
                }
                StageKind::Embedding(_)
                | StageKind::Relu
                | StageKind::Tanh
                | StageKind::MaxPool(_)
                | StageKind::Reshape
                | StageKind::Add { .. } => Sums::Touched,
            };
            Self {
                index,
                stage,
                sums,
                inputs: Vec::new(),
                factors: Vec::new(),
            }
        };
        network.trained().map(one).collect()
    }

    /// Elements of the sum that are this stage's.
    pub(crate) fn elements(&self) -> usize {
        self.stage.parameters()
    }

    /// Measures what a chunk has come to.
    pub(crate) fn measure(&mut self, trace: &Trace) {
        self.inputs = match &self.sums {
            Sums::Dense(..) => measure_rows(&trace.values[self.index]),
            Sums::Written(_) | Sums::Touched => Vec::new(),
        };
        self.measure_factors(trace);
    }

    /// Multiplies the gradient of each record by its factor, and measures it again.
    pub(crate) fn scale(&mut self, trace: &mut Trace, factors: &[f64]) {
        scale_rows_to_odd(self.factors_of(trace), factors);
        self.measure_factors(trace);
    }

    /// The square of the length of a record's part of the gradient, of the floats as they are.
    pub(crate) fn square(&self, record: usize) -> f64 {
        let factor = self.factors[record].square;
        match self.inputs.get(record) {
            // ‖a ⊗ δ‖² + ‖δ‖²: the bias is a weight whose input is 1.
            Some(input) => (input.square + 1.0) * factor,
            None => factor,
        }
    }

    /// Leaves a record out.
    pub(crate) fn forget(&mut self, trace: &mut Trace, record: usize) {
        self.factors_of(trace).row_mut(record).fill(0.0);
        self.factors[record] = RowMeasure::default();
        if let Some(input) = self.inputs.get_mut(record) {
            trace.values[self.index].row_mut(record).fill(0.0);
            *input = RowMeasure::default();
        }
    }

    /// Adds the rounded gradients of a chunk; `total` is this stage's part of the sum, complete after [`Self::finish`].
    pub(crate) fn add(&mut self, trace: &Trace, total: &mut [i64]) {
        match &mut self.sums {
            Sums::Dense(products, rows) => {
                let (values, deltas) = (&trace.values[self.index], &trace.deltas[self.index + 1]);
                let (weight, bias) = total.split_at_mut(total.len() - self.stage.output.elements());
                let measures = self
                    .inputs
                    .iter()
                    .copied()
                    .zip(self.factors.iter().copied());
                products.add(values, deltas, measures, weight);
                for (row, measure) in deltas.iter_rows().zip(&self.factors) {
                    rows.add(row, measure.most, bias);
                }
            }
            Sums::Written(rows) => {
                let written = trace.written[self.index].iter_rows();
                for (row, measure) in written.zip(&self.factors) {
                    rows.add(row, measure.most, total);
                }
            }
            Sums::Touched => {
                let (values, deltas) = (&trace.values[self.index], &trace.deltas[self.index + 1]);
                let StageKind::Embedding(embedding) = &self.stage.kind else {
                    unreachable!("no other stage touches rows of tables");
                };
                for (input, delta) in values.iter_rows().zip(deltas.iter_rows()) {
                    let touched = embedding.gradient(input, delta);
                    touched.for_each(|(element, value)| total[element] += nearest(value.into()));
                }
            }
        }
    }

    /// Completes this stage's part of the sum.
    pub(crate) fn finish(&mut self, total: &mut [i64]) {
        match &mut self.sums {
            Sums::Dense(products, rows) => {
                let (weight, bias) = total.split_at_mut(total.len() - self.stage.output.elements());
                products.finish(weight);
                rows.finish(bias);
            }
            Sums::Written(rows) => rows.finish(total),
            Sums::Touched => {}
        }
    }

    /// Adds this stage's part of the sum to another one's, `total`; `own` is what spilled so far. What did not is never touched.
    pub(crate) fn finish_into(&mut self, total: &mut [i64], own: &[i64]) {
        let outputs = self.stage.output.elements();
        match &mut self.sums {
            Sums::Dense(products, rows) => {
                let (weight, bias) = total.split_at_mut(total.len() - outputs);
                let (own_weight, own_bias) = own.split_at(own.len() - outputs);
                if products.has_spilled() {
                    add(weight, own_weight);
                }
                if rows.has_spilled() {
                    add(bias, own_bias);
                }
            }
            Sums::Written(rows) if !rows.has_spilled() => {}
            Sums::Written(_) | Sums::Touched => add(total, own),
        }
        self.finish(total);
    }

    fn measure_factors(&mut self, trace: &Trace) {
        self.factors = match &self.stage.kind {
            StageKind::Embedding(embedding) => {
                let deltas = trace.deltas[self.index + 1].iter_rows();
                // What flowed to inputs that are passed on is no part of the gradient.
                let of = |row: &[f32]| {
                    let parts = embedding.outputs().map(|part| measure_part(&row[part]));
                    parts.fold(RowMeasure::default(), |sum, part| RowMeasure {
                        square: sum.square + part.square,
                        most: sum.most.max(part.most),
                    })
                };
                deltas.map(of).collect()
            }
            StageKind::Convolution(_) | StageKind::LayerNorm(_) => {
                measure_rows(&trace.written[self.index])
            }
            StageKind::Dense(_)
            | StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => measure_rows(&trace.deltas[self.index + 1]),
        };
    }

    fn factors_of<'t>(&self, trace: &'t mut Trace) -> &'t mut Matrix {
        match &self.sums {
            Sums::Written(_) => &mut trace.written[self.index],
            Sums::Dense(..) | Sums::Touched => &mut trace.deltas[self.index + 1],
        }
    }
}

fn add(sums: &mut [i64], more: &[i64]) {
    sums.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
}
