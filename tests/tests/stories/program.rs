//! Runs the program as a person would, and reads what it says.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use consort_audit::{ENTRIES_FILE, Record};
use serde_json::Value;

/// The program.
pub(crate) fn consort() -> Command {
    Command::new(env!("CARGO_BIN_EXE_consort-under-test"))
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    consort().args(arguments).output().unwrap()
}

/// A demo that ended, and the folder it kept.
pub(crate) struct Demo {
    pub(crate) result: Value,
    pub(crate) succeeded: bool,
    pub(crate) folder: PathBuf,
    _temporary: tempfile::TempDir,
}

/// Runs `consort demo --json --dir FOLDER` with more arguments.
pub(crate) fn demo(arguments: &[&str]) -> Demo {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("demo");
    let mut command = consort();
    command
        .args(["demo", "--json", "--dir"])
        .arg(&folder)
        .args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let result = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("standard output is not one JSON object ({error}): {text:?}")
    });
    let demo = Demo {
        result,
        succeeded: output.status.success(),
        folder,
        _temporary: temporary,
    };
    if !demo.succeeded {
        println!(
            "{}\n{}",
            demo.result,
            String::from_utf8_lossy(&output.stderr)
        );
        print_logs(&demo.folder);
    }
    demo
}

impl Demo {
    /// A list of whole numbers of the result.
    pub(crate) fn numbers(&self, field: &str) -> Vec<u64> {
        let list = self.result[field].as_array().unwrap();
        list.iter().map(|number| number.as_u64().unwrap()).collect()
    }

    /// The records of the coordinator's audit log.
    pub(crate) fn audit(&self) -> Vec<Record> {
        let path = self
            .folder
            .join("coordinator/state/audit")
            .join(ENTRIES_FILE);
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| Record::from_line(line.as_bytes()).unwrap())
            .collect()
    }
}

/// What the daemons of a failed demo said last.
fn print_logs(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(log) = std::fs::read_to_string(entry.path().join("log.txt")) {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(30)..].join("\n");
            println!("--- {}\n{last}", entry.path().display());
        }
    }
}

/// A daemon that ends with this value.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts `consort PROGRAM serve --config CONFIG`.
    pub(crate) fn serve(program: &str, config: &Path) -> Self {
        let mut command = consort();
        command.args([program, "serve", "--config"]).arg(config);
        Self(
            command
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// Waits until it ends by itself; its exit status and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (self.0.wait().unwrap().code(), said)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already where this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
