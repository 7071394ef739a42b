//! A random rotation that spreads an update evenly over its elements: signs, then a Walsh-Hadamard transform, block by block.
//!
//! Suresh et al., "Distributed Mean Estimation with Limited Communication" (ICML 2017), section 3, applied to blocks: one
//! transform over all elements would cost log2(d) passes over memory, and a block of 2^12 stays in a first-level cache.

use crate::{
    Canonical, MaskSeed, MaskStream, Sign, Width,
    prg::{Workspace, add_masks_with},
};

/// Elements that are rotated together: 16 KiB of f32.
pub const ROTATION_BLOCK: usize = 1 << 12;

/// Words of signs that each block takes.
const WORDS_OF_BLOCK: usize = ROTATION_BLOCK / 32;

/// The public seed of a round's signs.
///
/// The sign of element i turns where bit i mod 32 (the lowest is 0) of word ⌊i/32⌋ is 1: little-endian words of 32 bits of
/// AES-256-CTR under the seed, as masks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationSeed([u8; 32]);

impl RotationSeed {
    /// The seed of one round of one job, which no member can choose.
    #[must_use]
    pub fn of_round(job: &str, round: u32) -> Self {
        let seed = Canonical::new("consort/aggregation/rotation/v1")
            .str(job)
            .u64(round.into())
            .hash();
        Self(*seed.as_bytes())
    }
}

/// The signs, block after block.
pub(super) struct Signs {
    stream: [(MaskStream, Sign); 1],
    workspace: Workspace,
    next_word: u64,
}

impl Signs {
    pub(super) fn new(seed: &RotationSeed) -> Self {
        Self::from_block(seed, 0)
    }

    /// Those from this block on.
    pub(super) fn from_block(seed: &RotationSeed, block: usize) -> Self {
        let stream = MaskStream::new(&MaskSeed::new(seed.0));
        Self {
            stream: [(stream, Sign::Plus)],
            workspace: Workspace::default(),
            next_word: (block * WORDS_OF_BLOCK) as u64,
        }
    }

    /// Rotates the next block: signs, then the orthonormal transform.
    pub(super) fn rotate(&mut self, block: &mut [f32]) {
        self.flip(block);
        transform_pieces(block);
    }

    /// Undoes [`Self::rotate`].
    pub(super) fn rotate_back(&mut self, block: &mut [f32]) {
        transform_pieces(block);
        self.flip(block);
    }

    fn flip(&mut self, block: &mut [f32]) {
        let mut words = [0_u32; WORDS_OF_BLOCK];
        let (first, workspace) = (self.next_word, &mut self.workspace);
        add_masks_with(&mut words, &self.stream, first, Width::WORD_32, workspace);
        self.next_word += words.len() as u64;
        for (values, word) in block.chunks_mut(32).zip(words) {
            for (bit, value) in values.iter_mut().enumerate() {
                let sign = (word >> bit) << 31;
                *value = f32::from_bits(value.to_bits() ^ sign);
            }
        }
    }
}

/// A block that is no power of two (the last one) is cut into powers of two, the largest first: no element is added.
fn transform_pieces(mut block: &mut [f32]) {
    while !block.is_empty() {
        let piece = 1 << block.len().ilog2();
        let (first, rest) = block.split_at_mut(piece);
        transform(first);
        block = rest;
    }
}

/// The orthonormal Walsh-Hadamard transform, its own inverse.
fn transform(block: &mut [f32]) {
    let mut half = 1;
    // Two stages at a time halve the passes over memory.
    while half * 4 <= block.len() {
        if half == 1 {
            for four in block.as_chunks_mut::<4>().0 {
                *four = butterfly(*four);
            }
        } else {
            for quarters in block.chunks_exact_mut(half * 4) {
                let (lower, upper) = quarters.split_at_mut(half * 2);
                let ((a, b), (c, d)) = (lower.split_at_mut(half), upper.split_at_mut(half));
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    [*a, *b, *c, *d] = butterfly([*a, *b, *c, *d]);
                }
            }
        }
        half *= 4;
    }
    if half < block.len() {
        let (lower, upper) = block.split_at_mut(half);
        for (a, b) in lower.iter_mut().zip(upper) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
    // A power of two of at most 2^12: exact as f32.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^12")]
    let scale = (block.len() as f32).sqrt().recip();
    for value in block {
        *value *= scale;
    }
}

fn butterfly([a, b, c, d]: [f32; 4]) -> [f32; 4] {
    let ([p, q], [r, s]) = ([a + b, a - b], [c + d, c - d]);
    [p + r, q + s, p - r, q - s]
}
