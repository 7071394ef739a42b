//! How a channel fails, by whose fault it is.

use std::fmt;

use rustls::{AlertDescription, CertificateError, OtherError};
use sha2::{Digest, Sha256};

use super::certificate::CertificateReason;
use super::in_force::ManifestId;
use super::peer::Refused;
use crate::attester::AttesterFault;
use crate::machine::IdentityKey;
use crate::reason::Reason;
use crate::statements::Role;

/// A connection that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The network failed, or the peer went away.
    #[error("the connection failed before the peer was attested")]
    Io(#[from] std::io::Error),
    /// TLS failed.
    #[error("the TLS session failed")]
    Tls(#[from] rustls::Error),
    /// Handshake and exchange took too long, or the connection did not open.
    #[error("the peer did not attest in time")]
    Timeout,
    /// A frame is larger than is ever read or written.
    #[error("an attestation frame is larger than is allowed")]
    FrameTooLarge,
    /// A frame does not hold the message that is due.
    #[error("the peer broke the attestation protocol: {0} was due")]
    Malformed(&'static str),
    /// The own organisation's name is too long.
    #[error("this organisation's name is longer than a peer would read")]
    Name,
    /// The address has no host or port.
    #[error("the address names no host and port")]
    Address,
    /// This machine gave no evidence.
    #[error(transparent)]
    Attester(#[from] AttesterFault),
    /// The peer's certificate did not pass the first filter. This is the record to keep.
    #[error(transparent)]
    CertificateRefused(Box<CertificateRefused>),
    /// The peer did not take this side's certificate. Its operator finds the reason under the correlation id.
    #[error(
        "the peer refused this side's certificate in the handshake: its policy does not take the evidence in it, or it has another manifest in force; \
         ask its operator for attestation record {0}"
    )]
    CertificateRefusedByPeer(CorrelationId),
    /// The peer did not prove itself. This is the record to keep; the peer knows the correlation id.
    #[error(transparent)]
    PeerRefused(Box<PeerRefused>),
    /// The peer refused this side because it has another manifest in force.
    #[error("{0} (attestation record {1})")]
    ManifestDiffers(ManifestDifference, CorrelationId),
    /// The peer did not accept this side's proof. Its operator finds the precise reason under the correlation id.
    #[error(
        "the peer refused this side: {reason}; ask its operator for attestation record {correlation}"
    )]
    RefusedByPeer {
        /// As much as the peer says.
        reason: CoarseReason,
        /// Under which the peer recorded its reason.
        correlation: CorrelationId,
    },
}

impl ChannelError {
    /// The same failure by its own name, where TLS is at fault and it arrived as the transport's.
    pub(super) fn unwrapped(self, own_certificate: CorrelationId) -> Self {
        if let Self::Io(error) = self {
            match error.downcast::<rustls::Error>() {
                Ok(tls) => Self::of_tls(tls, own_certificate),
                Err(transport) => Self::Io(transport),
            }
        } else if let Self::Tls(tls) = self {
            Self::of_tls(tls, own_certificate)
        } else {
            self
        }
    }

    fn of_tls(tls: rustls::Error, own_certificate: CorrelationId) -> Self {
        if tls == rustls::Error::AlertReceived(AlertDescription::CertificateUnknown) {
            return Self::CertificateRefusedByPeer(own_certificate);
        }
        if let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = &tls
            && let Some(refused) = inner.downcast_ref::<CertificateRefused>()
        {
            return Self::CertificateRefused(Box::new(refused.clone()));
        }
        Self::Tls(tls)
    }

    /// Whether this is the refusal of somebody who may be anybody: nothing shows which organisation he speaks for.
    pub fn is_of_a_stranger(&self) -> bool {
        match self {
            Self::CertificateRefused(refused) => refused.organisation.is_none(),
            Self::PeerRefused(refused) => refused.is_of_a_stranger(),
            Self::Io(_)
            | Self::Tls(_)
            | Self::Timeout
            | Self::FrameTooLarge
            | Self::Malformed(_)
            | Self::Name
            | Self::Address
            | Self::Attester(_)
            | Self::CertificateRefusedByPeer(_)
            | Self::ManifestDiffers(..)
            | Self::RefusedByPeer { .. } => false,
        }
    }

    /// The stable code. A refused peer's is the precise reason's.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "channel.io",
            Self::Tls(_) => "channel.tls",
            Self::Timeout => "channel.timeout",
            Self::FrameTooLarge => "channel.frame-too-large",
            Self::Malformed(_) => "channel.malformed",
            Self::Name => "channel.name",
            Self::Address => "channel.address",
            Self::Attester(fault) => fault.code(),
            Self::CertificateRefused(refused) => refused.reason.code(),
            Self::CertificateRefusedByPeer(_) => "channel.certificate-refused-by-peer",
            Self::PeerRefused(refused) => refused.cause.code(),
            Self::ManifestDiffers(..) => "channel.manifest",
            Self::RefusedByPeer { .. } => "channel.refused-by-peer",
        }
    }
}

/// A certificate that did not pass the first filter, for the audit record. The peer held its key, where evidence was looked at.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the certificate of a {role} was refused in the handshake: {reason} (attestation record {correlation})"
)]
pub struct CertificateRefused {
    /// The role it had to play.
    pub role: Role,
    /// Whose machine spoke, by the directory, where the evidence is good but for what it says of the machine. The peer itself has said
    /// nothing yet.
    pub organisation: Option<String>,
    /// Why.
    pub reason: CertificateReason,
    /// What the peer knows the refusal by: it names the certificate.
    pub correlation: CorrelationId,
    /// The evidence as it came; empty where none was found.
    pub evidence: Vec<u8>,
}

/// A peer that did not prove itself, for the audit record.
#[derive(Debug, thiserror::Error)]
#[error("{role} {organisation:?} was refused: {cause} (attestation record {correlation})")]
pub struct PeerRefused {
    /// The organisation it claimed to speak for.
    pub organisation: String,
    /// The identity key it showed.
    pub identity_key: IdentityKey,
    /// The role it played.
    pub role: Role,
    /// Why.
    pub cause: RefusalCause,
    /// What the peer was told to ask for.
    pub correlation: CorrelationId,
    /// The evidence as it came.
    pub evidence: Vec<u8>,
}

impl PeerRefused {
    /// Whether anybody at all could have been refused so: no key of an organisation's signed the session.
    pub fn is_of_a_stranger(&self) -> bool {
        match self.cause {
            RefusalCause::Directory(_)
            | RefusalCause::Manifest(_)
            | RefusalCause::IdentitySignature => true,
            RefusalCause::Evidence(_) => false,
        }
    }
}

/// Why a peer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// The directory does not have it.
    Directory(Refused),
    /// It has another manifest in force. What it says of itself is not proven.
    Manifest(ManifestDifference),
    /// Its identity key did not sign this session.
    IdentitySignature,
    /// Its evidence failed a check.
    Evidence(Reason),
}

impl RefusalCause {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Directory(refused) => refused.code(),
            Self::Manifest(_) => "channel.manifest",
            Self::IdentitySignature => "channel.identity-signature",
            Self::Evidence(reason) => reason.code(),
        }
    }

    /// As much as the peer is told.
    pub fn coarse(self) -> CoarseReason {
        match self {
            Self::Directory(_) => CoarseReason::NotEnrolled,
            Self::Manifest(_) => CoarseReason::Manifest,
            Self::IdentitySignature => CoarseReason::Identity,
            Self::Evidence(_) => CoarseReason::Evidence,
        }
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(difference) => write!(f, "{}, {difference}", self.code()),
            Self::Directory(_) | Self::IdentitySignature | Self::Evidence(_) => {
                f.write_str(self.code())
            }
        }
    }
}

/// Two manifests that are in force at the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestDifference {
    /// Here.
    pub own: ManifestId,
    /// There, as the peer says.
    pub peer: ManifestId,
}

impl fmt::Display for ManifestDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, peer) = (self.own.version, self.peer.version);
        write!(
            f,
            "the peer has manifest version {peer} in force, this side version {own}: "
        )?;
        match own.cmp(&peer) {
            std::cmp::Ordering::Less => {
                write!(
                    f,
                    "put version {peer} in place of this side's manifest file"
                )
            }
            std::cmp::Ordering::Greater => {
                write!(
                    f,
                    "let the peer put version {own} in place of its manifest file"
                )
            }
            std::cmp::Ordering::Equal => write!(
                f,
                "they are two different manifests of one version, or of two rosters; compare their fingerprints ({} here, {} there)",
                hex::encode(self.own.hash),
                hex::encode(self.peer.hash)
            ),
        }
    }
}

/// What a refused peer is told: enough to know whom to ask, too little to learn the policy from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoarseReason {
    /// Organisation, identity key and role are not enrolled together.
    NotEnrolled,
    /// The identity key's signature is not good for this session.
    Identity,
    /// The evidence is not good for this session under the policy.
    Evidence,
    /// The manifests in force differ.
    Manifest,
}

impl CoarseReason {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::NotEnrolled => 1,
            Self::Identity => 2,
            Self::Evidence => 3,
            Self::Manifest => 4,
        }
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        [
            Self::NotEnrolled,
            Self::Identity,
            Self::Evidence,
            Self::Manifest,
        ]
        .into_iter()
        .find(|reason| reason.number() == number)
    }
}

impl fmt::Display for CoarseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEnrolled => "not enrolled",
            Self::Identity => "identity not proven",
            Self::Evidence => "evidence not accepted",
            Self::Manifest => "another manifest",
        })
    }
}

/// Names one refusal on both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrelationId([u8; 16]);

impl CorrelationId {
    pub(super) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Names the refusals of a certificate: both sides have it, though they cannot speak.
    pub(super) fn of_certificate(der: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(der).into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}
