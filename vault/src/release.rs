//! A data key on its way: sealed by HPKE (RFC 9180, base mode) to a key that was made for this one release, in the machine that
//! is to have it.
//!
//! KEM X-Wing (X25519 and ML-KEM-768, draft-connolly-cfrg-xwing-kem; HPKE's number 0x647a), so that who records the release today
//! and has a quantum computer one day still reads nothing; KDF HKDF-SHA256; AEAD ChaCha20-Poly1305.

use std::fmt;

use consort_aggregation::{Canonical, Digest};
use consort_contract::{JobId, Label, OrganisationId};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::data_key::{DATA_KEY_BYTES, DataKey, KeyName};

/// Bytes of the public key to seal to.
pub const RELEASE_KEY_BYTES: usize = 1216;

/// Bytes of the encapsulated secret.
pub const ENCAPSULATED_BYTES: usize = 1120;

/// Bytes of the sealed data key: the key and the tag of its AEAD.
pub const SEALED_KEY_BYTES: usize = DATA_KEY_BYTES + 16;

/// What a release is about. It is authenticated with the key, so that a release answers one question only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseTerms {
    /// The broker's nonce.
    pub nonce: [u8; 32],
    /// The key that was asked for.
    pub key: KeyName,
    /// The job it is for.
    pub job: JobId,
    /// Hash of the contract that all members approved.
    pub contract: Digest,
    /// The manifest in force.
    pub manifest: Digest,
}

/// What a release of a state key is about: no job, and no manifest, since the pins of manifests lie under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTerms {
    /// The broker's nonce.
    pub nonce: [u8; 32],
    /// The key that was asked for.
    pub key_id: Label,
    /// Its version.
    pub version: u32,
    /// Whose state it is.
    pub organisation: OrganisationId,
}

/// What both sides of a release must mean alike, or the key does not open.
pub trait Terms {
    /// HPKE's `info`.
    fn info(&self) -> Vec<u8>;
    /// HPKE's `aad`.
    fn associated_data(&self) -> Vec<u8>;
}

impl Terms for StateTerms {
    fn info(&self) -> Vec<u8> {
        Canonical::new("consort/key-release/state/info/v1")
            .bytes(&self.nonce)
            .str(self.key_id.as_str())
            .u64(self.version.into())
            .finish()
    }

    fn associated_data(&self) -> Vec<u8> {
        Canonical::new("consort/key-release/state/aad/v1")
            .str(self.organisation.as_str())
            .finish()
    }
}

impl Terms for ReleaseTerms {
    fn info(&self) -> Vec<u8> {
        Canonical::new("consort/key-release/info/v1")
            .bytes(&self.nonce)
            .str(self.key.key_id.as_str())
            .u64(self.key.version.into())
            .str(self.job.as_str())
            .bytes(self.manifest.as_bytes())
            .finish()
    }

    fn associated_data(&self) -> Vec<u8> {
        Canonical::new("consort/key-release/aad/v1")
            .str(self.key.data_set.as_str())
            .bytes(self.contract.as_bytes())
            .finish()
    }
}

/// A key pair for one release. The secret half never leaves this value, and is zeroised with it.
pub struct ReleaseKeyPair {
    secret: <XWing as Kem>::PrivateKey,
    public: Vec<u8>,
}

impl ReleaseKeyPair {
    /// Draws a pair from the operating system.
    pub fn generate() -> Self {
        let (secret, public) = XWing::gen_keypair();
        Self {
            secret,
            public: public.to_bytes().to_vec(),
        }
    }

    /// The public key, [`RELEASE_KEY_BYTES`].
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens the one answer that this pair was made for.
    ///
    /// # Errors
    /// [`ReleaseError::Opens`] when it was sealed to another key or about anything else.
    pub fn open(self, sealed: &SealedKey, terms: &impl Terms) -> Result<DataKey, ReleaseError> {
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(&sealed.encapsulated)
            .map_err(|_| ReleaseError::Opens)?;
        let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.secret,
            &encapsulated,
            &terms.info(),
            &sealed.sealed,
            &terms.associated_data(),
        );
        let plain = Zeroizing::new(plain.map_err(|_| ReleaseError::Opens)?);
        DataKey::from_slice(&plain).ok_or(ReleaseError::Opens)
    }
}

impl fmt::Debug for ReleaseKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleaseKeyPair(X-Wing)")
    }
}

/// A data key that one machine can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The encapsulated secret, [`ENCAPSULATED_BYTES`].
    pub encapsulated: Vec<u8>,
    /// The sealed key, [`SEALED_KEY_BYTES`].
    pub sealed: Vec<u8>,
}

/// Why a data key does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The public key is none.
    #[error("the key to seal to is no X-Wing public key of {RELEASE_KEY_BYTES} bytes")]
    PublicKey,
    /// The answer does not open.
    #[error("the released key does not open: it answers another question, or was changed")]
    Opens,
}

impl ReleaseError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PublicKey => "release_public_key",
            Self::Opens => "release_does_not_open",
        }
    }
}

/// Whether there is a public key to seal to, before a data key is unwrapped for it.
///
/// # Errors
/// [`ReleaseError::PublicKey`].
pub fn check_public(public: &[u8]) -> Result<(), ReleaseError> {
    public_key(public).map(|_| ())
}

fn public_key(public: &[u8]) -> Result<<XWing as Kem>::PublicKey, ReleaseError> {
    <XWing as Kem>::PublicKey::from_bytes(public).map_err(|_| ReleaseError::PublicKey)
}

/// Seals a data key to a public key.
///
/// # Errors
/// [`ReleaseError::PublicKey`].
///
/// # Security
/// Whoever holds the secret half has the data key: the caller has verified evidence that a machine made it for these terms.
pub fn seal(public: &[u8], key: &DataKey, terms: &impl Terms) -> Result<SealedKey, ReleaseError> {
    let public = public_key(public)?;
    let (encapsulated, sealed) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        &terms.info(),
        key.expose(),
        &terms.associated_data(),
    )
    .map_err(|_| ReleaseError::PublicKey)?;
    Ok(SealedKey {
        encapsulated: encapsulated.to_bytes().to_vec(),
        sealed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> ReleaseTerms {
        ReleaseTerms {
            nonce: [1; 32],
            key: KeyName {
                key_id: Label::new("records-key").unwrap(),
                version: 2,
                data_set: Label::new("records").unwrap(),
            },
            job: JobId::new("job-1").unwrap(),
            contract: Digest::of(b"contract"),
            manifest: Digest::of(b"manifest"),
        }
    }

    #[test]
    fn a_released_key_opens_for_the_pair_it_was_sealed_to() {
        let (pair, key) = (ReleaseKeyPair::generate(), DataKey::random());
        assert_eq!(pair.public().len(), RELEASE_KEY_BYTES);
        let sealed = seal(pair.public(), &key, &terms()).unwrap();
        assert_eq!(sealed.encapsulated.len(), ENCAPSULATED_BYTES);
        assert_eq!(sealed.sealed.len(), SEALED_KEY_BYTES);
        let opened = pair.open(&sealed, &terms()).unwrap();
        assert_eq!(opened.expose(), key.expose());
    }

    #[test]
    fn a_released_key_opens_for_no_other_pair_and_about_nothing_else() {
        type Change = fn(&mut ReleaseTerms);
        let changes: [Change; 7] = [
            |_| (),
            |terms| terms.nonce[0] ^= 1,
            |terms| terms.key.key_id = Label::new("other").unwrap(),
            |terms| terms.key.version += 1,
            |terms| terms.key.data_set = Label::new("other").unwrap(),
            |terms| terms.job = JobId::new("job-2").unwrap(),
            |terms| terms.contract = Digest::of(b"other"),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let (pair, other) = (ReleaseKeyPair::generate(), ReleaseKeyPair::generate());
            let to = if index == 0 { &other } else { &pair };
            let sealed = seal(to.public(), &DataKey::random(), &terms()).unwrap();
            let mut asked = terms();
            change(&mut asked);
            let refused = pair.open(&sealed, &asked).unwrap_err();
            assert_eq!(refused.code(), "release_does_not_open", "change {index}");
        }
    }

    #[test]
    fn a_released_state_key_opens_about_this_very_release_alone_and_never_as_a_data_key() {
        let terms = || StateTerms {
            nonce: [1; 32],
            key_id: Label::new("records-key").unwrap(),
            version: 2,
            organisation: OrganisationId::new("clinic-1").unwrap(),
        };
        let key = DataKey::random();
        let opened = |change: fn(&mut StateTerms)| {
            let pair = ReleaseKeyPair::generate();
            let sealed = seal(pair.public(), &key, &terms()).unwrap();
            let mut asked = terms();
            change(&mut asked);
            pair.open(&sealed, &asked).map(|key| *key.expose())
        };
        assert_eq!(opened(|_| ()), Ok(*key.expose()));
        let changes: [fn(&mut StateTerms); 4] = [
            |terms| terms.nonce[31] ^= 1,
            |terms| terms.key_id = Label::new("other").unwrap(),
            |terms| terms.version += 1,
            |terms| terms.organisation = OrganisationId::new("clinic-2").unwrap(),
        ];
        for change in changes {
            assert_eq!(opened(change), Err(ReleaseError::Opens));
        }
        let pair = ReleaseKeyPair::generate();
        let sealed = seal(pair.public(), &key, &terms()).unwrap();
        assert!(pair.open(&sealed, &self::terms()).is_err());
    }

    #[test]
    fn a_key_of_another_length_is_no_key_and_a_cut_answer_does_not_open() {
        for length in [0, 32, RELEASE_KEY_BYTES - 1, RELEASE_KEY_BYTES + 1] {
            let refused = seal(&vec![1; length], &DataKey::random(), &terms()).unwrap_err();
            assert_eq!(refused.code(), "release_public_key");
            assert_eq!(check_public(&vec![1; length]), Err(ReleaseError::PublicKey));
        }
        let pair = ReleaseKeyPair::generate();
        assert_eq!(check_public(pair.public()), Ok(()));
        let mut sealed = seal(pair.public(), &DataKey::random(), &terms()).unwrap();
        sealed.sealed.pop();
        assert!(pair.open(&sealed, &terms()).is_err());
    }
}
