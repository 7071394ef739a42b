//! Walks a declared list of layers: infers shapes, keeps the limits, and names what is wrong before anything is allocated for it.
//!
//! Sizes are 64-bit integers whose products saturate, far above every limit.

use super::fault::SpecFault;
use super::operation::{LayerPath, Operation, OperationKind, Shape};
use super::{EmbeddedColumn, Layer, Loss, MAX_ELEMENTS, MAX_LAYERS, MAX_PARAMETERS};

/// The operations that a list of layers asks for, in order.
///
/// # Errors
/// The faults, at most one for each layer.
pub(super) fn operations_of(
    inputs: u32,
    layers: &[Layer],
    loss: Loss,
) -> Result<Vec<Operation>, Vec<SpecFault>> {
    if inputs == 0 {
        return Err(vec![SpecFault::NoInputs]);
    }
    if layers.is_empty() {
        return Err(vec![SpecFault::NoLayers]);
    }
    let found = layers.iter().map(count).fold(0, usize::saturating_add);
    if found > MAX_LAYERS {
        return Err(vec![SpecFault::TooManyLayers { found }]);
    }
    let mut walk = Walk {
        operations: Vec::new(),
        faults: Vec::new(),
        parameters: 0,
        room: u64::from(inputs),
        shape: Some(Shape::Row(inputs)),
    };
    let last = layers.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let faults = walk.faults.len();
        let before_relu = layers.get(index + 1) == Some(&Layer::Relu);
        walk.layer(index.into(), layer, before_relu);
        // A layer before it without a known output does not make the last one right.
        if index == last && walk.faults.len() == faults && !is_read(layer, loss) {
            walk.faults.push(loss.fault(index.into()));
        }
    }
    if walk.faults.is_empty() {
        Ok(walk.operations)
    } else {
        Err(walk.faults)
    }
}

/// Layers that a layer stands for. What stands too deep is not looked at: it is refused where it stands.
fn count(layer: &Layer) -> usize {
    match layer {
        Layer::Residual { layers } => 1 + layers.len(),
        Layer::Dense { .. }
        | Layer::Relu
        | Layer::Tanh
        | Layer::Image { .. }
        | Layer::Conv2d { .. }
        | Layer::MaxPool
        | Layer::Flatten
        | Layer::LayerNorm
        | Layer::Embedding { .. } => 1,
    }
}

fn is_read(last: &Layer, loss: Loss) -> bool {
    match last {
        Layer::Dense { outputs } => loss.reads(*outputs),
        Layer::Relu
        | Layer::Tanh
        | Layer::Image { .. }
        | Layer::Conv2d { .. }
        | Layer::MaxPool
        | Layer::Flatten
        | Layer::LayerNorm
        | Layer::Embedding { .. }
        | Layer::Residual { .. } => false,
    }
}

struct Walk {
    operations: Vec<Operation>,
    faults: Vec<SpecFault>,
    parameters: u64,
    room: u64,
    /// What enters the next layer; nothing if a fault left it unknown.
    shape: Option<Shape>,
}

impl Walk {
    fn layer(&mut self, path: LayerPath, layer: &Layer, before_relu: bool) {
        let Some(input) = self.shape else {
            return;
        };
        if let Layer::Residual { layers } = layer {
            self.residual(path, layers, input);
            return;
        }
        match placed(path, layer, input) {
            Ok((kind, output)) => self.push(path, layer.name(), kind, input, output, before_relu),
            Err(fault) => {
                // Only the width of a dense layer is known whatever else is wrong.
                let width = matches!(fault, SpecFault::NoOutputs { kind: "dense", .. });
                self.shape = width.then_some(Shape::Row(0));
                self.faults.push(fault);
            }
        }
    }

    fn residual(&mut self, path: LayerPath, layers: &[Layer], input: Shape) {
        let fault = if path.inner.is_some() {
            Some(SpecFault::ResidualNested { layer: path })
        } else if layers.is_empty() {
            Some(SpecFault::ResidualEmpty { layer: path })
        } else {
            None
        };
        if let Some(fault) = fault {
            self.faults.push(fault);
            // Whatever its layers may be, a block gives what it gets.
            return;
        }
        let from = self.operations.len();
        for (index, layer) in layers.iter().enumerate() {
            let inner = LayerPath {
                layer: path.layer,
                inner: Some(index),
            };
            self.layer(inner, layer, layers.get(index + 1) == Some(&Layer::Relu));
        }
        match self.shape {
            Some(output) if output == input => {
                let add = OperationKind::Add { from };
                self.push(path, "residual", add, input, input, false);
            }
            Some(output) => self.faults.push(SpecFault::ResidualShape {
                layer: path,
                input,
                output,
            }),
            None => {}
        }
        self.shape = Some(input);
    }

    /// Enters an operation, unless it passes a limit. A limit is passed once: what comes after it is counted no more.
    fn push(
        &mut self,
        path: LayerPath,
        name: &'static str,
        kind: OperationKind,
        input: Shape,
        output: Shape,
        before_relu: bool,
    ) {
        let operation = Operation {
            path,
            kind,
            input,
            output,
            before_relu,
        };
        self.shape = Some(output);
        let product = |shape: &[u64]| shape.iter().copied().fold(1, u64::saturating_mul);
        let trained = operation.trained();
        let parameters = trained.iter().map(|(_, shape)| product(shape));
        let (parameters_before, room_before) = (self.parameters, self.room);
        self.parameters = parameters.fold(parameters_before, u64::saturating_add);
        self.room = room_before.saturating_add(operation.room());
        if parameters_before <= MAX_PARAMETERS && self.parameters > MAX_PARAMETERS {
            self.faults.push(SpecFault::TooManyParameters {
                layer: path,
                kind: name,
                inputs: input.elements(),
                outputs: output.elements(),
            });
        } else if room_before <= MAX_ELEMENTS
            && self.room > MAX_ELEMENTS
            && self.parameters <= MAX_PARAMETERS
        {
            self.faults.push(SpecFault::TooManyElements {
                layer: path,
                kind: name,
            });
        }
        self.operations.push(operation);
    }
}

/// What a layer other than a residual block does to what enters it, and what leaves it.
fn placed(
    path: LayerPath,
    layer: &Layer,
    input: Shape,
) -> Result<(OperationKind, Shape), SpecFault> {
    let kind = layer.name();
    match layer {
        Layer::Dense { outputs } => match input {
            Shape::Image { .. } => Err(SpecFault::NeedsRow { layer: path, kind }),
            Shape::Row(_) if *outputs == 0 => Err(SpecFault::NoOutputs { layer: path, kind }),
            Shape::Row(_) => Ok((OperationKind::Dense, Shape::Row(*outputs))),
        },
        Layer::Relu => Ok((OperationKind::Relu, input)),
        Layer::Tanh => Ok((OperationKind::Tanh, input)),
        Layer::LayerNorm => Ok((OperationKind::LayerNorm, input)),
        Layer::Image {
            channels,
            height,
            width,
        } => {
            let (channels, height, width) = (*channels, *height, *width);
            let image = Shape::Image {
                channels,
                height,
                width,
            };
            match input {
                Shape::Image { .. } => Err(SpecFault::NeedsRow { layer: path, kind }),
                Shape::Row(inputs) if inputs > 0 && image.elements() == u64::from(inputs) => {
                    Ok((OperationKind::Reshape, image))
                }
                Shape::Row(inputs) => Err(SpecFault::ImageSize {
                    layer: path,
                    channels,
                    height,
                    width,
                    inputs: inputs.into(),
                }),
            }
        }
        Layer::Flatten => match input {
            Shape::Row(_) => Err(SpecFault::NeedsImage { layer: path, kind }),
            Shape::Image { .. } => match u32::try_from(input.elements()) {
                Ok(elements) => Ok((OperationKind::Reshape, Shape::Row(elements))),
                Err(_) => Err(SpecFault::TooManyElements { layer: path, kind }),
            },
        },
        Layer::Conv2d {
            outputs,
            kernel,
            padding,
        } => convolved(path, input, *outputs, *kernel, *padding),
        Layer::MaxPool => match input {
            Shape::Row(_) => Err(SpecFault::NeedsImage { layer: path, kind }),
            Shape::Image {
                channels,
                height: height @ 2..,
                width: width @ 2..,
            } => {
                let (height, width) = (height / 2, width / 2);
                let output = Shape::Image {
                    channels,
                    height,
                    width,
                };
                Ok((OperationKind::MaxPool, output))
            }
            Shape::Image { .. } => Err(SpecFault::PoolSize {
                layer: path,
                image: input,
            }),
        },
        Layer::Embedding { columns } => embedded(path, input, columns),
        Layer::Residual { .. } => Err(SpecFault::ResidualNested { layer: path }),
    }
}

fn convolved(
    path: LayerPath,
    input: Shape,
    outputs: u32,
    kernel: u32,
    padding: u32,
) -> Result<(OperationKind, Shape), SpecFault> {
    let kind = "conv2d";
    let Shape::Image { height, width, .. } = input else {
        return Err(SpecFault::NeedsImage { layer: path, kind });
    };
    if outputs == 0 {
        return Err(SpecFault::NoOutputs { layer: path, kind });
    }
    // Positions of the kernel on the image with its zeros around it.
    let positions = |side: u32| {
        let padded = u64::from(side) + 2 * u64::from(padding);
        let positions = padded.checked_sub(kernel.into())? + 1;
        u32::try_from(positions).ok()
    };
    match (positions(height), positions(width)) {
        (Some(height), Some(width)) if padding < kernel => {
            let output = Shape::Image {
                channels: outputs,
                height,
                width,
            };
            Ok((OperationKind::Conv2d { kernel, padding }, output))
        }
        (_, _) => Err(SpecFault::Kernel {
            layer: path,
            kernel,
            padding,
            image: input,
        }),
    }
}

fn embedded(
    path: LayerPath,
    input: Shape,
    columns: &[EmbeddedColumn],
) -> Result<(OperationKind, Shape), SpecFault> {
    let Shape::Row(inputs) = input else {
        return Err(SpecFault::EmbeddingNotFirst { layer: path });
    };
    if path != LayerPath::from(0) {
        return Err(SpecFault::EmbeddingNotFirst { layer: path });
    }
    if columns.is_empty() {
        return Err(SpecFault::EmbeddingEmpty { layer: path });
    }
    // Where the next column may begin, and what leaves: the inputs that are no category, and a row of each table.
    let (mut next, mut outputs) = (0_u64, u64::from(inputs));
    for (index, column) in columns.iter().enumerate() {
        let end = column.end();
        let fits = column.levels >= 2 && u64::from(column.first) >= next && end <= inputs.into();
        if !fits || column.outputs == 0 {
            return Err(SpecFault::EmbeddingColumn {
                layer: path,
                column: index,
                first: column.first,
                levels: column.levels,
                outputs: column.outputs,
                inputs,
            });
        }
        next = end;
        outputs = outputs - u64::from(column.levels - 1) + u64::from(column.outputs);
    }
    match u32::try_from(outputs) {
        Ok(outputs) => Ok((
            OperationKind::Embedding(columns.to_vec()),
            Shape::Row(outputs),
        )),
        Err(_) => Err(SpecFault::TooManyElements {
            layer: path,
            kind: "embedding",
        }),
    }
}
