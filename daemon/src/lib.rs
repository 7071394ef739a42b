//! What both daemons are made of: configuration files, the node's identity and machine, the manifest in force, how the roster judges peers, crash
//! points, telemetry, what masks are made with, the words of audit records, and what their programs do around the service.

mod attester;
pub mod compute;
pub mod config;
pub mod crash;
pub mod disk;
pub mod manifest;
pub mod node;
pub mod own_rules;
pub mod peers;
pub mod program;
pub mod record;
mod roots;
pub mod starting;
pub mod strangers;
pub mod telemetry;
