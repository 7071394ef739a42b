//! What is wrong with a declared architecture: at most one fault for each layer.

use std::fmt;

use super::operation::{LayerPath, Shape};
use super::{MAX_ELEMENTS, MAX_LAYERS, MAX_PARAMETERS};

/// A declared architecture was refused; every fault found, in the order of the layers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    pub(super) faults: Vec<SpecFault>,
}

impl SpecError {
    /// What is wrong, at most one fault per layer. A layer that gets no shape from the one before it is not judged.
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
        /// How many were declared, those in residual blocks too.
        found: usize,
    },
    /// A layer of width zero.
    #[error("layer {layer} ({kind}) has 0 outputs: declare at least 1")]
    NoOutputs {
        /// Which layer.
        layer: LayerPath,
        /// Its kind.
        kind: &'static str,
    },
    /// The layer at which the total passes the limit.
    #[error(
        "layer {layer} ({kind}, {inputs} inputs, {outputs} outputs) takes the model past {MAX_PARAMETERS} parameters: \
         make it or a layer before it narrower"
    )]
    TooManyParameters {
        /// Which layer.
        layer: LayerPath,
        /// Its kind.
        kind: &'static str,
        /// Elements that enter it.
        inputs: u64,
        /// Elements that leave it.
        outputs: u64,
    },
    /// The layer at which what a record fills passes the limit.
    #[error(
        "layer {layer} ({kind}) takes what one record fills on its way past {MAX_ELEMENTS} elements: make the image, the kernel or \
         the outputs of it or of a layer before it smaller"
    )]
    TooManyElements {
        /// Which layer.
        layer: LayerPath,
        /// Its kind.
        kind: &'static str,
    },
    /// An image of another size than what enters.
    #[error(
        "layer {layer} (image) declares {channels} × {height} × {width} elements, at least 1, and {inputs} enter it: the \
         three must multiply to that number"
    )]
    ImageSize {
        /// Which layer.
        layer: LayerPath,
        /// Declared.
        channels: u32,
        /// Declared.
        height: u32,
        /// Declared.
        width: u32,
        /// What enters.
        inputs: u64,
    },
    /// A layer that works on images gets none.
    #[error("layer {layer} ({kind}) needs an image: declare an image layer before it")]
    NeedsImage {
        /// Which layer.
        layer: LayerPath,
        /// Its kind.
        kind: &'static str,
    },
    /// A layer that works on rows gets an image.
    #[error("layer {layer} ({kind}) gets an image: declare a flatten layer before it")]
    NeedsRow {
        /// Which layer.
        layer: LayerPath,
        /// Its kind.
        kind: &'static str,
    },
    /// A kernel that does not fit the image.
    #[error(
        "layer {layer} (conv2d) has kernel {kernel} and padding {padding} on {image}: the kernel must be at least 1 and at most \
         height and width with twice the padding, and the padding below the kernel"
    )]
    Kernel {
        /// Which layer.
        layer: LayerPath,
        /// Declared.
        kernel: u32,
        /// Declared.
        padding: u32,
        /// What enters.
        image: Shape,
    },
    /// Nothing to halve.
    #[error("layer {layer} (max_pool) halves {image}: height and width must be at least 2")]
    PoolSize {
        /// Which layer.
        layer: LayerPath,
        /// What enters.
        image: Shape,
    },
    /// An embedding of something that is no input.
    #[error("layer {layer} (embedding) must be the first layer: only inputs are categories")]
    EmbeddingNotFirst {
        /// Which layer.
        layer: LayerPath,
    },
    /// An embedding of no column.
    #[error("layer {layer} (embedding) has no columns: declare at least one")]
    EmbeddingEmpty {
        /// Which layer.
        layer: LayerPath,
    },
    /// A column that cannot be embedded.
    #[error(
        "column {column} of layer {layer} (embedding) has first {first}, levels {levels}, outputs {outputs}: it takes levels − 1 of \
         the {inputs} inputs from first on, behind those of the column before it, has at least 2 levels and at least 1 output"
    )]
    EmbeddingColumn {
        /// Which layer.
        layer: LayerPath,
        /// Place in the list of columns, from 0.
        column: usize,
        /// Declared.
        first: u32,
        /// Declared.
        levels: u32,
        /// Declared.
        outputs: u32,
        /// Features of a record.
        inputs: u32,
    },
    /// A residual block without layers.
    #[error("layer {layer} (residual) has no layers: declare at least one")]
    ResidualEmpty {
        /// Which layer.
        layer: LayerPath,
    },
    /// A residual block in a residual block.
    #[error(
        "layer {layer} (residual) stands in a residual block: declare its layers there themselves"
    )]
    ResidualNested {
        /// Which layer.
        layer: LayerPath,
    },
    /// A residual block whose sum has no meaning.
    #[error(
        "{input} enter layer {layer} (residual) and {output} leave its layers: both must be the same"
    )]
    ResidualShape {
        /// Which layer.
        layer: LayerPath,
        /// What enters.
        input: Shape,
        /// What leaves.
        output: Shape,
    },
    /// The last layer does not give the one number that the loss reads.
    #[error("layer {layer} is the last and must be dense with 1 output for the loss {loss}")]
    LastLayer {
        /// Which layer.
        layer: LayerPath,
        /// The declared loss.
        loss: &'static str,
    },
    /// The last layer does not give one number for each of several classes.
    #[error(
        "layer {layer} is the last and must be dense with an output for each class, 2 or more, for the loss cross_entropy"
    )]
    LastLayerOfClasses {
        /// Which layer.
        layer: LayerPath,
    },
}
