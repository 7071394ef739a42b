//! The broker's log: a verifiable log of its own, signed with its identity key. What is decided is on disk before it is told.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use consort_audit::{AuditLog, Event, Fact, LogError, NoteSigner};
use consort_contract::IdentitySecret;
use consort_daemon::record::text;
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
