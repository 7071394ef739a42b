//! What both daemons are made of: configuration files, the node's identity and machine, how the roster judges peers, crash
//! points, telemetry, and errors as gRPC says them.

pub mod config;
pub mod crash;
pub mod errors;
pub mod node;
pub mod peers;
pub mod telemetry;
