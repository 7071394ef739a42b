//! An organisation's key broker: it hands a data key to that organisation's own participant, once a machine has proven itself for
//! this one release and the organisations have approved the job. The coordinator can only ask, and is not let in.
//!
//! Start with [`rule`], which is the list of what must hold, then `release`, which is the order in which it is done.

mod broker;
mod budget;
pub mod config;
mod error;
mod gate;
mod init;
mod journal;
mod keys;
mod kms;
mod nonces;
mod release;
pub mod rule;
mod serve;
mod service;
mod state_release;
mod wrapping;

#[cfg(test)]
mod test_world;

pub use broker::Broker;
pub use config::Config;
pub use error::BrokerError;
pub use init::{init, newest_key, rewrap, rotate};
pub use keys::{KeyFault, KeyStore, LockedKeys, StoredVersion};
pub use kms::KmsFault;
pub use release::{NotReleased, ReleaseFault};
pub use serve::{CRASH_POINTS, serve};
pub use wrapping::{OrganisationKeys, Wrapped, WrappingFault};
