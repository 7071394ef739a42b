//! The declared layers on burn's CPU tensors: one forward pass, one hand-written backward pass, many records at once.
//!
//! No automatic differentiation here: the backward pass stops at what every dense layer received (`inputs`) and what
//! flows back to its output (`deltas`), one row per record, from which the gradient of one record and the gradient of
//! the whole batch both follow. Every operation works on each row by itself, so no record can touch another's gradient.

use burn::tensor::{Device, Tensor, TensorData, activation};
use consort_model::{Layer, ModelSpec, Parameters};

use crate::{Batch, TrainingError};

/// Most records that pass the layers at once: enough for the matrix product to be fast, small enough for the caches.
const MAX_CHUNK_RECORDS: usize = 128;

/// Most elements of one activation [records, width]: 4 Mi, that is 16 MiB, so that wide layers do not multiply memory.
const MAX_CHUNK_ELEMENTS: usize = 4 * 1024 * 1024;

/// A model with its parameters, ready to be applied to records.
pub(crate) struct Network {
    stages: Vec<Stage>,
    device: Device,
    inputs: usize,
    chunk_records: usize,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a model has at most 32 stages, held once"
)]
enum Stage {
    Dense { weight: Tensor<2>, bias: Tensor<2> },
    Relu,
    Tanh,
}

/// What a chunk left behind on its way forward: the input of each stage, and the logits.
pub(crate) struct Trace {
    inputs: Vec<Tensor<2>>,
    output: Tensor<2>,
}

/// Both factors of a dense layer's gradient: for record r the weight's gradient is `inputs[r] ⊗ deltas[r]`,
/// the bias's is `deltas[r]`.
pub(crate) struct DenseGradient {
    /// What entered the layer, [records, inputs].
    pub(crate) inputs: Tensor<2>,
    /// Derivative of the record's loss by the layer's output, [records, outputs].
    pub(crate) deltas: Tensor<2>,
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
        let device = Device::flex();
        let mut tensors = layout
            .tensors()
            .iter()
            .map(|tensor| &values[tensor.range()]);
        let mut next = |shape| {
            let values = tensors
                .next()
                .expect("the layout has two tensors for each dense layer");
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let stages = spec
            .layers()
            .iter()
            .zip(spec.shapes())
            .map(|(layer, shape)| {
                let (inputs, outputs) = (shape.inputs as usize, shape.outputs as usize);
                match layer {
                    Layer::Dense { .. } => Stage::Dense {
                        weight: next([inputs, outputs]),
                        bias: next([1, outputs]),
                    },
                    Layer::Relu => Stage::Relu,
                    Layer::Tanh => Stage::Tanh,
                }
            })
            .collect();
        Ok(Self {
            stages,
            device,
            inputs: spec.inputs() as usize,
            chunk_records: chunk_records(spec),
        })
    }

    /// The records in the chunks in which they pass the layers.
    ///
    /// # Errors
    /// [`TrainingError::InputsOfAnotherModel`] if records have another width than the model's input.
    pub(crate) fn chunks<'a>(
        &self,
        batch: &Batch<'a>,
    ) -> Result<impl Iterator<Item = Batch<'a>> + use<'a>, TrainingError> {
        if batch.inputs() != self.inputs {
            return Err(TrainingError::InputsOfAnotherModel {
                expected: self.inputs,
                found: batch.inputs(),
            });
        }
        Ok(batch.chunks(self.chunk_records))
    }

    /// Applies the layers to a chunk of at least one record.
    pub(crate) fn forward(&self, chunk: &Batch<'_>) -> Trace {
        let shape = [chunk.records(), self.inputs];
        let features = TensorData::new(chunk.features().to_vec(), shape);
        let mut output = Tensor::<2>::from_data(features, &self.device);
        let mut inputs = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            inputs.push(output.clone());
            output = match stage {
                Stage::Dense { weight, bias } => output.matmul(weight.clone()) + bias.clone(),
                Stage::Relu => activation::relu(output),
                Stage::Tanh => output.tanh(),
            };
        }
        Trace { inputs, output }
    }

    /// Takes the derivative of each record's loss by its logit, `[records]`, back through the layers. The result has one
    /// entry per dense layer, in the order of the layers.
    pub(crate) fn backward(&self, trace: Trace, logit_deltas: Vec<f32>) -> Vec<DenseGradient> {
        let shape = [logit_deltas.len(), 1];
        let mut deltas = Tensor::<2>::from_data(TensorData::new(logit_deltas, shape), &self.device);
        let mut output = trace.output;
        let mut gradients = Vec::new();
        let stages = self.stages.iter().zip(trace.inputs);
        for (index, (stage, input)) in stages.enumerate().rev() {
            deltas = match stage {
                Stage::Dense { weight, .. } => {
                    // Nothing needs the derivative by the features themselves.
                    let before =
                        (index > 0).then(|| deltas.clone().matmul(weight.clone().transpose()));
                    gradients.push(DenseGradient {
                        inputs: input.clone(),
                        deltas,
                    });
                    match before {
                        Some(before) => before,
                        None => break,
                    }
                }
                // The derivative of max(x, 0) at 0 is taken as 0.
                Stage::Relu => deltas.mask_fill(output.lower_equal_elem(0.0), 0.0),
                // d tanh(x)/dx = 1 − tanh²(x).
                Stage::Tanh => deltas * (output.square().neg() + 1.0),
            };
            output = input;
        }
        gradients.reverse();
        gradients
    }
}

impl Trace {
    /// The logits of the chunk, `[records]`.
    ///
    /// # Errors
    /// [`TrainingError::Engine`] if the tensor cannot be read.
    pub(crate) fn logits(&self) -> Result<Vec<f32>, TrainingError> {
        to_host(self.output.clone())
    }
}

/// The elements of a tensor, row-major.
///
/// # Errors
/// [`TrainingError::Engine`] if the device reports a failure.
pub(crate) fn to_host(tensor: Tensor<2>) -> Result<Vec<f32>, TrainingError> {
    let data = tensor
        .try_into_data()
        .map_err(|error| TrainingError::Engine(error.to_string()))?;
    data.try_into_vec()
        .map_err(|error| TrainingError::Engine(error.to_string()))
}

fn chunk_records(spec: &ModelSpec) -> usize {
    let widths = spec
        .shapes()
        .iter()
        .map(|shape| shape.outputs.max(shape.inputs) as usize);
    let widest = widths.max().unwrap_or(1);
    (MAX_CHUNK_ELEMENTS / widest).clamp(1, MAX_CHUNK_RECORDS)
}
