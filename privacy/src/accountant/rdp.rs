//! Rényi differential privacy of the (Poisson-sampled) Gaussian mechanism at the integer orders 2 to 256.

use super::parts::overflow;
use super::replace;
use crate::mechanism::{Mechanism, Relation};
use crate::quantity::{Delta, Epsilon, NoiseMultiplier, SamplingRate};

/// The orders at which a curve is kept; more would move epsilon by less than a percent for usual targets.
const ORDERS: std::ops::RangeInclusive<u32> = 2..=256;

/// Rényi divergences at [`ORDERS`]. They add up over releases.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RdpCurve(Vec<f64>);

impl RdpCurve {
    /// Nothing released.
    pub(crate) fn zero() -> Self {
        Self(ORDERS.map(|_| 0.0).collect())
    }

    /// All steps of one mechanism.
    pub(crate) fn of(mechanism: &Mechanism) -> Self {
        let steps = f64::from(mechanism.steps().count());
        let (sampling, noise) = (mechanism.sampling(), mechanism.noise_multiplier());
        if mechanism.is_full_batch() {
            // Replacing one record moves the sum twice as far: the divergence grows with the square.
            let factor = mechanism.relation().sensitivity().powi(2) * steps;
            let at_order = |order| factor * divergence(order, SamplingRate::FULL_BATCH, noise);
            return Self(ORDERS.map(at_order).collect());
        }
        let shift = 1.0 / noise.value();
        let plain: Vec<f64> = match mechanism.relation() {
            Relation::AddRemove | Relation::ZeroOut => ORDERS
                .map(|order| f64::from(order - 1) * divergence(order, sampling, noise))
                .collect(),
            Relation::ReplaceOne => replace::ln_moments(sampling.value(), shift, ORDERS),
        };
        let moments = match overflow(mechanism) {
            None => plain,
            // Whether the others fill the batch is known to the adversary: moments mix like losses.
            Some(overflow) => replace::ln_moments(overflow.rate, 2.0 * shift, ORDERS)
                .into_iter()
                .zip(plain)
                .map(|(full, plain)| {
                    let part = |share: f64, moment: f64| ln_exp_minus_one(moment) + share.ln();
                    let (full, plain) = (
                        part(overflow.probability, full),
                        part(1.0 - overflow.probability, plain),
                    );
                    // Weights add up to 1: ln of 1 plus what the moments exceed it by.
                    ln_add(0.0, ln_add(full, plain))
                })
                .collect(),
        };
        let curve = ORDERS
            .zip(moments)
            .map(|(order, moment)| steps * moment / f64::from(order - 1));
        Self(curve.collect())
    }

    /// Both together.
    pub(crate) fn add(mut self, other: &Self) -> Self {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
        self
    }

    /// The least epsilon over all orders, by the conversion of Canonne, Kamath and Steinke (2020), proposition 12:
    /// ε = ρ_α + ln((α − 1)/α) − (ln δ + ln α)/(α − 1).
    pub(crate) fn epsilon(&self, delta: Delta) -> Epsilon {
        if self.0.iter().all(|divergence| *divergence <= 0.0) {
            return Epsilon::ZERO;
        }
        let at_order = |(order, divergence): (u32, &f64)| {
            let order = f64::from(order);
            divergence + (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0)
        };
        Epsilon::accounted(
            ORDERS
                .zip(&self.0)
                .map(at_order)
                .fold(f64::INFINITY, f64::min),
        )
    }
}

/// Rényi divergence of one step under add/remove.
///
/// Full batch: α/2σ² (Mironov 2017, proposition 7). Sampled: ln A_α/(α − 1) with
/// A_α = Σ C(α,k)·(1−q)^{α−k}·q^k·e^{(k²−k)/2σ²} (Mironov, Talwar and Zhang 2019, section 3.3). The binomial weights sum
/// to 1, so A_α − 1 is the sum over k ≥ 2 with e^x − 1 for e^x: all terms are positive and small divergences keep
/// their digits.
fn divergence(order: u32, sampling: SamplingRate, noise: NoiseMultiplier) -> f64 {
    let (alpha, sigma, q) = (f64::from(order), noise.value(), sampling.value());
    if sampling.is_full_batch() {
        return alpha / (2.0 * sigma * sigma);
    }
    let (ln_q, ln_not_q) = (q.ln(), (-q).ln_1p());
    let mut ln_binomial = alpha.ln();
    let mut ln_sum = f64::NEG_INFINITY;
    for k in 2..=order {
        let taken = f64::from(k);
        ln_binomial += ((alpha - taken + 1.0) / taken).ln();
        let weight = ln_binomial + taken * ln_q + (alpha - taken) * ln_not_q;
        ln_sum = ln_add(
            ln_sum,
            weight + ln_exp_minus_one(taken * (taken - 1.0) / (2.0 * sigma * sigma)),
        );
    }
    ln_add(0.0, ln_sum) / (alpha - 1.0)
}

/// ln(eˣ + eʸ).
fn ln_add(x: f64, y: f64) -> f64 {
    let (small, large) = if x < y { (x, y) } else { (y, x) };
    if small == f64::NEG_INFINITY {
        large
    } else {
        large + (small - large).exp().ln_1p()
    }
}

/// ln(eˣ − 1) for x > 0.
fn ln_exp_minus_one(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp_m1().ln() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The divergence of one step, for the known answers.
    pub(crate) fn one_step(order: u32, q: f64, sigma: f64) -> f64 {
        divergence(
            order,
            SamplingRate::new(q).unwrap(),
            NoiseMultiplier::new(sigma).unwrap(),
        )
    }

    #[test]
    fn the_sampled_formula_approaches_the_full_batch() {
        for order in [2, 7, 64, 256] {
            let (near, full) = (one_step(order, 1.0 - 1e-12, 2.0), one_step(order, 1.0, 2.0));
            assert!((near / full - 1.0).abs() < 1e-6, "{order}");
        }
    }

    #[test]
    fn order_two_is_its_closed_form() {
        // A₂ = 1 + q²(e^{1/σ²} − 1).
        let expected = (1e-8_f64 * 1_f64.exp_m1()).ln_1p();
        assert!((one_step(2, 1e-4, 1.0) / expected - 1.0).abs() < 1e-13);
    }

    #[test]
    fn nothing_released_costs_nothing() {
        assert_eq!(
            RdpCurve::zero().epsilon(Delta::new(1e-5).unwrap()),
            Epsilon::ZERO
        );
    }
}
