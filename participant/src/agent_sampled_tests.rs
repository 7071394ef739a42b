//! Four agents at a job of sampled batches.

use consort_contract::{DpFedSgd, Sampling};
use consort_privacy::{Delta, spend};

use super::*;
use crate::trainer::Contribution;

fn agreed(change: impl FnOnce(&mut DpFedSgd)) -> (Job, Plan) {
    job_of(|document| {
        let Algorithm::DpFedSgd(terms) = &mut document.algorithm else {
            panic!("the job is one of dp_fedsgd")
        };
        terms.sampling = Some(Sampling {
            rate: 0.5,
            max_batch: 3,
        });
        change(terms);
    })
}

#[test]
fn a_round_of_sampled_batches_is_opened_and_paid_for_at_its_rate_and_cap() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let sum = world.play(&open, &initial, &[1, 2, 3, 4]);
    assert_eq!(sum.values().len(), 3);

    let release = world.plan.noise().round_mechanism();
    assert_eq!(release.sampling().value(), 0.5);
    let cap = release.truncation().unwrap();
    assert_eq!(
        (cap.max_batch(), cap.records(), cap.is_bound()),
        (3, 100, true)
    );
    let price = spend(&[release], Delta::new(1e-5).unwrap()).unwrap();
    let dataset = world.job.document().dataset.clone();
    for i in 1..=MEMBERS {
        assert_eq!(world.entries(i), 1);
        assert_eq!(world.agents[&i].ledger().spent(&dataset), price.enforced());
        // The entry says so on disk too.
        world.restart(i, |_| ());
        assert_eq!(world.agents[&i].ledger().spent(&dataset), price.enforced());
    }
}

#[test]
fn each_round_sums_a_batch_of_its_own_that_may_be_empty_and_is_never_above_its_cap() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let Some(Effect::Train(task)) = world.say(1, announcement(&open)).pop() else {
        panic!("training follows an announcement")
    };
    // At zero parameters each record has the same loss: ln 2 of at most 2 nats, of a tenth of the clip norm.
    let units = world.plan.noise().grid().bits().units() as f64;
    let one = 2_f64.ln() / 2.0 * 0.1 * units;
    let mut found = [0_u32; 6];
    let runs = 600_u32;
    for _ in 0..runs {
        let Ok(Contribution::Gradient(sum)) = task.run(&mut rand_core::OsRng) else {
            panic!("a batch is summed")
        };
        let loss = *sum.dangerous_into_integers().last().unwrap() as f64;
        let records = (loss / one).round();
        // Truncation to the grid takes less than a unit of each record, f32 less than another.
        assert!(
            (loss - records * one).abs() <= 2.0 * records,
            "{loss} {one}"
        );
        let batch = (0_u8..6).position(|count| f64::from(count) == records);
        found[batch.unwrap()] += 1;
    }
    // Five records at one half, of more than three three: 1, 5, 10 and 16 of 32. Six standard deviations each.
    for (found, ways) in found.into_iter().zip([1.0, 5.0, 10.0, 16.0, 0.0, 0.0]) {
        let p = ways / 32.0;
        let (mean, spread) = (
            f64::from(runs) * p,
            (f64::from(runs) * p * (1.0 - p)).sqrt(),
        );
        assert!(
            (f64::from(found) - mean).abs() <= 6.0 * spread,
            "{found} {mean}"
        );
    }
}

/// Breaks R2a.
#[test]
fn a_round_under_another_rate_or_cap_than_were_voted_on_or_under_none_is_refused() {
    let mut world = World::approved_on(agreed(|_| ()));
    let initial = world.initial();
    let good = world.open(1, 1, &initial);
    let changes: [fn(&mut DpFedSgd); 3] = [
        |a| a.sampling.as_mut().unwrap().rate = 0.75,
        |a| a.sampling.as_mut().unwrap().max_batch = 4,
        |a| a.sampling = None,
    ];
    for change in changes {
        let (job, plan) = agreed(change);
        let mut terms = good.terms.clone();
        terms.contract = plan.contract_hash(&job);
        let other = RoundOpen::new(terms, &coordinator());
        assert!(world.say(1, announcement(&other)).is_empty());
    }
    assert_eq!(world.say(1, announcement(&good)).len(), 2);
}

#[test]
fn a_proposal_whose_noise_is_that_of_smaller_batches_gets_no_yes() {
    let (job, _) = agreed(|_| ());
    let (_, of_fewer) = agreed(|a| a.sampling.as_mut().unwrap().rate = 0.25);
    let file = data_file(RECORDS);
    let store = Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>;
    let mut agent = agent(site(1, &file.1), &store);
    let event = Event::Proposal(proposal(&job, &of_fewer));
    let said = agent.handle(Input::Said(Box::new(event))).unwrap();
    assert!(said.is_empty(), "a proposal that is not valid gets no vote");
}
