//! Vectors of four blocks: VAES on AVX-512 registers.

use super::{
    ByteSums, Position, Sign, Span, Word, as_bytes,
    kernel::{ROW_BLOCKS, ROW_BYTES, SHARING_BLOCKS, kernel},
    round_keys::RoundKeys,
};
use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi16, _mm512_add_epi32, _mm512_add_epi64,
    _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_loadu_si512,
    _mm512_set_epi32, _mm512_set4_epi32, _mm512_shuffle_epi8, _mm512_storeu_si512,
    _mm512_sub_epi16, _mm512_sub_epi32, _mm512_sub_epi64, _mm512_xor_si512,
};
use zeroize::Zeroize;

type Vector = __m512i;
const LANES: usize = 4;

kernel!("avx512bw,vaes");

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; BYTES]) -> Vector {
    // SAFETY: the reference is valid for reading 64 bytes, and this load asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8; BYTES], vector: Vector) {
    // SAFETY: the reference is valid for writing 64 bytes, and this store asks for no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(block: &[u8; 16]) -> Vector {
    // SAFETY: the reference is valid for reading 16 bytes, and this load asks for no alignment.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(left: Vector, right: Vector) -> Vector {
    _mm512_xor_si512(left, right)
}

/// Adds to byte 15 of each counter the number of its lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_lane_numbers(counters: Vector) -> Vector {
    let numbers = _mm512_set_epi32(
        3 << 24,
        0,
        0,
        0,
        2 << 24,
        0,
        0,
        0,
        1 << 24,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    );
    _mm512_add_epi32(counters, numbers)
}

/// Adds 4 to byte 15 of each counter, which has room for it within a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn next_counters(counters: Vector) -> Vector {
    _mm512_add_epi32(counters, _mm512_set4_epi32(4 << 24, 0, 0, 0))
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn last_round(state: Vector, key: Vector) -> Vector {
    _mm512_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "avx512bw")]
fn plus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm512_add_epi16(sums, masks),
        4 => _mm512_add_epi32(sums, masks),
        _ => _mm512_add_epi64(sums, masks),
    }
}

#[inline]
#[target_feature(enable = "avx512bw")]
fn minus<const LANE: usize>(sums: Vector, masks: Vector) -> Vector {
    match LANE {
        2 => _mm512_sub_epi16(sums, masks),
        4 => _mm512_sub_epi32(sums, masks),
        _ => _mm512_sub_epi64(sums, masks),
    }
}

/// Puts into each byte of a block the one that its place in `from` names, or a zero.
#[inline]
#[target_feature(enable = "avx512bw")]
fn shuffle(bytes: Vector, from: Vector) -> Vector {
    _mm512_shuffle_epi8(bytes, from)
}
