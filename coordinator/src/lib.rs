//! The coordinator: orchestrates jobs and rounds, stores before it acts, sums what it cannot read, and hands over models.
//!
//! Start with [`jobs`] (what a job is), then [`driver`] (what owns the machines), then [`api`] (who may say what). The rules of
//! a round are in `consort_round`.
//!
//! # Security
//! The coordinator is attested like everybody else and still not trusted: members verify its announcements, its plans, its
//! survivor sets and their peers' evidence themselves. It sees masked updates, and of each round one sum.

pub mod api;
pub mod config;
pub mod driver;
pub mod error;
mod init;
pub mod jobs;
pub mod manifest;
pub mod model_file;
pub mod recorder;
pub mod release;
mod report_file;
mod serve;
pub mod spool;
#[cfg(test)]
mod testing;

pub use config::Config;
pub use driver::CRASH_POINTS;
pub use error::ServeError;
pub use init::init;
pub use manifest::{Manifest, ManifestError, verify_manifest};
pub use serve::serve;
