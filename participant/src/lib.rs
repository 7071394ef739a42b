//! The participant daemon: trains on this organisation's records, and lets nothing leave but votes and masked updates.
//!
//! Start with [`agent`], which decides what is answered, then [`consent`] and [`ledger`], which may say no.

pub mod agent;
pub mod config;
pub mod consent;
pub mod data;
pub mod ledger;
pub mod state;
pub mod trainer;
