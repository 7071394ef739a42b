//! What follows from a job: noise, grid, width, and what each coalition would learn. Computed once, checked by everybody.

use consort_aggregation::Width;

/// The numbers of a contract that its author does not choose.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Noise multiplier: standard deviation of the noise that counts, in units of the clip norm C.
    pub sigma: f64,
    /// g: one unit of the clip norm is 2^g on the integer grid.
    pub grid_bits: u8,
    /// σ_i²: variance of one member's noise, in grid units squared.
    pub member_variance: u128,
    /// ν: bound on one member's noise, in grid units.
    pub noise_bound: u64,
    /// w: width of an element, bits.
    pub width: Width,
    /// Epsilon against the coordinator with c_noise colluders.
    pub epsilon: f64,
    /// Epsilon against the coordinator with k colluders, k from 0.
    pub epsilon_by_coalition: Vec<f64>,
    /// Epsilon by Rényi accounting.
    pub epsilon_rdp: f64,
}
