//! The participant daemon: trains on this organisation's records, and lets nothing leave but votes and masked updates.
//!
//! Start with [`agent`], which decides what is answered, then [`consent`] and [`ledger`], which may say no.

pub mod agent;
pub mod consent;
mod error;
mod kept;
pub mod keys;
pub mod ledger;
mod loopback;
mod randomness;
mod roster;
mod serve;
mod state_key;
pub mod trainer;
pub mod uplink;

#[cfg(test)]
mod test_world;

pub use config::Config;
pub use consort_site::{config, data, premises, state};
pub use error::ParticipantError;
pub use kept::{WitnessedLog, open_ledger, reseal, split_views, state_key, witnessed_log};
pub use loopback::{LoopbackAddress, NotLoopback, serve_loopback};
pub use roster::{init, sign_manifest, sign_roster};
pub use serve::{CRASH_POINTS, serve};
