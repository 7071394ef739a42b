//! Where in the keystream a range of elements begins.

/// The bytes of one AES block.
pub(super) const BLOCK_BYTES: usize = 16;

/// A byte position in the keystream: a counter block and the bytes of it that are passed over.
///
/// The counter block fits in 64 bits, so the upper half of the 128-bit counter of SP 800-38A is zero throughout: a first
/// element is below 2^64 and its word has at most 8 bytes, hence begins below block 2^64 · 8 / 16 = 2^63, and the words of
/// a slice, of at most `isize::MAX` bytes and at least 4 each, take fewer than 2^61 · 8 / 16 = 2^60 blocks more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The counter block.
    pub(super) block: u64,
    /// The bytes of that block before the position, below 16.
    pub(super) skipped: usize,
}

impl Position {
    /// Where the word of an element begins when words have so many bytes, 1 to 8.
    pub(super) fn of(element: u64, word_bytes: usize) -> Self {
        let words = word_bytes as u64;
        // A block has 16 bytes, and 16 elements take `word_bytes` whole blocks: no product leaves 64 bits.
        let in_sixteen = usize::try_from(element % 16).expect("a number below 16") * word_bytes;
        let blocks_of_sixteen = Self {
            block: element / 16 * words,
            skipped: 0,
        };
        blocks_of_sixteen.forward(in_sixteen)
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

    /// The beginning of the block that the position is in.
    pub(super) fn of_its_block(self) -> Self {
        Self { skipped: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_begins_at_its_element_times_its_bytes_up_to_the_last_element() {
        for element in [0, 1, 5, 16, 4095, 1 << 40, u64::MAX - 1, u64::MAX] {
            for word_bytes in 1..=8 {
                let position = Position::of(element, word_bytes);
                let bytes = u128::from(element) * word_bytes as u128;
                let found = u128::from(position.block) * 16 + position.skipped as u128;
                assert_eq!(found, bytes, "{element}, {word_bytes}");
                assert!(position.skipped < 16 && position.block < 1 << 63);
            }
        }
    }
}
