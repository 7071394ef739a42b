//! Sums of keystreams byte by byte: with them a mask costs as many bytes of keystream as its words have, and no more.
//!
//! Words of 3 bytes lie across the lanes of a processor, and to bring the words of every stream into lanes before they are
//! added would cost that once for each stream. Here the bytes of all streams are added as they lie, each in 16 bits of its
//! own, and the words are put together once, from the sums: Σ ±word = Σ_j 2^8j · Σ ±byte_j.

use super::{Word, position::BLOCK_BYTES};
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Parts of a vector that begin at multiples of so many elements begin with a whole piece.
pub(crate) const PIECES_ELEMENTS: usize = 4096;

/// The elements of one piece, over which all streams pass before the next is touched: they take whole rows of 4096 bytes of
/// keystream, and their sums as few KiB as that allows, 24 with words of 3 and of 6 bytes.
pub(super) const fn piece_elements(word_bytes: usize) -> usize {
    match word_bytes {
        6 | 8 => PIECES_ELEMENTS / 2,
        _ => PIECES_ELEMENTS,
    }
}

/// The most bytes of keystream that one piece takes: that of words of 7 bytes.
const MOST_BYTES: usize = PIECES_ELEMENTS * 7;

/// The streams whose bytes can be summed at a time: 128 · 255 < 2^15, whatever their signs.
pub(super) const MOST_STREAMS: usize = 128;

/// Sums of one piece of keystream taken as pairs of bytes, in two planes of little-endian numbers modulo 2^16. Zeroised on drop.
///
/// One plane has the sum of each pair as a number, the other that of its second byte, exact in two's complement. The first byte's
/// sum is exact too: it is what the pair's sum is more than 2^8 times the second byte's.
#[repr(C, align(64))]
pub(super) struct ByteSums {
    pairs: [u8; MOST_BYTES],
    seconds: [u8; MOST_BYTES],
}

/// Elements of one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The bytes of keystream of one word, 1 to 8.
    pub(super) word_bytes: usize,
    /// The first element, counted from the first of the piece.
    pub(super) first: usize,
    /// How many there are.
    pub(super) elements: usize,
}

impl Span {
    /// The bytes of the whole blocks in which their keystream lies, counted from the first of the piece.
    fn bytes(self) -> Range<usize> {
        let first = self.first * self.word_bytes;
        let end = first + self.elements * self.word_bytes;
        first - first % BLOCK_BYTES..end.next_multiple_of(BLOCK_BYTES)
    }
}

impl ByteSums {
    /// Sums of nothing.
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            pairs: [0; MOST_BYTES],
            seconds: [0; MOST_BYTES],
        })
    }

    /// Both planes for the whole blocks in which the keystream of a span lies.
    pub(super) fn planes(&mut self, span: Span) -> [&mut [u8]; 2] {
        let bytes = span.bytes();
        [&mut self.pairs[bytes.clone()], &mut self.seconds[bytes]]
    }

    /// Adds the words of a span, put together from their sums, to `words`; the sums are of nothing then.
    #[inline(always)]
    pub(super) fn settle<W: Word>(&mut self, words: &mut [W], span: Span) {
        let [pairs, seconds] = self.planes(span);
        leave_the_first_bytes(pairs, seconds);
        let (firsts, seconds) = (&self.pairs, &self.seconds);
        match span.word_bytes {
            1 => settle::<W, 1>(words, span.first, firsts, seconds),
            2 => settle::<W, 2>(words, span.first, firsts, seconds),
            3 => settle::<W, 3>(words, span.first, firsts, seconds),
            4 => settle::<W, 4>(words, span.first, firsts, seconds),
            5 => settle::<W, 5>(words, span.first, firsts, seconds),
            6 => settle::<W, 6>(words, span.first, firsts, seconds),
            7 => settle::<W, 7>(words, span.first, firsts, seconds),
            _ => settle::<W, 8>(words, span.first, firsts, seconds),
        }
        for plane in self.planes(span) {
            plane.fill(0);
        }
    }
}

impl Drop for ByteSums {
    fn drop(&mut self) {
        self.pairs.zeroize();
        self.seconds.zeroize();
    }
}

impl ZeroizeOnDrop for ByteSums {}

/// Makes the sums of the first bytes of those of the pairs.
#[inline(always)]
fn leave_the_first_bytes(pairs: &mut [u8], seconds: &[u8]) {
    let sums = pairs.as_chunks_mut::<2>().0.iter_mut();
    for (pair, second) in sums.zip(seconds.as_chunks::<2>().0) {
        let second = u16::from_le_bytes(*second);
        let first = u16::from_le_bytes(*pair).wrapping_sub(second << 8);
        *pair = first.to_le_bytes();
    }
}

/// Two words take `BYTES` pairs: so they are put together in twos.
#[inline(always)]
fn settle<W: Word, const BYTES: usize>(
    words: &mut [W],
    first: usize,
    firsts: &[u8],
    seconds: &[u8],
) {
    let firsts = &firsts.as_chunks::<2>().0.as_chunks::<BYTES>().0[first / 2..];
    let seconds = &seconds.as_chunks::<2>().0.as_chunks::<BYTES>().0[first / 2..];
    let mut sums = firsts.iter().zip(seconds);
    let (second_of_two, words) = words.split_at_mut(words.len().min(first % 2));
    // The words lead: a `zip` that ends with its left side takes nothing more from the right one.
    for (word, (firsts, seconds)) in second_of_two.iter_mut().zip(&mut sums) {
        *word = word.plus(put_together(firsts, seconds, BYTES));
    }
    let (twos, first_of_two) = words.as_chunks_mut::<2>();
    for ([word, next], (firsts, seconds)) in twos.iter_mut().zip(&mut sums) {
        *word = word.plus(put_together(firsts, seconds, 0));
        *next = next.plus(put_together(firsts, seconds, BYTES));
    }
    for (word, (firsts, seconds)) in first_of_two.iter_mut().zip(&mut sums) {
        *word = word.plus(put_together(firsts, seconds, 0));
    }
}

/// The word of the bytes `from`, `from + 1`, ... of so many pairs.
#[inline(always)]
fn put_together<W: Word, const BYTES: usize>(
    firsts: &[[u8; 2]; BYTES],
    seconds: &[[u8; 2]; BYTES],
    from: usize,
) -> W {
    let mut word = 0_u64;
    for j in 0..BYTES {
        let byte = from + j;
        let plane = if byte.is_multiple_of(2) {
            firsts
        } else {
            seconds
        };
        let sum = i64::from(i16::from_le_bytes(plane[byte / 2]));
        word = word.wrapping_add(sum.cast_unsigned() << (8 * j));
    }
    W::from_low_bits(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What so many keystreams of the same pairs make of zeros; what they were summed in is of nothing again.
    fn settled(
        streams: usize,
        change: fn(u16, u16) -> u16,
        bytes: [u8; 2],
        span: Span,
    ) -> Vec<u64> {
        let mut sums = ByteSums::new();
        let pair = u16::from_le_bytes(bytes);
        for (plane, byte) in sums.planes(span).into_iter().zip([pair, pair >> 8]) {
            for number in plane.as_chunks_mut::<2>().0 {
                for _ in 0..streams {
                    *number = change(u16::from_le_bytes(*number), byte).to_le_bytes();
                }
            }
        }
        let mut words = vec![0; span.elements];
        sums.settle(&mut words, span);
        assert!(sums.pairs.iter().chain(&sums.seconds).all(|sum| *sum == 0));
        words
    }

    #[test]
    fn the_largest_sums_of_as_many_streams_as_are_summed_at_a_time_are_exact() {
        for word_bytes in 1..=7 {
            for (first, elements) in [(0, 32), (1, 1), (3, 8)] {
                let span = Span {
                    word_bytes,
                    first,
                    elements,
                };
                let word = u64::MAX >> (64 - 8 * word_bytes);
                let sum = word.wrapping_mul(MOST_STREAMS as u64);
                let plus = settled(MOST_STREAMS, u16::wrapping_add, [255, 255], span);
                assert!(plus.iter().all(|word| *word == sum), "{word_bytes}");
                let minus = settled(MOST_STREAMS, u16::wrapping_sub, [255, 255], span);
                assert!(
                    minus.iter().all(|word| *word == sum.wrapping_neg()),
                    "{word_bytes}"
                );
            }
        }
    }

    #[test]
    fn a_piece_takes_whole_rows_and_fits_the_planes() {
        for word_bytes in 1..=8 {
            let bytes = piece_elements(word_bytes) * word_bytes;
            assert_eq!(bytes % 4096, 0);
            assert!(bytes <= MOST_BYTES);
            assert_eq!(PIECES_ELEMENTS % piece_elements(word_bytes), 0);
        }
    }
}
