//! Whose fault it is: a caller's ([`Refusal`]), this machine's ([`Fault`]), or that of whoever starts the daemon ([`ServeError`]).

use std::net::SocketAddr;

use consort_audit::{LogError, NotCosigned};
use consort_proto::convert::WireError;
use consort_round::Rejection;
use consort_storage::{AppendError, BlobError, InvalidName, OpenError, RecordError, StoreFault};

use crate::jobs::{EventError, ProposalError};

/// What kind of refusal it is; the border turns it into a gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request itself is wrong.
    Invalid,
    /// What it names is not there.
    Missing,
    /// It contradicts what is stored.
    Conflict,
    /// It does not fit the state of things now.
    NotNow,
    /// The caller may not say this.
    Forbidden,
    /// Try again later.
    Busy,
    /// More than a member may send.
    Exhausted,
}

/// A request that changed nothing. The fault is the caller's, or its moment was wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind it is.
    pub kind: RefusalKind,
    /// Stable code.
    pub code: &'static str,
    /// What happened and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(kind: RefusalKind, code: &'static str, message: impl ToString) -> Self {
        Self {
            kind,
            code,
            message: message.to_string(),
        }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::new(RefusalKind::Invalid, error.code(), error)
    }
}

impl From<NotCosigned> for Refusal {
    fn from(refused: NotCosigned) -> Self {
        let kind = match refused {
            NotCosigned::UnknownHead => RefusalKind::Missing,
            NotCosigned::Signature => RefusalKind::Forbidden,
        };
        Self::new(kind, refused.code(), refused)
    }
}

impl From<ProposalError> for Refusal {
    fn from(error: ProposalError) -> Self {
        Self::new(RefusalKind::Invalid, error.code(), error)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let kind = match &rejection {
            Rejection::NotAsked(_) | Rejection::WrongPhase { .. } | Rejection::Stale { .. } => {
                RefusalKind::NotNow
            }
            Rejection::Equivocation(_) | Rejection::AnsweredOnce(_) => RefusalKind::Conflict,
            Rejection::Evidence { .. }
            | Rejection::Signature(_)
            | Rejection::CoordinatorSignature => RefusalKind::Forbidden,
            Rejection::Malformed(_)
            | Rejection::Share { .. }
            | Rejection::Terms(_)
            | Rejection::TooFew { .. }
            | Rejection::Gap
            | Rejection::Material { .. } => RefusalKind::Invalid,
        };
        Self::new(kind, rejection.code(), rejection)
    }
}

/// This machine failed: what is on disk is not known any more, so the daemon ends and is started again.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Events.
    #[error("the event store failed: {0}")]
    Append(#[from] AppendError),
    /// Reading.
    #[error("the event store failed: {0}")]
    Store(#[from] StoreFault),
    /// Records.
    #[error("the record store failed: {0}")]
    Record(#[from] RecordError),
    /// Blobs.
    #[error("the blob store failed: {0}")]
    Blob(#[from] BlobError),
    /// A name that no store takes.
    #[error("a name in the store is not valid: {0}")]
    Name(#[from] InvalidName),
    /// The audit log.
    #[error("the audit log failed: {0}")]
    Audit(#[from] LogError),
    /// A stored event.
    #[error("job {job} cannot be continued: {source}")]
    Event {
        /// Which job.
        job: String,
        /// Why.
        source: EventError,
    },
    /// Stored events that the rules do not accept again.
    #[error("job {job} cannot be continued: {problem}; the store was changed by another program")]
    Replay {
        /// Which job.
        job: String,
        /// What does not fit.
        problem: String,
    },
    /// The model's files.
    #[error("the model of job {job} cannot be written: {problem}")]
    Release {
        /// Which job.
        job: String,
        /// Why.
        problem: String,
    },
}

impl Fault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Append(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Event { .. } => "stored_event",
            Self::Replay { .. } => "stored_events_refused",
            Self::Release { .. } => "release_unwritable",
        }
    }
}

/// Why the daemon does not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The node.
    #[error(transparent)]
    Node(#[from] consort_daemon::node::NodeError),
    /// Configuration.
    #[error(transparent)]
    Config(#[from] consort_daemon::config::ConfigError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] consort_daemon::telemetry::MetricsError),
    /// A store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The audit log cannot be opened.
    #[error("the audit log cannot be opened: {0}")]
    Audit(#[from] LogError),
    /// A port is in use.
    #[error(
        "{address} cannot be listened on: {source}; stop what uses it or choose another address"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The operators' certificate or the channel.
    #[error("{what} cannot be used: {problem}")]
    Tls {
        /// Which part.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// A file that `init` writes.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine failed while running.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A server ended.
    #[error("serving ended: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl ServeError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Node(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Metrics(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Listen { .. } => "address_in_use",
            Self::Tls { .. } => "tls_unusable",
            Self::Write { .. } => "file_unwritable",
            Self::Fault(error) => error.code(),
            Self::Transport(_) => "transport",
        }
    }
}
