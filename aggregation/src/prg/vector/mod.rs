//! The keystream by the AES instructions of x86-64, added to words or byte sums without a buffer between; and packed elements
//! added by byte permutes.
//!
//! This folder has the project's only unsafe code: loads and stores through references of the right length, one view of
//! words as bytes, and calls of functions for instructions that were found on this processor.

mod aesni;
mod kernel;
mod round_keys;
pub(super) mod unpack;
mod vaes256;
mod vaes512;

use super::{ByteSums, Position, Sign, Span, Tier, Word};
use round_keys::RoundKeys;

/// An expanded key and the instructions that use it, which this processor has.
///
/// # Security
/// No branch and no address depends on the key or on the words. The round keys are zeroised on drop; what the compiler
/// spills of them to the stack during a call is not.
pub(super) struct VectorKeystream {
    keys: RoundKeys,
    instructions: Instructions,
}

/// Instructions of this processor: made by [`VectorKeystream::new`], after it has looked.
#[derive(Clone, Copy)]
enum Instructions {
    AesNi,
    Vaes256,
    Vaes512,
}

impl VectorKeystream {
    /// Expands a key for one of the vector tiers, or is nothing when this processor lacks it.
    pub(super) fn new(key: &[u8; 32], tier: Tier) -> Option<Self> {
        let instructions = match tier {
            Tier::Portable => return None,
            Tier::AesNi => Instructions::AesNi,
            Tier::Vaes256 => Instructions::Vaes256,
            Tier::Vaes512 => Instructions::Vaes512,
        };
        if !tier.is_available() {
            return None;
        }
        // SAFETY: `is_available` found AES-NI, which every vector tier needs.
        let keys = unsafe { RoundKeys::expand(key) };
        Some(Self { keys, instructions })
    }

    /// Adds or subtracts the keystream from `position` on, in words of their own size.
    pub(super) fn add_to_words<W: Word>(&self, words: &mut [W], position: Position, sign: Sign) {
        let keys = &self.keys;
        match self.instructions {
            // SAFETY: `new` found AES-NI and SSSE3 on this processor.
            Instructions::AesNi => unsafe { aesni::add_to_words(keys, words, position, sign) },
            // SAFETY: `new` found VAES and AVX2 on this processor.
            Instructions::Vaes256 => unsafe { vaes256::add_to_words(keys, words, position, sign) },
            // SAFETY: `new` found VAES and AVX-512BW on this processor.
            Instructions::Vaes512 => unsafe { vaes512::add_to_words(keys, words, position, sign) },
        }
    }

    /// Adds or subtracts whole blocks of keystream, from `position` on, in the planes of [`ByteSums`].
    pub(super) fn add_to_sums(&self, planes: [&mut [u8]; 2], position: Position, sign: Sign) {
        let keys = &self.keys;
        match self.instructions {
            // SAFETY: `new` found AES-NI and SSSE3 on this processor.
            Instructions::AesNi => unsafe { aesni::add_to_sums(keys, planes, position, sign) },
            // SAFETY: `new` found VAES and AVX2 on this processor.
            Instructions::Vaes256 => unsafe { vaes256::add_to_sums(keys, planes, position, sign) },
            // SAFETY: `new` found VAES and AVX-512BW on this processor.
            Instructions::Vaes512 => unsafe { vaes512::add_to_sums(keys, planes, position, sign) },
        }
    }

    /// [`ByteSums::settle`] with the instructions of this keystream.
    pub(super) fn settle<W: Word>(&self, sums: &mut ByteSums, words: &mut [W], span: Span) {
        match self.instructions {
            // SAFETY: `new` found AES-NI and SSSE3 on this processor.
            Instructions::AesNi => unsafe { aesni::settle(sums, words, span) },
            // SAFETY: `new` found VAES and AVX2 on this processor.
            Instructions::Vaes256 => unsafe { vaes256::settle(sums, words, span) },
            // SAFETY: `new` found VAES and AVX-512BW on this processor.
            Instructions::Vaes512 => unsafe { vaes512::settle(sums, words, span) },
        }
    }
}

/// The bytes of words, which on x86-64 are little-endian like the keystream's.
fn as_bytes<W: Word>(words: &mut [W]) -> &mut [u8] {
    let length = size_of_val(words);
    // SAFETY: the range is that of `words` and borrowed as they are; bytes need no alignment; `Word` is sealed to u32 and
    // u64, which have no padding and for which all bytes are values.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// AES of one block, through the rounds of a tier; nothing when this processor lacks it.
    fn encrypt(key: &str, tier: Tier, block: &str) -> Option<String> {
        let keystream = VectorKeystream::new(&bytes(key), tier)?;
        let (keys, block) = (&keystream.keys, bytes(block));
        let encrypted = match keystream.instructions {
            // SAFETY: `new` found AES-NI and SSSE3 on this processor.
            Instructions::AesNi => unsafe { aesni::encrypt(keys, &block) },
            // SAFETY: `new` found VAES and AVX2 on this processor.
            Instructions::Vaes256 => unsafe { vaes256::encrypt(keys, &block) },
            // SAFETY: `new` found VAES and AVX-512BW on this processor.
            Instructions::Vaes512 => unsafe { vaes512::encrypt(keys, &block) },
        };
        Some(hex::encode(encrypted))
    }

    fn vector_tiers() -> impl Iterator<Item = Tier> {
        Tier::available().filter(|tier| *tier != Tier::Portable)
    }

    #[test]
    fn a_block_is_encrypted_as_fips_197_c_3_does() {
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        for tier in vector_tiers() {
            let encrypted = encrypt(key, tier, "00112233445566778899aabbccddeeff").unwrap();
            assert_eq!(encrypted, "8ea2b7ca516745bfeafc49904b496089", "{tier}");
        }
    }

    #[test]
    fn counters_are_encrypted_as_sp_800_38a_f_5_5_does() {
        // The output blocks of that section.
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        for tier in vector_tiers() {
            for (counter, output) in [
                (
                    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                    "0bdf7df1591716335e9a8b15c860c502",
                ),
                (
                    "f0f1f2f3f4f5f6f7f8f9fafbfcfdff00",
                    "5a6e699d536119065433863c8f657b94",
                ),
                (
                    "f0f1f2f3f4f5f6f7f8f9fafbfcfdff01",
                    "1bc12c9c01610d5d0d8bd6a3378eca62",
                ),
                (
                    "f0f1f2f3f4f5f6f7f8f9fafbfcfdff02",
                    "2956e1c8693536b1bee99c73a31576b6",
                ),
            ] {
                assert_eq!(encrypt(key, tier, counter).unwrap(), output, "{tier}");
            }
        }
    }

    #[test]
    fn the_last_round_keys_are_those_of_fips_197_a_3() {
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        let Some(keystream) = VectorKeystream::new(&bytes(key), Tier::AesNi) else {
            return;
        };
        let last = keystream.keys.0[14];
        assert_eq!(hex::encode(last), "fe4890d1e6188d0b046df344706c631e");
    }
}
