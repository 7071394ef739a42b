//! Small records beside the events: stored answers by idempotency key, ledger entries, a participant's own state.

use std::fmt;

use crate::error::{InvalidName, StoreFault};
use crate::event::check_text;

/// Longest collection name, in bytes: collections are named in the code.
pub const MAX_COLLECTION_BYTES: usize = 64;

/// Longest record key, in bytes: room for an organisation, a job and an idempotency key together.
pub const MAX_RECORD_KEY_BYTES: usize = 1024;

/// Largest record, in bytes. The largest one is a stored answer, which is bounded by a gRPC message.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

/// Small records in named collections, changed in transactions.
///
/// Records live in the same file as the events; to change both at once use [`crate::EventStore::append_with`].
pub trait RecordStore: Send + Sync {
    /// Applies all `changes`, in order, or none.
    ///
    /// # Errors
    /// [`RecordError::Exists`] if a record to insert is there with another value, [`RecordError::TooLarge`]; nothing is
    /// changed by either. After [`RecordError::Fault`] the store answers nothing more until it is reopened.
    fn change(&self, changes: &[RecordChange]) -> Result<(), RecordError>;

    /// The record at `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails.
    fn get(&self, key: &RecordKey) -> Result<Option<Vec<u8>>, StoreFault>;

    /// The records of `collection` whose key starts with `prefix`, in byte order of their keys.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails.
    fn list(&self, collection: &str, prefix: &str)
    -> Result<Vec<(RecordKey, Vec<u8>)>, StoreFault>;

    /// Stores `value` at `key`, whatever was there.
    ///
    /// # Errors
    /// As [`RecordStore::change`].
    fn put(&self, key: &RecordKey, value: &[u8]) -> Result<(), RecordError> {
        self.change(&[RecordChange::Put {
            key: key.clone(),
            value: value.to_vec(),
        }])
    }
}

/// Where a record lives: a collection, and a key in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    collection: String,
    key: String,
}

impl RecordKey {
    /// Accepts a collection of 1 to [`MAX_COLLECTION_BYTES`] bytes and a key of 1 to [`MAX_RECORD_KEY_BYTES`] bytes,
    /// both without control characters.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule that is broken.
    pub fn new(collection: impl Into<String>, key: impl Into<String>) -> Result<Self, InvalidName> {
        let (collection, key) = (collection.into(), key.into());
        check_text("record collection", &collection, MAX_COLLECTION_BYTES)?;
        check_text("record key", &key, MAX_RECORD_KEY_BYTES)?;
        Ok(Self { collection, key })
    }

    /// The collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The key in the collection.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.collection, self.key)
    }
}

/// One change of one record.
#[derive(Clone, PartialEq, Eq)]
pub enum RecordChange {
    /// Store the value, whatever was there.
    Put {
        /// Where.
        key: RecordKey,
        /// The bytes to store.
        value: Vec<u8>,
    },
    /// Store the value once: the same value again is no change, another one is refused.
    Insert {
        /// Where.
        key: RecordKey,
        /// The bytes to store.
        value: Vec<u8>,
    },
    /// Remove the record, if there is one.
    Remove {
        /// Where.
        key: RecordKey,
    },
}

impl RecordChange {
    /// The record that is changed.
    pub fn key(&self) -> &RecordKey {
        match self {
            Self::Put { key, .. } | Self::Insert { key, .. } | Self::Remove { key } => key,
        }
    }
}

impl fmt::Debug for RecordChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, bytes) = match self {
            Self::Put { value, .. } => ("Put", value.len()),
            Self::Insert { value, .. } => ("Insert", value.len()),
            Self::Remove { .. } => ("Remove", 0),
        };
        write!(out, "{verb}({}, {bytes} bytes)", self.key())
    }
}

/// A record was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A record to insert is there already, with another value.
    #[error("record {key} exists with another value; read it")]
    Exists {
        /// The record.
        key: RecordKey,
    },
    /// A value is larger than [`MAX_RECORD_BYTES`].
    #[error(
        "record {key} has {bytes} bytes, at most {MAX_RECORD_BYTES} are stored; put large data in a blob"
    )]
    TooLarge {
        /// The record.
        key: RecordKey,
        /// The length of the value.
        bytes: usize,
    },
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

impl RecordError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "record_exists",
            Self::TooLarge { .. } => "record_too_large",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// Refuses values that are too large, before anything is written.
pub(crate) fn check_changes(changes: &[RecordChange]) -> Result<(), RecordError> {
    for change in changes {
        let bytes = match change {
            RecordChange::Put { value, .. } | RecordChange::Insert { value, .. } => value.len(),
            RecordChange::Remove { .. } => 0,
        };
        if bytes > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge {
                key: change.key().clone(),
                bytes,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_of_a_change_shows_no_value() {
        let key = RecordKey::new("answers", "k").unwrap();
        let change = RecordChange::Put {
            key,
            value: b"secret".to_vec(),
        };
        assert_eq!(format!("{change:?}"), "Put(answers/k, 6 bytes)");
    }

    #[test]
    fn a_record_key_is_short_printable_text() {
        assert!(RecordKey::new("answers", "clinic-a/1").is_ok());
        assert!(RecordKey::new("", "x").is_err());
        assert!(RecordKey::new("answers", "").is_err());
        assert!(RecordKey::new("answers", "a\nb").is_err());
        assert!(RecordKey::new("answers", "k".repeat(MAX_RECORD_KEY_BYTES + 1)).is_err());
    }
}
