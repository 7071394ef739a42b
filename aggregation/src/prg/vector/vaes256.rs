//! Vectors of two blocks: VAES on AVX2 registers.

use super::{
    ByteSums, Position, Sign, Span, Word, as_bytes,
    kernel::{ROW_BLOCKS, ROW_BYTES, SHARING_BLOCKS, kernel},
    round_keys::RoundKeys,
};
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_epi64,
    _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_set_epi32, _mm256_shuffle_epi8, _mm256_storeu_si256,
    _mm256_sub_epi16, _mm256_sub_epi32, _mm256_sub_epi64, _mm256_xor_si256,
};
use zeroize::Zeroize;

type Vector = __m256i;
const LANES: usize = 2;

kernel!("avx2,vaes");

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; BYTES]) -> Vector {
    // SAFETY: the reference is valid for reading 32 bytes, and this load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; BYTES], vector: Vector) {
    // SAFETY: the reference is valid for writing 32 bytes, and this store asks for no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(block: &[u8; 16]) -> Vector {
    // SAFETY: the reference is valid for reading 16 bytes, and this load asks for no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm256_xor_si256(left, right)
}

/// Adds to byte 15 of each counter the number of its lane.
#[inline]
#[target_feature(enable = "avx2")]
fn add_lane_numbers(counters: Vector) -> Vector {
    let numbers = _mm256_set_epi32(1 << 24, 0, 0, 0, 0, 0, 0, 0);
    _mm256_add_epi32(counters, numbers)
}

/// Adds 2 to byte 15 of each counter, which has room for it within a row.
#[inline]
#[target_feature(enable = "avx2")]
fn next_counters(counters: Vector) -> Vector {
    _mm256_add_epi32(
        counters,
        _mm256_set_epi32(2 << 24, 0, 0, 0, 2 << 24, 0, 0, 0),
    )
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2,vaes")]
fn last_round(state: Vector, key: Vector) -> Vector {
    _mm256_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx2")]
fn plus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm256_add_epi16(sums, masks),
        4 => _mm256_add_epi32(sums, masks),
        _ => _mm256_add_epi64(sums, masks),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn minus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm256_sub_epi16(sums, masks),
        4 => _mm256_sub_epi32(sums, masks),
        _ => _mm256_sub_epi64(sums, masks),
    }
}

/// Puts into each byte of a block the one that its place in `from` names, or a zero.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(bytes: Vector, from: Vector) -> Vector {
    _mm256_shuffle_epi8(bytes, from)
}
