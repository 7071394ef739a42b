//! Parameters that arrive as bytes, piece by piece: read and hashed as they come, so that nothing is left to do at their end.

use sha2::{Digest as _, Sha256};

use crate::encoding::{ModelHash, labelled_bytes_before};
use crate::parameters::{PARAMETERS_LABEL, Parameters, ParametersError};
use crate::spec::ModelSpec;

/// Little-endian f32 values of a model on their way in.
///
/// Room is made for as many values as the model has, which its contract says; more bytes are refused when they come.
pub struct ArrivingParameters {
    values: Vec<f32>,
    expected: usize,
    /// Bytes of a value whose rest is in the next piece, of which `cut_bytes` count.
    cut: [u8; 4],
    cut_bytes: usize,
    bytes: usize,
    hash: Sha256,
}

/// Parameters together with the hash that their bytes had when they arrived: there is no other way to one.
pub struct ArrivedParameters {
    parameters: Parameters,
    hash: ModelHash,
}

impl ArrivingParameters {
    /// Those of this model, of which nothing is there yet.
    pub fn new(spec: &ModelSpec) -> Self {
        Self::of_length(spec.parameter_count())
    }

    /// So many values, which a contract says: a model's, perhaps with what goes with it.
    pub fn of_length(expected: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update(labelled_bytes_before(PARAMETERS_LABEL, 4 * expected));
        Self {
            values: Vec::with_capacity(expected),
            expected,
            cut: [0; 4],
            cut_bytes: 0,
            bytes: 0,
            hash,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ParametersError::WrongByteLength`] when there are more than the model's; nothing of the piece is taken then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ParametersError> {
        let found = self.bytes.saturating_add(piece.len());
        if found > 4 * self.expected {
            return Err(self.wrong_length(found));
        }
        self.bytes = found;
        self.hash.update(piece);
        let fill = if self.cut_bytes == 0 {
            0
        } else {
            4 - self.cut_bytes
        };
        let (first, rest) = piece.split_at(fill.min(piece.len()));
        self.keep(first);
        let (words, last) = rest.as_chunks::<4>();
        let words = words.iter().map(|word| f32::from_le_bytes(*word));
        self.values.extend(words);
        self.keep(last);
        Ok(())
    }

    /// The parameters and their hash, when all bytes are there.
    ///
    /// # Errors
    /// [`ParametersError`] if bytes are missing or an element is not finite.
    pub fn finish(self) -> Result<ArrivedParameters, ParametersError> {
        if self.bytes != 4 * self.expected {
            return Err(self.wrong_length(self.bytes));
        }
        Ok(ArrivedParameters {
            parameters: Parameters::finite(self.values)?,
            hash: ModelHash::from_bytes(self.hash.finalize().into()),
        })
    }

    /// Keeps bytes of a value that a piece cuts, and takes the value when it is whole.
    fn keep(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.cut[self.cut_bytes] = *byte;
            self.cut_bytes += 1;
            if self.cut_bytes == self.cut.len() {
                self.values.push(f32::from_le_bytes(self.cut));
                self.cut_bytes = 0;
            }
        }
    }

    fn wrong_length(&self, found: usize) -> ParametersError {
        ParametersError::WrongByteLength {
            expected: 4 * self.expected,
            found,
        }
    }
}

impl ArrivedParameters {
    /// The hash of the bytes that came.
    pub fn hash(&self) -> ModelHash {
        self.hash
    }

    /// The parameters.
    pub fn into_parameters(self) -> Parameters {
        self.parameters
    }
}

/// Shows how far it is only.
impl std::fmt::Debug for ArrivingParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (have, all) = (self.values.len(), self.expected);
        write!(formatter, "ArrivingParameters({have} of {all})")
    }
}

/// Shows hash and length only.
impl std::fmt::Debug for ArrivedParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "ArrivedParameters({}, {:?})",
            self.hash, self.parameters
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Layer, Loss};
    use proptest::prelude::*;

    fn spec(inputs: u32) -> ModelSpec {
        let layers = vec![Layer::Dense { outputs: 1 }];
        ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy).unwrap()
    }

    proptest! {
        #[test]
        fn pieces_of_any_sizes_are_the_parameters_and_their_hash(
            values in proptest::collection::vec(-1e9_f32..1e9, 2..60),
            pieces in proptest::collection::vec(0_usize..23, 0..40),
        ) {
            let spec = spec(u32::try_from(values.len() - 1).unwrap());
            let whole = Parameters::new(&spec, values).unwrap();
            let bytes = whole.to_le_bytes();
            let mut arriving = ArrivingParameters::new(&spec);
            let mut rest = &bytes[..];
            for piece in pieces.into_iter().chain([bytes.len()]) {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                arriving.push(now).unwrap();
                rest = later;
            }
            let arrived = arriving.finish().unwrap();
            prop_assert_eq!(arrived.hash(), whole.hash());
            prop_assert_eq!(arrived.into_parameters(), whole);
        }
    }

    #[test]
    fn a_byte_too_many_one_too_few_and_a_value_that_is_not_finite_are_refused() {
        let mut arriving = ArrivingParameters::new(&spec(1));
        arriving.push(&[0; 7]).unwrap();
        let code = |error: ParametersError| error.code();
        assert_eq!(
            arriving.push(&[0; 2]).map_err(code),
            Err("model_parameters_wrong_length")
        );
        let short = arriving.finish().map(drop);
        assert_eq!(short.map_err(code), Err("model_parameters_wrong_length"));
        let mut arriving = ArrivingParameters::new(&spec(1));
        arriving.push(&[0, 0, 0, 0, 0, 0, 0xc0, 0x7f]).unwrap();
        let nan = arriving.finish().unwrap_err();
        assert_eq!(nan, ParametersError::NotFinite { element: 1 });
    }
}
