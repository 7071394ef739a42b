//! Randomness that was decided before: each draw of a scalar gives the next of a list.

use std::collections::VecDeque;

use rand_core::{CryptoRng, Error, RngCore};

/// The scalars to be drawn, in order. A draw of 64 bytes modulo ℓ, which is how a uniform scalar is drawn, gives the next one.
pub(super) struct Replay(VecDeque<[u8; 32]>);

impl Replay {
    pub(super) fn new(scalars: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self(scalars.into_iter().collect())
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }
}

impl RngCore for Replay {
    fn next_u32(&mut self) -> u32 {
        panic!("scalars are drawn, nothing else")
    }

    fn next_u64(&mut self) -> u64 {
        panic!("scalars are drawn, nothing else")
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        assert_eq!(
            out.len(),
            64,
            "a scalar is drawn as 64 bytes modulo the order"
        );
        out.fill(0);
        out[..32].copy_from_slice(
            &self
                .0
                .pop_front()
                .expect("the vectors have a scalar for each draw"),
        );
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

/// Not secret at all, and for tests only.
impl CryptoRng for Replay {}
