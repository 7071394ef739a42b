//! The participant daemon: trains on this organisation's records, and lets nothing leave but votes and masked updates.
//!
//! Start with [`agent`], which decides what is answered, then [`consent`] and [`ledger`], which may say no.

pub mod agent;
pub mod consent;
mod error;
pub mod keys;
pub mod ledger;
mod loopback;
mod randomness;
mod roster;
mod serve;
pub mod trainer;
pub mod uplink;

#[cfg(test)]
mod test_world;

pub use config::Config;
pub use consort_site::{config, data, premises, state};
pub use error::ParticipantError;
pub use loopback::{LoopbackAddress, NotLoopback, serve_loopback};
pub use roster::{init, sign_manifest, sign_roster};
pub use serve::{CRASH_POINTS, WitnessedLog, open_ledger, serve, split_views, witnessed_log};
