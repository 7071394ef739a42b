//! The audit's arithmetic against values computed elsewhere, and the audit against a mechanism that keeps its promise and two that do not.

use super::*;
use crate::{
    ClipNorm, DiscreteGaussian, Epsilon, GridChoice, NoisePlan, NoiseSource, PrivacyTarget,
    RecordCap, Relation, Steps, UpdateShape,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const MEMBERS: u32 = 4;
const ROUNDS: u32 = 10;
const PARAMETERS: usize = 4000;
const CANARIES: u32 = 1000;

#[test]
fn the_bound_is_that_of_the_paper() {
    // (canaries, guesses, correct, δ, doubt) and what the algorithm of appendix D gives, computed with Python's lgamma.
    let rows = [
        (1000, 600, 600, 1e-5, 0.05, 5.270_399_463_514_697),
        (1000, 250, 200, 1e-5, 0.0125, 1.026_838_192_326_553_5),
        (1000, 1000, 560, 1e-5, 0.05, 0.134_262_497_863_638_4),
        (100, 100, 100, 0.0, 0.05, 3.492_965_431_152_293_7),
        (10_000, 1250, 1250, 1e-6, 0.0125, 5.597_642_187_672_612),
        // One more than half is what coins give.
        (400, 200, 101, 1e-5, 0.05, 0.0),
    ];
    for (canaries, guesses, correct, delta, doubt, expected) in rows {
        let found = refuted(canaries, guesses, correct, delta, doubt);
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
}

fn plan() -> NoisePlan {
    let target = PrivacyTarget {
        epsilon: Epsilon::new(1.0).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
        rounds: Steps::new(ROUNDS).unwrap(),
        relation: Relation::AddRemove,
        members: MEMBERS,
        n_min: MEMBERS,
        c_noise: 1,
        source: NoiseSource::Cohort,
        batches: None,
    };
    let shape = UpdateShape {
        elements: PARAMETERS as u64 + 1,
        record_cap: RecordCap::new(2000).unwrap(),
        clip: ClipNorm::new(1.0).unwrap(),
        grid: GridChoice::Coarsest,
    };
    NoisePlan::new(target, shape).unwrap()
}

/// The job with this share of its noise, and nothing but canaries in it: what the first member shows about it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "sums of a test"
)]
fn audit_with(noise: f64, seed: u64) -> CanaryAudit {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let plan = plan();
    let canaries = Canaries::draw(CANARIES, PARAMETERS, &mut rng).unwrap();
    let before = vec![0.25_f32; PARAMETERS];
    let mut moved = vec![0.0_f64; PARAMETERS];
    let sampler = DiscreteGaussian::new(plan.member_variance());
    for _ in 0..ROUNDS {
        let mut sum = RecordSum::new(plan.grid(), plan.record_cap(), PARAMETERS + 1);
        canaries.plant(&mut sum).unwrap();
        let mut round: Vec<f64> = (sum.dangerous_into_integers().iter())
            .map(|value| *value as f64)
            .collect();
        for _ in 0..MEMBERS {
            for sum in &mut round {
                *sum += noise * sampler.sample(&mut rng).unwrap() as f64;
            }
        }
        (moved.iter_mut().zip(&round)).for_each(|(moved, sum)| *moved += sum * plan.grid().unit());
    }
    let after: Vec<f32> = (before.iter().zip(&moved))
        .map(|(before, moved)| before - *moved as f32 / 2000.0)
        .collect();
    (canaries.audit(&before, &after, plan.target().delta, 0.95)).unwrap()
}

#[test]
fn a_job_that_keeps_its_epsilon_is_not_refuted() {
    for seed in 0..5 {
        let audit = audit_with(1.0, seed);
        assert!(audit.epsilon < 1.0, "seed {seed}: {audit:?}");
    }
}

#[test]
fn a_job_without_noise_or_with_a_tenth_of_it_is_found_out() {
    let without = audit_with(0.0, 7);
    assert!(without.epsilon > 4.0, "{without:?}");
    assert_eq!(without.correct, without.guesses);
    let tenth = audit_with(0.1, 8);
    assert!(tenth.epsilon > 1.0, "{tenth:?}");
}

#[test]
fn canaries_have_coordinates_of_their_own_and_about_half_of_them_are_planted() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let canaries = Canaries::draw(2000, PARAMETERS, &mut rng).unwrap();
    let places: BTreeSet<_> = canaries.0.iter().map(|canary| canary.coordinate).collect();
    assert_eq!(places.len(), 2000);
    assert!(places.iter().all(|place| *place < PARAMETERS));
    let share = |of: fn(&Canary) -> bool| canaries.0.iter().filter(|canary| of(canary)).count();
    for count in [
        share(|canary| canary.planted),
        share(|canary| canary.positive),
    ] {
        // Five standard deviations.
        assert!((888..=1112).contains(&count), "{count}");
    }
    let mut sum = RecordSum::new(plan().grid(), plan().record_cap(), PARAMETERS + 1);
    canaries.plant(&mut sum).unwrap();
    let units = i64::try_from(plan().grid().bits().units()).unwrap();
    let values = sum.dangerous_into_integers();
    assert!(
        values
            .iter()
            .all(|value| [-units, 0, units].contains(value))
    );
    assert_eq!(values.last(), Some(&0), "the loss is left alone");
}

#[test]
fn canaries_that_do_not_fit_are_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for (count, parameters) in [(6, 10), (1, 1), (MAX_CANARIES + 1, 10_000_000)] {
        let refused = Canaries::draw(count, parameters, &mut rng).unwrap_err();
        assert_eq!(refused.code(), "canary_count");
    }
    let canaries = Canaries::draw(5, 10, &mut rng).unwrap();
    let delta = Delta::new(1e-5).unwrap();
    let audit = |before: &[f32], after: &[f32], confidence| {
        let refused = canaries.audit(before, after, delta, confidence);
        refused.unwrap_err().code()
    };
    assert_eq!(audit(&[0.0; 10], &[0.0; 9], 0.95), "canary_model");
    for confidence in [0.0, 1.0, f64::NAN] {
        assert_eq!(
            audit(&[0.0; 10], &[0.0; 10], confidence),
            "canary_confidence"
        );
    }
    // A cap without room for them, and a model that is shorter than theirs.
    let cap = RecordCap::new(1).unwrap();
    let canaries = Canaries::draw(100, 200, &mut rng).unwrap();
    let mut sum = RecordSum::new(plan().grid(), cap, 201);
    assert!(canaries.plant(&mut sum).is_err());
    let short = canaries
        .audit(&[0.0; 4], &[0.0; 4], delta, 0.95)
        .unwrap_err();
    assert_eq!(short.code(), "canary_model");
    // Nothing planted, nothing shown.
    let none = Canaries::draw(0, 10, &mut rng).unwrap();
    let shown = none.audit(&[0.0; 10], &[1.0; 10], delta, 0.95).unwrap();
    assert!(shown.epsilon < f64::EPSILON);
}
