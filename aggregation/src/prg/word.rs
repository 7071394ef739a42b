//! The words in which the keystream is read and added.

use zeroize::Zeroize;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A word of keystream and of the vector it masks: `u32` for rings of up to 32 bits, `u64` above.
///
/// Sealed: the two are all there are.
pub trait Word:
    sealed::Sealed + Copy + Default + Eq + std::fmt::Debug + Send + Sync + Zeroize + 'static
{
    /// The bytes of one word.
    const BYTES: usize;

    /// The sum modulo 2^32 or 2^64.
    #[must_use]
    fn plus(self, other: Self) -> Self;

    /// The difference modulo 2^32 or 2^64.
    #[must_use]
    fn minus(self, other: Self) -> Self;

    /// The words of a little-endian byte string; bytes that do not fill a word are left out.
    fn from_le(bytes: &[u8]) -> impl Iterator<Item = Self>;

    /// The word of the lowest 32 or 64 bits of `value`.
    #[must_use]
    fn from_low_bits(value: u64) -> Self;

    /// The word as a number.
    #[must_use]
    fn to_u64(self) -> u64;
}

impl Word for u32 {
    const BYTES: usize = 4;

    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn from_le(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let words = bytes.as_chunks::<4>().0.iter();
        words.map(|word| Self::from_le_bytes(*word))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest bits are what is asked for"
    )]
    fn from_low_bits(value: u64) -> Self {
        value as Self
    }

    fn to_u64(self) -> u64 {
        self.into()
    }
}

impl Word for u64 {
    const BYTES: usize = 8;

    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    fn from_le(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let words = bytes.as_chunks::<8>().0.iter();
        words.map(|word| Self::from_le_bytes(*word))
    }

    fn from_low_bits(value: u64) -> Self {
        value
    }

    fn to_u64(self) -> u64 {
        self
    }
}
