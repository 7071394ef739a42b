//! What must hold of every epsilon, whatever the numbers. Failing cases are printed and kept by proptest.

use proptest::prelude::*;

use crate::accountant::parts::{parts, sides};
use crate::accountant::pld::epsilon_on_grid;
use crate::mechanism::{Mechanism, Relation, Truncation, Unit};
use crate::quantity::{Delta, NoiseMultiplier, SamplingRate, Steps};
use crate::spend::{exact, pld, rdp, spend};

/// What a grid leaves of two figures that should be ordered: each is at most this share too high.
const GRID: f64 = 1e-4;

fn steps_of(sigma: f64, q: f64, steps: u32, relation: Relation) -> Mechanism {
    Mechanism::new(
        NoiseMultiplier::new(sigma).unwrap(),
        SamplingRate::new(q).unwrap(),
        Steps::new(steps).unwrap(),
        relation,
        Unit::Record,
    )
}

fn figure(mechanisms: &[Mechanism], delta: f64) -> f64 {
    pld(mechanisms, Delta::new(delta).unwrap()).unwrap().value()
}

fn relations() -> impl Strategy<Value = Relation> {
    prop_oneof![
        Just(Relation::AddRemove),
        Just(Relation::ReplaceOne),
        Just(Relation::ZeroOut)
    ]
}

/// At least the other, up to what a grid leaves.
fn at_least(more: f64, less: f64) -> bool {
    more >= less * (1.0 - GRID) - 1e-8
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn epsilon_rises_with_rate_and_steps_and_falls_with_noise_and_delta(
        ln_sigma in -0.7_f64..2.5, ln_q in -7.0_f64..-0.05, steps in 1..400_u32, ln_delta in -24.0_f64..-3.0,
        relation in relations(),
    ) {
        let (sigma, q, delta) = (ln_sigma.exp(), ln_q.exp(), ln_delta.exp());
        let of = |sigma: f64, q: f64, steps, delta| figure(&[steps_of(sigma, q, steps, relation)], delta);
        let here = of(sigma, q, steps, delta);
        prop_assert!(at_least(here, of(1.1 * sigma, q, steps, delta)), "sigma");
        prop_assert!(at_least(of(sigma, (1.1 * q).min(0.99), steps, delta), here), "q");
        prop_assert!(at_least(of(sigma, q, steps + 1 + steps / 10, delta), here), "steps");
        prop_assert!(at_least(here, of(sigma, q, steps, 1.5 * delta)), "delta");
    }

    #[test]
    fn the_loss_distribution_is_never_above_the_renyi_figure(
        ln_sigma in -0.7_f64..3.0, ln_q in -8.0_f64..-0.01, steps in 1..1_000_u32, ln_delta in -27.0_f64..-2.0,
        relation in relations(), cap in prop::option::of((1..2_000_u32, 1..4_000_u32)),
    ) {
        let mut mechanism = steps_of(ln_sigma.exp(), ln_q.exp(), steps, relation);
        if let Some((max_batch, records)) = cap {
            mechanism = mechanism.truncated(Truncation::new(max_batch, records).unwrap());
        }
        let both = spend(&[mechanism], Delta::new(ln_delta.exp()).unwrap()).unwrap();
        prop_assert!(both.pld().unwrap().value() <= both.rdp().value() * (1.0 + GRID) + 1e-8, "{both:?}");
        prop_assert!(both.rdp().value().is_finite());
    }

    #[test]
    fn a_coarser_grid_never_gives_a_smaller_epsilon(
        ln_sigma in -0.5_f64..2.0, ln_q in -5.0_f64..-0.05, steps in 1..200_u32, ln_grid in -9.0_f64..-6.0,
        relation in relations(),
    ) {
        let (delta, grid) = (Delta::new(1e-6).unwrap(), ln_grid.exp());
        let mechanism = steps_of(ln_sigma.exp(), ln_q.exp(), steps, relation);
        for side in sides(relation) {
            let on = |grid| epsilon_on_grid(&parts(&[mechanism], *side), delta, grid);
            // A grid far too coarse for the steps leaves the window, and is refused.
            let (Ok(fine), Ok(coarse)) = (on(grid), on(4.0 * grid)) else {
                continue;
            };
            prop_assert!(coarse >= fine * (1.0 - 1e-6) - 1e-12, "{side:?}: {coarse} {fine}");
        }
    }

    #[test]
    fn order_does_not_matter_and_more_never_costs_less(
        jobs in prop::collection::vec((-0.3_f64..2.0, -6.0_f64..0.3, 1..100_u32), 2..4),
    ) {
        // A rate above 1 stands for a full batch.
        let job = |(ln_sigma, ln_q, steps): &(f64, f64, u32)| {
            steps_of(ln_sigma.exp(), ln_q.exp().min(1.0), *steps, Relation::AddRemove)
        };
        let jobs: Vec<Mechanism> = jobs.iter().map(job).collect();
        let delta = Delta::new(1e-6).unwrap();
        let together = spend(&jobs, delta).unwrap();
        let reversed: Vec<Mechanism> = jobs.iter().rev().copied().collect();
        prop_assert_eq!(spend(&reversed, delta).unwrap(), together);
        for left_out in 0..jobs.len() {
            let mut fewer = jobs.clone();
            fewer.remove(left_out);
            let less = spend(&fewer, delta).unwrap();
            prop_assert!(at_least(together.enforced().value(), less.enforced().value()));
            prop_assert!(together.rdp() >= less.rdp());
        }
    }
}

#[test]
fn steps_of_almost_equal_noise_cost_what_equal_ones_do() {
    // Too different to be joined: two tables, two powers, one product.
    for relation in [Relation::AddRemove, Relation::ReplaceOne] {
        let apart = [
            steps_of(1.2, 0.02, 300, relation),
            steps_of(1.2 * (1.0 + 1e-9), 0.02, 700, relation),
        ];
        let joined = steps_of(1.2, 0.02, 1000, relation);
        let (apart, joined) = (figure(&apart, 1e-6), figure(&[joined], 1e-6));
        assert!((apart / joined - 1.0).abs() < GRID, "{apart} {joined}");
    }
}

#[test]
fn steps_sampled_almost_always_cost_what_full_batches_do() {
    let delta = Delta::new(1e-7).unwrap();
    for (sigma, relation) in [(3.0, Relation::AddRemove), (8.0, Relation::ReplaceOne)] {
        let full = [steps_of(sigma, 1.0, 40, relation)];
        // A sixth of the steps in full, the others sampled: a Gaussian table beside a sampled one.
        let mixed = [
            steps_of(sigma, 1.0, 7, relation),
            steps_of(sigma, 1.0 - 1e-12, 33, relation),
        ];
        let (exact, mixed) = (exact(&full, delta).unwrap().value(), figure(&mixed, 1e-7));
        assert!(
            mixed >= exact * (1.0 - 1e-9) && mixed <= exact * (1.0 + GRID),
            "{mixed} {exact}"
        );
        assert!(mixed <= rdp(&full, delta).value());
    }
}

#[test]
fn a_full_batch_by_its_table_is_the_exact_curve_or_just_above() {
    for delta in [1e-2, 1e-5, 1e-9, 1e-12] {
        for sigma in [0.05, 0.5, 2.0, 30.0, 1000.0] {
            let job = [steps_of(sigma, 1.0, 1, Relation::AddRemove)];
            let expected = exact(&job, Delta::new(delta).unwrap()).unwrap().value();
            let found = figure(&job, delta);
            assert!(
                found >= expected * (1.0 - 1e-9) && found <= expected * (1.0 + GRID) + 1e-8,
                "{sigma} {delta}: {found} {expected}"
            );
        }
    }
}

#[test]
fn the_most_steps_there_are_have_a_figure_close_to_the_central_limit() {
    // With many weak steps the loss becomes that of a Gaussian with μ = q·√(T·(e^{1/σ²} − 1)) (Bu and others 2020).
    let (q, sigma, steps) = (1e-4_f64, 20.0_f64, 100_000_000_u32);
    let mu = q * (f64::from(steps) * (sigma * sigma).recip().exp_m1()).sqrt();
    let found = figure(&[steps_of(sigma, q, steps, Relation::AddRemove)], 1e-6);
    let limit = [steps_of(1.0 / mu, 1.0, 1, Relation::AddRemove)];
    let limit = exact(&limit, Delta::new(1e-6).unwrap()).unwrap().value();
    assert!((found / limit - 1.0).abs() < 1e-3, "{found} {limit}");
}
