use super::*;
use crate::entry::Account;
use crate::grid::{ClipNorm, RecordCap};
use crate::ledger::{Cap, Ledger};
use crate::mechanism::{Mechanism, Relation};
use crate::noise::{DiscreteGaussian, NoiseVariance};
use crate::plan::{GridChoice, PrivacyTarget, UpdateShape};
use crate::quantity::{Delta, Epsilon, Steps};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const GLOBAL: [f32; 2] = [0.5, -1.0];

fn plan(source: NoiseSource) -> NoisePlan {
    let target = PrivacyTarget {
        epsilon: Epsilon::new(1.0).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
        rounds: Steps::new(20).unwrap(),
        relation: Relation::AddRemove,
        members: 5,
        n_min: 4,
        c_noise: 1,
        source,
        batches: None,
    };
    let shape = UpdateShape {
        elements: 3,
        record_cap: RecordCap::new(100).unwrap(),
        clip: ClipNorm::new(0.5).unwrap(),
        grid: GridChoice::Coarsest,
    };
    NoisePlan::new(target, shape).unwrap()
}

fn site(steps: u32) -> NoisePlan {
    plan(NoiseSource::Site {
        steps: Steps::new(steps).unwrap(),
    })
}

fn debit(mechanism: Mechanism) -> Debit {
    let cap = Cap {
        epsilon: Epsilon::new(2.0).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
    };
    let mut ledger = Ledger::new(Account::new("heart", "training").unwrap(), cap);
    let authorization = ledger
        .authorize(DebitKey::new("job", 1, 1).unwrap(), &mechanism)
        .unwrap();
    ledger.apply(authorization).unwrap()
}

fn noise(variance: NoiseVariance, seed: u64) -> NoiseVector {
    DiscreteGaussian::new(variance)
        .sample_vector(3, &mut ChaCha20Rng::seed_from_u64(seed))
        .unwrap()
}

fn sum(plan: &NoisePlan) -> RecordSum {
    let mut sum = RecordSum::new(plan.grid(), plan.record_cap(), 3);
    sum.add_record(&[0.25, -0.25, 0.125]).unwrap();
    sum
}

fn start(plan: &NoisePlan) -> Result<LocalModel<'static>, ReleaseError> {
    LocalModel::at(&GLOBAL, LocalRule::new(0.5, 4.0).unwrap(), plan)
}

#[test]
fn a_local_model_moves_against_each_noised_sum_and_its_update_is_the_way_it_went() {
    let plan = site(2);
    let mut model = start(&plan).unwrap();
    let mut expected = GLOBAL;
    let unit = 0.5 / 2_f32.powi(plan.grid().bits().bits().into());
    let mut loss = 0.0;
    for seed in [1, 2] {
        let drawn = noise(plan.member_variance(), seed).values().to_vec();
        let whole = sum(&plan).with_noise(&drawn);
        for (parameter, sum) in expected.iter_mut().zip(&whole) {
            *parameter -= 0.5 * ((*sum as f32 * unit) / 4.0);
        }
        loss = whole[2] as f64 / plan.grid().bits().units() as f64;
        model
            .step(sum(&plan), noise(plan.member_variance(), seed))
            .unwrap();
        assert_eq!(model.values(), expected);
    }
    let update = model.finish().unwrap();
    let update = update
        .release(&plan, debit(plan.round_mechanism()))
        .unwrap();
    assert_eq!(
        format!("{update:?}"),
        "PrivateModelUpdate(job job, round 1, attempt 1, 2 parameters)"
    );
    let (values, told) = update.into_values();
    assert_eq!(*values, [expected[0] - GLOBAL[0], expected[1] - GLOBAL[1]]);
    assert_eq!(told, loss);
}

#[test]
fn the_proximal_term_draws_each_step_to_the_global_model_and_by_nothing_else() {
    let plan = site(2);
    let rule = LocalRule::new(0.5, 4.0).unwrap();
    let drawn_rule = rule.with_proximal(0.25).unwrap();
    let [mut plain, mut drawn] =
        [rule, drawn_rule].map(|rule| LocalModel::at(&GLOBAL, rule, &plan).unwrap());
    let take = |model: &mut LocalModel<'_>, seed| {
        model
            .step(sum(&plan), noise(plan.member_variance(), seed))
            .unwrap();
        model.values().to_vec()
    };
    // At the global model nothing draws.
    let first = take(&mut plain, 1);
    assert_eq!(take(&mut drawn, 1), first);
    let (second, nearer) = (take(&mut plain, 2), take(&mut drawn, 2));
    for i in 0..2 {
        let way = first[i] - GLOBAL[i];
        let expected = second[i] - 0.5 * 0.25 * way;
        assert!(
            (nearer[i] - expected).abs() <= 1e-5 * way.abs(),
            "{nearer:?}"
        );
        assert_ne!(nearer[i], second[i]);
    }
    for wrong in [-0.5, f32::NAN, f32::INFINITY] {
        let refused = rule.with_proximal(wrong).unwrap_err();
        assert_eq!(refused.code(), "privacy_local_proximal");
    }
}

#[test]
fn a_step_too_few_and_a_step_too_many_are_refused() {
    let plan = site(2);
    let take =
        |model: &mut LocalModel<'_>| model.step(sum(&plan), noise(plan.member_variance(), 1));
    let mut model = start(&plan).unwrap();
    take(&mut model).unwrap();
    let early = model.finish().unwrap_err();
    assert_eq!(
        early,
        ReleaseError::OtherSteps {
            taken: 1,
            planned: 2
        }
    );
    let mut model = start(&plan).unwrap();
    take(&mut model).unwrap();
    take(&mut model).unwrap();
    let held = model.values().to_vec();
    assert_eq!(
        take(&mut model).unwrap_err().code(),
        "privacy_release_other_steps"
    );
    assert_eq!(model.values(), held);
}

#[test]
fn noise_of_a_share_only_and_a_plan_that_counts_on_others_are_refused() {
    let (alone, shared) = (site(1), plan(NoiseSource::Cohort));
    // A third of the variance: what a member of the cohort would draw.
    let share = NoiseVariance::new(alone.member_variance().sigma_squared() / 3).unwrap();
    let refused = start(&alone).unwrap().step(sum(&alone), noise(share, 1));
    assert_eq!(refused.unwrap_err(), ReleaseError::OtherNoise);
    assert_eq!(start(&shared).unwrap_err(), ReleaseError::OtherSource);
    let refused = crate::PrivateUpdate::release(
        sum(&alone),
        noise(alone.member_variance(), 1),
        &alone,
        debit(alone.round_mechanism()),
    );
    assert_eq!(refused.unwrap_err(), ReleaseError::OtherSource);
}

#[test]
fn a_debit_of_one_step_does_not_pay_for_two() {
    let plan = site(2);
    let mut model = start(&plan).unwrap();
    for seed in [1, 2] {
        let drawn = noise(plan.member_variance(), seed);
        model.step(sum(&plan), drawn).unwrap();
    }
    let update = model.finish().unwrap();
    let round = plan.round_mechanism();
    let one = Mechanism::new(
        round.noise_multiplier(),
        round.sampling(),
        Steps::ONE,
        round.relation(),
        round.unit(),
    );
    let refused = update.release(&plan, debit(one)).unwrap_err();
    assert_eq!(refused, ReleaseError::OtherDebit);
}

#[test]
fn steps_that_were_noised_under_another_plan_are_not_released() {
    let (one, two) = (site(1), site(2));
    let mut model = start(&one).unwrap();
    model
        .step(sum(&one), noise(one.member_variance(), 1))
        .unwrap();
    let update = model.finish().unwrap();
    let refused = update
        .release(&two, debit(two.round_mechanism()))
        .unwrap_err();
    assert_eq!(refused, ReleaseError::OtherPlan);
}

#[test]
fn constants_out_of_range_are_refused() {
    for (rate, divisor, code) in [
        (0.0, 1.0, "privacy_local_learning_rate"),
        (f32::NAN, 1.0, "privacy_local_learning_rate"),
        (0.1, 0.5, "privacy_local_divisor"),
        (0.1, f32::INFINITY, "privacy_local_divisor"),
    ] {
        assert_eq!(LocalRule::new(rate, divisor).unwrap_err().code(), code);
    }
}
