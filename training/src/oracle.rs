//! What the hand-written backward pass is tested against: burn's automatic differentiation, one record at a time.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation, module};
use consort_model::{Loss, ModelSpec, OperationKind, Parameters, Shape};

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
            let columns = *tensor.shape.last().unwrap();
            let values = parameters.as_slice()[tensor.range()].to_vec();
            let shape = [tensor.elements() / columns, columns];
            Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
        })
        .collect();
    let features = TensorData::new(record.features().to_vec(), [1, record.inputs()]);
    let mut output = Tensor::<2>::from_data(features, &device);
    let mut leaf = leaves.iter().cloned();
    let mut next = || leaf.next().unwrap();
    let mut entered = Vec::new();
    for operation in spec.operations() {
        entered.push(output.clone());
        output = match &operation.kind {
            OperationKind::Dense => output.matmul(next()) + next(),
            OperationKind::Relu => activation::relu(output),
            OperationKind::Tanh => activation::tanh(output),
            // An image is kept as the row of its elements.
            OperationKind::Reshape => output,
            OperationKind::Conv2d { kernel, padding } => {
                let (weight, bias) = (next(), next());
                let [outputs, kernel] = [operation.output.pixels().1, *kernel].map(size);
                let channels = size(operation.input.pixels().1);
                let weight = weight
                    .reshape([kernel, kernel, channels, outputs])
                    .permute([3, 2, 0, 1]);
                let padding = size(*padding);
                let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
                let image = image(output, operation.input);
                let bias = Some(bias.reshape([outputs]));
                row(module::conv2d(image, weight, bias, options))
            }
            OperationKind::MaxPool => {
                let options = MaxPoolOptions::new([2, 2]);
                row(module::max_pool2d(image(output, operation.input), options))
            }
            OperationKind::LayerNorm => {
                let [_, elements] = output.dims();
                let distance = output.clone() - output.mean_dim(1);
                let variance = distance.clone().square().mean_dim(1);
                let normal = distance / (variance + 1e-5).sqrt();
                normal * next().reshape([1, elements]) + next().reshape([1, elements])
            }
            OperationKind::Embedding(columns) => {
                let features = record.features();
                let (mut read, mut parts) = (0, Vec::new());
                for column in columns {
                    let [first, levels] = [column.first, column.levels].map(size);
                    parts.push(output.clone().slice([0..1, read..first]));
                    // The one-hot row of all levels, the first too, times the table: a dense layer without bias.
                    let mut hot = vec![0.0; levels];
                    let inputs = &features[first..first + levels - 1];
                    hot[inputs
                        .iter()
                        .position(|x| *x > 0.0)
                        .map_or(0, |own| own + 1)] = 1.0;
                    let hot = Tensor::<2>::from_data(TensorData::new(hot, [1, levels]), &device);
                    parts.push(hot.matmul(next()));
                    read = first + levels - 1;
                }
                parts.push(output.slice([0..1, read..features.len()]));
                let parts = parts.into_iter().filter(|part| part.dims()[1] > 0);
                Tensor::cat(parts.collect(), 1)
            }
            OperationKind::Add { from } => output + entered[*from].clone(),
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

/// burn's images have the channels outside: [1, channels, height, width].
fn image(row: Tensor<2>, shape: Shape) -> Tensor<4> {
    let Shape::Image {
        channels,
        height,
        width,
    } = shape
    else {
        panic!("a checked model gives images to what works on images");
    };
    let [channels, height, width] = [channels, height, width].map(size);
    row.reshape([1, height, width, channels])
        .permute([0, 3, 1, 2])
}

fn row(image: Tensor<4>) -> Tensor<2> {
    let elements = image.dims().iter().product();
    image.permute([0, 2, 3, 1]).reshape([1, elements])
}

fn size(size: u32) -> usize {
    size as usize
}
