//! The flat parameter vector: its bytes, its hash, and the deterministic start of a training.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::encoding::{ModelHash, Parts, hash_floats, write_le};
use crate::spec::{ModelSpec, Operation, OperationKind};

/// What the hash of parameters is labelled with.
pub(crate) const PARAMETERS_LABEL: &str = "consort/model/parameters/v1";

/// The parameters of a model as one flat vector, in the order of its [`crate::Layout`]. Every element is finite.
#[derive(Clone, PartialEq)]
pub struct Parameters(Vec<f32>);

impl Parameters {
    /// Takes a flat vector that fits the model.
    ///
    /// # Errors
    /// [`ParametersError`] if the length differs from the model's or an element is not finite.
    pub fn new(spec: &ModelSpec, values: Vec<f32>) -> Result<Self, ParametersError> {
        let expected = spec.parameter_count();
        if values.len() != expected {
            return Err(ParametersError::WrongLength {
                expected,
                found: values.len(),
            });
        }
        Self::finite(values)
    }

    /// The parameters a training starts from: the same on every machine for the same model and seed.
    ///
    /// A logistic model starts at zero. Else biases are zero, the gain of a layer norm is 1, and all others are uniform on (−b, b): weights with
    /// b = √(6/inputs) before a ReLU (He et al. 2015, section 2.2) and √(6/(inputs+outputs)) elsewhere (Glorot and Bengio 2010, equation
    /// 16), where a convolution counts kernel² times its channels, and tables with b = √(6/(1+outputs)), of one input that is on. Integers from SHA-256 become
    /// floats by exact operations; the only rounded ones are a division, a square root and one multiplication, all fixed by IEEE 754.
    pub fn initial(spec: &ModelSpec, seed: &InitialSeed) -> Self {
        let layout = spec.layout();
        let mut values = vec![0.0; layout.parameter_count()];
        if spec.is_logistic() {
            return Self(values);
        }
        let mut uniform = UniformStream::new(seed);
        let mut tensors = layout.tensors().iter();
        let mut next = || tensors.next().expect("the layout has all that is trained");
        for operation in spec.operations() {
            match &operation.kind {
                OperationKind::Dense | OperationKind::Conv2d { .. } => {
                    let (weight, _bias) = (next(), next());
                    let bound = uniform_bound(operation);
                    values[weight.range()].fill_with(|| uniform.next() * bound);
                }
                OperationKind::LayerNorm => {
                    let (gain, _bias) = (next(), next());
                    values[gain.range()].fill(1.0);
                }
                OperationKind::Embedding(columns) => {
                    for column in columns {
                        let bound = (6.0 / exact_f32(1 + u64::from(column.outputs))).sqrt();
                        values[next().range()].fill_with(|| uniform.next() * bound);
                    }
                }
                OperationKind::Relu
                | OperationKind::Tanh
                | OperationKind::Reshape
                | OperationKind::MaxPool
                | OperationKind::Add { .. } => {}
            }
        }
        Self(values)
    }

    /// Reads little-endian f32 values, exactly as many as the model has.
    ///
    /// # Errors
    /// [`ParametersError`] if the length differs from the model's or an element is not finite.
    pub fn from_le_bytes(spec: &ModelSpec, bytes: &[u8]) -> Result<Self, ParametersError> {
        let expected = spec.parameter_count();
        let (words, rest) = bytes.as_chunks::<4>();
        if words.len() != expected || !rest.is_empty() {
            return Err(ParametersError::WrongByteLength {
                expected: expected * 4,
                found: bytes.len(),
            });
        }
        Self::finite(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// The values as little-endian f32, 4 bytes each.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4 * self.0.len()];
        write_le(&self.0, &mut bytes);
        bytes
    }

    /// SHA-256 over the canonical encoding of the bytes: the hash of the model in a round's context.
    pub fn hash(&self) -> ModelHash {
        hash_floats(PARAMETERS_LABEL, &self.0)
    }

    /// The flat vector.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Takes values of which the caller has seen that they are finite and as many as the model has.
    pub(crate) fn seen_finite(values: Vec<f32>) -> Self {
        Self(values)
    }

    /// Checks that every element is finite; the caller vouches for the length.
    pub(crate) fn finite(values: Vec<f32>) -> Result<Self, ParametersError> {
        // Without an early end: that lets the check run at the speed of memory.
        if values
            .iter()
            .fold(true, |all, value| all & value.is_finite())
        {
            return Ok(Self(values));
        }
        let element = values.iter().position(|value| !value.is_finite());
        Err(ParametersError::NotFinite {
            element: element.unwrap_or(0),
        })
    }
}

/// Shows the length only: parameters can be large, and before their release they are nobody's to print.
impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Parameters({} elements)", self.0.len())
    }
}

/// The public seed of a job's initial parameters; it hides nothing and protects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialSeed(pub [u8; 32]);

/// Bytes or values that are no parameters of the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// Another number of elements than the model has.
    #[error(
        "{found} parameters were given and the model has {expected}: take those of this job's architecture"
    )]
    WrongLength {
        /// Elements of the model.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// Another number of bytes than the model has.
    #[error(
        "{found} bytes were given and the model has {expected}: take the parameters of this job's architecture"
    )]
    WrongByteLength {
        /// Bytes of the model.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// NaN or an infinity.
    #[error(
        "parameter {element} is not a finite number: the file is damaged or the training has diverged"
    )]
    NotFinite {
        /// Position in the flat vector.
        element: usize,
    },
}

impl ParametersError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongLength { .. } | Self::WrongByteLength { .. } => {
                "model_parameters_wrong_length"
            }
            Self::NotFinite { .. } => "model_parameters_not_finite",
        }
    }
}

/// How far from zero the weights of a dense layer or a convolution begin.
fn uniform_bound(operation: &Operation) -> f32 {
    let field = match &operation.kind {
        OperationKind::Conv2d { kernel, .. } => u64::from(*kernel) * u64::from(*kernel),
        OperationKind::Dense
        | OperationKind::Relu
        | OperationKind::Tanh
        | OperationKind::Reshape
        | OperationKind::MaxPool
        | OperationKind::LayerNorm
        | OperationKind::Embedding(_)
        | OperationKind::Add { .. } => 1,
    };
    let inputs = field * u64::from(operation.input.pixels().1);
    let outputs = field * u64::from(operation.output.pixels().1);
    let fan = if operation.before_relu {
        inputs
    } else {
        inputs + outputs
    };
    (6.0 / exact_f32(fan)).sqrt()
}

/// Uniform floats on (−1, 1), symmetric about zero, from SHA-256 in counter mode.
struct UniformStream {
    /// The encoding of label, seed and block, of which each block changes the last eight bytes.
    input: Vec<u8>,
    block: u64,
    words: [u8; 32],
    used: usize,
}

impl UniformStream {
    fn new(seed: &InitialSeed) -> Self {
        Self {
            input: Parts::new("consort/model/initial/v1")
                .bytes(&seed.0)
                .u64(0)
                .finish(),
            block: 0,
            words: [0; 32],
            used: 32,
        }
    }

    fn next(&mut self) -> f32 {
        if self.used == self.words.len() {
            let place = self.input.len() - 8;
            self.input[place..].copy_from_slice(&self.block.to_be_bytes());
            self.words = Sha256::digest(&self.input).into();
            self.block += 1;
            self.used = 0;
        }
        let bytes = &self.words[self.used..self.used + 4];
        self.used += 4;
        // 24 bits k become the odd number 2k + 1 − 2^24, below 2^24 in size, so each step is exact in f32.
        let bits = u64::from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]));
        (exact_f32(2 * bits) - 16_777_215.0) / 16_777_216.0
    }
}

/// An integer as f32; exact below 2^24, and for the even numbers below 2^25 drawn above.
#[expect(
    clippy::cast_precision_loss,
    reason = "integers here have at most 24 significant bits; wider sums of widths round once, the same everywhere"
)]
fn exact_f32(value: u64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Layer, Loss};

    fn network() -> ModelSpec {
        let layers = vec![
            Layer::Dense { outputs: 64 },
            Layer::Relu,
            Layer::Dense { outputs: 1 },
        ];
        ModelSpec::new(100, layers, Loss::BinaryCrossEntropy).unwrap()
    }

    #[test]
    fn a_logistic_model_starts_at_zero() {
        let spec = ModelSpec::new(
            30,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap();
        let start = Parameters::initial(&spec, &InitialSeed([9; 32]));
        assert_eq!(start.as_slice(), [0.0; 31]);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_every_machine() {
        // vectors/known_answers.py
        let hash = Parameters::initial(&network(), &InitialSeed([7; 32])).hash();
        assert_eq!(
            hash.to_string(),
            "08a6f422e7d6e2309359ba9b9bdb30fe8075f8f46010f2a1cb49c7538708b021"
        );
        assert_ne!(
            hash,
            Parameters::initial(&network(), &InitialSeed([8; 32])).hash()
        );
    }

    #[test]
    fn weights_are_uniform_within_the_bound_and_biases_are_zero() {
        let spec = network();
        let start = Parameters::initial(&spec, &InitialSeed([3; 32]));
        let layout = spec.layout();
        let weight = &start.as_slice()[layout.tensors()[0].range()];
        let bound = (6.0_f32 / 100.0).sqrt();
        assert!(weight.iter().all(|value| value.abs() < bound));
        assert!(
            start.as_slice()[layout.tensors()[1].range()]
                .iter()
                .all(|value| *value == 0.0)
        );
        // n = 6400 uniform values: mean has sd b/sqrt(3n), mean square b²/3 has sd b²·sqrt(4/45/n); five sd each.
        let n = 6400.0_f32;
        let mean = weight.iter().sum::<f32>() / n;
        let square = weight.iter().map(|value| value * value).sum::<f32>() / n;
        assert!(mean.abs() < 5.0 * bound / (3.0 * n).sqrt());
        assert!(
            (square - bound * bound / 3.0).abs() < 5.0 * bound * bound * (4.0 / 45.0 / n).sqrt()
        );
    }

    #[test]
    fn bytes_and_back_is_the_same_vector() {
        let spec = network();
        let start = Parameters::initial(&spec, &InitialSeed([1; 32]));
        assert_eq!(
            Parameters::from_le_bytes(&spec, &start.to_le_bytes()).unwrap(),
            start
        );
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        let spec = network();
        let bytes = vec![0; spec.parameter_count() * 4];
        for length in [0, bytes.len() - 1, bytes.len() - 4] {
            let refused = Parameters::from_le_bytes(&spec, &bytes[..length]).unwrap_err();
            assert_eq!(refused.code(), "model_parameters_wrong_length");
        }
    }

    #[test]
    fn a_parameter_that_is_not_finite_is_refused_by_its_place() {
        let spec = network();
        let mut values = vec![0.0; spec.parameter_count()];
        values[17] = f32::NAN;
        assert_eq!(
            Parameters::new(&spec, values),
            Err(ParametersError::NotFinite { element: 17 })
        );
    }

    #[test]
    fn debug_output_shows_no_value() {
        let spec = ModelSpec::new(
            1,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap();
        let parameters = Parameters::new(&spec, vec![0.125, 0.5]).unwrap();
        assert_eq!(format!("{parameters:?}"), "Parameters(2 elements)");
    }
}
