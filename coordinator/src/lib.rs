//! consort-coordinator.
