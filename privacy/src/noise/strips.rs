//! Rejection from a staircase: the discrete Gaussian lies under steps of equal width, a point under the steps is drawn uniformly,
//! and its place is a draw if it is under the curve.
//!
//! The idea of the ziggurat of Marsaglia and Tsang (2000), in integers and exact. With s = 2^b (between σ/64 and σ/32; 1 below) step
//! k covers the magnitudes k·s to k·s + s − 1 and is as high as the curve at its left end, A·exp(−(k·s)²/2σ²), rounded up to an
//! integer. A is so large that all steps side by side fill 64 bits: one word chooses the step and the height in it, another one the
//! place in the step and the sign. A magnitude m is accepted if the height, with a uniform fraction behind it, is below
//! A·exp(−m²/2σ²), so that it is drawn with a probability proportional to just that; zero counts with one of its two signs.
//!
//! Almost always the height is below the next step, and so below the curve. Else the curve is bounded by integers of 64 bits; and
//! where these leave it open, once in 2^50 draws, by longer ones ([`is_below`]). What lies beyond all steps has a step of its own,
//! where the 64 times wider block beyond the last step is chosen by flips of a coin: no tail is cut off.

use num_bigint::BigUint;
use rand_core::RngCore;

use super::NoiseError;
use super::exact::{ExpBounds, ceil_div, is_below};

/// The steps end where the curve has fallen below 2^-64.
const TAIL_BITS: u64 = 64;

/// Bits after the point of the curve while the steps are computed: of 600 products in a row, over 200 stay true.
const TABLE_BITS: u64 = 256;

/// log2 of how much wider a block of the tail is than a step: at least σ, so that the curve falls faster than the coin's flips.
const BLOCK_BITS: u32 = 6;

/// Most flips of the coin in the tail; one more has probability 2^-512 there.
const MAX_FLIPS: u32 = 512;

/// log2 of the cells through which a step is found.
const GUIDE_BITS: u32 = 10;

/// How far [`exp_minus`] can be off, in units of 2^-64: derived there.
const EXP_SLACK: u128 = 8;

/// The steps for one variance.
#[derive(Debug, Clone)]
pub(super) struct Strips {
    /// b: log2 of a step's width.
    width_bits: u32,
    /// 2σ².
    twice_variance: u128,
    /// A.
    scale: BigUint,
    /// Where each step begins among 64-bit words, then where the tail does, then where it ends.
    starts: Vec<u64>,
    /// For each step, heights below which every place of it is under the curve.
    sure: Vec<u64>,
    /// The step in which each cell of the 64-bit words begins.
    guide: Vec<u16>,
}

impl Strips {
    /// The steps for σ² from 1 to 2^54.
    pub(super) fn new(variance: u64) -> Self {
        Self::ending_at(variance, TAIL_BITS)
    }

    /// Steps that end where the curve has fallen below 2^-`tail_bits`.
    fn ending_at(variance: u64, tail_bits: u64) -> Self {
        // ⌊σ⌋ < 2^(b + 6) ≤ 2⌊σ⌋, or b = 0 and σ < 64.
        let width_bits = variance.isqrt().ilog2().saturating_sub(BLOCK_BITS - 1);
        let twice_variance = 2 * u128::from(variance);
        let (curve, beyond) = curve_above(width_bits, twice_variance, tail_bits);
        // What the tail's step must hold at its left end: a first flip of the coin, over 64 times the width of a step.
        let tail = beyond << (BLOCK_BITS + 1);
        let all = curve.iter().sum::<BigUint>() + &tail;
        // Every step is rounded up by less than one.
        let words = (BigUint::from(1_u8) << 64_u8) - curve.len() - 2_u8;
        let scale = (words << TABLE_BITS) / all;
        let one = BigUint::from(1_u8) << TABLE_BITS;
        let heights: Vec<u64> = curve
            .iter()
            .chain([&tail])
            .map(|bound| fitting(&ceil_div(&scale * bound, &one)))
            .collect();
        let mut starts = vec![0_u64];
        for height in &heights {
            let start = starts.last().copied().unwrap_or_default();
            let end = start.checked_add(*height).expect("A leaves room for all");
            starts.push(end);
        }
        let steps = curve.len();
        // The next step is at least as high as the curve at its left end, and by less than two higher.
        let mut sure: Vec<u64> = heights[1..steps]
            .iter()
            .map(|h| h.saturating_sub(2))
            .collect();
        sure.push(0);
        Self {
            width_bits,
            twice_variance,
            scale,
            guide: guide(&starts),
            starts,
            sure,
        }
    }

    /// One draw: magnitude and sign.
    ///
    /// # Errors
    /// [`NoiseError::Overflow`] with probability below 2^-500.
    pub(super) fn draw<R: RngCore + ?Sized>(&self, rng: &mut R) -> Result<i64, NoiseError> {
        let (steps, width_mask) = (self.sure.len(), (1_u64 << self.width_bits) - 1);
        loop {
            let point = rng.next_u64();
            let Some((step, height)) = self.find(point) else {
                continue;
            };
            let bits = rng.next_u32();
            let (negative, place) = (bits & 1 == 1, u64::from(bits >> 1));
            let magnitude = if step < steps {
                let offset = place & width_mask;
                let first = (step as u64) << self.width_bits;
                if height >= self.sure[step] && !self.is_under(step, first, offset, height, rng) {
                    continue;
                }
                first + offset
            } else {
                match self.beyond(place, height, rng)? {
                    Some(magnitude) => magnitude,
                    None => continue,
                }
            };
            if !(negative && magnitude == 0) {
                let magnitude = i64::try_from(magnitude).map_err(|_| NoiseError::Overflow)?;
                return Ok(if negative { -magnitude } else { magnitude });
            }
        }
    }

    /// The step that a point is in, and its height there; nothing for the few words that no step takes.
    fn find(&self, point: u64) -> Option<(usize, u64)> {
        let cell = usize::try_from(point >> (64 - GUIDE_BITS)).ok()?;
        let mut step = usize::from(self.guide[cell]);
        while *self.starts.get(step + 1)? <= point {
            step += 1;
        }
        Some((step, point - self.starts[step]))
    }

    /// Whether a height that is not surely so is under the curve at `first` + `offset`.
    fn is_under<R: RngCore + ?Sized>(
        &self,
        step: usize,
        first: u64,
        offset: u64,
        height: u64,
        rng: &mut R,
    ) -> bool {
        let (low, high) = self.bounds(step, first, offset);
        if height < low {
            return true;
        }
        if height >= high {
            return false;
        }
        let magnitude = u128::from(first + offset);
        is_below(
            height,
            &self.scale,
            magnitude * magnitude,
            self.twice_variance,
            rng,
        )
    }

    /// Integers between which A·exp(−(first + offset)²/2σ²) lies.
    fn bounds(&self, step: usize, first: u64, offset: u64) -> (u64, u64) {
        let full = self.starts[step + 1] - self.starts[step];
        // (first + offset)² − first², below 2^55; over 2σ² it is below 0.31, since a step is at most σ/32 wide and begins below 9.5σ.
        let fall = u128::from(offset * (2 * first + offset));
        let exp = exp_minus(low_word((fall << 64) / self.twice_variance));
        let low = u128::from(full.saturating_sub(2)) * (exp - EXP_SLACK);
        let high = u128::from(full) * (exp + EXP_SLACK).min(1 << 64);
        (low_word(low >> 64), low_word(high >> 64).saturating_add(1))
    }

    /// A magnitude beyond all steps, or nothing if the point is over the curve.
    fn beyond<R: RngCore + ?Sized>(
        &self,
        place: u64,
        height: u64,
        rng: &mut R,
    ) -> Result<Option<u64>, NoiseError> {
        let mut flips = 0;
        let zeros = loop {
            let word = rng.next_u64();
            if word != 0 {
                break flips + word.trailing_zeros();
            }
            flips += 64;
            if flips > MAX_FLIPS {
                return Err(NoiseError::Overflow);
            }
        };
        let block_bits = self.width_bits + BLOCK_BITS;
        let start = (self.sure.len() as u64) << self.width_bits;
        let offset = place & ((1 << block_bits) - 1);
        let magnitude = start + (u64::from(zeros) << block_bits) + offset;
        let square = u128::from(magnitude) * u128::from(magnitude);
        // A block is chosen with probability 2^-(zeros + 1), and is 2^6 times as wide as a step.
        let scale = &self.scale << (zeros + 1 + BLOCK_BITS);
        let under = is_below(height, &scale, square, self.twice_variance, rng);
        Ok(under.then_some(magnitude))
    }
}

/// Upper bounds of exp(−(k·2^b)²/2σ²) for k = 0, 1, … until it is below 2^-`tail_bits`, and that first one below.
fn curve_above(width_bits: u32, twice_variance: u128, tail_bits: u64) -> (Vec<BigUint>, BigUint) {
    let least = BigUint::from(1_u8) << (TABLE_BITS - tail_bits);
    let one = BigUint::from(1_u8) << TABLE_BITS;
    // exp(−(k + 1)²q) = exp(−k²q)·exp(−(2k + 1)q), and the second factor falls by exp(−2q) each time.
    let mut factor = ExpBounds::of(1 << (2 * width_bits), twice_variance, TABLE_BITS).high;
    let fall = ceil_div(&factor * &factor, &one);
    let (mut curve, mut next) = (Vec::new(), one.clone());
    while next >= least {
        let after = ceil_div(&next * &factor, &one);
        factor = ceil_div(&factor * &fall, &one);
        curve.push(std::mem::replace(&mut next, after));
    }
    (curve, next)
}

fn guide(starts: &[u64]) -> Vec<u16> {
    (0..1_u64 << GUIDE_BITS)
        .map(|cell| {
            let first = cell << (64 - GUIDE_BITS);
            let step = starts.partition_point(|start| *start <= first) - 1;
            u16::try_from(step).expect("there are some 600 steps")
        })
        .collect()
}

/// exp(−t·2^-64)·2^64 for t of at most 2^63, by [`EXP_SLACK`] too small or too large at most, also where t was rounded down.
///
/// The series to its eighteenth term, 1 − t(1 − t/2(1 − t/3(…))). With r = t·2^-64 ≤ ½ stage i is off by at most
/// (r·e + 1 + 1)/i + 1 where the one after it is off by e: t's own rounding, that of the product and that of the quotient. It
/// begins with less than 1 (what the series leaves out is below 2^-70): e ≤ 2.1 for i = 3, 2.6 for i = 2, 4.3 for i = 1.
fn exp_minus(t: u64) -> u128 {
    const ONE: u128 = 1 << 64;
    (1..=18).rev().fold(ONE, |sum, place| {
        let product = low_word((u128::from(t) * sum) >> 64);
        ONE - u128::from(product / place)
    })
}

/// A number that is known to be below 2^64.
fn low_word(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn fitting(number: &BigUint) -> u64 {
    u64::try_from(number).expect("A makes every step fit a word")
}

#[cfg(test)]
#[path = "strips_tests.rs"]
mod tests;
