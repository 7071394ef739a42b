//! Where each named tensor of a model lies in its flat parameter vector.

use std::ops::Range;

use super::operation::Operation;

/// Where each named tensor of a model lies in its flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    parameter_count: usize,
}

impl Layout {
    /// The layout of checked operations, whose sizes fit memory.
    pub(super) fn new(operations: &[Operation]) -> Self {
        let (mut tensors, mut offset) = (Vec::new(), 0);
        for (name, shape) in operations.iter().flat_map(Operation::trained) {
            let size =
                |size: u64| usize::try_from(size).expect("the number of parameters is limited");
            let shape: Vec<usize> = shape.into_iter().map(size).collect();
            let tensor = Tensor {
                name,
                shape,
                offset,
            };
            offset += tensor.elements();
            tensors.push(tensor);
        }
        Self {
            tensors,
            parameter_count: offset,
        }
    }

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
    /// `layer.<path>.weight` or `layer.<path>.bias`; the path counts all layers, activations too, and is `3.1` for the second layer of
    /// a residual block that is the fourth. The table of an embedded column is `layer.0.column.<column>.weight`.
    pub name: String,
    /// `[inputs, outputs]` for the weight of a dense layer, `[outputs]` for a bias, `[kernel, kernel, channels, outputs]` for the weight of a
    /// convolution, `[levels, outputs]` for a table; weight and bias of a layer norm have the shape of a record there.
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
