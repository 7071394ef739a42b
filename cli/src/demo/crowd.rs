//! A cohort whose messages outgrow one: the coordinator and every participant as their daemons are served, in one process, over
//! attested connections on loopback. Evidence is simulated and verified by every member as in any round.

use std::future::pending;
use std::time::{Duration, Instant};

use consort_contract::job::DeadlineDocument;
use consort_daemon::crash::CrashPoints;
use tokio::task::JoinSet;

use super::jobs::BREAST_CANCER;
use super::site::Site;
use super::*;

/// Every member verifies the evidence of all others, on the cores of one machine.
const PATIENT: DeadlineDocument = DeadlineDocument {
    voting_ms: 300_000,
    joining_ms: 300_000,
    sharing_ms: 600_000,
    collecting_ms: 600_000,
    confirming_ms: 300_000,
    unmasking_ms: 300_000,
};

/// One round in which every member has a few records of the demo's data, some of them more than once.
fn plan(members: usize) -> Plan {
    let table = clinics::data();
    let sites = (0..members).map(|member| {
        let rows: Vec<usize> = (0..4)
            .map(|i| (member + i * members) % table.rows.len())
            .collect();
        Site {
            name: format!("clinic-{}", member + 1),
            train: table.select(&rows),
            held_out: table.select(&rows),
        }
    });
    let mut job = BREAST_CANCER;
    job.rounds = 1;
    Plan {
        sites: sites.collect(),
        job,
        drops: Vec::new(),
        crash_coordinator: None,
        sealed_data: false,
    }
}

/// Runs the job; gives it as operators see it when it completed, and the entries of the audit log, which verified.
async fn completed(members: usize) -> (wire::Job, u64) {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(members);
    let mut layout = Layout::write(&folder.path().join("crowd"), &plan).unwrap();
    layout.document.deadlines = PATIENT;
    let mut daemons = JoinSet::new();
    let mut config = consort_coordinator::Config::load(&layout.config(COORDINATOR)).unwrap();
    // One process has one port of metrics at most.
    config.node.metrics_address = None;
    daemons.spawn(async move {
        let ended = consort_coordinator::serve(config, CrashPoints::default(), pending()).await;
        format!("the coordinator ended: {ended:?}")
    });
    for site in &plan.sites {
        let mut config = consort_participant::Config::load(&layout.config(&site.name)).unwrap();
        config.node.metrics_address = None;
        let name = site.name.clone();
        daemons.spawn(async move {
            let ended = consort_participant::serve(config, CrashPoints::default(), pending()).await;
            format!("{name} ended: {ended:?}")
        });
    }
    let started = Instant::now();
    let work = async {
        let mut operators = reach(&layout).await.unwrap();
        let job = send(&mut operators, &layout.document, random_key())
            .await
            .unwrap();
        let mut progress = Progress::new(true);
        follow(&layout, operators, job, &mut progress)
            .await
            .unwrap()
    };
    let job = tokio::select! {
        job = work => job,
        Some(ended) = daemons.join_next() => panic!("{ended:?}"),
    };
    let seconds = started.elapsed().as_secs_f64();
    println!("{members} members: {seconds:.1} s from submission to release");
    let report = consort_audit::verify(layout.audit(), None).unwrap();
    daemons.shutdown().await;
    (job, report.checkpoint.size)
}

fn crowd_of(members: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Each agent has a thread of its own for as long as it is served.
        .max_blocking_threads(2 * members + 64)
        .build()
        .unwrap();
    let (job, entries) = runtime.block_on(completed(members));
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(job.rounds.len(), 1);
    assert_eq!(job.rounds[0].survivors.len(), members);
    assert!(entries > members as u64);
}

#[test]
#[ignore = "four minutes of one core, most of them verifying evidence; .ci/run runs it"]
fn a_complete_graph_whose_deliveries_outgrow_a_message_gives_a_sum_of_everybody() {
    // 80 shares open a secret: a delivery is 120 statements of 9.8 KB.
    crowd_of(120);
}
