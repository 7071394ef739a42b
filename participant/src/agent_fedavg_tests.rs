//! Four agents at a job of federated averaging.

use consort_aggregation::Quantisation;
use consort_contract::{
    AdaptiveTerms, Decay, FedAvg, Rotation, Schedule, ServerOptimizerTerms, ServerStep, StepDecay,
};
use consort_model::OptimizerState;
use consort_privacy::{Delta, spend};

use super::*;

pub(super) fn fedavg() -> FedAvg {
    FedAvg {
        rounds: 3,
        local_steps: 2,
        clip: 1.0,
        local_learning_rate: 0.5,
        local_divisor: 20.0,
        loss_weight: 0.1,
        max_records_per_member: 100,
        update_clip: 2.0,
        value_range: None,
        value_bits: 12,
        rotation: Rotation::Hadamard,
        learning_rate: 1.0,
        momentum: 0.0,
        server_optimizer: None,
        schedule: None,
        local_schedule: None,
        proximal: None,
        scaffold: false,
    }
}

fn agreed(change: impl FnOnce(&mut FedAvg)) -> (Job, Plan) {
    let mut fedavg = fedavg();
    change(&mut fedavg);
    job_of(|document| document.algorithm = Algorithm::FedAvg(fedavg))
}

#[test]
fn a_round_of_local_steps_gives_a_bounded_average_and_is_paid_for_step_by_step() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let sum = world.play(&open, &initial, &[1, 2, 3, 4]);
    assert_eq!(sum.values().len(), 3);
    // Q = 2^11 − 1 for each of four members: masks are gone, and no noise comes on top.
    assert!(sum.values().iter().all(|value| value.abs() <= 4 * 2047));
    let state = OptimizerState::initial(initial.clone());
    let job = (&job_id(), &world.job);
    let (next, loss) = world
        .plan
        .advance(job, 1, &state, sum.values(), 4, std::num::NonZeroUsize::MIN)
        .unwrap();
    let moved = next.parameters().as_slice();
    assert_ne!(moved, initial.as_slice());
    // The average of updates of norm 2, a rounding step of 2/2047 for each of two elements, and f32.
    let length = moved.iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!(length <= 2.0 + 2.0 * 2.0 / 2047.0, "{length}");
    assert!(loss.unwrap().abs() <= consort_contract::algorithm::LOSS_RANGE);

    let noise = world.plan.noise();
    assert_eq!(noise.round_mechanism().steps().count(), 2);
    let delta = Delta::new(1e-5).unwrap();
    let price = spend(&[noise.round_mechanism()], delta).unwrap().enforced();
    for i in 1..=MEMBERS {
        assert_eq!(world.entries(i), 1);
        let dataset = &world.job.document().dataset;
        assert_eq!(world.agents[&i].ledger().spent(dataset), price);
    }

    let second = next.parameters().clone();
    let open = world.open(2, 1, &second);
    world.play(&open, &second, &[1, 2, 3, 4]);
    assert_eq!(world.entries(1), 2);
}

fn halving() -> Schedule {
    Schedule {
        warmup_rounds: 0,
        decay: Decay::Step(StepDecay {
            every: 1,
            factor: 0.5,
        }),
    }
}

fn adam() -> ServerOptimizerTerms {
    ServerOptimizerTerms::Fedadam(AdaptiveTerms {
        beta1: 0.5,
        beta2: 0.9,
        tau: 0.5,
    })
}

#[test]
fn a_job_with_every_option_is_voted_on_and_its_rounds_give_the_adaptive_step() {
    let mut world = World::approved_on(agreed(|a| {
        a.proximal = Some(1.0);
        a.schedule = Some(halving());
        a.local_schedule = Some(halving());
        a.server_optimizer = Some(adam());
    }));
    let mut state = OptimizerState::initial(world.initial());
    for round in 1..=3 {
        let parameters = state.parameters().clone();
        let open = world.open(round, 1, &parameters);
        let sum = world.play(&open, &parameters, &[1, 2, 3, 4]);
        let job = (&job_id(), &world.job);
        let one = std::num::NonZeroUsize::MIN;
        let advanced = world.plan.advance(job, round, &state, sum.values(), 4, one);
        state = advanced.unwrap().0;
        // By Cauchy and Schwarz |m|/√v ≤ √(Σ (β₁ᵏ(1 − β₁))²/(β₂ᵏ(1 − β₂))) = √(2.5/(1 − 0.25/0.9)) = 1.861; the schedule halves the
        // step from round to round.
        let most = 1.862 * 0.5_f32.powi(i32::try_from(round).unwrap() - 1);
        for (after, before) in state
            .parameters()
            .as_slice()
            .iter()
            .zip(parameters.as_slice())
        {
            assert!(after != before && (after - before).abs() <= most);
        }
    }
    // The price is that of the steps: nothing that draws or schedules them looks at a record.
    let plain = agreed(|_| ());
    assert_eq!(world.plan.noise().spend(), plain.1.noise().spend());
    assert_eq!(world.entries(1), 3);
}

#[test]
fn the_local_rate_of_a_schedule_shortens_the_way_of_later_rounds() {
    // One record would do: the noise of nine clip norms is what moves the model, by the local rate times its size.
    let (job, plan) = agreed(|a| {
        a.local_schedule = Some(halving());
        a.rounds = 20;
    });
    let ServerStep::Average(averaging) = plan.step() else {
        panic!("the plan is one of fedavg")
    };
    assert_eq!(
        averaging.local_rule(1).scaled(0.25),
        averaging.local_rule(3)
    );
    assert_ne!(averaging.local_rule(1), averaging.local_rule(2));
    assert_eq!(job.algorithm().rate_share(3), 1.0);
}

/// Breaks R2a.
#[test]
fn a_round_under_other_steps_noise_clip_or_bits_than_were_voted_on_is_refused() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let good = world.open(1, 1, &initial);
    let sigma = world.plan.noise().noise_multiplier().value() + 1.0;
    let bits = world.plan.noise().grid().bits().bits();
    let louder = Plan::with_noise(&world.job, sigma, bits).unwrap();
    let mut contracts = vec![louder.contract_hash(&world.job)];
    let changes: [fn(&mut FedAvg); 8] = [
        |a| a.local_steps = 1,
        |a| a.clip = 0.5,
        |a| a.update_clip = 1.0,
        |a| a.value_bits = 11,
        |a| a.proximal = Some(0.5),
        |a| a.local_schedule = Some(halving()),
        |a| a.schedule = Some(halving()),
        |a| a.server_optimizer = Some(adam()),
    ];
    for change in changes {
        let (job, plan) = agreed(change);
        contracts.push(plan.contract_hash(&job));
    }
    for contract in contracts {
        let mut terms = good.terms.clone();
        terms.contract = contract;
        let other = RoundOpen::new(terms, &coordinator());
        assert!(world.say(1, announcement(&other)).is_empty(), "{contract}");
    }
    assert_eq!(world.say(1, announcement(&good)).len(), 2);
}

/// Breaks R2d.
#[test]
fn a_round_that_reads_the_elements_as_other_values_is_refused() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let good = world.open(1, 1, &initial);
    for (quantised, rotated) in [(2047, false), (1023, true)] {
        let mut terms = good.terms.clone();
        terms.schema = terms.schema.of_values(Quantisation { quantised, rotated });
        let other = RoundOpen::new(terms, &coordinator());
        assert!(world.say(1, announcement(&other)).is_empty());
    }
    assert_eq!(world.say(1, announcement(&good)).len(), 2);
}

#[test]
fn local_steps_that_diverge_release_nothing_and_are_not_paid_for() {
    // The noise alone, of nine clip norms, moves a parameter past the largest f32 unless it is below 1e-9 clip norms.
    let mut world = World::approved_on(agreed(|a| {
        a.local_learning_rate = 3e38;
        a.clip = 1e9;
    }));
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let Some(Effect::Train(task)) = world.say(1, announcement(&open)).pop() else {
        panic!("training follows an announcement")
    };
    let fault = task.run(&mut rand_core::OsRng).unwrap_err();
    assert_eq!(fault.code(), "training_local_diverged");
    let key = task.key.clone();
    let input = Input::Trained {
        key,
        result: Err(fault),
    };
    let agent = world.agents.get_mut(&1).unwrap();
    assert!(agent.handle(input).unwrap().is_empty());
    assert_eq!(world.entries(1), 0);
}
