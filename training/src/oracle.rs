//! What the hand-written backward pass is tested against: burn's automatic differentiation, one record at a time.

use burn::tensor::{Device, Tensor, TensorData, activation};
use consort_model::{Layer, Loss, ModelSpec, Parameters};

use crate::Batch;

/// One record's gradient in the order of the layout, and its loss.
pub(crate) struct RecordGradient {
    pub(crate) gradient: Vec<f32>,
    pub(crate) loss: f32,
}

/// The gradient of each record by a forward and a backward pass of its own.
pub(crate) fn per_record(
    spec: &ModelSpec,
    parameters: &Parameters,
    batch: &Batch<'_>,
) -> Vec<RecordGradient> {
    batch
        .chunks(1)
        .map(|record| differentiate(spec, parameters, &record))
        .collect()
}

fn differentiate(spec: &ModelSpec, parameters: &Parameters, record: &Batch<'_>) -> RecordGradient {
    let device = Device::flex().autodiff();
    let leaves: Vec<Tensor<2>> = spec
        .layout()
        .tensors()
        .iter()
        .map(|tensor| {
            let [rows, columns] = match tensor.shape[..] {
                [inputs, outputs] => [inputs, outputs],
                [outputs] => [1, outputs],
                _ => panic!("a tensor of the layout has one or two dimensions"),
            };
            let values = parameters.as_slice()[tensor.range()].to_vec();
            Tensor::from_data(TensorData::new(values, [rows, columns]), &device).require_grad()
        })
        .collect();
    let features = TensorData::new(record.features().to_vec(), [1, record.inputs()]);
    let mut output = Tensor::<2>::from_data(features, &device);
    let mut next = leaves.iter().cloned();
    for layer in spec.layers() {
        output = match layer {
            Layer::Dense { .. } => output.matmul(next.next().unwrap()) + next.next().unwrap(),
            Layer::Relu => activation::relu(output),
            Layer::Tanh => activation::tanh(output),
        };
    }
    let label = record.labels()[0];
    let loss = match spec.loss() {
        // −y·log σ(z) − (1−y)·log σ(−z) with burn's own log σ.
        Loss::BinaryCrossEntropy => {
            let hit = activation::log_sigmoid(output.clone()) * label;
            let miss = activation::log_sigmoid(output.neg()) * (1.0 - label);
            (hit + miss).neg().sum()
        }
        Loss::CrossEntropy => {
            let classes = output.dims()[1];
            let is_label = |class: u16| f32::from(u8::from(f32::from(class) == label));
            let chosen: Vec<f32> = (0..u16::try_from(classes).unwrap()).map(is_label).collect();
            let chosen = Tensor::<2>::from_data(TensorData::new(chosen, [1, classes]), &device);
            (activation::log_softmax(output, 1) * chosen).neg().sum()
        }
        Loss::SquaredError => ((output - label).square() * 0.5).sum(),
        Loss::Poisson => {
            let constant = if label > 0.0 {
                label * label.ln() - label
            } else {
                0.0
            };
            (output.clone().exp() - output * label + constant).sum()
        }
    };
    let gradients = loss.backward();
    let gradient = leaves
        .iter()
        .flat_map(|leaf| {
            leaf.grad(&gradients)
                .unwrap()
                .into_data()
                .try_into_vec()
                .unwrap()
        })
        .collect::<Vec<f32>>();
    RecordGradient {
        gradient,
        loss: loss.into_scalar(),
    }
}
