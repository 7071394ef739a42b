//! Errors that every store shares: a fault of the disk, a store that will not open, a name that is not one.

use std::io;
use std::path::PathBuf;

/// A name that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is refused: {reason}")]
pub struct InvalidName {
    /// What was being named: `stream id`, `record key`, `blob key`.
    pub kind: &'static str,
    /// Which rule it breaks.
    pub reason: &'static str,
}

impl InvalidName {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        "invalid_name"
    }
}

/// The disk, or the file on it, failed. Nobody's request is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// Reading or writing failed. Whether an interrupted write took effect is known only after the store is reopened.
    #[error(
        "the store failed while {doing}; stop this process and look at the disk before starting it again"
    )]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file contradicts itself.
    #[error(
        "the store is damaged ({what}); restore it from a copy, or leave it and start a new one"
    )]
    Damaged {
        /// What was found.
        what: String,
    },
    /// An earlier write failed, so this store answers nothing more until it is reopened.
    #[error("the store stopped after a failed write; restart this process")]
    Stopped,
}

impl StoreFault {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store_io",
            Self::Damaged { .. } => "store_damaged",
            Self::Stopped => "store_stopped",
        }
    }
}

/// A store did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds it.
    #[error("{} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The store that was asked for.
        path: PathBuf,
    },
    /// It was written in a format that this program does not read.
    #[error("{} has format {found}, this program reads format {expected}", path.display())]
    Format {
        /// The store that was asked for.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format this program reads.
        expected: u64,
    },
    /// The disk failed, or the file is damaged.
    #[error("{} did not open", path.display())]
    Fault {
        /// The store that was asked for.
        path: PathBuf,
        /// What failed.
        #[source]
        source: StoreFault,
    },
}

impl OpenError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "store_in_use",
            Self::Format { .. } => "store_format",
            Self::Fault { source, .. } => source.code(),
        }
    }
}

/// Gives an [`io::Error`] its place.
pub(crate) fn io_fault(doing: &'static str) -> impl FnOnce(io::Error) -> StoreFault {
    move |source| StoreFault::Io { doing, source }
}
