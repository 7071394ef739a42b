//! From real numbers to ring integers and back: clip, rotate, scale, round.
//!
//! For updates that are weight deltas (federated averaging). A clipped-gradient sum is an exact integer already and takes none of
//! these steps.

mod error;
mod rotation;
mod rounding;

pub use error::FixedPointError;
pub use rotation::{ROTATION_BLOCK, RotationSeed};

use crate::{MaskSeed, parallel::on_each};
use rand_core::{CryptoRng, RngCore};
use rotation::Signs;
use rounding::StochasticRounding;
use std::num::NonZeroUsize;
use zeroize::{Zeroize, Zeroizing};

/// The largest Q: rounding adds a fraction to an integer of this size in the 53 bits of an f64 (31 bits and 21 of fraction).
const MAX_QUANTISED: u32 = i32::MAX.unsigned_abs();

/// How the real numbers of an update become integers of at most Q: public constants of the contract.
///
/// With one grid step s = range/Q, an element x becomes one of the two integers next to x/s, the upper one with the probability
/// of its fraction, so that the expectation is x/s (stochastic rounding). Elements beyond ±range are cut to ±Q.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedPoint {
    norm: f64,
    range: f64,
    quantised: u32,
    rotation: Option<RotationSeed>,
}

/// The elements of one layer of the model, for errors that name it.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The layer's name in the model.
    pub name: &'a str,
    /// Its elements, which follow those of the layer before.
    pub elements: usize,
}

impl FixedPoint {
    /// Clips an update to the L2 norm `norm` and carries each element of ±`range` on `2·quantised + 1` integers.
    ///
    /// A `range` below `norm` cuts single elements; with a rotation, which spreads an update over its elements, a range of a
    /// few `norm`/√d cuts almost none.
    ///
    /// # Errors
    /// [`FixedPointError`] when a number is not finite and positive, or Q is 0 or above 2^31 − 1.
    pub fn new(
        norm: f64,
        range: f64,
        quantised: u32,
        rotation: Option<RotationSeed>,
    ) -> Result<Self, FixedPointError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(norm) {
            return Err(FixedPointError::Norm(norm));
        }
        // A subnormal range would make the step zero.
        if !positive(range) || !(range / f64::from(quantised)).is_normal() {
            return Err(FixedPointError::Range(range));
        }
        match quantised {
            1..=MAX_QUANTISED => Ok(Self {
                norm,
                range,
                quantised,
                rotation,
            }),
            _ => Err(FixedPointError::Quantised(quantised)),
        }
    }

    /// Q: the largest absolute value of one encoded element, to plan the width with.
    #[must_use]
    pub fn quantised(&self) -> u32 {
        self.quantised
    }

    /// The value of the integer 1.
    #[must_use]
    pub fn step(&self) -> f64 {
        self.range / f64::from(self.quantised)
    }

    /// Encodes an update and gives its integers out in order, in pieces of at most [`ROTATION_BLOCK`].
    ///
    /// `values` is overwritten with its rotation and zeroised at the end. `layers` cover it.
    ///
    /// # Errors
    /// [`FixedPointError::NotFinite`] names the layer of the first NaN or infinity; `values` is untouched and nothing was given out.
    ///
    /// # Security
    /// Rounding draws 32 bits for each element from AES-256-CTR under a seed from `rng`: it must be fresh for each update. The time
    /// depends on the number of elements only.
    pub fn encode(
        &self,
        values: &mut [f32],
        layers: &[Layer<'_>],
        rng: &mut (impl RngCore + CryptoRng),
        mut piece: impl FnMut(&[i64]),
    ) -> Result<(), FixedPointError> {
        check_finite(values, layers)?;
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut rounding = StochasticRounding::new(&MaskSeed::new(seed), self.quantised);
        seed.zeroize();
        let scale = clip_factor(values, self.norm) / self.step();
        let mut signs = self.rotation.as_ref().map(Signs::new);
        let mut integers = Zeroizing::new(vec![0_i64; ROTATION_BLOCK.min(values.len())]);
        for block in values.chunks_mut(ROTATION_BLOCK) {
            if let Some(signs) = &mut signs {
                signs.rotate(block);
            }
            let integers = &mut integers[..block.len()];
            rounding.round(block, scale, integers);
            piece(integers);
        }
        values.zeroize();
        Ok(())
    }

    /// The average of `members` updates from their sum.
    #[must_use]
    pub fn decode_average(&self, sum: &[i64], members: u32) -> Vec<f32> {
        self.decode_average_with(sum, members, NonZeroUsize::MIN)
    }

    /// [`Self::decode_average`] by so many threads, which changes no bit of the result.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    #[must_use]
    pub fn decode_average_with(
        &self,
        sum: &[i64],
        members: u32,
        workers: NonZeroUsize,
    ) -> Vec<f32> {
        let unit = self.step() / f64::from(members.max(1));
        let mut values = vec![0.0; sum.len()];
        let blocks = sum
            .len()
            .div_ceil(ROTATION_BLOCK)
            .div_ceil(workers.get())
            .max(1);
        let part = blocks * ROTATION_BLOCK;
        let parts = values.chunks_mut(part).zip(sum.chunks(part)).enumerate();
        on_each(parts, |(index, (values, sum))| {
            let signs = |seed| Signs::from_block(seed, index * blocks);
            let mut signs = self.rotation.as_ref().map(signs);
            let of_blocks = values
                .chunks_mut(ROTATION_BLOCK)
                .zip(sum.chunks(ROTATION_BLOCK));
            for (values, sum) in of_blocks {
                for (value, &integer) in values.iter_mut().zip(sum) {
                    *value = to_f32(integer, unit);
                }
                if let Some(signs) = &mut signs {
                    signs.rotate_back(values);
                }
            }
        });
        values
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a sum of updates is below 2^53 wherever its width was planned from n and Q, and f32 is the model's own precision"
)]
fn to_f32(integer: i64, unit: f64) -> f32 {
    (integer as f64 * unit) as f32
}

/// What brings an update of this L2 norm down to `norm`; at most 1.
fn clip_factor(values: &[f32], norm: f64) -> f64 {
    // Eight running sums: a fixed order whatever the processor, and no chain of additions that waits for itself.
    let mut sums = [0.0_f64; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (sum, &value) in sums.iter_mut().zip(eight) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let length = (sums.iter().sum::<f64>() + rest).sqrt();
    if length > norm { norm / length } else { 1.0 }
}

fn check_finite(values: &[f32], layers: &[Layer<'_>]) -> Result<(), FixedPointError> {
    let covered: usize = layers.iter().map(|layer| layer.elements).sum();
    if covered != values.len() {
        return Err(FixedPointError::Layers {
            covered,
            elements: values.len(),
        });
    }
    let mut rest = values;
    for layer in layers {
        let (own, after) = rest.split_at(layer.elements);
        // Without an early end within the layer: that lets the check run at the speed of memory.
        let finite = own.iter().fold(true, |all, value| all & value.is_finite());
        if !finite {
            return Err(FixedPointError::NotFinite {
                layer: layer.name.to_owned(),
                element: own.iter().position(|v| !v.is_finite()).unwrap_or(0),
            });
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
