//! Stochastic rounding: to one of the two nearest integers, so that the expectation is the number itself.

use crate::{
    MaskSeed, MaskStream, Sign, Width,
    prg::{PIECES_ELEMENTS, Workspace, add_masks_with},
};
use zeroize::Zeroize;

/// Added to a number of magnitude below 2^51, it leaves the nearest integer in the lowest bits: 1.5·2^52, whose neighbours
/// are one apart.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// 2^-32.
const WORD_UNIT: f64 = 1.0 / 4_294_967_296.0;

/// Elements that are rounded with one piece of keystream.
const PIECE: usize = PIECES_ELEMENTS;

/// Rounds with AES-256-CTR: element i uses little-endian word i of 32 bits.
pub(super) struct StochasticRounding {
    stream: [(MaskStream, Sign); 1],
    workspace: Workspace,
    next_word: u64,
    most: i32,
}

impl StochasticRounding {
    /// For integers of at most `quantised` ≤ 2^31 − 1.
    pub(super) fn new(seed: &MaskSeed, quantised: u32) -> Self {
        Self {
            stream: [(MaskStream::new(seed), Sign::Plus)],
            workspace: Workspace::default(),
            next_word: 0,
            most: i32::try_from(quantised).unwrap_or(i32::MAX),
        }
    }

    /// Multiplies by `scale`, cuts to ±Q and rounds.
    pub(super) fn round(&mut self, values: &[f32], scale: f64, integers: &mut [i64]) {
        let mut words = [0_u32; PIECE];
        let bound = f64::from(self.most);
        for (values, integers) in values.chunks(PIECE).zip(integers.chunks_mut(PIECE)) {
            let words = &mut words[..values.len()];
            words.fill(0);
            let (first, workspace) = (self.next_word, &mut self.workspace);
            add_masks_with(words, &self.stream, first, Width::WORD_32, workspace);
            self.next_word += words.len() as u64;
            for ((integer, &value), &word) in integers.iter_mut().zip(values).zip(&*words) {
                // ⌊x + u⌋ for u in (0, 1), as the integer nearest to x + u − ½.
                let u = (f64::from(word) + 0.5) * WORD_UNIT;
                let x = (f64::from(value) * scale).clamp(-bound, bound);
                let rounded = nearest(x + (u - 0.5));
                // With a large Q the sum above may round up to Q + ½, which has two nearest integers.
                *integer = i64::from(rounded.clamp(-self.most, self.most));
            }
        }
        words.zeroize();
    }
}

/// The integer nearest to a number of magnitude at most 2^31 − ½: the lowest 32 bits of the sum, in two's complement.
fn nearest(x: f64) -> i32 {
    (((x + MAGIC).to_bits() & 0xffff_ffff) as u32).cast_signed()
}
