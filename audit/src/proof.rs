//! Bytes in a record that prove something to whoever reads the log.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most bytes of a proof in an entry: two of them, in base64 and with names, fit [`crate::MAX_ENTRY_BYTES`]. The statements of
/// 256 neighbours, twice, are 64 KiB, and the announcement and adverts of a cohort of 1024 are 330 KiB.
pub const MAX_PROOF_BYTES: usize = 352 * 1024;

/// Bytes that prove something, written in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof(Vec<u8>);

impl Proof {
    /// Accepts at most [`MAX_PROOF_BYTES`].
    ///
    /// # Errors
    /// [`InvalidProof`] otherwise.
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidProof> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(InvalidProof);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Proof({} bytes)", self.0.len())
    }
}

impl Serialize for Proof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Proof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

/// More bytes than an entry takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a proof in a record has at most {MAX_PROOF_BYTES} bytes")]
pub struct InvalidProof;

impl InvalidProof {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        "invalid_proof"
    }
}
