//! Why a broker does not start, or ends.

use std::net::SocketAddr;

use consort_attestation::channel::ChannelError;
use consort_audit::LogError;
use consort_contract::{Label, NameError};
use consort_daemon::config::ConfigError;
use consort_daemon::node::NodeError;
use consort_daemon::telemetry::MetricsError;
use consort_privacy::QuantityError;
use consort_storage::OpenError;

use crate::budget::BudgetFault;
use crate::keys::KeyFault;
use crate::release::ReleaseFault;
use crate::wrapping::WrappingFault;

/// A broker does not start, or had to end. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node's identity, roster, policy or machine.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The organisation's name.
    #[error("node.organisation is no name: {0}")]
    Name(#[from] NameError),
    /// A number of a key's rule.
    #[error("a key's rule is refused: {0}")]
    Rule(#[from] QuantityError),
    /// The organisation's key.
    #[error(transparent)]
    Wrapping(#[from] WrappingFault),
    /// The keys on disk.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// No such key.
    #[error(
        "there is no data key {0}; name it under [keys] of the configuration and run `consort broker init`"
    )]
    UnknownKey(Label),
    /// A state key has one version.
    #[error(
        "the state key {0} is not rotated: the participant's state lies under it; name another key as [state_key] and seal the state again (`consort participant reseal`)"
    )]
    StateKeyStays(Label),
    /// The state file does not open.
    #[error("the state does not open: {0}")]
    Store(#[from] OpenError),
    /// The budget is damaged or the disk failed.
    #[error(transparent)]
    Budget(#[from] BudgetFault),
    /// The log does not open.
    #[error("the log of releases does not open: {0}")]
    Log(#[from] LogError),
    /// The metrics port.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The channel cannot be prepared.
    #[error("the attested channel cannot be prepared: {0}")]
    Channel(#[from] ChannelError),
    /// The port is in use.
    #[error("the broker cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the broker's server ended: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The disk failed while it served.
    #[error("this process ends: {0}")]
    Release(#[from] ReleaseFault),
}

impl BrokerError {
    /// Stable code for exit messages and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Node(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Rule(error) => error.code(),
            Self::Wrapping(fault) => fault.code(),
            Self::Keys(fault) => fault.code(),
            Self::UnknownKey(_) => "key_unknown",
            Self::StateKeyStays(_) => "key_of_state_stays",
            Self::Store(error) => error.code(),
            Self::Budget(fault) => fault.code(),
            Self::Log(error) => error.code(),
            Self::Metrics(error) => error.code(),
            Self::Channel(error) => error.code(),
            Self::Listen { .. } => "broker_address_in_use",
            Self::Server(_) => "broker_server",
            Self::Release(fault) => fault.code(),
        }
    }
}
