//! The event store: streams of events that only grow, each append stating the version it builds on.

use std::fmt;

use crate::error::{InvalidName, StoreFault};
use crate::record::{RecordChange, RecordError};

/// Longest stream id, in bytes: room for `job/` and a generous id, short enough for every key of an embedded tree page.
pub const MAX_STREAM_ID_BYTES: usize = 256;

/// Largest event, in bytes. Vectors and models are blobs; the largest event is the advert list of a round of 1000
/// members with 16 KiB of evidence each.
pub const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// Streams of events that only grow.
///
/// An append that returned is on disk. One that was interrupted is there wholly or not at all.
pub trait EventStore: Send + Sync {
    /// Appends `events` to `stream` if it stands at `expected`, and applies `changes` in the same transaction.
    ///
    /// Returns the version after the append. With no events the version must still match, and stays.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if the stream stands elsewhere, [`AppendError::Record`] if a change is refused,
    /// [`AppendError::EventTooLarge`]; nothing is changed by any of them. After [`AppendError::Fault`] the store
    /// answers nothing more until it is reopened, and only then is it known whether the append took effect.
    fn append_with(
        &self,
        stream: &StreamId,
        expected: Version,
        events: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> Result<Version, AppendError>;

    /// Appends `events` to `stream` if it stands at `expected`.
    ///
    /// # Errors
    /// As [`EventStore::append_with`].
    fn append(
        &self,
        stream: &StreamId,
        expected: Version,
        events: &[Vec<u8>],
    ) -> Result<Version, AppendError> {
        self.append_with(stream, expected, events, &[])
    }

    /// The events of `stream` after version `after`, oldest first. [`Version::START`] reads all; a stream never written to
    /// is empty.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails or a version is missing.
    fn read(&self, stream: &StreamId, after: Version) -> Result<Vec<StoredEvent>, StoreFault>;

    /// The version at which `stream` stands, [`Version::START`] if it was never written to.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails.
    fn version(&self, stream: &StreamId) -> Result<Version, StoreFault>;

    /// The streams that hold an event and whose id starts with `prefix`, in byte order.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails.
    fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, StoreFault>;
}

/// How many events a stream holds; the n-th event has version n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl Version {
    /// The version of a stream without events.
    pub const START: Self = Self(0);
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The name of a stream, such as `job/7f3a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(String);

impl StreamId {
    /// Accepts 1 to [`MAX_STREAM_ID_BYTES`] bytes without control characters.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule that is broken.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidName> {
        let id = id.into();
        check_text("stream id", &id, MAX_STREAM_ID_BYTES)?;
        Ok(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// One event as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the stream, from 1.
    pub version: Version,
    /// The bytes that were appended.
    pub bytes: Vec<u8>,
}

/// An append was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Somebody appended first: read the stream again and decide anew.
    #[error(
        "stream {stream} stands at version {actual}, not {expected}; read it again and decide anew"
    )]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version the caller built on.
        expected: Version,
        /// The version the stream stands at.
        actual: Version,
    },
    /// An event is larger than [`MAX_EVENT_BYTES`].
    #[error(
        "an event for stream {stream} has {bytes} bytes, at most {MAX_EVENT_BYTES} are stored; put large data in a blob"
    )]
    EventTooLarge {
        /// The stream.
        stream: StreamId,
        /// The length of the event.
        bytes: usize,
    },
    /// A record that should change with the events was refused.
    #[error("a record beside stream {stream} was refused")]
    Record {
        /// The stream.
        stream: StreamId,
        /// Why, and never a [`RecordError::Fault`].
        #[source]
        source: RecordError,
    },
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

impl AppendError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "append_conflict",
            Self::EventTooLarge { .. } => "event_too_large",
            Self::Record { source, .. } => source.code(),
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Refuses events that are too large, before anything is written.
pub(crate) fn check_events(stream: &StreamId, events: &[Vec<u8>]) -> Result<(), AppendError> {
    match events
        .iter()
        .map(Vec::len)
        .find(|bytes| *bytes > MAX_EVENT_BYTES)
    {
        Some(bytes) => Err(AppendError::EventTooLarge {
            stream: stream.clone(),
            bytes,
        }),
        None => Ok(()),
    }
}

/// The rule of every name that is a key of the store: not empty, not long, no control characters.
pub(crate) fn check_text(
    kind: &'static str,
    text: &str,
    longest: usize,
) -> Result<(), InvalidName> {
    let refuse = |reason| Err(InvalidName { kind, reason });
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > longest {
        return refuse("it is too long");
    }
    if text.chars().any(char::is_control) {
        return refuse("it holds a control character");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_id_is_short_printable_text() {
        assert!(StreamId::new("job/7f3a").is_ok());
        assert!(StreamId::new("x".repeat(MAX_STREAM_ID_BYTES)).is_ok());
        for refused in [
            "",
            "job\n1",
            "job\u{0}",
            &"x".repeat(MAX_STREAM_ID_BYTES + 1),
        ] {
            assert_eq!(StreamId::new(refused).unwrap_err().code(), "invalid_name");
        }
    }
}
