//! Showing what two members agreed on, so that a third can open the boxes between them.
//!
//! A member that was sealed a wrong share reveals the point it shares with the sender, e_v·E_u, and proves by the equality of
//! two discrete logarithms that it is this point (Chaum and Pedersen, "Wallet databases with observers", CRYPTO 1992, made
//! non-interactive with Fiat and Shamir's hash). A wrong point cannot be proven, so nobody is blamed with a false key.

use crate::{
    Canonical, Digest, KeyError, PublicKey, RoundKeyContext, SecretKey, keys::random_scalar,
};
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha512};

/// Bytes of a revealed agreement: the point, the challenge and the response.
pub const AGREEMENT_BYTES: usize = 96;

/// A revealed point of agreement and the proof that it is the one of two public keys.
///
/// # Security
/// It opens both boxes between the two members and nothing else. A member reveals it only for a peer that cheated it: that
/// peer knows the point already, so who listens learns nothing that the peer could not have told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevealedAgreement {
    point: PublicKey,
    challenge: Scalar,
    response: Scalar,
}

impl RevealedAgreement {
    /// Reveals what the holder of `own` and the holder of `peer` agreed on.
    #[must_use]
    pub fn reveal(
        own: &SecretKey,
        peer: &PublicKey,
        context: &RoundKeyContext,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Self {
        let point = PublicKey::of_point(peer.point() * own.scalar());
        let nonce = random_scalar(rng);
        let commitments = (RistrettoPoint::mul_base(&nonce), peer.point() * nonce);
        let challenge = challenge(context, &own.public(), peer, &point, commitments);
        Self {
            point,
            challenge,
            response: nonce + challenge * own.scalar(),
        }
    }

    /// Whether this is the point that the holders of these two keys agreed on, revealed by the first.
    #[must_use]
    pub fn verify(&self, by: &PublicKey, peer: &PublicKey, context: &RoundKeyContext) -> bool {
        // z·B - c·E_v and z·E_u - c·P give the two commitments back exactly if both logarithms are equal.
        let commitments = (
            RistrettoPoint::mul_base(&self.response) - by.point() * self.challenge,
            peer.point() * self.response - self.point.point() * self.challenge,
        );
        challenge(context, by, peer, &self.point, commitments) == self.challenge
    }

    /// The encoding of the point, from which the keys of the two boxes follow.
    pub(crate) fn point(&self) -> [u8; 32] {
        self.point.to_bytes()
    }

    /// The encoding: point, challenge and response.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; AGREEMENT_BYTES] {
        let mut bytes = [0; AGREEMENT_BYTES];
        bytes[..32].copy_from_slice(&self.point.to_bytes());
        bytes[32..64].copy_from_slice(self.challenge.as_bytes());
        bytes[64..].copy_from_slice(self.response.as_bytes());
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`KeyError`] when the point or a scalar is not canonical.
    pub fn from_bytes(bytes: &[u8; AGREEMENT_BYTES]) -> Result<Self, KeyError> {
        let third = |i: usize| {
            let mut part = [0; 32];
            part.copy_from_slice(&bytes[32 * i..32 * (i + 1)]);
            part
        };
        let scalar =
            |part| Option::from(Scalar::from_canonical_bytes(part)).ok_or(KeyError::NotCanonical);
        Ok(Self {
            point: PublicKey::from_bytes(third(0))?,
            challenge: scalar(third(1))?,
            response: scalar(third(2))?,
        })
    }
}

/// The hash in the place of a verifier: over everything that is claimed and committed to, as 64 bytes modulo ℓ.
fn challenge(
    context: &RoundKeyContext,
    by: &PublicKey,
    peer: &PublicKey,
    point: &PublicKey,
    commitments: (RistrettoPoint, RistrettoPoint),
) -> Scalar {
    let transcript = Canonical::new("consort/aggregation/revealed-agreement/v1")
        .bytes(context.digest().as_bytes())
        .bytes(&by.to_bytes())
        .bytes(&peer.to_bytes())
        .bytes(&point.to_bytes())
        .bytes(commitments.0.compress().as_bytes())
        .bytes(commitments.1.compress().as_bytes())
        .finish();
    let wide: [u8; 64] = Sha512::digest(Digest::of(&transcript).as_bytes()).into();
    Scalar::from_bytes_mod_order_wide(&wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn keys() -> (SecretKey, SecretKey, RoundKeyContext, ChaCha20Rng) {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let context = RoundKeyContext::new(&Digest::of(b"ctx"), &Digest::of(b"adverts"));
        (
            SecretKey::random(&mut rng),
            SecretKey::random(&mut rng),
            context,
            rng,
        )
    }

    #[test]
    fn a_revealed_agreement_verifies_for_its_two_keys_and_context_only() {
        let (own, peer, context, mut rng) = keys();
        let (by, of) = (own.public(), peer.public());
        let revealed = RevealedAgreement::reveal(&own, &of, &context, &mut rng);
        assert!(revealed.verify(&by, &of, &context));
        assert!(!revealed.verify(&of, &by, &context));
        assert!(!revealed.verify(&by, &by, &context));
        let other = RoundKeyContext::new(&Digest::of(b"other"), &Digest::of(b"adverts"));
        assert!(!revealed.verify(&by, &of, &other));
        assert_eq!(
            RevealedAgreement::from_bytes(&revealed.to_bytes()),
            Ok(revealed)
        );
    }

    #[test]
    fn another_point_is_not_proven_whatever_is_changed() {
        let (own, peer, context, mut rng) = keys();
        let (by, of) = (own.public(), peer.public());
        let honest = RevealedAgreement::reveal(&own, &of, &context, &mut rng);
        let liar = SecretKey::random(&mut rng);
        let wrong = RevealedAgreement::reveal(&liar, &of, &context, &mut rng);
        assert!(!wrong.verify(&by, &of, &context));
        let swapped = RevealedAgreement {
            point: wrong.point,
            ..honest
        };
        assert!(!swapped.verify(&by, &of, &context));
    }
}
