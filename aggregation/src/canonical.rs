//! The canonical encoding, over which everything is hashed and signed.
//!
//! An encoding is a sequence of parts. A part is a 4-byte big-endian length and that many bytes; an integer is a part of
//! 8 big-endian bytes; a list is its count (an integer) and then the parts of its items. The first part is a label, so
//! that no two kinds of message share an encoding.

use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Bytes of the length in front of each part.
const LENGTH_BYTES: usize = 4;

/// Builds one canonical encoding, part by part.
#[derive(Clone, Debug)]
pub struct Canonical {
    encoded: Vec<u8>,
}

impl Canonical {
    /// Starts an encoding with its label, such as `consort/round/context/v1`.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self {
            encoded: Vec::with_capacity(128),
        }
        .str(label)
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// If `part` is 4 GiB or longer: what is so big enters an encoding as its digest.
    #[must_use]
    pub fn bytes(mut self, part: &[u8]) -> Self {
        let length = u32::try_from(part.len()).expect("a part is shorter than 4 GiB");
        self.encoded.extend_from_slice(&length.to_be_bytes());
        self.encoded.extend_from_slice(part);
        self
    }

    /// Appends text, as UTF-8.
    #[must_use]
    pub fn str(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    /// Appends an integer.
    #[must_use]
    pub fn u64(self, part: u64) -> Self {
        self.bytes(&part.to_be_bytes())
    }

    /// Announces a list of `count` items, whose parts follow.
    #[must_use]
    pub fn list(self, count: usize) -> Self {
        self.u64(count as u64)
    }

    /// The encoding.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.encoded
    }

    /// SHA-256 over the encoding.
    #[must_use]
    pub fn hash(self) -> Digest {
        Digest::of(&self.encoded)
    }
}

/// Reads one canonical encoding strictly: each value has exactly one encoding that is accepted.
///
/// It borrows from its input and allocates nothing, whatever lengths the input claims.
#[derive(Clone, Debug)]
pub struct CanonicalReader<'a> {
    rest: &'a [u8],
}

impl<'a> CanonicalReader<'a> {
    /// Starts reading an encoding that must carry this label.
    ///
    /// # Errors
    /// [`CanonicalError::Truncated`], or [`CanonicalError::WrongLabel`] for another kind of message.
    pub fn new(encoded: &'a [u8], label: &'static str) -> Result<Self, CanonicalError> {
        let mut reader = Self { rest: encoded };
        if reader.part()? != label.as_bytes() {
            return Err(CanonicalError::WrongLabel { expected: label });
        }
        Ok(reader)
    }

    /// The next part, of at most `max` bytes.
    ///
    /// # Errors
    /// When the part is longer, or the input ends before it does.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], CanonicalError> {
        let part = self.part()?;
        if part.len() > max {
            return Err(CanonicalError::PartTooLong {
                length: part.len(),
                max,
            });
        }
        Ok(part)
    }

    /// The next part, of exactly `N` bytes: a key, a digest, a signature.
    ///
    /// # Errors
    /// When the part has another length, or the input ends before it does.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CanonicalError> {
        let part = self.part()?;
        part.try_into().map_err(|_| CanonicalError::WrongLength {
            length: part.len(),
            expected: N,
        })
    }

    /// The next part as text, of at most `max` bytes.
    ///
    /// # Errors
    /// As [`Self::bytes`], and when the part is not UTF-8.
    pub fn str(&mut self, max: usize) -> Result<&'a str, CanonicalError> {
        std::str::from_utf8(self.bytes(max)?).map_err(|_| CanonicalError::NotText)
    }

    /// The next part as an integer.
    ///
    /// # Errors
    /// When the part is not 8 bytes, or the input ends before it does.
    pub fn u64(&mut self) -> Result<u64, CanonicalError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The count of a list of at most `max` items.
    ///
    /// Each item takes at least one part, so a count that the rest of the input cannot hold is refused here: a caller may
    /// reserve room for the count it gets.
    ///
    /// # Errors
    /// When the count exceeds `max`, or the input is too short for that many items.
    pub fn list(&mut self, max: usize) -> Result<usize, CanonicalError> {
        let count = self.u64()?;
        if count > max as u64 {
            return Err(CanonicalError::ListTooLong { count, max });
        }
        if count > (self.rest.len() / LENGTH_BYTES) as u64 {
            return Err(CanonicalError::Truncated);
        }
        usize::try_from(count).map_err(|_| CanonicalError::ListTooLong { count, max })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes follow the last part.
    pub fn finish(self) -> Result<(), CanonicalError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CanonicalError::TrailingBytes)
        }
    }

    fn part(&mut self) -> Result<&'a [u8], CanonicalError> {
        let (length, rest) = self
            .rest
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(CanonicalError::Truncated)?;
        let length =
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CanonicalError::Truncated)?;
        let (part, rest) = rest
            .split_at_checked(length)
            .ok_or(CanonicalError::Truncated)?;
        self.rest = rest;
        Ok(part)
    }
}

/// Why bytes are not the canonical encoding that was expected: the fault of whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The input ends inside a part.
    #[error("the encoding ends before its last part does")]
    Truncated,
    /// The label names another kind of message.
    #[error("the encoding is not a {expected}")]
    WrongLabel {
        /// The label that was expected.
        expected: &'static str,
    },
    /// A part is longer than its bound.
    #[error("a part has {length} bytes and may have at most {max}")]
    PartTooLong {
        /// Bytes of the part.
        length: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// A part of fixed length has another length.
    #[error("a part has {length} bytes and must have {expected}")]
    WrongLength {
        /// Bytes of the part.
        length: usize,
        /// Bytes it must have.
        expected: usize,
    },
    /// A part that must be text is not UTF-8.
    #[error("a part that must be text is not UTF-8")]
    NotText,
    /// A list claims more items than its bound.
    #[error("a list claims {count} items and may have at most {max}")]
    ListTooLong {
        /// Items claimed.
        count: u64,
        /// Items it may have.
        max: usize,
    },
    /// Bytes follow the last part.
    #[error("bytes follow the last part of the encoding")]
    TrailingBytes,
}

impl CanonicalError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "canonical_truncated",
            Self::WrongLabel { .. } => "canonical_wrong_label",
            Self::PartTooLong { .. } => "canonical_part_too_long",
            Self::WrongLength { .. } => "canonical_wrong_length",
            Self::NotText => "canonical_not_text",
            Self::ListTooLong { .. } => "canonical_list_too_long",
            Self::TrailingBytes => "canonical_trailing_bytes",
        }
    }
}

/// A SHA-256 digest, shown as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// SHA-256 of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Reads exactly the form that `Display` writes: one digest has one spelling.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| DigestError)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError),
    }
}

/// A text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lowercase hexadecimal digits")]
pub struct DigestError;

impl DigestError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "digest_malformed"
    }
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
