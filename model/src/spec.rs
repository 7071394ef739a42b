//! The declared architecture: a list of layers, from which shapes and the layout of the parameters follow.
//!
//! ```json
//! {"inputs": 30, "layers": [{"dense": {"outputs": 16}}, "relu", {"dense": {"outputs": 1}}], "loss": "binary_cross_entropy"}
//! ```

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::encoding::{ModelHash, Parts};

/// Most parameters a model may have: 64 Mi, that is 256 MiB of f32. A site holds some 40 bytes for each of them while it trains (its
/// sum, its noise and one record's row in integers, its model and the global one), which is 2.5 GiB at this limit; a member's own policy
/// allows less, and a model that it refuses is never allocated.
pub const MAX_PARAMETERS: u64 = 64 * 1024 * 1024;

/// Most layers a model may have; far above any tabular network, small enough that a list of faults stays readable.
pub const MAX_LAYERS: usize = 32;

/// A model as a job declares it: inputs, layers in order, loss. A value of this type has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Declared", into = "Declared")]
pub struct ModelSpec {
    inputs: u32,
    layers: Vec<Layer>,
    loss: Loss,
    shapes: Vec<LayerShape>,
}

/// One layer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    /// `y = x·W + b` with W of shape `[inputs, outputs]` and b of shape `[outputs]`.
    Dense {
        /// Width of the layer's output, at least 1.
        outputs: u32,
    },
    /// `max(x, 0)`, element by element.
    Relu,
    /// Hyperbolic tangent, element by element.
    Tanh,
}

/// What training minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross entropy of one logit; the last layer is dense with one output. Labels are 0 and 1.
    BinaryCrossEntropy,
    /// Cross entropy of the softmax over the outputs of the last layer, a dense one with an output for each class, two at least. A label is
    /// the number of a class, from 0.
    CrossEntropy,
    /// Half the squared difference between the one output of the last layer, a dense one, and the label, any number.
    SquaredError,
    /// Half the deviance of a Poisson variable, e^z − y·z − y + y·ln y for the one output z of the last layer, a dense one: the logarithm of the
    /// expected count. The label y is a count, an integer from 0.
    Poisson,
}

impl Loss {
    /// The loss as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::BinaryCrossEntropy => "binary_cross_entropy",
            Self::CrossEntropy => "cross_entropy",
            Self::SquaredError => "squared_error",
            Self::Poisson => "poisson",
        }
    }

    /// Whether a dense last layer with so many outputs gives what the loss reads.
    fn reads(self, outputs: u32) -> bool {
        match self {
            Self::BinaryCrossEntropy | Self::SquaredError | Self::Poisson => outputs == 1,
            Self::CrossEntropy => outputs >= 2,
        }
    }

    /// The fault of a last layer that it does not read.
    fn fault(self, layer: usize) -> SpecFault {
        match self {
            Self::BinaryCrossEntropy | Self::SquaredError | Self::Poisson => SpecFault::LastLayer {
                layer,
                loss: self.name(),
            },
            Self::CrossEntropy => SpecFault::LastLayerOfClasses { layer },
        }
    }
}

/// Width of a layer's input and output, in elements per record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Elements that enter the layer.
    pub inputs: u32,
    /// Elements that leave it.
    pub outputs: u32,
}

impl ModelSpec {
    /// Checks a declared architecture and infers its shapes. Allocates only after the limits hold.
    ///
    /// # Errors
    /// [`SpecError`] with one fault for each layer that is wrong, in the order of the layers.
    pub fn new(inputs: u32, layers: Vec<Layer>, loss: Loss) -> Result<Self, SpecError> {
        let faults = faults_of(inputs, &layers, loss);
        if !faults.is_empty() {
            return Err(SpecError { faults });
        }
        let shapes = shapes_of(inputs, &layers).collect();
        Ok(Self {
            inputs,
            layers,
            loss,
            shapes,
        })
    }

    /// The architecture of a job that trains nothing: no layers, no parameters.
    pub fn without_layers(inputs: u32) -> Self {
        Self {
            inputs,
            layers: Vec::new(),
            loss: Loss::BinaryCrossEntropy,
            shapes: Vec::new(),
        }
    }

    /// Number of features of one record.
    pub fn inputs(&self) -> u32 {
        self.inputs
    }

    /// The layers, in the order in which a record passes them.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What training minimises.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Width before and after each layer, in the order of [`Self::layers`].
    pub fn shapes(&self) -> &[LayerShape] {
        &self.shapes
    }

    /// Number of elements of the flat parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.layout().parameter_count()
    }

    /// Where each named tensor lies in the flat parameter vector.
    pub fn layout(&self) -> Layout {
        let mut tensors = Vec::new();
        let mut offset = 0;
        for (index, (layer, shape)) in self.layers.iter().zip(&self.shapes).enumerate() {
            if let Layer::Dense { .. } = layer {
                let (inputs, outputs) = (shape.inputs as usize, shape.outputs as usize);
                tensors.push(Tensor {
                    name: format!("layer.{index}.weight"),
                    shape: vec![inputs, outputs],
                    offset,
                });
                offset += inputs * outputs;
                tensors.push(Tensor {
                    name: format!("layer.{index}.bias"),
                    shape: vec![outputs],
                    offset,
                });
                offset += outputs;
            }
        }
        Layout {
            tensors,
            parameter_count: offset,
        }
    }

    /// Whether the model is a single dense layer, whose loss is convex: it starts at zero and has nothing to break.
    pub fn is_logistic(&self) -> bool {
        matches!(self.layers.as_slice(), [Layer::Dense { .. }])
    }

    /// The architecture in the project's canonical encoding, for the hash of a contract.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        self.canonical().finish()
    }

    /// SHA-256 over [`Self::canonical_bytes`].
    pub fn hash(&self) -> ModelHash {
        self.canonical().hash()
    }

    fn canonical(&self) -> Parts {
        let parts = Parts::new("consort/model/spec/v1")
            .u64(self.inputs.into())
            .u64(self.layers.len() as u64);
        let parts = self.layers.iter().fold(parts, |parts, layer| match layer {
            Layer::Dense { outputs } => parts.bytes(b"dense").u64((*outputs).into()),
            Layer::Relu => parts.bytes(b"relu"),
            Layer::Tanh => parts.bytes(b"tanh"),
        });
        parts.bytes(self.loss.name().as_bytes())
    }
}

/// Where each named tensor of a model lies in its flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    parameter_count: usize,
}

impl Layout {
    /// The tensors by rising offset; they cover the vector without gap or overlap.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Number of elements of the flat vector.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }
}

/// One named tensor inside the flat parameter vector, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layer.<index>.weight` or `layer.<index>.bias`; the index counts all layers, activations too.
    pub name: String,
    /// `[inputs, outputs]` for a weight, `[outputs]` for a bias.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements of the flat vector that belong to this tensor.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.elements()
    }
}

/// A declared architecture was refused; every fault found, in the order of the layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    faults: Vec<SpecFault>,
}

impl SpecError {
    /// What is wrong, at most one fault per layer.
    pub fn faults(&self) -> &[SpecFault] {
        &self.faults
    }

    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        "model_spec_refused"
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the declared model was refused")?;
        self.faults
            .iter()
            .enumerate()
            .try_for_each(|(index, fault)| {
                write!(formatter, "{}{fault}", if index == 0 { ": " } else { "; " })
            })
    }
}

/// One thing that is wrong with a declared architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecFault {
    /// A record without features.
    #[error("inputs is 0: declare the number of features of one record")]
    NoInputs,
    /// No layer at all.
    #[error("the list of layers is empty: declare at least one dense layer")]
    NoLayers,
    /// More layers than the limit.
    #[error("{found} layers are declared, the limit is {MAX_LAYERS}: declare fewer layers")]
    TooManyLayers {
        /// How many were declared.
        found: usize,
    },
    /// A dense layer of width zero.
    #[error("layer {layer} (dense) has 0 outputs: declare at least 1")]
    NoOutputs {
        /// Position in the list of layers, from 0.
        layer: usize,
    },
    /// The layer at which the total passes the limit.
    #[error(
        "layer {layer} (dense, {inputs} inputs, {outputs} outputs) takes the model past {MAX_PARAMETERS} parameters: \
         make it or a layer before it narrower"
    )]
    TooManyParameters {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// Width of its input.
        inputs: u32,
        /// Width of its output.
        outputs: u32,
    },
    /// The last layer does not give the one number that the loss reads.
    #[error("layer {layer} is the last and must be dense with 1 output for the loss {loss}")]
    LastLayer {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// The declared loss.
        loss: &'static str,
    },
    /// The last layer does not give one number for each of several classes.
    #[error(
        "layer {layer} is the last and must be dense with an output for each class, 2 or more, for the loss cross_entropy"
    )]
    LastLayerOfClasses {
        /// Position in the list of layers, from 0.
        layer: usize,
    },
}

/// The architecture as it is written, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    inputs: u32,
    layers: Vec<Layer>,
    loss: Loss,
}

impl TryFrom<Declared> for ModelSpec {
    type Error = SpecError;

    fn try_from(declared: Declared) -> Result<Self, SpecError> {
        Self::new(declared.inputs, declared.layers, declared.loss)
    }
}

impl From<ModelSpec> for Declared {
    fn from(spec: ModelSpec) -> Self {
        Self {
            inputs: spec.inputs,
            layers: spec.layers,
            loss: spec.loss,
        }
    }
}

fn faults_of(inputs: u32, layers: &[Layer], loss: Loss) -> Vec<SpecFault> {
    if inputs == 0 {
        return vec![SpecFault::NoInputs];
    }
    if layers.is_empty() {
        return vec![SpecFault::NoLayers];
    }
    if layers.len() > MAX_LAYERS {
        return vec![SpecFault::TooManyLayers {
            found: layers.len(),
        }];
    }
    let last = layers.len() - 1;
    let mut total = 0_u64;
    let mut faults = Vec::new();
    for (layer, (kind, shape)) in layers.iter().zip(shapes_of(inputs, layers)).enumerate() {
        let before = total;
        if let Layer::Dense { .. } = kind {
            total = total
                .saturating_add((u64::from(shape.inputs) + 1).saturating_mul(shape.outputs.into()));
        }
        if *kind == (Layer::Dense { outputs: 0 }) {
            faults.push(SpecFault::NoOutputs { layer });
        } else if before <= MAX_PARAMETERS && total > MAX_PARAMETERS {
            faults.push(SpecFault::TooManyParameters {
                layer,
                inputs: shape.inputs,
                outputs: shape.outputs,
            });
        } else if layer == last && !is_read(*kind, loss) {
            faults.push(loss.fault(layer));
        }
    }
    faults
}

fn is_read(last: Layer, loss: Loss) -> bool {
    match last {
        Layer::Dense { outputs } => loss.reads(outputs),
        Layer::Relu | Layer::Tanh => false,
    }
}

fn shapes_of(inputs: u32, layers: &[Layer]) -> impl Iterator<Item = LayerShape> {
    layers.iter().scan(inputs, |width, layer| {
        let inputs = *width;
        if let Layer::Dense { outputs } = layer {
            *width = *outputs;
        }
        Some(LayerShape {
            inputs,
            outputs: *width,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"inputs":30,"layers":[{"dense":{"outputs":16}},"relu",{"dense":{"outputs":1}}],"loss":"binary_cross_entropy"}"#;

    fn dense(outputs: u32) -> Layer {
        Layer::Dense { outputs }
    }

    fn faults(inputs: u32, layers: Vec<Layer>) -> Vec<SpecFault> {
        ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy)
            .unwrap_err()
            .faults
    }

    fn last_layer(layer: usize) -> SpecFault {
        SpecFault::LastLayer {
            layer,
            loss: "binary_cross_entropy",
        }
    }

    #[test]
    fn the_sample_is_read_and_written_back_unchanged() {
        let spec: ModelSpec = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(spec.layers(), [dense(16), Layer::Relu, dense(1)]);
        assert_eq!(serde_json::to_string(&spec).unwrap(), SAMPLE);
    }

    #[test]
    fn the_layout_covers_the_flat_vector_without_gap_or_overlap() {
        let spec: ModelSpec = serde_json::from_str(SAMPLE).unwrap();
        let layout = spec.layout();
        let names: Vec<_> = layout
            .tensors()
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "layer.0.weight",
                "layer.0.bias",
                "layer.2.weight",
                "layer.2.bias"
            ]
        );
        let mut next = 0;
        for tensor in layout.tensors() {
            assert_eq!(tensor.range().start, next);
            next = tensor.range().end;
        }
        assert_eq!(next, spec.parameter_count());
        assert_eq!(next, 30 * 16 + 16 + 16 + 1);
    }

    #[test]
    fn an_unknown_field_or_layer_is_refused() {
        for text in [
            SAMPLE.replace("\"loss\"", "\"code\":\"x\",\"loss\""),
            SAMPLE.replace("{\"outputs\":16}", "{\"outputs\":16,\"bias\":false}"),
            SAMPLE.replace("relu", "lambda"),
        ] {
            assert!(serde_json::from_str::<ModelSpec>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_wrong_layer_is_named_once() {
        let found = faults(8, vec![dense(0), Layer::Relu, dense(0), Layer::Tanh]);
        let expected = [
            SpecFault::NoOutputs { layer: 0 },
            SpecFault::NoOutputs { layer: 2 },
            last_layer(3),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_model_past_the_parameter_limit_is_refused_at_the_layer_that_passes_it() {
        let found = faults(
            4096,
            vec![dense(4000), dense(u32::MAX), dense(u32::MAX), dense(1)],
        );
        let expected = [SpecFault::TooManyParameters {
            layer: 1,
            inputs: 4000,
            outputs: u32::MAX,
        }];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_model_and_a_tower_of_layers_are_refused() {
        assert_eq!(faults(0, vec![dense(1)]), [SpecFault::NoInputs]);
        assert_eq!(faults(3, vec![]), [SpecFault::NoLayers]);
        assert_eq!(
            faults(3, vec![dense(1); MAX_LAYERS + 1]),
            [SpecFault::TooManyLayers {
                found: MAX_LAYERS + 1
            }]
        );
        assert!(ModelSpec::new(3, vec![dense(1); MAX_LAYERS], Loss::BinaryCrossEntropy).is_ok());
    }

    #[test]
    fn the_last_layer_must_give_one_logit() {
        assert_eq!(faults(3, vec![dense(2)]), [last_layer(0)]);
        assert_eq!(faults(3, vec![dense(1), Layer::Tanh]), [last_layer(1)]);
    }

    #[test]
    fn each_loss_reads_the_outputs_that_it_knows() {
        let accepted = |outputs, loss| ModelSpec::new(3, vec![dense(outputs)], loss).is_ok();
        for loss in [Loss::BinaryCrossEntropy, Loss::SquaredError, Loss::Poisson] {
            assert!(accepted(1, loss) && !accepted(2, loss), "{}", loss.name());
        }
        assert!(accepted(2, Loss::CrossEntropy) && accepted(10, Loss::CrossEntropy));
        let refused = ModelSpec::new(3, vec![dense(1)], Loss::CrossEntropy).unwrap_err();
        assert_eq!(
            refused.faults(),
            [SpecFault::LastLayerOfClasses { layer: 0 }]
        );
    }

    #[test]
    fn a_loss_is_written_by_its_name_and_changes_the_hash() {
        let mut hashes = Vec::new();
        for loss in [Loss::BinaryCrossEntropy, Loss::SquaredError, Loss::Poisson] {
            assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
            let hash = ModelSpec::new(3, vec![dense(1)], loss).unwrap().hash();
            assert!(!hashes.contains(&hash));
            hashes.push(hash);
        }
        assert_eq!(
            serde_json::to_value(Loss::CrossEntropy).unwrap(),
            Loss::CrossEntropy.name()
        );
    }

    #[test]
    fn two_architectures_never_share_a_hash() {
        let hash = |layers| {
            ModelSpec::new(4, layers, Loss::BinaryCrossEntropy)
                .unwrap()
                .hash()
        };
        let first = hash(vec![dense(4), Layer::Relu, dense(1)]);
        assert_ne!(first, hash(vec![dense(4), Layer::Tanh, dense(1)]));
        assert_ne!(first, hash(vec![dense(4), dense(1)]));
        assert_eq!(first, hash(vec![dense(4), Layer::Relu, dense(1)]));
    }
}
