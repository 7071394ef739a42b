//! The declared architecture: a list of layers, from which shapes and the layout of the parameters follow.
//!
//! ```json
//! {"inputs": 30, "layers": [{"dense": {"outputs": 16}}, "relu", {"dense": {"outputs": 1}}], "loss": "binary_cross_entropy"}
//! ```

mod check;
mod fault;
mod layout;
mod operation;

use serde::{Deserialize, Serialize};

use crate::encoding::{ModelHash, Parts};

pub use fault::{SpecError, SpecFault};
pub use layout::{Layout, Tensor};
pub use operation::{LayerPath, Operation, OperationKind, Shape};

/// Most parameters a model may have: 64 Mi, that is 256 MiB of f32. A site holds some 40 bytes for each of them while it trains (its
/// sum, its noise and one record's row in integers, its model and the global one), which is 2.5 GiB at this limit; a member's own policy
/// allows less, and a model that it refuses is never allocated.
pub const MAX_PARAMETERS: u64 = 64 * 1024 * 1024;

/// Most elements that one record may fill on its way through a model, what convolutions unfold included: 64 Mi, that is 256 MiB, and as
/// much for what flows back.
pub const MAX_ELEMENTS: u64 = 64 * 1024 * 1024;

/// Most layers a model may have, those in residual blocks included; far above any tabular network, small enough that a list of faults stays readable.
pub const MAX_LAYERS: usize = 32;

/// A model as a job declares it: inputs, layers in order, loss. A value of this type has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Declared", into = "Declared")]
pub struct ModelSpec {
    inputs: u32,
    layers: Vec<Layer>,
    loss: Loss,
    operations: Vec<Operation>,
}

/// One layer of a model. A record is a row of elements or, from `image` to `flatten`, an image ([`Shape`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A row becomes an image: its elements are those of the first pixel, of the pixel to its right, and so on, row by row from the top. Nothing is computed.
    Image {
        /// Elements of a pixel.
        channels: u32,
        /// Rows of pixels.
        height: u32,
        /// Pixels of a row.
        width: u32,
    },
    /// A convolution with stride 1: each pixel of the output is `p·W + b`, where p is a patch of the image, kernel × kernel pixels, and W has the shape
    /// `[kernel, kernel, channels, outputs]`.
    Conv2d {
        /// Channels of the output, at least 1.
        outputs: u32,
        /// Height and width of the patch, at least 1.
        kernel: u32,
        /// Rows and columns of zeros around the image; below the kernel.
        #[serde(default, skip_serializing_if = "is_zero")]
        padding: u32,
    },
    /// The largest of each 2 × 2 pixels, channel by channel; an odd last row or column is left out.
    MaxPool,
    /// An image becomes a row, in the order of [`Self::Image`].
    Flatten,
    /// `(x − mean)/√(variance + 10⁻⁵)·g + b` over the elements of one record, with a gain and a bias for each; no other record is looked at.
    LayerNorm,
    /// Categories become learned rows. The first layer or none.
    Embedding {
        /// The categories, by rising `first`. Inputs of none of them are passed on.
        columns: Vec<EmbeddedColumn>,
    },
    /// `x + f(x)`, where f is a list of layers without a residual block that gives the shape it gets.
    Residual {
        /// f.
        layers: Vec<Layer>,
    },
}

/// A category whose inputs, +1 for its own level and −1 for the others, give way to a learned row; the first level, for which all are −1, has one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedColumn {
    /// Its first input, from 0.
    pub first: u32,
    /// Its levels: one more than its inputs.
    pub levels: u32,
    /// Elements of a row.
    pub outputs: u32,
}

impl EmbeddedColumn {
    /// The input behind its last one.
    pub fn end(&self) -> u64 {
        u64::from(self.first) + u64::from(self.levels.saturating_sub(1))
    }
}

impl Layer {
    /// The layer as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Image { .. } => "image",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool => "max_pool",
            Self::Flatten => "flatten",
            Self::LayerNorm => "layer_norm",
            Self::Embedding { .. } => "embedding",
            Self::Residual { .. } => "residual",
        }
    }

    /// Its name, by which it is known how many numbers follow.
    fn encode(&self, parts: Parts) -> Parts {
        let parts = parts.bytes(self.name().as_bytes());
        let numbers = |parts: Parts, numbers: &[u32]| {
            let all = numbers.iter();
            all.fold(parts, |parts, number| parts.u64((*number).into()))
        };
        match self {
            Self::Dense { outputs } => numbers(parts, &[*outputs]),
            Self::Relu | Self::Tanh | Self::MaxPool | Self::Flatten | Self::LayerNorm => parts,
            Self::Image {
                channels,
                height,
                width,
            } => numbers(parts, &[*channels, *height, *width]),
            Self::Conv2d {
                outputs,
                kernel,
                padding,
            } => numbers(parts, &[*outputs, *kernel, *padding]),
            Self::Embedding { columns } => {
                let parts = parts.u64(columns.len() as u64);
                columns.iter().fold(parts, |parts, column| {
                    numbers(parts, &[column.first, column.levels, column.outputs])
                })
            }
            Self::Residual { layers } => {
                let parts = parts.u64(layers.len() as u64);
                layers
                    .iter()
                    .fold(parts, |parts, layer| layer.encode(parts))
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
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
    fn fault(self, layer: LayerPath) -> SpecFault {
        match self {
            Self::BinaryCrossEntropy | Self::SquaredError | Self::Poisson => SpecFault::LastLayer {
                layer,
                loss: self.name(),
            },
            Self::CrossEntropy => SpecFault::LastLayerOfClasses { layer },
        }
    }
}

impl ModelSpec {
    /// Checks a declared architecture and infers its shapes. Allocates only after the limits hold.
    ///
    /// # Errors
    /// [`SpecError`] with one fault for each layer that is wrong, in the order of the layers.
    pub fn new(inputs: u32, layers: Vec<Layer>, loss: Loss) -> Result<Self, SpecError> {
        match check::operations_of(inputs, &layers, loss) {
            Ok(operations) => Ok(Self {
                inputs,
                layers,
                loss,
                operations,
            }),
            Err(faults) => Err(SpecError { faults }),
        }
    }

    /// The architecture of a job that trains nothing: no layers, no parameters.
    pub fn without_layers(inputs: u32) -> Self {
        Self {
            inputs,
            layers: Vec::new(),
            loss: Loss::BinaryCrossEntropy,
            operations: Vec::new(),
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

    /// What the layers do, one after the other, with the shapes before and after.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Number of elements of the flat parameter vector.
    pub fn parameter_count(&self) -> usize {
        self.layout().parameter_count()
    }

    /// Where each named tensor lies in the flat parameter vector.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.operations)
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
        let layers = self.layers.iter();
        let parts = layers.fold(parts, |parts, layer| layer.encode(parts));
        parts.bytes(self.loss.name().as_bytes())
    }
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

#[cfg(test)]
mod tests;
