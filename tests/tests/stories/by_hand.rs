//! What the demo does, by hand: the files it kept serve the same commands.

use std::net::TcpListener;

use serde_json::Value;

use crate::consortium::{address_of, operate, when_it_listens};
use crate::program::{Daemon, demo, run};

#[test]
fn a_coordinator_started_by_hand_lists_the_job_and_hands_out_its_model() {
    let demo = demo(&["--rounds", "1", "--members", "3"]);
    assert!(demo.succeeded);
    let config = demo.folder.join("coordinator/config.toml");
    let coordinator = Daemon::serve("coordinator", &config);
    let output = when_it_listens(|| operate(&demo, &["job", "list", "--json"]));
    let job: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(job["id"], demo.result["job_id"]);
    assert_eq!(job["state"], "completed");

    let out = demo.folder.join("fetched");
    let id = job["id"].as_str().unwrap();
    let out_text = out.to_str().unwrap();
    let output = operate(&demo, &["model", "download", id, "--out", out_text]);
    assert!(output.status.success(), "{output:?}");
    let kept = std::fs::read(demo.result["model_path"].as_str().unwrap()).unwrap();
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), kept);

    drop(coordinator);
    let audit = demo.folder.join("coordinator/state/audit");
    let output = run(&["audit", "verify", audit.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("entries"), "{said}");

    let token = demo.folder.join("coordinator/operator.token");
    let address = address_of(&demo, "participants_address");
    assert!(token.is_file());
    let _taken = TcpListener::bind(&address).unwrap();
    let (status, said) = Daemon::serve("coordinator", &config).ended();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&address), "a port in use is named: {said}");
}
