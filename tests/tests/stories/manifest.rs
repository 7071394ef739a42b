//! The manifest changes while a job runs: a member that it shuts out is dropped at once and alone, and comes back under the next.

use std::time::{Duration, Instant};

use consort_audit::{Event, Record};
use serde_json::Value;

use crate::consortium::Consortium;
use crate::program::run;

const MEMBER: &str = "clinic-4";
const OTHERS: [&str; 4] = ["clinic-1", "clinic-2", "clinic-3", "clinic-5"];
/// Three of five.
const SIGNERS: [&str; 3] = ["clinic-1", "clinic-2", "clinic-5"];
const DENIED: &str = "attest.chip-denied";

/// From the last byte of a new manifest's file to the record that the member was dropped. A second is usual; a machine that is busy with
/// other things may take some, and a connection would live an hour.
const AT_ONCE: Duration = Duration::from_secs(30);

/// With everybody there a round is over in less than a second; without one member, or while some have taken a new manifest and
/// others have not, it lasts as long as the others wait.
fn slow_without_a_member(job: String) -> String {
    job.replace("\"rounds\": 1,", "\"rounds\": 20,")
        .replace("\"joining_ms\": 20000", "\"joining_ms\": 3000")
        .replace("\"collecting_ms\": 60000", "\"collecting_ms\": 3000")
}

#[test]
fn a_member_that_a_new_manifest_shuts_out_is_dropped_at_once_and_comes_back_under_the_next() {
    let consortium = Consortium::founded_of(5);
    consortium.edit("job.json", slow_without_a_member);
    let everybody = [OTHERS.as_slice(), &[MEMBER]].concat();
    let running = consortium.run(&everybody);
    let job = running.submit();
    consortium.until("everybody survives a round", |records| {
        let of_job = |record: &&Record| names_job(record, &job);
        let named = records.iter().filter(of_job).filter_map(survivors);
        named.filter(|names| names.len() == 5).nth(1).map(drop)
    });

    let policy = std::fs::read_to_string(consortium.path("policy.toml")).unwrap();
    let denial = format!(
        "[snp]\ndenied_chips = [\"{}\"]\n",
        chip_of(&consortium, MEMBER)
    );
    let second = next(
        &consortium,
        2,
        &policy.replace("[snp]\n", &denial),
        &SIGNERS,
    );
    let replaced = Instant::now();
    install(&consortium, &second);
    let dropped = consortium.until("the member is dropped", |records| {
        records
            .iter()
            .position(|record| verdict(record) == Some((MEMBER, false, DENIED)))
    });
    let took = replaced.elapsed();
    println!(
        "dropped {} ms after the file was replaced",
        took.as_millis()
    );
    assert!(took < AT_ONCE, "{took:?}");
    let went_on = consortium.until("three rounds go on with the others", |records| {
        let rest = records.iter().enumerate().skip(dropped);
        let mut of_others =
            rest.filter(|(_, record)| survivors(record).is_some_and(|names| names == OTHERS));
        of_others.nth(2).map(|(index, _)| index)
    });
    let shown = show(&consortium, &job);
    let since = shown["quarantined_since_unix_ms"].as_u64().unwrap();
    assert_eq!(
        (&shown["quarantined_for"], &shown["connected"]),
        (&DENIED.into(), &false.into())
    );
    assert!(since >= consortium.audit()[dropped].time_unix_ms - 2_000);
    let gauge =
        format!("consort_members_quarantined{{organisation=\"{MEMBER}\",reason=\"{DENIED}\"}}");
    let metrics = consortium.metrics();
    assert!(metrics.contains(&format!("{gauge} 1")), "{metrics}");

    let third = next(&consortium, 3, &policy, &SIGNERS);
    install(&consortium, &third);
    let back = consortium.until("the member survives a round again", |records| {
        let rest = records.iter().enumerate().skip(went_on);
        let mut named = rest
            .filter(|(_, record)| survivors(record).is_some_and(|names| names.contains(&MEMBER)));
        named.next().map(|(index, _)| index)
    });
    assert_eq!(show(&consortium, &job)["quarantined_for"], "");
    assert!(consortium.metrics().contains(&format!("{gauge} 0")));
    let (status, said) = running.watch(&job);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("completed"), "{said}");
    let log = running.stop();
    for alert in ["session_dropped", "member_quarantined"] {
        let line = log.lines().find(|line| line.contains(alert));
        let line = line.unwrap_or_else(|| panic!("no {alert} in {log}"));
        assert!(line.contains(MEMBER) && line.contains(DENIED), "{line}");
    }

    let records = consortium.audit();
    check_alone(&records);
    let kept_out = &records[dropped..went_on];
    let named = kept_out.iter().filter_map(survivors).flatten();
    assert!(named.into_iter().all(|name| name != MEMBER));
    let readmitted = records[went_on..back].iter().filter_map(verdict);
    assert!(
        readmitted
            .into_iter()
            .any(|verdict| verdict == (MEMBER, true, "accepted"))
    );
    let versions: Vec<u64> = records.iter().filter_map(version).collect();
    // One start for the demo, one for this story, and two changes.
    assert_eq!(versions, [1, 1, 2, 3]);
    let audit = consortium.path("coordinator/state/audit");
    let verified = run(&["audit", "verify", audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");

    // An older manifest than the newest that was seen is refused at start.
    std::fs::copy(
        consortium.path("manifest-2.json"),
        consortium.path("manifest.json"),
    )
    .unwrap();
    let (status, said) = consortium.serve("coordinator").ended();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("version 2 is not newer than version 3"),
        "{said}"
    );
    // A member may have had the newest from the coordinator: it stays in force over the older file.
    let member = consortium.serve("clinic-1");
    std::thread::sleep(Duration::from_secs(2));
    let said = member.stop();
    assert!(said.contains("version=3 found=2"), "{said}");
}

/// Nobody else was found to have bad evidence.
fn check_alone(records: &[Record]) {
    for (organisation, accepted, code) in records.iter().filter_map(verdict) {
        assert!(
            accepted || (organisation, code) == (MEMBER, DENIED),
            "{organisation} {code}"
        );
    }
}

/// Writes the next manifest, signed by these; its file.
pub(crate) fn next(
    consortium: &Consortium,
    version: u64,
    policy: &str,
    signers: &[&str],
) -> String {
    let file = |name: String| consortium.path(&name).to_str().unwrap().to_owned();
    let (policy_file, out) = (
        file(format!("policy-{version}.toml")),
        file(format!("manifest-{version}.json")),
    );
    std::fs::write(&policy_file, policy).unwrap();
    let (roster, previous) = (file("roster.json".into()), file("manifest.json".into()));
    let arguments = [
        "manifest",
        "new",
        "--policy",
        &policy_file,
        "--roster",
        &roster,
        "--previous",
        &previous,
        "--out",
        &out,
    ];
    let written = run(&arguments);
    assert!(written.status.success(), "{written:?}");
    for name in signers {
        let signed = run(&[
            "manifest",
            "sign",
            "--config",
            &file(format!("{name}/config.toml")),
            &out,
        ]);
        assert!(signed.status.success(), "{signed:?}");
    }
    out
}

/// Puts a manifest in place of the one that all nodes read.
pub(crate) fn install(consortium: &Consortium, manifest: &str) {
    let temporary = consortium.path("manifest.new");
    std::fs::copy(manifest, &temporary).unwrap();
    std::fs::rename(temporary, consortium.path("manifest.json")).unwrap();
}

fn chip_of(consortium: &Consortium, name: &str) -> String {
    let config = std::fs::read_to_string(consortium.path(name).join("config.toml")).unwrap();
    let line = config
        .lines()
        .find(|line| line.starts_with("chip_id"))
        .unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// What operators see of the member.
fn show(consortium: &Consortium, job: &str) -> Value {
    let output = consortium.operate(&["job", "show", job, "--json"]);
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let members = shown["members"].as_array().unwrap().iter();
    members
        .clone()
        .find(|member| member["organisation"] == MEMBER)
        .unwrap()
        .clone()
}

fn verdict(record: &Record) -> Option<(&str, bool, &str)> {
    if let Event::EvidenceVerdict {
        organisation,
        accepted,
        code,
        ..
    } = &record.event
    {
        Some((organisation.as_str(), *accepted, code.as_str()))
    } else {
        None
    }
}

fn version(record: &Record) -> Option<u64> {
    if let Event::ManifestInForce { version, .. } = record.event {
        Some(version)
    } else {
        None
    }
}

pub(crate) fn survivors(record: &Record) -> Option<Vec<&str>> {
    if let Event::Survivors { members, .. } = &record.event {
        Some(members.iter().map(|member| member.as_str()).collect())
    } else {
        None
    }
}

fn names_job(record: &Record, job: &str) -> bool {
    record.job.as_ref().is_some_and(|id| id.as_str() == job)
}
