//! Plans: that noise meets its target, and that what cannot be planned is refused by name.

use super::*;

fn target(epsilon: f64) -> PrivacyTarget {
    PrivacyTarget {
        epsilon: Epsilon::new(epsilon).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
        rounds: Steps::new(20).unwrap(),
        relation: Relation::AddRemove,
        members: 5,
        n_min: 4,
        c_noise: 1,
        source: NoiseSource::Cohort,
        batches: None,
    }
}

fn shape() -> UpdateShape {
    UpdateShape {
        elements: 32,
        record_cap: RecordCap::new(1000).unwrap(),
        clip: ClipNorm::new(1.0).unwrap(),
        grid: GridChoice::Coarsest,
    }
}

#[test]
fn the_variance_is_the_exact_ceiling() {
    let plan = NoisePlan::new(target(1.0), shape()).unwrap();
    let k = u128::from(plan.noise_multiplier().ten_thousandths_up());
    let scaled = (k * k) << (2 * plan.grid().bits().bits());
    let variance = u128::from(plan.member_variance().sigma_squared());
    assert!(variance * 300_000_000 >= scaled && (variance - 1) * 300_000_000 < scaled);
}

#[test]
fn the_coarsest_grid_in_range_is_taken_and_the_next_coarser_one_is_refused() {
    let plan = NoisePlan::new(target(1.0), shape()).unwrap();
    let bits = plan.grid().bits().bits();
    let with = |bits| UpdateShape {
        grid: GridChoice::Bits(GridBits::new(bits).unwrap()),
        ..shape()
    };
    assert_eq!(NoisePlan::new(target(1.0), with(bits)).unwrap(), plan);
    assert_eq!(
        NoisePlan::new(target(1.0), with(bits - 1)),
        Err(PlanError::GridOutOfRange { bits: bits - 1 })
    );
    assert!(NoisePlan::new(target(1.0), with(bits + 6)).is_ok());
    assert_eq!(
        NoisePlan::new(target(1.0), with(bits + 8)),
        Err(PlanError::GridOutOfRange { bits: bits + 8 })
    );
}

#[test]
fn the_target_holds_against_the_planned_coalition_and_fades_beyond() {
    let plan = NoisePlan::new(target(1.0), shape()).unwrap();
    let table = plan.epsilon_table();
    assert_eq!(table.len(), 4);
    assert!(table.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(table[1].value() <= 1.0 && table[1].value() > 0.999);
    assert_eq!(plan.epsilon_against(4), None);
}

#[test]
fn noise_for_four_at_epsilon_one_is_weaker_against_those_who_know_their_own() {
    // Four contributors who together reach ε = 1 leave 1.17 against one colluder and 2.16 against three.
    let mu = gaussian::greatest_mu(Epsilon::new(1.0).unwrap(), Delta::new(1e-5).unwrap());
    let against = |honest: f64| {
        gaussian::epsilon(mu * (4.0 / honest).sqrt(), Delta::new(1e-5).unwrap()).value()
    };
    assert!((against(3.0) - 1.17).abs() < 0.01, "{}", against(3.0));
    assert!((against(1.0) - 2.16).abs() < 0.01, "{}", against(1.0));
}

#[test]
fn the_noise_bound_covers_every_draw_of_the_job() {
    let plan = NoisePlan::new(target(1.0), shape()).unwrap();
    let k = plan.noise_bound() as f64 / (plan.member_variance().sigma_squared() as f64).sqrt();
    let wrap = 2.0 * (-0.5 * k * k).exp() * (5 * 32 * 20) as f64;
    assert!(wrap <= 2_f64.powi(-40) && wrap > 2_f64.powi(-40) * 0.99);
}

#[test]
fn a_job_without_a_colluder_or_without_contributors_is_refused() {
    let refused = |change: fn(&mut PrivacyTarget)| {
        let mut target = target(1.0);
        change(&mut target);
        NoisePlan::new(target, shape()).unwrap_err().code()
    };
    assert_eq!(
        refused(|target| target.c_noise = 0),
        "privacy_plan_no_colluder"
    );
    assert_eq!(
        refused(|target| target.c_noise = 4),
        "privacy_plan_too_few_contributors"
    );
    assert_eq!(
        refused(|target| target.members = 3),
        "privacy_plan_members_out_of_range"
    );
}

#[test]
fn a_stated_multiplier_below_the_target_is_refused_and_the_planned_one_accepted() {
    let plan = NoisePlan::new(target(1.0), shape()).unwrap();
    let count = plan.noise_multiplier().ten_thousandths_up();
    let stated = |count| {
        let noise = NoiseMultiplier::from_ten_thousandths(count).unwrap();
        NoisePlan::with_noise_multiplier(target(1.0), shape(), noise)
    };
    assert_eq!(stated(count).unwrap(), plan);
    assert_eq!(
        stated(count - 1).unwrap_err().code(),
        "privacy_plan_too_little_noise"
    );
}

#[test]
fn two_members_each_add_the_full_noise() {
    let two = PrivacyTarget {
        members: 2,
        n_min: 2,
        ..target(1.0)
    };
    let plan = NoisePlan::new(two, shape()).unwrap();
    assert!(plan.epsilon_against(1).unwrap().value() <= 1.0);
}

#[test]
fn replace_one_plans_for_twice_the_sensitivity() {
    let replace = PrivacyTarget {
        relation: Relation::ReplaceOne,
        ..target(1.0)
    };
    let plan = NoisePlan::new(replace, shape()).unwrap();
    let other = NoisePlan::new(target(1.0), shape()).unwrap();
    assert!(
        (plan.noise_multiplier().value() / other.noise_multiplier().value() - 2.0).abs() < 1e-4
    );
    assert!(plan.epsilon_against(1).unwrap().value() <= 1.0);
}

fn local(steps: u32) -> PrivacyTarget {
    PrivacyTarget {
        source: NoiseSource::Site {
            steps: Steps::new(steps).unwrap(),
        },
        ..target(1.0)
    }
}

#[test]
fn local_steps_cost_what_as_many_rounds_of_one_release_cost() {
    // 20 rounds of 4 steps are 80 Gaussian mechanisms of sensitivity 1. δ(1) = Φ(μ/2 − 1/μ) − e·Φ(−μ/2 − 1/μ) = 1e-5 (Balle and
    // Wang 2018, theorem 8) at μ = 0.268051123, by bisection in Python; σ = √80/μ = 33.36778.
    let plan = NoisePlan::new(local(4), shape()).unwrap();
    let sigma = plan.noise_multiplier().value();
    assert!((33.367_78..=33.368_0).contains(&sigma), "{sigma}");
    let eighty = PrivacyTarget {
        rounds: Steps::new(80).unwrap(),
        ..target(1.0)
    };
    let cohort = NoisePlan::new(eighty, shape()).unwrap();
    assert_eq!(plan.noise_multiplier(), cohort.noise_multiplier());
    assert_eq!(plan.spend(), cohort.spend());
    assert_eq!(plan.round_mechanism().steps().count(), 4);
    let half = plan.mechanism_of(Steps::new(10).unwrap()).unwrap();
    assert_eq!(half.steps().count(), 40);
}

#[test]
fn a_site_alone_draws_all_of_the_noise_whoever_else_is_there() {
    let plan = NoisePlan::new(local(4), shape()).unwrap();
    let k = u128::from(plan.noise_multiplier().ten_thousandths_up());
    let scaled = (k * k) << (2 * plan.grid().bits().bits());
    let variance = u128::from(plan.member_variance().sigma_squared());
    assert!(variance * 100_000_000 >= scaled && (variance - 1) * 100_000_000 < scaled);
    let more = PrivacyTarget {
        members: 50,
        n_min: 40,
        c_noise: 30,
        ..local(4)
    };
    let more = NoisePlan::new(more, shape()).unwrap();
    assert_eq!(more.member_variance(), plan.member_variance());
}

#[test]
fn the_promise_of_a_site_is_the_same_against_every_coalition() {
    let plan = NoisePlan::new(local(4), shape()).unwrap();
    let table = plan.epsilon_table();
    assert_eq!(table.len(), 4);
    assert!(table.iter().all(|epsilon| *epsilon == table[0]));
    assert!(table[0].value() <= 1.0 && table[0].value() > 0.999);
}

#[test]
fn steps_past_counting_are_refused() {
    let endless = PrivacyTarget {
        rounds: Steps::new(10_000).unwrap(),
        ..local(1_000_000)
    };
    let refused = NoisePlan::new(endless, shape()).unwrap_err();
    assert_eq!(refused.code(), "privacy_too_many_steps");
}

fn sampled(rate: f64, max_batch: u32) -> PrivacyTarget {
    let rate = SamplingRate::new(rate).unwrap();
    PrivacyTarget {
        rounds: Steps::new(200).unwrap(),
        batches: Some(PoissonBatches::new(rate, max_batch, 1000).unwrap()),
        ..target(1.0)
    }
}

#[test]
fn sampled_batches_take_less_noise_than_full_ones_and_keep_the_promise() {
    let plan = NoisePlan::new(sampled(0.05, 120), shape()).unwrap();
    let full = PrivacyTarget {
        batches: None,
        ..sampled(0.05, 120)
    };
    let full = NoisePlan::new(full, shape()).unwrap();
    let (sigma, of_full) = (
        plan.noise_multiplier().value(),
        full.noise_multiplier().value(),
    );
    assert!(sigma < 0.1 * of_full, "{sigma} {of_full}");
    let epsilon = plan.spend().enforced().value();
    // A ten-thousandth for the lift, one for the rounding of sigma.
    assert!(
        (0.999..=1.0 - SAMPLED_MARGIN).contains(&epsilon),
        "{epsilon}"
    );
    assert_eq!(plan.spend().exact(), None);
    let noise = plan.noise_multiplier();
    let again = NoisePlan::with_noise_multiplier(sampled(0.05, 120), shape(), noise).unwrap();
    assert_eq!(again, plan);
    let less = NoiseMultiplier::new(0.99 * noise.value()).unwrap();
    let refused = NoisePlan::with_noise_multiplier(sampled(0.05, 120), shape(), less);
    assert_eq!(refused.unwrap_err().code(), "privacy_plan_too_little_noise");
    let round = plan.round_mechanism();
    assert_eq!((round.sampling().value(), round.steps().count()), (0.05, 1));
    assert!(round.truncation().unwrap().is_bound());
}

#[test]
fn a_cap_far_above_the_mean_is_free_and_one_near_it_costs_noise() {
    // 1000 records at 0.05: 50 in the mean, a deviation of 6.9.
    let sigma = |max_batch| {
        let plan = NoisePlan::new(sampled(0.05, max_batch), shape()).unwrap();
        plan.noise_multiplier().value()
    };
    let (uncapped, generous, narrow) = (sigma(1000), sigma(120), sigma(60));
    assert!(
        (generous / uncapped - 1.0).abs() < 1e-3,
        "{generous} {uncapped}"
    );
    assert!(narrow > 1.02 * uncapped, "{narrow} {uncapped}");
}

#[test]
fn the_table_of_coalitions_of_sampled_batches_rises_and_holds_the_promise_as_far_as_it_goes() {
    let plan = NoisePlan::new(sampled(0.05, 120), shape()).unwrap();
    let table = plan.epsilon_table();
    assert_eq!(table.len(), 4);
    assert!(table.windows(2).all(|pair| pair[0] <= pair[1]), "{table:?}");
    assert!(table[1] <= plan.target().epsilon && table[2] > plan.target().epsilon);
}
