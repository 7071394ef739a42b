//! Dominating pairs of the Gaussian mechanism: two distributions P and Q on a line such that no neighbouring data sets
//! are easier to tell apart (Zhu, Dong and Wang, AISTATS 2022, definition 7).
//!
//! Everything is in units of the noise: a record moves the sum by `shift` = 1/σ.
//!
//! | pair | P | Q | source |
//! |---|---|---|---|
//! | remove | (1 − q)·N(0) + q·N(shift) | N(0) | Zhu, Dong and Wang, theorem 11 |
//! | add | N(0) | (1 − q)·N(0) + q·N(shift) | the same |
//! | replace | (1 − q)·N(0) + q·N(shift) | (1 − q)·N(0) + q·N(−shift) | Schuchardt and others, NeurIPS 2024; dp-accounting's `REPLACE` |
//!
//! The privacy loss ln(P/Q) grows with the coordinate in all three (add is mirrored), so a set of losses is an interval.

use super::quadrature::{self, NARROW};
use crate::accountant::mills::{ln_density, mills};

/// P outside its lowest 1e-17 is integrated; the rest is given the loss where integration starts, which is more.
const LOW_TAIL: f64 = 1e-17;

/// Below this, q·e^y/(1 − q) changes no digit of the loss.
const LN_NEGLIGIBLE: f64 = -41.5;

/// Past this, e^−y changes few digits, and e^y comes near to overflow.
const LARGE: f64 = 30.0;

/// What one of the neighbouring data sets has and the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// P has one record more.
    Remove,
    /// Q has one record more.
    Add,
    /// Each has a record that the other has not.
    Replace,
}

/// A dominating pair of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    side: Side,
    rate: f64,
    shift: f64,
}

impl Pair {
    /// Batches drawn at `rate`, where a record moves the sum by `shift` standard deviations of the noise.
    pub(crate) fn new(side: Side, rate: f64, shift: f64) -> Self {
        debug_assert!(rate > 0.0 && rate <= 1.0 && shift > 0.0);
        Self { side, rate, shift }
    }

    /// The coordinates that are integrated, and P beyond the upper: that mass counts as an infinite loss.
    pub(super) fn support(&self, high_tail: f64) -> (f64, f64, f64) {
        let reach = 60.0 + self.shift;
        let low = bisect(-60.0, reach, |at| self.below(at) <= LOW_TAIL);
        let high = bisect(-reach, reach, |at| self.above(at) > high_tail) + 1e-9 * reach;
        (low, high.max(low), self.above(high.max(low)))
    }

    /// The privacy loss at a coordinate.
    pub(super) fn loss(&self, at: f64) -> f64 {
        let (up, down) = self.exponents(at);
        match self.side {
            Side::Remove => mixed(self.rate, up),
            Side::Add => -mixed(self.rate, down),
            Side::Replace => mixed(self.rate, up) - mixed(self.rate, down),
        }
    }

    /// The coordinate at which the loss is this; infinite for a loss that is not reached.
    pub(super) fn at_loss(&self, loss: f64) -> f64 {
        let half = 0.5 * self.shift * self.shift;
        match self.side {
            Side::Remove => (unmixed(self.rate, loss) + half) / self.shift,
            Side::Add => -(unmixed(self.rate, -loss) + half) / self.shift,
            // With t = shift·x: sinh(t − loss/2) = α·sinh(loss/2), α = e^{shift²/2}·(1 − q)/q.
            Side::Replace => {
                let ln_alpha = half + (-self.rate).ln_1p() - self.rate.ln();
                let size = 0.5 * loss.abs();
                let bent = asinh_of_exp(ln_alpha + ln_sinh(size));
                (size + bent).copysign(loss) / self.shift
            }
        }
    }

    /// Pours P between two coordinates as quadrature points, each the loss there and a mass. What varies faster than
    /// `finest` times per standard deviation of the noise is not resolved: infinity for exact work.
    pub(super) fn pour(&self, start: f64, end: f64, finest: f64, sink: &mut impl FnMut(f64, f64)) {
        let mut from = start;
        while from < end {
            let (to, scales) = self.panel(from, end, finest);
            for (at, width) in quadrature::points(from, to, quadrature::rule(scales)) {
                sink(self.loss(at), width * self.density(at));
            }
            from = to;
        }
    }

    /// Density of P.
    fn density(&self, at: f64) -> f64 {
        let base = ln_density(at).exp();
        match self.side {
            Side::Add => base,
            Side::Remove | Side::Replace => {
                (1.0 - self.rate) * base + self.rate * ln_density(at - self.shift).exp()
            }
        }
    }

    /// P above a coordinate.
    fn above(&self, at: f64) -> f64 {
        match self.side {
            Side::Add => normal_above(at),
            Side::Remove | Side::Replace => {
                (1.0 - self.rate) * normal_above(at) + self.rate * normal_above(at - self.shift)
            }
        }
    }

    /// P below a coordinate.
    pub(super) fn below(&self, at: f64) -> f64 {
        match self.side {
            Side::Add => normal_above(-at),
            Side::Remove | Side::Replace => {
                (1.0 - self.rate) * normal_above(-at) + self.rate * normal_above(self.shift - at)
            }
        }
    }

    /// Logarithms of N(shift) and of N(−shift) relative to N(0).
    fn exponents(&self, at: f64) -> (f64, f64) {
        let half = 0.5 * self.shift * self.shift;
        (self.shift * at - half, -self.shift * at - half)
    }

    /// Where the panel from here ends, and its width in units of the integrand's scale: the slope of ln P, the slope of the
    /// loss where it is not flat, and the panel never crosses from flat to steep.
    fn panel(&self, from: f64, end: f64, finest: f64) -> (f64, f64) {
        let quick = (end - from)
            * self
                .shift
                .max(from.abs())
                .max((from - self.shift).abs())
                .max(1.0);
        if quick <= NARROW {
            return (end, quick);
        }
        let knee = LN_NEGLIGIBLE - self.rate.ln() + (-self.rate).ln_1p();
        let knee = (knee.max(-1e300) + 0.5 * self.shift * self.shift) / self.shift;
        let (up, down) = match self.side {
            Side::Remove => (true, false),
            Side::Add => (false, true),
            Side::Replace => (true, true),
        };
        let steep = (up && from >= knee) || (down && from < -knee);
        let score = match self.side {
            Side::Add => from.abs(),
            Side::Remove | Side::Replace => {
                let (exponent, _) = self.exponents(from);
                let odds = (exponent + self.rate.ln() - (-self.rate).ln_1p()).exp();
                let share = if odds.is_finite() {
                    odds / (1.0 + odds)
                } else {
                    1.0
                };
                (from - self.shift * share).abs()
            }
        };
        // Across a panel of width 1/scale the score itself grows by at most that width.
        let scale = score.max(if steep { self.shift } else { 0.0 });
        let scale = scale.min(finest).max(1.0);
        let mut to = (from + 1.0 / scale).min(end);
        for (is_used, crossing) in [(up, knee), (down, -knee)] {
            if is_used && crossing > from && crossing < to {
                to = crossing;
            }
        }
        (to, (to - from) * scale)
    }
}

/// ln(1 − q + q·e^y), to all digits for small q as well.
fn mixed(rate: f64, exponent: f64) -> f64 {
    if rate >= 1.0 {
        exponent
    } else if exponent > LARGE {
        exponent + rate.ln() + ((1.0 - rate) / rate * (-exponent).exp()).ln_1p()
    } else if rate < 0.5 || exponent > -0.5 {
        (rate * exponent.exp_m1()).ln_1p()
    } else {
        ((1.0 - rate) + rate * exponent.exp()).ln()
    }
}

/// The y of [`mixed`]; minus infinity below its floor ln(1 − q).
fn unmixed(rate: f64, value: f64) -> f64 {
    if rate >= 1.0 {
        value
    } else if value > LARGE {
        value - rate.ln() + (-(1.0 - rate) * (-value).exp()).ln_1p()
    } else {
        let ratio = value.exp_m1() / rate;
        if ratio > -1.0 {
            ratio.ln_1p()
        } else {
            f64::NEG_INFINITY
        }
    }
}

/// ln sinh x for x ≥ 0.
fn ln_sinh(x: f64) -> f64 {
    x + (-(-2.0 * x).exp_m1()).ln() - std::f64::consts::LN_2
}

/// asinh(e^x).
fn asinh_of_exp(x: f64) -> f64 {
    if x > LARGE {
        x + std::f64::consts::LN_2
    } else {
        x.exp().asinh()
    }
}

/// 1 − Φ(x).
fn normal_above(x: f64) -> f64 {
    if x >= 0.0 {
        ln_density(x).exp() * mills(x)
    } else {
        1.0 - ln_density(x).exp() * mills(-x)
    }
}

/// The last point of an interval, to within 1e-12 of its length, up to which a property holds.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let width = 1e-12 * (high - low);
    while high - low > width {
        let middle = 0.5 * (low + high);
        if holds(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [Side; 3] = [Side::Remove, Side::Add, Side::Replace];

    #[test]
    fn the_loss_is_the_logarithm_of_the_ratio_of_the_densities() {
        let normal = |at: f64| ln_density(at).exp();
        for (rate, shift) in [(0.01, 1.0), (0.3, 0.2), (0.999, 3.0), (1.0, 2.0)] {
            let mixture =
                |at: f64, shift: f64| (1.0 - rate) * normal(at) + rate * normal(at - shift);
            for at in [-3.0, -0.4, 0.0, 1.1, 4.0] {
                for (side, ratio) in [
                    (Side::Remove, mixture(at, shift) / normal(at)),
                    // Mirrored: the record moves the sum to the left.
                    (Side::Add, normal(at) / mixture(at, -shift)),
                    (Side::Replace, mixture(at, shift) / mixture(at, -shift)),
                ] {
                    let found = Pair::new(side, rate, shift).loss(at);
                    assert!(
                        (found - ratio.ln()).abs() < 1e-12,
                        "{side:?} {rate} {shift} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_coordinate_has_the_loss_it_was_found_for() {
        for side in SIDES {
            for (rate, shift) in [
                (1e-6, 0.1),
                (0.01, 1.0),
                (0.5, 20.0),
                (0.999, 0.3),
                (1.0, 2.0),
            ] {
                let pair = Pair::new(side, rate, shift);
                for loss in [-2.0, -1e-3, -1e-7, 1e-9, 1e-4, 0.01, 3.0, 60.0, 800.0] {
                    let at = pair.at_loss(loss);
                    if at.is_finite() {
                        let back = pair.loss(at);
                        assert!(
                            (back - loss).abs() <= 1e-9 * loss.abs() + 1e-14,
                            "{side:?} {rate} {shift}: {loss} became {back}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_poured_masses_of_p_and_of_q_add_up_to_one() {
        for side in SIDES {
            for (rate, shift) in [
                (1e-5, 2.0),
                (0.01, 1.0),
                (0.01, 1e-3),
                (0.4, 30.0),
                (0.9999, 0.5),
                (1.0, 4.0),
                (0.2, 300.0),
            ] {
                let pair = Pair::new(side, rate, shift);
                let (low, high, beyond) = pair.support(1e-14);
                let (mut p, mut q) = (pair.below(low) + beyond, 0.0);
                pair.pour(low, high, f64::INFINITY, &mut |loss, mass| {
                    p += mass;
                    q += mass * (-loss).exp();
                });
                assert!((p - 1.0).abs() < 1e-13, "P {side:?} {rate} {shift}: {p}");
                // Q has mass where P has none only when they hardly touch.
                if shift < 1.5 {
                    assert!((q - 1.0).abs() < 1e-12, "Q {side:?} {rate} {shift}: {q}");
                } else {
                    assert!(q < 1.0 + 1e-12, "Q {side:?} {rate} {shift}: {q}");
                }
            }
        }
    }
}
