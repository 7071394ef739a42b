//! Packed elements taken apart by byte permutes and added to words: one vector of words at a time.
//!
//! An element of w bits begins in some byte at some bit. A permute brings that byte and those after it into the element's
//! word, another one the byte behind them, which holds the element's last bits when it begins late in its first byte; a
//! shift over both puts the lowest bit in its place. Bits of the next element stay above, where modulo 2^w they do not count.
//!
//! What is read here was masked and came over the wire: nothing of it is secret, and nothing is zeroised.

use super::{Tier, Word, as_bytes};
use crate::Width;
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_add_epi64, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_shuffle_epi8, _mm256_sllv_epi32, _mm256_sllv_epi64, _mm256_srlv_epi32,
    _mm256_srlv_epi64, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_epi64, _mm512_loadu_si512,
    _mm512_permutexvar_epi8, _mm512_shrdv_epi32, _mm512_shrdv_epi64, _mm512_storeu_si512,
};

/// The bytes of the longest vector.
const LONGEST: usize = 64;

/// Adds as many of the packed elements as whole vectors take, by the instructions of `tier`, and says how many: the rest
/// begins with a byte. None, when the processor or the tier has nothing faster than the portable loop.
pub(in crate::prg) fn add<W: Word>(
    words: &mut [W],
    packed: &[u8],
    width: Width,
    tier: Tier,
) -> usize {
    match tier {
        Tier::Portable | Tier::AesNi => 0,
        Tier::Vaes512 if has_byte_permutes() => {
            let Some(spread) = Spread::of::<W>(width, LONGEST, LONGEST) else {
                return 0;
            };
            // SAFETY: `has_byte_permutes` found the instructions on this processor.
            unsafe { add_512(words, packed, &spread) }
        }
        Tier::Vaes256 | Tier::Vaes512 if is_x86_feature_detected!("avx2") => {
            let Some(spread) = Spread::of::<W>(width, 32, 16) else {
                return 0;
            };
            // SAFETY: AVX2 was found on this processor.
            unsafe { add_256(words, packed, &spread) }
        }
        Tier::Vaes256 | Tier::Vaes512 => 0,
    }
}

fn has_byte_permutes() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
}

/// Where the elements of one vector of words lie in the packed bytes that are loaded for it.
struct Spread {
    /// For each byte of the vector the loaded byte that is put there first.
    low: [u8; LONGEST],
    /// For the lowest byte of each word the one behind those. The other bytes have the highest bit set: none for `pshufb`; for `vpermb`, which
    /// does not look at it, some byte that the shift leaves out, as it takes in 7 bits at most of the lowest.
    high: [u8; LONGEST],
    /// For each word, by how many bits it is shifted right; the bits from `high` then come from above.
    right: [u8; LONGEST],
    /// For each word, by how many bits `high` is shifted left: the bits of a word less those.
    left: [u8; LONGEST],
    /// The packed bytes of the elements of one vector.
    stride: usize,
    /// Where the second of two loads begins; 0 when one is enough.
    second: usize,
}

impl Spread {
    /// For vectors of `vector` bytes, whose elements come from loads of `load` bytes: one, or two for the vector's halves. Nothing
    /// when a vector would begin within a byte, as those of four elements do at odd widths, or an element reaches beyond its load.
    fn of<W: Word>(width: Width, vector: usize, load: usize) -> Option<Self> {
        let bits = usize::from(width.bits());
        let lanes = vector / W::BYTES;
        let lanes_of_load = load / W::BYTES;
        if !(lanes * bits).is_multiple_of(8) {
            return None;
        }
        let mut spread = Self {
            low: [0; LONGEST],
            high: [0x80; LONGEST],
            right: [0; LONGEST],
            left: [0; LONGEST],
            stride: lanes * bits / 8,
            second: if load < vector {
                lanes_of_load * bits / 8
            } else {
                0
            },
        };
        for lane in 0..lanes {
            let base = lane / lanes_of_load * spread.second;
            let (byte, shift) = (lane * bits / 8 - base, lane * bits % 8);
            let behind = byte + W::BYTES;
            if byte + (shift + bits).div_ceil(8) > load {
                return None;
            }
            let first = lane * W::BYTES;
            for (place, from) in (first..first + W::BYTES).zip(byte..) {
                spread.low[place] = number(from.min(load - 1));
            }
            spread.high[first] = if behind < load { number(behind) } else { 0x80 };
            spread.right[first] = number(shift);
            spread.left[first] = number(8 * W::BYTES - shift);
        }
        Some(spread)
    }

    /// How many vectors the words and the packed bytes have, when each loads `reach` bytes from its first byte on.
    fn vectors(&self, words: usize, packed: usize, reach: usize) -> usize {
        packed
            .checked_sub(reach)
            .map_or(0, |rest| words.min(rest / self.stride + 1))
    }
}

/// A position in a vector, or a number of bits, which a byte holds.
fn number(value: usize) -> u8 {
    u8::try_from(value).expect("a vector has at most 64 bytes, a word 64 bits")
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
fn add_512<W: Word>(words: &mut [W], packed: &[u8], spread: &Spread) -> usize {
    let (low, high) = (load_512(&spread.low), load_512(&spread.high));
    let right = load_512(&spread.right);
    let sums = as_bytes(words).as_chunks_mut::<64>().0;
    let count = spread.vectors(sums.len(), packed.len(), 64);
    let loads = packed.windows(64).step_by(spread.stride);
    for (sum, load) in sums[..count].iter_mut().zip(loads) {
        let load = load_512(load.first_chunk().expect("a window has 64 bytes"));
        let low = _mm512_permutexvar_epi8(low, load);
        let high = _mm512_permutexvar_epi8(high, load);
        let total = if W::BYTES == 4 {
            _mm512_add_epi32(load_512(sum), _mm512_shrdv_epi32(low, high, right))
        } else {
            _mm512_add_epi64(load_512(sum), _mm512_shrdv_epi64(low, high, right))
        };
        // SAFETY: the reference is to 64 bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(sum.as_mut_ptr().cast(), total) };
    }
    count * (64 / W::BYTES)
}

#[target_feature(enable = "avx2")]
fn add_256<W: Word>(words: &mut [W], packed: &[u8], spread: &Spread) -> usize {
    let half = |bytes: &[u8; LONGEST]| *bytes.first_chunk().expect("32 of 64 bytes");
    let (low, high) = (load_256(&half(&spread.low)), load_256(&half(&spread.high)));
    let (right, left) = (
        load_256(&half(&spread.right)),
        load_256(&half(&spread.left)),
    );
    let sums = as_bytes(words).as_chunks_mut::<32>().0;
    let reach = spread.second + 16;
    let count = spread.vectors(sums.len(), packed.len(), reach);
    let loads = packed.windows(reach).step_by(spread.stride);
    for (sum, load) in sums[..count].iter_mut().zip(loads) {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&load[..16]);
        both[16..].copy_from_slice(&load[spread.second..]);
        let load = load_256(&both);
        let low = _mm256_shuffle_epi8(load, low);
        let high = _mm256_shuffle_epi8(load, high);
        // Shifts by all bits of a word, or more, give zero.
        let total = if W::BYTES == 4 {
            let (low, high) = (_mm256_srlv_epi32(low, right), _mm256_sllv_epi32(high, left));
            _mm256_add_epi32(load_256(sum), _mm256_or_si256(low, high))
        } else {
            let (low, high) = (_mm256_srlv_epi64(low, right), _mm256_sllv_epi64(high, left));
            _mm256_add_epi64(load_256(sum), _mm256_or_si256(low, high))
        };
        // SAFETY: the reference is to 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(sum.as_mut_ptr().cast(), total) };
    }
    count * (32 / W::BYTES)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
