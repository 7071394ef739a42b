//! An event store in memory, for tests of the programs above: the same law, nothing kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::StoreFault;
use crate::event::{AppendError, EventStore, StoredEvent, StreamId, Version, check_events};
use crate::record::{RecordChange, RecordError, RecordKey, RecordStore, check_changes};

/// An event store that lives as long as the value does.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    streams: BTreeMap<StreamId, Vec<Vec<u8>>>,
    records: BTreeMap<RecordKey, Vec<u8>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing panics between two changes of one call, so what a poisoned lock guards is whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for MemoryStore {
    fn append_with(
        &self,
        stream: &StreamId,
        expected: Version,
        events: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> Result<Version, AppendError> {
        check_events(stream, events)?;
        let refused = |source| AppendError::Record {
            stream: stream.clone(),
            source,
        };
        check_changes(changes).map_err(refused)?;
        let mut tables = self.tables();
        let actual = version_of(&tables, stream);
        if actual != expected {
            return Err(AppendError::Conflict {
                stream: stream.clone(),
                expected,
                actual,
            });
        }
        let records = changed(&tables.records, changes).map_err(refused)?;
        tables.records = records;
        if !events.is_empty() {
            tables
                .streams
                .entry(stream.clone())
                .or_default()
                .extend_from_slice(events);
        }
        Ok(version_of(&tables, stream))
    }

    fn read(&self, stream: &StreamId, after: Version) -> Result<Vec<StoredEvent>, StoreFault> {
        let tables = self.tables();
        let events = tables
            .streams
            .get(stream)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let numbered = (1_u64..)
            .zip(events)
            .filter(|(version, _)| *version > after.0);
        Ok(numbered
            .map(|(version, bytes)| StoredEvent {
                version: Version(version),
                bytes: bytes.clone(),
            })
            .collect())
    }

    fn version(&self, stream: &StreamId) -> Result<Version, StoreFault> {
        Ok(version_of(&self.tables(), stream))
    }

    fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, StoreFault> {
        let tables = self.tables();
        Ok(tables
            .streams
            .keys()
            .filter(|id| id.as_str().starts_with(prefix))
            .cloned()
            .collect())
    }
}

impl RecordStore for MemoryStore {
    fn change(&self, changes: &[RecordChange]) -> Result<(), RecordError> {
        check_changes(changes)?;
        let mut tables = self.tables();
        tables.records = changed(&tables.records, changes)?;
        Ok(())
    }

    fn get(&self, key: &RecordKey) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.tables().records.get(key).cloned())
    }

    fn list(
        &self,
        collection: &str,
        prefix: &str,
    ) -> Result<Vec<(RecordKey, Vec<u8>)>, StoreFault> {
        let tables = self.tables();
        let matching = tables
            .records
            .iter()
            .filter(|(key, _)| key.collection() == collection && key.key().starts_with(prefix));
        Ok(matching
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

fn version_of(tables: &Tables, stream: &StreamId) -> Version {
    Version(
        tables
            .streams
            .get(stream)
            .map_or(0, |events| events.len() as u64),
    )
}

/// The records after `changes`: a copy, so that a refusal in the middle leaves nothing behind.
fn changed(
    records: &BTreeMap<RecordKey, Vec<u8>>,
    changes: &[RecordChange],
) -> Result<BTreeMap<RecordKey, Vec<u8>>, RecordError> {
    let mut next = records.clone();
    for change in changes {
        match change {
            RecordChange::Put { key, value } => {
                next.insert(key.clone(), value.clone());
            }
            RecordChange::Insert { key, value } => match next.get(key) {
                Some(stored) if stored != value => {
                    return Err(RecordError::Exists { key: key.clone() });
                }
                Some(_) => {}
                None => {
                    next.insert(key.clone(), value.clone());
                }
            },
            RecordChange::Remove { key } => {
                next.remove(key);
            }
        }
    }
    Ok(next)
}
