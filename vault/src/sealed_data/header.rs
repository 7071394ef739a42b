//! The header: which key and which data set, and what this file's own keys are derived with.

use std::io::Read;

use chacha20poly1305::aead::stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::{ChaCha20Poly1305, Key};
use consort_aggregation::{Canonical, CanonicalError, CanonicalReader};
use consort_contract::Label;
use hkdf::Hkdf;
use rand_core::{OsRng, RngCore};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::SealedDataError;
use crate::data_key::{DataKey, KeyName};

/// The most bytes that are read as a header: two names of 64 bytes, two digests, and the encoding around them.
pub const MAX_HEADER_BYTES: usize = 512;

/// Longest name, as [`Label`] has it.
const MAX_LABEL_BYTES: usize = 64;

const LABEL: &str = "consort/data/sealed/v1";

/// The part of the nonce that does not count chunks.
const NONCE_PREFIX: [u8; 7] = [0; 7];

/// What stands in front of the chunks. Nothing of it is believed until a key fits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The key it lies under.
    pub key: KeyName,
    salt: [u8; 32],
    commitment: [u8; 32],
}

/// What a file's own keys are.
pub(super) struct FileKeys {
    payload: Zeroizing<[u8; 32]>,
    commitment: [u8; 32],
}

impl Header {
    pub(super) fn new(key: &DataKey, name: &KeyName) -> (Self, FileKeys) {
        let mut salt = [0; 32];
        OsRng.fill_bytes(&mut salt);
        let keys = FileKeys::derive(key, name, &salt);
        let header = Self {
            key: name.clone(),
            salt,
            commitment: keys.commitment,
        };
        (header, keys)
    }

    /// This file's keys, if the data key is the one it was sealed under.
    pub(super) fn keys(&self, key: &DataKey) -> Result<FileKeys, SealedDataError> {
        let keys = FileKeys::derive(key, &self.key, &self.salt);
        if bool::from(keys.commitment.ct_eq(&self.commitment)) {
            Ok(keys)
        } else {
            Err(SealedDataError::WrongKey(self.key.clone()))
        }
    }

    /// Refuses a file of another data set or under another key than is expected.
    ///
    /// # Errors
    /// [`SealedDataError::OtherDataSet`] and [`SealedDataError::OtherKey`].
    pub fn expect(&self, key_id: &Label, data_set: &Label) -> Result<(), SealedDataError> {
        if self.key.data_set != *data_set {
            return Err(SealedDataError::OtherDataSet {
                found: self.key.data_set.clone(),
                expected: data_set.clone(),
            });
        }
        if self.key.key_id != *key_id {
            return Err(SealedDataError::OtherKey {
                found: self.key.key_id.clone(),
                expected: key_id.clone(),
            });
        }
        Ok(())
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        Canonical::new(LABEL)
            .str(self.key.key_id.as_str())
            .u64(self.key.version.into())
            .str(self.key.data_set.as_str())
            .bytes(&self.salt)
            .bytes(&self.commitment)
            .finish()
    }

    /// Reads the canonical encoding, and nothing else.
    ///
    /// # Errors
    /// [`SealedDataError::Header`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealedDataError> {
        let malformed = |_| SealedDataError::Header("its header is malformed");
        let (key_id, version, data_set, salt, commitment) =
            Self::split(bytes).map_err(malformed)?;
        let label = |bytes: &[u8]| {
            std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| Label::new(text).ok())
                .ok_or(SealedDataError::Header(
                    "its header has a name that is none",
                ))
        };
        let version = u32::try_from(version)
            .ok()
            .filter(|version| *version > 0)
            .ok_or(SealedDataError::Header("its header has no key version"))?;
        Ok(Self {
            key: KeyName {
                key_id: label(key_id)?,
                version,
                data_set: label(data_set)?,
            },
            salt,
            commitment,
        })
    }

    #[expect(clippy::type_complexity, reason = "the fields in their order, once")]
    fn split(bytes: &[u8]) -> Result<(&[u8], u64, &[u8], [u8; 32], [u8; 32]), CanonicalError> {
        let mut reader = CanonicalReader::new(bytes, LABEL)?;
        let fields = (
            reader.bytes(MAX_LABEL_BYTES)?,
            reader.u64()?,
            reader.bytes(MAX_LABEL_BYTES)?,
            reader.array()?,
            reader.array()?,
        );
        reader.finish()?;
        Ok(fields)
    }

    /// Reads a header from the start of a file.
    ///
    /// # Errors
    /// [`SealedDataError::Header`], or [`SealedDataError::Io`].
    pub fn read(from: &mut impl Read) -> Result<Self, SealedDataError> {
        let short = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                SealedDataError::Header("it ends in the middle of its header")
            } else {
                SealedDataError::Io(error)
            }
        };
        let mut length = [0; 4];
        from.read_exact(&mut length).map_err(short)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER_BYTES {
            return Err(SealedDataError::Header("it does not begin with a header"));
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).map_err(short)?;
        Self::from_bytes(&bytes)
    }

    /// The header as it stands in front of the chunks.
    pub(super) fn framed(&self) -> Vec<u8> {
        let bytes = self.to_bytes();
        let length = u32::try_from(bytes.len()).expect("a header is below 512 bytes");
        [length.to_be_bytes().as_slice(), &bytes].concat()
    }
}

impl FileKeys {
    fn derive(key: &DataKey, name: &KeyName, salt: &[u8; 32]) -> Self {
        let about = Canonical::new("consort/data/keys/v1")
            .str(name.key_id.as_str())
            .u64(name.version.into())
            .str(name.data_set.as_str())
            .finish();
        let mut okm = Zeroizing::new([0; 64]);
        Hkdf::<Sha256>::new(Some(salt), key.expose())
            .expand(&about, okm.as_mut())
            .expect("64 bytes are below the limit of RFC 5869");
        let mut payload = Zeroizing::new([0; 32]);
        let mut commitment = [0; 32];
        payload.copy_from_slice(&okm[..32]);
        commitment.copy_from_slice(&okm[32..]);
        Self {
            payload,
            commitment,
        }
    }

    pub(super) fn encryptor(&self) -> EncryptorBE32<ChaCha20Poly1305> {
        let key = Key::from_slice(self.payload.as_ref());
        EncryptorBE32::from_aead(cipher(key), NONCE_PREFIX.as_slice().into())
    }

    pub(super) fn decryptor(&self) -> DecryptorBE32<ChaCha20Poly1305> {
        let key = Key::from_slice(self.payload.as_ref());
        DecryptorBE32::from_aead(cipher(key), NONCE_PREFIX.as_slice().into())
    }
}

fn cipher(key: &Key) -> ChaCha20Poly1305 {
    chacha20poly1305::KeyInit::new(key)
}
