//! The ring of integers modulo 2^w, in which updates are masked and added.

use std::fmt;

/// The width w of a ring element in bits, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Width(u8);

impl Width {
    /// The widest ring: its elements fill one machine word.
    pub const MAX: Self = Self(64);

    /// The width whose elements fill 32 bits.
    pub(crate) const WORD_32: Self = Self(32);

    /// A width of 1 to 64 bits.
    ///
    /// # Errors
    /// [`WidthError`] for any other number.
    pub fn new(bits: u8) -> Result<Self, WidthError> {
        match bits {
            1..=64 => Ok(Self(bits)),
            _ => Err(WidthError { bits }),
        }
    }

    /// The bits of one element.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The representative of `value` modulo 2^w in 0..2^w.
    #[must_use]
    pub fn reduce(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// The bits of the machine word in which one element is held: 32 up to w = 32, 64 above.
    #[must_use]
    pub fn word_bits(self) -> u8 {
        if self.0 <= 32 { 32 } else { 64 }
    }

    /// The bytes of keystream that mask one element: as few as have w bits, 1 to 8.
    #[must_use]
    pub fn mask_bytes(self) -> usize {
        usize::from(self.0.div_ceil(8))
    }

    /// The bytes of `elements` packed elements.
    ///
    /// Saturates at `u64::MAX`, a length that nothing in memory has.
    #[must_use]
    pub fn packed_len(self, elements: u64) -> u64 {
        let bits = u128::from(elements) * u128::from(self.0);
        u64::try_from(bits.div_ceil(8)).unwrap_or(u64::MAX)
    }

    /// The w lowest bits set.
    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.0)
    }

    /// Reads an element as a signed integer in two's complement.
    pub(crate) fn sign_extend(self, element: u64) -> i64 {
        let unused = 64 - self.0;
        (element << unused).cast_signed() >> unused
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.0)
    }
}

/// A number of bits is not the width of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ring element has 1 to 64 bits, not {bits}")]
pub struct WidthError {
    /// The bits that were asked for.
    pub bits: u8,
}

impl WidthError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "ring_width_out_of_range"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1_to_64_bits_are_a_width() {
        assert_eq!(Width::new(0).unwrap_err().code(), "ring_width_out_of_range");
        assert!(Width::new(65).is_err());
        assert_eq!(Width::new(64).unwrap(), Width::MAX);
    }

    #[test]
    fn reduction_keeps_the_lowest_bits_and_sign_extension_reads_them() {
        for bits in 1..=64 {
            let width = Width::new(bits).unwrap();
            let lowest = i64::MIN >> (64 - bits);
            assert_eq!(width.sign_extend(width.reduce(u64::MAX)), -1, "{bits}");
            let reduced = width.reduce(lowest.cast_unsigned());
            assert_eq!(width.sign_extend(reduced), lowest, "{bits}");
            assert_eq!(
                width.sign_extend(width.reduce((!lowest).cast_unsigned())),
                !lowest,
                "{bits}"
            );
        }
    }

    #[test]
    fn a_packed_length_rounds_up_and_does_not_overflow() {
        let width = Width::new(45).unwrap();
        assert_eq!(width.packed_len(0), 0);
        assert_eq!(width.packed_len(1), 6);
        assert_eq!(width.packed_len(8), 45);
        assert_eq!(width.packed_len(u64::MAX), u64::MAX);
    }
}
