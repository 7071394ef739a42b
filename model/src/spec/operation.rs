//! What the layers do, one after the other: the declared list without its nesting, each operation with the shapes on both of its sides.

use std::fmt;

use super::EmbeddedColumn;

/// Floats that vector instructions take at once: the channels of a pixel are kept in multiples of it, and so they are counted.
const VECTOR: u64 = 16;

/// What one record is between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many elements, side by side.
    Row(u32),
    /// An image: rows of pixels from the top, each from the left, each pixel with its channels side by side.
    Image {
        /// Elements of a pixel.
        channels: u32,
        /// Rows of pixels.
        height: u32,
        /// Pixels of a row.
        width: u32,
    },
}

impl Shape {
    /// Elements of one record.
    pub fn elements(self) -> u64 {
        let (pixels, channels) = self.pixels();
        pixels.saturating_mul(channels.into())
    }

    /// Pixels and the elements of each; a row is one pixel.
    pub fn pixels(self) -> (u64, u32) {
        match self {
            Self::Row(elements) => (1, elements),
            Self::Image {
                channels,
                height,
                width,
            } => (u64::from(height) * u64::from(width), channels),
        }
    }

    /// Elements of memory that one record takes.
    pub(super) fn room(self) -> u64 {
        let (pixels, channels) = self.pixels();
        pixels.saturating_mul(in_vectors(channels.into()))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(elements) => write!(formatter, "{elements} elements"),
            Self::Image {
                channels,
                height,
                width,
            } => write!(
                formatter,
                "an image of {channels} channels, height {height} and width {width}"
            ),
        }
    }
}

/// Elements in whole vectors.
pub(super) fn in_vectors(elements: u64) -> u64 {
    elements.div_ceil(VECTOR).saturating_mul(VECTOR)
}

/// Where a layer stands: its place in the list, from 0, and in a residual block's own list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerPath {
    /// Place in the model's list.
    pub layer: usize,
    /// Place in the list of the residual block there.
    pub inner: Option<usize>,
}

impl From<usize> for LayerPath {
    fn from(layer: usize) -> Self {
        Self { layer, inner: None }
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner {
            None => write!(formatter, "{}", self.layer),
            Some(inner) => write!(formatter, "{}.{inner}", self.layer),
        }
    }
}

/// One thing that is done to each record: it reads what the operation before it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The layer that asks for it.
    pub path: LayerPath,
    /// What is done.
    pub kind: OperationKind,
    /// What enters.
    pub input: Shape,
    /// What leaves.
    pub output: Shape,
    /// Whether a ReLU is the next layer of the same list.
    pub before_relu: bool,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// See [`super::Layer::Dense`].
    Dense,
    /// See [`super::Layer::Relu`].
    Relu,
    /// See [`super::Layer::Tanh`].
    Tanh,
    /// The same elements in the same order under another shape: [`super::Layer::Image`] and [`super::Layer::Flatten`].
    Reshape,
    /// See [`super::Layer::Conv2d`].
    Conv2d {
        /// Height and width of the patch that a pixel of the output looks at.
        kernel: u32,
        /// Rows and columns of zeros around the image.
        padding: u32,
    },
    /// See [`super::Layer::MaxPool`].
    MaxPool,
    /// See [`super::Layer::LayerNorm`].
    LayerNorm,
    /// See [`super::Layer::Embedding`].
    Embedding(Vec<EmbeddedColumn>),
    /// The end of a [`super::Layer::Residual`]: what entered operation `from` is added to what left the operation before this one.
    Add {
        /// Index of the block's first operation.
        from: usize,
    },
}

impl Operation {
    /// The shapes of what is trained in it, in the order of the layout; none where nothing is.
    pub(super) fn trained(&self) -> Vec<(String, Vec<u64>)> {
        let path = self.path;
        let tensor = |name: &str, shape: &[u64]| (format!("layer.{path}.{name}"), shape.to_vec());
        let (inputs, outputs) = (
            u64::from(self.input.pixels().1),
            self.output.pixels().1.into(),
        );
        match &self.kind {
            OperationKind::Dense => vec![
                tensor("weight", &[inputs, outputs]),
                tensor("bias", &[outputs]),
            ],
            OperationKind::Conv2d { kernel, .. } => {
                let kernel = u64::from(*kernel);
                vec![
                    tensor("weight", &[kernel, kernel, inputs, outputs]),
                    tensor("bias", &[outputs]),
                ]
            }
            OperationKind::LayerNorm => {
                let shape = match self.input {
                    Shape::Row(elements) => vec![u64::from(elements)],
                    Shape::Image {
                        channels,
                        height,
                        width,
                    } => vec![height.into(), width.into(), channels.into()],
                };
                vec![tensor("weight", &shape), tensor("bias", &shape)]
            }
            OperationKind::Embedding(columns) => {
                let table = |(place, column): (usize, &EmbeddedColumn)| {
                    let shape = [u64::from(column.levels), u64::from(column.outputs)];
                    tensor(&format!("column.{place}.weight"), &shape)
                };
                columns.iter().enumerate().map(table).collect()
            }
            OperationKind::Relu
            | OperationKind::Tanh
            | OperationKind::Reshape
            | OperationKind::MaxPool
            | OperationKind::Add { .. } => Vec::new(),
        }
    }

    /// Elements of memory that one record takes here: what leaves, and what a convolution unfolds.
    pub(super) fn room(&self) -> u64 {
        let unfolded = match &self.kind {
            OperationKind::Conv2d { kernel, .. } => {
                let kernel = u64::from(*kernel);
                let patch = kernel
                    .saturating_mul(kernel)
                    .saturating_mul(self.input.pixels().1.into());
                self.output.pixels().0.saturating_mul(in_vectors(patch))
            }
            OperationKind::Dense
            | OperationKind::Relu
            | OperationKind::Tanh
            | OperationKind::Reshape
            | OperationKind::MaxPool
            | OperationKind::LayerNorm
            | OperationKind::Embedding(_)
            | OperationKind::Add { .. } => 0,
        };
        self.output.room().saturating_add(unfolded)
    }
}
