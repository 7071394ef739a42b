//! The inner loops of packing: groups of elements that fill whole bytes, so that every shift is a constant.
//!
//! One function is compiled for each width. An element is one unaligned load and one shift; the bits above it are left to
//! whoever reduces, because modulo 2^w they do not count.

use crate::{Width, prg::Word};
use zeroize::Zeroize;

/// The bytes of the longest group: eight elements of 64 bits.
const LONGEST_GROUP: usize = 64;

/// The elements of the longest group.
const MOST_ELEMENTS: usize = 64;

/// Elements per group: together they fill whole bytes, and at least the eight that one load takes.
const fn group_elements(bits: usize) -> usize {
    if bits < 8 { MOST_ELEMENTS } else { 8 }
}

/// The loops for one width, over slices of any length: `packed` holds exactly the bytes that the words take.
pub(crate) struct Codec<W> {
    /// Adds packed elements to words, wrapping at the word and not reduced to w bits.
    pub(crate) add: fn(&mut [W], &[u8]),
    /// Unpacks elements into words, reduced to w bits.
    pub(crate) unpack: fn(&mut [W], &[u8]),
    /// Packs words, of which the w lowest bits count. Unused bits of the last byte become zero.
    pub(crate) pack: fn(&mut [u8], &[W]),
}

impl<W: Word> Codec<W> {
    const fn of<const BITS: usize>() -> Self {
        Self {
            add: add::<W, BITS>,
            unpack: unpack::<W, BITS>,
            pack: pack::<W, BITS>,
        }
    }
}

/// A word with the loops for each width that it is used for.
pub(crate) trait Packable: Word {
    /// The loops for `width`.
    ///
    /// # Panics
    /// When elements of that width are not kept in this word.
    fn codec(width: Width) -> Codec<Self>;
}

macro_rules! packable {
    ($word:ty: $($bits:literal)*) => {
        impl Packable for $word {
            fn codec(width: Width) -> Codec<Self> {
                match width.bits() {
                    $($bits => Codec::of::<$bits>(),)*
                    bits => unreachable!("elements of {bits} bits are kept in another word"),
                }
            }
        }
    };
}

packable!(u32: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
packable!(u64: 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);

fn add<W: Word, const BITS: usize>(words: &mut [W], packed: &[u8]) {
    each::<W, BITS>(words, packed, |word, element| {
        *word = word.plus(W::from_low_bits(element));
    });
}

fn unpack<W: Word, const BITS: usize>(words: &mut [W], packed: &[u8]) {
    each::<W, BITS>(words, packed, |word, element| {
        *word = W::from_low_bits(element & mask(BITS));
    });
}

#[inline(always)]
fn each<W: Word, const BITS: usize>(
    words: &mut [W],
    packed: &[u8],
    put: impl Fn(&mut W, u64) + Copy,
) {
    let elements = const { group_elements(BITS) };
    let bytes = const { group_elements(BITS) * BITS / 8 };
    let groups = words.len() / elements;
    let (words, rest_words) = words.split_at_mut(groups * elements);
    let (packed, rest) = packed.split_at(groups * bytes);
    let word_groups = words.chunks_exact_mut(elements);
    for (words, group) in word_groups.zip(packed.chunks_exact(bytes)) {
        for (i, word) in words.iter_mut().enumerate() {
            put(word, window::<BITS>(group, i));
        }
    }
    if rest_words.is_empty() {
        return;
    }
    let mut padded = [0; LONGEST_GROUP];
    padded[..rest.len()].copy_from_slice(rest);
    for (i, word) in rest_words.iter_mut().enumerate() {
        put(word, window::<BITS>(&padded[..bytes], i));
    }
    padded.zeroize();
}

/// Element `i` of a group, with bits of its neighbours above it.
#[inline(always)]
fn window<const BITS: usize>(group: &[u8], i: usize) -> u64 {
    let bytes = const { group_elements(BITS) * BITS / 8 };
    // The last loads begin early enough to stay inside the group.
    let start = (i * BITS / 8).min(bytes - 8);
    let shift = i * BITS - 8 * start;
    let load: [u8; 8] = group[start..start + 8]
        .try_into()
        .expect("the range has eight bytes");
    let element = u64::from_le_bytes(load) >> shift;
    if shift + BITS > 64 {
        // Only for 58 bits and more, and never in a load that began early: `shift` is 1 to 7 here.
        element | u64::from(group[start + 8]) << (64 - shift)
    } else {
        element
    }
}

fn pack<W: Word, const BITS: usize>(packed: &mut [u8], words: &[W]) {
    let elements = const { group_elements(BITS) };
    let bytes = const { group_elements(BITS) * BITS / 8 };
    let groups = words.len() / elements;
    let (words, rest) = words.split_at(groups * elements);
    let (packed, last) = packed.split_at_mut(groups * bytes);
    let byte_groups = packed.chunks_exact_mut(bytes);
    for (group, words) in byte_groups.zip(words.chunks_exact(elements)) {
        pack_group::<W, BITS>(group, words);
    }
    if rest.is_empty() {
        return;
    }
    let mut padded = [W::default(); MOST_ELEMENTS];
    padded[..rest.len()].copy_from_slice(rest);
    let mut group = [0; LONGEST_GROUP];
    pack_group::<W, BITS>(&mut group[..bytes], &padded[..elements]);
    last.copy_from_slice(&group[..last.len()]);
    padded.zeroize();
    group.zeroize();
}

#[inline(always)]
fn pack_group<W: Word, const BITS: usize>(group: &mut [u8], words: &[W]) {
    let mut out = [0_u64; 8];
    for (i, word) in words.iter().enumerate() {
        let element = word.to_u64() & mask(BITS);
        let (at, shift) = (i * BITS / 64, i * BITS % 64);
        out[at] |= element << shift;
        if shift + BITS > 64 {
            out[at + 1] |= element >> (64 - shift);
        }
    }
    let bytes = const { group_elements(BITS) * BITS / 8 };
    for (eight, word) in group.as_chunks_mut::<8>().0.iter_mut().zip(out) {
        *eight = word.to_le_bytes();
    }
    // What is left of less than eight bytes is written with the bytes before it.
    let (full, left) = (bytes / 8, bytes % 8);
    if left != 0 {
        let last = out[full - 1] >> (8 * left) | out[full] << (64 - 8 * left);
        group[bytes - 8..].copy_from_slice(&last.to_le_bytes());
    }
}

const fn mask(bits: usize) -> u64 {
    u64::MAX >> (64 - bits)
}
