//! What the members agree to, against the published vectors: thresholds, roster, manifests, job, plan, contract and votes, the model that a
//! job starts with and the server's steps.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

#[path = "../../vectors/rust/answers.rs"]
mod answers;

use std::collections::BTreeMap;

use answers::{array, at, bytes, digest, list, number, read, small, text};
use consort_contract::{
    Algorithm, ApprovedVotes, IdentityKey, IdentitySecret, Job, JobId, OrganisationId, Plan,
    Signature, SignedManifest, SignedRoster, Thresholds, Vote,
};
use consort_model::{InitialSeed, ModelSpec, OptimizerState, Parameters};
use consort_privacy::RecordOutcome;
use serde_json::Value;

fn contract() -> Value {
    read(include_str!(
        "../../vectors/secure-aggregation/contract.json"
    ))
}

fn secret(contract: &Value, name: &str) -> IdentitySecret {
    IdentitySecret::from_seed(&array(contract, &format!("/identity_seeds/{name}")))
}

fn job(contract: &Value) -> Job {
    let document = serde_json::from_value(at(contract, "/job").clone()).unwrap();
    Job::new(document).unwrap()
}

fn vote(contract: &Value, said: &Value) -> Vote {
    let organisation = OrganisationId::new(text(said, "/organisation")).unwrap();
    let answer = if at(said, "/approve").as_bool().unwrap() {
        Ok(())
    } else {
        Err(text(said, "/reason").to_owned())
    };
    Vote::cast(
        &JobId::new(text(contract, "/job_id")).unwrap(),
        &organisation,
        digest(contract, "/contract_hash"),
        answer,
        &secret(contract, organisation.as_str()),
    )
}

#[test]
fn the_numbers_of_complete_and_sparse_cohorts_are_those_of_the_reference() {
    for case in list(&contract(), "/thresholds") {
        let asked = |name: &str| {
            let place = format!("/asked/{name}");
            case.pointer(&place).map(|_| small::<u32>(case, &place))
        };
        let numbers = Thresholds::with_dropouts(
            asked("n").unwrap(),
            asked("colluders"),
            asked("minimum"),
            asked("dropouts"),
        )
        .unwrap();
        let mut found = BTreeMap::from([
            ("n", numbers.cohort()),
            ("c", numbers.colluders()),
            ("t", numbers.threshold()),
            ("n_min", numbers.minimum()),
            ("fewest_survivors", numbers.fewest_survivors()),
            ("confirmation_quorum", numbers.confirmation_quorum()),
            ("share_threshold", numbers.share_threshold()),
        ]);
        if let Some(circle) = numbers.circle() {
            found.insert("d", numbers.dropouts().unwrap());
            found.insert("h", circle.reach);
            found.insert("m", circle.witnesses);
        }
        let found = serde_json::to_value(found).unwrap();
        assert_eq!(found, *at(case, "/numbers"), "{}", at(case, "/asked"));
    }
}

#[test]
fn the_roster_of_the_reference_is_accepted_and_signed_in_the_same_bytes() {
    let contract = contract();
    let file = at(&contract, "/roster/file").clone();
    let roster: SignedRoster = serde_json::from_value(file).unwrap();
    for (name, signed) in &roster.signatures {
        let signature = roster.document.sign(&secret(&contract, name.as_str()));
        assert_eq!(consort_contract::identity::hex(&signature.0), *signed);
    }
    let root = roster.verify().unwrap().root();
    assert_eq!(root, digest(&contract, "/roster/root"));
}

#[test]
fn the_manifests_of_the_reference_follow_each_other_and_are_signed_in_the_same_bytes() {
    let contract = contract();
    let roster: SignedRoster =
        serde_json::from_value(at(&contract, "/roster/file").clone()).unwrap();
    let roster = roster.verify().unwrap();
    let mut in_force = None;
    for said in list(&contract, "/manifests") {
        let file = at(said, "/file").to_string();
        let manifest = SignedManifest::from_json(file.as_bytes()).unwrap();
        for (name, signed) in &manifest.signatures {
            let signature = manifest.document.sign(&secret(&contract, name.as_str()));
            assert_eq!(consort_contract::identity::hex(&signature.0), *signed);
        }
        assert_eq!(manifest.document.hash(), digest(said, "/hash"));
        assert_eq!(
            manifest.document.hash(),
            consort_aggregation::Digest::of(&bytes(said, "/bytes"))
        );
        in_force = Some(manifest.verify(&roster, in_force.as_ref()).unwrap());
    }
    assert_eq!(in_force.unwrap().version(), 5);
}

/// A job of dp_fedsgd with sampled batches, with its plan.
fn sampled() -> Value {
    at(&contract(), "/sampled").clone()
}

fn query() -> Value {
    read(include_str!("../../vectors/secure-aggregation/query.json"))
}

/// A job of dp_fedsgd and one of fedavg, each with its plan.
fn trained() -> [Value; 2] {
    let fedavg = include_str!("../../vectors/secure-aggregation/fedavg.json");
    [contract(), read(fedavg)]
}

/// These, one of stats and one of evaluate.
fn agreed() -> impl Iterator<Item = Value> {
    let query = query();
    let asking = ["/stats", "/evaluate"].map(|kind| at(&query, kind).clone());
    trained().into_iter().chain(asking)
}

#[test]
fn a_record_becomes_the_query_vectors_of_the_reference_to_the_bit() {
    let file = query();
    for kind in ["/stats", "/evaluate"] {
        let contract = at(&file, kind);
        let job = job(contract);
        let grid = plan(contract, &job).noise().grid();
        let query = job.query().unwrap();
        for record in list(&file, "/records") {
            let inputs = bytes(record, "/inputs");
            let (words, _) = inputs.as_chunks::<4>();
            let inputs: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            let label = if number(record, "/label") == 1 {
                1.0
            } else {
                0.0
            };
            let logit: f32 = serde_json::from_value(at(record, "/logit").clone()).unwrap();
            let mut row = vec![0.0; query.elements()];
            query.record(&inputs, label, logit, &mut row);
            let mut integers = vec![0; row.len()];
            assert_eq!(grid.clip_record(&row, &mut integers), RecordOutcome::Kept);
            let expected: Vec<i64> = serde_json::from_value(at(record, kind).clone()).unwrap();
            assert_eq!(integers, expected, "{kind} of {record}");
        }
    }
}

#[test]
fn the_jobs_and_their_model_have_the_hashes_of_the_reference() {
    let agreed = agreed().chain([sampled()]);
    agreed.for_each(|contract| a_job_and_its_model_have_the_hashes(&contract));
}

fn a_job_and_its_model_have_the_hashes(contract: &Value) {
    let job = job(contract);
    assert_eq!(
        job.model().canonical_bytes(),
        bytes(contract, "/model_bytes")
    );
    assert_eq!(job.hash(), digest(contract, "/job_hash"));
}

#[test]
fn jobs_that_ask_something_of_members_have_the_hashes_of_the_reference() {
    let cases = read(include_str!("../../vectors/secure-aggregation/asking.json"));
    for case in cases.as_array().unwrap() {
        let mut job = at(&contract(), "/job").clone();
        for (table, asked) in at(case, "/tables").as_object().unwrap() {
            job[table] = asked.clone();
        }
        let job = Job::new(serde_json::from_value(job).unwrap()).unwrap();
        assert_eq!(job.hash(), digest(case, "/job_hash"), "{case}");
    }
}

fn plan(contract: &Value, job: &Job) -> Plan {
    let grid = small(contract, "/plan/grid_bits");
    let sigma = small::<u32>(contract, "/plan/sigma_ten_thousandths");
    Plan::with_noise(job, f64::from(sigma) / 10_000.0, grid).unwrap()
}

#[test]
fn the_plans_and_the_contracts_are_those_of_the_reference() {
    let agreed = agreed().chain([sampled()]);
    agreed.for_each(|contract| a_plan_and_its_contract_are_those(&contract));
}

fn a_plan_and_its_contract_are_those(contract: &Value) {
    let job = job(contract);
    let plan = plan(contract, &job);
    let noise = plan.noise();
    let numbers = [
        ("member_variance", noise.member_variance().sigma_squared()),
        ("noise_bound", noise.noise_bound()),
        ("elements", plan.schema().elements()),
        ("width_bits", plan.width().bits().into()),
    ];
    for (name, found) in numbers {
        assert_eq!(found, number(contract, &format!("/plan/{name}")), "{name}");
    }
    assert_eq!(plan.schema().hash(), digest(contract, "/schema_hash"));
    assert_eq!(plan.contract_hash(&job), digest(contract, "/contract_hash"));
}

#[test]
fn the_votes_are_those_of_the_reference() {
    let contract = contract();
    let mut votes = Vec::new();
    for said in list(&contract, "/votes") {
        let vote = vote(&contract, said);
        assert_eq!(vote.signature, Signature(array(said, "/signature")));
        votes.push(vote);
    }
    let members: BTreeMap<OrganisationId, IdentityKey> = votes
        .iter()
        .map(|vote| {
            let name = vote.organisation.clone();
            let key = secret(&contract, name.as_str()).public();
            (name, key)
        })
        .collect();
    let id = JobId::new(text(&contract, "/job_id")).unwrap();
    let approved =
        ApprovedVotes::verify(&id, &digest(&contract, "/contract_hash"), &members, votes).unwrap();
    assert_eq!(approved.hash(), digest(&contract, "/votes_hash"));

    let said = at(&contract, "/refusal");
    let refusal = vote(&contract, said);
    assert_eq!(refusal.signature, Signature(array(said, "/signature")));
}

#[test]
fn the_parameters_with_which_a_job_starts_are_those_of_the_reference() {
    let file = read(include_str!("../../vectors/secure-aggregation/model.json"));
    for case in list(&file, "/initial") {
        let layers = serde_json::from_value(at(case, "/layers").clone()).unwrap();
        let loss = serde_json::from_value(at(case, "/loss").clone()).unwrap();
        let spec = ModelSpec::new(small(case, "/inputs"), layers, loss).unwrap();
        assert_eq!(spec.canonical_bytes(), bytes(case, "/model_bytes"));
        let start = Parameters::initial(&spec, &InitialSeed(array(case, "/seed")));
        let found = start.to_le_bytes();
        assert_eq!(found, bytes(case, "/parameters"), "{}", at(case, "/layers"));
        assert_eq!(*start.hash().as_bytes(), array(case, "/model_hash"));
    }
}

/// The encoded state: label, parameters, velocity and perhaps the second moment, each behind its length.
fn state_bytes(round: &Value) -> Vec<u8> {
    let second = round.pointer("/second").map(|_| bytes(round, "/second"));
    let label: &[u8] = match second {
        None => b"consort/model/state/v1",
        Some(_) => b"consort/model/state/v2",
    };
    let parts = [
        label.to_vec(),
        bytes(round, "/parameters"),
        bytes(round, "/velocity"),
    ];
    let parts = parts.into_iter().chain(second);
    let part =
        |part: Vec<u8>| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], &part].concat();
    parts.flat_map(part).collect()
}

#[test]
fn the_steps_of_the_server_are_those_of_the_reference_to_the_bit() {
    let file = read(include_str!("../../vectors/secure-aggregation/step.json"));
    let [gradient, average] = trained();
    let workers = std::num::NonZeroUsize::new(3).unwrap();
    for (contract, steps) in [(gradient, "/by_gradient"), (average, "/by_average")] {
        let (job, steps) = (job(&contract), at(&file, steps));
        let plan = plan(&contract, &job);
        // The rotation of fedavg hangs on the job's id; a step by a gradient on none.
        let id = steps
            .pointer("/job")
            .map_or("any", |id| id.as_str().unwrap());
        let id = JobId::new(id).unwrap();
        let start = Parameters::from_le_bytes(job.model(), &bytes(&file, "/start")).unwrap();
        let mut state = OptimizerState::initial(start);
        for (number, round) in (1..).zip(list(steps, "/rounds")) {
            let sum: Vec<i64> = serde_json::from_value(at(round, "/sum").clone()).unwrap();
            let survivors = round
                .pointer("/survivors")
                .map_or(7, |_| small(round, "/survivors"));
            (state, _) = plan
                .advance((&id, &job), number, &state, &sum, survivors, workers)
                .unwrap();
            assert_eq!(state.to_bytes(), state_bytes(round), "{id}, step {number}");
            let hash = state.parameters().hash();
            assert_eq!(*hash.as_bytes(), array(round, "/model_hash"));
        }
    }
}

/// The job of a case: that of `contract` or `fedavg` with the case's options in its algorithm.
fn with_options(case: &Value) -> Job {
    let [gradient, average] = trained();
    let algorithm = text(case, "/algorithm");
    let plain = match algorithm {
        "dp_fedsgd" => gradient,
        _ => average,
    };
    let mut document = at(&plain, "/job").clone();
    for (name, value) in at(case, "/options").as_object().unwrap() {
        document[algorithm][name] = value.clone();
    }
    Job::new(serde_json::from_value(document).unwrap()).unwrap()
}

#[test]
fn the_steps_of_every_optimizer_and_schedule_are_those_of_the_reference_to_the_bit() {
    let file = read(include_str!("../../vectors/secure-aggregation/step.json"));
    let cases = at(&file, "/with_options");
    let id = JobId::new(text(cases, "/job")).unwrap();
    let workers = std::num::NonZeroUsize::new(3).unwrap();
    for case in list(cases, "/cases") {
        let job = with_options(case);
        assert_eq!(job.hash(), digest(case, "/job_hash"));
        // More noise than either promise asks for; the grid is part of the gradient's unit.
        let plan = match job.algorithm() {
            Algorithm::DpFedSgd(_) => Plan::with_noise(&job, 15.0, small(cases, "/grid_bits")),
            Algorithm::FedAvg(_) => Plan::with_noise(&job, 40.0, 16),
            Algorithm::Query(_) => panic!("the cases train"),
        };
        let plan = plan.unwrap();
        let start = Parameters::from_le_bytes(job.model(), &bytes(&file, "/start")).unwrap();
        let mut state = OptimizerState::initial(start);
        for (number, round) in (1..).zip(list(case, "/rounds")) {
            let sum: Vec<i64> = serde_json::from_value(at(round, "/sum").clone()).unwrap();
            let survivors = small(case, "/survivors");
            (state, _) = plan
                .advance((&id, &job), number, &state, &sum, survivors, workers)
                .unwrap();
            let told = at(case, "/options");
            assert_eq!(
                state.to_bytes(),
                state_bytes(round),
                "{told}, step {number}"
            );
            let hash = state.parameters().hash();
            assert_eq!(*hash.as_bytes(), array(round, "/model_hash"));
            if job.has_control() {
                let announced = job.announced(&state).hash();
                assert_eq!(*announced.as_bytes(), array(round, "/announced"));
            }
        }
    }
}

#[test]
fn the_shares_of_a_local_learning_rate_are_those_of_the_reference_to_the_bit() {
    let file = read(include_str!("../../vectors/secure-aggregation/step.json"));
    let mut compared = 0;
    for case in list(&file, "/with_options/cases") {
        let Algorithm::FedAvg(terms) = *with_options(case).algorithm() else {
            continue;
        };
        let Some(schedule) = terms.local_schedule else {
            continue;
        };
        let shares = (1..=terms.rounds).map(|round| schedule.share(round, terms.rounds));
        let found: Vec<u8> = shares.flat_map(f32::to_le_bytes).collect();
        assert_eq!(found, bytes(case, "/local_shares"));
        compared += 1;
    }
    assert_eq!(compared, 2);
}
