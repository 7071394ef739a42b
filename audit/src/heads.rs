//! The heads that were announced, with the co-signatures of those that witnessed them: a folder beside the log, a file for each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::Checkpoint;
use crate::cosignature::{Cosignature, WitnessKey};
use crate::hash::Hash;
use crate::log::{AuditLog, LogError, create_folder, io_error, replace};
use crate::note::{NoteError, NoteVerifier, SignedNote};
use crate::witness::head_hash;

/// The folder of the announced heads, in that of the log: each a signed note, named by the log's length in 20 digits.
pub const WITNESSED_FOLDER: &str = "witnessed";

/// Announced heads that are kept, the newest of them: as many jobs may open an attempt at a time. A member that asks for an older
/// one misses that attempt. With 1 024 co-signatures each they are 10 MB.
pub const KEPT_HEADS: usize = 32;

/// The announced heads.
#[derive(Debug)]
pub struct AnnouncedHeads {
    folder: PathBuf,
    heads: BTreeMap<u64, (Hash, SignedNote)>,
}

impl AnnouncedHeads {
    /// Opens the heads of the log in `log_folder`.
    ///
    /// # Errors
    /// [`LogError`] when a file is not what was written, or the disk fails.
    pub fn open(log_folder: &Path, log: &NoteVerifier) -> Result<Self, LogError> {
        let folder = log_folder.join(WITNESSED_FOLDER);
        create_folder(&folder).map_err(io_error("creating the folder of the announced heads"))?;
        let heads = witnessed(log_folder, log)?.into_iter();
        let heads = heads.map(|(size, note)| (size, (head_hash(&note), note)));
        Ok(Self {
            folder,
            heads: heads.collect(),
        })
    }

    /// Checks that each head is one of this log.
    ///
    /// # Errors
    /// [`LogError::HeadOfAnotherLog`] names one that is not, such as one of a longer log that was since replaced by a copy.
    pub fn check(&self, log: &AuditLog) -> Result<(), LogError> {
        for (size, (_, note)) in &self.heads {
            let head = Checkpoint::verified(note, log.verifier())?;
            if log.root_at(*size) != Some(head.root) {
                return Err(LogError::HeadOfAnotherLog {
                    size: *size,
                    entries: log.size(),
                });
            }
        }
        Ok(())
    }

    /// Keeps a checkpoint that is about to be announced: it is on disk when this returns.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn announce(&mut self, size: u64, checkpoint: &SignedNote) -> Result<Hash, LogError> {
        let head = head_hash(checkpoint);
        if !self.heads.contains_key(&size) {
            replace(&self.folder, &name(size), &checkpoint.to_string())?;
            self.heads.insert(size, (head, checkpoint.clone()));
        }
        while self.heads.len() > KEPT_HEADS {
            if let Some((oldest, _)) = self.heads.pop_first() {
                fs::remove_file(self.folder.join(name(oldest)))
                    .map_err(io_error("removing an old head"))?;
            }
        }
        Ok(head)
    }

    /// An announced checkpoint and its length, by its hash.
    pub fn find(&self, head: &Hash) -> Option<(u64, &SignedNote)> {
        let mut heads = self.heads.iter();
        heads.find_map(|(size, (hash, note))| (hash == head).then_some((*size, note)))
    }

    /// Keeps a co-signature, the first of each witness; false when it was there.
    ///
    /// # Errors
    /// The inner [`NotCosigned`] when it is none; [`LogError`] when the disk fails.
    pub fn cosign(
        &mut self,
        head: &Hash,
        witness: &WitnessKey,
        cosignature: &Cosignature,
    ) -> Result<Result<bool, NotCosigned>, LogError> {
        let Some(size) = self.find(head).map(|(size, _)| size) else {
            return Ok(Err(NotCosigned::UnknownHead));
        };
        let Some((_, note)) = self.heads.get_mut(&size) else {
            return Ok(Err(NotCosigned::UnknownHead));
        };
        if witness.verify(&note.text, cosignature).is_err() {
            return Ok(Err(NotCosigned::Signature));
        }
        if note.cosigned_by(witness) != Ok(None) {
            return Ok(Ok(false));
        }
        note.add_cosignature(witness, cosignature);
        replace(&self.folder, &name(size), &note.to_string())?;
        Ok(Ok(true))
    }
}

/// The announced heads in a copy of a log's folder, oldest first; none where there is no such folder.
///
/// # Errors
/// [`LogError`] when a file is not what was written, or the disk fails.
pub fn witnessed(
    log_folder: &Path,
    log: &NoteVerifier,
) -> Result<Vec<(u64, SignedNote)>, LogError> {
    let folder = log_folder.join(WITNESSED_FOLDER);
    let reading = || io_error("reading the announced heads");
    let files = match fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(reading()(error)),
    };
    let mut heads = Vec::new();
    for file in files {
        let path = file.map_err(reading())?.path();
        // What an interrupted replacement left.
        if path.extension().is_some_and(|extension| extension == "new") {
            continue;
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // The coordinator has left it for newer ones since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(reading()(error)),
        };
        let note =
            SignedNote::read_cosigned(&text).map_err(|error| LogError::Checkpoint(error.into()))?;
        heads.push((Checkpoint::verified(&note, log)?.size, note));
    }
    heads.sort_by_key(|(size, _)| *size);
    Ok(heads)
}

fn name(size: u64) -> String {
    format!("{size:020}")
}

/// A co-signature is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// The head was not announced, or long ago.
    #[error("no head with this hash is kept; only the newest announced ones are")]
    UnknownHead,
    /// It is not this witness's over this checkpoint.
    #[error("the co-signature does not hold for this member and this checkpoint")]
    Signature,
}

impl NotCosigned {
    /// Stable code for gRPC details and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownHead => "log_head_unknown",
            Self::Signature => "log_cosignature",
        }
    }
}

/// Witnesses that co-signed a checkpoint, of those named.
///
/// # Errors
/// [`NoteError::Signature`] when a line in the name of one of them does not hold.
pub fn cosigners<'a>(
    note: &SignedNote,
    witnesses: impl IntoIterator<Item = &'a WitnessKey>,
) -> Result<Vec<&'a str>, NoteError> {
    let mut names = Vec::new();
    for witness in witnesses {
        if note.cosigned_by(witness)?.is_some() {
            names.push(witness.name());
        }
    }
    Ok(names)
}
