//! A data set under a data key: a header that says under which key and which data set it is, then the content in chunks.
//!
//! ```text
//! length of the header, 4 bytes big-endian
//! header     canonical: consort/data/sealed/v1, key id, version, data set, salt of 32 bytes, commitment of 32 bytes
//! chunks     64 KiB of content each and a tag of 16 bytes; the last one is shorter, or empty
//! ```
//! The payload key and the commitment are HKDF-SHA256 (RFC 5869) of the data key under the salt, about everything else in the
//! header: a wrong key, another data set or a changed header is noticed before a chunk is opened, and a file opens under one
//! key only. The chunks are the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015, ePrint 2015/189) over
//! ChaCha20-Poly1305: a cut, reordered, repeated or changed chunk does not open. Each file has a payload key of its own, so the
//! nonce's prefix is zero.

mod error;
mod header;
mod reader;
mod writer;

pub use error::SealedDataError;
pub use header::{Header, MAX_HEADER_BYTES};
pub use reader::Reader;
pub use writer::seal;

/// Content of a chunk, bytes: the memory that sealing and opening take, and little overhead.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a chunk's tag.
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests;
