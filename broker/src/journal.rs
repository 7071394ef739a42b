//! The broker's log: a verifiable log of its own, signed with its identity key. What is decided is on disk before it is told.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use consort_aggregation::Digest;
use consort_audit::{
    AuditLog, Code, Event, Fact, Hash, JobId, LogError, MAX_TEXT_BYTES, NoteSigner, Organisation,
    Text,
};
use consort_contract::IdentitySecret;
use ed25519_dalek::SigningKey;

use crate::keys::unix_ms;

/// The name of this program in the log.
const BUILD: &str = concat!("consort-broker ", env!("CARGO_PKG_VERSION"));

/// Writes the log.
#[derive(Debug)]
pub(crate) struct Journal {
    log: Mutex<AuditLog>,
    clock: fn() -> SystemTime,
}

impl Journal {
    /// Opens the log and marks the start, or the restart, with the dangerous choices in force.
    pub(crate) fn open(
        folder: &Path,
        origin: &str,
        identity: &IdentitySecret,
        dangerous: &[String],
        clock: fn() -> SystemTime,
    ) -> Result<Self, LogError> {
        let key = SigningKey::from_bytes(&identity.to_seed());
        let signer =
            NoteSigner::new(origin, key).map_err(|error| LogError::Checkpoint(error.into()))?;
        let log = AuditLog::open(folder, signer)?;
        let (build, log_size) = (text(BUILD), log.size());
        let dangerous = dangerous.iter().map(|choice| text(choice)).collect();
        let event = if log_size == 0 {
            Event::Started { build, dangerous }
        } else {
            Event::CoordinatorRestarted {
                build,
                log_size,
                dangerous,
            }
        };
        let journal = Self {
            log: Mutex::new(log),
            clock,
        };
        journal.append(Fact::of_consortium(event))?;
        Ok(journal)
    }

    /// Appends a record of now; it is on disk when this returns.
    pub(crate) fn append(&self, fact: Fact) -> Result<(), LogError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let record = fact.at(unix_ms((self.clock)()));
        log.append(&record).map(drop)
    }
}

/// A word of a record, cut and cleaned to what a record takes.
pub(crate) fn text(words: &str) -> Text {
    Text::new(clean(words)).expect("clean() leaves 1 to 256 printable bytes")
}

/// A code in a record.
pub(crate) fn code(words: &str) -> Code {
    Code::new(clean(words)).expect("clean() leaves 1 to 256 printable bytes")
}

/// An organisation's name in a record, also one that a stranger made up.
pub(crate) fn organisation(name: &str) -> Organisation {
    Organisation::new(clean(name)).expect("clean() leaves 1 to 256 printable bytes")
}

/// A job's name in a record.
pub(crate) fn job(name: &consort_contract::JobId) -> JobId {
    JobId::new(name.as_str()).expect("a job's name is a short printable word")
}

/// A digest in a record.
pub(crate) fn hash(digest: &Digest) -> Hash {
    Hash(*digest.as_bytes())
}

fn clean(words: &str) -> String {
    let printable: String = words
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(MAX_TEXT_BYTES)
        .collect();
    if printable.is_empty() {
        "unnamed".to_owned()
    } else {
        printable
    }
}
