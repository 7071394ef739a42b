//! How the program fails: a stable code, a message for a person, and a documented exit status.

use std::fmt;
use std::process::ExitCode;

use consort_daemon::config::ConfigError;
use consort_proto::errors::code_of;
use tonic::{Code, Status};

/// The exit status of a command that did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: something went wrong on the way; trying again may help.
    Failed,
    /// 2: the command line or a file on it is not usable.
    Usage,
    /// 3: somebody or some rule said no; trying again will not help.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Refused => Self::from(3),
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) code: String,
    pub(crate) message: String,
    /// Whether the command has said so itself.
    pub(crate) told: bool,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(code: &str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    /// What was asked for cannot be done.
    pub(crate) fn usage(code: &str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// Somebody said no.
    pub(crate) fn refused(code: &str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, code, message)
    }

    /// Somebody said no, and the command has told so already.
    pub(crate) fn told() -> Self {
        Self {
            told: true,
            ..Self::new(Exit::Refused, "", "")
        }
    }

    fn new(exit: Exit, code: &str, message: impl fmt::Display) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.to_string(),
            told: false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.code(), error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = code_of(&status);
        let code = code.as_deref().unwrap_or("coordinator_unreachable");
        let exit = match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unauthenticated => Exit::Refused,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Exit::Failed,
        };
        Self::new(exit, code, status.message())
    }
}

/// Adds what was done to which file to an error of the file system.
pub(crate) fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::failed("file_unusable", format!("{}: {error}", path.display()))
}
