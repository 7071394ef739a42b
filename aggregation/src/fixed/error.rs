//! Why real numbers cannot be encoded.

use super::MAX_QUANTISED;

/// Why a way of encoding, or one update, was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FixedPointError {
    /// The clip is not a positive number.
    #[error("an update is clipped to a positive norm, not {0}")]
    Norm(f64),
    /// The range is not a positive number, or too small for its steps.
    #[error("the range of an element is a positive number, not {0}")]
    Range(f64),
    /// Q is out of bounds.
    #[error("an element is carried by integers of 1 to {MAX_QUANTISED}, not {0}")]
    Quantised(u32),
    /// The layers are not those of the vector.
    #[error("the layers have {covered} elements and the update {elements}")]
    Layers {
        /// Elements of all layers.
        covered: usize,
        /// Elements of the update.
        elements: usize,
    },
    /// Training gave a NaN or an infinity.
    #[error(
        "element {element} of layer {layer} is NaN or infinite; nothing was encoded. Lower the learning rate, or look at the data"
    )]
    NotFinite {
        /// The layer.
        layer: String,
        /// The place within the layer.
        element: usize,
    },
}

impl FixedPointError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Norm(_) => "fixed_point_norm",
            Self::Range(_) => "fixed_point_range",
            Self::Quantised(_) => "fixed_point_quantised",
            Self::Layers { .. } => "fixed_point_layers",
            Self::NotFinite { .. } => "fixed_point_not_finite",
        }
    }
}
