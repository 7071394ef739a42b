//! The commands on the files of a consortium that was founded by the same commands.

use clap::Parser;
use consort_contract::{ConsortiumId, OrganisationId, RosterEntry};
use serde_json::Value;

use super::*;
use crate::failure::Exit;
use crate::{roster, simulated};

/// The arguments behind `consort manifest`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Four clinics with keys and an unsigned roster, a policy and the configurations.
struct Files {
    folder: tempfile::TempDir,
}

const CLINICS: [&str; 4] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4"];

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let root = simulated::init(&files.path("simulated")).unwrap();
        files.write("policy.toml", &policy(&root, ""));
        let mut members = BTreeMap::new();
        for (chip, name) in (1..).zip(CLINICS) {
            files.configure(name, chip);
            members.insert(OrganisationId::new(name).unwrap(), files.init(name));
        }
        files.configure("coordinator-0", 9);
        let coordinator = files.init("coordinator-0");
        let consortium = ConsortiumId::new("trial").unwrap();
        roster::write(&files.path("roster.json"), consortium, coordinator, members).unwrap();
        files
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn configure(&self, name: &str, chip: u8) {
        std::fs::create_dir(self.path(name)).unwrap();
        let text = format!(
            "coordinator = \"127.0.0.1:1\"\nconsent = \"consent.toml\"\n[node]\norganisation = \"{name}\"\nroster = \"../roster.json\"\n\
             manifest = \"../manifest.json\"\nroots = [\"../simulated/roots.pem\"]\nstate_dir = \"state\"\ndangerous_state_key_file = \"state.key\"\n\
             [node.attester.simulated]\nvendor_dir = \"../simulated\"\nchip_id = \"{}\"\nmeasurement = \"{}\"\nhost_data = \"{}\"\n",
            format!("{chip:02x}").repeat(64),
            "4d".repeat(48),
            "4f".repeat(32),
        );
        self.write(&format!("{name}/config.toml"), &text);
    }

    fn init(&self, name: &str) -> RosterEntry {
        block_on(consort_participant::init(&self.config(name))).unwrap()
    }

    fn config(&self, name: &str) -> consort_participant::Config {
        let path = self.path(name).join("config.toml");
        consort_participant::Config::load(&path).unwrap()
    }

    fn sign_roster(&self) {
        for name in CLINICS {
            block_on(consort_participant::sign_roster(&self.config(name))).unwrap();
        }
    }

    /// Runs a command in which `<file>` stands for a file here.
    fn run(&self, words: &str) -> Result<(), Failure> {
        let words = words
            .split_whitespace()
            .map(|word| match word.strip_prefix('<') {
                Some(file) => self.path(file.trim_end_matches('>')).display().to_string(),
                None => word.to_owned(),
            });
        let arguments = ["manifest".to_owned()].into_iter().chain(words);
        block_on(run(Arguments::try_parse_from(arguments).unwrap().command))
    }

    fn refused(&self, words: &str, code: &str) -> String {
        let failure = self.run(words).unwrap_err();
        assert_eq!(failure.code, code, "{}", failure.message);
        failure.message
    }

    fn sign(&self, file: &str, names: &[&str]) {
        for name in names {
            self.run(&format!("sign --config <{name}/config.toml> <{file}>"))
                .unwrap();
        }
    }

    /// The manifest of version 1, signed by all, in `manifest.json`.
    fn founded() -> Self {
        let files = Self::new();
        files
            .run("new --policy <policy.toml> --roster <roster.json> --out <manifest.json>")
            .unwrap();
        files.sign("manifest.json", &CLINICS);
        files.sign_roster();
        files
    }

    fn shown(&self, file: &str, previous: &str) -> Value {
        let read = |file: &str| files::read(&self.path(file)).unwrap();
        let (manifest, previous) = (read(file), read(previous));
        let roster: SignedRoster = config::load_json(&self.path("roster.json")).unwrap();
        let shown = Shown::new(&manifest, Some(&previous), Some(&roster)).unwrap();
        let text = shown.to_string();
        assert!(
            text.contains(&manifest.document.hash().to_string()),
            "{text}"
        );
        shown.to_json()
    }
}

fn policy(root: &str, snp_lines: &str) -> String {
    format!(
        "[trust]\nroots = []\ndangerous_simulated_roots = [\"{root}\"]\n[snp]\nreport_versions = [3]\nmeasurements = [\"{}\"]\n{snp_lines}\n\
         [snp.min_tcb.genoa]\nbootloader = 10\ntee = 0\nsnp = 23\nmicrocode = 84\n",
        "4d".repeat(48)
    )
}

#[test]
fn a_first_manifest_holds_when_all_have_signed_and_names_who_is_missing_before() {
    let files = Files::new();
    files
        .run("new --policy <policy.toml> --roster <roster.json> --out <manifest.json>")
        .unwrap();
    // Founders sign before the roster is signed, in any order.
    files.sign("manifest.json", &["clinic-4", "clinic-1", "clinic-3"]);
    files.sign_roster();
    let verify = "verify <manifest.json> --roster <roster.json>";
    let said = files.refused(verify, "manifest_too_few_signatures");
    assert!(
        said.contains("clinic-2") && said.contains("3 of the 4"),
        "{said}"
    );
    files.sign("manifest.json", &["clinic-2"]);
    files.run(verify).unwrap();
    files.run(&format!("{verify} --json")).unwrap();
    // A file that may bear signatures is not overwritten.
    let again = "new --policy <policy.toml> --roster <roster.json> --out <manifest.json>";
    files.refused(again, "manifest_exists");
}

#[test]
fn a_next_manifest_is_shown_with_what_it_changes_and_holds_with_a_quorum() {
    let files = Files::founded();
    let chip = "04".repeat(64);
    let text = std::fs::read_to_string(files.path("policy.toml")).unwrap();
    let raised = text.replace("snp = 23", "snp = 24");
    let denied = raised.replace("[snp]\n", &format!("[snp]\ndenied_chips = [\"{chip}\"]\n"));
    files.write("policy-2.toml", &denied);
    files
        .run("new --policy <policy-2.toml> --roster <roster.json> --previous <manifest.json> --out <second.json>")
        .unwrap();
    // What is signed must follow what the node has in force: at its first start, or as here.
    files.refused(
        "sign --config <clinic-1/config.toml> <second.json>",
        "manifest_gap",
    );
    for name in ["clinic-1", "clinic-2", "clinic-3"] {
        files
            .run(&format!(
                "adopt --config <{name}/config.toml> <manifest.json>"
            ))
            .unwrap();
    }
    files.sign("second.json", &["clinic-1", "clinic-2"]);
    let verify = "verify <second.json> --roster <roster.json> --previous <manifest.json>";
    let said = files.refused(verify, "manifest_too_few_signatures");
    assert!(said.contains("2 of the 3"), "{said}");
    files.sign("second.json", &["clinic-3"]);
    files.run(verify).unwrap();
    files.refused(
        "verify <second.json> --roster <roster.json>",
        "manifest_gap",
    );

    let shown = files.shown("second.json", "manifest.json");
    assert_eq!(shown["version"], 2);
    assert_eq!(shown["not_signed_by"], serde_json::json!(["clinic-4"]));
    let changes = serde_json::json!([
        { "field": "snp.denied_chips", "about": "machines that are shut out", "removed": [], "added": [chip] },
        { "field": "snp.min_tcb.genoa.snp", "about": "least firmware level", "removed": ["23"], "added": ["24"] },
    ]);
    assert_eq!(shown["changes"], changes);
}

#[test]
fn a_node_that_missed_a_manifest_adopts_it_and_never_signs_or_adopts_an_older_one() {
    let files = Files::founded();
    let adopt = "adopt --config <clinic-1/config.toml>";
    for (number, previous) in [(2, "manifest.json"), (3, "m2.json")] {
        files
            .run(&format!("new --policy <policy.toml> --roster <roster.json> --previous <{previous}> --out <m{number}.json>"))
            .unwrap();
        // Whoever signs must have adopted what is in force.
        if number == 3 {
            for name in ["clinic-1", "clinic-2", "clinic-4"] {
                let config = format!("<{name}/config.toml>");
                files
                    .run(&format!("adopt --config {config} <m2.json>"))
                    .unwrap();
            }
        } else {
            for name in ["clinic-1", "clinic-2", "clinic-4"] {
                let config = format!("<{name}/config.toml>");
                files
                    .run(&format!("adopt --config {config} <manifest.json>"))
                    .unwrap();
            }
        }
        files.sign(
            &format!("m{number}.json"),
            &["clinic-1", "clinic-2", "clinic-4"],
        );
    }
    let missed = "adopt --config <clinic-3/config.toml> <m3.json>";
    files.refused(missed, "manifest_gap");
    files
        .run("adopt --config <clinic-3/config.toml> <manifest.json> <m2.json> <m3.json>")
        .unwrap();
    files.run(&format!("{adopt} <m3.json> <m3.json>")).unwrap();
    files.refused(&format!("{adopt} <m2.json>"), "manifest_rollback");
    let sign = "sign --config <clinic-1/config.toml> <m2.json>";
    files.refused(sign, "manifest_rollback");
}

#[test]
fn what_cannot_be_a_manifest_is_refused_when_it_is_written_or_signed() {
    let files = Files::new();
    let new = "new --roster <roster.json> --out <manifest.json>";
    for threshold in [2, 5] {
        let words = format!("{new} --policy <policy.toml> --threshold {threshold}");
        files.refused(&words, "manifest_threshold");
    }
    files.write("bad.toml", "[trust]\nroots = []\n");
    let failure = files
        .run(&format!("{new} --policy <bad.toml>"))
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.code.starts_with("policy."), "{}", failure.code);

    // A policy that pins a root which this node was not given could not be judged by: it is not signed.
    files.write("foreign.toml", &policy(&"ab".repeat(32), ""));
    files
        .run(&format!("{new} --policy <foreign.toml>"))
        .unwrap();
    let sign = "sign --config <clinic-1/config.toml>";
    files.refused(sign, "policy.root-not-given");
    let unsigned = files::read(&files.path("manifest.json")).unwrap();
    assert!(unsigned.signatures.is_empty());
}
