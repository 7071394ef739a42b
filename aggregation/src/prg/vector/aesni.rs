//! Vectors of one block: AES-NI.

use super::{
    ByteSums, Position, Sign, Span, Word, as_bytes,
    kernel::{ROW_BLOCKS, ROW_BYTES, SHARING_BLOCKS, kernel},
    round_keys::RoundKeys,
};
use std::arch::x86_64::{
    __m128i, _mm_add_epi16, _mm_add_epi32, _mm_add_epi64, _mm_aesenc_si128, _mm_aesenclast_si128,
    _mm_loadu_si128, _mm_set_epi32, _mm_shuffle_epi8, _mm_storeu_si128, _mm_sub_epi16,
    _mm_sub_epi32, _mm_sub_epi64, _mm_xor_si128,
};
use zeroize::Zeroize;

type Vector = __m128i;
const LANES: usize = 1;

kernel!("aes,ssse3");

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
fn plus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm_add_epi16(sums, masks),
        4 => _mm_add_epi32(sums, masks),
        _ => _mm_add_epi64(sums, masks),
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn minus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm_sub_epi16(sums, masks),
        4 => _mm_sub_epi32(sums, masks),
        _ => _mm_sub_epi64(sums, masks),
    }
}

/// Puts into each byte of a block the one that its place in `from` names, or a zero.
#[inline]
#[target_feature(enable = "ssse3")]
fn shuffle(bytes: Vector, from: Vector) -> Vector {
    _mm_shuffle_epi8(bytes, from)
}
