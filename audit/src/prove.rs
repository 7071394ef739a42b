//! Proofs from a copy of the log's folder, and the log as it grows.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::entries::{Entry, next_entry};
use crate::log::{CHECKPOINT_FILE, ENTRIES_FILE};
use crate::merkle::{MerkleTree, leaf_hash};
use crate::note::{NoteVerifier, SignedNote};
use crate::proof_file::{ConsistencyProof, InclusionProof};
use crate::record::Record;
use crate::verify::{VerifyError, read_key, read_text};

/// Proves that an entry is in the log, under `head` or the folder's newest checkpoint.
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::NoEntry`] when there is no such entry under that checkpoint.
pub fn prove_inclusion(
    folder: impl AsRef<Path>,
    trusted: Option<&NoteVerifier>,
    index: u64,
    head: Option<SignedNote>,
) -> Result<InclusionProof, VerifyError> {
    let mut log = Tail::open(folder, trusted)?;
    let mut entry = None;
    log.advance(|at, line| {
        if at == index {
            entry = Some(line.to_vec());
        }
    })?;
    let (checkpoint, head) = log.checkpoint_or(head)?;
    let hashes = log.tree.inclusion_proof(index, head.size);
    match (entry, hashes) {
        (Some(entry), Some(hashes)) => Ok(InclusionProof {
            index,
            entry,
            hashes,
            checkpoint,
        }),
        (_, _) => Err(VerifyError::NoEntry {
            index,
            size: head.size,
        }),
    }
}

/// Proves that the log extends what it was under the checkpoint `since`.
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::Forked`] when it does not.
pub fn prove_consistency(
    folder: impl AsRef<Path>,
    trusted: Option<&NoteVerifier>,
    since: SignedNote,
    head: Option<SignedNote>,
) -> Result<ConsistencyProof, VerifyError> {
    let mut log = Tail::open(folder, trusted)?;
    log.advance(|_, _| ())?;
    let (old, old_head) = log.checkpoint_or(Some(since))?;
    let (new, new_head) = log.checkpoint_or(head)?;
    let hashes = log.tree.consistency_proof(old_head.size, new_head.size);
    let hashes = hashes.ok_or(VerifyError::Forked {
        size: old_head.size,
    })?;
    Ok(ConsistencyProof { hashes, old, new })
}

/// The log in a folder as it grows, each entry once it stands under a signed checkpoint.
///
/// # Security
/// It is a witness while it runs: a checkpoint that does not extend what was read before is [`VerifyError::Forked`].
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    key: NoteVerifier,
    reader: BufReader<File>,
    tree: MerkleTree,
    checkpoint: Option<SignedNote>,
}

impl Tail {
    /// Opens the folder at the log's beginning. Without a `trusted` key the folder's own is believed.
    ///
    /// # Errors
    /// [`VerifyError`] when the folder has no log, or one of another key.
    pub fn open(
        folder: impl AsRef<Path>,
        trusted: Option<&NoteVerifier>,
    ) -> Result<Self, VerifyError> {
        let folder = folder.as_ref().to_owned();
        let key = read_key(&folder, trusted)?;
        let file = File::open(folder.join(ENTRIES_FILE)).map_err(failed)?;
        Ok(Self {
            folder,
            key,
            reader: BufReader::new(file),
            tree: MerkleTree::new(),
            checkpoint: None,
        })
    }

    /// The key of the log.
    pub fn key(&self) -> &NoteVerifier {
        &self.key
    }

    /// The records that stand under the newest checkpoint and were not given before, with their indices.
    ///
    /// # Errors
    /// [`VerifyError`] with the first thing that does not hold.
    pub fn news(&mut self) -> Result<Vec<(u64, Record)>, VerifyError> {
        let mut lines = Vec::new();
        self.advance(|index, line| lines.push((index, line.to_vec())))?;
        let record = |(index, line): (u64, Vec<u8>)| {
            let record = Record::from_line(&line);
            Ok((
                index,
                record.map_err(|source| VerifyError::Entry { index, source })?,
            ))
        };
        lines.into_iter().map(record).collect()
    }

    /// Reads on to the newest checkpoint, which must be over what is there and was there.
    fn advance(&mut self, mut take: impl FnMut(u64, &[u8])) -> Result<(), VerifyError> {
        let note: SignedNote = read_text(&self.folder, CHECKPOINT_FILE)?.parse()?;
        let head = Checkpoint::verified(&note, &self.key)?;
        let known = self.tree.size();
        if head.size < known {
            return Err(VerifyError::Forked { size: known });
        }
        while self.tree.size() < head.size {
            let index = self.tree.size();
            let before = self.reader.stream_position().map_err(failed)?;
            match next_entry(&mut self.reader).map_err(failed)? {
                Some(Entry::Whole(line)) => {
                    take(index, &line);
                    self.tree.push(leaf_hash(&line));
                }
                // An entry is whole before it is signed: this one was cut off, and stays where it is.
                Some(Entry::Torn) => {
                    self.reader.seek(SeekFrom::Start(before)).map_err(failed)?;
                    return Err(VerifyError::Torn { index });
                }
                None => {
                    return Err(VerifyError::Size {
                        found: index,
                        signed: head.size,
                    });
                }
            }
        }
        if self.tree.root() != head.root {
            return Err(match known {
                0 => VerifyError::Root { size: head.size },
                size => VerifyError::Forked { size },
            });
        }
        self.checkpoint = Some(note);
        Ok(())
    }

    /// A checkpoint that the log extends, with what it says; the newest if none is named.
    fn checkpoint_or(
        &self,
        named: Option<SignedNote>,
    ) -> Result<(SignedNote, Checkpoint), VerifyError> {
        let note = match (named, &self.checkpoint) {
            (Some(named), _) => named,
            (None, Some(newest)) => newest.clone(),
            (None, None) => read_text(&self.folder, CHECKPOINT_FILE)?.parse()?,
        };
        let head = Checkpoint::verified(&note, &self.key)?;
        if self.tree.root_at(head.size) != Some(head.root) {
            return Err(VerifyError::Forked { size: head.size });
        }
        Ok((note, head))
    }
}

fn failed(source: io::Error) -> VerifyError {
    VerifyError::Io {
        file: ENTRIES_FILE,
        source,
    }
}
