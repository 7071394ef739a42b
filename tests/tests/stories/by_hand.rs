//! What the demo does, by hand: the files it kept serve the same commands.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Daemon, Demo, demo, run};

/// A coordinator on a busy machine listens well inside it.
const START: Duration = Duration::from_secs(30);

#[test]
fn a_coordinator_started_by_hand_lists_the_job_and_hands_out_its_model() {
    let demo = demo(&["--rounds", "1", "--members", "3"]);
    assert!(demo.succeeded);
    let config = demo.folder.join("coordinator/config.toml");
    let coordinator = Daemon::serve("coordinator", &config);
    let job = listed_job(&demo);
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

fn listed_job(demo: &Demo) -> Value {
    let deadline = Instant::now() + START;
    loop {
        let output = operate(demo, &["job", "list", "--json"]);
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        assert!(Instant::now() < deadline, "{output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A command of an operator with the access that the demo wrote.
fn operate(demo: &Demo, arguments: &[&str]) -> std::process::Output {
    let folder = demo.folder.join("coordinator");
    let url = format!("https://{}", address_of(demo, "operators_address"));
    let certificate = folder.join("tls/cert.pem");
    let token = folder.join("operator.token");
    let access = [
        "--coordinator",
        &url,
        "--ca",
        certificate.to_str().unwrap(),
        "--token-file",
        token.to_str().unwrap(),
    ];
    run(&[arguments, &access].concat())
}

fn address_of(demo: &Demo, field: &str) -> String {
    let text = std::fs::read_to_string(demo.folder.join("coordinator/config.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}
