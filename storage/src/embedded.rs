//! The embedded store: events and records in one redb file, each change a two-phase commit.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};

use crate::error::{OpenError, StoreFault, io_fault};
use crate::event::{AppendError, EventStore, StoredEvent, StreamId, Version, check_events};
use crate::files::sync_parent;
use crate::record::{RecordChange, RecordError, RecordKey, RecordStore, check_changes};

/// The layout of the tables below.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";

/// Memory for pages in bytes: the working set is the tail of a few streams, and a daemon should stay small.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// (stream, version) → event.
const EVENTS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("events");
/// stream → version it stands at.
const HEADS: TableDefinition<'_, &str, u64> = TableDefinition::new("heads");
/// (collection, key) → value.
const RECORDS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("records");

/// An event store and record store in one file, for one process.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Database,
    /// Set by the first write that failed. After a failed fsync the kernel may have dropped the dirty pages, so a
    /// second one that succeeds proves nothing (Rebello et al., "Can Applications Recover from fsync Failures?",
    /// USENIX ATC 2020): nothing more is answered until the store is reopened.
    stopped: AtomicBool,
    /// Held for its lock, which also covers the creation of the database file.
    _lock: Option<File>,
}

impl EmbeddedStore {
    /// Opens the store at `path`, or creates it.
    ///
    /// A process that dies while it creates the store leaves nothing at `path`: the file is made under a temporary name,
    /// synced and renamed, because redb refuses a file whose creation was interrupted.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it, [`OpenError::Format`] if a later program wrote it,
    /// [`OpenError::Fault`] if the disk failed or the file is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let fault = |source| OpenError::Fault {
            path: path.to_owned(),
            source,
        };
        let lock = lock_beside(path)?;
        let exists = fs::exists(path)
            .map_err(io_fault("looking for the store"))
            .map_err(fault)?;
        if !exists {
            create(path)?;
        }
        let opened = Builder::new().set_cache_size(CACHE_BYTES).open(path);
        let database = opened.map_err(|error| open_error(path, error))?;
        Self::with_database(path, database, Some(lock))
    }

    fn with_database(
        path: &Path,
        database: Database,
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let store = Self {
            database,
            stopped: AtomicBool::new(false),
            _lock: lock,
        };
        let found = store.format().map_err(|source| OpenError::Fault {
            path: path.to_owned(),
            source,
        })?;
        if found != FORMAT {
            return Err(OpenError::Format {
                path: path.to_owned(),
                found,
                expected: FORMAT,
            });
        }
        Ok(store)
    }

    fn format(&self) -> Result<u64, StoreFault> {
        let meta = self
            .begin_read()?
            .open_table(META)
            .map_err(fault("opening the store"))?;
        let format = meta.get(FORMAT_KEY).map_err(fault("opening the store"))?;
        Ok(format.map_or(0, |value| value.value()))
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreFault> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreFault::Stopped);
        }
        self.database
            .begin_read()
            .map_err(fault("beginning to read"))
    }

    /// Runs `change` in one transaction: committed if it returns `Ok`, else as if it had not run.
    fn transact<T, E: From<StoreFault>>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreFault::Stopped.into());
        }
        let transaction = begin_write(&self.database)?;
        // Somebody else's commit may have failed while this transaction waited for its turn.
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreFault::Stopped.into());
        }
        let value = match change(&transaction) {
            Ok(value) => value,
            Err(error) => {
                transaction.abort().map_err(fault("giving up a change"))?;
                return Err(error);
            }
        };
        if let Err(error) = transaction.commit() {
            self.stopped.store(true, Ordering::Release);
            return Err(fault("committing a change")(error).into());
        }
        Ok(value)
    }
}

impl EventStore for EmbeddedStore {
    fn append_with(
        &self,
        stream: &StreamId,
        expected: Version,
        events: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> Result<Version, AppendError> {
        check_events(stream, events)?;
        check_changes(changes).map_err(|error| record_refused(stream, error))?;
        self.transact(|transaction| {
            let version = append_events(transaction, stream, expected, events)?;
            apply_changes(transaction, changes).map_err(|error| record_refused(stream, error))?;
            Ok(version)
        })
    }

    fn read(&self, stream: &StreamId, after: Version) -> Result<Vec<StoredEvent>, StoreFault> {
        const DOING: &str = "reading events";
        let transaction = self.begin_read()?;
        let head = head_of(
            &transaction.open_table(HEADS).map_err(fault(DOING))?,
            stream,
        )?;
        let events = transaction.open_table(EVENTS).map_err(fault(DOING))?;
        let first = after.0.saturating_add(1);
        if first > head.0 {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut next = first;
        for entry in events
            .range((stream.as_str(), first)..=(stream.as_str(), head.0))
            .map_err(fault(DOING))?
        {
            let (key, bytes) = entry.map_err(fault(DOING))?;
            let version = key.value().1;
            if version != next {
                return Err(missing_event(stream, next));
            }
            found.push(StoredEvent {
                version: Version(version),
                bytes: bytes.value().to_vec(),
            });
            next = next.saturating_add(1);
        }
        if next != head.0.saturating_add(1) {
            return Err(missing_event(stream, next));
        }
        Ok(found)
    }

    fn version(&self, stream: &StreamId) -> Result<Version, StoreFault> {
        let heads = self
            .begin_read()?
            .open_table(HEADS)
            .map_err(fault("reading a version"))?;
        head_of(&heads, stream)
    }

    fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, StoreFault> {
        const DOING: &str = "listing streams";
        let heads = self.begin_read()?.open_table(HEADS).map_err(fault(DOING))?;
        let mut found = Vec::new();
        for entry in heads.range(prefix..).map_err(fault(DOING))? {
            let (id, _) = entry.map_err(fault(DOING))?;
            if !id.value().starts_with(prefix) {
                break;
            }
            found.push(StreamId::new(id.value()).map_err(damaged)?);
        }
        Ok(found)
    }
}

impl RecordStore for EmbeddedStore {
    fn change(&self, changes: &[RecordChange]) -> Result<(), RecordError> {
        check_changes(changes)?;
        self.transact(|transaction| apply_changes(transaction, changes))
    }

    fn get(&self, key: &RecordKey) -> Result<Option<Vec<u8>>, StoreFault> {
        const DOING: &str = "reading a record";
        let records = self
            .begin_read()?
            .open_table(RECORDS)
            .map_err(fault(DOING))?;
        let value = records
            .get((key.collection(), key.key()))
            .map_err(fault(DOING))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn list(
        &self,
        collection: &str,
        prefix: &str,
    ) -> Result<Vec<(RecordKey, Vec<u8>)>, StoreFault> {
        const DOING: &str = "listing records";
        let records = self
            .begin_read()?
            .open_table(RECORDS)
            .map_err(fault(DOING))?;
        let mut found = Vec::new();
        for entry in records
            .range((collection, prefix)..)
            .map_err(fault(DOING))?
        {
            let (key, value) = entry.map_err(fault(DOING))?;
            let (in_collection, name) = key.value();
            if in_collection != collection || !name.starts_with(prefix) {
                break;
            }
            let key = RecordKey::new(in_collection, name).map_err(damaged)?;
            found.push((key, value.value().to_vec()));
        }
        Ok(found)
    }
}

fn append_events(
    transaction: &WriteTransaction,
    stream: &StreamId,
    expected: Version,
    events: &[Vec<u8>],
) -> Result<Version, AppendError> {
    const DOING: &str = "appending events";
    let mut heads = transaction.open_table(HEADS).map_err(fault(DOING))?;
    let actual = head_of(&heads, stream)?;
    if actual != expected {
        return Err(AppendError::Conflict {
            stream: stream.clone(),
            expected,
            actual,
        });
    }
    let mut version = actual.0;
    let mut table = transaction.open_table(EVENTS).map_err(fault(DOING))?;
    for event in events {
        version = version.checked_add(1).expect("nobody appends 2^64 events");
        table
            .insert((stream.as_str(), version), event.as_slice())
            .map_err(fault(DOING))?;
    }
    if version != actual.0 {
        heads
            .insert(stream.as_str(), version)
            .map_err(fault(DOING))?;
    }
    Ok(Version(version))
}

fn apply_changes(
    transaction: &WriteTransaction,
    changes: &[RecordChange],
) -> Result<(), RecordError> {
    const DOING: &str = "changing records";
    if changes.is_empty() {
        return Ok(());
    }
    let mut records = transaction.open_table(RECORDS).map_err(fault(DOING))?;
    for change in changes {
        let at = (change.key().collection(), change.key().key());
        match change {
            RecordChange::Put { value, .. } => {
                records.insert(at, value.as_slice()).map_err(fault(DOING))?;
            }
            RecordChange::Insert { key, value } => {
                let stored = records
                    .get(at)
                    .map_err(fault(DOING))?
                    .map(|stored| stored.value() == value.as_slice());
                match stored {
                    Some(true) => {}
                    Some(false) => return Err(RecordError::Exists { key: key.clone() }),
                    None => {
                        records.insert(at, value.as_slice()).map_err(fault(DOING))?;
                    }
                }
            }
            RecordChange::Remove { .. } => {
                records.remove(at).map_err(fault(DOING))?;
            }
        }
    }
    Ok(())
}

fn head_of(
    heads: &impl ReadableTable<&'static str, u64>,
    stream: &StreamId,
) -> Result<Version, StoreFault> {
    let head = heads
        .get(stream.as_str())
        .map_err(fault("reading a version"))?;
    Ok(head.map_or(Version::START, |head| Version(head.value())))
}

fn record_refused(stream: &StreamId, error: RecordError) -> AppendError {
    match error {
        RecordError::Fault(fault) => AppendError::Fault(fault),
        source @ (RecordError::Exists { .. } | RecordError::TooLarge { .. }) => {
            AppendError::Record {
                stream: stream.clone(),
                source,
            }
        }
    }
}

/// Two fsyncs for each commit, so that no order of page writes shows half of one; and the allocator state saved with it,
/// so that a restart after kill -9 does not walk the whole file (redb, `set_two_phase_commit`, `set_quick_repair`).
fn begin_write(database: &Database) -> Result<WriteTransaction, StoreFault> {
    let mut transaction = database
        .begin_write()
        .map_err(fault("beginning a change"))?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Creates the tables, so that a reader never meets a store without them.
fn initialise(database: &Database) -> Result<(), StoreFault> {
    const DOING: &str = "creating the store";
    let transaction = begin_write(database)?;
    transaction
        .open_table(META)
        .map_err(fault(DOING))?
        .insert(FORMAT_KEY, FORMAT)
        .map_err(fault(DOING))?;
    transaction.open_table(EVENTS).map_err(fault(DOING))?;
    transaction.open_table(HEADS).map_err(fault(DOING))?;
    transaction.open_table(RECORDS).map_err(fault(DOING))?;
    transaction.commit().map_err(fault(DOING))
}

fn create(path: &Path) -> Result<(), OpenError> {
    let fault = |source| OpenError::Fault {
        path: path.to_owned(),
        source,
    };
    let temporary = with_suffix(path, ".creating");
    if fs::exists(&temporary)
        .map_err(io_fault("creating the store"))
        .map_err(fault)?
    {
        fs::remove_file(&temporary)
            .map_err(io_fault("removing a half-created store"))
            .map_err(fault)?;
    }
    let database = Builder::new()
        .create(&temporary)
        .map_err(|error| open_error(path, error))?;
    initialise(&database).map_err(fault)?;
    drop(database);
    let rename = || {
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    rename()
        .map_err(io_fault("creating the store"))
        .map_err(fault)
}

fn lock_beside(path: &Path) -> Result<File, OpenError> {
    let fault = |source| OpenError::Fault {
        path: path.to_owned(),
        source,
    };
    let lock = File::create(with_suffix(path, ".lock"))
        .map_err(io_fault("locking the store"))
        .map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(fault(io_fault("locking the store")(error))),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "redb adds errors; one that is not about the lock is a fault whatever it says"
)]
fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse {
            path: path.to_owned(),
        },
        other => OpenError::Fault {
            path: path.to_owned(),
            source: fault("opening the store")(other),
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "redb adds errors; one that is not about the disk means a damaged file or a bug, and both stop us"
)]
/// Sorts redb's errors into a failed disk, a damaged file and a store that has stopped.
fn fault<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> StoreFault {
    move |error| match error.into() {
        redb::Error::Io(source) => StoreFault::Io { doing, source },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => StoreFault::Stopped,
        other => StoreFault::Damaged {
            what: format!("{doing}: {other}"),
        },
    }
}

fn missing_event(stream: &StreamId, version: u64) -> StoreFault {
    StoreFault::Damaged {
        what: format!("stream {stream} has no event {version}"),
    }
}

fn damaged(error: crate::error::InvalidName) -> StoreFault {
    StoreFault::Damaged {
        what: error.to_string(),
    }
}

#[cfg(test)]
mod crash_tests;
