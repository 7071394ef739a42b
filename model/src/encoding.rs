//! The project's canonical encoding, as far as a model needs it, and the hash over it.
//!
//! The rule is the one of `consort-aggregation`: an encoding is a sequence of parts, each a 4-byte big-endian length
//! followed by that many bytes; an integer is a part of 8 big-endian bytes; the first part is the label. It is repeated
//! here in a few lines so that a model needs no curve arithmetic.

use std::convert::Infallible;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// Values that are turned into bytes at a time: 16 KiB, which stay in a first-level cache.
const PIECE_VALUES: usize = 4096;

/// SHA-256 over the canonical encoding of an architecture, of parameters or of an optimizer state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelHash([u8; 32]);

impl ModelHash {
    /// The 32 bytes, for a record or a context that binds them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash with these bytes, as read from a record; it is compared, never trusted.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ModelHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ModelHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ModelHash({self})")
    }
}

/// An encoding being written, part by part.
pub(crate) struct Parts(Vec<u8>);

impl Parts {
    pub(crate) fn new(label: &str) -> Self {
        Self(Vec::new()).bytes(label.as_bytes())
    }

    pub(crate) fn bytes(mut self, part: &[u8]) -> Self {
        let length =
            u32::try_from(part.len()).expect("a part is bounded by the largest model: 256 MiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn hash(self) -> ModelHash {
        ModelHash(Sha256::digest(&self.0).into())
    }
}

/// The hash of an encoding of a label and one part of values.
pub(crate) fn hash_floats(label: &str, values: &[f32]) -> ModelHash {
    hash_encoding(|put| put_labelled_floats(label, &[values], put))
}

/// The hash of what `encode` puts.
pub(crate) fn hash_encoding(
    encode: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Infallible>) -> Result<(), Infallible>,
) -> ModelHash {
    let mut hash = Sha256::new();
    let Ok(()) = encode(&mut |piece| {
        hash.update(piece);
        Ok(())
    });
    ModelHash(hash.finalize().into())
}

/// Puts the encoding of a label and parts of little-endian f32 values piece by piece, so that it need not be in memory: a model may
/// have 256 MiB.
pub(crate) fn put_labelled_floats<E>(
    label: &str,
    parts: &[&[f32]],
    put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    put(&Parts::new(label).finish())?;
    let mut bytes = [0; 4 * PIECE_VALUES];
    for values in parts {
        put(&float_part_length(values))?;
        for some in values.chunks(PIECE_VALUES) {
            let bytes = &mut bytes[..4 * some.len()];
            write_le(some, bytes);
            put(bytes)?;
        }
    }
    Ok(())
}

/// Values as little-endian bytes, four for each: `bytes` has just that length.
pub(crate) fn write_le(values: &[f32], bytes: &mut [u8]) {
    for (word, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *word = value.to_le_bytes();
    }
}

/// What is before the bytes of an encoding of a label and one part of so many bytes.
pub(crate) fn labelled_bytes_before(label: &str, bytes: usize) -> Vec<u8> {
    let mut before = Parts::new(label).finish();
    before.extend_from_slice(&part_length(bytes));
    before
}

fn float_part_length(values: &[f32]) -> [u8; 4] {
    part_length(4 * values.len())
}

fn part_length(bytes: usize) -> [u8; 4] {
    let bytes = u32::try_from(bytes).expect("a part is bounded by the largest model: 256 MiB");
    bytes.to_be_bytes()
}

/// The next part of an encoding and what follows it, or nothing if the bytes end too early.
pub(crate) fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_follows_its_length_in_four_big_endian_bytes() {
        let encoded = Parts::new("ab").u64(258).bytes(&[]).finish();
        let expected = [
            0, 0, 0, 2, b'a', b'b', 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0,
        ];
        assert_eq!(encoded, expected);
    }

    #[test]
    fn values_are_hashed_as_the_encoding_that_they_have_in_memory() {
        for count in [0, 1, PIECE_VALUES, 2 * PIECE_VALUES + 3] {
            let values: Vec<f32> = (0_u16..).take(count).map(f32::from).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let parts = Parts::new("label").bytes(&bytes).finish();
            let hash = ModelHash(Sha256::digest(&parts).into());
            assert_eq!(hash_floats("label", &values), hash, "{count}");
        }
    }

    #[test]
    fn a_part_that_claims_more_bytes_than_there_are_is_not_read() {
        assert_eq!(split_part(&[0, 0, 0, 3, 1, 2]), None);
        assert_eq!(split_part(&[0, 0, 0]), None);
        assert_eq!(split_part(&[0, 0, 0, 1, 7, 9]), Some((&[7][..], &[9][..])));
    }
}
