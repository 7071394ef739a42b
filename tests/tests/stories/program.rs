//! Runs the program as a person would, and reads what it says.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

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

    /// The records of the coordinator's audit log; while it runs, up to the newest whole one.
    pub(crate) fn audit(&self) -> Vec<Record> {
        let path = self
            .folder
            .join("coordinator/state/audit")
            .join(ENTRIES_FILE);
        let text = std::fs::read_to_string(path).unwrap();
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
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

/// A daemon that was asked to kill itself has done so well inside it, also on a busy machine.
const CRASH: Duration = Duration::from_secs(60);

/// A daemon that ends with this value.
pub(crate) struct Daemon {
    child: Child,
    /// Its log: a file, since nobody empties a pipe while it runs.
    log: File,
}

impl Daemon {
    /// Starts `consort PROGRAM serve --config CONFIG`.
    pub(crate) fn serve(program: &str, config: &Path) -> Self {
        Self::serve_with(program, config, &[])
    }

    /// Starts it with more arguments.
    pub(crate) fn serve_with(program: &str, config: &Path, arguments: &[&str]) -> Self {
        let log = tempfile::tempfile().unwrap();
        let mut command = consort();
        command.args([program, "serve", "--config"]).arg(config);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Self { child, log }
    }

    /// Waits until it ends by itself; its exit status and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        (self.child.wait().unwrap().code(), self.said())
    }

    /// Waits until it has killed itself where it was told to.
    pub(crate) fn crashed(mut self) -> ExitStatus {
        let deadline = Instant::now() + CRASH;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the crash point was not reached");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end, as container engines do (SIGTERM), and waits; its exit status, how long it took, and what it had said.
    pub(crate) fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let asked = Instant::now();
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        (status.code(), asked.elapsed(), self.said())
    }

    /// Ends it; what it had said.
    pub(crate) fn stop(mut self) -> String {
        self.end();
        self.said()
    }

    fn end(&mut self) {
        // It has ended already where this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it said. It has ended: until then the file's position is its own.
    fn said(&mut self) -> String {
        let mut said = String::new();
        self.log.rewind().unwrap();
        self.log.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            println!("--- a daemon's log\n{}", self.said());
        }
    }
}
