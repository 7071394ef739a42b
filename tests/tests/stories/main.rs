//! Stories of whole consortia: real processes, real sockets, real files.
#![expect(
    clippy::unwrap_used,
    reason = "the stories' helpers are tests too, and a panic is how a test fails"
)]

mod bad_input;
mod by_hand;
mod clients;
mod consortium;
mod crash;
mod demo;
mod evidence;
mod handed_out;
mod key_replay;
mod manifest;
mod program;
mod refusals;
mod sealed_data;
mod state_key;
mod statistics;
mod targets;
mod uplink;
mod witnesses;
