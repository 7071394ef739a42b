//! The operating system's randomness, stretched.
//!
//! Exact noise takes some tens of bytes for each element. Asked for all of them, the kernel would cost more than the sampling: of a
//! model of 25 million parameters, most of a minute in each round.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand_core::{CryptoRng, Error, OsRng, RngCore, impls};
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are made at a time, the next key among them: they stay in a first-level cache.
const PAGE_BYTES: usize = 16 * 1024;

/// Bytes of a key of ChaCha20.
const KEY_BYTES: usize = 32;

/// Gives out the keystream of ChaCha20 (RFC 8439), each byte once, under keys of [`OsRng`].
///
/// Each page has a key of its own: the first 32 bytes of the page before, which are never given out, xored with 32 fresh bytes of the
/// system's. So a page tells nothing of those before it (fast key erasure, Bernstein 2017), nor of those after it.
///
/// # Security
/// As unpredictable as the system's own generator, whose construction it repeats. What was given out stays in
/// memory until the page is turned, as the noise made of it does; pages and keys are zeroised. The value must not outlive a `fork`, which this program does not do.
#[derive(Default)]
pub(crate) struct StretchedOsRng {
    key: Zeroizing<[u8; KEY_BYTES]>,
    page: Zeroizing<Vec<u8>>,
    used: usize,
}

impl StretchedOsRng {
    fn turn_page(&mut self) {
        let mut fresh = Zeroizing::new([0; KEY_BYTES]);
        OsRng.fill_bytes(fresh.as_mut());
        for (key, fresh) in self.key.iter_mut().zip(fresh.iter()) {
            *key ^= fresh;
        }
        self.page.zeroize();
        self.page.resize(PAGE_BYTES, 0);
        // One key makes one page, so the nonce may be zero.
        let mut cipher = ChaCha20::new((&*self.key).into(), &[0; 12].into());
        cipher.apply_keystream(&mut self.page);
        let (next, _) = self.page.split_at_mut(KEY_BYTES);
        self.key.copy_from_slice(next);
        next.zeroize();
        self.used = KEY_BYTES;
    }

    /// The next bytes of this page, if it has so many: noise is drawn word by word.
    fn word<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let word = self.page.get(self.used..)?.first_chunk::<BYTES>()?;
        self.used += BYTES;
        Some(*word)
    }
}

impl RngCore for StretchedOsRng {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        match self.word() {
            Some(word) => u32::from_le_bytes(word),
            None => impls::next_u32_via_fill(self),
        }
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        match self.word() {
            Some(word) => u64::from_le_bytes(word),
            None => impls::next_u64_via_fill(self),
        }
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used == self.page.len() {
                self.turn_page();
            }
            let fresh = &mut self.page[self.used..];
            let length = fresh.len().min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&fresh[..length]);
            self.used += length;
            rest = later;
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for StretchedOsRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_is_given_out_twice_whatever_the_sizes_of_the_draws() {
        let mut rng = StretchedOsRng::default();
        let mut seen = BTreeSet::new();
        for draw in 0..20_000_usize {
            // 16 bytes that repeat are repeated pages: by chance it happens with probability 2^-99.
            let mut bytes = [0; 16];
            let mut odd = vec![0; draw % 7];
            rng.fill_bytes(&mut odd);
            rng.fill_bytes(&mut bytes);
            assert!(seen.insert(bytes), "draw {draw}");
        }
    }

    #[test]
    fn words_are_given_out_once_also_over_the_end_of_a_page() {
        let mut rng = StretchedOsRng::default();
        let mut seen = BTreeSet::new();
        // 12 bytes at a time do not divide a page; that two words are equal by chance has probability 2^-40.
        for draw in 0..4000 {
            let (long, short) = (rng.next_u64(), rng.next_u32());
            assert!(seen.insert((long, short)), "draw {draw}");
            assert!(long != 0 && rng.used <= PAGE_BYTES, "draw {draw}");
        }
    }

    #[test]
    fn a_long_draw_and_a_draw_over_the_end_of_a_page_are_filled() {
        let mut rng = StretchedOsRng::default();
        for length in [1, PAGE_BYTES - 1, PAGE_BYTES, 3 * PAGE_BYTES, 4000, 4000] {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            // 64 zero bytes in a row would be bytes that were not filled; by chance with probability below 2^-490.
            assert!(
                !bytes
                    .windows(64)
                    .any(|window| window.iter().all(|&b| b == 0))
            );
        }
    }

    #[test]
    fn two_generators_and_two_pages_of_one_share_no_key() {
        let mut rngs = [(); 2].map(|()| StretchedOsRng::default());
        let mut keys = BTreeSet::new();
        for rng in &mut rngs {
            for _ in 0..3 {
                rng.turn_page();
                assert!(keys.insert(*rng.key));
                assert!(
                    rng.page[..KEY_BYTES].iter().all(|byte| *byte == 0),
                    "the next key is not in the page"
                );
            }
        }
    }
}
