//! Seals content chunk by chunk.

use std::io::{Read, Write};

use zeroize::Zeroizing;

use super::header::Header;
use super::{CHUNK_BYTES, SealedDataError, TAG_BYTES};
use crate::data_key::{DataKey, KeyName};

/// Seals what `plain` holds as the data set that `name` is for. Holds one chunk in memory, however long the content is.
///
/// # Errors
/// [`SealedDataError::Io`] and [`SealedDataError::TooLong`]. What was written by then is no sealed data set: it does not open.
pub fn seal(
    mut plain: impl Read,
    mut out: impl Write,
    key: &DataKey,
    name: &KeyName,
) -> Result<(), SealedDataError> {
    let (header, keys) = Header::new(key, name);
    out.write_all(&header.framed())?;
    let mut stream = keys.encryptor();
    let mut buffer = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES));
    loop {
        buffer.clear();
        plain
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut buffer)?;
        // A chunk that is not full is the last: content of whole chunks ends with an empty one.
        if buffer.len() < CHUNK_BYTES {
            stream
                .encrypt_last_in_place(&[], &mut *buffer)
                .map_err(|_| SealedDataError::TooLong)?;
            out.write_all(&buffer)?;
            out.flush()?;
            return Ok(());
        }
        stream
            .encrypt_next_in_place(&[], &mut *buffer)
            .map_err(|_| SealedDataError::TooLong)?;
        out.write_all(&buffer)?;
    }
}
