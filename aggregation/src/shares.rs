//! Shamir sharing modulo ℓ with Feldman commitments.
//!
//! The dealer hides its secret in the constant of a random polynomial f of degree t - 1, gives f(x) to the member at
//! position x and publishes C_k = a_k·B for each coefficient (Feldman, "A practical scheme for non-interactive verifiable
//! secret sharing", FOCS 1987). Any t shares give f(0) by Lagrange interpolation; t - 1 shares fit every secret.

use crate::{KeyError, MemberIndex, PublicKey, keys::random_scalar, secret::redacted_debug};
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::{CryptoRng, RngCore};
use std::collections::{BTreeMap, BTreeSet};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The largest threshold: the graph is complete for up to 256 members, and a sparse one has fewer neighbours than that.
pub const MAX_THRESHOLD: u32 = 256;

/// Bytes of one commitment.
const POINT_BYTES: usize = 32;

/// The value that is shared, zeroised on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ShareSecret(Scalar);

redacted_debug!(ShareSecret, 32);

impl ShareSecret {
    pub(crate) fn new(scalar: Scalar) -> Self {
        Self(scalar)
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.0
    }
}

/// One member's share of one secret, zeroised on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Share(Scalar);

redacted_debug!(Share, 32);

impl Share {
    /// Reads a share.
    ///
    /// # Errors
    /// [`ShareError::NotCanonical`] for an integer that is not below ℓ.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ShareError> {
        Option::from(Scalar::from_canonical_bytes(bytes))
            .map(Self)
            .ok_or(ShareError::NotCanonical)
    }

    /// The 32 bytes of the share, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl PartialEq for Share {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Share {}

/// The dealer's public commitments to the coefficients of its polynomial, the secret's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments(Vec<PublicKey>);

impl Commitments {
    /// Reads commitments: 32 bytes for each coefficient.
    ///
    /// # Errors
    /// [`CommitmentsError`] when there are none or more than [`MAX_THRESHOLD`], and when one is not canonical or is the
    /// identity: a coefficient of zero would come from an honest dealer once in 2^252 times.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CommitmentsError> {
        let (points, rest) = bytes.as_chunks::<POINT_BYTES>();
        let in_bounds = u32::try_from(points.len()).is_ok_and(|t| (1..=MAX_THRESHOLD).contains(&t));
        if !in_bounds || !rest.is_empty() {
            return Err(CommitmentsError::Length {
                length: bytes.len(),
            });
        }
        let points: Result<_, _> = points.iter().copied().map(PublicKey::from_bytes).collect();
        Ok(Self(points?))
    }

    /// The encoding that [`Self::from_bytes`] reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(PublicKey::to_bytes).collect()
    }

    /// The shares it takes to reconstruct the secret.
    #[must_use]
    pub fn threshold(&self) -> u32 {
        u32::try_from(self.0.len()).expect("commitments are at most MAX_THRESHOLD")
    }

    /// The commitment to the secret itself.
    #[must_use]
    pub fn constant(&self) -> PublicKey {
        self.0[0]
    }

    /// Whether this is the share of the member at position `x`: share·B = Σ x^k·C_k (Feldman 1987).
    ///
    /// The sum is evaluated by Horner's rule: a position has few bits, so that t multiplications by it cost less than one
    /// sum of products with the powers of x, which have 252 bits; and less than a random linear combination of many
    /// dealers' commitments, each of which takes a multiplication by a random number of 128 bits.
    ///
    /// # Security
    /// Constant time in the share; variable time in the position and the commitments, which are public.
    #[must_use]
    pub fn verify(&self, x: MemberIndex, share: &Share) -> bool {
        let mut points = self.0.iter().rev().map(PublicKey::point);
        let first = points.next().expect("commitments are at least one");
        let expected = points.fold(*first, |value, point| times(&value, x.get()) + point);
        RistrettoPoint::mul_base(&share.0) == expected
    }
}

/// n·P for an n above zero that is no secret, by doubling and adding.
fn times(point: &RistrettoPoint, n: u32) -> RistrettoPoint {
    (0..n.ilog2()).rev().fold(*point, |multiple, bit| {
        let doubled = multiple + multiple;
        if n >> bit & 1 == 1 {
            doubled + point
        } else {
            doubled
        }
    })
}

/// Shares a secret among the members `xs`, so that any `threshold` of them can reconstruct it.
///
/// # Errors
/// [`SharingError`] when the threshold is zero, above [`MAX_THRESHOLD`] or above the number of distinct members.
pub fn split(
    secret: &ShareSecret,
    threshold: u32,
    xs: &[MemberIndex],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Commitments, BTreeMap<MemberIndex, Share>), SharingError> {
    let holders: BTreeSet<MemberIndex> = xs.iter().copied().collect();
    if !(1..=MAX_THRESHOLD).contains(&threshold) || holders.len() < threshold as usize {
        return Err(SharingError {
            threshold,
            holders: holders.len(),
        });
    }
    let mut coefficients = Zeroizing::new(Vec::with_capacity(threshold as usize));
    coefficients.push(secret.0);
    coefficients.extend((1..threshold).map(|_| random_scalar(rng)));

    let commitments = Commitments(coefficients.iter().map(PublicKey::of).collect());
    let shares = holders
        .into_iter()
        .map(|x| (x, Share(evaluate(&coefficients, x))))
        .collect();
    Ok((commitments, shares))
}

/// The polynomial at `x`, by Horner's rule.
fn evaluate(coefficients: &[Scalar], x: MemberIndex) -> Scalar {
    let x = Scalar::from(x.get());
    coefficients
        .iter()
        .rev()
        .fold(Scalar::ZERO, |value, coefficient| value * x + coefficient)
}

/// The Lagrange weights of one set of members, computed once and used for many secrets.
#[derive(Clone, Debug)]
pub struct Interpolation {
    weights: BTreeMap<MemberIndex, Scalar>,
}

impl Interpolation {
    /// The weights at zero for the first `threshold` of these members, in order of position.
    ///
    /// # Errors
    /// [`ShareError::TooFew`] when there are fewer distinct members, or the threshold is zero.
    pub fn new(threshold: u32, xs: &[MemberIndex]) -> Result<Self, ShareError> {
        let distinct: BTreeSet<MemberIndex> = xs.iter().copied().collect();
        if threshold == 0 || distinct.len() < threshold as usize {
            return Err(ShareError::TooFew {
                present: distinct.len(),
                threshold,
            });
        }
        let used: Vec<MemberIndex> = distinct.into_iter().take(threshold as usize).collect();
        Ok(Self {
            weights: weights_at_zero(&used),
        })
    }

    /// The members whose shares are used, in order of position.
    pub fn holders(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        self.weights.keys().copied()
    }

    /// Reconstructs one secret from its shares, of which those of [`Self::holders`] are used.
    ///
    /// The result is the secret only if every share is right: check it against a public key or a commitment.
    ///
    /// # Errors
    /// [`ShareError::Missing`] names the first holder whose share is not there.
    pub fn reconstruct(
        &self,
        shares: &BTreeMap<MemberIndex, Share>,
    ) -> Result<ShareSecret, ShareError> {
        let mut secret = ShareSecret(Scalar::ZERO);
        for (holder, weight) in &self.weights {
            let share = shares
                .get(holder)
                .ok_or(ShareError::Missing { holder: *holder })?;
            secret.0 += weight * share.0;
        }
        Ok(secret)
    }
}

/// λ_x = Π x_j / (x_j - x) over the other members j, which is Π x_j over all members / (x · Π (x_j - x)).
fn weights_at_zero(used: &[MemberIndex]) -> BTreeMap<MemberIndex, Scalar> {
    let positions: Vec<Scalar> = used.iter().map(|x| Scalar::from(x.get())).collect();
    let all: Scalar = positions.iter().product();
    // Positions are distinct 32-bit integers above zero and ℓ is prime: no denominator is zero.
    let mut weights: Vec<Scalar> = positions
        .iter()
        .map(|x| {
            let others = positions.iter().filter(|other| *other != x);
            others.fold(*x, |product, other| product * (other - x))
        })
        .collect();
    // One inversion for all of them (Montgomery's trick).
    Scalar::batch_invert(&mut weights);
    let weights = weights.into_iter().map(|inverse| all * inverse);
    used.iter().copied().zip(weights).collect()
}

/// Reconstructs one secret from at least `threshold` shares. For many secrets of the same holders: [`Interpolation`].
///
/// # Errors
/// [`ShareError::TooFew`] when there are fewer shares.
pub fn reconstruct(
    threshold: u32,
    shares: &BTreeMap<MemberIndex, Share>,
) -> Result<ShareSecret, ShareError> {
    let holders: Vec<MemberIndex> = shares.keys().copied().collect();
    Interpolation::new(threshold, &holders)?.reconstruct(shares)
}

/// A secret cannot be shared like this: a planning mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a threshold of {threshold} does not fit {holders} holders (1 to the number of holders, at most {MAX_THRESHOLD})"
)]
pub struct SharingError {
    /// The threshold that was asked for.
    pub threshold: u32,
    /// The distinct holders there are.
    pub holders: usize,
}

impl SharingError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "shares_threshold_out_of_range"
    }
}

/// Why a share or a set of shares cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The bytes are no scalar below ℓ: the sender's fault.
    #[error("a share is not a canonical scalar")]
    NotCanonical,
    /// Fewer shares than the threshold: nothing can be reconstructed, by design.
    #[error("{present} shares are present and {threshold} are needed")]
    TooFew {
        /// Shares present.
        present: usize,
        /// Shares needed.
        threshold: u32,
    },
    /// The share of one holder is not there.
    #[error("the share held by member {holder} is missing")]
    Missing {
        /// The member that holds it.
        holder: MemberIndex,
    },
}

impl ShareError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCanonical => "share_not_canonical",
            Self::TooFew { .. } => "shares_too_few",
            Self::Missing { .. } => "share_missing",
        }
    }
}

/// Why bytes are not commitments: the dealer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitmentsError {
    /// Not 1 to [`MAX_THRESHOLD`] points of 32 bytes.
    #[error("commitments are 1 to {MAX_THRESHOLD} points of 32 bytes, not {length} bytes")]
    Length {
        /// Bytes received.
        length: usize,
    },
    /// One commitment is not a point that a commitment can be.
    #[error("a commitment is malformed")]
    Point(#[from] KeyError),
}

impl CommitmentsError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "commitments_length",
            Self::Point(_) => "commitments_point",
        }
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
