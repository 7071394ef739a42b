//! The data keys on disk, wrapped: a file for each key id, with all its versions. A file is replaced in one step, so that a key can
//! be rotated while the broker serves; it is read again for each release. Keys are changed under a lock: two commands at once would
//! each write what they read, and the version that one of them made would be gone, with all that was sealed under it.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use consort_contract::Label;
use consort_contract::identity::{hex, unhex};
use consort_daemon::disk;
use consort_vault::{DataKey, KeyName};
use serde::{Deserialize, Serialize};

use crate::wrapping::{OrganisationKeys, Wrapped, WrappingFault};

/// Most versions of one key: one a day for eleven years.
const MOST_VERSIONS: usize = 4096;

/// The folder of the wrapped data keys.
#[derive(Debug, Clone)]
pub struct KeyStore {
    folder: PathBuf,
}

/// The file that a command locks while it changes keys. No key's file has this name: those end in `.json`.
const LOCK_FILE: &str = ".lock";

/// The folder while one command, and no other, changes its keys.
#[derive(Debug)]
pub struct LockedKeys<'a> {
    store: &'a KeyStore,
    /// Unlocked when it is closed, also by a process that was killed.
    _lock: File,
}

/// A key's file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    versions: Vec<StoredVersion>,
}

/// One version of a key, wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredVersion {
    /// From 1.
    pub version: u32,
    /// The data set it is for.
    pub data_set: Label,
    /// When it was made.
    pub created_unix_ms: u64,
    /// The organisation's key it lies under.
    pub wrapped_by: String,
    /// Hexadecimal.
    wrapped: String,
}

impl StoredVersion {
    fn bound_to(&self, key_id: &Label) -> Wrapped {
        Wrapped {
            name: KeyName {
                key_id: key_id.clone(),
                version: self.version,
                data_set: self.data_set.clone(),
            },
            created_unix_ms: self.created_unix_ms,
        }
    }
}

impl KeyStore {
    /// The keys in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Every version of a key, oldest first; none for a key that was never made.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn versions(&self, key_id: &Label) -> Result<Vec<StoredVersion>, KeyFault> {
        let path = self.path(key_id);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(KeyFault::File { path, source }),
        };
        let file: KeyFile = serde_json::from_str(&text).map_err(|error| KeyFault::Damaged {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        let in_order = (1..).zip(&file.versions).all(|(i, it)| it.version == i);
        if !in_order {
            let problem = "its versions are not 1, 2, 3 and so on".to_owned();
            return Err(KeyFault::Damaged { path, problem });
        }
        Ok(file.versions)
    }

    /// Keeps every other command from changing the keys, for as long as the value lives. Releases only read, and go on.
    ///
    /// # Errors
    /// [`KeyFault::Locked`] while another command does.
    pub fn lock(&self) -> Result<LockedKeys<'_>, KeyFault> {
        let path = self.folder.join(LOCK_FILE);
        let lock = std::fs::create_dir_all(&self.folder).and_then(|()| File::create(&path));
        let locked = lock.map_err(TryLockError::Error).and_then(|lock| {
            lock.try_lock()?;
            Ok(lock)
        });
        match locked {
            Ok(lock) => Ok(LockedKeys {
                store: self,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(KeyFault::Locked),
            Err(TryLockError::Error(source)) => Err(KeyFault::File { path, source }),
        }
    }

    /// A data key, out of its wrapping.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn unwrap(
        &self,
        key_id: &Label,
        version: &StoredVersion,
        keys: &OrganisationKeys,
    ) -> Result<DataKey, KeyFault> {
        let wrapped = unhex(&version.wrapped).ok_or_else(|| KeyFault::Damaged {
            path: self.path(key_id),
            problem: "a wrapped key is not hexadecimal".to_owned(),
        })?;
        let what = version.bound_to(key_id);
        Ok(keys.unwrap(&what, &version.wrapped_by, &wrapped).await?)
    }

    fn path(&self, key_id: &Label) -> PathBuf {
        self.folder.join(format!("{key_id}.json"))
    }

    fn write(&self, key_id: &Label, versions: Vec<StoredVersion>) -> Result<(), KeyFault> {
        let path = self.path(key_id);
        let text = serde_json::to_string_pretty(&KeyFile { versions })
            .expect("names, numbers and hexadecimal are plain JSON");
        disk::replace(&path, text.as_bytes()).map_err(|source| KeyFault::File { path, source })
    }
}

impl LockedKeys<'_> {
    /// Makes the next version of a key, which data sets are sealed under from now on. Older versions stay.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn rotate(
        &self,
        key_id: &Label,
        data_set: &Label,
        keys: &OrganisationKeys,
        now: SystemTime,
    ) -> Result<StoredVersion, KeyFault> {
        let mut versions = self.store.versions(key_id)?;
        if versions.len() >= MOST_VERSIONS {
            return Err(KeyFault::TooMany(key_id.clone()));
        }
        let newest = versions.last().map_or(0, |newest| newest.version);
        let what = Wrapped {
            name: KeyName {
                key_id: key_id.clone(),
                version: newest + 1,
                data_set: data_set.clone(),
            },
            created_unix_ms: unix_ms(now),
        };
        let (_, wrapped) = keys.generate(&what).await?;
        let made = StoredVersion {
            version: what.name.version,
            data_set: data_set.clone(),
            created_unix_ms: what.created_unix_ms,
            wrapped_by: keys.current(),
            wrapped: hex(&wrapped),
        };
        versions.push(made.clone());
        self.store.write(key_id, versions)?;
        Ok(made)
    }

    /// Puts every version of a key under the organisation's key in force; how many were not.
    ///
    /// # Errors
    /// [`KeyFault`]; nothing is changed then.
    pub async fn rewrap(&self, key_id: &Label, keys: &OrganisationKeys) -> Result<usize, KeyFault> {
        let mut versions = self.store.versions(key_id)?;
        let mut moved = 0;
        for version in &mut versions {
            if version.wrapped_by == keys.current() {
                continue;
            }
            let key = self.store.unwrap(key_id, version, keys).await?;
            let wrapped = keys.wrap(&version.bound_to(key_id), &key).await?;
            version.wrapped_by = keys.current();
            version.wrapped = hex(&wrapped);
            moved += 1;
        }
        if moved > 0 {
            self.store.write(key_id, versions)?;
        }
        Ok(moved)
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The keys on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// A file.
    #[error("the key file {path} cannot be used: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold keys.
    #[error("the key file {path} is damaged: {problem}; restore it")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How.
        problem: String,
    },
    /// Another command is at it.
    #[error("another command is changing the keys; wait for it")]
    Locked,
    /// Rotated too often.
    #[error("the data key {0} has {MOST_VERSIONS} versions; begin another key")]
    TooMany(Label),
    /// The organisation's key.
    #[error(transparent)]
    Wrapping(#[from] WrappingFault),
}

impl KeyFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "key_file",
            Self::Damaged { .. } => "key_file_damaged",
            Self::Locked => "key_files_locked",
            Self::TooMany(_) => "key_too_many_versions",
            Self::Wrapping(fault) => fault.code(),
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
