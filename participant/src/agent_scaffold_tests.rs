//! Four agents at a job of federated averaging with SCAFFOLD.

use consort_contract::FedAvg;
use consort_model::OptimizerState;

use super::fedavg::fedavg;
use super::*;

fn agreed() -> (Job, Plan) {
    let terms = FedAvg {
        scaffold: true,
        value_bits: 24,
        update_clip: 100.0,
        ..fedavg()
    };
    job_of(|document| document.algorithm = Algorithm::FedAvg(terms))
}

impl World {
    /// A round of all members on what this state announces, and the state after it.
    fn scaffold_round(&mut self, round: u32, state: &OptimizerState) -> OptimizerState {
        let announced = self.job.announced(state).into_owned();
        let open = self.open(round, 1, &announced);
        let sum = self.play(&open, &announced, &[1, 2, 3, 4]);
        let one = std::num::NonZeroUsize::MIN;
        let job = (&job_id(), &self.job);
        let advanced = self.plan.advance(job, round, state, sum.values(), 4, one);
        advanced.unwrap().0
    }

    /// The controls of all members for a round that begins with this state.
    fn controls(&self, state: &OptimizerState) -> Vec<Vec<f32>> {
        let announced = model_digest(&self.job.announced(state));
        let control = |i| {
            let agent: &Agent = &self.agents[&i];
            let kept = agent.state().control(&job_id(), 2).unwrap().unwrap();
            kept.at(announced.as_bytes()).to_vec()
        };
        (1..=MEMBERS).map(control).collect()
    }
}

#[test]
fn the_announced_control_is_the_mean_of_the_members_own_and_none_of_these_left_its_site() {
    let mut world = World::approved_on(agreed());
    let mut state = OptimizerState::initial(Parameters::initial(
        world.job.model(),
        &world.job.initial_seed(),
    ));
    for round in 1..=3 {
        state = world.scaffold_round(round, &state);
        let own = world.controls(&state);
        let announced = state.with_control();
        let all = &announced.as_slice()[2..];
        for (element, all) in all.iter().enumerate() {
            let mean = own.iter().map(|own| own[element]).sum::<f32>() / 4.0;
            // An average is rounded by up to 100/(2^23 - 1) of a member, and by its f32; c is a division of it by K·η_l = 1, three
            // times over.
            assert!((all - mean).abs() < 1e-4, "{all} {mean}");
            assert!(own.iter().any(|own| (own[element] - mean).abs() > 1e-2));
        }
    }
    // Each paid for its own steps, and for nothing else.
    assert_eq!(world.entries(1), 3);
}

#[test]
fn a_control_is_kept_over_a_restart_and_is_the_older_one_while_the_model_has_not_moved() {
    let mut world = World::approved_on(agreed());
    let start = OptimizerState::initial(Parameters::initial(
        world.job.model(),
        &world.job.initial_seed(),
    ));
    let first = world.scaffold_round(1, &start);
    let after = world.controls(&first);
    world.restart(1, |_| ());
    assert_eq!(world.controls(&first), after);
    // A round that was paid for and lost leaves the model as it is: before the first there was no control.
    assert_eq!(world.controls(&start), vec![vec![0.0; 2]; 4]);
    let second = world.scaffold_round(2, &first);
    assert_ne!(world.controls(&second), after);
    assert_eq!(world.controls(&first), after);
}

#[test]
fn a_control_of_steps_that_were_not_paid_for_is_not_kept() {
    let mut world = World::approved_on(agreed());
    let announced = world.job.first_announced();
    let open = world.open(1, 1, &announced);
    let Some(Effect::Train(task)) = world.say(1, announcement(&open)).pop() else {
        panic!("training follows an announcement")
    };
    let key = task.key.clone();
    let result = task.run(&mut rand_core::OsRng);
    assert!(result.as_ref().unwrap().control().is_some());
    let agent = world.agents.get_mut(&1).unwrap();
    agent.handle(Input::Trained { key, result }).unwrap();
    assert!(agent.state().control(&job_id(), 2).unwrap().is_none());
}
