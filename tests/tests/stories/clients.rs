//! What a person without a consortium can do with the program: check job files, complete commands, make what a node needs.

use std::path::Path;

use serde_json::Value;

use crate::program::run;

/// The job file that explains each field.
const SAMPLE: &str = include_str!("../../../cli/job.sample.yaml");

/// The exit status and the JSON object of a command.
fn said(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(arguments);
    let object = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), object)
}

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("job.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_job_file_is_checked_without_a_coordinator_and_its_error_names_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), SAMPLE);
    let (status, job) = said(&["job", "check", "--json", &file]);
    assert_eq!(
        (status, job["name"].as_str()),
        (Some(0), Some("readmission"))
    );
    let explained = run(&["privacy", "explain", &file]);
    assert!(explained.status.success(), "{explained:?}");

    for (to, code) in [
        ("epsilon: 0", "job_number_out_of_range"),
        ("epsilom: 1.0", "config_invalid"),
    ] {
        let wrong = SAMPLE.replacen("epsilon: 1.0", to, 1);
        let line = wrong.lines().position(|line| line.contains(to)).unwrap() + 1;
        let file = written(folder.path(), &wrong);
        let (status, error) = said(&["job", "check", "--json", &file]);
        assert_eq!((status, error["code"].as_str()), (Some(2), Some(code)));
        let text = error["error"].as_str().unwrap();
        for told in ["job.yaml", &format!("line {line}"), "privacy", "epsilo"] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
}

#[test]
fn the_coordinators_address_comes_from_the_environment_and_its_absence_is_a_failure_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cert.pem", "token"] {
        std::fs::write(folder.path().join(name), "0123456789abcdef0123456789abcdef").unwrap();
    }
    let output = crate::program::consort()
        .args(["job", "list", "--json"])
        .env("CONSORT_COORDINATOR", "not an address")
        .env("CONSORT_CA", folder.path().join("cert.pem"))
        .env("CONSORT_TOKEN_FILE", folder.path().join("token"))
        .output()
        .unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["code"], "coordinator_address", "{error}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_was_made_is_told_as_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let vendor = folder.path().join("vendor");
    let (status, made) = said(&["simulated", "init", "--json", vendor.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    assert_eq!(made["dangerous_simulated_root"].as_str().unwrap().len(), 64);
    assert!(Path::new(made["roots"].as_str().unwrap()).exists());
}

#[test]
fn shells_get_a_script_and_top_asks_for_a_terminal() {
    let script = run(&["completions", "bash"]);
    assert!(script.status.success());
    assert!(
        String::from_utf8(script.stdout)
            .unwrap()
            .contains("_consort")
    );
    let access = [
        "--coordinator",
        "https://127.0.0.1:1",
        "--ca",
        "x",
        "--token-file",
        "x",
    ];
    let top = run(&[["top"].as_slice(), &access].concat());
    assert_eq!(top.status.code(), Some(2));
    assert!(
        String::from_utf8(top.stderr)
            .unwrap()
            .contains("[top_terminal]")
    );
}
