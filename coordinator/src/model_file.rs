//! The file in which a model is handed over: safetensors, the parameters by the names of the layout.

use std::collections::{BTreeMap, HashMap};

use consort_model::{ModelSpec, OptimizerState, Parameters, ParametersError};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The released file: parameters by the names of the layout, f32, little-endian.
///
/// # Errors
/// A text when the format cannot hold the model.
pub fn write(
    model: &ModelSpec,
    state: &OptimizerState,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>, String> {
    let bytes = state.parameters().to_le_bytes();
    let layout = model.layout();
    let mut tensors = Vec::new();
    for tensor in layout.tensors() {
        let range = tensor.range();
        let data = &bytes[4 * range.start..4 * range.end];
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data)
            .map_err(|error| error.to_string())?;
        tensors.push((tensor.name.clone(), view));
    }
    // The format's library takes no other map; the file is written once and then only read.
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
}

/// Reads the parameters of a model from its file. Names that the model has not are passed over.
///
/// # Errors
/// [`ModelFileError`] says what does not fit.
pub fn read(model: &ModelSpec, file: &[u8]) -> Result<Parameters, ModelFileError> {
    let tensors =
        SafeTensors::deserialize(file).map_err(|error| ModelFileError::Form(error.to_string()))?;
    let mut bytes = Vec::new();
    for expected in model.layout().tensors() {
        let name = || expected.name.clone();
        let tensor = tensors
            .tensor(&expected.name)
            .map_err(|_| ModelFileError::Missing(name()))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != expected.shape {
            return Err(ModelFileError::Shape(name()));
        }
        bytes.extend_from_slice(tensor.data());
    }
    Ok(Parameters::from_le_bytes(model, &bytes)?)
}

/// A file is not that of the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFileError {
    /// Not the format.
    #[error("the file is no safetensors file: {0}")]
    Form(String),
    /// A tensor of the model is not there.
    #[error("the file has no tensor {0}")]
    Missing(String),
    /// A tensor has another shape or other numbers.
    #[error("the tensor {0} has not the model's shape in 32-bit numbers")]
    Shape(String),
    /// The numbers themselves.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
}

impl ModelFileError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "model_file_form",
            Self::Missing(_) => "model_file_missing",
            Self::Shape(_) => "model_file_shape",
            Self::Parameters(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_model::{Layer, Loss};

    fn model(inputs: u32) -> ModelSpec {
        let layers = vec![Layer::Dense { outputs: 1 }];
        ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy).unwrap()
    }

    fn file() -> (Parameters, Vec<u8>) {
        let parameters = Parameters::new(&model(3), vec![1.0, -2.0, 0.5, 0.25]).unwrap();
        let state = OptimizerState::initial(parameters.clone());
        let metadata = BTreeMap::from([("consort.job".to_owned(), "job-1".to_owned())]);
        (parameters, write(&model(3), &state, metadata).unwrap())
    }

    #[test]
    fn a_model_survives_its_file() {
        let (parameters, file) = file();
        assert_eq!(read(&model(3), &file), Ok(parameters));
    }

    #[test]
    fn the_file_of_another_model_and_a_cut_one_are_refused() {
        let (_, file) = file();
        let refused = |model: &ModelSpec, file: &[u8]| read(model, file).unwrap_err().code();
        assert_eq!(refused(&model(4), &file), "model_file_shape");
        assert_eq!(
            refused(&model(3), &file[..file.len() - 1]),
            "model_file_form"
        );
        let hidden = vec![
            Layer::Dense { outputs: 1 },
            Layer::Relu,
            Layer::Dense { outputs: 1 },
        ];
        let deeper = ModelSpec::new(3, hidden, Loss::BinaryCrossEntropy).unwrap();
        assert_eq!(refused(&deeper, &file), "model_file_missing");
    }
}
