//! The declared layers, ready to be applied: one forward pass, one hand-written backward pass, many records at once.
//!
//! No automatic differentiation: the backward pass leaves what flows back to each layer's output, row by row for each record, from which
//! the gradient of one record and that of the whole batch both follow. Every operation works on each record by itself, so no
//! record can touch another's gradient.

use consort_model::{Loss, ModelSpec, Parameters};

use crate::loss::{check_labels, loss_and_deltas};
use crate::matrix::Matrix;
use crate::place::Place;
use crate::stage::Stage;
use crate::threads::cores;
use crate::{Batch, TrainingError};

/// Most records that pass the layers at once: enough for the matrix product to be fast, small enough for the caches.
const MAX_CHUNK_RECORDS: usize = 96;

/// Most floats of a chunk of records on their way forward and back: 8 Mi, that is 32 MiB, so that wide layers do not multiply memory.
const MAX_CHUNK_ELEMENTS: usize = 8 * 1024 * 1024;

/// Most floats of a chunk where convolutions multiply long matrices for each record, so that few records suffice: 2 MiB, a second-level cache.
const MAX_UNFOLDED_CHUNK_ELEMENTS: usize = 512 * 1024;

/// A model with its parameters, ready to be applied to records.
pub(crate) struct Network {
    stages: Vec<Stage>,
    /// Where the values lie before the first stage and after each.
    places: Vec<Place>,
    loss: Loss,
    /// Most of a record's loss that its coordinate tells.
    loss_cap: f64,
    chunk_records: usize,
    /// The first stage that has parameters; nothing flows back beyond it.
    first_trained: usize,
}

/// What a chunk leaves behind on its way: the memory is used again for the next one.
#[derive(Default)]
pub(crate) struct Trace {
    /// The features, then the output of each stage.
    pub(crate) values: Vec<Matrix>,
    /// The derivative of each record's loss by `values`, as far as it is needed.
    pub(crate) deltas: Vec<Matrix>,
    /// Where both lie.
    pub(crate) places: Vec<Place>,
    /// What convolutions unfolded; empty for other stages.
    pub(crate) patches: Vec<Matrix>,
    /// The gradient of each record, a row each, by stages that write it down; empty for others.
    pub(crate) written: Vec<Matrix>,
    pub(crate) scratch: Matrix,
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
        let mut next = || tensors.next().expect("the layout has all that is trained");
        let inputs = Place {
            pixels: 1,
            channels: spec.inputs() as usize,
            spread: false,
        };
        let (mut stages, mut places) = (Vec::<Stage>::new(), vec![inputs]);
        for operation in spec.operations() {
            let flows_back = stages.iter().any(Stage::is_trained);
            let stage = Stage::new(operation, places[stages.len()], flows_back, &mut next);
            places.push(stage.output);
            stages.push(stage);
        }
        let room = inputs.record_stride() + stages.iter().map(Stage::room).sum::<usize>();
        let convolves = stages.iter().any(|stage| stage.output.spread);
        let most = if convolves {
            MAX_UNFOLDED_CHUNK_ELEMENTS
        } else {
            MAX_CHUNK_ELEMENTS
        };
        Ok(Self {
            first_trained: stages.iter().position(Stage::is_trained).unwrap_or(0),
            stages,
            places,
            loss: spec.loss(),
            loss_cap: spec.loss_cap(),
            chunk_records: (most / room).clamp(1, MAX_CHUNK_RECORDS),
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
        if batch.inputs() != self.places[0].channels {
            return Err(TrainingError::InputsOfAnotherModel {
                expected: self.places[0].channels,
                found: batch.inputs(),
            });
        }
        check_labels(self.loss, self.outputs(), batch.labels())?;
        let chunks = batch.records().div_ceil(self.chunk_records);
        let even = chunks.next_multiple_of(cores()).max(1);
        Ok(batch.chunks(batch.records().div_ceil(even).max(1)))
    }

    /// The stages that have parameters, with their indices, in the order of the layout.
    pub(crate) fn trained(&self) -> impl Iterator<Item = (usize, &Stage)> {
        let stages = self.stages.iter().enumerate();
        stages.filter(|(_, stage)| stage.is_trained())
    }

    /// Columns of the last stage's output.
    pub(crate) fn outputs(&self) -> usize {
        let last = self.places.last().expect("the inputs have a place");
        last.elements()
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
        let records = chunk.records();
        trace.places.clone_from(&self.places);
        trace.values.resize_with(self.places.len(), Matrix::default);
        let stages = self.stages.len();
        trace.patches.resize_with(stages, Matrix::default);
        trace.written.resize_with(stages, Matrix::default);
        for (values, place) in trace.values.iter_mut().zip(&self.places) {
            place.reset_to_be_written(values, records);
        }
        trace.values[0].fill_rows(chunk.features());
        for (index, stage) in self.stages.iter().enumerate() {
            stage.forward(index, records, trace);
        }
    }

    /// Each record's loss and its derivative by the model's output, after [`Self::forward`].
    pub(crate) fn judge(&self, chunk: &Batch<'_>, trace: &mut Trace) {
        trace.deltas.resize_with(self.places.len(), Matrix::default);
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
        let (records, first) = (trace.losses.len(), self.first_trained);
        let last = self.stages.len();
        for index in first + 1..last {
            self.places[index].reset(&mut trace.deltas[index], records);
        }
        for (index, stage) in self.stages.iter().enumerate().skip(first + 1).rev() {
            stage.backward(index, records, first, trace);
        }
    }

    /// Writes down the gradient of each record where it is no product of two rows, after [`Self::backward`].
    pub(crate) fn write_gradients(&self, trace: &mut Trace) {
        let records = trace.losses.len();
        for (index, stage) in self.stages.iter().enumerate() {
            stage.write_gradients(index, records, trace);
        }
    }
}
