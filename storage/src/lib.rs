//! consort-storage.
