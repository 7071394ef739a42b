//! Jobs that ask: their report is made of the exact sum, also by another process, and an evaluation finds the model that it names.

use consort_aggregation::Digest;
use consort_contract::job::ModelDocument;
use consort_contract::{
    Algorithm, Evaluate, EvaluateWeights, JobDocument, JobId, Query, Report, Stats, StatsQuery,
};
use consort_round::Millis;
use tokio::sync::mpsc;

use super::cluster::{Cluster, job_id, services, update};
use crate::driver::rounds::released_keys;
use crate::driver::{Desk, Now};
use crate::jobs::{Contract, Final, Stage};
use crate::manifest::verify_manifest;
use crate::testing::{document, roster, secret};

fn asking() -> JobDocument {
    let mut document = document(1);
    document.model = ModelDocument::none();
    document.algorithm = Algorithm::Query(Query::Stats(Stats {
        queries: vec![StatsQuery::Mean {
            column: "a".to_owned(),
            weight: 1.0,
        }],
        count_weight: 1.0,
        max_records_per_member: 1000,
    }));
    document
}

fn evaluating(model_of: &str, parameters: [u8; 32]) -> JobDocument {
    let mut document = document(1);
    document.algorithm = Algorithm::Query(Query::Evaluate(Evaluate {
        model_of: JobId::new(model_of).unwrap(),
        parameters,
        threshold: Some(0.5),
        bins: Some(4),
        weights: EvaluateWeights::default(),
        max_records_per_member: 1000,
    }));
    document
}

fn released(cluster: &Cluster) -> (Vec<u8>, Vec<u8>) {
    let (report, manifest) = released_keys(&job_id()).unwrap();
    let blobs = &cluster.driver().services.blobs;
    let read = |key| blobs.read(key, u64::MAX).unwrap();
    (read(&report), read(&manifest))
}

#[test]
fn a_stats_job_releases_one_signed_report_of_the_exact_sum_and_keeps_it_over_a_restart() {
    let contract = Contract::propose(job_id(), asking(), &roster()).unwrap();
    let mut cluster = Cluster::of(contract.clone());
    cluster.settle_until("collecting");
    cluster.restart_coordinator();
    cluster.settle();
    let Stage::Ended(ending) = &cluster.driver().state().stage else {
        panic!("the job goes on")
    };
    assert_eq!(ending.state, Final::Completed);
    assert_eq!(cluster.survivors(), [5]);
    cluster.verify_audit();

    let elements = contract.plan.schema().elements();
    let updates: Vec<_> = (1..=5).map(|i| update(i, 1, elements)).collect();
    let sum: Vec<i64> = (0..updates[0].len())
        .map(|j| updates.iter().map(|update| update[j]).sum())
        .collect();
    let expected = Report::of(&job_id(), &contract.job, &contract.plan, &sum, 5).unwrap();
    let (report, manifest) = released(&cluster);
    assert_eq!(serde_json::from_slice::<Report>(&report).unwrap(), expected);
    let said = verify_manifest(&manifest, &report, &secret(0).public()).unwrap();
    assert_eq!(said.rounds.len(), 1);
    assert_eq!(said.epsilon, expected.epsilon);
    assert_eq!(said.contract, expected.contract);

    // As after a crash between the sum and the report: the sum is the stored one, and so is what is released of it.
    cluster.restart_coordinator();
    assert_eq!(cluster.driver().answer, Some(sum));
    assert_eq!(released(&cluster), (report.clone(), manifest));
    assert_eq!(cluster.driver().released.unwrap().0, Digest::of(&report));
}

#[test]
fn an_evaluation_is_proposed_only_of_the_parameters_that_the_named_job_released() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    let parameters = *cluster.driver().optimizer().parameters().hash().as_bytes();
    let folder = cluster.folder.path().to_owned();
    drop(cluster.driver.take());

    let clock: fn() -> Now = || Now {
        mono: Millis(0),
        unix_ms: 1,
    };
    let (faults, _listener) = mpsc::unbounded_channel();
    let desk = Desk::open(services(&folder), clock, faults).unwrap();
    let refused = |document| desk.submit(document, "").unwrap().unwrap_err().code;
    let unknown = "evaluate_model_unknown";
    assert_eq!(refused(evaluating("job-9", parameters)), unknown);
    assert_eq!(refused(evaluating("job-1", [1; 32])), unknown);
    let mut wider = evaluating("job-1", parameters);
    let hidden = consort_model::Layer::Dense { outputs: 2 };
    wider.model.layers.insert(0, hidden);
    assert_eq!(refused(wider), unknown);
    let accepted = desk.submit(evaluating("job-1", parameters), "").unwrap();
    assert_eq!(accepted.unwrap().id, "job-2");
}
