//! Sealing of state: what a process leaves on disk is encrypted and bound to its kind and name.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random 96-bit nonce per sealed object; the kind and the name are authenticated with
//! the content, so that one object cannot stand in for another.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use consort_aggregation::{Canonical, Digest};
use hkdf::Hkdf;
use rand_core::{OsRng, RngCore};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::data_key::DataKey;

/// Bytes of the nonce in front of the ciphertext.
const NONCE_BYTES: usize = 12;

/// The key under which a daemon's state lies on disk. Zeroised on drop; prints nothing.
///
/// # Security
/// It protects the state as well as the place it came from: a key file beside the state protects against a copied disk image
/// only, and is named `dangerous_` for it. Sealing does not notice an older version of the same object (rollback).
pub struct StateKey(Zeroizing<[u8; 32]>);

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file could not be read or written.
    #[error("the state key file {path} cannot be used: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file does not hold a key.
    #[error(
        "the state key file {0} must hold 64 hexadecimal characters; restore it, the state cannot be read without it"
    )]
    Key(PathBuf),
    /// The object does not open: another key, another object, or changed bytes.
    #[error(
        "the sealed {kind} {name} does not open: it was sealed under another key, moved, or changed"
    )]
    Sealed {
        /// What kind of object.
        kind: String,
        /// Which one.
        name: String,
    },
}

impl VaultError {
    /// Stable code for metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "vault_key_file",
            Self::Key(_) => "vault_key_malformed",
            Self::Sealed { .. } => "vault_sealed",
        }
    }
}

impl StateKey {
    /// The key that a broker released.
    pub fn from_released(key: &DataKey) -> Self {
        Self(Zeroizing::new(*key.expose()))
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// [`VaultError::File`] or [`VaultError::Key`].
    pub fn from_dangerous_file(path: &Path) -> Result<Self, VaultError> {
        let failed = |source| VaultError::File {
            path: path.to_owned(),
            source,
        };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text).ok_or_else(|| VaultError::Key(path.to_owned()))
    }

    /// The key that the text of a key file holds: 64 hexadecimal characters, perhaps with white space around them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = Zeroizing::new([0; 32]);
        for (i, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(key))
    }

    /// Draws a key and writes it to a new file that only its owner reads. An existing file is left alone and used.
    ///
    /// # Errors
    /// [`VaultError::File`] or [`VaultError::Key`].
    pub fn create_dangerous_file(path: &Path) -> Result<Self, VaultError> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |source| VaultError::File {
            path: path.to_owned(),
            source,
        };
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(key.as_mut());
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match file {
            Ok(mut file) => {
                let text = Zeroizing::new(
                    key.iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>(),
                );
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(failed)?;
                Ok(Self(key))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::from_dangerous_file(path)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A name for this key that tells nothing of it.
    pub fn fingerprint(&self) -> Digest {
        Canonical::new("consort/vault/fingerprint/v1")
            .bytes(self.0.as_ref())
            .hash()
    }

    /// Bytes of a keyed function of what is given: a name or a tag that only this key makes.
    pub(crate) fn derive(&self, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"consort/vault/derive/v1"), self.0.as_ref())
            .expand(info, derived.as_mut())
            .expect("32 bytes are less than HKDF gives");
        derived
    }

    /// Seals an object.
    pub fn seal(&self, kind: &str, name: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        let payload = Payload {
            msg: plain,
            aad: &bound_to(kind, name),
        };
        let sealed = self
            .cipher()
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("state objects are far below the limit of RFC 8439");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens an object.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it was sealed under another key, as another object, or was changed.
    pub fn open(
        &self,
        kind: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let refused = || VaultError::Sealed {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(refused)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &bound_to(kind, name),
        };
        let plain = self
            .cipher()
            .decrypt(Nonce::from_slice(nonce), payload)
            .map_err(|_| refused())?;
        Ok(Zeroizing::new(plain))
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(Key::from_slice(self.0.as_ref()))
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(32 bytes)")
    }
}

fn bound_to(kind: &str, name: &str) -> Vec<u8> {
    Canonical::new("consort/vault/state/v1")
        .str(kind)
        .str(name)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (tempfile::TempDir, StateKey) {
        let folder = tempfile::tempdir().unwrap();
        let key = StateKey::create_dangerous_file(&folder.path().join("state.key")).unwrap();
        (folder, key)
    }

    #[test]
    fn what_was_sealed_opens_also_after_the_key_was_read_again() {
        let (folder, key) = key();
        let sealed = key.seal("identity", "clinic-1", b"secret");
        let again = StateKey::from_dangerous_file(&folder.path().join("state.key")).unwrap();
        assert_eq!(
            again
                .open("identity", "clinic-1", &sealed)
                .unwrap()
                .as_slice(),
            b"secret"
        );
    }

    #[test]
    fn another_kind_name_key_or_byte_does_not_open() {
        let (_folder, key) = key();
        let sealed = key.seal("identity", "clinic-1", b"secret");
        assert!(key.open("ledger", "clinic-1", &sealed).is_err());
        assert!(key.open("identity", "clinic-2", &sealed).is_err());
        assert!(self::key().1.open("identity", "clinic-1", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(
                key.open("identity", "clinic-1", &changed).is_err(),
                "byte {i}"
            );
        }
        assert!(key.open("identity", "clinic-1", &sealed[..5]).is_err());
    }

    #[test]
    fn an_existing_key_file_is_kept_and_a_broken_one_is_refused() {
        let (folder, key) = key();
        let path = folder.path().join("state.key");
        let sealed = key.seal("a", "b", b"c");
        let kept = StateKey::create_dangerous_file(&path).unwrap();
        assert!(kept.open("a", "b", &sealed).is_ok());
        for broken in ["zz".to_owned(), "+f".repeat(32), "é".repeat(32)] {
            std::fs::write(&path, broken).unwrap();
            assert!(matches!(
                StateKey::from_dangerous_file(&path),
                Err(VaultError::Key(_))
            ));
        }
    }
}
