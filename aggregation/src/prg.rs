//! Masks: a seed expanded with AES-256 in counter mode and added to a vector of ring elements.
//!
//! The stream is that of NIST SP 800-38A section 6.5 with an initial counter block of zero, counted as one 128-bit
//! big-endian integer. It is read as little-endian words of [`Width::word_bits`] bits, each reduced to w bits by masking;
//! element i of a vector uses word i, so that any range can be masked alone.

use crate::{Width, secret::redacted_debug};
use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The bytes of keystream made at a time: with the elements they mask they stay inside a 32 KiB first-level cache.
const KEYSTREAM_BYTES: usize = 4096;

/// The seed of one mask, zeroised on drop.
///
/// # Security
/// A seed masks one vector in one attempt of one round: two vectors under one seed expose their difference.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MaskSeed([u8; 32]);

redacted_debug!(MaskSeed, 32);

impl MaskSeed {
    /// A seed from the output of a key derivation.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for MaskSeed {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for MaskSeed {}

/// Whether a mask is added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The mask is added.
    Plus,
    /// The mask is subtracted.
    Minus,
}

impl Sign {
    /// The other sign.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Adds the mask of `seed` to the elements `first_element..first_element + acc.len()` of a vector.
///
/// `acc` holds those elements, reduced modulo 2^w, and holds the reduced results afterwards.
pub fn add_mask(acc: &mut [u64], seed: &MaskSeed, first_element: u64, width: Width, sign: Sign) {
    MaskStream::new(seed, width).add(acc, first_element, sign);
}

/// One expanded seed, for masking a vector block by block without repeating the key schedule.
///
/// # Security
/// Constant time in the seed and the elements: `aes` uses the processor's AES instructions or a bit-sliced
/// implementation. The key schedule and the keystream are zeroised.
pub struct MaskStream {
    cipher: Ctr128BE<Aes256>,
    width: Width,
}

impl std::fmt::Debug for MaskStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MaskStream({})", self.width)
    }
}

impl MaskStream {
    /// Expands the key of a seed.
    #[must_use]
    pub fn new(seed: &MaskSeed, width: Width) -> Self {
        let cipher = Ctr128BE::<Aes256>::new((&seed.0).into(), &[0; 16].into());
        Self { cipher, width }
    }

    /// Adds the mask to the elements `first_element..first_element + acc.len()`, as [`add_mask`] does.
    pub fn add(&mut self, acc: &mut [u64], first_element: u64, sign: Sign) {
        let word_bytes = usize::from(self.width.word_bits() / 8);
        // At most 2^64 elements of 8 bytes: the position and all that follows stay far below the 2^132 bytes of the stream.
        self.cipher
            .seek(u128::from(first_element) * word_bytes as u128);
        let mut keystream = [0; KEYSTREAM_BYTES];
        for block in acc.chunks_mut(KEYSTREAM_BYTES / word_bytes) {
            let words = &mut keystream[..block.len() * word_bytes];
            self.cipher.write_keystream(words);
            add_words(block, words, self.width, sign);
        }
        keystream.zeroize();
    }
}

fn add_words(block: &mut [u64], words: &[u8], width: Width, sign: Sign) {
    match width.word_bits() {
        32 => {
            let words = words.as_chunks::<4>().0.iter();
            add_each(
                block,
                words.map(|word| u64::from(u32::from_le_bytes(*word))),
                width,
                sign,
            );
        }
        _ => {
            let words = words.as_chunks::<8>().0.iter();
            add_each(
                block,
                words.map(|word| u64::from_le_bytes(*word)),
                width,
                sign,
            );
        }
    }
}

fn add_each(block: &mut [u64], words: impl Iterator<Item = u64>, width: Width, sign: Sign) {
    // 2^w divides 2^64, so wrapping arithmetic on words followed by one reduction is arithmetic modulo 2^w.
    let mask = width.mask();
    match sign {
        Sign::Plus => block.iter_mut().zip(words).for_each(|(element, word)| {
            *element = element.wrapping_add(word) & mask;
        }),
        Sign::Minus => block.iter_mut().zip(words).for_each(|(element, word)| {
            *element = element.wrapping_sub(word) & mask;
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(width: u8, first_element: u64, elements: usize) -> Vec<u64> {
        let mut acc = vec![0; elements];
        add_mask(
            &mut acc,
            &MaskSeed([7; 32]),
            first_element,
            Width::new(width).unwrap(),
            Sign::Plus,
        );
        acc
    }

    #[test]
    fn the_cipher_is_that_of_sp_800_38a_f_5_5() {
        let key = hex::decode("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
            .unwrap();
        let counter = hex::decode("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").unwrap();
        let mut text = hex::decode(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        )
        .unwrap();
        let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&key, &counter).unwrap();
        cipher.apply_keystream(&mut text);
        assert_eq!(
            hex::encode(text),
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        );
    }

    #[test]
    fn the_mask_of_a_zero_seed_is_aes_of_the_counter() {
        // FIPS 197 with a 256-bit zero key and a zero block gives dc95c078a2408989ad48a21492842087.
        let mut acc = [0; 2];
        add_mask(&mut acc, &MaskSeed([0; 32]), 0, Width::MAX, Sign::Plus);
        assert_eq!(acc, [0x8989_40a2_78c0_95dc, 0x8720_8492_14a2_48ad]);
        let mut acc = [0; 4];
        add_mask(
            &mut acc,
            &MaskSeed([0; 32]),
            0,
            Width::new(32).unwrap(),
            Sign::Plus,
        );
        assert_eq!(acc, [0x78c0_95dc, 0x8989_40a2, 0x14a2_48ad, 0x8720_8492]);
    }

    #[test]
    fn a_narrower_mask_is_the_wider_one_reduced() {
        for width in 1..=32 {
            let reduced = mask(32, 3, 9)
                .into_iter()
                .map(|word| Width::new(width).unwrap().reduce(word));
            assert!(reduced.eq(mask(width, 3, 9)), "{width}");
        }
        for width in 33..=64 {
            let reduced = mask(64, 3, 9)
                .into_iter()
                .map(|word| Width::new(width).unwrap().reduce(word));
            assert!(reduced.eq(mask(width, 3, 9)), "{width}");
        }
    }

    #[test]
    fn the_last_elements_of_the_longest_vector_have_a_mask() {
        assert_eq!(mask(64, u64::MAX - 1, 2)[1], mask(64, u64::MAX, 1)[0]);
    }

    proptest! {
        #[test]
        fn a_range_is_masked_as_it_is_within_the_whole(width in 1_u8..=64, first in 0_usize..3000, length in 0_usize..1500) {
            let whole = mask(width, 0, first + length);
            prop_assert_eq!(&whole[first..], mask(width, first as u64, length));
        }

        #[test]
        fn what_is_added_is_taken_away_again(width in 1_u8..=64, values: Vec<u64>, first: u32) {
            let width = Width::new(width).unwrap();
            let values: Vec<u64> = values.into_iter().map(|value| width.reduce(value)).collect();
            let mut acc = values.clone();
            add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Plus);
            add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Minus);
            prop_assert_eq!(acc, values);
        }
    }
}
