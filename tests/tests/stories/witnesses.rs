//! Members as witnesses of the coordinator's log, and daemons that are told to stop.

use std::time::Duration;

use consort_audit::Event;

use crate::consortium::{Consortium, when_it_listens};
use crate::program::{Daemon, run};

const MEMBERS: [&str; 4] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4"];

/// What a daemon may take to end once it is told to (issue 6).
const DRAIN: Duration = Duration::from_secs(10);

/// What `consort audit` says of the coordinator's log; its exit status.
fn audited(consortium: &Consortium, arguments: &[&str]) -> (Option<i32>, String) {
    let (log, roster) = (
        consortium.path("coordinator/state/audit"),
        consortium.path("roster.json"),
    );
    let about = [log.to_str().unwrap(), "--roster", roster.to_str().unwrap()];
    let output = run(&[&["audit", "verify"], &about[..], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn every_member_of_a_demo_has_cosigned_a_head_of_its_log_and_nobody_else() {
    let consortium = Consortium::founded();
    let (status, said) = audited(&consortium, &["--witnesses", "4"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("witnesses co-signed the checkpoint"),
        "{said}"
    );
    assert_eq!(audited(&consortium, &["--witnesses", "5"]).0, Some(3));
}

#[test]
fn daemons_that_are_told_to_stop_in_the_middle_of_a_round_end_within_ten_seconds_and_the_job_goes_on()
 {
    let consortium = Consortium::founded();
    let coordinator = consortium.serve("coordinator");
    let members: Vec<Daemon> = MEMBERS.iter().map(|name| consortium.serve(name)).collect();
    let job = consortium.path("job.json");
    let submit = ["job", "submit", "--json", "--job", job.to_str().unwrap()];
    let rounds = |records: &[consort_audit::Record]| {
        let opened =
            |record: &&consort_audit::Record| matches!(record.event, Event::RoundOpened { .. });
        records.iter().filter(opened).count()
    };
    let before = rounds(&consortium.audit());
    let output = when_it_listens(|| consortium.operate(&submit));
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    consortium.until("a round was opened", |records| {
        (rounds(records) > before).then_some(())
    });
    let (status, took, said) = coordinator.terminate();
    assert_eq!(status, Some(0), "{said}");
    assert!(took <= DRAIN, "the coordinator took {took:?}");

    let again = consortium.serve("coordinator");
    let id = job["id"].as_str().unwrap();
    let watched = when_it_listens(|| consortium.operate(&["job", "watch", id]));
    assert!(watched.status.success(), "{watched:?}");
    for daemon in members.into_iter().chain([again]) {
        let (status, took, said) = daemon.terminate();
        assert_eq!(status, Some(0), "{said}");
        assert!(took <= DRAIN, "a daemon took {took:?}");
    }
}
