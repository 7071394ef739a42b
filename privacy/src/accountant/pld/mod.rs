//! Privacy loss distributions: an upper bound on epsilon that follows the true one to a ten-thousandth.
//!
//! Each step's dominating pair ([`pair`]) becomes a loss distribution on a grid by connecting the dots ([`table`]), steps are
//! composed by Fourier transforms under an exponential tilt ([`saddle`], [`compose`]), and epsilon is read off. Every
//! approximation on the way is upward, so the figure is a bound on any grid; the grid is halved until the figure stands.

mod binomial;
mod compose;
pub(crate) mod pair;
mod quadrature;
mod saddle;
pub(crate) mod table;

pub(crate) use binomial::Overflow;

use table::{Shape, Source, Table};

use crate::quantity::{Delta, Epsilon, NoiseMultiplier, Steps};

/// Least delta. What is lost in truncated tails and in rounding stays far below it.
pub(crate) const LEAST_DELTA: f64 = 1e-12;

/// The first grid, in standard deviations of the composed loss divided by √steps: in proportion to ε/√T, since epsilon is a
/// few of those deviations. Connecting the dots adds about a sixth of the squared grid to each step's variance: of epsilon
/// 1e-5 at this grid.
const FIRST_GRID: f64 = 0.01;

/// How much coarser a grid may do when the question is only whether another figure is larger.
const MAYBE_ENOUGH: f64 = 8.0;

/// A grid is fine enough when the one twice as coarse says the same up to this share. The error falls with the square of the
/// grid, so what is left is a third of it.
const CLOSE: f64 = 1e-4;

/// The promise, where the largest table allows no better: a third of this.
const CLOSE_ENOUGH: f64 = 2e-3;

/// A difference in epsilon that means nothing.
const NOTHING: f64 = 1e-9;

/// Share of delta that may be spent on losses that are counted as infinite.
const TAIL_SHARE: f64 = 1e-6;

/// Most halvings and doublings of the grid.
const TRIALS: u32 = 24;

/// Why there is no figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PldRefused {
    /// Delta below the accountant's reach.
    #[error(
        "delta is below 1e-12, which privacy loss distributions are not computed for: the Rényi figure holds"
    )]
    DeltaTooSmall,
    /// The grid would need more than four million cells.
    #[error(
        "the table of privacy losses would be too large for a precise figure: the Rényi figure holds"
    )]
    TableTooLarge,
    /// More kinds of release than are composed.
    #[error(
        "the releases are of more than 64 kinds, too many for loss distributions: the Rényi figure holds"
    )]
    TooManyKinds,
}

impl PldRefused {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DeltaTooSmall => "privacy_pld_delta_too_small",
            Self::TableTooLarge => "privacy_pld_table_too_large",
            Self::TooManyKinds => "privacy_pld_too_many_kinds",
        }
    }
}

/// A step and how often it is taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) source: Source,
    pub(crate) steps: u32,
}

/// The least epsilon that all parts together satisfy with delta, for one side of the relation; or a bound on it that is at
/// most `known`, if that is easier to tell.
///
/// # Errors
/// [`PldRefused`] if delta is too small or no table within bounds gives a precise figure.
pub(crate) fn epsilon(parts: &[Part], delta: Delta, known: f64) -> Result<f64, PldRefused> {
    if delta.value() < LEAST_DELTA {
        return Err(PldRefused::DeltaTooSmall);
    }
    let sum = Sum::new(parts, delta)?;
    let steps: f64 = parts.iter().map(|part| f64::from(part.steps)).sum();
    let mut grid = FIRST_GRID * sum.saddle.deviation / steps.sqrt();
    if known > 0.0 {
        grid *= MAYBE_ENOUGH;
    }
    let mut last = None;
    let mut coarser = 0.0;
    for _ in 0..TRIALS {
        match sum.on_grid_and_coarser(grid) {
            Ok((fine, _)) if fine <= known => return Ok(fine),
            Ok((fine, coarse)) if is_close(coarse, fine, CLOSE) => return Ok(fine),
            Ok((fine, coarse)) => {
                (last, coarser) = (Some(fine), coarse);
                grid *= 0.5;
            }
            // The finest that fits has been seen, and its error against the next coarser.
            Err(refused) => match last {
                Some(fine) if is_close(coarser, fine, CLOSE_ENOUGH) => return Ok(fine),
                Some(_) => return Err(refused),
                None => grid *= 2.0,
            },
        }
    }
    Err(PldRefused::TableTooLarge)
}

/// Whether two epsilons are the same up to a share of the second.
fn is_close(coarse: f64, fine: f64, share: f64) -> bool {
    (coarse - fine).abs() <= share * fine + NOTHING
}

/// All parts with their tilt.
struct Sum<'a> {
    parts: &'a [Part],
    saddle: saddle::Saddle,
    delta: f64,
}

impl<'a> Sum<'a> {
    fn new(parts: &'a [Part], delta: Delta) -> Result<Self, PldRefused> {
        let mut clouds = Vec::with_capacity(parts.len());
        for part in parts {
            let cloud = part.source.cloud(high_tail(part, parts, delta.value()))?;
            clouds.push((cloud, f64::from(part.steps)));
        }
        let saddle = saddle::find(&clouds, delta.ln());
        Ok(Self {
            parts,
            saddle,
            delta: delta.value(),
        })
    }

    /// Epsilon on this grid, and on one twice as coarse.
    fn on_grid_and_coarser(&self, grid: f64) -> Result<(f64, f64), PldRefused> {
        let mut tables = self.tables(grid)?;
        let fine = self.compose(&tables, grid)?;
        for (table, _) in &mut tables {
            *table = table.coarser(grid);
        }
        Ok((fine, self.compose(&tables, 2.0 * grid)?))
    }

    fn tables(&self, grid: f64) -> Result<Vec<(Table, u32)>, PldRefused> {
        let mut tables = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let tail = high_tail(part, self.parts, self.delta);
            tables.push((part.source.table(grid, tail)?, part.steps));
        }
        Ok(tables)
    }

    fn compose(&self, tables: &[(Table, u32)], grid: f64) -> Result<f64, PldRefused> {
        compose::epsilon(tables, grid, &self.saddle, self.delta)
    }
}

/// Mass of one step that may become infinite loss.
fn high_tail(part: &Part, parts: &[Part], delta: f64) -> f64 {
    TAIL_SHARE * delta / (f64::from(part.steps) * parts.len() as f64)
}

/// The cost of `steps` releases of integers, each with discrete Gaussian noise of deviation `sigma` units, where a record moves
/// one integer by at most `shift` units.
///
/// The noise of a round is so wide (2^20 units and more) that the Gaussian's figures hold; this is for counts in whole units.
///
/// # Errors
/// [`PldRefused`] as for any other figure, and for deviations above 100 000 units, where the Gaussian's figure applies.
pub fn discrete_gaussian_epsilon(
    sigma: NoiseMultiplier,
    shift: std::num::NonZeroU32,
    steps: Steps,
    delta: Delta,
) -> Result<Epsilon, PldRefused> {
    let shape = Shape::Discrete {
        sigma: sigma.value(),
        shift: shift.get(),
    };
    let part = Part {
        source: Source::one(shape),
        steps: steps.count(),
    };
    // Both sides are alike: the noise is symmetric.
    epsilon(&[part], delta, 0.0).map(Epsilon::accounted)
}

/// Epsilon on a grid that is given, for comparison with another program's table.
#[cfg(test)]
pub(crate) fn epsilon_on_grid(parts: &[Part], delta: Delta, grid: f64) -> Result<f64, PldRefused> {
    let sum = Sum::new(parts, delta)?;
    sum.compose(&sum.tables(grid)?, grid)
}
