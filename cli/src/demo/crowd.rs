//! A cohort whose messages outgrow one: every participant as its daemon is served, in one process, and the coordinator in another,
//! so that its memory is told apart from theirs; attested connections on loopback between them. Evidence is simulated and verified
//! by every member as in any round.

use std::future::pending;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use consort_contract::job::{AggregationDocument, DeadlineDocument};
use consort_daemon::crash::CrashPoints;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::jobs::BREAST_CANCER;
use super::site::Site;
use super::*;

/// Every member verifies the evidence of all others, on the cores of one machine.
const PATIENT: DeadlineDocument = DeadlineDocument {
    voting_ms: 1_800_000,
    joining_ms: 1_800_000,
    sharing_ms: 1_800_000,
    collecting_ms: 1_800_000,
    confirming_ms: 1_800_000,
    unmasking_ms: 1_800_000,
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

/// Names the configuration to a process that is to be the coordinator.
const CONFIG: &str = "CONSORT_CROWD_CONFIG";

/// The coordinator's process: this program again, with one test to run.
fn coordinator(layout: &Layout) -> Child {
    let log = std::fs::File::create(layout.folder(COORDINATOR).join("log.txt")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("demo::crowd::a_coordinator_serves_until_its_input_ends")
        .env(CONFIG, layout.config(COORDINATOR))
        // When this process ends, however it ends, the coordinator's input ends with it.
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "no test but the coordinator's part of those below, which start it"]
fn a_coordinator_serves_until_its_input_ends() {
    let Some(path) = std::env::var_os(CONFIG) else {
        return;
    };
    let mut config = consort_coordinator::Config::load(Path::new(&path)).unwrap();
    config.node.metrics_address = None;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = crate::serve::shutdown(true);
    let serve = consort_coordinator::serve(config, CrashPoints::default(), stop);
    runtime.block_on(serve).unwrap();
}

/// The most resident memory of a process so far, MiB (Linux).
fn peak_mib(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// CPU time of a process so far, seconds (Linux, 100 ticks each).
fn cpu_seconds(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything, the 12th and 13th field (proc_pid_stat(5)).
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        / 100
}

/// Runs the job; gives it as operators see it when it completed, and the entries of the audit log, which verified.
async fn completed(members: usize, aggregation: AggregationDocument) -> (wire::Job, u64) {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(members);
    let mut layout = Layout::write(&folder.path().join("crowd"), &plan)
        .await
        .unwrap();
    layout.document.deadlines = PATIENT;
    layout.document.aggregation = aggregation;
    let mut daemons = JoinSet::new();
    let mut coordinator = coordinator(&layout);
    let id = coordinator.id().unwrap().to_string();
    // Apart from the child: waiting for one closes the input it holds.
    let input = coordinator.stdin.take();
    // Before the participants, which would leave it little of the machine to start on.
    let mut operators = match reach(&layout).await {
        Ok(operators) => operators,
        Err(failure) => {
            let log = std::fs::read_to_string(layout.folder(COORDINATOR).join("log.txt"));
            panic!("{failure:?}: {log:?}")
        }
    };
    let started = Instant::now();
    let job = send(&mut operators, &layout.document, random_key())
        .await
        .unwrap();
    for site in &plan.sites {
        let mut config = consort_participant::Config::load(&layout.config(&site.name)).unwrap();
        // One process has one port of metrics at most.
        config.node.metrics_address = None;
        let name = site.name.clone();
        daemons.spawn(async move {
            let ended = consort_participant::serve(config, CrashPoints::default(), pending()).await;
            format!("{name} ended: {ended:?}")
        });
    }
    let work = async {
        let mut progress = Progress::new(true);
        follow(&layout, operators, job, &mut progress)
            .await
            .unwrap()
    };
    let job = tokio::select! {
        job = work => job,
        ended = coordinator.wait() => panic!("the coordinator ended: {ended:?}"),
        Some(ended) = daemons.join_next() => panic!("{ended:?}"),
    };
    let seconds = started.elapsed().as_secs_f64();
    println!("{members} members: {seconds:.1} s from submission to release");
    for (whose, process) in [("coordinator's", id.as_str()), ("members'", "self")] {
        let (mib, cpu) = (peak_mib(process), cpu_seconds(process));
        println!("the {whose} process: {mib} MiB at most, {cpu} s of CPU time, start included");
    }
    daemons.shutdown().await;
    drop(input);
    assert!(coordinator.wait().await.unwrap().success());
    let report = consort_audit::verify(layout.audit(), None).unwrap();
    (job, report.checkpoint.size)
}

fn crowd_of(members: usize, aggregation: AggregationDocument) -> wire::Job {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Each agent has a thread of its own for as long as it is served.
        .max_blocking_threads(2 * members + 64)
        .build()
        .unwrap();
    let (job, entries) = runtime.block_on(completed(members, aggregation));
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(job.rounds.len(), 1);
    assert_eq!(job.rounds[0].survivor_count as usize, members);
    assert!(entries > members as u64);
    job
}

#[test]
#[ignore = "four minutes of one core, most of them verifying evidence; .ci/run runs it"]
fn a_complete_graph_whose_deliveries_outgrow_a_message_gives_a_sum_of_everybody() {
    // 80 shares open a secret: a delivery is 120 statements of 9.8 KB.
    crowd_of(120, AggregationDocument::default());
}

/// So many members that may collude, and so many that may drop out.
fn corrupt(colluders: u32, dropouts: u32) -> AggregationDocument {
    AggregationDocument {
        colluders: Some(colluders),
        dropouts: Some(dropouts),
        ..AggregationDocument::default()
    }
}

#[test]
#[ignore = "three minutes of one core, most of them verifying evidence; run by hand"]
fn three_hundred_members_on_a_circle_give_a_sum_of_everybody() {
    let job = crowd_of(300, corrupt(3, 15));
    let reach = job.plan.unwrap().reach;
    println!("each has {} neighbours", 2 * reach);
    assert!(reach > 0, "a circle");
}
