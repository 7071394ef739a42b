//! Evidence that turns bad in the middle of a job: the member is refused by name, the others go on, and it may come back.

use std::os::unix::process::ExitStatusExt;

use consort_audit::{Event, Record};

use crate::consortium::Consortium;
use crate::program::run;

const MEMBER: &str = "clinic-4";
const OTHERS: [&str; 3] = ["clinic-1", "clinic-2", "clinic-3"];

/// SIGKILL, by which a crash point kills.
const KILLED: i32 = 9;

/// Rounds are over in less than a second with everybody there. Without one member each lasts as long as the others wait for it
/// to join: that leaves half a minute for its return before the job runs out of rounds.
fn slow_without_a_member(job: String) -> String {
    job.replace("\"rounds\": 1,", "\"rounds\": 15,")
        .replace("\"joining_ms\": 20000", "\"joining_ms\": 3000")
        .replace("\"collecting_ms\": 60000", "\"collecting_ms\": 3000")
}

#[test]
fn a_member_whose_evidence_turns_bad_in_a_job_is_refused_by_name_until_it_is_good_again() {
    let consortium = Consortium::founded();
    consortium.edit("job.json", slow_without_a_member);
    let running = consortium.run(&OTHERS);
    let member = consortium.serve_until(MEMBER, "after-shares@2");
    let job = running.submit();
    assert_eq!(member.crashed().signal(), Some(KILLED));

    let good = consortium.spoil_measurement(MEMBER);
    let member = consortium.serve(MEMBER);
    let refused = consortium.until("the member is refused", |records| {
        records.iter().position(is_refusal)
    });
    // The round it died in, and two that were opened without it.
    let went_on = consortium.until("three rounds go on", |records| {
        let rest = records.iter().enumerate().skip(refused);
        let mut released = rest.filter(|(_, record)| is_release(record));
        released.nth(2).map(|(index, _)| index)
    });
    assert!(member.stop().contains("attestation failed"));

    consortium.edit("clinic-4/config.toml", |_| good);
    let member = consortium.serve(MEMBER);
    consortium.until("the member survives a round again", |records| {
        let mut rest = records.iter().skip(went_on);
        rest.find(|record| survivors(record).is_some_and(|names| names.contains(&MEMBER)))
            .map(drop)
    });
    let (status, said) = running.watch(&job);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("completed"), "{said}");
    drop(member);
    let log = running.stop();
    let line = log.lines().find(|line| line.contains("a peer is refused"));
    let line = line.unwrap();
    assert!(
        line.contains(MEMBER) && line.contains("measurement"),
        "{line}"
    );

    let records = consortium.audit();
    let first = records.iter().find_map(survivors_of(&job)).unwrap();
    assert!(
        first.contains(&MEMBER),
        "it was in the job before: {first:?}"
    );
    for record in &records[refused..=went_on] {
        let named = survivors(record);
        assert!(named.is_none_or(|names| names == OTHERS), "{record:?}");
        assert_ne!(speaker(record), Some(MEMBER), "{record:?}");
    }
    check_refusals(&records);
    let audit = consortium.path("coordinator/state/audit");
    let verified = run(&["audit", "verify", audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

/// Nobody but the member was refused, and for nothing but its program.
fn check_refusals(records: &[Record]) {
    for record in records {
        assert!(
            !matches!(record.event, Event::MemberRefused { .. }),
            "{record:?}"
        );
        if let Event::EvidenceVerdict {
            organisation,
            accepted: false,
            code,
            ..
        } = &record.event
        {
            assert_eq!(organisation.as_str(), MEMBER);
            assert!(code.as_str().contains("measurement"), "{code}");
        }
    }
}

fn is_refusal(record: &Record) -> bool {
    matches!(&record.event, Event::EvidenceVerdict { organisation, accepted: false, .. } if organisation.as_str() == MEMBER)
}

fn is_release(record: &Record) -> bool {
    matches!(record.event, Event::RoundReleased { .. })
}

/// Whom a record names as survivors.
fn survivors(record: &Record) -> Option<Vec<&str>> {
    if let Event::Survivors { members, .. } = &record.event {
        Some(members.iter().map(|member| member.as_str()).collect())
    } else {
        None
    }
}

/// The same, of one job only.
fn survivors_of(job: &str) -> impl Fn(&Record) -> Option<Vec<&str>> {
    move |record| {
        let of_job = record.job.as_ref().is_some_and(|id| id.as_str() == job);
        survivors(record).filter(|_| of_job)
    }
}

/// Whose message in a round a record says was accepted.
fn speaker(record: &Record) -> Option<&str> {
    if let Event::Advert { organisation, .. }
    | Event::Shares { organisation, .. }
    | Event::UpdateAcknowledged { organisation, .. } = &record.event
    {
        Some(organisation.as_str())
    } else {
        None
    }
}
