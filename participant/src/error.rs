//! Why a participant does not start, or ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use consort_attestation::channel::ChannelError;
use consort_contract::{Label, NameError, RosterError};
use consort_daemon::config::ConfigError;
use consort_daemon::node::NodeError;
use consort_daemon::telemetry::MetricsError;
use consort_privacy::QuantityError;
use consort_storage::OpenError;
use consort_vault::SealedRecordsError;

use crate::agent::AgentFault;
use crate::keys::KeyUnavailable;
use crate::ledger::LedgerFault;
use crate::state::StateFault;
use crate::uplink::BadAddress;

/// A participant does not start, or had to end. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ParticipantError {
    /// A configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node's identity, roster, policy or machine.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The roster.
    #[error("the roster is refused: {0}")]
    Roster(#[from] RosterError),
    /// The organisation's name.
    #[error("node.organisation is no name: {0}")]
    Name(#[from] NameError),
    /// A number of the consent file.
    #[error("the consent file is refused: {0}")]
    Consent(#[from] QuantityError),
    /// The coordinator's address.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The metrics port.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The state file does not open.
    #[error("the state does not open: {0}")]
    Store(#[from] OpenError),
    /// The key of the state is not released.
    #[error(
        "the key {key_id} of the state is not had from the broker at {address}: {source}; nothing of the state opens without it"
    )]
    StateKey {
        /// Which key.
        key_id: Label,
        /// Where it was asked for.
        address: String,
        /// Why there is none.
        source: KeyUnavailable,
    },
    /// What lies sealed does not open.
    #[error("the state does not open: {0}")]
    Sealed(#[from] SealedRecordsError),
    /// There is no state file, and there was one.
    #[error(
        "the state file {0} is gone, and with it what this organisation has spent and signed; restore it, or begin with a new identity"
    )]
    NoState(PathBuf),
    /// State is to be sealed again where state is already.
    #[error("{0} has state already; name a new state folder")]
    StateThere(PathBuf),
    /// The state is damaged or the disk failed.
    #[error(transparent)]
    State(#[from] StateFault),
    /// The ledger is damaged or the disk failed.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// The disk failed while rounds ran.
    #[error("this process ends: {0}")]
    Agent(#[from] AgentFault),
    /// The channel cannot be prepared.
    #[error("the attested channel cannot be prepared: {0}")]
    Channel(#[from] ChannelError),
    /// The uplink's port is in use.
    #[error("the uplink cannot listen on {address}: {source}; choose another port")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The uplink's server ended.
    #[error("the uplink ended: {problem}")]
    Loopback {
        /// Why.
        problem: String,
    },
    /// The agent's thread ended without an answer.
    #[error("the agent ended unexpectedly; look for an earlier message of this process")]
    AgentLost,
}

impl ParticipantError {
    /// Stable code for exit messages and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Roster(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Consent(error) => error.code(),
            Self::Address(_) => "participant_coordinator_address",
            Self::Metrics(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::StateKey { source, .. } => source.code(),
            Self::Sealed(error) => error.code(),
            Self::NoState(_) => "participant_no_state",
            Self::StateThere(_) => "participant_state_there",
            Self::State(error) => error.code(),
            Self::Ledger(error) => error.code(),
            Self::Agent(error) => error.code(),
            Self::Channel(error) => error.code(),
            Self::Listen { .. } => "uplink_address_in_use",
            Self::Loopback { .. } => "uplink_ended",
            Self::AgentLost => "participant_agent_lost",
        }
    }
}
