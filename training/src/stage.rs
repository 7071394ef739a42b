//! One operation of the declared model with its parameters: the way forward, the way back, and what it adds to a gradient.

use consort_model::{Operation, OperationKind};

use crate::convolution::Convolution;
use crate::dense::Dense;
use crate::embedding::Embedding;
use crate::kernel::add_transposed_product;
use crate::matrix::Matrix;
use crate::network::Trace;
use crate::norm::{LayerNorm, Scratch};
use crate::place::{Place, over_parts};
use crate::pool::MaxPool;

/// One operation.
pub(crate) struct Stage {
    pub(crate) kind: StageKind,
    pub(crate) input: Place,
    pub(crate) output: Place,
}

/// What it does.
pub(crate) enum StageKind {
    Dense(Dense),
    Convolution(Convolution),
    LayerNorm(LayerNorm),
    Embedding(Embedding),
    Relu,
    Tanh,
    MaxPool(MaxPool),
    /// The same elements; pixels that had rows of the matrix to themselves come to lie side by side.
    Reshape,
    /// Adds the values before an earlier stage.
    Add {
        from: usize,
    },
}

impl Stage {
    /// Puts an operation's parameters, tensor by tensor, where they are used. `input` is where the values before it lie; `flows_back` says
    /// whether an earlier stage is trained.
    pub(crate) fn new<'v>(
        operation: &Operation,
        input: Place,
        flows_back: bool,
        mut next: impl FnMut() -> &'v [f32],
    ) -> Self {
        let spread = match &operation.kind {
            OperationKind::Conv2d { .. } | OperationKind::MaxPool => true,
            OperationKind::Relu
            | OperationKind::Tanh
            | OperationKind::LayerNorm
            | OperationKind::Add { .. } => input.spread,
            OperationKind::Dense | OperationKind::Reshape | OperationKind::Embedding(_) => false,
        };
        let output = Place::new(operation.output, spread);
        let kind = match &operation.kind {
            OperationKind::Dense => {
                let (weight, bias) = (next(), next());
                StageKind::Dense(Dense::new(weight, bias, flows_back))
            }
            OperationKind::Conv2d { kernel, padding } => StageKind::Convolution(Convolution::new(
                (next(), next()),
                (operation.input, operation.output),
                (*kernel, *padding),
                input.spread,
                flows_back,
            )),
            OperationKind::LayerNorm => {
                let (gain, bias) = (next(), next());
                StageKind::LayerNorm(LayerNorm::new(input, gain, bias))
            }
            OperationKind::Embedding(columns) => {
                StageKind::Embedding(Embedding::new(columns, next))
            }
            OperationKind::Relu => StageKind::Relu,
            OperationKind::Tanh => StageKind::Tanh,
            OperationKind::MaxPool => {
                StageKind::MaxPool(MaxPool::new(operation.input, input, output))
            }
            OperationKind::Reshape => StageKind::Reshape,
            OperationKind::Add { from } => StageKind::Add { from: *from },
        };
        Self {
            kind,
            input,
            output,
        }
    }

    pub(crate) fn is_trained(&self) -> bool {
        self.parameters() > 0
    }

    /// How many parameters it has.
    pub(crate) fn parameters(&self) -> usize {
        match &self.kind {
            StageKind::Dense(_) => (self.input.elements() + 1) * self.output.elements(),
            StageKind::Convolution(convolution) => convolution.parameters(),
            StageKind::LayerNorm(norm) => norm.parameters(),
            StageKind::Embedding(embedding) => embedding.parameters(),
            StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => 0,
        }
    }

    /// Elements of the row in which the gradient of one record is written down; 0 where it is not.
    pub(crate) fn written(&self) -> usize {
        match &self.kind {
            StageKind::Convolution(_) | StageKind::LayerNorm(_) => self.parameters(),
            StageKind::Dense(_)
            | StageKind::Embedding(_)
            | StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => 0,
        }
    }

    /// Floats that one record takes in a trace.
    pub(crate) fn room(&self) -> usize {
        let unfolded = match &self.kind {
            StageKind::Convolution(convolution) => {
                self.output.pixels * crate::matrix::padded(convolution.patch())
            }
            StageKind::Dense(_)
            | StageKind::LayerNorm(_)
            | StageKind::Embedding(_)
            | StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => 0,
        };
        2 * self.output.record_stride() + unfolded + self.written()
    }

    /// Writes the values after this stage, of index `index`, from those before it.
    pub(crate) fn forward(&self, index: usize, records: usize, trace: &mut Trace) {
        let (before, after) = trace.values.split_at_mut(index + 1);
        let (inputs, outputs) = (&before[index], &mut after[0]);
        match &self.kind {
            StageKind::Dense(dense) => dense.forward(inputs, outputs),
            StageKind::Convolution(convolution) => {
                convolution.forward(records, inputs, &mut trace.patches[index], outputs);
            }
            StageKind::LayerNorm(norm) => norm.forward(records, inputs, outputs),
            StageKind::Embedding(embedding) => embedding.forward(inputs, outputs),
            // f32::max would turn NaN into 0 and hide a damaged record.
            StageKind::Relu => map(inputs, outputs, |x| if x < 0.0 { 0.0 } else { x }),
            StageKind::Tanh => map(inputs, outputs, f32::tanh),
            StageKind::MaxPool(pool) => pool.forward(records, inputs, outputs),
            StageKind::Reshape => {
                let (source, target) = ((self.input, inputs), (self.output, outputs));
                over_records(records, source, target, <[f32]>::clone_from_slice);
            }
            StageKind::Add { from } => {
                outputs
                    .padded_values_mut()
                    .copy_from_slice(inputs.padded_values());
                let source = (trace.places[*from], &before[*from]);
                add_reshaped(records, source, (self.output, outputs));
            }
        }
    }

    /// Adds what flows back to the values before this stage, of index `index`; nothing flows back to those up to `first`.
    pub(crate) fn backward(&self, index: usize, records: usize, first: usize, trace: &mut Trace) {
        let (before, after) = trace.deltas.split_at_mut(index + 1);
        let deltas = &after[0];
        let (inputs, outputs) = (&trace.values[index], &trace.values[index + 1]);
        if let StageKind::Add { from } = &self.kind
            && *from > first
        {
            let place = trace.places[*from];
            add_reshaped(records, (self.output, deltas), (place, &mut before[*from]));
        }
        if index <= first {
            return;
        }
        let before = &mut before[index];
        match &self.kind {
            StageKind::Dense(dense) => dense.backward(deltas, before),
            StageKind::Convolution(convolution) => {
                convolution.backward(records, deltas, before, &mut trace.scratch);
            }
            StageKind::LayerNorm(norm) => norm.backward(records, inputs, deltas, before),
            // Only the first layer can be one.
            StageKind::Embedding(_) => {}
            // The derivative of max(x, 0) at 0 is taken as 0.
            StageKind::Relu => chain(outputs, deltas, before, |y| if y > 0.0 { 1.0 } else { 0.0 }),
            // d tanh(x)/dx = 1 − tanh²(x).
            StageKind::Tanh => chain(outputs, deltas, before, |y| 1.0 - y * y),
            StageKind::MaxPool(pool) => pool.backward(records, (inputs, outputs), deltas, before),
            StageKind::Reshape | StageKind::Add { .. } => {
                add_reshaped(records, (self.output, deltas), (self.input, before));
            }
        }
    }

    /// Writes down the gradients of the records, a row each, where the stage is one of which they are written down.
    pub(crate) fn write_gradients(&self, index: usize, records: usize, trace: &mut Trace) {
        if self.written() == 0 {
            return;
        }
        let deltas = &trace.deltas[index + 1];
        let rows = &mut trace.written[index];
        rows.reset_to_be_written(records, self.written());
        let mut scratch = Scratch::default();
        for (record, row) in rows.rows_mut().enumerate() {
            if let StageKind::Convolution(convolution) = &self.kind {
                let patches = &trace.patches[index];
                convolution.write_gradient(record, patches, deltas, &mut trace.scratch, row);
            } else if let StageKind::LayerNorm(norm) = &self.kind {
                norm.write_gradient(record, &trace.values[index], deltas, &mut scratch, row);
            }
        }
    }

    /// Zeros in the shapes of what is trained here.
    pub(crate) fn zeros(&self) -> Vec<Matrix> {
        let outputs = self.output.channels;
        match &self.kind {
            StageKind::Dense(_) => vec![
                Matrix::zeros(self.input.elements(), outputs),
                Matrix::zeros(1, outputs),
            ],
            StageKind::Convolution(convolution) => vec![
                Matrix::zeros(convolution.patch(), outputs),
                Matrix::zeros(1, outputs),
            ],
            StageKind::LayerNorm(norm) => vec![Matrix::zeros(1, norm.parameters())],
            StageKind::Embedding(embedding) => vec![Matrix::zeros(1, embedding.parameters())],
            StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => Vec::new(),
        }
    }

    /// Adds the gradients of all records to `sums`, made by [`Self::zeros`].
    pub(crate) fn add_gradients(&self, index: usize, trace: &mut Trace, sums: &mut [Matrix]) {
        let (values, deltas) = (&trace.values[index], &trace.deltas[index + 1]);
        match &self.kind {
            StageKind::Dense(_) => {
                add_transposed_product(&mut sums[0], values, deltas, 0..deltas.rows());
                add_rows(deltas, &mut sums[1]);
            }
            StageKind::Convolution(convolution) => {
                let patches = &trace.patches[index];
                convolution.add_weight_gradient(patches, deltas, 0..deltas.rows(), &mut sums[0]);
                add_rows(deltas, &mut sums[1]);
            }
            StageKind::LayerNorm(_) => {
                let records = trace.losses.len();
                self.write_gradients(index, records, trace);
                add_rows(&trace.written[index], &mut sums[0]);
            }
            StageKind::Embedding(embedding) => {
                let sum = sums[0].row_mut(0);
                for (input, delta) in values.iter_rows().zip(deltas.iter_rows()) {
                    let touched = embedding.gradient(input, delta);
                    touched.for_each(|(element, delta)| sum[element] += delta);
                }
            }
            StageKind::Relu
            | StageKind::Tanh
            | StageKind::MaxPool(_)
            | StageKind::Reshape
            | StageKind::Add { .. } => {}
        }
    }
}

/// Adds values of the same elements that lie at another place.
fn add_reshaped(records: usize, source: (Place, &Matrix), target: (Place, &mut Matrix)) {
    over_records(records, source, target, |target, source| {
        let pairs = target.iter_mut().zip(source);
        pairs.for_each(|(target, source)| *target += source);
    });
}

fn over_records(
    records: usize,
    (from, source): (Place, &Matrix),
    (to, target): (Place, &mut Matrix),
    work: impl Fn(&mut [f32], &[f32]),
) {
    for record in 0..records {
        let source = from.record(source, record);
        let target = to.record_mut(target, record);
        over_parts((from, source), (to, target), |source, target| {
            work(target, source);
        });
    }
}

/// Adds all rows to one.
fn add_rows(rows: &Matrix, sum: &mut Matrix) {
    for row in rows.iter_rows() {
        let pairs = sum.row_mut(0).iter_mut().zip(row);
        pairs.for_each(|(sum, value)| *sum += value);
    }
}

/// Padding included: both functions take 0 to 0.
fn map(inputs: &Matrix, outputs: &mut Matrix, function: impl Fn(f32) -> f32) {
    let pairs = outputs
        .padded_values_mut()
        .iter_mut()
        .zip(inputs.padded_values());
    pairs.for_each(|(output, input)| *output = function(*input));
}

/// `before += deltas · slope(output)`; in the padding deltas are 0.
fn chain(outputs: &Matrix, deltas: &Matrix, before: &mut Matrix, slope: impl Fn(f32) -> f32) {
    let pairs = outputs.padded_values().iter().zip(deltas.padded_values());
    let all = before.padded_values_mut().iter_mut().zip(pairs);
    all.for_each(|(before, (output, delta))| *before += delta * slope(*output));
}
