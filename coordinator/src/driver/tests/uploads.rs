//! Stories of updates of several chunks that are cut, resumed, abandoned or changed.

use consort_round::MemberMessage;

use super::cluster::Cluster;
use crate::driver::Command;
use crate::error::{Refusal, RefusalKind};
use crate::jobs::Stage;
use crate::testing::{large_contract, organisation};

const ALL: &[u8] = &[1, 2, 3, 4, 5];

/// Chunks that a member sends before it is cut.
const CUT_AFTER: u64 = 3;

/// Everybody shared; member 2 has masked its update and sent the first chunks of it.
fn cut_in_the_middle(
    cluster: &mut Cluster,
) -> (
    consort_proto::convert::AttemptKey,
    consort_aggregation::MaskedUpdate,
    MemberMessage,
) {
    cluster.settle_until("collecting");
    let (key, masked, seal) = cluster.mask(2);
    assert!(masked.chunks().len() as u64 > CUT_AFTER + 1);
    let upload = cluster.upload(2, &key);
    for (index, chunk) in masked.chunks().filter(|(index, _)| *index < CUT_AFTER) {
        upload.chunk(index, chunk).unwrap();
    }
    (key, masked, MemberMessage::Seal(seal))
}

fn left_on_disk(cluster: &Cluster) -> usize {
    let blobs = &cluster.driver().services.blobs;
    blobs.spools("").unwrap().len() + blobs.list("updates/").unwrap().len()
}

#[test]
fn an_upload_goes_on_after_the_coordinator_was_restarted_and_the_sum_is_exact() {
    let mut cluster = Cluster::of(large_contract(1));
    let (key, masked, seal) = cut_in_the_middle(&mut cluster);
    cluster.restart_coordinator();
    assert_eq!(cluster.driver().phase(), Some("collecting"));
    let upload = cluster.upload(2, &key);
    assert_eq!(upload.progress().unwrap().next_chunk, CUT_AFTER);
    cluster.upload_all(2, &key, &masked);
    cluster.say(organisation(2), &key, seal).unwrap();
    cluster.settle();
    assert_eq!(cluster.survivors(), [5]);
    assert_eq!(*cluster.driver().optimizer(), cluster.expected(&[ALL]));
    assert_eq!(left_on_disk(&cluster), 0);
    cluster.verify_audit();
}

#[test]
fn a_member_that_dies_in_the_middle_of_its_upload_leaves_no_trace_in_the_sum_or_on_disk() {
    let mut cluster = Cluster::of(large_contract(1));
    let (key, _, _) = cut_in_the_middle(&mut cluster);
    let upload = cluster.upload(2, &key);
    assert_eq!(left_on_disk(&cluster), 1);
    cluster.start(2);
    assert_eq!(left_on_disk(&cluster), 0);
    assert!(
        upload.progress().is_err(),
        "a stream that is left over is told"
    );
    cluster.settle();
    assert_eq!(cluster.survivors(), [4]);
    assert_eq!(
        *cluster.driver().optimizer(),
        cluster.expected(&[&[1, 3, 4, 5]])
    );
    assert_eq!(left_on_disk(&cluster), 0);
}

#[test]
fn an_upload_that_is_not_complete_at_the_deadline_is_left_out_and_removed_before_the_sum_is_opened()
{
    let mut cluster = Cluster::of(large_contract(1));
    let (key, masked, seal) = cut_in_the_middle(&mut cluster);
    for i in [1, 3, 4, 5] {
        cluster.answer_one(i);
    }
    cluster.expire();
    assert_eq!(cluster.driver().phase(), Some("confirming"));
    assert_eq!(left_on_disk(&cluster), 4);
    let from = organisation(2);
    let late = cluster.ask(Command::Upload {
        from,
        key: key.clone(),
    });
    assert_eq!(late.unwrap_err().code, "round_wrong_phase");
    let late = cluster.say(organisation(2), &key, seal);
    assert_eq!(late.unwrap_err().code, "round_wrong_phase");
    drop(masked);
    cluster.settle();
    assert_eq!(cluster.survivors(), [4]);
    assert_eq!(
        *cluster.driver().optimizer(),
        cluster.expected(&[&[1, 3, 4, 5]])
    );
}

#[test]
fn chunks_that_a_crash_kept_from_being_removed_are_gone_after_the_restart() {
    let mut cluster = Cluster::of(large_contract(1));
    let (_, masked, _) = cut_in_the_middle(&mut cluster);
    let blobs = cluster.driver().services.blobs.clone();
    let leave = |name: &str| {
        let key = consort_storage::BlobKey::new(format!("updates/job-1/{name}")).unwrap();
        let upload = crate::spool::Upload::new(blobs.clone(), key, masked.schema());
        upload.chunk(0, masked.chunk(0).unwrap()).unwrap();
    };
    // An earlier attempt's, and one of a member that is not in this job.
    leave("1/0/2");
    leave("1/1/77");
    assert_eq!(left_on_disk(&cluster), 3);
    drop(blobs);
    cluster.restart_coordinator();
    assert_eq!(left_on_disk(&cluster), 1);
    cluster.ask(Command::Cancel).unwrap();
    assert!(matches!(cluster.driver().state().stage, Stage::Ended(_)));
    assert_eq!(left_on_disk(&cluster), 0);
}

#[test]
fn a_changed_chunk_is_kept_by_name_in_the_log_and_a_gap_is_not() {
    let mut cluster = Cluster::of(large_contract(1));
    let (key, _, _) = cut_in_the_middle(&mut cluster);
    for (kind, code) in [
        (RefusalKind::NotNow, "update_gap"),
        (RefusalKind::Conflict, "update_equivocation"),
        (RefusalKind::Exhausted, "update_budget"),
    ] {
        let command = Command::UploadRefused {
            from: organisation(2),
            key: key.clone(),
            refusal: Refusal::new(kind, code, "why"),
            seal: None,
        };
        assert_eq!(cluster.ask(command).unwrap_err().code, code);
    }
    let log = cluster.folder.path().join("audit");
    let log = std::fs::read_to_string(log.join(consort_audit::ENTRIES_FILE)).unwrap();
    for (code, kept) in [
        ("update_gap", false),
        ("update_equivocation", true),
        ("update_budget", true),
    ] {
        let entry =
            format!(r#"{{"member_refused":{{"organisation":"clinic-2","code":"{code}"}}}}"#);
        assert_eq!(log.contains(&entry), kept, "{code}");
    }
}
