//! Vectors of one block: AES-NI.

use super::{
    Position, Sign, Word, as_bytes,
    kernel::{PIECE_BYTES, ROW_BYTES, ROWS, kernel},
    round_keys::RoundKeys,
};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_add_epi64, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_loadu_si128,
    _mm_set_epi32, _mm_storeu_si128, _mm_sub_epi32, _mm_sub_epi64, _mm_xor_si128,
};
use zeroize::Zeroize;

type Vector = __m128i;
const LANES: usize = 1;

kernel!("aes");

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; BYTES]) -> Vector {
    // SAFETY: the reference is valid for reading 16 bytes, and this load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(bytes: &mut [u8; BYTES], vector: Vector) {
    // SAFETY: the reference is valid for writing 16 bytes, and this store asks for no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn broadcast(block: &[u8; 16]) -> Vector {
    load(block)
}

#[inline]
#[target_feature(enable = "sse2")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm_xor_si128(left, right)
}

/// The only lane has number 0.
#[inline]
#[target_feature(enable = "sse2")]
fn add_lane_numbers(counters: Vector) -> Vector {
    counters
}

/// Adds 1 to byte 15 of each counter, which has room for it within a row.
#[inline]
#[target_feature(enable = "sse2")]
fn next_counters(counters: Vector) -> Vector {
    _mm_add_epi32(counters, _mm_set_epi32(1 << 24, 0, 0, 0))
}

#[inline]
#[target_feature(enable = "aes")]
fn round(state: Vector, key: Vector) -> Vector {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes")]
fn last_round(state: Vector, key: Vector) -> Vector {
    _mm_aesenclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "sse2")]
fn plus<W: Word>(words: Vector, masks: Vector) -> Vector {
    if W::BYTES == 4 {
        _mm_add_epi32(words, masks)
    } else {
        _mm_add_epi64(words, masks)
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn minus<W: Word>(words: Vector, masks: Vector) -> Vector {
    if W::BYTES == 4 {
        _mm_sub_epi32(words, masks)
    } else {
        _mm_sub_epi64(words, masks)
    }
}
