//! The exact discrete Gaussian: integers with probability proportional to exp(−x²/2σ²), σ² an integer.
//!
//! The distribution of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020), to the last bit:
//! integer arithmetic throughout, no float, no tail cut off. How it is drawn: [`strips`], and docs/decisions/0014-noise-by-strips.md.

mod exact;
mod strips;

use std::fmt;

use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize, ZeroizeOnDrop};

use strips::Strips;

/// Largest σ² of the sampler, (2^27)²: up to here a place in a strip and a sign fit in 32 bits.
pub(crate) const MAX_VARIANCE: u64 = 1 << 54;

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
/// noise before the data is touched, and send at fixed deadlines. Memory that one draw in 2^50 uses is not wiped.
#[derive(Clone, Debug)]
pub struct DiscreteGaussian {
    variance: NoiseVariance,
    strips: Strips,
}

impl DiscreteGaussian {
    /// The sampler for σ²: a table of some ten kilobytes, which a millisecond makes.
    pub fn new(variance: NoiseVariance) -> Self {
        Self {
            variance,
            strips: Strips::new(variance.0),
        }
    }

    /// One draw.
    ///
    /// # Errors
    /// [`NoiseError::Overflow`] if a bound of the sampler is passed, which happens with probability below 2^-500 and
    /// never wraps. The round is lost; nothing has been released.
    pub fn sample<R: RngCore + CryptoRng + ?Sized>(&self, rng: &mut R) -> Result<i64, NoiseError> {
        self.strips.draw(rng)
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

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
