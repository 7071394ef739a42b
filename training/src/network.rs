//! The declared layers, ready to be applied: one forward pass, one hand-written backward pass, many records at once.
//!
//! No automatic differentiation: the backward pass leaves what flows back to each layer's output, one row per record, from which
//! the gradient of one record and that of the whole batch both follow. Every operation works on each row by itself, so no
//! record can touch another's gradient.

use consort_model::{Layer, Loss, ModelSpec, Parameters};

use crate::dense::Dense;
use crate::loss::{check_labels, loss_and_deltas};
use crate::matrix::Matrix;
use crate::threads::cores;
use crate::{Batch, TrainingError};

/// Most records that pass the layers at once: enough for the matrix product to be fast, small enough for the caches.
const MAX_CHUNK_RECORDS: usize = 96;

/// Most elements of all activations of a chunk: 4 Mi, that is 16 MiB and as much for what flows back, so that wide layers do not
/// multiply memory.
const MAX_CHUNK_ELEMENTS: usize = 4 * 1024 * 1024;

/// A model with its parameters, ready to be applied to records.
pub(crate) struct Network {
    stages: Vec<Stage>,
    /// Columns of the values before the first stage and after each.
    widths: Vec<usize>,
    loss: Loss,
    /// Most of a record's loss that its coordinate tells.
    loss_cap: f64,
    chunk_records: usize,
    /// The first stage that has parameters; nothing flows back beyond it.
    first_trained: usize,
}

/// One layer.
pub(crate) enum Stage {
    Dense(Dense),
    Relu,
    Tanh,
}

/// What a chunk leaves behind on its way: the memory is used again for the next one.
#[derive(Default)]
pub(crate) struct Trace {
    /// The features, then the output of each stage, [records, width] each.
    pub(crate) values: Vec<Matrix>,
    /// The derivative of each record's loss by `values`, as far as it is needed.
    pub(crate) deltas: Vec<Matrix>,
    /// Each record's loss.
    pub(crate) losses: Vec<f32>,
}

impl Network {
    /// Puts the parameters into the layers.
    ///
    /// # Errors
    /// [`TrainingError::ParametersOfAnotherModel`] if the vector has another length than the model's.
    pub(crate) fn new(spec: &ModelSpec, parameters: &Parameters) -> Result<Self, TrainingError> {
        let values = parameters.as_slice();
        let layout = spec.layout();
        if values.len() != layout.parameter_count() {
            return Err(TrainingError::ParametersOfAnotherModel {
                expected: layout.parameter_count(),
                found: values.len(),
            });
        }
        let mut tensors = layout
            .tensors()
            .iter()
            .map(|tensor| &values[tensor.range()]);
        let mut next = || tensors.next().expect("two tensors for each dense layer");
        let trained = |layer: &Layer| matches!(layer, Layer::Dense { .. });
        let first_trained = spec.layers().iter().position(trained).unwrap_or(0);
        let stage = |(index, layer): (usize, &Layer)| match layer {
            Layer::Dense { .. } => {
                let (weight, bias) = (next(), next());
                Stage::Dense(Dense::new(weight, bias, index > first_trained))
            }
            Layer::Relu => Stage::Relu,
            Layer::Tanh => Stage::Tanh,
        };
        let stages = spec.layers().iter().enumerate().map(stage).collect();
        let after = spec.shapes().iter().map(|shape| shape.outputs as usize);
        let widths: Vec<_> = [spec.inputs() as usize].into_iter().chain(after).collect();
        let elements = widths.iter().sum::<usize>();
        Ok(Self {
            stages,
            widths,
            loss: spec.loss(),
            loss_cap: spec.loss_cap(),
            chunk_records: (MAX_CHUNK_ELEMENTS / elements).clamp(1, MAX_CHUNK_RECORDS),
            first_trained,
        })
    }

    /// The records in the chunks in which they pass the layers, all of about one size. Only here records come in, so here they are checked.
    ///
    /// # Errors
    /// [`TrainingError`] if records have another width than the model's input, or a label is none of the model's.
    pub(crate) fn chunks<'a>(
        &self,
        batch: &Batch<'a>,
    ) -> Result<impl Iterator<Item = Batch<'a>> + use<'a>, TrainingError> {
        if batch.inputs() != self.widths[0] {
            return Err(TrainingError::InputsOfAnotherModel {
                expected: self.widths[0],
                found: batch.inputs(),
            });
        }
        check_labels(self.loss, self.outputs(), batch.labels())?;
        let chunks = batch.records().div_ceil(self.chunk_records);
        let even = chunks.next_multiple_of(cores()).max(1);
        Ok(batch.chunks(batch.records().div_ceil(even).max(1)))
    }

    /// The stages that have parameters, in the order of the layout.
    pub(crate) fn trained(&self) -> impl Iterator<Item = usize> {
        let stages = self.stages.iter().enumerate();
        stages
            .filter(|(_, stage)| stage.is_trained())
            .map(|(index, _)| index)
    }

    /// Inputs and outputs of a stage.
    pub(crate) fn shape(&self, stage: usize) -> (usize, usize) {
        (self.widths[stage], self.widths[stage + 1])
    }

    /// Columns of the last stage's output.
    pub(crate) fn outputs(&self) -> usize {
        *self.widths.last().expect("the inputs have a width")
    }

    /// Most of a record's loss that is counted.
    pub(crate) fn loss_cap(&self) -> f64 {
        self.loss_cap
    }

    /// What left the last stage, [records, outputs].
    pub(crate) fn outputs_of<'t>(&self, trace: &'t Trace) -> &'t Matrix {
        &trace.values[self.stages.len()]
    }

    /// Applies the layers to a chunk of at least one record.
    pub(crate) fn forward(&self, chunk: &Batch<'_>, trace: &mut Trace) {
        trace.values.resize_with(self.widths.len(), Matrix::default);
        for (values, width) in trace.values.iter_mut().zip(&self.widths) {
            values.reset(chunk.records(), *width);
        }
        trace.values[0].fill_rows(chunk.features());
        for (index, stage) in self.stages.iter().enumerate() {
            let (before, after) = trace.values.split_at_mut(index + 1);
            stage.forward(&before[index], &mut after[0]);
        }
    }

    /// Each record's loss and its derivative by the model's output, after [`Self::forward`].
    pub(crate) fn judge(&self, chunk: &Batch<'_>, trace: &mut Trace) {
        trace.deltas.resize_with(self.widths.len(), Matrix::default);
        let last = self.stages.len();
        trace.deltas[last].reset(chunk.records(), self.outputs());
        let rows = trace.deltas[last].rows_mut();
        let outputs = trace.values[last].iter_rows().zip(chunk.labels());
        let judged = outputs.zip(rows);
        trace.losses.clear();
        trace.losses.extend(
            judged.map(|((output, label), deltas)| {
                loss_and_deltas(self.loss, output, *label, deltas)
            }),
        );
    }

    /// Takes the derivatives back through the layers, after [`Self::judge`]: `deltas[i + 1]` is what flows back to the output of stage i.
    pub(crate) fn backward(&self, trace: &mut Trace) {
        let records = trace.losses.len();
        for index in (self.first_trained + 1..self.stages.len()).rev() {
            trace.deltas[index].reset(records, self.widths[index]);
            let (before, after) = trace.deltas.split_at_mut(index + 1);
            let values = (&trace.values[index], &trace.values[index + 1]);
            self.stages[index].backward(values, &after[0], &mut before[index]);
        }
    }
}

impl Trace {
    /// Sets one record's rows to zero everywhere.
    pub(crate) fn forget(&mut self, record: usize) {
        let all = self.values.iter_mut().chain(&mut self.deltas);
        for matrix in all.filter(|matrix| record < matrix.rows()) {
            matrix.row_mut(record).fill(0.0);
        }
    }
}

impl Stage {
    fn is_trained(&self) -> bool {
        match self {
            Self::Dense(_) => true,
            Self::Relu | Self::Tanh => false,
        }
    }

    fn forward(&self, inputs: &Matrix, outputs: &mut Matrix) {
        match self {
            Self::Dense(dense) => dense.forward(inputs, outputs),
            // f32::max would turn NaN into 0 and hide a damaged record.
            Self::Relu => map(inputs, outputs, |x| if x < 0.0 { 0.0 } else { x }),
            Self::Tanh => map(inputs, outputs, f32::tanh),
        }
    }

    /// Adds what flows back to the stage's inputs; `values` are its inputs and outputs.
    fn backward(&self, values: (&Matrix, &Matrix), deltas: &Matrix, before: &mut Matrix) {
        match self {
            Self::Dense(dense) => dense.backward(deltas, before),
            // The derivative of max(x, 0) at 0 is taken as 0.
            Self::Relu => chain(
                values.1,
                deltas,
                before,
                |y| if y > 0.0 { 1.0 } else { 0.0 },
            ),
            // d tanh(x)/dx = 1 − tanh²(x).
            Self::Tanh => chain(values.1, deltas, before, |y| 1.0 - y * y),
        }
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
