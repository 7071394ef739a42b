//! A consortium that a demo founded, run by hand afterwards: its files edited, its daemons started one by one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use consort_audit::{ENTRIES_FILE, Record};

use crate::program::{Daemon, Demo, demo, run};

/// A coordinator on a busy machine listens well inside it.
const START: Duration = Duration::from_secs(30);

/// What a story waits for in the audit log comes well inside it: a few phases that run into their deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files of four clinics.
pub(crate) struct Consortium(Demo);

impl Consortium {
    /// Founded by a demo of one round, with a budget for more jobs.
    pub(crate) fn founded() -> Self {
        Self::founded_by(4, &[])
    }

    /// The same, of so many clinics.
    pub(crate) fn founded_of(members: usize) -> Self {
        Self::founded_by(members, &[])
    }

    /// The same, of four clinics, by a demo with more arguments.
    pub(crate) fn founded_with(arguments: &[&str]) -> Self {
        Self::founded_by(4, arguments)
    }

    fn founded_by(members: usize, arguments: &[&str]) -> Self {
        let members_text = members.to_string();
        let usual = ["--members", &members_text, "--rounds", "1"];
        let demo = demo(&[usual.as_slice(), arguments].concat());
        assert!(demo.succeeded);
        let consortium = Self(demo);
        for member in 1..=members {
            consortium.edit(&format!("clinic-{member}/consent.toml"), |text| {
                text.replace("max_epsilon_lifetime = 1.0", "max_epsilon_lifetime = 9.0")
            });
        }
        consortium
    }

    /// A file of it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.folder.join(file)
    }

    /// Changes a file.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text, "{file} was not changed");
        std::fs::write(path, changed).unwrap();
    }

    /// Starts one daemon.
    pub(crate) fn serve(&self, name: &str) -> Daemon {
        self.serve_with(name, &[])
    }

    /// Starts one member's daemon, which kills itself at a point of a round.
    pub(crate) fn serve_until(&self, member: &str, crash_at: &str) -> Daemon {
        self.serve_with(member, &["--dangerous-crash-at", crash_at])
    }

    /// Starts one member's key broker.
    pub(crate) fn serve_broker(&self, member: &str, arguments: &[&str]) -> Daemon {
        let config = self.path(&format!("{member}-broker/config.toml"));
        Daemon::serve_with("broker", &config, arguments)
    }

    /// Makes a policy name other programs than there are; what it said before.
    pub(crate) fn spoil_policy(&self, file: &str) -> String {
        let mut good = String::new();
        self.edit(file, |text| {
            let at = text.find("measurements = [").unwrap();
            let (before, after) = text.split_at(at);
            let mut spoilt = after.to_owned();
            let digit = spoilt.find('"').unwrap() + 1;
            let other = if spoilt[digit..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            spoilt.replace_range(digit..=digit, other);
            let changed = format!("{before}{spoilt}");
            good = text;
            changed
        });
        good
    }

    fn serve_with(&self, name: &str, arguments: &[&str]) -> Daemon {
        let program = if name == "coordinator" {
            name
        } else {
            "participant"
        };
        Daemon::serve_with(program, &self.path(name).join("config.toml"), arguments)
    }

    /// Has a member's machine declare another program than the policy lists, from its next start; what it declared before.
    pub(crate) fn spoil_measurement(&self, member: &str) -> String {
        let mut good = String::new();
        self.edit(&format!("{member}/config.toml"), |text| {
            let changed = text
                .replace("measurement = \"", "measurement = \"ff")
                .replace("00\"\nhost_data", "\"\nhost_data");
            good = text;
            changed
        });
        good
    }

    /// The records of the coordinator's audit log.
    pub(crate) fn audit(&self) -> Vec<Record> {
        self.0.audit()
    }

    /// Looks into the audit log until it shows something.
    pub(crate) fn until<T>(&self, what: &str, shown: impl Fn(&[Record]) -> Option<T>) -> T {
        until_in(&self.path("coordinator/state/audit"), what, shown)
    }

    /// Starts the coordinator and these members.
    pub(crate) fn run(&self, members: &[&str]) -> Running<'_> {
        let names = std::iter::once(&"coordinator").chain(members);
        let daemons = names.map(|name| self.serve(name)).collect();
        Running {
            consortium: self,
            daemons,
        }
    }

    /// Submits the job of the demo after a change; nobody is running.
    pub(crate) fn submit_edited(
        &self,
        change: impl FnOnce(String) -> String,
    ) -> (Option<i32>, String) {
        let text = std::fs::read_to_string(self.path("job.json")).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text);
        let path = self.path("edited.json");
        std::fs::write(&path, changed).unwrap();
        told(&self.operate(&["job", "submit", "--job", path.to_str().unwrap()]))
    }

    /// A command of an operator.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Output {
        operate(&self.0, arguments)
    }

    /// What the coordinator tells whoever collects its metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(address_of(&self.0, "metrics_address")).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A consortium whose daemons run.
pub(crate) struct Running<'a> {
    consortium: &'a Consortium,
    daemons: Vec<Daemon>,
}

impl Running<'_> {
    /// Submits the job of the demo again and watches it to its end.
    pub(crate) fn submit_and_watch(&self) -> (Option<i32>, String) {
        self.watch(&self.submit())
    }

    /// Submits the job of the demo again; its id.
    pub(crate) fn submit(&self) -> String {
        let job = self.consortium.path("job.json");
        let submit = ["job", "submit", "--json", "--job", job.to_str().unwrap()];
        let output = when_it_listens(|| self.consortium.operate(&submit));
        let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        job["id"].as_str().unwrap().to_owned()
    }

    /// Watches a job to its end.
    pub(crate) fn watch(&self, job: &str) -> (Option<i32>, String) {
        told(&self.consortium.operate(&["job", "watch", job]))
    }

    /// Ends all daemons; what the coordinator had said.
    pub(crate) fn stop(self) -> String {
        let mut logs = self.daemons.into_iter().map(Daemon::stop);
        let coordinator = logs.next().unwrap();
        logs.for_each(drop);
        coordinator
    }
}

/// Looks into a log until it shows something.
pub(crate) fn until_in<T>(log: &Path, what: &str, shown: impl Fn(&[Record]) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = records_of(log);
        if let Some(found) = shown(&records) {
            return found;
        }
        if Instant::now() > deadline {
            let newest = &records[records.len().saturating_sub(20)..];
            panic!("the log never said that {what}; it ends with {newest:#?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The records of a log; while it is written, up to the newest whole one. None where it has not begun.
pub(crate) fn records_of(log: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(log.join(ENTRIES_FILE)).unwrap_or_default();
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(|line| Record::from_line(line.as_bytes()).unwrap())
        .collect()
}

/// Repeats a command until the coordinator listens.
pub(crate) fn when_it_listens(command: impl Fn() -> Output) -> Output {
    let deadline = Instant::now() + START;
    loop {
        let output = command();
        if output.status.success() {
            return output;
        }
        assert!(Instant::now() < deadline, "{output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A command of an operator with the access that the demo wrote.
pub(crate) fn operate(demo: &Demo, arguments: &[&str]) -> Output {
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

/// An address in the coordinator's configuration.
pub(crate) fn address_of(demo: &Demo, field: &str) -> String {
    let text = std::fs::read_to_string(demo.folder.join("coordinator/config.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}
