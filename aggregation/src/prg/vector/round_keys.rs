//! The key schedule of AES-256, by the instruction made for it.

use std::arch::x86_64::{
    __m128i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32, _mm_slli_si128,
    _mm_storeu_si128, _mm_xor_si128,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The round keys of AES-256 (FIPS 197 section 5.2), w[4i..4i+4] as bytes in the i-th: zeroised on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(align(16))]
pub(super) struct RoundKeys(pub(super) [[u8; 16]; 15]);

impl RoundKeys {
    /// Expands a key.
    #[target_feature(enable = "aes")]
    pub(super) fn expand(key: &[u8; 32]) -> Self {
        let mut keys = Self([[0; 16]; 15]);
        let ([even, odd], []) = key.as_chunks::<16>() else {
            unreachable!("32 bytes are twice 16")
        };
        let (mut even, mut odd) = (load(even), load(odd));
        keys.put(0, even, odd);
        // Each step makes two round keys; the constants are Rcon of FIPS 197 section 5.2.
        macro_rules! step {
            ($index:literal, $rcon:literal) => {
                even = next_even::<$rcon>(even, odd);
                odd = next_odd(odd, even);
                keys.put($index, even, odd);
            };
        }
        step!(2, 0x01);
        step!(4, 0x02);
        step!(6, 0x04);
        step!(8, 0x08);
        step!(10, 0x10);
        step!(12, 0x20);
        keys.0[14] = bytes(next_even::<0x40>(even, odd));
        keys
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn put(&mut self, index: usize, even: __m128i, odd: __m128i) {
        self.0[index] = bytes(even);
        self.0[index + 1] = bytes(odd);
    }
}

/// The words w[8i..8i+4], whose first takes RotWord, SubWord and Rcon of the word before it.
#[inline]
#[target_feature(enable = "aes")]
fn next_even<const RCON: i32>(even: __m128i, odd: __m128i) -> __m128i {
    let assist = _mm_aeskeygenassist_si128::<RCON>(odd);
    _mm_xor_si128(running_xor(even), _mm_shuffle_epi32::<0xff>(assist))
}

/// The words w[8i+4..8i+8], whose first takes SubWord alone of the word before it.
#[inline]
#[target_feature(enable = "aes")]
fn next_odd(odd: __m128i, even: __m128i) -> __m128i {
    let assist = _mm_aeskeygenassist_si128::<0>(even);
    _mm_xor_si128(running_xor(odd), _mm_shuffle_epi32::<0xaa>(assist))
}

/// Each word becomes the sum of itself and those before it.
#[inline]
#[target_feature(enable = "sse2")]
fn running_xor(words: __m128i) -> __m128i {
    let words = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(words, _mm_slli_si128::<8>(words))
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is valid for reading 16 bytes, and this load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn bytes(vector: __m128i) -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: the reference is valid for writing 16 bytes, and this store asks for no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) };
    bytes
}
