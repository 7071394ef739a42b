//! What an organisation's participant reads from its own disk: its configuration, what it consents to, its data file, what its
//! machine has, and what it must remember of jobs.
//!
//! These are bytes that people, spreadsheets and earlier versions wrote, so each has a decoder in `decoders/`. What is done with
//! them is the participant's matter.

pub mod config;
pub mod consent;
pub mod control;
pub mod data;
pub mod premises;
pub mod state;
