//! The keystream without a line of unsafe code of ours: the `aes` crate, on any processor.

use super::{Position, Sign, Word, position::BLOCK_BYTES};
use aes::{
    Aes256, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The blocks encrypted at a time: counters, keystream and the words under it stay in a first-level cache.
const BLOCKS: usize = 256;

/// What a keystream is made in: one for many calls, zeroised on drop.
pub(super) struct Buffers {
    counters: [Block; BLOCKS],
    keystream: [Block; BLOCKS],
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            counters: [Block::default(); BLOCKS],
            keystream: [Block::default(); BLOCKS],
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        Block::slice_as_flattened_mut(&mut self.keystream).zeroize();
    }
}

impl ZeroizeOnDrop for Buffers {}

/// An expanded key; `aes` zeroises it on drop.
pub(super) struct SafeKeystream(Aes256);

impl SafeKeystream {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256::new(key.into()))
    }

    /// Adds or subtracts the keystream from `position` on.
    pub(super) fn add<W: Word>(
        &self,
        words: &mut [W],
        mut position: Position,
        sign: Sign,
        buffers: &mut Buffers,
    ) {
        let (counters, keystream) = (&mut buffers.counters, &mut buffers.keystream);
        let mut rest = words;
        while !rest.is_empty() {
            let room = (BLOCKS * BLOCK_BYTES - position.skipped) / W::BYTES;
            let (words, next) = rest.split_at_mut(rest.len().min(room));
            let end = position.skipped + words.len() * W::BYTES;
            let blocks = end.div_ceil(BLOCK_BYTES);
            // The upper half of a counter stays zero: see `Position`.
            for (block, counter) in (position.block..).zip(&mut counters[..blocks]) {
                counter[8..].copy_from_slice(&block.to_be_bytes());
            }
            self.0
                .encrypt_blocks_b2b(&counters[..blocks], &mut keystream[..blocks])
                .expect("as many blocks as counters");
            let bytes = &Block::slice_as_flattened(keystream)[position.skipped..end];
            let masks = words.iter_mut().zip(W::from_le(bytes));
            match sign {
                Sign::Plus => masks.for_each(|(word, mask)| *word = word.plus(mask)),
                Sign::Minus => masks.for_each(|(word, mask)| *word = word.minus(mask)),
            }
            position = position.forward(words.len() * W::BYTES);
            rest = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctr::{
        Ctr128BE,
        cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
    };
    use proptest::prelude::*;

    #[test]
    fn the_cipher_of_the_ctr_crate_is_that_of_sp_800_38a_f_5_5() {
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

    proptest! {
        #[test]
        fn the_keystream_is_that_of_the_ctr_crate(
            key: [u8; 32],
            first in prop_oneof![0_u64..10_000, any::<u64>(), (1_u64 << 33) - 3000..1 << 33, u64::MAX - 3000..=u64::MAX],
            length in 0_usize..3000,
        ) {
            let mut expected = vec![0; length * 8];
            let mut cipher = Ctr128BE::<Aes256>::new(&key.into(), &[0; 16].into());
            cipher.seek(u128::from(first) * 8);
            cipher.write_keystream(&mut expected);
            let mut words = vec![0_u64; length];
            let position = Position::of::<u64>(first);
            SafeKeystream::new(&key).add(&mut words, position, Sign::Plus, &mut Buffers::new());
            prop_assert!(<u64 as Word>::from_le(&expected).eq(words));
        }
    }
}
