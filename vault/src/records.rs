//! Records that lie sealed: a [`RecordStore`] over another one, which sees neither names nor values, and can put nothing in the
//! place of anything else.
//!
//! Under one collection of the store below lies a record for each record here, under a name that a keyed function gives, and a
//! *head*. A sealed record carries the number of the change that wrote it, and its real name; the head carries the number of the
//! last change, how many records there are, and the XOR of a keyed tag over each record's name, number and sealed bytes (MSet-XOR-Hash of
//! Clarke et al., ASIACRYPT 2003; what it hides by a nonce, sealing the head hides). Head and records change in one transaction.
//! So the records are all of one moment: one that was changed, moved, swapped, cut, left out, or put back as it once was is noticed
//! when the store is opened, and again when it is read.
//!
//! # Security
//! The whole store as it was at an earlier moment opens: nothing on one disk can tell of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consort_aggregation::{Canonical, Digest};
use consort_contract::identity::hex;
use consort_storage::{
    MAX_RECORD_BYTES, MAX_RECORD_KEY_BYTES, RecordChange, RecordError, RecordKey, RecordStore,
    StoreFault,
};
use zeroize::Zeroizing;

use crate::state::{StateKey, VaultError};

/// The one collection in the store below.
const COLLECTION: &str = "sealed";

/// The head's name there. No record has it: those are 64 hexadecimal characters.
const HEAD: &str = "head";

/// Bytes that sealing adds to a value at most: its number, its name with two lengths, a nonce and a tag.
const MOST_OVERHEAD: usize = 8 + 2 + 64 + 2 + MAX_RECORD_KEY_BYTES + 12 + 16;

/// Bytes of a head's content: the number of the last change, the number of records, and their tag.
const HEAD_BYTES: usize = 8 + 8 + TAG_BYTES;

const TAG_BYTES: usize = 32;

/// Records that lie sealed under a state key.
pub struct SealedRecords {
    below: Arc<dyn RecordStore>,
    key: Arc<StateKey>,
    /// Which store this is: one that was sealed under the same key for something else does not open here.
    name: String,
    inner: Mutex<Inner>,
}

struct Inner {
    head: Head,
    /// Every record as it was written.
    written: BTreeMap<RecordKey, Written>,
}

/// Which change wrote a record, and a hash of what it wrote: after a restored copy one number names two changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    change: u64,
    sealed: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    last_change: u64,
    records: u64,
    tag: [u8; TAG_BYTES],
}

/// Sealed records that do not open.
#[derive(Debug, thiserror::Error)]
pub enum SealedRecordsError {
    /// The store below failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The store below refused a change.
    #[error("the state was not stored: {0}")]
    Record(#[from] RecordError),
    /// The head or a record does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Records are there that nobody sealed.
    #[error(
        "the state holds records of {0} that are not sealed, as an earlier version of this program wrote them; this one reads sealed state alone: begin with a new state folder"
    )]
    Unsealed(&'static str),
    /// There is no head.
    #[error(
        "the state has no head: what was stored is gone, or this file was never this state; restore it whole"
    )]
    NoHead,
    /// The records are not those that the head names.
    #[error(
        "the state is not whole: it has {found} records where its head names {named}, or one of them is of another moment; restore it whole"
    )]
    NotWhole {
        /// How many there are.
        found: u64,
        /// How many there should be.
        named: u64,
    },
}

impl SealedRecordsError {
    /// Stable code for logs and exit messages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Record(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Unsealed(_) => "state_unsealed",
            Self::NoHead => "state_no_head",
            Self::NotWhole { .. } => "state_not_whole",
        }
    }
}

impl SealedRecords {
    /// Begins sealed records in a store that has none, or opens those that are there.
    ///
    /// # Errors
    /// As [`SealedRecords::open`].
    pub fn create(
        below: Arc<dyn RecordStore>,
        key: Arc<StateKey>,
        name: &str,
    ) -> Result<Self, SealedRecordsError> {
        if below.list(COLLECTION, "")?.is_empty() {
            let begun = Self {
                below: Arc::clone(&below),
                key: Arc::clone(&key),
                name: name.to_owned(),
                inner: Mutex::new(Inner {
                    head: Head::default(),
                    written: BTreeMap::new(),
                }),
            };
            below.change(&[begun.seal_head(&Head::default())])?;
        }
        Self::open(below, key, name)
    }

    /// Opens every record once, so that a daemon does not start on a state that is not whole.
    ///
    /// # Errors
    /// [`SealedRecordsError`] says what is wrong.
    pub fn open(
        below: Arc<dyn RecordStore>,
        key: Arc<StateKey>,
        name: &str,
    ) -> Result<Self, SealedRecordsError> {
        let mut opened = Self {
            below,
            key,
            name: name.to_owned(),
            inner: Mutex::new(Inner {
                head: Head::default(),
                written: BTreeMap::new(),
            }),
        };
        let head = opened
            .below
            .get(&place(HEAD))?
            .ok_or(SealedRecordsError::NoHead)?;
        let head = opened.open_head(&head)?;
        let mut found = Head {
            last_change: head.last_change,
            ..Head::default()
        };
        let mut written = BTreeMap::new();
        for (at, sealed) in opened.below.list(COLLECTION, "")? {
            if at.key() == HEAD {
                continue;
            }
            let (key, record) = opened.open_record(at.key(), &sealed)?;
            let record = Written {
                change: record.change,
                sealed: Digest::of(&sealed),
            };
            found.add(&opened.tag(at.key(), &record));
            found.records += 1;
            written.insert(key, record);
        }
        if found != head {
            return Err(SealedRecordsError::NotWhole {
                found: found.records,
                named: head.records,
            });
        }
        opened.inner = Mutex::new(Inner { head, written });
        Ok(opened)
    }

    /// Every record, as the changes that put them into another store.
    ///
    /// # Errors
    /// [`StoreFault`] if the disk fails.
    pub fn all(&self) -> Result<Vec<RecordChange>, StoreFault> {
        let inner = self.lock();
        let records = inner.written.iter().map(|(key, written)| {
            let value = self.read(key, written)?;
            let key = key.clone();
            Ok(RecordChange::Put { key, value })
        });
        records.collect()
    }

    /// Refuses a store in which one of these collections holds records that nobody sealed.
    ///
    /// # Errors
    /// [`SealedRecordsError::Unsealed`] names the collection.
    pub fn refuse_unsealed(
        below: &dyn RecordStore,
        collections: &[&'static str],
    ) -> Result<(), SealedRecordsError> {
        for collection in collections {
            if !below.list(collection, "")?.is_empty() {
                return Err(SealedRecordsError::Unsealed(collection));
            }
        }
        Ok(())
    }

    fn seal_head(&self, head: &Head) -> RecordChange {
        RecordChange::Put {
            key: place(HEAD),
            value: self.key.seal("records-head", &self.name, &head.to_bytes()),
        }
    }

    fn open_head(&self, sealed: &[u8]) -> Result<Head, VaultError> {
        let plain = self.key.open("records-head", &self.name, sealed)?;
        Head::from_bytes(&plain).ok_or_else(|| VaultError::Sealed {
            kind: "records-head".to_owned(),
            name: self.name.clone(),
        })
    }

    fn seal_record(&self, at: &str, key: &RecordKey, change: u64, value: &[u8]) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(value.len() + MOST_OVERHEAD));
        plain.extend_from_slice(&change.to_be_bytes());
        for name in [key.collection(), key.key()] {
            let length = u16::try_from(name.len()).expect("a record's names are short");
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(name.as_bytes());
        }
        plain.extend_from_slice(value);
        self.key.seal("record", &self.sealed_name(at), &plain)
    }

    fn open_record(&self, at: &str, sealed: &[u8]) -> Result<(RecordKey, Opened), VaultError> {
        let plain = self.key.open("record", &self.sealed_name(at), sealed)?;
        let refused = || VaultError::Sealed {
            kind: "record".to_owned(),
            name: self.sealed_name(at),
        };
        let (change, rest) = plain.split_at_checked(8).ok_or_else(refused)?;
        let (collection, rest) = text(rest).ok_or_else(refused)?;
        let (key, value) = text(rest).ok_or_else(refused)?;
        let key = RecordKey::new(collection, key).map_err(|_| refused())?;
        if self.place_of(&key).key() != at {
            return Err(refused());
        }
        let record = Opened {
            change: u64::from_be_bytes(change.try_into().map_err(|_| refused())?),
            value: Zeroizing::new(value.to_vec()),
        };
        Ok((key, record))
    }

    fn sealed_name(&self, at: &str) -> String {
        format!("{}/{at}", self.name)
    }

    /// Where a record lies below: a name that tells nothing of the record's.
    fn place_of(&self, key: &RecordKey) -> RecordKey {
        let info = Canonical::new("consort/vault/record-name/v1")
            .str(&self.name)
            .str(key.collection())
            .str(key.key())
            .finish();
        place(&hex(&self.key.derive(&info)[..]))
    }

    fn tag(&self, at: &str, written: &Written) -> [u8; TAG_BYTES] {
        let info = Canonical::new("consort/vault/record-tag/v1")
            .str(&self.name)
            .str(at)
            .u64(written.change)
            .bytes(written.sealed.as_bytes())
            .finish();
        *self.key.derive(&info)
    }

    /// The value of a record that the index has, as the index has it.
    fn read(&self, key: &RecordKey, written: &Written) -> Result<Vec<u8>, StoreFault> {
        let damaged = |how: &str| StoreFault::Damaged {
            what: format!("the sealed record {key} {how}"),
        };
        let at = self.place_of(key);
        let sealed = self.below.get(&at)?.ok_or_else(|| damaged("is gone"))?;
        let (_, record) = self
            .open_record(at.key(), &sealed)
            .map_err(|error| damaged(&error.to_string()))?;
        if record.change != written.change || Digest::of(&sealed) != written.sealed {
            return Err(damaged("is of another moment"));
        }
        Ok(record.value.to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two changes under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordStore for SealedRecords {
    fn change(&self, changes: &[RecordChange]) -> Result<(), RecordError> {
        let mut inner = self.lock();
        // What the touched records hold afterwards; nothing for one that is removed.
        let mut after = BTreeMap::<&RecordKey, Option<&[u8]>>::new();
        for change in changes {
            match change {
                RecordChange::Put { key, value } => {
                    small_enough(key, value)?;
                    after.insert(key, Some(value));
                }
                RecordChange::Insert { key, value } => {
                    small_enough(key, value)?;
                    let stored = match (after.get(key), inner.written.get(key)) {
                        (Some(touched), _) => touched.map(<[u8]>::to_vec),
                        (None, Some(written)) => Some(self.read(key, written)?),
                        (None, None) => None,
                    };
                    match stored {
                        Some(stored) if stored != *value => {
                            return Err(RecordError::Exists { key: key.clone() });
                        }
                        Some(_) => {}
                        None => {
                            after.insert(key, Some(value));
                        }
                    }
                }
                RecordChange::Remove { key } => {
                    after.insert(key, None);
                }
            }
        }
        if after.is_empty() {
            return Ok(());
        }
        let number = inner.head.last_change + 1;
        let mut head = Head {
            last_change: number,
            ..inner.head
        };
        let mut below = Vec::with_capacity(after.len() + 1);
        let mut written = Vec::with_capacity(after.len());
        for (key, value) in &after {
            let at = self.place_of(key);
            if let Some(before) = inner.written.get(*key) {
                head.add(&self.tag(at.key(), before));
                head.records -= 1;
            }
            match value {
                Some(value) => {
                    let value = self.seal_record(at.key(), key, number, value);
                    let now = Written {
                        change: number,
                        sealed: Digest::of(&value),
                    };
                    head.add(&self.tag(at.key(), &now));
                    head.records += 1;
                    below.push(RecordChange::Put { key: at, value });
                    written.push((*key, Some(now)));
                }
                None => {
                    below.push(RecordChange::Remove { key: at });
                    written.push((*key, None));
                }
            }
        }
        below.push(self.seal_head(&head));
        self.below.change(&below)?;
        for (key, now) in written {
            match now {
                Some(now) => inner.written.insert(key.clone(), now),
                None => inner.written.remove(key),
            };
        }
        inner.head = head;
        Ok(())
    }

    fn get(&self, key: &RecordKey) -> Result<Option<Vec<u8>>, StoreFault> {
        let inner = self.lock();
        let written = inner.written.get(key);
        written.map(|written| self.read(key, written)).transpose()
    }

    fn list(
        &self,
        collection: &str,
        prefix: &str,
    ) -> Result<Vec<(RecordKey, Vec<u8>)>, StoreFault> {
        let inner = self.lock();
        let matching = inner
            .written
            .iter()
            .filter(|(key, _)| key.collection() == collection && key.key().starts_with(prefix));
        matching
            .map(|(key, written)| Ok((key.clone(), self.read(key, written)?)))
            .collect()
    }
}

impl Head {
    /// Adds a tag, or takes it away again.
    fn add(&mut self, tag: &[u8; TAG_BYTES]) {
        for (byte, other) in self.tag.iter_mut().zip(tag) {
            *byte ^= other;
        }
    }

    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.last_change.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.records.to_be_bytes());
        bytes[16..].copy_from_slice(&self.tag);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.try_into().ok()?;
        let (last_change, rest) = bytes.split_first_chunk::<8>()?;
        let (records, tag) = rest.split_first_chunk::<8>()?;
        Some(Self {
            last_change: u64::from_be_bytes(*last_change),
            records: u64::from_be_bytes(*records),
            tag: tag.try_into().ok()?,
        })
    }
}

/// A record out of its sealing.
struct Opened {
    change: u64,
    value: Zeroizing<Vec<u8>>,
}

/// Text behind its length of 2 bytes, and what follows it.
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn place(name: &str) -> RecordKey {
    RecordKey::new(COLLECTION, name).expect("hexadecimal characters are a name")
}

fn small_enough(key: &RecordKey, value: &[u8]) -> Result<(), RecordError> {
    if value.len() > MAX_RECORD_BYTES - MOST_OVERHEAD {
        return Err(RecordError::TooLarge {
            key: key.clone(),
            bytes: value.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
