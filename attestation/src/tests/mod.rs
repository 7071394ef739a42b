//! Stories of the whole crate: evidence good and bad, real evidence, policies.

mod bad_certificates;
mod bad_evidence;
mod policies;
mod real_evidence;
pub(crate) mod world;
