//! Vectors of four blocks: VAES on AVX-512 registers.

use super::{
    Position, Sign, Word, as_bytes,
    kernel::{PIECE_BYTES, ROW_BYTES, ROWS, kernel},
    round_keys::RoundKeys,
};
use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_add_epi64, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_broadcast_i32x4, _mm512_loadu_si512, _mm512_set_epi32,
    _mm512_set4_epi32, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_sub_epi64, _mm512_xor_si512,
};
use zeroize::Zeroize;

type Vector = __m512i;
const LANES: usize = 4;

kernel!("avx512f,vaes");

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
#[target_feature(enable = "avx512f")]
fn plus<W: Word>(words: Vector, masks: Vector) -> Vector {
    if W::BYTES == 4 {
        _mm512_add_epi32(words, masks)
    } else {
        _mm512_add_epi64(words, masks)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn minus<W: Word>(words: Vector, masks: Vector) -> Vector {
    if W::BYTES == 4 {
        _mm512_sub_epi32(words, masks)
    } else {
        _mm512_sub_epi64(words, masks)
    }
}
