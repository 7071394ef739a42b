//! Where in the keystream a range of elements begins.

use super::Word;

/// The bytes of one AES block.
pub(super) const BLOCK_BYTES: usize = 16;

/// A byte position in the keystream: a counter block and the bytes of it that are passed over.
///
/// The counter block fits in 64 bits, so the upper half of the 128-bit counter of SP 800-38A is zero throughout: a first
/// element is below 2^64, hence begins below block 2^64 · 8 / 16 = 2^63, and a slice has at most `isize::MAX` bytes, fewer
/// than 2^59 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The counter block.
    pub(super) block: u64,
    /// The bytes of that block before the position, below 16.
    pub(super) skipped: usize,
}

impl Position {
    /// Where the word of an element begins.
    pub(super) fn of<W: Word>(element: u64) -> Self {
        let words_per_block = (BLOCK_BYTES / W::BYTES) as u64;
        let skipped_words = element % words_per_block;
        Self {
            block: element / words_per_block,
            skipped: usize::try_from(skipped_words).expect("fewer words than one block has")
                * W::BYTES,
        }
    }

    /// The position some bytes further on.
    pub(super) fn forward(self, bytes: usize) -> Self {
        let bytes = self.skipped + bytes;
        Self {
            block: self.block + (bytes / BLOCK_BYTES) as u64,
            skipped: bytes % BLOCK_BYTES,
        }
    }

    /// The bytes between the last multiple of `unit`, itself a multiple of the block, and this position.
    pub(super) fn bytes_into(self, unit: usize) -> usize {
        let blocks = self.block % (unit / BLOCK_BYTES) as u64;
        usize::try_from(blocks).expect("fewer blocks than one unit has") * BLOCK_BYTES
            + self.skipped
    }
}
