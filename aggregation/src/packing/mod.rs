//! The wire form of ring elements: exactly w bits each, the lowest bit first, in bytes filled from their lowest bit.

mod groups;

use crate::{
    VectorSchema, Width,
    prg::{Tier, add_packed_vectors},
};
pub(crate) use groups::Packable;
use zeroize::Zeroize;

/// Elements that are converted at a time: a multiple of every group, and small enough for the stack.
const BLOCK_ELEMENTS: usize = 512;

/// Packs elements, of which the w lowest bits count. The unused bits of the last byte are zero.
#[must_use]
pub fn pack(elements: &[u64], width: Width) -> Vec<u8> {
    let mut packed = vec![0; packed_bytes(elements.len(), width)];
    pack_each(&mut packed, elements, width, |element| element);
    packed
}

/// Packs two's complements, of which the w lowest bits count, into exactly the bytes that they take.
pub(crate) fn pack_integers(packed: &mut [u8], integers: &[i64], width: Width) {
    pack_each(packed, integers, width, i64::cast_unsigned);
}

/// The bytes of so many packed elements in memory.
pub(crate) fn packed_bytes(elements: usize, width: Width) -> usize {
    usize::try_from(width.packed_len(elements as u64))
        .expect("a vector in memory packs into memory")
}

fn pack_each<T: Copy>(
    packed: &mut [u8],
    items: &[T],
    width: Width,
    element: impl Fn(T) -> u64 + Copy,
) {
    match width.word_bits() {
        32 => pack_through::<u32, T>(packed, items, width, element),
        _ => pack_through::<u64, T>(packed, items, width, element),
    }
}

fn pack_through<W: Packable, T: Copy>(
    packed: &mut [u8],
    items: &[T],
    width: Width,
    element: impl Fn(T) -> u64 + Copy,
) {
    let codec = W::codec(width);
    let mut words = [W::default(); BLOCK_ELEMENTS];
    let bytes = packed.chunks_mut(packed_bytes(BLOCK_ELEMENTS, width));
    for (packed, items) in bytes.zip(items.chunks(BLOCK_ELEMENTS)) {
        let words = &mut words[..items.len()];
        for (word, &item) in words.iter_mut().zip(items) {
            *word = W::from_low_bits(element(item));
        }
        (codec.pack)(packed, words);
    }
    words.zeroize();
}

/// Adds packed elements to words, wrapping at the word and not reduced to w bits; `packed` holds exactly the bytes that the words
/// take. The bits are the same whatever the tier.
pub(crate) fn add_packed<W: Packable>(words: &mut [W], packed: &[u8], width: Width, tier: Tier) {
    let added = add_packed_vectors(words, packed, width, tier);
    let (rest, packed) = (&mut words[added..], &packed[packed_bytes(added, width)..]);
    (W::codec(width).add)(rest, packed);
}

/// Unpacks exactly `elements` elements.
///
/// # Errors
/// [`PackingError`] when the length is not that of so many elements (checked before room is made for them), or an unused
/// bit of the last byte is set: a vector has one encoding.
pub fn unpack(packed: &[u8], elements: u64, width: Width) -> Result<Vec<u64>, PackingError> {
    check(packed, elements, width)?;
    let elements =
        usize::try_from(elements).expect("each element takes a bit of a slice in memory");
    let mut unpacked = Vec::with_capacity(elements);
    unpack_each(packed, elements, width, |element| unpacked.push(element));
    Ok(unpacked)
}

/// Gives the elements of packed bytes, reduced, one after the other.
pub(crate) fn unpack_each(packed: &[u8], elements: usize, width: Width, put: impl FnMut(u64)) {
    match width.word_bits() {
        32 => unpack_through::<u32>(packed, elements, width, put),
        _ => unpack_through::<u64>(packed, elements, width, put),
    }
}

fn unpack_through<W: Packable>(
    packed: &[u8],
    elements: usize,
    width: Width,
    mut put: impl FnMut(u64),
) {
    let codec = W::codec(width);
    let mut words = [W::default(); BLOCK_ELEMENTS];
    let mut left = elements;
    for packed in packed.chunks(packed_bytes(BLOCK_ELEMENTS, width)) {
        let words = &mut words[..left.min(BLOCK_ELEMENTS)];
        left -= words.len();
        (codec.unpack)(words, packed);
        words.iter().for_each(|word| put(word.to_u64()));
    }
}

/// Checks that `packed` is the encoding of that many elements.
pub(crate) fn check(packed: &[u8], elements: u64, width: Width) -> Result<(), PackingError> {
    let expected = width.packed_len(elements);
    if packed.len() as u64 != expected {
        return Err(PackingError::Length {
            length: packed.len(),
            expected,
        });
    }
    check_unused_bits(packed, elements, width)
}

/// Checks the unused bits of bytes that are the end of the encoding of that many elements.
pub(crate) fn check_unused_bits(
    end: &[u8],
    elements: u64,
    width: Width,
) -> Result<(), PackingError> {
    // Multiplying modulo 8 is enough to know how many bits the last byte uses.
    let used = (elements % 8) * u64::from(width.bits()) % 8;
    match end.last() {
        Some(last) if used != 0 && last >> used != 0 => Err(PackingError::UnusedBits),
        _ => Ok(()),
    }
}

/// Checks that `packed` is the encoding of a range of a vector from `first_element` on, and tells its elements.
///
/// A range ends at the end of the vector or holds a multiple of eight elements, so that it ends with a byte.
pub(crate) fn check_range(
    packed: &[u8],
    first_element: u64,
    schema: &VectorSchema,
) -> Result<u64, PackingError> {
    let refused = PackingError::Range {
        first_element,
        length: packed.len(),
    };
    let rest = schema
        .elements()
        .checked_sub(first_element)
        .ok_or(refused)?;
    let width = schema.width();
    if packed.len() as u64 == width.packed_len(rest) {
        return check(packed, rest, width).map(|()| rest);
    }
    // Eight elements of w bits are w bytes.
    let bytes_of_eight = usize::from(width.bits());
    let elements = (packed.len() / bytes_of_eight) as u64 * 8;
    if !packed.len().is_multiple_of(bytes_of_eight) || elements > rest {
        return Err(refused);
    }
    Ok(elements)
}

/// Why bytes are not packed elements: the fault of whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackingError {
    /// Another length than the elements take.
    #[error("a packed vector has {length} bytes instead of {expected}")]
    Length {
        /// Bytes received.
        length: usize,
        /// Bytes that the elements take.
        expected: u64,
    },
    /// A bit after the last element is set.
    #[error("the unused bits of the last byte of a packed vector are not zero")]
    UnusedBits,
    /// The bytes are not a range of the vector.
    #[error("{length} bytes from element {first_element} on are not a range of the packed vector")]
    Range {
        /// The first element of the range.
        first_element: u64,
        /// Bytes received.
        length: usize,
    },
}

impl PackingError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "packing_length",
            Self::UnusedBits => "packing_unused_bits",
            Self::Range { .. } => "packing_range",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width(bits: u8) -> Width {
        Width::new(bits).unwrap()
    }

    /// The definition: bit b of element i is bit i·w + b of the stream.
    fn defined(elements: &[u64], bits: usize) -> Vec<u8> {
        let mut packed = vec![0; (elements.len() * bits).div_ceil(8)];
        for bit in 0..elements.len() * bits {
            let set = elements[bit / bits] >> (bit % bits) & 1 == 1;
            packed[bit / 8] |= u8::from(set) << (bit % 8);
        }
        packed
    }

    #[test]
    fn elements_are_packed_from_the_lowest_bit_on() {
        assert_eq!(pack(&[0b001, 0b010, 0b111], width(3)), [0b1101_0001, 0b1]);
        assert_eq!(pack(&[0x1234], width(16)), [0x34, 0x12]);
        assert_eq!(pack(&[], width(5)), [0; 0]);
    }

    #[test]
    fn every_width_packs_as_defined_and_comes_back() {
        let mut value = 1_u64;
        let elements: Vec<u64> = std::iter::repeat_with(|| {
            // Any values with all bits busy: the multiplier of Knuth's MMIX generator.
            value = value
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            value
        })
        .take(131)
        .collect();
        for bits in 1..=64 {
            for length in 0..elements.len() {
                let reduced: Vec<u64> = elements[..length]
                    .iter()
                    .map(|&e| width(bits).reduce(e))
                    .collect();
                let packed = pack(&elements[..length], width(bits));
                assert_eq!(packed, defined(&reduced, bits.into()), "{bits} {length}");
                assert_eq!(
                    unpack(&packed, length as u64, width(bits)).unwrap(),
                    reduced,
                    "{bits} {length}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_length_and_a_set_unused_bit_are_refused() {
        let packed = pack(&[1, 2, 3], width(5));
        assert_eq!(
            unpack(&packed, 4, width(5)).unwrap_err().code(),
            "packing_length"
        );
        assert_eq!(
            unpack(&packed[1..], 3, width(5)).unwrap_err().code(),
            "packing_length"
        );
        assert_eq!(
            unpack(&[], u64::MAX, width(64)).unwrap_err().code(),
            "packing_length"
        );
        let set = [packed[0], packed[1] | 0x80];
        assert_eq!(
            unpack(&set, 3, width(5)).unwrap_err(),
            PackingError::UnusedBits
        );
    }

    #[test]
    fn a_range_holds_eights_of_elements_or_the_rest() {
        let schema = VectorSchema::new(21, width(5)).unwrap();
        let packed = pack(&[31; 21], width(5));
        assert_eq!(check_range(&packed, 0, &schema), Ok(21));
        assert_eq!(check_range(&packed[..10], 0, &schema), Ok(16));
        assert_eq!(check_range(&packed[10..], 16, &schema), Ok(5));
        assert_eq!(check_range(&[], 21, &schema), Ok(0));
        for (first, length) in [(0, 9), (16, 5), (16, 10), (22, 0), (u64::MAX, 5)] {
            let error = check_range(&packed[..length], first, &schema).unwrap_err();
            assert_eq!(error.code(), "packing_range", "{first} {length}");
        }
    }

    /// Packed elements added to words through one tier, and reduced.
    fn sums<W: Packable>(tier: Tier, words: &[u64], packed: &[u8], width: Width) -> Vec<u64> {
        let mut words: Vec<W> = words.iter().map(|word| W::from_low_bits(*word)).collect();
        add_packed(&mut words, packed, width, tier);
        let reduced = words.iter().map(|word| width.reduce(word.to_u64()));
        reduced.collect()
    }

    #[test]
    fn every_tier_adds_the_same_elements_at_every_width() {
        let mixed = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        for bits in 1..=64 {
            let width = width(bits);
            for length in (0..=140).chain([1000, 4096, 4099]) {
                let elements: Vec<u64> = (0..length).map(mixed).collect();
                let words: Vec<u64> = (0..length).map(|i| mixed(i + 7)).collect();
                let packed = pack(&elements, width);
                let expected: Vec<u64> = (words.iter().zip(&elements))
                    .map(|(word, element)| width.reduce(word.wrapping_add(*element)))
                    .collect();
                for tier in Tier::available() {
                    let sums = match width.word_bits() {
                        32 => sums::<u32>(tier, &words, &packed, width),
                        _ => sums::<u64>(tier, &words, &packed, width),
                    };
                    assert!(sums == expected, "{tier}, {bits} bits, {length} elements");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn unpacking_random_bytes_never_panics_and_accepts_one_encoding_only(
            packed: Vec<u8>,
            bits in 1_u8..=64,
            elements in 0_u64..200,
        ) {
            if let Ok(unpacked) = unpack(&packed, elements, width(bits)) {
                prop_assert_eq!(pack(&unpacked, width(bits)), packed);
            }
        }
    }
}
