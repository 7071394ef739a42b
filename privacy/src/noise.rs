//! The exact discrete Gaussian: integers with probability proportional to exp(−x²/2σ²), σ² an integer.
//!
//! Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020), algorithms 1 to 3, in
//! integer arithmetic throughout: no float, no table, no tail cut off.

use std::fmt;

use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Largest σ² of the sampler, (2^27)²: up to here each product below fits in u128.
pub(crate) const MAX_VARIANCE: u64 = 1 << 54;

/// Most turns of the geometric loop before the sampler gives up; reached with probability e^-512 < 2^-738.
const MAX_GEOMETRIC: u64 = 512;

/// The parameter σ² of a discrete Gaussian, in squared grid units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoiseVariance(u64);

impl NoiseVariance {
    /// 1 to 2^54.
    ///
    /// # Errors
    /// [`NoiseError::Variance`] for anything else.
    pub fn new(sigma_squared: u64) -> Result<Self, NoiseError> {
        if (1..=MAX_VARIANCE).contains(&sigma_squared) {
            Ok(Self(sigma_squared))
        } else {
            Err(NoiseError::Variance)
        }
    }

    /// The number σ².
    pub fn sigma_squared(self) -> u64 {
        self.0
    }
}

/// A sampler of the discrete Gaussian of one variance.
///
/// # Security
/// The distribution is exact as far as the random source is. The time a draw takes depends on what is drawn: draw the
/// noise before the data is touched, and send at fixed deadlines.
#[derive(Clone, Copy, Debug)]
pub struct DiscreteGaussian {
    variance: NoiseVariance,
    /// ⌊σ⌋ + 1, the scale of the Laplace proposals.
    scale: u64,
}

impl DiscreteGaussian {
    /// The sampler for σ².
    pub fn new(variance: NoiseVariance) -> Self {
        Self {
            variance,
            scale: variance.0.isqrt() + 1,
        }
    }

    /// One draw (algorithm 3).
    ///
    /// # Errors
    /// [`NoiseError::Overflow`] if a bound of the sampler is passed, which happens with probability below 2^-700 and
    /// never wraps. The round is lost; nothing has been released.
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> Result<i64, NoiseError> {
        let (scale, variance) = (u128::from(self.scale), u128::from(self.variance.0));
        let denominator = 2 * scale * scale * variance;
        loop {
            let (magnitude, negative) = discrete_laplace(self.scale, rng)?;
            // (|Y| − σ²/t)² / 2σ² = (|Y|·t − σ²)² / (2·t²·σ²); |Y|·t < 2^64 by MAX_GEOMETRIC.
            let distance = (u128::from(magnitude) * scale).abs_diff(variance);
            let numerator = distance.checked_mul(distance).ok_or(NoiseError::Overflow)?;
            if bernoulli_exp(numerator, denominator, rng)? {
                let magnitude = i64::try_from(magnitude).map_err(|_| NoiseError::Overflow)?;
                return Ok(if negative { -magnitude } else { magnitude });
            }
        }
    }

    /// A vector of independent draws.
    ///
    /// # Errors
    /// [`NoiseError::Overflow`] as for [`Self::sample`].
    pub fn sample_vector<R: RngCore + CryptoRng + ?Sized>(
        &self,
        elements: usize,
        rng: &mut R,
    ) -> Result<NoiseVector, NoiseError> {
        // Allocated once and filled in place, so that no copy of the noise is left behind.
        let mut noise = NoiseVector {
            variance: self.variance,
            values: vec![0; elements],
        };
        for value in &mut noise.values {
            *value = self.sample(rng)?;
        }
        Ok(noise)
    }
}

/// A member's noise for one update: whoever knows it can subtract it. Wiped on drop, no wire form, not to be cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct NoiseVector {
    #[zeroize(skip)]
    variance: NoiseVariance,
    values: Vec<i64>,
}

impl NoiseVector {
    /// The variance of each element.
    pub fn variance(&self) -> NoiseVariance {
        self.variance
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }
}

/// Shows the length only.
impl fmt::Debug for NoiseVector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NoiseVector({} elements)", self.values.len())
    }
}

/// The sampler refused or gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// A variance the sampler does not serve.
    #[error(
        "the noise variance must lie between 1 and 2^54 squared grid units: choose another grid"
    )]
    Variance,
    /// A bound of the sampler was passed.
    #[error(
        "the noise sampler passed its bound and stopped: give up this round and check the random source"
    )]
    Overflow,
}

impl NoiseError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Variance => "privacy_noise_variance_out_of_range",
            Self::Overflow => "privacy_noise_overflow",
        }
    }
}

/// Size and sign of a discrete Laplace variable, probability proportional to exp(−|y|/scale) (algorithm 2, s = 1).
fn discrete_laplace<R: RngCore + ?Sized>(
    scale: u64,
    rng: &mut R,
) -> Result<(u64, bool), NoiseError> {
    loop {
        let remainder = uniform_below_u64(scale, rng);
        if !bernoulli_exp(remainder.into(), scale.into(), rng)? {
            continue;
        }
        let mut turns = 0;
        while bernoulli_exp_unit(1, 1, rng)? {
            turns += 1;
            if turns > MAX_GEOMETRIC {
                return Err(NoiseError::Overflow);
            }
        }
        let magnitude = remainder + scale * turns;
        let negative = rng.next_u32() & 1 == 1;
        if !(negative && magnitude == 0) {
            return Ok((magnitude, negative));
        }
    }
}

/// True with probability exp(−numerator/denominator) (algorithm 1).
fn bernoulli_exp<R: RngCore + ?Sized>(
    mut numerator: u128,
    denominator: u128,
    rng: &mut R,
) -> Result<bool, NoiseError> {
    while numerator > denominator {
        if !bernoulli_exp_unit(1, 1, rng)? {
            return Ok(false);
        }
        numerator -= denominator;
    }
    bernoulli_exp_unit(numerator, denominator, rng)
}

/// The same for numerator ≤ denominator (first half of algorithm 1).
fn bernoulli_exp_unit<R: RngCore + ?Sized>(
    numerator: u128,
    denominator: u128,
    rng: &mut R,
) -> Result<bool, NoiseError> {
    let mut divisor = denominator;
    let mut turns_are_even = true;
    while uniform_below(divisor, rng) < numerator {
        divisor = divisor
            .checked_add(denominator)
            .ok_or(NoiseError::Overflow)?;
        turns_are_even = !turns_are_even;
    }
    Ok(turns_are_even)
}

/// Uniform on 0..bound, bound ≥ 1, by rejection from the next power of two: less than two tries on average.
fn uniform_below<R: RngCore + ?Sized>(bound: u128, rng: &mut R) -> u128 {
    if let Ok(bound) = u64::try_from(bound) {
        return uniform_below_u64(bound, rng).into();
    }
    let mask = u128::MAX >> (bound - 1).leading_zeros();
    loop {
        let candidate = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & mask;
        if candidate < bound {
            return candidate;
        }
    }
}

fn uniform_below_u64<R: RngCore + ?Sized>(bound: u64, rng: &mut R) -> u64 {
    if bound == 1 {
        return 0;
    }
    let mask = u64::MAX >> (bound - 1).leading_zeros();
    loop {
        let candidate = rng.next_u64() & mask;
        if candidate < bound {
            return candidate;
        }
    }
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
