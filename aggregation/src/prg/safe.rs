//! The keystream without a line of unsafe code of ours: the `aes` crate, on any processor.

use super::{Position, Sign, Word, position::BLOCK_BYTES};
use aes::{
    Aes256, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The blocks encrypted at a time: their keystream and what it is added to stay in a first-level cache.
const BLOCKS: usize = 256;

/// What a keystream is made in: one for many calls, zeroised on drop.
pub(super) struct Buffers {
    /// Counter blocks from `first_block` on. They are public, and the same for every stream that passes over a piece.
    counters: Vec<Block>,
    first_block: u64,
    keystream: [Block; BLOCKS],
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            counters: Vec::new(),
            first_block: 0,
            keystream: [Block::default(); BLOCKS],
        }
    }

    /// Has `blocks` counters from `first_block` on.
    fn count(&mut self, first_block: u64, blocks: usize) {
        if self.first_block == first_block && self.counters.len() >= blocks {
            return;
        }
        self.first_block = first_block;
        self.counters.clear();
        // The upper half of a counter stays zero: see `Position`.
        let counters = (first_block..).take(blocks);
        self.counters
            .extend(counters.map(|block| Block::from(u128::from(block).to_be_bytes())));
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

    /// Adds or subtracts the keystream from `position` on, in words of their own size.
    pub(super) fn add_to_words<W: Word>(
        &self,
        words: &mut [W],
        position: Position,
        sign: Sign,
        buffers: &mut Buffers,
    ) {
        self.each_run(words.len() * W::BYTES, position, buffers, |run, bytes| {
            let words = &mut words[run.start / W::BYTES..run.end / W::BYTES];
            let masks = words.iter_mut().zip(W::from_le(bytes));
            match sign {
                Sign::Plus => masks.for_each(|(word, mask)| *word = word.plus(mask)),
                Sign::Minus => masks.for_each(|(word, mask)| *word = word.minus(mask)),
            }
        });
    }

    /// Adds or subtracts whole blocks of keystream, from `position` on, in the planes of `ByteSums`.
    pub(super) fn add_to_sums(
        &self,
        [pairs, seconds]: [&mut [u8]; 2],
        position: Position,
        sign: Sign,
        buffers: &mut Buffers,
    ) {
        self.each_run(pairs.len(), position, buffers, |run, bytes| {
            let (pairs, seconds) = (&mut pairs[run.clone()], &mut seconds[run]);
            match sign {
                Sign::Plus => each_pair(pairs, seconds, bytes, u16::wrapping_add),
                Sign::Minus => each_pair(pairs, seconds, bytes, u16::wrapping_sub),
            }
        });
    }

    /// Makes `length` bytes of keystream, and shows them run by run with their place in the whole.
    ///
    /// Runs begin and end at multiples of the words that `position` begins at a multiple of.
    fn each_run(
        &self,
        length: usize,
        position: Position,
        buffers: &mut Buffers,
        mut show: impl FnMut(Range<usize>, &[u8]),
    ) {
        let end = position.skipped + length;
        buffers.count(position.block, end.div_ceil(BLOCK_BYTES));
        let mut start = position.skipped;
        let mut done = 0;
        for counters in buffers.counters[..end.div_ceil(BLOCK_BYTES)].chunks(BLOCKS) {
            let keystream = &mut buffers.keystream[..counters.len()];
            self.0
                .encrypt_blocks_b2b(counters, keystream)
                .expect("as many blocks as counters");
            let bytes = &Block::slice_as_flattened(keystream)[start..];
            let bytes = &bytes[..bytes.len().min(length - done)];
            show(done..done + bytes.len(), bytes);
            done += bytes.len();
            start = 0;
        }
    }
}

/// Changes the sums of each pair of bytes by the pair and by its second byte.
#[inline(always)]
fn each_pair(pairs: &mut [u8], seconds: &mut [u8], bytes: &[u8], change: impl Fn(u16, u16) -> u16) {
    let sums = pairs.as_chunks_mut::<2>().0.iter_mut();
    let sums = sums.zip(seconds.as_chunks_mut::<2>().0);
    for ((of_pair, of_second), pair) in sums.zip(bytes.as_chunks::<2>().0) {
        let pair = u16::from_le_bytes(*pair);
        *of_pair = change(u16::from_le_bytes(*of_pair), pair).to_le_bytes();
        *of_second = change(u16::from_le_bytes(*of_second), pair >> 8).to_le_bytes();
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
            let position = Position::of(first, 8);
            SafeKeystream::new(&key).add_to_words(&mut words, position, Sign::Plus, &mut Buffers::new());
            prop_assert!(<u64 as Word>::from_le(&expected).eq(words));
        }
    }
}
