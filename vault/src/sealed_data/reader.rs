//! Opens content chunk by chunk.

use std::io::Read;

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::stream::DecryptorBE32;
use zeroize::Zeroizing;

use super::header::Header;
use super::{CHUNK_BYTES, SealedDataError, TAG_BYTES};
use crate::data_key::DataKey;

/// Opens a sealed data set whose header was read. One chunk is in memory at a time, and none is given out that does not open.
pub struct Reader<R> {
    from: R,
    stream: Option<DecryptorBE32<ChaCha20Poly1305>>,
    buffer: Zeroizing<Vec<u8>>,
    chunk: u64,
}

impl<R: Read> Reader<R> {
    /// Goes on behind a header with the key that it names.
    ///
    /// # Errors
    /// [`SealedDataError::WrongKey`].
    pub fn new(from: R, header: &Header, key: &DataKey) -> Result<Self, SealedDataError> {
        Ok(Self {
            from,
            stream: Some(header.keys(key)?.decryptor()),
            buffer: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES)),
            chunk: 0,
        })
    }

    /// The next chunk's content; none behind the last one.
    ///
    /// # Errors
    /// [`SealedDataError::Chunk`] when the file was cut, reordered or changed, [`SealedDataError::Io`] when the disk failed. Nothing
    /// more is given out after either.
    ///
    /// # Security
    /// What was given out before an error is true and not whole: a caller that needs all of it throws it away.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, SealedDataError> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(None);
        };
        let whole = CHUNK_BYTES + TAG_BYTES;
        self.buffer.clear();
        self.from
            .by_ref()
            .take(whole as u64)
            .read_to_end(&mut self.buffer)?;
        let refused = SealedDataError::Chunk(self.chunk);
        if self.buffer.len() < whole {
            if stream
                .decrypt_last_in_place(&[], &mut *self.buffer)
                .is_err()
            {
                return Err(refused);
            }
        } else {
            if stream
                .decrypt_next_in_place(&[], &mut *self.buffer)
                .is_err()
            {
                return Err(refused);
            }
            self.stream = Some(stream);
        }
        self.chunk += 1;
        Ok(Some(&self.buffer))
    }

    /// All of the content, in memory that is zeroised. `capacity` is what is expected: the memory is taken once, so that no part
    /// is left behind where it grew.
    ///
    /// # Errors
    /// As [`Reader::next_chunk`]; [`SealedDataError::Io`] also for more than this machine has memory for.
    pub fn read_all(mut self, capacity: usize) -> Result<Zeroizing<Vec<u8>>, SealedDataError> {
        let mut all = with_room(capacity)?;
        while let Some(chunk) = self.next_chunk()? {
            grow_without_a_trace(&mut all, chunk.len())?;
            all.extend_from_slice(chunk);
        }
        Ok(all)
    }
}

/// `Vec` itself would free its old memory as it is.
fn grow_without_a_trace(all: &mut Zeroizing<Vec<u8>>, more: usize) -> Result<(), SealedDataError> {
    if all.capacity() - all.len() < more {
        let mut larger = with_room(all.len().saturating_mul(2).max(all.len() + more))?;
        larger.extend_from_slice(all);
        *all = larger;
    }
    Ok(())
}

/// How much it is comes from outside, a file's length: it must not end the process.
fn with_room(bytes: usize) -> Result<Zeroizing<Vec<u8>>, SealedDataError> {
    let mut empty = Vec::new();
    empty.try_reserve_exact(bytes).map_err(|_| {
        let problem = "it is too large for this machine's memory; divide it into several files";
        std::io::Error::new(std::io::ErrorKind::OutOfMemory, problem)
    })?;
    Ok(Zeroizing::new(empty))
}
