//! Records that lie encrypted, and the key brokers of their owners, as processes.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use consort_audit::{Event, Record};

use crate::consortium::{Consortium, records_of};
use crate::program::{demo, run};

/// The member whose broker is tried.
const MEMBER: &str = "clinic-4";
const OTHERS: [&str; 3] = ["clinic-1", "clinic-2", "clinic-3"];

/// SIGKILL, by which a crash point kills.
const KILLED: i32 = 9;

#[test]
fn a_demo_on_encrypted_records_releases_one_key_to_each_clinic_and_leaves_no_record_plain() {
    let demo = demo(&["--members", "4", "--rounds", "2", "--sealed-data"]);
    assert!(demo.succeeded);
    assert_eq!(demo.numbers("survivors"), [4, 4]);
    assert_eq!(demo.result["key_releases"].as_u64(), Some(4));
    let plain = demo.folder.join("clinic-1-broker/train.csv");
    let text = std::fs::read_to_string(plain).unwrap();
    let record = text.lines().nth(1).unwrap();
    assert!(record.len() > 100, "{record}");
    // What the clinic evaluates on is held out of training; the demo keeps it plain to compare the models.
    for file in files(&demo.folder.join("clinic-1")) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes
            .windows(record.len())
            .any(|window| window == record.as_bytes());
        assert!(!found, "{} holds a record to train on", file.display());
    }
    let log = demo.folder.join("clinic-1-broker/state/audit");
    let verified = run(&["audit", "verify", log.to_str().unwrap()]);
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}");
    assert!(
        said.contains("1 keys were released to SIMULATED machines"),
        "{said}"
    );
}

/// Every file in a folder and below it.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Rounds are over in less than a second with everybody there. Without one member each lasts as long as the others wait for it
/// to join: that leaves a minute for what is done to its broker meanwhile.
fn slow_without_a_member(job: String) -> String {
    job.replace("\"rounds\": 1,", "\"rounds\": 20,")
        .replace("\"joining_ms\": 20000", "\"joining_ms\": 3000")
        .replace("\"collecting_ms\": 60000", "\"collecting_ms\": 3000")
}

#[test]
fn a_broker_keeps_its_key_from_a_wrong_program_and_a_simulated_machine_and_survives_a_crash_between_log_and_answer()
 {
    let consortium = Consortium::founded_with(&["--sealed-data"]);
    consortium.edit("job.json", slow_without_a_member);
    for member in OTHERS.iter().chain([&MEMBER]) {
        consortium.edit(&format!("{member}-broker/config.toml"), |text| {
            text.replace("max_epsilon = 1.0", "max_epsilon = 9.0")
        });
    }
    let log = consortium.path("clinic-4-broker/state/audit");
    // The key of the demo that founded it.
    let before = releases(&log);
    let others = OTHERS.map(|member| consortium.serve_broker(member, &[]));
    let running = consortium.run(&OTHERS);
    let member = consortium.serve(MEMBER);

    // Its policy names another program than the participant's.
    let good = consortium.spoil_policy("clinic-4-broker/broker-policy.toml");
    let broker = consortium.serve_broker(MEMBER, &[]);
    let job = running.submit();
    until(
        &log,
        "the machine is refused",
        |event| matches!(event, Event::EvidenceVerdict { accepted: false, code, .. } if code.as_str() == "attest.measurement"),
    );
    drop(broker);

    // It knows the program, and was not told that a simulated machine may have the key.
    consortium.edit("clinic-4-broker/broker-policy.toml", |_| good);
    consortium.edit("clinic-4-broker/config.toml", |text| {
        text.replace(
            "dangerous_release_to_simulated = true",
            "dangerous_release_to_simulated = false",
        )
    });
    let broker = consortium.serve_broker(MEMBER, &[]);
    until(
        &log,
        "the simulated machine is refused",
        |event| matches!(event, Event::KeyRefused { code, .. } if code.as_str() == "key_simulated_machine"),
    );
    drop(broker);
    assert_eq!(releases(&log), before);

    // It was told so, and is killed after the log has the release and before the key is sent.
    consortium.edit("clinic-4-broker/config.toml", |text| {
        text.replace(
            "dangerous_release_to_simulated = false",
            "dangerous_release_to_simulated = true",
        )
    });
    let broker = consortium.serve_broker(MEMBER, &["--dangerous-crash-at", "after-log@1"]);
    assert_eq!(broker.crashed().signal(), Some(KILLED));
    let lost = releases(&log);
    assert_eq!(lost.len(), before.len() + 1);

    let broker = consortium.serve_broker(MEMBER, &[]);
    consortium.until("the member is among the survivors", |records| {
        let survives = |record: &Record| matches!(&record.event, Event::Survivors { members, .. } if members.iter().any(|name| name.as_str() == MEMBER));
        let of_job = |record: &&Record| record.job.as_ref().is_some_and(|id| id.as_str() == job);
        records.iter().filter(of_job).any(survives).then_some(())
    });
    let both = releases(&log);
    // The one that was lost, and the one that arrived.
    assert_eq!(both.len(), before.len() + 2);
    assert!(both.starts_with(&lost));
    let nonces: std::collections::BTreeSet<_> = both.iter().collect();
    assert_eq!(nonces.len(), both.len(), "each under a nonce of its own");

    let (status, said) = running.watch(&job);
    assert_eq!(status, Some(0), "{said}");
    drop((member, broker, others));
    running.stop();
    let verified = run(&["audit", "verify", log.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

/// The nonces of the releases in a broker's log.
fn releases(log: &Path) -> Vec<consort_audit::Hash> {
    let records = records_of(log);
    let nonces = records.iter().filter_map(|record| {
        if let Event::KeyReleased {
            nonce, simulated, ..
        } = &record.event
        {
            assert!(simulated, "it is marked");
            Some(*nonce)
        } else {
            None
        }
    });
    nonces.collect()
}

/// Looks into a broker's log until it has an event.
fn until(log: &Path, what: &str, shown: impl Fn(&Event) -> bool) {
    crate::consortium::until_in(log, what, |records| {
        records
            .iter()
            .any(|record| shown(&record.event))
            .then_some(())
    });
}
