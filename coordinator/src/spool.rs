//! One member's update while it arrives: chunks in order, over as many streams and processes as it takes, then the seal.
//!
//! The chunks lie in a spool of the blob store, which is no blob yet: nothing of it counts before every chunk is there, hashes to
//! the seal and is durable. What a chunk is recognised by, when it comes again, is its leaf in the tree that is sealed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consort_aggregation::{CHUNK_BYTES, ChunkTree, Digest, VectorSchema};
use consort_storage::{BlobError, BlobKey, BlobSpool, BlobStore, MARK_BYTES};

use crate::error::{Refusal, RefusalKind};

/// How often a member may send its whole vector in one attempt. With resumption one and a little is enough; a member that does
/// not resume is cut a few times before it is refused.
const WHOLE_VECTORS: u64 = 4;

/// Chunks on top, 16 MiB: each cut costs at most those in flight, and the smallest vectors need room for some cuts too.
const SPARE_CHUNKS: u64 = 64;

/// Bytes after which a spool goes to the disk: a power cut costs at most so many, and the sync at the end finds little to do.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;

/// An update that arrives.
pub struct Upload {
    blob: BlobKey,
    schema: VectorSchema,
    blobs: Arc<dyn BlobStore>,
    arriving: Mutex<Arriving>,
}

/// How far an update is; all of it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The chunk that is wanted next; as many as the vector has when only the seal is missing.
    pub next_chunk: u64,
    /// Bytes of chunks that are still taken in this attempt.
    pub bytes_left: u64,
}

/// Why a chunk or a seal was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The member's fault, or its moment was wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk failed.
    #[error(transparent)]
    Fault(BlobError),
}

struct Arriving {
    place: Place,
    /// Bytes of chunks in this attempt, repeated ones included.
    received: u64,
}

/// Where the chunks are.
enum Place {
    /// Perhaps on disk, from before a restart: nobody looked yet.
    Unknown,
    /// On their way.
    Spool {
        spool: Box<dyn BlobSpool>,
        /// Bytes that the spool had when it was last synced.
        synced: u64,
    },
    /// All there and durable.
    Blob { leaves: Vec<[u8; MARK_BYTES]> },
    /// The attempt is over for this member.
    Closed,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Upload({})", self.blob)
    }
}

impl Upload {
    /// An update that goes to this blob. Nothing is touched before it is first used.
    pub fn new(blobs: Arc<dyn BlobStore>, blob: BlobKey, schema: VectorSchema) -> Self {
        Self {
            blob,
            schema,
            blobs,
            arriving: Mutex::new(Arriving {
                place: Place::Unknown,
                received: 0,
            }),
        }
    }

    /// Makes durable what is there, and tells how far it is. Blocks.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn progress(&self) -> Result<Progress, UploadError> {
        let mut arriving = self.opened()?;
        if let Place::Spool { spool, synced } = &mut arriving.place {
            spool.sync().map_err(UploadError::Fault)?;
            *synced = spool.bytes();
        }
        Ok(Progress {
            next_chunk: arriving.leaves().len() as u64,
            bytes_left: self.budget().saturating_sub(arriving.received),
        })
    }

    /// Takes a chunk: the next one, or one that is there already with the same bytes. Blocks.
    ///
    /// # Errors
    /// [`UploadError`]; a refused chunk changes nothing but the bytes that are left.
    pub fn chunk(&self, index: u64, data: &[u8]) -> Result<(), UploadError> {
        let mut arriving = self.opened()?;
        let next = arriving.leaves().len() as u64;
        self.admit(index, data, next)?;
        let received = arriving.received.saturating_add(data.len() as u64);
        if received > self.budget() {
            return Err(self.over_budget());
        }
        arriving.received = received;
        let leaf = leaf(data);
        if index < next {
            return arriving.same(index, &leaf);
        }
        let Place::Spool { spool, synced } = &mut arriving.place else {
            return Err(closed());
        };
        spool.append(data, leaf).map_err(UploadError::Fault)?;
        if spool.bytes().saturating_sub(*synced) >= SYNC_BYTES {
            spool.sync().map_err(UploadError::Fault)?;
            *synced = spool.bytes();
        }
        Ok(())
    }

    /// Makes the update a durable blob if its chunks are all there and hash to what is sealed. A repeat changes nothing. Blocks.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn seal(&self, tree_hash: &Digest) -> Result<(), UploadError> {
        let mut arriving = self.opened()?;
        let leaves = arriving.leaves();
        let (have, need) = (leaves.len() as u64, self.chunks());
        if have != need {
            let message = format!("{have} of {need} chunks are here; go on with chunk {have}");
            return Err(refused(RefusalKind::Invalid, "update_incomplete", message));
        }
        // Rule C6.
        if tree_of(leaves) != *tree_hash {
            let message = "the chunks do not hash to what the seal says";
            return Err(refused(RefusalKind::Invalid, "update_tree_hash", message));
        }
        let leaves = leaves.to_vec();
        if let Place::Spool { spool, .. } =
            std::mem::replace(&mut arriving.place, Place::Blob { leaves })
        {
            spool.finish().map_err(UploadError::Fault)?;
        }
        Ok(())
    }

    /// Ends it for this member: what is spooled goes, and nothing is taken any more. A finished blob stays. Blocks.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    pub fn close(&self) -> Result<(), BlobError> {
        // The spool is dropped before its files are removed.
        self.lock().place = Place::Closed;
        self.blobs.remove_spool(&self.blob).map(drop)
    }

    /// A disk that takes no chunk for as long as this is held.
    #[cfg(test)]
    pub(crate) fn stall(&self) -> impl Drop + '_ {
        struct Stalled<'a>(
            #[expect(dead_code, reason = "held, not read")] MutexGuard<'a, Arriving>,
        );
        impl Drop for Stalled<'_> {
            fn drop(&mut self) {}
        }
        Stalled(self.lock())
    }

    /// What a member may send in one attempt, bytes.
    fn budget(&self) -> u64 {
        let spare = SPARE_CHUNKS.saturating_mul(CHUNK_BYTES as u64);
        let whole = self.schema.packed_len().saturating_mul(WHOLE_VECTORS);
        whole.saturating_add(spare)
    }

    fn over_budget(&self) -> UploadError {
        let message = format!(
            "more than {} bytes of chunks in one attempt; resume uploads with UploadStatus",
            self.budget()
        );
        refused(RefusalKind::Exhausted, "update_budget", message)
    }

    /// The chunks of the vector.
    fn chunks(&self) -> u64 {
        self.schema.packed_len().div_ceil(CHUNK_BYTES as u64)
    }

    /// The rules on one chunk that need nothing but the schema and the number of chunks that are there.
    fn admit(&self, index: u64, data: &[u8], next: u64) -> Result<(), UploadError> {
        if index > next {
            let message = format!("chunk {index} came where chunk {next} is expected");
            return Err(refused(RefusalKind::NotNow, "update_gap", message));
        }
        let first = index.saturating_mul(CHUNK_BYTES as u64);
        let due = self
            .schema
            .packed_len()
            .saturating_sub(first)
            .min(CHUNK_BYTES as u64);
        if due == 0 {
            let message = format!("the vector has {} chunks, from 0", self.chunks());
            return Err(refused(RefusalKind::Invalid, "update_too_long", message));
        }
        if data.len() as u64 != due {
            let message = format!("chunk {index} has {due} bytes");
            return Err(refused(
                RefusalKind::Invalid,
                "update_chunk_length",
                message,
            ));
        }
        let used = self.schema.elements() * u64::from(self.schema.width().bits()) % 8;
        let last = data.last().copied().unwrap_or_default();
        if index + 1 == self.chunks() && used != 0 && last >> used != 0 {
            let message = "the unused bits of the last byte must be zero";
            return Err(refused(RefusalKind::Invalid, "update_unused_bits", message));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arriving> {
        // Whatever panicked, the chunks are on disk with their marks.
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it, after looking at what a process before this one left.
    fn opened(&self) -> Result<MutexGuard<'_, Arriving>, UploadError> {
        let mut arriving = self.lock();
        match arriving.place {
            Place::Unknown => arriving.place = self.look().map_err(UploadError::Fault)?,
            Place::Closed => return Err(closed()),
            Place::Spool { .. } | Place::Blob { .. } => {}
        }
        Ok(arriving)
    }

    fn look(&self) -> Result<Place, BlobError> {
        loop {
            let spool = match self.blobs.spool(&self.blob, leaf) {
                Ok(spool) => spool,
                Err(BlobError::Exists { .. }) => {
                    let leaves = leaves_of(&*self.blobs, &self.blob)?;
                    return Ok(Place::Blob { leaves });
                }
                Err(error) => return Err(error),
            };
            let frames = spool.marks().len() as u64;
            let expected = frames
                .saturating_mul(CHUNK_BYTES as u64)
                .min(self.schema.packed_len());
            if frames <= self.chunks() && spool.bytes() == expected {
                let synced = spool.bytes();
                return Ok(Place::Spool { spool, synced });
            }
            // Not what this program spools; nothing of it was acknowledged by it.
            drop(spool);
            self.blobs.remove_spool(&self.blob)?;
        }
    }
}

impl Arriving {
    fn leaves(&self) -> &[[u8; MARK_BYTES]] {
        match &self.place {
            Place::Spool { spool, .. } => spool.marks(),
            Place::Blob { leaves } => leaves,
            Place::Unknown | Place::Closed => &[],
        }
    }

    /// A chunk that is there already must come with the same bytes: an update is frozen before its first byte leaves.
    fn same(&self, index: u64, leaf: &[u8; MARK_BYTES]) -> Result<(), UploadError> {
        let known = usize::try_from(index).ok();
        if known.and_then(|index| self.leaves().get(index)) == Some(leaf) {
            return Ok(());
        }
        let message =
            format!("chunk {index} came before with other bytes; an update does not change");
        Err(refused(
            RefusalKind::Conflict,
            "update_equivocation",
            message,
        ))
    }
}

fn leaf(chunk: &[u8]) -> [u8; MARK_BYTES] {
    *ChunkTree::leaf(chunk).as_bytes()
}

fn tree_of(leaves: &[[u8; MARK_BYTES]]) -> Digest {
    let mut tree = ChunkTree::new();
    leaves
        .iter()
        .for_each(|leaf| tree.push_leaf(Digest::new(*leaf)));
    tree.root()
}

/// The leaves of a finished blob, read chunk by chunk.
fn leaves_of(blobs: &dyn BlobStore, blob: &BlobKey) -> Result<Vec<[u8; MARK_BYTES]>, BlobError> {
    let mut leaves = Vec::new();
    blobs.read_pieces(blob, CHUNK_BYTES, &mut |chunk| leaves.push(leaf(chunk)))?;
    Ok(leaves)
}

fn refused(kind: RefusalKind, code: &'static str, message: impl ToString) -> UploadError {
    UploadError::Refused(Refusal::new(kind, code, message))
}

fn closed() -> UploadError {
    let message = "this attempt takes no update of this member any more";
    refused(RefusalKind::NotNow, "attempt_not_running", message)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
