//! A vendor and machines made of software: genuine layout and AMD's algorithms under a self-made root, so that laptops and
//! tests run exactly the verification that hardware's evidence runs.
//!
//! # Security
//! Simulated evidence proves nothing about hardware. It is accepted only under a policy that names the vendor's root in
//! `trust.dangerous_simulated_roots`, and its claims say so. A simulated machine's measurement is *declared*, not measured.

#[cfg(test)]
pub(crate) mod bad;
mod der;
mod machine;
pub(crate) mod revocation;
pub(crate) mod tdx;
mod vendor;

pub use machine::{SimulatedAttester, SimulatedMachine};
pub use tdx::{SimulatedTd, SimulatedTdxVendor, TdDeclaration};
pub use vendor::{ROOTS_FILE, SIGNING_KEY_FILE, SimulatedVendor, SimulationFault};
