//! The operating system's randomness, fetched a page at a time.
//!
//! Exact noise takes some tens of small draws for each element: with a system call for each of them, a million elements
//! spend ten seconds in the kernel.

use rand_core::{CryptoRng, Error, OsRng, RngCore, impls};
use zeroize::Zeroizing;

/// Bytes that are fetched with one system call: a page of memory.
const PAGE_BYTES: usize = 4096;

/// Gives out the bytes of [`OsRng`], each once.
///
/// # Security
/// Bytes wait in memory until they are used, as the noise made of them does. They are zeroised on drop. The value must not outlive
/// a `fork`, which this program does not do.
#[derive(Default)]
pub(crate) struct PagedOsRng {
    page: Zeroizing<Vec<u8>>,
    used: usize,
}

impl RngCore for PagedOsRng {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if bytes.len() >= PAGE_BYTES {
            return OsRng.fill_bytes(bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used == self.page.len() {
                self.page.resize(PAGE_BYTES, 0);
                OsRng.fill_bytes(&mut self.page);
                self.used = 0;
            }
            let fresh = &self.page[self.used..];
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

impl CryptoRng for PagedOsRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_is_given_out_twice_whatever_the_sizes_of_the_draws() {
        let mut rng = PagedOsRng::default();
        let mut seen = BTreeSet::new();
        for draw in 0..5_000_usize {
            // 16 bytes that repeat are repeated pages: by chance it happens with probability 2^-103.
            let mut bytes = [0; 16];
            let mut odd = vec![0; draw % 7];
            rng.fill_bytes(&mut odd);
            rng.fill_bytes(&mut bytes);
            assert!(seen.insert(bytes), "draw {draw}");
        }
    }

    #[test]
    fn a_long_draw_and_a_draw_over_the_end_of_a_page_are_filled() {
        let mut rng = PagedOsRng::default();
        for length in [1, PAGE_BYTES - 1, PAGE_BYTES, 3 * PAGE_BYTES, 4000, 4000] {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            // 64 zero bytes in a row would be bytes that were not filled; by chance with probability below 2^-498.
            assert!(
                !bytes
                    .windows(64)
                    .any(|window| window.iter().all(|&b| b == 0))
            );
        }
    }
}
