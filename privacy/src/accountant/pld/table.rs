//! Connect the dots: a privacy loss distribution on a grid that is at least as bad as the true one (Doroshenko, Ghazi,
//! Kamath, Kumar and Manurangsi, PoPETs 2022, algorithm 1).
//!
//! The paper gives the masses by second differences of the hockey-stick divergence, which lose half of the digits on a fine
//! grid. The same masses come without any cancellation from where each loss lies: what P has at a loss l between grid
//! points a < b is split between the two so that the mass of P and the mass of Q = P·e^−l both stay,
//!
//! ```text
//! to b: (1 − e^(a−l))/(1 − e^(a−b)),   to a: the rest.
//! ```
//!
//! That interpolates the divergence linearly in e^ε between the dots, which is what connecting them means; the divergence is
//! convex in e^ε, so the chord lies above it. Losses below the first dot are lifted to it, losses past the last are infinite.

use super::PldRefused;
use super::pair::Pair;

/// Most cells of a table and of a composition: 64 MiB for a transform.
pub(super) const MAX_CELLS: u64 = 1 << 22;

/// Mass is rounded up by this share in each step: more than the error of the quadrature (1e-13) and of the functions in it.
const UPWARD: f64 = 1e-12;

/// How finely a cloud follows the loss, per standard deviation of the noise.
const CLOUD_FINENESS: f64 = 8.0;

/// One way a step may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Gaussian noise.
    Pair(Pair),
    /// Discrete Gaussian noise on the integers, of deviation `sigma`, where a record moves the sum by `shift` (Canonne,
    /// Kamath and Steinke 2020, definition 1).
    Discrete {
        /// The parameter of the distribution.
        sigma: f64,
        /// Whole units.
        shift: u32,
    },
}

/// Shapes with their probabilities: which way a step goes is known to the adversary, so losses are mixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source(Vec<(f64, Shape)>);

/// A loss distribution on the multiples of a grid.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The first mass lies at `first` times the grid.
    pub(super) first: i64,
    pub(super) masses: Vec<f64>,
    /// Mass of infinite loss.
    pub(super) infinite: f64,
}

/// A loss distribution as scattered points, to find out where things lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Cloud {
    pub(super) losses: Vec<f64>,
    pub(super) ln_masses: Vec<f64>,
}

impl Source {
    pub(crate) fn one(shape: Shape) -> Self {
        Self(vec![(1.0, shape)])
    }

    /// The first with this probability, else the second.
    pub(crate) fn either(probability: f64, first: Shape, second: Shape) -> Self {
        let both = [(probability, first), (1.0 - probability, second)];
        Self(
            both.into_iter()
                .filter(|(weight, _)| *weight > 0.0)
                .collect(),
        )
    }

    /// The table on a grid. At most `high_tail` of the mass becomes infinite.
    pub(crate) fn table(&self, grid: f64, high_tail: f64) -> Result<Table, PldRefused> {
        let mut first = i64::MAX;
        let mut last = i64::MIN;
        for (_, shape) in &self.0 {
            let (low, high) = shape.losses(high_tail)?;
            first = first.min(cell(low, grid)?);
            last = last.max(cell(high, grid)?);
        }
        let mut table = Table {
            first,
            masses: vec![0.0; cells(first, last)?],
            infinite: 0.0,
        };
        for (weight, shape) in &self.0 {
            shape.fill(*weight, grid, high_tail, &mut table)?;
        }
        let up = 1.0 + UPWARD;
        table.masses.iter_mut().for_each(|mass| *mass *= up);
        table.infinite *= up;
        Ok(table)
    }

    pub(super) fn cloud(&self, high_tail: f64) -> Result<Cloud, PldRefused> {
        let mut cloud = Cloud::default();
        for (weight, shape) in &self.0 {
            let mut add = |loss, mass: f64| {
                let mass = weight * mass;
                if mass > 0.0 {
                    cloud.losses.push(loss);
                    cloud.ln_masses.push(mass.ln());
                }
            };
            match shape {
                Shape::Pair(pair) => {
                    let (low, high, _) = pair.support(high_tail);
                    add(pair.loss(low), pair.below(low));
                    pair.pour(low, high, CLOUD_FINENESS, &mut add);
                }
                Shape::Discrete { sigma, shift } => {
                    atoms(*sigma, *shift)?.for_each(|(loss, mass)| add(loss, mass));
                }
            }
        }
        Ok(cloud)
    }
}

impl Shape {
    /// Least and greatest finite loss.
    fn losses(&self, high_tail: f64) -> Result<(f64, f64), PldRefused> {
        match self {
            Self::Pair(pair) => {
                let (low, high, _) = pair.support(high_tail);
                Ok((pair.loss(low), pair.loss(high)))
            }
            Self::Discrete { sigma, shift } => {
                let mut losses = atoms(*sigma, *shift)?.map(|(loss, _)| loss);
                let low = losses.next().unwrap_or(0.0);
                Ok((low, losses.last().unwrap_or(low)))
            }
        }
    }

    fn fill(
        &self,
        weight: f64,
        grid: f64,
        high_tail: f64,
        table: &mut Table,
    ) -> Result<(), PldRefused> {
        match self {
            Self::Pair(pair) => {
                let (low, high, beyond) = pair.support(high_tail);
                table.infinite += weight * beyond;
                let lowest = pair.loss(low);
                table.split(cell(lowest, grid)?, grid, lowest, weight * pair.below(low));
                let last = cell(pair.loss(high), grid)?;
                let mut from = low;
                for index in cell(lowest, grid)?..=last {
                    let edge = pair.at_loss((index + 1) as f64 * grid);
                    // Rounding must not let an edge step back or leave the support.
                    let to = if index == last {
                        high
                    } else {
                        edge.clamp(from, high)
                    };
                    pair.pour(from, to, f64::INFINITY, &mut |loss, mass| {
                        table.split(index, grid, loss, weight * mass);
                    });
                    from = to;
                }
            }
            Self::Discrete { sigma, shift } => {
                for (loss, mass) in atoms(*sigma, *shift)? {
                    table.split(cell(loss, grid)?, grid, loss, weight * mass);
                }
            }
        }
        Ok(())
    }
}

impl Table {
    /// The same on a grid twice as coarse. Splitting keeps both masses, so dots that are connected twice lie where those
    /// of the true distribution would.
    pub(super) fn coarser(&self, grid: f64) -> Self {
        let first = self.first.div_euclid(2);
        let odd = usize::from(self.first.rem_euclid(2) == 1);
        let mut coarse = Self {
            first,
            masses: vec![0.0; (self.masses.len() + odd) / 2 + 1],
            infinite: self.infinite,
        };
        // A dot half-way goes up with the share (1 − e^−h)/(1 − e^−2h) = 1/(1 + e^−h).
        let up = 1.0 / (1.0 + (-grid).exp());
        for (place, mass) in self.masses.iter().enumerate() {
            let (below, is_between) = ((place + odd) / 2, (place + odd) % 2 == 1);
            if is_between {
                coarse.masses[below] += mass * (1.0 - up);
                coarse.masses[below + 1] += mass * up;
            } else {
                coarse.masses[below] += mass;
            }
        }
        coarse
    }

    /// Splits a mass between the two ends of the cell in which its loss lies.
    fn split(&mut self, index: i64, grid: f64, loss: f64, mass: f64) {
        let start = index as f64 * grid;
        // At an edge, rounding may put a loss a digit outside of its cell.
        let up = ((start - loss).exp_m1() / (-grid).exp_m1()).clamp(0.0, 1.0);
        let place = usize::try_from(index - self.first).unwrap_or(usize::MAX - 1);
        if let Some([a, b]) = self.masses.get_mut(place..place + 2) {
            *a += mass * (1.0 - up);
            *b += mass * up;
        } else {
            // No cell of the table: infinite loss is the pessimistic place.
            self.infinite += mass;
        }
    }
}

/// The cell of a loss.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn cell(loss: f64, grid: f64) -> Result<i64, PldRefused> {
    let index = (loss / grid).floor();
    // Whole numbers up to 2^52 are exact.
    if index.abs() < (1_u64 << 52) as f64 {
        Ok(index as i64)
    } else {
        Err(PldRefused::TableTooLarge)
    }
}

/// Cells from the first to the upper end of the last.
fn cells(first: i64, last: i64) -> Result<usize, PldRefused> {
    let count = last.checked_sub(first).and_then(|span| span.checked_add(2));
    count
        .and_then(|count| u64::try_from(count).ok())
        .filter(|count| *count <= MAX_CELLS)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(PldRefused::TableTooLarge)
}

/// All losses of the discrete Gaussian, in rising order, with their masses under P. What lies more than 40 deviations away is
/// below 1e-347.
fn atoms(sigma: f64, shift: u32) -> Result<impl Iterator<Item = (f64, f64)>, PldRefused> {
    let reach = (40.0 * sigma).ceil() + 1.0;
    if reach > MAX_CELLS as f64 {
        return Err(PldRefused::TableTooLarge);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most MAX_CELLS, checked above"
    )]
    let reach = reach as i32;
    let weight = move |at: i32| (-0.5 * (f64::from(at) / sigma).powi(2)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let shift = f64::from(shift);
    Ok((-reach..=reach).map(move |at| {
        // P lies around the shift, Q around 0: ln(P/Q) at shift + at.
        let loss = shift * (f64::from(at) + 0.5 * shift) / (sigma * sigma);
        (loss, weight(at) / total)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::pair::Side;
    use super::*;

    fn sampled(side: Side, rate: f64, sigma: f64) -> Source {
        Source::one(Shape::Pair(Pair::new(side, rate, 1.0 / sigma)))
    }

    /// Hockey-stick divergence at a multiple of the grid.
    fn delta(table: &Table, index: i64, grid: f64) -> f64 {
        let finite = table.masses.iter().enumerate().map(|(place, mass)| {
            let above = table.first + place as i64 - index;
            if above > 0 {
                -mass * (-(above as f64) * grid).exp_m1()
            } else {
                0.0
            }
        });
        table.infinite + finite.sum::<f64>()
    }

    #[test]
    fn both_masses_stay_one() {
        for side in [Side::Remove, Side::Add, Side::Replace] {
            for (rate, sigma, grid) in [(0.01, 1.0, 1e-3), (0.5, 0.7, 0.02), (1.0, 2.0, 1e-3)] {
                let table = sampled(side, rate, sigma).table(grid, 1e-15).unwrap();
                let p: f64 = table.masses.iter().sum::<f64>() + table.infinite;
                let q = table.masses.iter().enumerate().map(|(place, mass)| {
                    mass * (-(table.first + place as i64) as f64 * grid).exp()
                });
                let q = q.sum::<f64>();
                assert!((p - 1.0).abs() < 5e-12, "{side:?} {rate} {sigma}: {p}");
                assert!((q - 1.0).abs() < 5e-12, "{side:?} {rate} {sigma}: {q}");
            }
        }
    }

    #[test]
    fn at_the_dots_the_divergence_is_the_exact_one() {
        // mpmath at 40 digits: δ(ε) of the remove pair with q = 0.1, σ = 1 is 1e-5 at this ε.
        let known = 1.684_543_814_328_464_1;
        let grid = known / 1000.0;
        let table = sampled(Side::Remove, 0.1, 1.0).table(grid, 1e-15).unwrap();
        assert!((delta(&table, 1000, grid) / 1e-5 - 1.0).abs() < 1e-9);
        // And of the add pair at this one.
        let known = 0.099_609_399_448_564_14;
        let grid = known / 1000.0;
        let table = sampled(Side::Add, 0.1, 1.0).table(grid, 1e-15).unwrap();
        assert!((delta(&table, 1000, grid) / 1e-5 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_finer_grid_is_nowhere_worse_and_a_coarser_one_nowhere_better() {
        for side in [Side::Remove, Side::Add, Side::Replace] {
            let source = sampled(side, 0.02, 0.8);
            let fine = source.table(1e-3, 1e-15).unwrap();
            let coarse = source.table(8e-3, 1e-15).unwrap();
            for index in -20..600 {
                let (exact, above) = (delta(&fine, index, 1e-3), {
                    let (start, part) = (index.div_euclid(8), index.rem_euclid(8) as f64 * 1e-3);
                    // Between dots the coarse table is the chord in e^ε.
                    let (a, b) = (delta(&coarse, start, 8e-3), delta(&coarse, start + 1, 8e-3));
                    a + (b - a) * part.exp_m1() / 8e-3_f64.exp_m1()
                });
                assert!(exact <= above * (1.0 + 1e-9) + 1e-14, "{side:?} {index}");
            }
        }
    }

    #[test]
    fn a_table_made_coarser_is_the_coarse_table() {
        for side in [Side::Remove, Side::Add, Side::Replace] {
            let source = sampled(side, 0.1, 1.3);
            let made = source.table(1e-3, 1e-15).unwrap().coarser(1e-3);
            let direct = source.table(2e-3, 1e-15).unwrap();
            assert_eq!(made.first, direct.first);
            let longest = made.masses.len().max(direct.masses.len());
            for place in 0..longest {
                let mass = |table: &Table| table.masses.get(place).copied().unwrap_or(0.0);
                let (a, b) = (mass(&made), mass(&direct));
                assert!((a - b).abs() <= 1e-11 * b, "{side:?} {place}: {a:e} {b:e}");
            }
        }
    }

    #[test]
    fn a_grid_that_would_need_too_many_cells_is_refused() {
        let refused = sampled(Side::Remove, 0.5, 1.0).table(1e-7, 1e-15);
        assert_eq!(refused.unwrap_err(), PldRefused::TableTooLarge);
    }
}
