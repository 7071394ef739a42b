//! The commands on files: a simulated machine's evidence under a policy.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Parser;
use consort_attestation::simulated::{
    SimulatedMachine, SimulatedTdxVendor, SimulatedVendor, TdDeclaration,
};
use consort_attestation::{
    Attester, ChipId, Evidence, HostData, Measurement, Product, ReportData, Tcb,
};

use super::{Command, run};
use crate::failure::{Exit, Failure};

/// The arguments behind `consort attest`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// A folder with evidence, its parts, a policy and the roots.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let now = SystemTime::now();
        let vendor = SimulatedVendor::create(Product::Genoa, now).unwrap();
        let machine = SimulatedMachine {
            chip_id: ChipId::new([0xC1; 64]),
            measurement: Measurement::new([0x4D; 48]),
            host_data: HostData::new([0x4F; 32]),
            tcb: Tcb {
                fmc: None,
                bootloader: 10,
                tee: 0,
                snp: 25,
                microcode: 84,
            },
        };
        let evidence = vendor.attester(machine, now).unwrap();
        let evidence: Evidence = evidence.attest(ReportData::new([0x5A; 64])).unwrap();
        let root: String = vendor
            .root_hash()
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::create_dir(files.path("roots")).unwrap();
        files.write(
            "roots/simulated.pem",
            vendor.roots_pem().unwrap().as_bytes(),
        );
        let list = vendor.revocation_list(&[], now).unwrap();
        files.write("roots/simulated.crl", &list);
        files.write("evidence.bin", &evidence.to_bytes());
        files.write("report.bin", evidence.report());
        files.write("vcek.der", evidence.vcek_der().unwrap());
        let policy = format!(
            "[trust]\nroots = []\ndangerous_simulated_roots = [\"{root}\"]\ncrl = \"required\"\n\
             [snp]\nreport_versions = [3]\nmeasurements = [\"{}\"]\n\
             [snp.min_tcb.genoa]\nbootloader = 10\ntee = 0\nsnp = 25\nmicrocode = 84\n",
            machine.measurement
        );
        files.write("policy.toml", policy.as_bytes());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs a command line in which names in angle brackets are files of this folder.
    fn run(&self, line: &str) -> Result<(), Failure> {
        let arguments = line.split(' ').map(|word| {
            match word
                .strip_prefix('<')
                .and_then(|word| word.strip_suffix('>'))
            {
                Some(name) => self.path(name).into_os_string(),
                None => word.into(),
            }
        });
        let arguments = std::iter::once("attest".into()).chain(arguments);
        run(Arguments::try_parse_from(arguments).unwrap().command)
    }

    fn refuse(&self, line: &str) -> (Exit, String) {
        let failure = self.run(line).unwrap_err();
        (failure.exit, failure.code)
    }
}

const JUDGED: &str = "--policy <policy.toml> --roots <roots>";

#[test]
fn evidence_and_its_parts_are_accepted_by_the_policy() {
    let files = Files::new();
    for what in ["<evidence.bin>", "<report.bin> --vcek <vcek.der>"] {
        for command in ["verify", "explain"] {
            for json in ["", " --json"] {
                files
                    .run(&format!("{command} {what} {JUDGED}{json}"))
                    .unwrap();
            }
        }
        files.run(&format!("report {what}")).unwrap();
    }
    files.run("report <report.bin> --json").unwrap();
    let all = format!(
        "--chip-id {} --host-data {} --measurement {} --report-data {}",
        "c1".repeat(64),
        "4f".repeat(32),
        "4d".repeat(48),
        "5a".repeat(64)
    );
    files
        .run(&format!("verify <evidence.bin> {JUDGED} {all}"))
        .unwrap();
}

#[test]
fn what_is_wanted_and_not_said_is_refused_by_its_reason() {
    let files = Files::new();
    for (option, digits, code) in [
        ("--chip-id", 128, "attest.chip-id"),
        ("--host-data", 64, "attest.host-data"),
        ("--measurement", 96, "attest.measurement"),
        ("--report-data", 128, "attest.report-data"),
    ] {
        let line = format!(
            "verify <evidence.bin> {JUDGED} {option} {}",
            "0".repeat(digits)
        );
        assert_eq!(files.refuse(&line), (Exit::Refused, code.to_owned()));
    }
    let later = format!("verify <evidence.bin> {JUDGED} --at-unix-s 4000000000");
    assert_eq!(files.refuse(&later).1, "attest.certificate-expired");
    let told = files.run(&format!("{later} --json")).unwrap_err();
    assert!(told.told && told.exit == Exit::Refused);
}

/// A quote as the kernel hands it out, with Intel's collateral among the roots.
#[test]
fn a_quote_of_tdx_is_judged_by_the_same_commands() {
    let (files, now) = (Files::new(), SystemTime::now());
    let vendor = SimulatedTdxVendor::create(now).unwrap();
    let declaration = TdDeclaration {
        platform: [0x7D; 16],
        mr_td: Measurement::new([0x4D; 48]),
        host_data: HostData::new([0x4F; 32]),
    };
    let machine = vendor.machine(declaration, now).unwrap();
    let quote = machine.attest(ReportData::new([0x5A; 64])).unwrap();
    files.write("quote.bin", &[quote.report(), &[0; 70]].concat());
    let judge = "verify <quote.bin> --policy <tdx.toml> --roots <roots>";
    let policy = |software: &str| {
        let root: String = vendor
            .root_hash()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let policy = format!(
            "[trust]\nroots = []\ndangerous_simulated_roots = [\"{root}\"]\n[tdx]\nquote_versions = [4, 5]\nmr_td = [\"{software}\"]\n"
        );
        files.write("tdx.toml", policy.as_bytes());
    };
    policy(&declaration.mr_td.to_string());
    assert_eq!(
        files.refuse(judge),
        (Exit::Usage, "policy.root-not-given".to_owned())
    );
    let collateral = vendor.collateral(now).unwrap();
    files.write("roots/intel.json", collateral.as_bytes());
    let chip_id = format!("{}{}", "7d".repeat(16), "00".repeat(48));
    for line in [
        judge.to_owned(),
        judge.replace("verify", "explain"),
        format!("{judge} --chip-id {chip_id} --json"),
        format!("{judge} --host-data {}", "4f".repeat(32)),
        "report <quote.bin>".to_owned(),
    ] {
        files
            .run(&line)
            .unwrap_or_else(|failure| panic!("{line}: {}", failure.code));
    }
    policy(&"09".repeat(48));
    assert_eq!(
        files.refuse(judge),
        (Exit::Refused, "attest.tdx-mr-td".to_owned())
    );
    assert_eq!(
        files.refuse(&judge.replace("<tdx.toml>", "<policy.toml>")),
        (Exit::Refused, "attest.evidence-tdx".to_owned())
    );
}

#[test]
fn what_is_no_evidence_is_refused_and_told_as_an_object_too() {
    let files = Files::new();
    files.write("paravisor.bin", &[b"HCLA".as_slice(), &[0; 2596]].concat());
    files.write("version-6.bin", &{
        let mut report = std::fs::read(files.path("report.bin")).unwrap();
        report[0] = 6;
        report
    });
    for (file, code) in [
        ("<paravisor.bin>", "attest.evidence-paravisor"),
        ("<policy.toml>", "attest.evidence-encoding"),
        ("<version-6.bin> --vcek <vcek.der>", "attest.report-version"),
    ] {
        for line in [
            format!("report {file}"),
            format!("verify {file} {JUDGED}"),
            format!("explain {file} {JUDGED}"),
        ] {
            assert_eq!(
                files.refuse(&line),
                (Exit::Refused, code.to_owned()),
                "{line}"
            );
            let told = files.run(&format!("{line} --json")).unwrap_err();
            assert!(told.told && told.exit == Exit::Refused, "{line}");
        }
    }
}

#[test]
fn a_machine_that_can_make_no_evidence_says_so_and_writes_nothing() {
    let files = Files::new();
    for (option, interface) in [
        ("", "/sys/kernel/config/tsm/report"),
        (" --device", "/dev/sev-guest"),
    ] {
        if std::path::Path::new(interface).exists() {
            eprintln!("skipped: this machine has {interface}");
            continue;
        }
        let code = "attest.attester-no-interface".to_owned();
        let line = format!("collect --out <new.bin>{option}");
        assert_eq!(files.refuse(&line), (Exit::Failed, code));
        assert!(!files.path("new.bin").exists());
    }
}

#[test]
fn files_that_cannot_be_judged_are_refused_by_what_they_lack() {
    let files = Files::new();
    let refused = |line: &str| files.refuse(line).1;
    assert_eq!(
        refused(&format!("verify <report.bin> {JUDGED}")),
        "attest_certificate_missing"
    );
    assert_eq!(
        refused("verify <evidence.bin> --roots <roots>"),
        "attest_roots_missing"
    );
    assert_eq!(
        refused(&format!("verify <policy.toml> {JUDGED}")),
        "attest.evidence-encoding"
    );
    assert_eq!(
        refused("report <evidence.bin> --vcek <vcek.der>"),
        "attest_not_a_report"
    );
    assert_eq!(
        refused("report <report.bin> --vcek <policy.toml>"),
        "attest_certificate_unusable"
    );
    files.write("roots/another.crl", b"nothing");
    assert_eq!(
        refused(&format!("verify <evidence.bin> {JUDGED}")),
        "attest_roots_file"
    );
    files.write("roots/another.crl", &[0x30, 0]);
    assert_eq!(
        refused(&format!("verify <evidence.bin> {JUDGED}")),
        "trust.crl-malformed"
    );
    assert_eq!(
        refused("measure --ovmf <policy.toml> --vcpus 1 --vcpu-type EPYC-v4"),
        "measure.firmware"
    );
}
