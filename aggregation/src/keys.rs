//! The round keys of a member and the mask seeds that come from them.
//!
//! A member draws three secrets for one attempt of one round: the mask key σ (agreed pairwise, opened when its owner drops
//! out), the share-encryption key e (never opened) and the self-mask secret b (opened when its owner stays). All are
//! scalars modulo ℓ, the prime order of ristretto255 (RFC 9496), so that they can be shared as they are.

use crate::{Canonical, Digest, MaskSeed, MemberIndex, ShareSecret, secret::redacted_debug};
use curve25519_dalek::{
    RistrettoPoint, Scalar, ristretto::CompressedRistretto, traits::IsIdentity,
};
use hkdf::Hkdf;
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The HKDF label of the mask that two members share.
const PAIR_MASK_LABEL: &str = "consort/aggregation/pair-mask/v1";
/// The HKDF label of the mask of one member.
const SELF_MASK_LABEL: &str = "consort/aggregation/self-mask/v1";
/// The label under which the context and the adverts become the context of the round keys.
const ROUND_KEYS_LABEL: &str = "consort/aggregation/round-keys/v1";

/// A mask key or a share-encryption key of one attempt of one round, zeroised on drop.
///
/// # Security
/// Used in constant time. It lives in memory only and has no wire form; its shares have one.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(Scalar);

redacted_debug!(SecretKey, 32);

impl SecretKey {
    /// Draws a key.
    #[must_use]
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(random_scalar(rng))
    }

    /// The public key σ·B.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.0)
    }

    /// The secret as the value to be shared among the neighbours.
    #[must_use]
    pub fn to_share_secret(&self) -> ShareSecret {
        ShareSecret::new(self.0)
    }

    /// The key that shares gave back. Whoever calls this compares [`Self::public`] with what the owner advertised.
    pub(crate) fn from_share_secret(secret: &ShareSecret) -> Self {
        Self(*secret.scalar())
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.0
    }

    /// The encoding of the point that both holders of a key pair compute.
    fn agree(&self, peer: &PublicKey) -> Zeroizing<[u8; 32]> {
        let mut point = peer.point * self.0;
        let mut compressed = point.compress();
        let agreed = Zeroizing::new(compressed.to_bytes());
        point.zeroize();
        compressed.zeroize();
        agreed
    }
}

/// The secret b behind a member's self-mask, zeroised on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SelfMaskSecret(Scalar);

redacted_debug!(SelfMaskSecret, 32);

impl SelfMaskSecret {
    /// Draws a secret.
    #[must_use]
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(random_scalar(rng))
    }

    /// The point b·B, which is the constant of this secret's commitments.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::of(&self.0)
    }

    /// The secret as the value to be shared among the neighbours.
    #[must_use]
    pub fn to_share_secret(&self) -> ShareSecret {
        ShareSecret::new(self.0)
    }

    /// The secret that shares gave back. Whoever calls this compares [`Self::public`] with the commitments.
    pub(crate) fn from_share_secret(secret: &ShareSecret) -> Self {
        Self(*secret.scalar())
    }
}

/// A public key: the canonical encoding of a ristretto255 element other than the identity.
#[derive(Clone, Copy)]
pub struct PublicKey {
    point: RistrettoPoint,
    encoded: [u8; 32],
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`] for bytes that are no canonical encoding (RFC 9496 section 4.3.1), and for the identity, whose
    /// agreement with any key is known to everybody.
    pub fn from_bytes(encoded: [u8; 32]) -> Result<Self, KeyError> {
        let point = CompressedRistretto(encoded)
            .decompress()
            .ok_or(KeyError::NotCanonical)?;
        if point.is_identity() {
            return Err(KeyError::Identity);
        }
        Ok(Self { point, encoded })
    }

    /// The 32 bytes of the encoding.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.encoded
    }

    pub(crate) fn of(secret: &Scalar) -> Self {
        Self::of_point(RistrettoPoint::mul_base(secret))
    }

    pub(crate) fn of_point(point: RistrettoPoint) -> Self {
        let encoded = point.compress().to_bytes();
        Self { point, encoded }
    }

    pub(crate) fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl PartialEq for PublicKey {
    /// An element has one canonical encoding, so the bytes decide.
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", Digest::new(self.encoded))
    }
}

/// Why bytes are not a public key: the fault of whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No element has this encoding.
    #[error("the public key is not the canonical encoding of a ristretto255 element")]
    NotCanonical,
    /// The encoding of the identity.
    #[error("the public key is the identity")]
    Identity,
}

impl KeyError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCanonical => "key_not_canonical",
            Self::Identity => "key_identity",
        }
    }
}

/// What the keys of one attempt of one round are bound to ("ctx2"): its context and all signed adverts.
///
/// Members that were shown different models, rosters, policies or adverts derive different masks and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundKeyContext(Digest);

impl RoundKeyContext {
    /// Binds the context of a round ("ctx") and the Merkle root of all signed adverts.
    #[must_use]
    pub fn new(context: &Digest, advert_root: &Digest) -> Self {
        Self(
            Canonical::new(ROUND_KEYS_LABEL)
                .bytes(context.as_bytes())
                .bytes(advert_root.as_bytes())
                .hash(),
        )
    }

    /// The digest, which every signature after the key list covers.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

/// The seed of the mask that members `a` and `b` share, in either order.
///
/// One of them gives its secret mask key and the other's public one; both get the same seed, as does whoever
/// reconstructs either key.
#[must_use]
pub fn pair_mask_seed(
    own: &SecretKey,
    peer: &PublicKey,
    context: &RoundKeyContext,
    a: MemberIndex,
    b: MemberIndex,
) -> MaskSeed {
    let info = Canonical::new(PAIR_MASK_LABEL)
        .u64(a.min(b).get().into())
        .u64(a.max(b).get().into());
    MaskSeed::new(*agreed_key(own, peer, context, info))
}

/// The seed of the mask of `owner` alone.
#[must_use]
pub fn self_mask_seed(
    secret: &SelfMaskSecret,
    context: &RoundKeyContext,
    owner: MemberIndex,
) -> MaskSeed {
    let input = Zeroizing::new(secret.0.to_bytes());
    let info = Canonical::new(SELF_MASK_LABEL).u64(owner.get().into());
    MaskSeed::new(*derive(&input, context, info))
}

/// A key that two holders of a key pair agree on, for the use that `info` names.
pub(crate) fn agreed_key(
    own: &SecretKey,
    peer: &PublicKey,
    context: &RoundKeyContext,
    info: Canonical,
) -> Zeroizing<[u8; 32]> {
    derive(&own.agree(peer), context, info)
}

/// The same key, from the point that one of the two revealed.
pub(crate) fn revealed_key(
    point: &[u8; 32],
    context: &RoundKeyContext,
    info: Canonical,
) -> Zeroizing<[u8; 32]> {
    derive(point, context, info)
}

/// HKDF-SHA256 (RFC 5869) with the round key context as salt.
///
/// # Security
/// `hkdf` leaves the extracted key on the stack; only its output is zeroised.
fn derive(input: &[u8; 32], context: &RoundKeyContext, info: Canonical) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(context.0.as_bytes()), input)
        .expand(&info.finish(), key.as_mut())
        .expect("RFC 5869 allows up to 255 blocks of 32 bytes");
    key
}

/// A scalar other than zero.
pub(crate) fn random_scalar(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        // Zero comes with probability 2^-252 and would make the public key the identity, which every peer refuses.
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
