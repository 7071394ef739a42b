//! The keystream without a line of unsafe code of ours: `aes` and `ctr`, on any processor.

use super::{Position, Sign, Word};
use aes::{Aes256, cipher::KeyInit};
use ctr::{
    CtrCore,
    cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper},
    flavors::Ctr128BE,
};
use zeroize::Zeroize;

/// The bytes of keystream made at a time: with the words they mask they stay in a first-level cache.
const KEYSTREAM_BYTES: usize = 4096;

/// An expanded key; `aes` zeroises it on drop.
pub(super) struct SafeKeystream(Aes256);

impl SafeKeystream {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256::new(key.into()))
    }

    /// Adds or subtracts the keystream from `position` on.
    pub(super) fn add<W: Word>(&self, words: &mut [W], position: Position, sign: Sign) {
        // The counter block is the position: the stream begins at an initial block of zero.
        let counter = u128::from(position.block).to_be_bytes();
        let core = CtrCore::<&Aes256, Ctr128BE>::inner_iv_init(&self.0, &counter.into());
        let mut cipher = StreamCipherCoreWrapper::from_core(core);
        let mut keystream = [0; KEYSTREAM_BYTES];
        cipher.write_keystream(&mut keystream[..position.skipped]);
        for words in words.chunks_mut(KEYSTREAM_BYTES / W::BYTES) {
            let keystream = &mut keystream[..words.len() * W::BYTES];
            cipher.write_keystream(keystream);
            let masks = words.iter_mut().zip(W::from_le(keystream));
            match sign {
                Sign::Plus => masks.for_each(|(word, mask)| *word = word.plus(mask)),
                Sign::Minus => masks.for_each(|(word, mask)| *word = word.minus(mask)),
            }
        }
        keystream.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let cipher = Aes256::new_from_slice(&key).unwrap();
        let core = CtrCore::<Aes256, Ctr128BE>::inner_iv_init(
            cipher,
            counter.as_slice().try_into().unwrap(),
        );
        StreamCipherCoreWrapper::from_core(core).apply_keystream(&mut text);
        assert_eq!(
            hex::encode(text),
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        );
    }
}
