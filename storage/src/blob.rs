//! The blob store: large immutable values, written in chunks and visible only when whole. What takes long to arrive is spooled:
//! its frames outlive the process that wrote them, and it goes on from there.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{InvalidName, StoreFault};

/// Longest blob key, in bytes: below the longest path of common file systems with room for the store's own folder.
pub const MAX_BLOB_KEY_BYTES: usize = 512;

/// Longest part of a blob key between two slashes, in bytes: below the 255 of common file systems.
const MAX_SEGMENT_BYTES: usize = 200;

/// Bytes of a frame's mark: a SHA-256.
pub const MARK_BYTES: usize = 32;

/// Longest frame of a spool, in bytes: four times the chunks of an update, so that a damaged record decides no allocation.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// What recognises a frame: a hash that the owner of the spool chooses, because it has it anyway.
pub type Mark = fn(&[u8]) -> [u8; MARK_BYTES];

/// Large immutable values under validated keys.
pub trait BlobStore: Send + Sync {
    /// Starts to write a blob. Nothing is visible before [`BlobWriter::finish`]; dropping the writer, or dying with it,
    /// leaves no trace.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if the key is taken, [`BlobError::Fault`] if the disk fails.
    fn begin(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// Starts to spool a blob, or goes on with what was spooled before, by this process or by one that died. Frames that are not
    /// what their mark says, and all after them, are dropped: a power cut has torn them.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if the key is taken, [`BlobError::Spooling`] while another spool of the key is open,
    /// [`BlobError::Fault`] if the disk fails.
    fn spool(&self, key: &BlobKey, mark: Mark) -> Result<Box<dyn BlobSpool>, BlobError>;

    /// Removes what was spooled and not finished; false if there was nothing.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn remove_spool(&self, key: &BlobKey) -> Result<bool, BlobError>;

    /// The spools whose key starts with `prefix`, in byte order.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn spools(&self, prefix: &str) -> Result<Vec<BlobKey>, BlobError>;

    /// Opens a finished blob.
    ///
    /// # Errors
    /// [`BlobError::Missing`] if there is none, [`BlobError::Fault`] if the disk fails.
    fn open(&self, key: &BlobKey) -> Result<Box<dyn BlobReader>, BlobError>;

    /// The length of a finished blob in bytes, if there is one.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn length(&self, key: &BlobKey) -> Result<Option<u64>, BlobError>;

    /// Removes a blob; false if there was none.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn remove(&self, key: &BlobKey) -> Result<bool, BlobError>;

    /// The finished blobs whose key starts with `prefix`, in byte order.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn list(&self, prefix: &str) -> Result<Vec<BlobKey>, BlobError>;

    /// Reads a whole blob of at most `max_bytes`.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::TooLarge`] before anything is read, [`BlobError::Fault`] if the disk fails.
    fn read(&self, key: &BlobKey, max_bytes: u64) -> Result<Vec<u8>, BlobError> {
        let length = self
            .length(key)?
            .ok_or_else(|| BlobError::Missing { key: key.clone() })?;
        if length > max_bytes {
            return Err(BlobError::TooLarge {
                key: key.clone(),
                bytes: length,
                max_bytes,
            });
        }
        let mut bytes = Vec::new();
        let reading = self.open(key)?.take(max_bytes).read_to_end(&mut bytes);
        reading.map_err(crate::error::io_fault("reading a blob"))?;
        Ok(bytes)
    }

    /// Fills the buffer with the bytes of a finished blob from `first_byte` on. Nothing stays open.
    ///
    /// # Errors
    /// [`BlobError::Missing`] if there is none, [`BlobError::Fault`] if the disk fails or the blob ends before the buffer.
    fn read_at(&self, key: &BlobKey, first_byte: u64, buffer: &mut [u8]) -> Result<(), BlobError> {
        let mut reader = self.open(key)?;
        let reading = reader
            .seek(SeekFrom::Start(first_byte))
            .and_then(|_| reader.read_exact(buffer));
        reading.map_err(crate::error::io_fault("reading a part of a blob"))?;
        Ok(())
    }

    /// Reads a finished blob through one buffer, in pieces of `piece_bytes`, the last one shorter; returns its length in bytes.
    ///
    /// # Errors
    /// [`BlobError::Missing`] if there is none, [`BlobError::Fault`] if the disk fails.
    fn read_pieces(
        &self,
        key: &BlobKey,
        piece_bytes: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, BlobError> {
        let mut reader = self.open(key)?;
        let mut piece = Vec::with_capacity(piece_bytes);
        let mut bytes = 0_u64;
        while next_piece(&mut *reader, piece_bytes as u64, &mut piece)? {
            bytes = bytes.saturating_add(piece.len() as u64);
            each(&piece);
        }
        Ok(bytes)
    }
}

/// Reads one piece into the buffer; false at the end.
fn next_piece(
    reader: &mut dyn BlobReader,
    piece_bytes: u64,
    piece: &mut Vec<u8>,
) -> Result<bool, BlobError> {
    piece.clear();
    let reading = reader.take(piece_bytes).read_to_end(piece);
    reading.map_err(crate::error::io_fault("reading a blob"))?;
    Ok(!piece.is_empty())
}

/// A blob that is being written.
pub trait BlobWriter: Send {
    /// Adds a chunk at the end; returns the bytes written so far.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails; the blob is then lost, and later calls fail too.
    fn write(&mut self, chunk: &[u8]) -> Result<u64, BlobError>;

    /// Makes the blob durable and visible; returns its length in bytes.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if another writer finished this key first, [`BlobError::Fault`] if the disk fails.
    fn finish(self: Box<Self>) -> Result<u64, BlobError>;
}

/// A blob that arrives in frames, perhaps over several processes. Dropping it keeps what was appended.
pub trait BlobSpool: Send {
    /// The marks of the frames that are there, in order.
    fn marks(&self) -> &[[u8; MARK_BYTES]];

    /// Bytes of the frames that are there.
    fn bytes(&self) -> u64;

    /// Adds a frame of 1 to [`MAX_FRAME_BYTES`] at the end, with its mark. It is not durable before [`BlobSpool::sync`].
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails; later calls fail too.
    fn append(&mut self, frame: &[u8], mark: [u8; MARK_BYTES]) -> Result<(), BlobError>;

    /// Makes every frame durable, so that it may be acknowledged.
    ///
    /// # Errors
    /// [`BlobError::Fault`] if the disk fails.
    fn sync(&mut self) -> Result<(), BlobError>;

    /// Makes the blob durable and visible; returns its length in bytes.
    ///
    /// # Errors
    /// [`BlobError::Exists`] if another writer finished this key first, [`BlobError::Missing`] if the spool was removed meanwhile,
    /// [`BlobError::Fault`] if the disk fails.
    fn finish(self: Box<Self>) -> Result<u64, BlobError>;
}

/// Reads a finished blob from any place.
pub trait BlobReader: Read + Seek + Send {}

impl<T: Read + Seek + Send> BlobReader for T {}

/// The name of a blob: parts of letters, digits, `-`, `_` and `.` between slashes, such as `upload/job-1/3/clinic-a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// Accepts parts that do not start or end with a dot, so that no key leaves the store's folder or meets its own files.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule that is broken.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidName> {
        let key = key.into();
        let refuse = |reason| {
            Err(InvalidName {
                kind: "blob key",
                reason,
            })
        };
        if key.len() > MAX_BLOB_KEY_BYTES {
            return refuse("it is too long");
        }
        for segment in key.split('/') {
            if segment.is_empty() {
                return refuse("a part of it is empty");
            }
            if segment.len() > MAX_SEGMENT_BYTES {
                return refuse("a part of it is too long");
            }
            if !segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                return refuse(
                    "it holds something else than letters, digits, '-', '_', '.' and '/'",
                );
            }
            if segment.starts_with('.') || segment.ends_with('.') {
                return refuse("a part of it starts or ends with a dot");
            }
        }
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A blob was not written, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The key is taken; blobs do not change.
    #[error("blob {key} exists; blobs do not change")]
    Exists {
        /// The blob.
        key: BlobKey,
    },
    /// There is no such blob.
    #[error("there is no blob {key}")]
    Missing {
        /// The blob.
        key: BlobKey,
    },
    /// Another spool of this key is open; two would mix their frames.
    #[error("blob {key} is being spooled already")]
    Spooling {
        /// The blob.
        key: BlobKey,
    },
    /// The blob is larger than the caller allows.
    #[error("blob {key} has {bytes} bytes, at most {max_bytes} are read here")]
    TooLarge {
        /// The blob.
        key: BlobKey,
        /// Its length.
        bytes: u64,
        /// What the caller allows.
        max_bytes: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] StoreFault),
}

impl BlobError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "blob_exists",
            Self::Missing { .. } => "blob_missing",
            Self::Spooling { .. } => "blob_spooling",
            Self::TooLarge { .. } => "blob_too_large",
            Self::Fault(fault) => fault.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_leave_the_folder_is_refused() {
        let long_part = "a".repeat(MAX_SEGMENT_BYTES + 1);
        let long_key = "a/".repeat(MAX_BLOB_KEY_BYTES);
        for refused in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "../a",
            "a/../b",
            ".",
            "a/./b",
            ".hidden",
            "a.",
            "a\\b",
            "a b",
            "a\0b",
            "ä",
            "C:x",
            &long_part,
            &long_key,
        ] {
            assert!(BlobKey::new(refused).is_err(), "{refused:?} was accepted");
        }
        for accepted in [
            "a",
            "upload/job-1/3/clinic-a",
            "model/v1.safetensors",
            "A_b.c",
        ] {
            assert!(BlobKey::new(accepted).is_ok(), "{accepted:?} was refused");
        }
    }
}
