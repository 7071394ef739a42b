//! What the exchange's frames hold, in the canonical encoding.

use consort_aggregation::{Canonical, CanonicalError, CanonicalReader};

use super::error::{CoarseReason, CorrelationId};
use super::in_force::ManifestId;
use crate::limits::MAX_FRAME_BYTES;
use crate::machine::IdentityKey;

/// The most bytes of an organisation's name: it is kept and shown before anything vouches for it.
pub const MAX_ORGANISATION_BYTES: usize = 256;

/// A correlation id's length.
const CORRELATION_BYTES: usize = 16;

const HELLO: &str = "consort/attest/hello/v2";
const OPENING: &str = "consort/attest/opening/v2";
const PROOF: &str = "consort/attest/proof/v1";
const VERDICT: &str = "consort/attest/verdict/v1";

/// The server's first word.
pub(super) struct Hello {
    pub(super) nonce: [u8; 32],
    /// The manifest in force there: a claim, which the context of its proof will bear out.
    pub(super) manifest: ManifestId,
}

impl Hello {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        with_manifest(Canonical::new(HELLO).bytes(&self.nonce), &self.manifest).finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = CanonicalReader::new(bytes, HELLO)?;
        let hello = Self {
            nonce: reader.array()?,
            manifest: manifest(&mut reader)?,
        };
        reader.finish()?;
        Ok(hello)
    }
}

/// The client's first word.
pub(super) struct Opening {
    pub(super) nonce: [u8; 32],
    /// The manifest in force there, as in the hello.
    pub(super) manifest: ManifestId,
    pub(super) proof: Proof,
}

impl Opening {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        with_manifest(Canonical::new(OPENING).bytes(&self.nonce), &self.manifest)
            .bytes(&self.proof.to_bytes())
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = CanonicalReader::new(bytes, OPENING)?;
        let opening = Self {
            nonce: reader.array()?,
            manifest: manifest(&mut reader)?,
            proof: Proof::from_bytes(reader.bytes(MAX_FRAME_BYTES)?)?,
        };
        reader.finish()?;
        Ok(opening)
    }
}

fn with_manifest(canonical: Canonical, manifest: &ManifestId) -> Canonical {
    canonical.u64(manifest.version).bytes(&manifest.hash)
}

fn manifest(reader: &mut CanonicalReader<'_>) -> Result<ManifestId, CanonicalError> {
    Ok(ManifestId {
        version: reader.u64()?,
        hash: reader.array()?,
    })
}

/// Who speaks, and what shows it.
pub(super) struct Proof {
    pub(super) organisation: String,
    pub(super) identity_key: IdentityKey,
    pub(super) signature: [u8; 64],
    pub(super) evidence: Vec<u8>,
}

impl Proof {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        Canonical::new(PROOF)
            .bytes(self.organisation.as_bytes())
            .bytes(self.identity_key.as_bytes())
            .bytes(&self.signature)
            .bytes(&self.evidence)
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let mut reader = CanonicalReader::new(bytes, PROOF)?;
        let organisation = reader.str(MAX_ORGANISATION_BYTES)?.to_owned();
        let proof = Self {
            organisation,
            identity_key: IdentityKey::new(reader.array()?),
            signature: reader.array()?,
            evidence: reader.bytes(MAX_FRAME_BYTES)?.to_vec(),
        };
        reader.finish()?;
        Ok(proof)
    }
}

/// What a side made of the other's proof.
pub(super) enum Verdict {
    Accepted,
    Refused(CoarseReason, CorrelationId),
}

impl Verdict {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (number, correlation) = match self {
            Self::Accepted => (0, &[][..]),
            Self::Refused(reason, correlation) => (reason.number(), &correlation.as_bytes()[..]),
        };
        Canonical::new(VERDICT)
            .u64(number)
            .bytes(correlation)
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = CanonicalReader::new(bytes, VERDICT).ok()?;
        let (number, correlation) = (reader.u64().ok()?, reader.bytes(CORRELATION_BYTES).ok()?);
        reader.finish().ok()?;
        if number == 0 {
            return correlation.is_empty().then_some(Self::Accepted);
        }
        Some(Self::Refused(
            CoarseReason::from_number(number)?,
            CorrelationId::new(correlation.try_into().ok()?),
        ))
    }
}

/// Which message of the exchange a frame's payload is, and its encoding again; nothing when it is none.
///
/// A connection knows which message is due and reads that one alone; this is for whoever looks at recorded bytes.
#[must_use]
pub fn message_of(payload: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    if let Ok(hello) = Hello::from_bytes(payload) {
        return Some((HELLO, hello.to_bytes()));
    }
    if let Ok(opening) = Opening::from_bytes(payload) {
        return Some((OPENING, opening.to_bytes()));
    }
    if let Ok(proof) = Proof::from_bytes(payload) {
        return Some((PROOF, proof.to_bytes()));
    }
    Verdict::from_bytes(payload).map(|verdict| (VERDICT, verdict.to_bytes()))
}
