//! Composition: the loss of a sum of steps, as the power of a Fourier transform, with a bound on its rounding.
//!
//! Each table is tilted and divided by its sum M(λ), wrapped around a window of N cells, transformed, raised to its number
//! of steps, multiplied with the others, and transformed back. With K = Σ steps·ln M(λ) the composed mass at loss l is the
//! tilted mass there times e^{K − λl}. All that is lost on the way is added again:
//!
//! - what wraps around is positive, so it only adds;
//! - what lies above the window counts as infinite, by the Chernoff bound e^{K(λ') − λ'·top};
//! - rounding: a transform of N = 2^m points changes a vector by at most m·η of its Euclidean norm (Higham, Accuracy and
//!   Stability, 2nd edition, theorem 24.2; η = 10u covers its constant). An error E in a transform becomes at most
//!   steps·|P|^{steps−1}·|E| in the power, and with Cauchy and Schwarz each composed mass is off by at most
//!   steps·mη·‖p‖·‖P^{steps−1}‖/√N; multiplications add 3u each, the way back mη·‖P^steps‖/√N. Each mass is raised by the
//!   sum of these bounds.
//!
//! Since the tilt brings the masses that matter to the middle, that raise is of the order steps·1e-14 of them, whatever δ.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use super::PldRefused;
use super::saddle::Saddle;
use super::table::{MAX_CELLS, Table};

/// Epsilon is raised by this share at the end. Rounding moves mass within its cell, by about u of each loss; over T steps that
/// is √T·u of epsilon, 1e-12 for the most steps there are.
const UPWARD: f64 = 1e-9;

/// u: half the distance from 1 to the next float.
const UNIT: f64 = f64::EPSILON / 2.0;

/// The least epsilon that the composed losses satisfy with delta. Never below the true one.
pub(super) fn epsilon(
    parts: &[(Table, u32)],
    grid: f64,
    saddle: &Saddle,
    delta: f64,
) -> Result<f64, PldRefused> {
    let window = Window::new(parts, grid, saddle)?;
    let composed = window.compose(parts, grid, saddle.tilt);
    // ln of the composed mass at the window's middle, where its tilted mass is 1.
    let middle = window.middle(grid, saddle);
    let scale = composed.ln_total - saddle.tilt * middle;
    let infinite: f64 = parts
        .iter()
        .map(|(table, steps)| f64::from(*steps) * table.infinite)
        .sum();
    let above = window.above(parts, grid, saddle.tilt + saddle.beyond);
    let left = delta - infinite - above;
    if left <= 0.0 {
        return Err(PldRefused::TableTooLarge);
    }
    let epsilon = window.solve(&composed, grid, saddle.tilt, middle, left.ln() - scale);
    Ok(epsilon * (1.0 + UPWARD))
}

/// The cells of the composed loss that are kept.
struct Window {
    /// Index of the first cell.
    first: i64,
    /// A power of two.
    count: usize,
    /// Index at which all parts together begin.
    origin: i64,
    /// The greatest index that all parts together reach.
    end: i64,
}

/// Tilted masses of the window, each rounded up.
struct Composed {
    masses: Vec<f64>,
    ln_total: f64,
}

impl Window {
    fn new(parts: &[(Table, u32)], grid: f64, saddle: &Saddle) -> Result<Self, PldRefused> {
        let (mut origin, mut end) = (0_i64, 0_i64);
        for (table, steps) in parts {
            let last = i64::try_from(table.masses.len())
                .ok()
                .and_then(|count| (count - 1).checked_add(table.first));
            let times = |index: i64| index.checked_mul((*steps).into());
            let (from, to) = (times(table.first), last.and_then(times));
            origin = from
                .and_then(|from| origin.checked_add(from))
                .ok_or(PldRefused::TableTooLarge)?;
            end = to
                .and_then(|to| end.checked_add(to))
                .ok_or(PldRefused::TableTooLarge)?;
        }
        // The clouds that chose the window are not the tables: some more on both sides, and room for what connecting the dots
        // adds, whose deviation is at most half a cell a step.
        let steps: f64 = parts.iter().map(|(_, steps)| f64::from(*steps)).sum();
        let room = 8.0 + 0.05 * (saddle.high - saddle.low) / grid + 4.0 * steps.sqrt();
        let first = index(saddle.low / grid - room)?.max(origin);
        let last = index(saddle.high / grid + room)?.min(end).max(first);
        let wanted = u64::try_from(last - first)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        if wanted > MAX_CELLS {
            return Err(PldRefused::TableTooLarge);
        }
        let count =
            usize::try_from(wanted.next_power_of_two()).map_err(|_| PldRefused::TableTooLarge)?;
        Ok(Self {
            first,
            count,
            origin,
            end,
        })
    }

    fn middle(&self, grid: f64, saddle: &Saddle) -> f64 {
        (saddle.mean / grid).round() * grid
    }

    /// Composed mass above the window, at most.
    fn above(&self, parts: &[(Table, u32)], grid: f64, tilt: f64) -> f64 {
        let top = self.first + self.count as i64;
        if top > self.end {
            return 0.0;
        }
        let ln_total: f64 = parts
            .iter()
            .map(|(table, steps)| f64::from(*steps) * table.tilted(grid, tilt).1)
            .sum();
        (ln_total - tilt * top as f64 * grid).exp()
    }

    fn compose(&self, parts: &[(Table, u32)], grid: f64, tilt: f64) -> Composed {
        let root = (self.count as f64).sqrt();
        let transform_error = 10.0 * UNIT * (self.count as f64).log2().max(1.0);
        let mut planner = FftPlanner::new();
        let forward = planner.plan_fft_forward(self.count);
        let mut spectrum = vec![Complex::new(1.0, 0.0); self.count];
        let (mut ln_total, mut raise, mut products) = (0.0, 0.0, 0.0);
        for (table, steps) in parts {
            let (tilted, ln_sum) = table.tilted(grid, tilt);
            ln_total += f64::from(*steps) * ln_sum;
            let mut wrapped = vec![Complex::new(0.0, 0.0); self.count];
            for (place, mass) in tilted.into_iter().enumerate() {
                // A power of two: the mask is the remainder.
                wrapped[place & (self.count - 1)].re += mass;
            }
            let norm = wrapped
                .iter()
                .map(|mass| mass.re * mass.re)
                .sum::<f64>()
                .sqrt();
            forward.process(&mut wrapped);
            let mut slope = 0.0;
            for (product, factor) in spectrum.iter_mut().zip(&wrapped) {
                let less = power(*factor, *steps - 1);
                slope += less.norm_sqr();
                *product *= less * factor;
            }
            raise += f64::from(*steps) * transform_error * norm * slope.sqrt() / root;
            products += f64::from(*steps) + 1.0;
        }
        let size = spectrum.iter().map(Complex::norm_sqr).sum::<f64>().sqrt();
        raise += (3.0 * UNIT * products + transform_error) * size / root;
        planner.plan_fft_inverse(self.count).process(&mut spectrum);
        // Cell J of the composition is at J − origin, around the circle.
        let count = self.count as i64;
        let turn = usize::try_from((self.first - self.origin).rem_euclid(count)).unwrap_or(0);
        let masses = (0..self.count).map(|place| {
            let mass = spectrum[(place + turn) & (self.count - 1)].re / self.count as f64;
            mass.max(0.0) + raise
        });
        Composed {
            masses: masses.collect(),
            ln_total,
        }
    }

    /// The least epsilon with δ(ε) ≤ e^`ln_left`, in units in which a tilted mass of 1 at `middle` is 1.
    ///
    /// From the top: with v the masses above dot j, each divided by the tilt's e^{−λl} at the dot,
    /// C = Σ v·e^{−(l − l_j)} and D = Σ v·(1 − e^{−(l − l_{j−1})}) = δ(l_{j−1}). Both recursions only add.
    fn solve(&self, composed: &Composed, grid: f64, tilt: f64, middle: f64, ln_left: f64) -> f64 {
        let (fall, less) = ((-grid).exp(), -(-grid).exp_m1());
        let tilt_fall = (-tilt * grid).exp();
        let (mut c, mut d) = (0.0, 0.0);
        for (place, mass) in composed.masses.iter().enumerate().rev() {
            d = tilt_fall * (d + fall * less * c) + less * mass;
            c = tilt_fall * fall * c + mass;
            if d.is_nan() {
                return f64::INFINITY;
            }
            let loss = (self.first + place as i64) as f64 * grid;
            let ln_target = ln_left + tilt * (loss - middle);
            if d.ln() >= ln_target {
                // Between two dots δ(ε) = D − e^{−h}·C·(e^x − 1), x from the lower one.
                let x = ((d - ln_target.exp()) / (fall * c)).ln_1p();
                return (loss - grid + x).max(0.0);
            }
            if loss <= 0.0 {
                return 0.0;
            }
        }
        // Everything at or above the window's first cell satisfies delta: its lower end does.
        ((self.first - 1) as f64 * grid).max(0.0)
    }
}

impl Table {
    /// Masses times e^{λl}, scaled to the sum 1, and ln of what they were divided by.
    fn tilted(&self, grid: f64, tilt: f64) -> (Vec<f64>, f64) {
        let exponent = |place: usize| tilt * (self.first + place as i64) as f64 * grid;
        let top = if tilt < 0.0 { 0 } else { self.masses.len() - 1 };
        // The greatest term, so that the sum neither overflows nor vanishes.
        let highest = self
            .masses
            .iter()
            .enumerate()
            .filter(|(_, mass)| **mass > 0.0);
        let highest = highest
            .map(|(place, mass)| exponent(place) + mass.ln())
            .fold(f64::NEG_INFINITY, f64::max);
        if highest == f64::NEG_INFINITY {
            return (self.masses.clone(), exponent(top));
        }
        let mut masses: Vec<f64> = self
            .masses
            .iter()
            .enumerate()
            .map(|(place, mass)| mass * (exponent(place) - highest).exp())
            .collect();
        let sum: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|mass| *mass /= sum);
        (masses, highest + sum.ln())
    }
}

/// z^n by squaring: at most 2·log2(n) products, whose errors of 3u each grow to 3u·n.
fn power(base: Complex<f64>, exponent: u32) -> Complex<f64> {
    let (mut square, mut left) = (base, exponent);
    let mut result = Complex::new(1.0, 0.0);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn index(cells: f64) -> Result<i64, PldRefused> {
    if cells.abs() < (1_u64 << 52) as f64 {
        Ok(cells.round() as i64)
    } else {
        Err(PldRefused::TableTooLarge)
    }
}
