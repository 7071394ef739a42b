//! What a daemon keeps on disk: an event store with small records beside it, and a store of large immutable blobs.
//!
//! Both are traits with one law each (the suites in `tests/`), so that an implementation for many machines can join
//! the embedded one. Everything here blocks; a daemon calls it from a thread that may.

mod blob;
mod embedded;
mod error;
mod event;
mod files;
mod memory;
mod record;

pub use blob::{
    BlobError, BlobKey, BlobReader, BlobSpool, BlobStore, BlobWriter, MARK_BYTES,
    MAX_BLOB_KEY_BYTES, MAX_FRAME_BYTES, Mark,
};
pub use embedded::EmbeddedStore;
pub use error::{InvalidName, OpenError, StoreFault};
pub use event::{
    AppendError, EventStore, MAX_EVENT_BYTES, MAX_STREAM_ID_BYTES, StoredEvent, StreamId, Version,
};
pub use files::{LocalBlobs, spooled_frames};
pub use memory::MemoryStore;
pub use record::{
    MAX_COLLECTION_BYTES, MAX_RECORD_BYTES, MAX_RECORD_KEY_BYTES, RecordChange, RecordError,
    RecordKey, RecordStore,
};
