//! Accountants: what releases cost together. All are ours, pure, and checked against known answers.
//!
//! - [`gaussian`]: exact for any number of full-batch Gaussian releases; the accountant of record there.
//! - [`pld`]: privacy loss distributions, an upper bound within a thousandth, also for Poisson-sampled batches.
//! - [`rdp`]: Rényi divergence at integer orders, a bound that is looser and of another making.

pub(crate) mod gaussian;
pub(crate) mod mills;
pub(crate) mod parts;
pub(crate) mod pld;
pub(crate) mod rdp;
mod replace;
