//! The protocol's rules: each kept once and broken once, over whole cohorts in one process.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets anything else fails at once"
)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod cluster;
mod dropouts;
mod hostile_coordinator;
mod hostile_member;
mod matrix;
mod sparse;
