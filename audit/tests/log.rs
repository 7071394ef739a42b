//! The log in its folder: what survives a crash, and what is refused when it opens.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod story;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use consort_audit::{
    AuditLog, CHECKPOINT_FILE, Checkpoint, ENTRIES_FILE, KEY_FILE, Recovery, leaf_hash, verify,
    verify_consistency, verify_inclusion,
};
use story::{released, running_job, signer, started, verdict, whole_story, write};

fn append_bytes(folder: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .append(true)
        .open(folder.join(ENTRIES_FILE))
        .unwrap();
    file.write_all(bytes).unwrap();
}

fn code_of_opening(folder: &Path) -> &'static str {
    AuditLog::open(folder, signer(1)).unwrap_err().code()
}

#[test]
fn a_log_is_the_same_after_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
    for (index, record) in (0..).zip(whole_story()) {
        assert_eq!(log.append(&record).unwrap(), index);
        assert_eq!(log.size(), index + 1);
    }
    let (size, root, head) = (log.size(), log.root(), log.checkpoint().clone());
    drop(log);
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    assert_eq!(
        (log.size(), log.root(), log.checkpoint()),
        (size, root, &head)
    );
    assert_eq!(log.recovery(), Recovery::default());
}

#[test]
fn records_appended_together_are_the_log_of_records_appended_one_by_one() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut one_by_one = AuditLog::open(folders[0].path(), signer(1)).unwrap();
    for record in whole_story() {
        one_by_one.append(&record).unwrap();
    }
    let mut together = AuditLog::open(folders[1].path(), signer(1)).unwrap();
    assert_eq!(together.append_all(&whole_story()).unwrap(), 0);
    assert_eq!(together.append_all(&[]).unwrap(), together.size());
    assert_eq!(one_by_one.checkpoint(), together.checkpoint());
}

#[test]
fn the_tail_is_the_newest_records_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let log = write(folder.path(), &whole_story());
    let story: Vec<_> = (0..).zip(whole_story()).collect();
    assert_eq!(log.tail(0).unwrap(), []);
    assert_eq!(log.tail(3).unwrap(), story[story.len() - 3..]);
    assert_eq!(log.tail(10_000).unwrap(), story);
}

#[test]
fn each_checkpoint_is_extended_by_the_next_and_each_entry_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
    let mut heads = vec![Checkpoint::verified(log.checkpoint(), signer(1).verifier()).unwrap()];
    for record in running_job() {
        log.append(&record).unwrap();
        heads.push(Checkpoint::verified(log.checkpoint(), signer(1).verifier()).unwrap());
    }
    for old in &heads {
        let proof = log.consistency_proof(old.size).unwrap();
        verify_consistency(old.size, &old.root, log.size(), &log.root(), &proof).unwrap();
    }
    for (index, record) in (0..).zip(running_job()) {
        let leaf = leaf_hash(record.to_line().unwrap().as_bytes());
        let proof = log.inclusion_proof(index).unwrap();
        verify_inclusion(&leaf, index, log.size(), &proof, &log.root()).unwrap();
    }
    assert_eq!(log.consistency_proof(log.size() + 1), None);
    assert_eq!(log.inclusion_proof(log.size()), None);
}

#[test]
fn a_forked_log_has_no_consistency_proof_with_the_other() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let shown = write(folders[0].path(), &running_job());
    let mut rewritten = running_job();
    rewritten[2] = verdict("a", false);
    rewritten.extend(story::collected(story::FIRST));
    let kept = write(folders[1].path(), &rewritten);
    let proof = kept.consistency_proof(shown.size()).unwrap();
    assert!(
        verify_consistency(
            shown.size(),
            &shown.root(),
            kept.size(),
            &kept.root(),
            &proof
        )
        .is_err()
    );
}

#[test]
fn a_torn_last_entry_is_cut_wherever_it_tore() {
    let line = format!("{}\n", released(story::FIRST).to_line().unwrap());
    // Every seventh place and the last two: each is a log of its own, with its own fsyncs.
    for kept in (1..line.len())
        .step_by(7)
        .chain([line.len() - 2, line.len() - 1])
    {
        let folder = tempfile::tempdir().unwrap();
        let head = write(folder.path(), &running_job()).checkpoint().clone();
        append_bytes(folder.path(), &line.as_bytes()[..kept]);
        assert!(verify(folder.path(), None).is_err(), "kept {kept}");
        let mut log = AuditLog::open(folder.path(), signer(1)).unwrap();
        assert_eq!(
            log.recovery(),
            Recovery {
                kept_entries: 0,
                cut_bytes: kept as u64
            }
        );
        assert_eq!(log.checkpoint(), &head);
        log.append(&verdict("a", true)).unwrap();
        verify(folder.path(), None).unwrap();
    }
}

#[test]
fn entries_that_were_whole_before_their_checkpoint_are_kept_and_signed() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started()]));
    let kept = verdict("a", true).to_line().unwrap();
    append_bytes(folder.path(), format!("{kept}\n{}", &kept[..20]).as_bytes());
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    assert_eq!(
        log.recovery(),
        Recovery {
            kept_entries: 1,
            cut_bytes: 20
        }
    );
    assert_eq!(log.size(), 2);
    drop(log);
    assert_eq!(verify(folder.path(), None).unwrap().checkpoint.size, 2);
}

#[test]
fn an_unsynced_batch_that_lost_its_middle_is_cut_from_there() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started()]));
    let line = verdict("a", true).to_line().unwrap();
    append_bytes(
        folder.path(),
        format!("{line}\n{}\n{line}\n", "\0".repeat(40)).as_bytes(),
    );
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    assert_eq!(log.size(), 2);
    assert_eq!(log.recovery().cut_bytes, 41 + line.len() as u64 + 1);
}

#[test]
fn a_log_that_was_interrupted_while_it_was_created_opens() {
    let whole = tempfile::tempdir().unwrap();
    drop(AuditLog::open(whole.path(), signer(1)).unwrap());
    for present in [vec![], vec![ENTRIES_FILE], vec![ENTRIES_FILE, KEY_FILE]] {
        let folder = tempfile::tempdir().unwrap();
        for file in present {
            fs::copy(whole.path().join(file), folder.path().join(file)).unwrap();
        }
        fs::write(folder.path().join("checkpoint.new"), "half").unwrap();
        AuditLog::open(folder.path(), signer(1))
            .unwrap()
            .append(&started())
            .unwrap();
        verify(folder.path(), None).unwrap();
    }
}

#[test]
fn a_changed_entry_under_the_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &running_job()));
    let path = folder.path().join(ENTRIES_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"accepted\":true", "\"accepted\":false"),
    )
    .unwrap();
    assert_eq!(code_of_opening(folder.path()), "audit_root");
    fs::write(
        &path,
        text.replace("\"accepted\":true", "\"accepted\":maybe"),
    )
    .unwrap();
    assert_eq!(code_of_opening(folder.path()), "audit_entry");
}

#[test]
fn a_log_cut_under_the_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started(), verdict("a", true)]));
    let path = folder.path().join(ENTRIES_FILE);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(
            code_of_opening(folder.path()),
            "audit_truncated",
            "length {length}"
        );
        assert_eq!(fs::read(&path).unwrap().len(), length, "it was mended");
    }
}

#[test]
fn a_log_without_its_checkpoint_or_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started()]));
    let head = fs::read(folder.path().join(CHECKPOINT_FILE)).unwrap();
    fs::remove_file(folder.path().join(CHECKPOINT_FILE)).unwrap();
    assert_eq!(code_of_opening(folder.path()), "audit_no_checkpoint");
    fs::write(folder.path().join(CHECKPOINT_FILE), head).unwrap();
    fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
    assert_eq!(code_of_opening(folder.path()), "audit_io");
}

#[test]
fn the_log_of_another_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(write(folder.path(), &[started()]));
    assert_eq!(
        AuditLog::open(folder.path(), signer(2)).unwrap_err().code(),
        "audit_other_key"
    );
}

#[test]
fn a_log_that_another_has_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = AuditLog::open(folder.path(), signer(1)).unwrap();
    assert_eq!(code_of_opening(folder.path()), "audit_in_use");
    drop(first);
    AuditLog::open(folder.path(), signer(1)).unwrap();
}

#[test]
fn a_record_that_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = write(folder.path(), &[started()]);
    let mut wrong = verdict("a", true);
    wrong.round = Some(story::FIRST);
    assert_eq!(
        log.append_all(&[verdict("a", true), wrong])
            .unwrap_err()
            .code(),
        "record_scope"
    );
    assert_eq!(log.size(), 1);
    log.append(&verdict("a", true)).unwrap();
    assert_eq!(log.size(), 2);
}

#[test]
fn after_a_failed_write_the_log_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = write(folder.path(), &[started()]);
    // The checkpoint cannot be written beside: a folder has its temporary name.
    fs::create_dir(folder.path().join("checkpoint.new")).unwrap();
    assert_eq!(
        log.append(&verdict("a", true)).unwrap_err().code(),
        "audit_io"
    );
    fs::remove_dir(folder.path().join("checkpoint.new")).unwrap();
    assert_eq!(
        log.append(&verdict("b", true)).unwrap_err().code(),
        "audit_stopped"
    );
    drop(log);
    let log = AuditLog::open(folder.path(), signer(1)).unwrap();
    assert_eq!(
        log.recovery(),
        Recovery {
            kept_entries: 1,
            cut_bytes: 0
        }
    );
}
