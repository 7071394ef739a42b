//! Declared models.

use consort_contract::job::ModelDocument;
use consort_model::{EmbeddedColumn, Layer, Loss};

use super::{WireError, fixed, required};
use crate::wire::job::v1 as wire;
use crate::wire::job::v1::inner_layer::Kind as InnerKind;
use crate::wire::job::v1::layer::Kind;

pub(super) fn model_to_wire(model: &ModelDocument) -> wire::ModelSpec {
    let loss = match model.loss {
        Loss::BinaryCrossEntropy => wire::Loss::BinaryCrossEntropy,
        Loss::CrossEntropy => wire::Loss::CrossEntropy,
        Loss::SquaredError => wire::Loss::SquaredError,
        Loss::Poisson => wire::Loss::Poisson,
    };
    let layer = |layer: &Layer| wire::Layer {
        kind: Some(layer_to_wire(layer)),
    };
    wire::ModelSpec {
        layers: model.layers.iter().map(layer).collect(),
        loss: loss.into(),
        seed: model.seed.to_vec(),
    }
}

fn layer_to_wire(layer: &Layer) -> Kind {
    match layer {
        Layer::Dense { outputs } => Kind::Dense(wire::Dense { outputs: *outputs }),
        Layer::Relu => Kind::Relu(wire::Relu {}),
        Layer::Tanh => Kind::Tanh(wire::Tanh {}),
        Layer::Image {
            channels,
            height,
            width,
        } => Kind::Image(wire::Image {
            channels: *channels,
            height: *height,
            width: *width,
        }),
        Layer::Conv2d {
            outputs,
            kernel,
            padding,
        } => Kind::Conv2d(wire::Conv2d {
            outputs: *outputs,
            kernel: *kernel,
            padding: *padding,
        }),
        Layer::MaxPool => Kind::MaxPool(wire::MaxPool {}),
        Layer::Flatten => Kind::Flatten(wire::Flatten {}),
        Layer::LayerNorm => Kind::LayerNorm(wire::LayerNorm {}),
        Layer::Embedding { columns } => {
            let column = |column: &EmbeddedColumn| wire::EmbeddedColumn {
                first: column.first,
                levels: column.levels,
                outputs: column.outputs,
            };
            Kind::Embedding(wire::Embedding {
                columns: columns.iter().map(column).collect(),
            })
        }
        Layer::Residual { layers } => Kind::Residual(wire::Residual {
            layers: layers.iter().map(inner_to_wire).collect(),
        }),
    }
}

/// The schema has no block in a block: whoever sends one sends a layer of no kind, which is refused.
fn inner_to_wire(layer: &Layer) -> wire::InnerLayer {
    let kind = match layer_to_wire(layer) {
        Kind::Dense(it) => Some(InnerKind::Dense(it)),
        Kind::Relu(it) => Some(InnerKind::Relu(it)),
        Kind::Tanh(it) => Some(InnerKind::Tanh(it)),
        Kind::Image(it) => Some(InnerKind::Image(it)),
        Kind::Conv2d(it) => Some(InnerKind::Conv2d(it)),
        Kind::MaxPool(it) => Some(InnerKind::MaxPool(it)),
        Kind::Flatten(it) => Some(InnerKind::Flatten(it)),
        Kind::LayerNorm(it) => Some(InnerKind::LayerNorm(it)),
        Kind::Embedding(it) => Some(InnerKind::Embedding(it)),
        Kind::Residual(_) => None,
    };
    wire::InnerLayer { kind }
}

pub(super) fn model_from_wire(model: wire::ModelSpec) -> Result<ModelDocument, WireError> {
    let loss = match model.loss() {
        wire::Loss::Unspecified => {
            return Err(WireError::invalid(
                "spec.model.loss",
                "say which loss, such as LOSS_BINARY_CROSS_ENTROPY",
            ));
        }
        wire::Loss::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        wire::Loss::CrossEntropy => Loss::CrossEntropy,
        wire::Loss::SquaredError => Loss::SquaredError,
        wire::Loss::Poisson => Loss::Poisson,
    };
    let seed = if model.seed.is_empty() {
        [0; 32]
    } else {
        fixed(&model.seed, "spec.model.seed")?
    };
    let layers = model
        .layers
        .into_iter()
        .map(|layer| required(layer.kind, "spec.model.layers.kind").and_then(layer_from_wire))
        .collect::<Result<_, WireError>>()?;
    Ok(ModelDocument { layers, loss, seed })
}

fn layer_from_wire(kind: Kind) -> Result<Layer, WireError> {
    Ok(match kind {
        Kind::Dense(dense) => Layer::Dense {
            outputs: dense.outputs,
        },
        Kind::Relu(_) => Layer::Relu,
        Kind::Tanh(_) => Layer::Tanh,
        Kind::Image(image) => Layer::Image {
            channels: image.channels,
            height: image.height,
            width: image.width,
        },
        Kind::Conv2d(convolution) => Layer::Conv2d {
            outputs: convolution.outputs,
            kernel: convolution.kernel,
            padding: convolution.padding,
        },
        Kind::MaxPool(_) => Layer::MaxPool,
        Kind::Flatten(_) => Layer::Flatten,
        Kind::LayerNorm(_) => Layer::LayerNorm,
        Kind::Embedding(embedding) => {
            let column = |column: wire::EmbeddedColumn| EmbeddedColumn {
                first: column.first,
                levels: column.levels,
                outputs: column.outputs,
            };
            Layer::Embedding {
                columns: embedding.columns.into_iter().map(column).collect(),
            }
        }
        Kind::Residual(residual) => {
            let layers = residual.layers.into_iter().map(inner_from_wire);
            Layer::Residual {
                layers: layers.collect::<Result<_, _>>()?,
            }
        }
    })
}

fn inner_from_wire(layer: wire::InnerLayer) -> Result<Layer, WireError> {
    let kind = required(layer.kind, "spec.model.layers.residual.layers.kind")?;
    layer_from_wire(match kind {
        InnerKind::Dense(it) => Kind::Dense(it),
        InnerKind::Relu(it) => Kind::Relu(it),
        InnerKind::Tanh(it) => Kind::Tanh(it),
        InnerKind::Image(it) => Kind::Image(it),
        InnerKind::Conv2d(it) => Kind::Conv2d(it),
        InnerKind::MaxPool(it) => Kind::MaxPool(it),
        InnerKind::Flatten(it) => Kind::Flatten(it),
        InnerKind::LayerNorm(it) => Kind::LayerNorm(it),
        InnerKind::Embedding(it) => Kind::Embedding(it),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model with every kind of layer, whether or not they fit each other.
    fn every_layer() -> ModelDocument {
        let layers = r#"[
            {"embedding": {"columns": [{"first": 1, "levels": 3, "outputs": 4}, {"first": 5, "levels": 2, "outputs": 1}]}},
            {"image": {"channels": 3, "height": 4, "width": 5}},
            {"residual": {"layers": [{"conv2d": {"outputs": 3, "kernel": 3, "padding": 1}}, "tanh", "layer_norm", "relu", "max_pool",
                "flatten", {"dense": {"outputs": 6}}, {"image": {"channels": 1, "height": 2, "width": 3}},
                {"embedding": {"columns": []}}]}},
            {"conv2d": {"outputs": 7, "kernel": 2}},
            "max_pool", "flatten", "layer_norm", "relu", "tanh", {"dense": {"outputs": 1}}
        ]"#;
        ModelDocument {
            layers: serde_json::from_str(layers).unwrap(),
            loss: Loss::Poisson,
            seed: [7; 32],
        }
    }

    #[test]
    fn every_layer_comes_back_from_the_wire_as_it_went() {
        let model = every_layer();
        assert_eq!(model_from_wire(model_to_wire(&model)).unwrap(), model);
    }

    #[test]
    fn a_block_in_a_block_is_refused_and_not_dropped() {
        let block = |layers| Layer::Residual { layers };
        let model = ModelDocument {
            layers: vec![block(vec![block(vec![Layer::Relu])])],
            ..every_layer()
        };
        let refused = model_from_wire(model_to_wire(&model)).unwrap_err();
        assert!(refused.to_string().contains("residual"), "{refused}");
    }
}
