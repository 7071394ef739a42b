//! Bad input gets a clear error, and nothing is started for it.

use std::path::Path;

use serde_json::Value;

use crate::program::{demo, run};

/// The demo's error and code.
fn refused(arguments: &[&str]) -> (String, String) {
    let demo = demo(arguments);
    assert!(!demo.succeeded);
    assert!(!demo.folder.exists(), "nothing is written for a bad option");
    let text = |field: &str| demo.result[field].as_str().unwrap().to_owned();
    (text("error"), text("code"))
}

#[test]
fn options_out_of_range_are_refused_with_a_code_and_the_range() {
    for (arguments, code, says) in [
        (["--epsilon", "0"], "demo_epsilon", "above 0"),
        (["--epsilon", "-1"], "demo_epsilon", "above 0"),
        (["--members", "2"], "demo_members", "3 to 50"),
        (["--rounds", "0"], "demo_rounds", "1 to"),
        (["--drop", "clinic-3"], "demo_drop", "NAME@ROUND"),
        (["--drop", "clinic-9@1"], "demo_drop", "clinic-5"),
        (["--crash-coordinator", "99"], "demo_round", "1 to 20"),
        (["--dataset", "heart"], "demo_data", "--data"),
        (["--algorithm", "sgd"], "usage", "dp-fedsgd, fedavg"),
        (["--members", "many"], "usage", "many"),
    ] {
        let (error, found) = refused(&arguments);
        assert_eq!(found, code, "{arguments:?}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dear.txt"), "mine").unwrap();
    let output = run(&["demo", "--json", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["code"], "demo_dir_used");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = run(&["participant", "serve", "--config", "nowhere/config.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nowhere/config.toml"), "{said}");
    assert!(!Path::new("nowhere").exists());
}
