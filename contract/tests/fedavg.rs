//! A job of federated averaging: its document, its plan, and the way of an update into a sum and out of it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use consort_aggregation::{
    Accumulator, EncodedUpdate, MaskSeed, Quantisation, Sign, Width, mask_update,
};
use consort_contract::algorithm::LOSS_RANGE_IN_CAPS;
use consort_contract::{Averaging, Job, JobDocument, JobId, Plan, ServerStep};
use consort_model::{OptimizerState, Parameters};
use consort_privacy::{
    Account, Cap, Debit, DebitKey, Delta, DiscreteGaussian, Epsilon, Ledger, LocalModel,
    PrivateModelUpdate, RecordSum,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

/// 3 inputs, 4 hidden units: 21 parameters.
fn document() -> Value {
    let column =
        |name: &str| json!({"numeric": {"column": name, "center": 0.0, "scale": 1.0, "clip": 3.0}});
    json!({
        "name": "local", "purpose": "tests", "dataset": "records",
        "members": ["clinic-1", "clinic-2", "clinic-3", "clinic-4", "clinic-5"],
        "data": {
            "features": [column("a"), column("b"), column("c")],
            "target": {"column": "ill", "positive_above": 0.5}, "missing": "refuse"
        },
        "model": {
            "layers": [{"dense": {"outputs": 4}}, "tanh", {"dense": {"outputs": 1}}],
            "loss": "binary_cross_entropy"
        },
        "fedavg": {
            "rounds": 5, "local_steps": 3, "clip": 0.5, "local_learning_rate": 2.0, "local_divisor": 80.0,
            "loss_weight": 0.25, "max_records_per_member": 1000, "update_clip": 1.5, "value_bits": 16,
            "learning_rate": 1.0, "momentum": 0.0
        },
        "privacy": {"epsilon": 1.0, "delta": 0.00001}
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut changed = document();
    changed["fedavg"][field] = value;
    changed
}

fn job(document: Value) -> Job {
    Job::new(serde_json::from_value(document).unwrap()).unwrap()
}

fn planned(document: Value) -> (Job, Plan) {
    let job = job(document);
    let plan = Plan::derive(&job).unwrap();
    (job, plan)
}

#[test]
fn every_field_moves_the_hash_that_members_vote_on() {
    let (job, plan) = planned(document());
    let told = (job.hash(), plan.contract_hash(&job));
    for (field, value) in [
        ("rounds", json!(6)),
        ("local_steps", json!(2)),
        ("clip", json!(0.25)),
        ("local_learning_rate", json!(1.0)),
        ("local_divisor", json!(81.0)),
        ("loss_weight", json!(0.0)),
        ("max_records_per_member", json!(1001)),
        ("update_clip", json!(1.75)),
        ("value_range", json!(1.0)),
        ("value_bits", json!(15)),
        ("rotation", json!("hadamard")),
        ("learning_rate", json!(0.5)),
        ("momentum", json!(0.5)),
    ] {
        let (other, its_plan) = planned(with(field, value));
        assert_ne!(other.hash(), told.0, "{field}");
        assert_ne!(its_plan.contract_hash(&other), told.1, "{field}");
    }
    // Another sigma is another contract on the same job.
    let sigma = plan.noise().noise_multiplier().value() + 0.5;
    let bits = plan.noise().grid().bits().bits();
    let louder = Plan::with_noise(&job, sigma, bits).unwrap();
    assert_ne!(louder.contract_hash(&job), told.1);
    let quieter = Plan::with_noise(&job, sigma - 1.0, bits).unwrap_err();
    assert_eq!(quieter.code(), "privacy_plan_too_little_noise");
    // The default range is the clip, whoever writes it.
    let (same, _) = planned(with("value_range", json!(1.5)));
    assert_eq!(same.hash(), told.0);
}

#[test]
fn a_number_out_of_its_range_is_refused_by_its_name() {
    for (field, value) in [
        ("rounds", json!(0)),
        ("local_steps", json!(0)),
        ("local_steps", json!(1001)),
        ("clip", json!(-1.0)),
        ("local_learning_rate", json!(0.0)),
        ("local_divisor", json!(0.5)),
        ("loss_weight", json!(1.0)),
        ("max_records_per_member", json!(0)),
        ("update_clip", json!(0.0)),
        ("update_clip", json!(-2.0)),
        ("update_clip", json!(1e300)),
        ("value_range", json!(0.0)),
        ("value_range", json!(1.75)),
        ("value_bits", json!(1)),
        ("value_bits", json!(25)),
        ("learning_rate", json!(0.0)),
        ("momentum", json!(1.0)),
    ] {
        let document = serde_json::from_value(with(field, value)).unwrap();
        let refused = Job::new(document).unwrap_err();
        assert_eq!(refused.code(), "job_number_out_of_range");
        let said = refused.to_string();
        assert!(said.starts_with(&format!("fedavg.{field} = ")), "{said}");
    }
    let vanishing = job(with("loss_weight", json!(1e-310)));
    let said = Plan::derive(&vanishing).unwrap_err().to_string();
    assert!(said.starts_with("fedavg.loss_weight"), "{said}");
    // JSON has no infinity; the wire has.
    let mut infinite: JobDocument = serde_json::from_value(document()).unwrap();
    let consort_contract::Algorithm::FedAvg(fedavg) = &mut infinite.algorithm else {
        panic!("the document says fedavg")
    };
    fedavg.update_clip = f64::INFINITY;
    let said = Job::new(infinite).unwrap_err().to_string();
    assert!(said.starts_with("fedavg.update_clip = inf"), "{said}");
}

#[test]
fn a_document_of_no_or_two_algorithms_is_refused_and_names_both() {
    let refused = |document: Value| {
        serde_json::from_value::<JobDocument>(document)
            .unwrap_err()
            .to_string()
    };
    let mut none = document();
    none.as_object_mut().unwrap().remove("fedavg");
    let said = refused(none);
    assert!(
        said.contains("dp_fedsgd, fedavg, stats or evaluate is missing"),
        "{said}"
    );
    let mut both = document();
    both["dp_fedsgd"] = json!({
        "rounds": 5, "clip": 0.5, "learning_rate": 1.0, "momentum": 0.0, "divisor": 80.0,
        "max_records_per_member": 1000
    });
    let said = refused(both);
    assert!(
        said.contains("more than one of dp_fedsgd, fedavg, stats and evaluate is there"),
        "{said}"
    );
    let said = refused(with("local_stepz", json!(3)));
    assert!(said.contains("local_stepz"), "{said}");
}

#[test]
fn a_document_is_written_with_its_algorithm_under_its_name() {
    let read: JobDocument = serde_json::from_value(document()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written["fedavg"]["value_bits"], 16);
    assert!(written.get("dp_fedsgd").is_none());
    assert_eq!(
        serde_json::from_value::<JobDocument>(written).unwrap(),
        read
    );
}

#[test]
fn the_plan_counts_every_local_step_and_sizes_the_ring_by_the_values_alone() {
    let (job, plan) = planned(document());
    let noise = plan.noise();
    // 5 rounds of 3 steps. sqrt(15)/0.268051123, see consort_privacy::plan.
    let sigma = noise.noise_multiplier().value();
    assert!((14.4487..=14.4490).contains(&sigma), "{sigma}");
    assert_eq!(noise.round_mechanism().steps().count(), 3);
    assert_eq!(noise.noise_bound(), 0);
    let table = noise.epsilon_table();
    assert!(table.iter().all(|epsilon| *epsilon == table[0]));
    // 5·(2^15 − 1) = 163 835 has 18 bits.
    assert_eq!(plan.width(), Width::new(19).unwrap());
    assert_eq!(plan.schema().elements(), 22);
    let values = Quantisation {
        quantised: 32_767,
        rotated: false,
    };
    assert_eq!(plan.schema().values(), Some(values));
    let (_, rotated) = planned(with("rotation", json!("hadamard")));
    assert_ne!(plan.schema().hash(), rotated.schema().hash());
    assert_eq!(job.elements(), 22);
}

// --- From updates to the next model ---

const MEMBERS: u64 = 5;

fn id() -> JobId {
    JobId::new("job-1").unwrap()
}

fn averaging(plan: &Plan) -> &Averaging {
    match plan.step() {
        ServerStep::Average(averaging) => averaging,
        ServerStep::Gradient(_) | ServerStep::Report => panic!("the plan is one of fedavg"),
    }
}

fn start(job: &Job) -> Parameters {
    Parameters::initial(job.model(), &job.initial_seed())
}

fn debit(plan: &Plan) -> Debit {
    let cap = Cap {
        epsilon: Epsilon::new(2.0).unwrap(),
        delta: Delta::new(1e-5).unwrap(),
    };
    let mut ledger = Ledger::new(Account::new("records", "all").unwrap(), cap);
    let key = DebitKey::new("job-1", 1, 1).unwrap();
    let authorization = ledger
        .authorize(key, &plan.noise().round_mechanism())
        .unwrap();
    ledger.apply(authorization).unwrap()
}

/// A member's noised local steps on one record: the update, and what it says in real numbers.
fn member(job: &Job, plan: &Plan, seed: u64) -> (PrivateModelUpdate, Vec<f32>) {
    let (noise, global) = (plan.noise(), start(job));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut local =
        LocalModel::at(global.as_slice(), averaging(plan).local_rule(1), noise).unwrap();
    for _ in 0..noise.round_mechanism().steps().count() {
        let drawn = DiscreteGaussian::new(noise.member_variance());
        let drawn = drawn.sample_vector(22, &mut rng).unwrap();
        let mut sum = RecordSum::new(noise.grid(), noise.record_cap(), 22);
        sum.add_record(&[0.1; 22]).unwrap();
        local.step(sum, drawn).unwrap();
    }
    let pairs = local.values().iter().zip(global.as_slice());
    let moved = pairs.map(|(local, global)| local - global).collect();
    let update = local.finish().unwrap();
    (update.release(noise, debit(plan)).unwrap(), moved)
}

fn encoded(job: &Job, plan: &Plan, update: PrivateModelUpdate, seed: u64) -> EncodedUpdate {
    let mut rng = ChaCha20Rng::seed_from_u64(1_000_000 + seed);
    let averaging = averaging(plan);
    let encoded = averaging.encode(&id(), 1, job.model(), plan.schema(), update, &mut rng);
    encoded.unwrap()
}

/// The sum of updates, each under two masks that are taken away again.
fn sum(plan: &Plan, updates: Vec<EncodedUpdate>) -> Vec<i64> {
    let masks = [
        (MaskSeed::new([7; 32]), Sign::Plus),
        (MaskSeed::new([8; 32]), Sign::Minus),
    ];
    let mut sum = Accumulator::new(plan.schema());
    for update in updates {
        let masked = mask_update(update, &masks[0].0, &masks[1..]).unwrap();
        let bytes: Vec<u8> = masked
            .chunks()
            .flat_map(|(_, chunk)| chunk.to_vec())
            .collect();
        sum.add_packed(&bytes).unwrap();
        sum.subtract_masks(&masks);
    }
    sum.finish().values().to_vec()
}

fn clipped(update: &[f32], norm: f64) -> Vec<f64> {
    let square = |value: &f32| f64::from(*value).powi(2);
    let length = update.iter().map(square).sum::<f64>().sqrt();
    let factor = (norm / length).min(1.0);
    update.iter().map(|v| f64::from(*v) * factor).collect()
}

/// What the server's step adds to the global model, and the mean of what the members moved.
fn both_means(document: Value) -> (Vec<f64>, Vec<f64>) {
    let (job, plan) = planned(document);
    let (updates, moved): (Vec<_>, Vec<_>) =
        (1..=MEMBERS).map(|seed| member(&job, &plan, seed)).unzip();
    let updates = (1..)
        .zip(updates)
        .map(|(seed, update)| encoded(&job, &plan, update, seed));
    let sum = sum(&plan, updates.collect());
    let state = OptimizerState::initial(start(&job));
    let (next, _) = plan
        .advance(
            (&id(), &job),
            1,
            &state,
            &sum,
            5,
            std::num::NonZeroUsize::MIN,
        )
        .unwrap();
    let global = start(&job);
    let pairs = next.parameters().as_slice().iter().zip(global.as_slice());
    let found = pairs.map(|(next, global)| f64::from(*next) - f64::from(*global));
    let mut plain = vec![0.0; 21];
    for update in &moved {
        for (mean, value) in plain.iter_mut().zip(clipped(update, 1.5)) {
            *mean += value / MEMBERS as f64;
        }
    }
    (found.collect(), plain)
}

#[test]
fn the_server_adds_the_mean_of_the_clipped_updates_within_one_rounding_step() {
    let (found, plain) = both_means(document());
    let moved = plain.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!(moved > 0.1, "the updates are no trifle: {moved}");
    for (found, plain) in found.iter().zip(&plain) {
        // Each member is within one step of 1.5/32 767, so the mean is; f32 on parameters of about 1 adds 2^-23.
        let bound = 1.5 / 32_767.0 + 2.4e-7;
        assert!((found - plain).abs() <= bound, "{found} {plain}");
    }
}

#[test]
fn a_rotated_sum_comes_back_to_the_same_mean() {
    let mut rotated = with("rotation", json!("hadamard"));
    rotated["fedavg"]["value_range"] = json!(1.2);
    let (found, plain) = both_means(rotated);
    let pairs = found.iter().zip(&plain);
    let off = pairs
        .map(|(found, plain)| (found - plain).powi(2))
        .sum::<f64>();
    // 21 elements within one step each: the orthonormal transform keeps the length of the error.
    let bound = 21_f64.sqrt() * 1.2 / 32_767.0 + 2e-6;
    assert!(off.sqrt() <= bound, "{}", off.sqrt());
    let (other, _) = both_means(document());
    assert_ne!(found, other);
}

#[test]
fn rounding_to_few_bits_is_right_on_average() {
    // Q = 3: one step is half a unit. 2000 roundings of one update: a standard deviation of at most 0.5/√2000 of a step for each
    // element; six of them.
    let (job, plan) = planned(with("value_bits", json!(3)));
    let (_, moved) = member(&job, &plan, 1);
    let draws = 2000_u32;
    let mut total = [0_i64; 22];
    for seed in 0..draws {
        let (update, _) = member(&job, &plan, 1);
        let one = sum(&plan, vec![encoded(&job, &plan, update, seed.into())]);
        assert!(one.iter().all(|value| value.abs() <= 3));
        for (total, value) in total.iter_mut().zip(one) {
            *total += value;
        }
    }
    for (total, value) in total.iter().zip(clipped(&moved, 1.5)) {
        let mean = *total as f64 / f64::from(draws);
        let off = (mean - value / 0.5).abs();
        assert!(off <= 6.0 * 0.5 / f64::from(draws).sqrt(), "{mean} {value}");
    }
}

#[test]
fn the_last_element_tells_the_mean_of_the_survivors_losses_in_nats() {
    let (job, plan) = planned(document());
    // One nat is 32 767/8 = 4095.9: five survivors whose losses add up to 3 nats.
    let loss = plan.noised_loss(&job, 12_288, 5).unwrap();
    assert!((loss - 0.6).abs() < 1e-4, "{loss}");
    let (silent, its_plan) = planned(with("loss_weight", json!(0.0)));
    assert_eq!(its_plan.noised_loss(&silent, 5, 5), None);
}

#[test]
fn an_update_that_left_the_finite_numbers_is_refused_by_its_layer() {
    let mut document = with("local_learning_rate", json!(3e38));
    document["fedavg"]["local_steps"] = json!(1);
    document["fedavg"]["clip"] = json!(1e9);
    let (job, plan) = planned(document);
    let (update, _) = member(&job, &plan, 1);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let averaging = averaging(&plan);
    let refused = averaging.encode(&id(), 1, job.model(), plan.schema(), update, &mut rng);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "fixed_point_not_finite");
    assert!(refused.to_string().contains("layer.0.weight"), "{refused}");
}

#[test]
fn a_site_sends_its_last_steps_noised_loss_like_any_other_value() {
    let (job, plan) = planned(document());
    let (update, _) = member(&job, &plan, 1);
    let (_, query) = update.into_values();
    let cap = job.model().loss_cap();
    let range = LOSS_RANGE_IN_CAPS * cap;
    // One clip norm of the query is cap/(weight·divisor) nats: 2/(0.25·80) = 0.1.
    let nats = (query * cap / (0.25 * 80.0)).clamp(-range, range);
    let (update, _) = member(&job, &plan, 1);
    let values = sum(&plan, vec![encoded(&job, &plan, update, 1)]);
    let told = plan.noised_loss(&job, values[21], 1).unwrap();
    let step = range / 32_767.0;
    assert!((told - nats).abs() <= step + 1e-6, "{told} {nats}");
}
