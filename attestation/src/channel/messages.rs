//! What the exchange's frames hold, in the canonical encoding.

use super::error::{CoarseReason, CorrelationId};
use crate::machine::IdentityKey;
use crate::parts::{Reader, Writer};

/// The most bytes of an organisation's name: it is kept and shown before anything vouches for it.
pub const MAX_ORGANISATION_BYTES: usize = 256;

const HELLO: &str = "consort/attest/hello/v1";
const OPENING: &str = "consort/attest/opening/v1";
const PROOF: &str = "consort/attest/proof/v1";
const VERDICT: &str = "consort/attest/verdict/v1";

/// The server's first word.
pub(super) struct Hello {
    pub(super) nonce: [u8; 32],
}

impl Hello {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        Writer::labelled(HELLO).bytes(&self.nonce).finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::labelled(bytes, HELLO)?;
        let hello = Self {
            nonce: reader.array()?,
        };
        reader.end()?;
        Some(hello)
    }
}

/// The client's first word.
pub(super) struct Opening {
    pub(super) nonce: [u8; 32],
    pub(super) proof: Proof,
}

impl Opening {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        Writer::labelled(OPENING)
            .bytes(&self.nonce)
            .bytes(&self.proof.to_bytes())
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::labelled(bytes, OPENING)?;
        let opening = Self {
            nonce: reader.array()?,
            proof: Proof::from_bytes(reader.bytes()?)?,
        };
        reader.end()?;
        Some(opening)
    }
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
        Writer::labelled(PROOF)
            .bytes(self.organisation.as_bytes())
            .bytes(self.identity_key.as_bytes())
            .bytes(&self.signature)
            .bytes(&self.evidence)
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::labelled(bytes, PROOF)?;
        let organisation = reader
            .text()
            .filter(|name| name.len() <= MAX_ORGANISATION_BYTES)?
            .to_owned();
        let proof = Self {
            organisation,
            identity_key: IdentityKey::new(reader.array()?),
            signature: reader.array()?,
            evidence: reader.bytes()?.to_vec(),
        };
        reader.end()?;
        Some(proof)
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
        Writer::labelled(VERDICT)
            .u64(number)
            .bytes(correlation)
            .finish()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::labelled(bytes, VERDICT)?;
        let (number, correlation) = (reader.u64()?, reader.bytes()?);
        reader.end()?;
        if number == 0 {
            return correlation.is_empty().then_some(Self::Accepted);
        }
        Some(Self::Refused(
            CoarseReason::from_number(number)?,
            CorrelationId::new(correlation.try_into().ok()?),
        ))
    }
}
