//! Accountants: what releases cost together. Both are ours, pure, and checked against known answers.
//!
//! - [`gaussian`]: exact for any number of full-batch Gaussian releases; the accountant of record there.
//! - [`rdp`]: Rényi divergence at integer orders, also for Poisson-sampled batches; reported beside the exact one.

pub(crate) mod gaussian;
pub(crate) mod mills;
pub(crate) mod rdp;
