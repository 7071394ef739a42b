//! A manifest reaches the members without anybody copying a file: the coordinator hands it out, to those that are there and to those that
//! come later.

use consort_audit::{Event, Record};

use crate::consortium::Consortium;
use crate::manifest::{install, next, survivors};

const LATE: &str = "clinic-4";
const THERE: [&str; 3] = ["clinic-1", "clinic-2", "clinic-3"];
const ALL: [&str; 4] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4"];

fn slow_without_a_member(job: String) -> String {
    job.replace("\"rounds\": 1,", "\"rounds\": 20,")
        .replace("\"joining_ms\": 20000", "\"joining_ms\": 3000")
        .replace("\"collecting_ms\": 60000", "\"collecting_ms\": 3000")
}

#[test]
fn a_manifest_that_the_coordinator_alone_was_given_reaches_every_member_and_a_bad_one_none() {
    let consortium = Consortium::founded_of(4);
    consortium.edit("job.json", slow_without_a_member);
    // Each member has a file of its own from now on, and nobody touches it.
    let first = std::fs::read(consortium.path("manifest.json")).unwrap();
    for member in ALL {
        let own = consortium.path(member).join("manifest.json");
        std::fs::write(own, &first).unwrap();
        consortium.edit(&format!("{member}/config.toml"), |text| {
            text.replace("\"../manifest.json\"", "\"manifest.json\"")
        });
    }
    let policy = std::fs::read_to_string(consortium.path("policy.toml")).unwrap();
    let running = consortium.run(&THERE);
    let late = consortium.serve(LATE);
    let job = running.submit();
    consortium.until("everybody survives a round", |records| {
        let named = records.iter().filter_map(survivors);
        named.filter(|names| *names == ALL).nth(1).map(drop)
    });
    let said = late.stop();
    assert!(!said.contains("manifest_in_force"), "{said}");

    let signers = ["clinic-1", "clinic-2", "clinic-3"];
    let second = next(&consortium, 2, &format!("{policy}# the second\n"), &signers);
    install(&consortium, &second);
    let since = consortium.until("the second manifest is in force", |records| {
        let second =
            |record: &Record| matches!(record.event, Event::ManifestInForce { version: 2, .. });
        records.iter().position(second)
    });
    let went_on = consortium.until("the others survive a round under it", |records| {
        let rest = records.iter().enumerate().skip(since);
        let mut named = rest.filter(|(_, record)| survivors(record).is_some_and(|it| it == THERE));
        named.nth(1).map(|(index, _)| index)
    });

    // The one that was away meets a closed gate, takes the manifest, and is let in.
    let late = consortium.serve(LATE);
    consortium.until("the late one survives a round again", |records| {
        let rest = records.iter().skip(went_on);
        let mut named = rest.filter_map(survivors);
        named.find(|names| names.contains(&LATE)).map(drop)
    });
    let (status, told) = running.watch(&job);
    assert_eq!(status, Some(0), "{told}");
    let said = late.stop();
    let line = said
        .lines()
        .find(|line| line.contains("manifest_in_force"))
        .unwrap_or_else(|| panic!("{said}"));
    for part in [
        "the coordinator",
        "clinic-1, clinic-2, clinic-3",
        "version=2",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    running.stop();
    for member in ALL {
        let own = consortium.path(member).join("manifest.json");
        assert_eq!(std::fs::read(own).unwrap(), first, "nobody touched it");
    }
    // With the old file, under the manifest that it was handed; now nobody is to miss a phase, on a busy machine either.
    consortium.edit("job.json", |job| {
        job.replace("\"rounds\": 20,", "\"rounds\": 1,")
            .replace("\"joining_ms\": 3000", "\"joining_ms\": 20000")
            .replace("\"collecting_ms\": 3000", "\"collecting_ms\": 60000")
    });
    let again = consortium.run(&ALL);
    let (status, told) = again.submit_and_watch();
    assert_eq!(status, Some(0), "{told}");
    again.stop();
}
