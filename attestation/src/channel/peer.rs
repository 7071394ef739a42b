//! A peer that has proven itself, and who knows which peers there are.

use std::fmt;

use crate::evidence::Evidence;
use crate::machine::{IdentityKey, MachineBinding};
use crate::statements::{ReportData, Role};
use crate::verify::Claims;

/// A peer whose proof was found good in this very session. Only the exchange makes one.
#[derive(Debug)]
pub struct VerifiedPeer {
    pub(super) organisation: String,
    pub(super) identity_key: IdentityKey,
    pub(super) role: Role,
    pub(super) claims: Claims,
    pub(super) evidence: Evidence,
    /// What the evidence is over, to judge it again.
    pub(super) report_data: ReportData,
    pub(super) session_id: SessionId,
}

impl VerifiedPeer {
    /// The organisation it speaks for.
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// The organisation's identity key, which signed this session.
    pub fn identity_key(&self) -> &IdentityKey {
        &self.identity_key
    }

    /// The role it plays.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What its evidence says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The evidence itself, for the audit record.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The session's name, the same on both sides.
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }
}

/// A name for one attested session: a hash of its exporter, nonces and context. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId([u8; 32]);

impl SessionId {
    pub(super) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Who knows which organisations there are, in which roles, with which keys and machines: the roster.
pub trait PeerDirectory: Send + Sync {
    /// The machine from which this organisation may speak with this key in this role.
    ///
    /// # Errors
    /// [`Refused`] when it may not at all.
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        identity_key: &IdentityKey,
    ) -> Result<MachineBinding, Refused>;

    /// Whose machine this is, of those who play this role: for records of a peer that was refused before it said who it is. It lets nobody in.
    fn owner(&self, role: Role, machine: &MachineBinding) -> Option<String>;
}

/// Why the directory does not have a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such organisation.
    #[error("the roster has no such organisation")]
    UnknownOrganisation,
    /// The organisation has another identity key.
    #[error("the organisation's identity key in the roster is another")]
    IdentityKey,
    /// The organisation does not play this role.
    #[error("the organisation does not play this role")]
    Role,
}

impl Refused {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownOrganisation => "channel.unknown-organisation",
            Self::IdentityKey => "channel.identity-key",
            Self::Role => "channel.role",
        }
    }
}
