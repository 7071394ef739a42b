//! The log in a folder: entries that only grow, and a signed checkpoint over all of them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointError};
pub use crate::entries::MAX_ENTRY_BYTES;
use crate::entries::{Entry, next_entry};
use crate::hash::Hash;
use crate::merkle::{MerkleTree, leaf_hash};
use crate::note::{NoteError, NoteSigner, NoteVerifier, SignedNote};
use crate::record::{Record, RecordError};

/// The file of the entries: one line of JSON each.
pub const ENTRIES_FILE: &str = "entries.jsonl";
/// The file of the newest checkpoint: a signed note.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// The file of the key that signs: a verifier key and a newline.
pub const KEY_FILE: &str = "audit.pub";

/// A log that is being written, by one process.
///
/// # Security
/// An appended record is on disk and under a signed checkpoint before the append returns. Whoever holds the folder and the
/// signing key can still write another history; what stops it is that others keep the checkpoints they saw, and
/// [`AuditLog::consistency_proof`] cannot be made for a history that was changed.
#[derive(Debug)]
pub struct AuditLog {
    folder: PathBuf,
    entries: File,
    /// Where each entry ends in the file, its newline included.
    ends: Vec<u64>,
    tree: MerkleTree,
    signer: NoteSigner,
    checkpoint: SignedNote,
    recovery: Recovery,
    /// Set by the first failed write. A failed fsync proves nothing when it is tried again (Rebello et al., USENIX ATC
    /// 2020), so nothing is appended until the log is reopened.
    stopped: bool,
}

/// What an interrupted append had left behind, of which nobody was told that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Whole entries after the last checkpoint, which were kept and signed.
    pub kept_entries: u64,
    /// Bytes from the first torn entry on, which were cut.
    pub cut_bytes: u64,
}

impl AuditLog {
    /// Opens the log in `folder`, or begins one. The name of the signer is the origin of the log.
    ///
    /// What stands under the last checkpoint must be there unchanged. After it, an append that was interrupted may have left
    /// entries: whole ones are kept, and from the first torn one on the file is cut ([`AuditLog::recovery`] says so).
    ///
    /// # Errors
    /// [`LogError`] if the log is in use, was changed, belongs to another key, or the disk fails.
    pub fn open(folder: impl AsRef<Path>, signer: NoteSigner) -> Result<Self, LogError> {
        let folder = folder.as_ref().to_owned();
        create_folder(&folder).map_err(io_error("creating the log"))?;
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(folder.join(ENTRIES_FILE));
        let entries = opened.map_err(io_error("opening the log"))?;
        match entries.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { folder }),
            Err(TryLockError::Error(error)) => return Err(io_error("locking the log")(error)),
        }
        let length = entries
            .metadata()
            .map_err(io_error("opening the log"))?
            .len();
        check_key(&folder, &signer, length)?;
        let checkpoint = match read_checkpoint(&folder)? {
            Some(note) => note,
            None if length == 0 => {
                let note = head(&MerkleTree::new(), &signer)?;
                replace(&folder, CHECKPOINT_FILE, &note.to_string())?;
                note
            }
            None => return Err(LogError::NoCheckpoint),
        };
        let mut log = Self {
            folder,
            entries,
            ends: Vec::new(),
            tree: MerkleTree::new(),
            signer,
            checkpoint,
            recovery: Recovery::default(),
            stopped: false,
        };
        log.recover(length)?;
        Ok(log)
    }

    /// Appends one record; returns its index.
    ///
    /// # Errors
    /// As [`AuditLog::append_all`].
    pub fn append(&mut self, record: &Record) -> Result<u64, LogError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records in order, all under one checkpoint; returns the index of the first. One fsync of the entries and
    /// one checkpoint, however many records.
    ///
    /// # Errors
    /// [`LogError::Record`] or [`LogError::EntryTooLarge`], which change nothing. After [`LogError::Io`] the log takes
    /// nothing more until it is reopened, and only then is it known what was kept.
    pub fn append_all(&mut self, records: &[Record]) -> Result<u64, LogError> {
        if self.stopped {
            return Err(LogError::Stopped);
        }
        let first = self.tree.size();
        let lines = records
            .iter()
            .map(entry_line)
            .collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Ok(first);
        }
        self.stopped = true;
        let mut bytes = Vec::new();
        for line in &lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        self.entries
            .write_all(&bytes)
            .map_err(io_error("appending to the log"))?;
        self.entries
            .sync_data()
            .map_err(io_error("appending to the log"))?;
        for line in &lines {
            self.push(line.as_bytes());
        }
        self.publish()?;
        self.stopped = false;
        Ok(first)
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> &SignedNote {
        &self.checkpoint
    }

    /// How many entries the log has.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over the first `size` entries; none when there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.tree.root_at(size)
    }

    /// The root over all entries.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// What an interrupted append had left behind when the log was opened.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// The proof that the log at `new_size` entries extends what it was at `old_size`; none if it never had so many.
    pub fn proof_between(&self, old_size: u64, new_size: u64) -> Option<Vec<Hash>> {
        self.tree.consistency_proof(old_size, new_size)
    }

    /// The public key under which the log is signed.
    pub fn verifier(&self) -> &NoteVerifier {
        self.signer.verifier()
    }

    /// The proof that the log extends what it was at `old_size` entries; none if it never had so many.
    pub fn consistency_proof(&self, old_size: u64) -> Option<Vec<Hash>> {
        self.tree.consistency_proof(old_size, self.tree.size())
    }

    /// The proof that the entry `index` is in the log as it is; none if there is no such entry.
    pub fn inclusion_proof(&self, index: u64) -> Option<Vec<Hash>> {
        self.tree.inclusion_proof(index, self.tree.size())
    }

    /// The newest `count` records with their indices, oldest first.
    ///
    /// # Errors
    /// [`LogError::Io`] if the disk fails, [`LogError::Entry`] if an entry was changed meanwhile.
    pub fn tail(&self, count: usize) -> Result<Vec<(u64, Record)>, LogError> {
        let first = self.ends.len().saturating_sub(count);
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends.last().copied().unwrap_or_default();
        // A handle of its own: reading moves no position that appending might use.
        let mut file =
            File::open(self.folder.join(ENTRIES_FILE)).map_err(io_error("reading the log"))?;
        file.seek(SeekFrom::Start(start))
            .map_err(io_error("reading the log"))?;
        let mut reader = BufReader::new(file.take(end - start));
        let mut found = Vec::new();
        for index in first as u64..self.tree.size() {
            let entry = next_entry(&mut reader).map_err(io_error("reading the log"))?;
            let Some(Entry::Whole(line)) = entry else {
                return Err(LogError::Truncated {
                    found: index,
                    signed: self.tree.size(),
                });
            };
            let record =
                Record::from_line(&line).map_err(|source| LogError::Entry { index, source })?;
            found.push((index, record));
        }
        Ok(found)
    }

    /// Rebuilds the tree from the file, checks it against the checkpoint, and mends what lies after that.
    fn recover(&mut self, length: u64) -> Result<(), LogError> {
        let signed = Checkpoint::verified(&self.checkpoint, self.signer.verifier())?;
        let file = self
            .entries
            .try_clone()
            .map_err(io_error("reading the log"))?;
        let mut reader = BufReader::new(file);
        loop {
            let index = self.tree.size();
            if index == signed.size && self.tree.root() != signed.root {
                return Err(LogError::WrongRoot { size: signed.size });
            }
            let entry = next_entry(&mut reader).map_err(io_error("reading the log"))?;
            let under_checkpoint = index < signed.size;
            match entry {
                Some(Entry::Whole(line)) => match Record::from_line(&line) {
                    Ok(_) => self.push(&line),
                    Err(source) if under_checkpoint => {
                        return Err(LogError::Entry { index, source });
                    }
                    Err(_) => break,
                },
                Some(Entry::Torn) | None if under_checkpoint => {
                    return Err(LogError::Truncated {
                        found: index,
                        signed: signed.size,
                    });
                }
                Some(Entry::Torn) | None => break,
            }
        }
        let whole = self.ends.last().copied().unwrap_or_default();
        self.recovery = Recovery {
            kept_entries: self.tree.size() - signed.size,
            cut_bytes: length.saturating_sub(whole),
        };
        if self.recovery.cut_bytes > 0 {
            self.entries
                .set_len(whole)
                .map_err(io_error("cutting a torn entry"))?;
        }
        if self.recovery != Recovery::default() {
            self.entries
                .sync_all()
                .map_err(io_error("mending the log"))?;
            self.publish()?;
        }
        Ok(())
    }

    fn push(&mut self, line: &[u8]) {
        let start = self.ends.last().copied().unwrap_or_default();
        self.ends.push(start + line.len() as u64 + 1);
        self.tree.push(leaf_hash(line));
    }

    /// Signs the tree as it is, and replaces the checkpoint.
    fn publish(&mut self) -> Result<(), LogError> {
        let note = head(&self.tree, &self.signer)?;
        replace(&self.folder, CHECKPOINT_FILE, &note.to_string())?;
        self.checkpoint = note;
        Ok(())
    }
}

fn head(tree: &MerkleTree, signer: &NoteSigner) -> Result<SignedNote, LogError> {
    let origin = signer.verifier().name().to_owned();
    let checkpoint = Checkpoint {
        origin,
        size: tree.size(),
        root: tree.root(),
    };
    checkpoint
        .sign(signer)
        .map_err(|error| LogError::Checkpoint(error.into()))
}

fn entry_line(record: &Record) -> Result<String, LogError> {
    let line = record.to_line().map_err(LogError::Record)?;
    if line.len() < MAX_ENTRY_BYTES {
        Ok(line)
    } else {
        Err(LogError::EntryTooLarge { bytes: line.len() })
    }
}

/// The key file is written before anything else, and then never changes.
fn check_key(folder: &Path, signer: &NoteSigner, length: u64) -> Result<(), LogError> {
    let expected = format!("{}\n", signer.verifier());
    match fs::read(folder.join(KEY_FILE)) {
        Ok(found) if found == expected.as_bytes() => Ok(()),
        Ok(_) => Err(LogError::OtherKey),
        Err(error) if error.kind() == io::ErrorKind::NotFound && length == 0 => {
            replace(folder, KEY_FILE, &expected)
        }
        Err(error) => Err(io_error("reading the key of the log")(error)),
    }
}

fn read_checkpoint(folder: &Path) -> Result<Option<SignedNote>, LogError> {
    match fs::read(folder.join(CHECKPOINT_FILE)) {
        Ok(bytes) => {
            let text =
                String::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"));
            Ok(Some(
                text.and_then(|text| text.parse())
                    .map_err(CheckpointError::from)?,
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("reading the checkpoint")(error)),
    }
}

pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let above = folder
        .parent()
        .filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// Replaces a file so that a crash leaves the old one or the new one: written beside, synced, renamed, the folder synced.
pub(crate) fn replace(folder: &Path, name: &str, text: &str) -> Result<(), LogError> {
    let temporary = folder.join(format!("{name}.new"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(name))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(io_error("replacing a file of the log"))
}

pub(crate) fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { doing, source }
}

/// The log did not open, or did not take a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another process writes it.
    #[error("the audit log in {} is in use by another process; stop that one first", folder.display())]
    InUse {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// The folder holds the log of another key.
    #[error(
        "the audit log was begun with another key; give back that key, or begin a log in an empty folder"
    )]
    OtherKey,
    /// There are entries, and no checkpoint over them.
    #[error("the audit log has entries and no checkpoint; restore the checkpoint")]
    NoCheckpoint,
    /// The checkpoint is none of this log.
    #[error("the checkpoint of the audit log does not hold")]
    Checkpoint(#[from] CheckpointError),
    /// An entry under the checkpoint is no record.
    #[error("entry {index} of the audit log was changed; restore the log from a copy")]
    Entry {
        /// Which entry, from 0.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// A head that was announced is none of this log.
    #[error(
        "a head over {size} entries was announced, and the log of {entries} entries is not the one that it was announced of; restore the whole folder from its newest copy. If that is lost, move `witnessed` away: members will say that the log was cut, until each forgets with `consort participant log-head --dangerous-forget`"
    )]
    HeadOfAnotherLog {
        /// Entries under that head.
        size: u64,
        /// Entries of the log.
        entries: u64,
    },
    /// There are fewer entries than the checkpoint says.
    #[error(
        "the audit log has {found} whole entries, {signed} were signed; restore the log from a copy"
    )]
    Truncated {
        /// Whole entries found.
        found: u64,
        /// Entries under the checkpoint.
        signed: u64,
    },
    /// The entries are not those that were signed.
    #[error(
        "the first {size} entries of the audit log are not those that were signed; restore the log from a copy"
    )]
    WrongRoot {
        /// Entries under the checkpoint.
        size: u64,
    },
    /// The record cannot be written.
    #[error("a record was refused by the audit log")]
    Record(#[source] RecordError),
    /// The record is too large.
    #[error("a record of {bytes} bytes is too large for the audit log")]
    EntryTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The disk failed.
    #[error("the audit log failed while {doing}; stop this process and look at the disk")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("the audit log stopped after a failed write; restart this process")]
    Stopped,
}

impl LogError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "audit_in_use",
            Self::OtherKey => "audit_other_key",
            Self::NoCheckpoint => "audit_no_checkpoint",
            Self::Checkpoint(error) => error.code(),
            Self::Entry { .. } => "audit_entry",
            Self::Truncated { .. } => "audit_truncated",
            Self::WrongRoot { .. } => "audit_root",
            Self::HeadOfAnotherLog { .. } => "audit_head_of_another_log",
            Self::Record(error) => error.code(),
            Self::EntryTooLarge { .. } => "audit_entry_too_large",
            Self::Io { .. } => "audit_io",
            Self::Stopped => "audit_stopped",
        }
    }
}
