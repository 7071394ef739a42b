//! Offline verification: a log that keeps every rule passes, and each way to break one is found.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod story;

use std::fs;
use std::path::Path;

use consort_audit::{
    CHECKPOINT_FILE, ENTRIES_FILE, Event, JobState, KEY_FILE, Phase, Proof, Record, RoundRef,
    VerifyError, check_rules, verify, verify_against,
};
use story::blame::{blame, contradiction};
use story::*;

fn verdict_on(records: &[Record]) -> Result<consort_audit::Report, VerifyError> {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), records));
    verify(folder.path(), Some(signer(1).verifier()))
}

/// The log that follows a running job with `tail` breaks `rule` at its last entry.
fn assert_breaks(rule: &str, tail: Vec<Record>) {
    let mut records = running_job();
    records.extend(tail);
    assert_breaks_at(rule, &records, records.len() - 1);
}

fn assert_breaks_at(rule: &str, records: &[Record], at: usize) {
    let broken = check_rules(records).unwrap_err();
    assert_eq!(broken.rule.code(), rule, "{broken}");
    assert_eq!(broken.index, at as u64, "{broken}");
}

fn collected_then(tail: impl IntoIterator<Item = Record>) -> Vec<Record> {
    collected(FIRST).into_iter().chain(tail).collect()
}

const SECOND: RoundRef = RoundRef {
    number: 2,
    attempt: 1,
};

#[test]
fn a_log_that_keeps_every_rule_passes_and_the_report_says_what_was_checked() {
    let report = verdict_on(&whole_story()).unwrap();
    assert_eq!(report.checkpoint.size, whole_story().len() as u64);
    for line in &report.checked {
        assert!(line.count > 0, "{:?} was never applied", line.what);
    }
    let text = report.to_string();
    for said in [
        "consort.example/audit",
        "survivors had acknowledged updates and were at least n_min",
        "3 evidence verdicts rest on a simulated root",
        "1 rounds were aborted",
        "3 keys were released to SIMULATED machines",
        "1 times a key was not released",
        "dangerous choice: dangerous_simulated_roots",
        "5 times the coordinator's clock went back",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn a_signed_log_that_breaks_a_rule_is_refused_and_the_entry_is_named() {
    let mut records = running_job();
    let at = records.len() as u64;
    records.extend([released(FIRST), restarted(at + 1)]);
    let error = verdict_on(&records).unwrap_err();
    assert_eq!(error.code(), "rule_inside");
    let expected = format!("entry {at} breaks the rule");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn an_empty_log_passes() {
    assert_eq!(verdict_on(&[]).unwrap().checkpoint.size, 0);
}

#[test]
fn a_changed_byte_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let records = [started(), verdict("a", true), restarted(2)];
    drop(write(folder.path(), &records));
    verify(folder.path(), None).unwrap();
    for file in [ENTRIES_FILE, CHECKPOINT_FILE, KEY_FILE] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[position] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                assert!(
                    verify(folder.path(), None).is_err(),
                    "{file}, byte {position}, bit {bit}"
                );
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    verify(folder.path(), None).unwrap();
}

#[test]
fn a_file_cut_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started(), verdict("a", true)]));
    for file in [ENTRIES_FILE, CHECKPOINT_FILE, KEY_FILE] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(
                verify(folder.path(), None).is_err(),
                "{file} cut to {length}"
            );
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn entries_swapped_removed_or_added_are_found() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &running_job()));
    let path = folder.path().join(ENTRIES_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let expect = |lines: &[&str], code: &str| {
        fs::write(
            &path,
            lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        )
        .unwrap();
        assert_eq!(verify(folder.path(), None).unwrap_err().code(), code);
    };
    let mut swapped = lines.clone();
    swapped.swap(2, 4);
    expect(&swapped, "audit_root");
    expect(&lines[..lines.len() - 1], "audit_size");
    expect(&[&lines[..], &lines[2..3]].concat(), "audit_size");
}

#[test]
fn the_log_of_another_key_is_refused_when_one_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &running_job()));
    assert!(verify(folder.path(), Some(signer(1).verifier())).is_ok());
    let refused = verify(folder.path(), Some(signer(2).verifier())).unwrap_err();
    assert_eq!(refused.code(), "audit_other_key");
}

#[test]
fn a_rewritten_log_is_found_by_a_checkpoint_that_another_kept() {
    let kept = |folder: &Path, records: &[Record]| write(folder, records).checkpoint().clone();
    let [shown, extended, rewritten] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let witnessed = [kept(shown.path(), &running_job())];
    drop(write(extended.path(), &whole_story()));
    verify_against(extended.path(), None, &witnessed).unwrap();

    let mut history = whole_story();
    history[2] = verdict("a", true);
    history[2].time_unix_ms += 1;
    drop(write(rewritten.path(), &history));
    verify(rewritten.path(), None).unwrap();
    assert_eq!(
        verify_against(rewritten.path(), None, &witnessed)
            .unwrap_err()
            .code(),
        "audit_forked"
    );

    let newer = [kept(extended.path(), &[])];
    assert_eq!(
        verify_against(shown.path(), None, &newer)
            .unwrap_err()
            .code(),
        "audit_forked"
    );
}

#[test]
fn a_log_without_its_start_or_with_a_second_one_is_found() {
    assert_breaks_at("rule_start", &[verdict("a", true)], 0);
    assert_breaks("rule_start", vec![started()]);
}

#[test]
fn a_restart_that_found_another_length_is_found() {
    let length = running_job().len() as u64;
    for wrong in [length - 1, length + 1] {
        assert_breaks("rule_restart", vec![restarted(wrong)]);
    }
}

#[test]
fn a_manifest_that_goes_back_or_is_two_things_is_found() {
    let first = || vec![manifest(1, 1), manifest(1, 1), manifest(7, 7)];
    let mut records = running_job();
    records.extend(first());
    check_rules(&records).unwrap();
    for wrong in [manifest(6, 6), manifest(1, 1), manifest(7, 8)] {
        let mut records = first();
        records.push(wrong);
        assert_breaks("rule_manifest", records);
    }
}

#[test]
fn an_entry_of_a_job_outside_its_life_is_found() {
    assert_breaks_at("rule_job", &[started(), state(JobState::Running)], 1);
    let submission = running_job().remove(7);
    assert_breaks("rule_job", vec![submission]);
    for last in [
        JobState::Completed,
        JobState::Failed,
        JobState::Cancelled,
        JobState::Expired,
    ] {
        assert_breaks("rule_job", vec![state(last), state(JobState::Running)]);
        assert_breaks("rule_job", vec![state(last), opened(FIRST, &["a", "b"])]);
    }
}

#[test]
fn a_vote_on_another_contract_is_found() {
    assert_breaks("rule_vote", vec![vote("a", hash(5), true)]);
}

#[test]
fn a_cohort_with_a_member_that_did_not_approve_is_found() {
    assert_breaks("rule_consent", vec![opened(FIRST, &["a", "b", "d"])]);
    assert_breaks(
        "rule_consent",
        vec![vote("b", hash(4), false), opened(FIRST, &["a", "b"])],
    );
}

#[test]
fn a_round_opened_beside_before_or_over_another_is_found() {
    assert_breaks(
        "rule_opened",
        vec![opened(FIRST, &["a", "b"]), opened(SECOND, &["a", "b"])],
    );
    assert_breaks(
        "rule_opened",
        vec![
            opened(FIRST, &["a", "b"]),
            aborted(FIRST),
            opened(FIRST, &["a", "b"]),
        ],
    );
    assert_breaks(
        "rule_opened",
        vec![
            opened(SECOND, &["a", "b"]),
            aborted(SECOND),
            opened(FIRST, &["a", "b"]),
        ],
    );
    assert_breaks("rule_opened", vec![opened(FIRST, &["a", "a"])]);
    let again = RoundRef {
        number: 1,
        attempt: 2,
    };
    let reopened = [
        survivors(FIRST, &["a", "b"]),
        released(FIRST),
        opened(again, &["a", "b"]),
    ];
    assert_breaks("rule_opened", collected_then(reopened));
}

#[test]
fn an_entry_outside_its_round_is_found() {
    assert_breaks("rule_inside", vec![advert(FIRST, "a")]);
    assert_breaks("rule_inside", collected_then([advert(SECOND, "a")]));
    assert_breaks(
        "rule_inside",
        collected_then([phase(FIRST, Phase::Joining)]),
    );
    assert_breaks(
        "rule_inside",
        vec![opened(FIRST, &["a", "b"]), advert(FIRST, "c")],
    );
    assert_breaks(
        "rule_inside",
        collected_then([aborted(FIRST), survivors(FIRST, &["a", "b"])]),
    );
    assert_breaks("rule_inside", vec![aborted(FIRST)]);
}

#[test]
fn an_advert_without_accepted_evidence_is_found() {
    let tail = vec![
        verdict("a", false),
        opened(FIRST, &["a", "b"]),
        advert(FIRST, "a"),
    ];
    assert_breaks("rule_evidence", tail);
}

#[test]
fn an_update_without_advert_a_second_one_or_a_late_one_is_found() {
    assert_breaks(
        "rule_update",
        vec![opened(FIRST, &["a", "b"]), update(FIRST, "a", 5)],
    );
    assert_breaks("rule_update", collected_then([update(FIRST, "a", 6)]));
    let late = vec![
        opened(FIRST, &["a", "b", "c"]),
        advert(FIRST, "a"),
        advert(FIRST, "b"),
        advert(FIRST, "c"),
        update(FIRST, "a", 5),
        update(FIRST, "b", 5),
        survivors(FIRST, &["a", "b"]),
        update(FIRST, "c", 5),
    ];
    assert_breaks("rule_update", late);
}

#[test]
fn survivors_that_are_too_few_twice_named_unknown_or_changed_are_found() {
    assert_breaks("rule_survivors", collected_then([survivors(FIRST, &["a"])]));
    assert_breaks(
        "rule_survivors",
        collected_then([survivors(FIRST, &["a", "a"])]),
    );
    assert_breaks(
        "rule_survivors",
        collected_then([survivors(FIRST, &["a", "d"])]),
    );
    let changed = [survivors(FIRST, &["a", "b"]), survivors(FIRST, &["a", "c"])];
    assert_breaks("rule_survivors", collected_then(changed));
}

#[test]
fn a_sum_released_before_its_survivors_were_named_is_found() {
    assert_breaks("rule_release", collected_then([released(FIRST)]));
}

#[test]
fn a_budget_that_goes_down_is_found() {
    assert_breaks(
        "rule_budget",
        vec![
            spend("a", 0.5),
            spend("b", 0.4),
            spend("a", 0.5),
            spend("a", 0.49),
        ],
    );
}

#[test]
fn a_model_released_before_any_round_was_is_found() {
    assert_breaks(
        "rule_model",
        collected_then([survivors(FIRST, &["a", "b"]), model()]),
    );
    assert_breaks(
        "rule_model",
        vec![opened(FIRST, &["a", "b"]), aborted(FIRST), model()],
    );
}

#[test]
fn a_key_released_twice_under_a_nonce_or_to_a_machine_without_good_evidence_is_found() {
    assert_breaks(
        "rule_key_release",
        vec![key_released("a", 1), key_released("a", 1)],
    );
    assert_breaks("rule_key_release", vec![key_released("d", 1)]);
    assert_breaks(
        "rule_key_release",
        vec![verdict("a", false), key_released("a", 1)],
    );
    assert_breaks(
        "rule_key_release",
        vec![key_released("a", 1), state_key_released("a", 1)],
    );
    assert_breaks("rule_key_release", vec![state_key_released("d", 1)]);
}

#[test]
fn what_a_restarted_coordinator_says_again_is_no_second_update() {
    let again = [
        update(FIRST, "a", 5),
        survivors(FIRST, &["a", "b"]),
        survivors(FIRST, &["b", "a"]),
        update(FIRST, "a", 5),
    ];
    let mut records = running_job();
    records.extend(collected_then(again));
    records.push(released(FIRST));
    check_rules(&records).unwrap();
}

fn blamed(record: Record) -> Vec<Record> {
    vec![opened(FIRST, &["a", "b", "c"]), record]
}

#[test]
fn a_conviction_is_verified_and_named_once_for_each_member_and_attempt() {
    let convicted = |name| {
        blame(
            FIRST,
            name,
            "contradiction",
            FIRST,
            contradiction(FIRST, name, name),
        )
    };
    let mut records = running_job();
    records.extend(blamed(convicted("a")));
    records.push(convicted("b"));
    let report = verdict_on(&records).unwrap().to_string();
    assert!(report.contains("2  each blame record convicts"), "{report}");
    let named = "b is convicted of a contradiction in round 1 attempt 1 of job job-1";
    assert!(report.contains(named), "{report}");
    assert!(!report.contains("did not enrol"), "{report}");
    let mut twice = blamed(convicted("a"));
    twice.push(convicted("a"));
    assert_breaks("rule_blame", twice);
}

#[test]
fn a_record_that_does_not_convict_whom_the_log_names_is_found() {
    let of_a = || contradiction(FIRST, "a", "a");
    let forged = contradiction(FIRST, "a", "b");
    let garbage = Proof::new(b"garbage".to_vec()).unwrap();
    for wrong in [
        blame(FIRST, "b", "contradiction", FIRST, of_a()),
        blame(FIRST, "a", "wrong-share", FIRST, of_a()),
        blame(FIRST, "a", "contradiction", FIRST, forged),
        blame(FIRST, "a", "contradiction", FIRST, garbage),
        // True of another round, and said in this one.
        blame(
            FIRST,
            "a",
            "contradiction",
            SECOND,
            contradiction(SECOND, "a", "a"),
        ),
        blame(FIRST, "a", "contradiction", SECOND, of_a()),
    ] {
        assert_breaks("rule_blame", blamed(wrong));
    }
}

#[test]
fn a_conviction_under_a_key_that_the_log_did_not_enrol_is_remarked() {
    let mut records = running_job();
    for record in &mut records {
        if let Event::Enrolment { identity, .. } = &mut record.event {
            *identity = hash(1);
        }
    }
    let proof = contradiction(FIRST, "a", "a");
    records.extend(blamed(blame(FIRST, "a", "contradiction", FIRST, proof)));
    let report = verdict_on(&records).unwrap().to_string();
    assert!(report.contains("1 blame records rest on a key"), "{report}");
}
