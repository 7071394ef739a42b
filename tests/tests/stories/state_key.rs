//! A participant whose state lies under a key that its organisation's broker releases at each start, as processes.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use consort_audit::{Event, Record};

use crate::consortium::{Consortium, records_of, until_in};
use crate::program::run;

const MEMBER: &str = "clinic-1";
const OTHERS: [&str; 3] = ["clinic-2", "clinic-3", "clinic-4"];

#[test]
fn a_participants_state_opens_under_a_released_key_after_each_start_and_for_no_other_program() {
    let consortium = Consortium::founded_with(&["--sealed-data"]);
    for member in OTHERS.iter().chain([&MEMBER]) {
        consortium.edit(&format!("{member}-broker/config.toml"), |text| {
            text.replace("max_epsilon = 1.0", "max_epsilon = 9.0")
        });
    }
    let (log, config) = (
        consortium.path("clinic-1-broker/state/audit"),
        consortium.path("clinic-1/config.toml"),
    );
    let paid = budget(&config).0.unwrap();
    moves_to_a_released_key(&consortium, &config);
    assert_eq!(released(&records_of(&log)), 1, "for the move");

    // The broker is away: a tool says so, a participant waits.
    let (none, said) = budget(&config);
    assert!(
        none.is_none() && said.contains("key_broker_unreachable"),
        "{said}"
    );
    let waiting = consortium.serve(MEMBER);
    std::thread::sleep(Duration::from_secs(2));
    let _brokers = OTHERS.map(|member| consortium.serve_broker(member, &[]));
    let broker = consortium.serve_broker(MEMBER, &[]);
    let running = consortium.run(&OTHERS);
    let (status, said) = running.submit_and_watch();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("completed"), "{said}");
    until_in(
        &log,
        "the state key was released to the daemon",
        |records| (released(records) == 2).then_some(()),
    );

    // Killed, as by a machine that stops: it asks anew, nothing that opens the state was left on its disk.
    let said = waiting.stop();
    let (asked, had) = (
        "asking the broker again",
        "the broker released the key of the state",
    );
    assert!(
        said.find(asked).unwrap() < said.find(had).unwrap(),
        "{said}"
    );
    assert!(!said.contains("dangerous_state_key_file"), "{said}");
    let again = consortium.serve(MEMBER);
    until_in(&log, "the state key was released anew", |records| {
        (released(records) == 3).then_some(())
    });
    let (status, said) = running.submit_and_watch();
    assert_eq!(status, Some(0), "{said}");
    drop(again);
    let after = budget(&config).0.unwrap();
    assert_eq!(after, paid + 2, "two jobs of one round");

    // Another program in the same machine gets nothing, and the participant says so and ends.
    drop(broker);
    let good = consortium.spoil_policy("clinic-1-broker/broker-policy.toml");
    let broker = consortium.serve_broker(MEMBER, &[]);
    let before = released(&records_of(&log));
    let refused = refused_start(&consortium);
    assert!(refused.contains("is not had from the broker"), "{refused}");
    until_in(&log, "the program was refused", |records| {
        let measurement = |record: &&Record| matches!(&record.event, Event::MemberRefused { code, .. } if code.as_str() == "attest.measurement");
        records.iter().find(measurement).map(drop)
    });
    assert_eq!(released(&records_of(&log)), before);
    drop(broker);
    consortium.edit("clinic-1-broker/broker-policy.toml", |_| good);
    let broker = consortium.serve_broker(MEMBER, &[]);
    assert!(budget(&config).0.is_some());
    drop(broker);
    let verified = run(&["audit", "verify", log.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

/// A broker that listens by now refuses; one that does not yet is waited for.
fn refused_start(consortium: &Consortium) -> String {
    let (status, said) = consortium.serve(MEMBER).ended();
    assert_eq!(status, Some(1), "{said}");
    said
}

/// Has the broker make a state key, and the participant's state sealed again under it.
fn moves_to_a_released_key(consortium: &Consortium, config: &Path) {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let table = |heading: &str| {
        format!("\n[{heading}]\naddress = \"{address}\"\nkey_id = \"clinic-1-state\"\n")
    };
    consortium.edit("clinic-1-broker/config.toml", |text| {
        text + &table("state_key")
    });
    let at = |file: &str| consortium.path(file).to_str().unwrap().to_owned();
    let broker = at("clinic-1-broker/config.toml");
    let made = run(&["broker", "init", "--config", &broker]);
    assert!(made.status.success(), "{made:?}");
    let listed = run(&["broker", "keys", "--config", &broker]);
    assert!(
        String::from_utf8(listed.stdout)
            .unwrap()
            .contains("clinic-1-state version 1")
    );

    let text = std::fs::read_to_string(config).unwrap();
    let moved = text
        .replace("state_dir = \"state\"", "state_dir = \"state-2\"")
        .replace("dangerous_state_key_file = \"state.key\"\n", "")
        + &table("broker.state_key");
    let into = at("clinic-1/moved.toml");
    std::fs::write(&into, &moved).unwrap();
    let serving = consortium.serve_broker(MEMBER, &[]);
    let sealed = run(&[
        "participant",
        "reseal",
        "--config",
        config.to_str().unwrap(),
        "--into",
        &into,
    ]);
    assert!(sealed.status.success(), "{sealed:?}");
    drop(serving);
    std::fs::remove_dir_all(consortium.path("clinic-1/state")).unwrap();
    std::fs::remove_file(consortium.path("clinic-1/state.key")).unwrap();
    std::fs::write(config, moved).unwrap();
}

/// How many releases the ledger has paid for; what was said where it cannot be read.
fn budget(config: &Path) -> (Option<u64>, String) {
    let config = config.to_str().unwrap();
    let output = run(&["privacy", "budget", "--json", "--config", config]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    if !output.status.success() {
        return (None, said);
    }
    let shown: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    (shown["datasets"][0]["releases"].as_u64(), said)
}

fn released(records: &[Record]) -> usize {
    let released = |record: &&Record| matches!(record.event, Event::StateKeyReleased { .. });
    records.iter().filter(released).count()
}
