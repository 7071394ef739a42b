//! consort-participant.

pub mod data;
