//! What a job may ask of its algorithm beyond what every job says: optimizers of the server, schedules, the proximal term.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::collections::BTreeSet;

use consort_contract::{Job, JobDocument, JobId, Plan};
use consort_model::{OptimizerState, Parameters};
use serde_json::{Value, json};

fn document(algorithm: &str) -> Value {
    let terms = match algorithm {
        "dp_fedsgd" => json!({
            "rounds": 6, "clip": 0.5, "learning_rate": 0.5, "momentum": 0.0, "divisor": 80.0,
            "max_records_per_member": 1000
        }),
        _ => json!({
            "rounds": 6, "local_steps": 3, "clip": 0.5, "local_learning_rate": 2.0, "local_divisor": 80.0,
            "max_records_per_member": 1000, "update_clip": 1.5, "value_bits": 16,
            "learning_rate": 1.0, "momentum": 0.0
        }),
    };
    let mut document = json!({
        "name": "options", "purpose": "tests", "dataset": "records",
        "members": ["clinic-1", "clinic-2", "clinic-3", "clinic-4", "clinic-5"],
        "data": {
            "features": [{"numeric": {"column": "a", "center": 0.0, "scale": 1.0, "clip": 3.0}}],
            "target": {"column": "ill", "positive_above": 0.5}
        },
        "model": {"layers": [{"dense": {"outputs": 1}}], "loss": "binary_cross_entropy"},
        "privacy": {"epsilon": 1.0, "delta": 0.00001}
    });
    document[algorithm] = terms;
    document
}

fn with(algorithm: &str, options: &Value) -> Value {
    let mut document = document(algorithm);
    for (name, value) in options.as_object().unwrap() {
        document[algorithm][name] = value.clone();
    }
    document
}

fn job(document: Value) -> Job {
    Job::new(serde_json::from_value(document).unwrap()).unwrap()
}

fn adam(beta1: f64) -> Value {
    json!({"fedadam": {"beta1": beta1, "beta2": 0.99, "tau": 0.001}})
}

/// Options that both algorithms know, each another one.
fn shared() -> Vec<Value> {
    vec![
        json!({}),
        json!({"server_optimizer": adam(0.9)}),
        json!({"server_optimizer": adam(0.8)}),
        json!({"server_optimizer": {"fedadam": {"beta1": 0.9, "beta2": 0.98, "tau": 0.001}}}),
        json!({"server_optimizer": {"fedadam": {"beta1": 0.9, "beta2": 0.99, "tau": 0.01}}}),
        json!({"server_optimizer": {"fedyogi": {"beta1": 0.9, "beta2": 0.99, "tau": 0.001}}}),
        json!({"schedule": {}}),
        json!({"schedule": {"warmup_rounds": 2}}),
        json!({"schedule": {"decay": {"step": {"every": 2, "factor": 0.5}}}}),
        json!({"schedule": {"decay": {"step": {"every": 3, "factor": 0.5}}}}),
        json!({"schedule": {"decay": {"step": {"every": 2, "factor": 0.25}}}}),
        json!({"schedule": {"decay": {"cosine": {"last": 0.0}}}}),
        json!({"schedule": {"decay": {"cosine": {"last": 0.5}}}}),
        json!({"server_optimizer": adam(0.9), "schedule": {"warmup_rounds": 2}}),
    ]
}

fn of_dp_fedsgd() -> Vec<Value> {
    let sampling =
        |rate: f64, max_batch: u32| json!({"sampling": {"rate": rate, "max_batch": max_batch}});
    vec![
        sampling(0.5, 600),
        sampling(0.25, 600),
        sampling(0.5, 601),
        json!({"sampling": {"rate": 0.5, "max_batch": 600}, "server_optimizer": adam(0.9)}),
    ]
}

fn of_fedavg() -> Vec<Value> {
    vec![
        json!({"local_schedule": {"warmup_rounds": 2}}),
        json!({"local_schedule": {"decay": {"cosine": {"last": 0.0}}}}),
        json!({"schedule": {"warmup_rounds": 2}, "local_schedule": {"warmup_rounds": 2}}),
        json!({"proximal": 0.5}),
        json!({"proximal": 0.25}),
        json!({"scaffold": true}),
        json!({"scaffold": true, "local_schedule": {"warmup_rounds": 2}}),
    ]
}

#[test]
fn every_option_moves_the_hash_that_members_vote_on_and_survives_its_json() {
    let of_dp_fedsgd = shared().into_iter().chain(of_dp_fedsgd()).collect();
    let of_fedavg: Vec<Value> = shared().into_iter().chain(of_fedavg()).collect();
    for (algorithm, options) in [("dp_fedsgd", of_dp_fedsgd), ("fedavg", of_fedavg)] {
        let mut hashes = BTreeSet::new();
        for options in &options {
            let document = with(algorithm, options);
            let read: JobDocument = serde_json::from_value(document.clone()).unwrap();
            let written = serde_json::to_value(&read).unwrap();
            let again: JobDocument = serde_json::from_value(written).unwrap();
            assert_eq!(again, read);
            let job = job(document);
            let plan = Plan::derive(&job).unwrap();
            hashes.insert(plan.contract_hash(&job));
        }
        assert_eq!(hashes.len(), options.len(), "{algorithm}");
    }
}

fn refused(algorithm: &str, options: &Value) -> String {
    let document = serde_json::from_value(with(algorithm, options)).unwrap();
    let refused = Job::new(document).unwrap_err();
    assert_eq!(refused.code(), "job_number_out_of_range");
    refused.to_string()
}

#[test]
fn an_option_out_of_its_range_is_refused_by_its_name() {
    let yogi = |beta1: f64, beta2: f64, tau: f64| {
        let terms = json!({"beta1": beta1, "beta2": beta2, "tau": tau});
        json!({"server_optimizer": {"fedyogi": terms}})
    };
    let step = |every: u32, factor: f64| {
        let step = json!({"every": every, "factor": factor});
        json!({"schedule": {"decay": {"step": step}}})
    };
    let cases = [
        (yogi(1.0, 0.5, 0.1), "server_optimizer.beta1"),
        (yogi(0.5, -0.5, 0.1), "server_optimizer.beta2"),
        (yogi(0.5, 0.5, 0.0), "server_optimizer.tau"),
        (
            json!({"server_optimizer": adam(0.5), "momentum": 0.5}),
            "momentum",
        ),
        (
            json!({"schedule": {"warmup_rounds": 6}}),
            "schedule.warmup_rounds",
        ),
        (step(0, 0.5), "schedule.decay.step.every"),
        (step(1, 0.0), "schedule.decay.step.factor"),
        (step(1, 1.5), "schedule.decay.step.factor"),
        (
            json!({"schedule": {"decay": {"cosine": {"last": 1.5}}}}),
            "schedule.decay.cosine.last",
        ),
    ];
    for (options, field) in &cases {
        for algorithm in ["dp_fedsgd", "fedavg"] {
            let said = refused(algorithm, options);
            assert!(said.starts_with(&format!("{field} = ")), "{said}");
        }
    }
    for (rate, max_batch, field) in [
        (0.0, 10, "rate"),
        (1.0, 10, "rate"),
        (1e-310, 10, "rate"),
        (0.5, 0, "max_batch"),
        (0.5, 1001, "max_batch"),
    ] {
        let sampling = json!({"sampling": {"rate": rate, "max_batch": max_batch}});
        let said = refused("dp_fedsgd", &sampling);
        let field = format!("dp_fedsgd.sampling.{field} = ");
        assert!(said.starts_with(&field), "{said}");
    }
    let local = json!({"local_schedule": {"warmup_rounds": 6}});
    let said = refused("fedavg", &local);
    assert!(
        said.starts_with("local_schedule.warmup_rounds = "),
        "{said}"
    );
    // Twice the local learning rate is 1 at 0.5.
    for proximal in [0.0, -1.0, 0.51] {
        let said = refused("fedavg", &json!({"proximal": proximal}));
        assert!(said.starts_with("fedavg.proximal = "), "{said}");
    }
}

#[test]
fn scaffold_beside_what_it_has_no_control_of_is_refused_by_name() {
    for (options, field) in [
        (
            json!({"scaffold": true, "momentum": 0.5}),
            "fedavg.momentum",
        ),
        (
            json!({"scaffold": true, "server_optimizer": adam(0.9)}),
            "fedavg.server_optimizer",
        ),
        (
            json!({"scaffold": true, "proximal": 0.25}),
            "fedavg.proximal",
        ),
        (
            // The second round's rate would be 0 in f32, and updates are divided by it.
            json!({"scaffold": true, "rounds": 2, "local_schedule": {"decay": {"step": {"every": 1, "factor": 1e-46}}}}),
            "fedavg.local_learning_rate",
        ),
    ] {
        let said = refused("fedavg", &options);
        assert!(said.starts_with(&format!("{field} = ")), "{said}");
    }
    let mut wide = with("fedavg", &json!({"scaffold": true}));
    wide["model"]["layers"] =
        json!([{"dense": {"outputs": 400_000}}, "tanh", {"dense": {"outputs": 1}}]);
    let refused = Job::new(serde_json::from_value(wide).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("at most 1000000"), "{refused}");
}

#[test]
fn a_round_with_scaffold_begins_with_the_model_and_the_control_behind_it() {
    let [plain, scaffold] = [json!({}), json!({"scaffold": true})].map(|o| job(with("fedavg", &o)));
    let start = |job: &Job| Parameters::initial(job.model(), &job.initial_seed());
    assert_eq!(plain.first_announced(), start(&plain));
    assert_eq!(
        (plain.announced_values(), scaffold.announced_values()),
        (2, 4)
    );
    assert_eq!(scaffold.first_announced().as_slice(), [0.0; 4]);
    let plan = Plan::derive(&scaffold).unwrap();
    let id = JobId::new("job-1").unwrap();
    let state = OptimizerState::initial(start(&scaffold));
    let one = std::num::NonZeroUsize::MIN;
    let sum = [32_767 * 4, -32_767, 0];
    // Four of five members: the average is 1.5 and -0.375, and K·η_l is 6.
    let (next, _) = plan
        .advance((&id, &scaffold), 1, &state, &sum, 4, one)
        .unwrap();
    let announced = scaffold.announced(&next);
    let expected = [1.5, -0.375, -0.8 * 1.5 / 6.0, 0.8 * 0.375 / 6.0];
    for (found, expected) in announced.as_slice().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{announced:?}");
    }
    assert_eq!(next.parameters().as_slice(), &announced.as_slice()[..2]);
    // What was announced is c in the next round: nobody moved, so four fifths of it fade.
    let (later, _) = plan
        .advance((&id, &scaffold), 2, &next, &[0, 0, 0], 4, one)
        .unwrap();
    let later = scaffold.announced(&later);
    assert!((later.as_slice()[2] - 0.2 * announced.as_slice()[2]).abs() < 1e-7);
}

#[test]
fn an_optimizer_or_decay_that_nobody_knows_is_refused() {
    for options in [
        json!({"server_optimizer": {"fedsgdm": {}}}),
        json!({"server_optimizer": {"fedadam": {"beta1": 0.9, "beta2": 0.99, "tau": 0.1, "beta3": 1}}}),
        json!({"schedule": {"decay": "sudden"}}),
        json!({"proximal": 0.5}),
        json!({"sampling": {"rate": 0.5, "max_batch": 10, "seed": 1}}),
    ] {
        let read = serde_json::from_value::<JobDocument>(with("dp_fedsgd", &options));
        assert!(read.is_err(), "{options}");
    }
}

#[test]
fn sampled_batches_are_planned_with_less_noise_and_sized_by_their_cap() {
    let rounds = json!({"rounds": 100});
    let sampled = json!({"rounds": 100, "sampling": {"rate": 0.05, "max_batch": 120}});
    let [full, sampled] = [rounds, sampled].map(|options| {
        let job = job(with("dp_fedsgd", &options));
        Plan::derive(&job).unwrap()
    });
    let sigma = |plan: &Plan| plan.noise().noise_multiplier().value();
    assert!(sigma(&sampled) < 0.15 * sigma(&full));
    assert_eq!(sampled.noise().record_cap().records(), 120);
    assert_eq!(full.noise().record_cap().records(), 1000);
    // An outsider's figure for it, with `--max-batch 120 --records-at-most 1000`.
    let release = sampled
        .noise()
        .mechanism_of(consort_privacy::Steps::new(100).unwrap());
    let cap = release.unwrap().truncation().unwrap();
    assert_eq!(
        (cap.max_batch(), cap.records(), cap.is_bound()),
        (120, 1000, true)
    );
    let table = sampled.noise().epsilon_table();
    assert!(table[1].value() <= 1.0 && table[2].value() > 1.0);
}

#[test]
fn a_schedule_moves_the_model_by_its_share_of_the_plain_step() {
    let halves = json!({"schedule": {"decay": {"step": {"every": 1, "factor": 0.5}}}});
    let moved = |options: &Value, round| {
        let job = job(with("dp_fedsgd", options));
        let plan = Plan::derive(&job).unwrap();
        let start = Parameters::initial(job.model(), &job.initial_seed());
        let id = JobId::new("job-1").unwrap();
        let sum = [1 << 20, -(1 << 24), 0];
        let state = OptimizerState::initial(start);
        let one = std::num::NonZeroUsize::MIN;
        let (next, _) = plan
            .advance((&id, &job), round, &state, &sum, 5, one)
            .unwrap();
        next.parameters().as_slice().to_vec()
    };
    let plain = moved(&json!({}), 1);
    assert!(plain[0] < 0.0 && plain[1] > 0.0);
    for (round, share) in [(1, 1.0_f32), (2, 0.5), (3, 0.25), (6, 0.03125)] {
        // The model starts at zero and a half is exact.
        let expected: Vec<f32> = plain.iter().map(|v| v * share).collect();
        assert_eq!(moved(&halves, round), expected);
    }
}
