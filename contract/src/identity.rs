//! Identity keys: Ed25519 (RFC 8032), one per organisation, from enrolment to revocation.

use std::fmt;

use consort_aggregation::Digest;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// A signature by an identity key: 64 bytes, RFC 8032.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// Reads 64 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex(&self.0[..8]))
    }
}

/// Why bytes are not an identity key, or a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not 32 bytes, or not a point of full order.
    #[error("not an Ed25519 public key: 32 bytes of a point that is not of small order are needed")]
    Key,
    /// The signature does not verify under the key.
    #[error("the signature does not verify under this identity key")]
    Signature,
}

/// The public half of an organisation's identity key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdentityKey([u8; 32]);

impl IdentityKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`IdentityError::Key`] for bytes that are no point, or a point of small order (which would verify anything).
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| IdentityError::Key)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| IdentityError::Key)?;
        if key.is_weak() {
            return Err(IdentityError::Key);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature with the strict rules (no small-order points, canonical scalar).
    ///
    /// # Errors
    /// [`IdentityError::Signature`] when it does not hold.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), IdentityError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| IdentityError::Key)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature)
            .map_err(|_| IdentityError::Signature)
    }

    /// What a steward compares out of band: SHA-256 of the key.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", hex(&self.0))
    }
}

impl TryFrom<String> for IdentityKey {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        let bytes = unhex(&text).ok_or(IdentityError::Key)?;
        Self::from_slice(&bytes)
    }
}

impl From<IdentityKey> for String {
    fn from(key: IdentityKey) -> Self {
        hex(&key.0)
    }
}

/// The secret half of an identity key. Zeroised on drop; prints nothing.
///
/// # Security
/// Whoever holds it speaks as the organisation. It is born inside the organisation's machine and never leaves it.
pub struct IdentitySecret(SigningKey);

impl IdentitySecret {
    /// Makes a key from 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Draws a key.
    pub fn random(rng: &mut (impl rand_core::RngCore + rand_core::CryptoRng)) -> Self {
        Self(SigningKey::generate(rng))
    }

    /// The 32 secret bytes, for the sealed state file only.
    pub fn to_seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> IdentityKey {
        IdentityKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message. Callers sign canonical encodings only, whose first part is a label unique to the kind of message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySecret(32 bytes)")
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads lower- or upper-case hexadecimal; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_only() {
        let secret = IdentitySecret::from_seed(&[7; 32]);
        let signature = secret.sign(b"one");
        assert!(secret.public().verify(b"one", &signature).is_ok());
        assert_eq!(
            secret.public().verify(b"two", &signature),
            Err(IdentityError::Signature)
        );
    }

    #[test]
    fn a_small_order_point_is_no_identity() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(IdentityKey::from_slice(&identity), Err(IdentityError::Key));
    }

    #[test]
    fn a_secret_prints_no_byte_of_itself() {
        assert_eq!(
            format!("{:?}", IdentitySecret::from_seed(&[7; 32])),
            "IdentitySecret(32 bytes)"
        );
    }
}
