//! Stories of the whole crate: evidence good and bad, real evidence, policies, roots.

mod bad_certificates;
mod bad_evidence;
mod cases;
mod policies;
pub(crate) mod real_evidence;
mod sample;
mod statement_vectors;
mod tdx_evidence;
pub(crate) mod tdx_world;
mod trust;
pub(crate) mod world;
