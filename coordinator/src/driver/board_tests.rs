//! Members in quarantine, as operators see them.

use consort_proto::wire::job::v1::MemberProgress;

use super::*;

const CODE: &str = "attest.chip-denied";

/// A board with one job of two members, of which the first is connected.
fn board() -> (Board, JobId) {
    let board = Board::default();
    let job = JobId::new("job-1").unwrap();
    let member = |name: &str| MemberProgress {
        organisation: name.to_owned(),
        ..MemberProgress::default()
    };
    let view = JobView {
        members: vec![member("clinic-1"), member("clinic-2")],
        ..JobView::default()
    };
    let poster = Poster {
        view,
        ..Poster::default()
    };
    board.put(&job, poster);
    let first = OrganisationId::new("clinic-1").unwrap();
    board.connect(&first, Instance([1; 16]), true);
    (board, job)
}

fn shown(board: &Board, job: &JobId) -> Vec<(bool, String, u64)> {
    let members = board.view(job).unwrap().members.into_iter();
    let shown = members.map(|member| {
        let (code, since) = (member.quarantined_for, member.quarantined_since_unix_ms);
        (member.connected, code, since)
    });
    shown.collect()
}

#[test]
fn a_member_is_shown_in_quarantine_with_reason_and_time_until_it_verifies_again() {
    let (board, job) = board();
    let watcher = board.watch();
    board.quarantine("clinic-2", CODE, OwnSession::GoesOn, 5);
    assert!(watcher.has_changed().unwrap());
    let free = (true, String::new(), 0);
    assert_eq!(
        shown(&board, &job),
        [free.clone(), (false, CODE.to_owned(), 5)]
    );
    // It tries again and again: since when does not move, the reason is the newest.
    board.quarantine("clinic-2", "attest.crl", OwnSession::GoesOn, 9);
    assert_eq!(shown(&board, &job)[1], (false, "attest.crl".to_owned(), 5));
    board.readmit("clinic-2");
    assert_eq!(shown(&board, &job), [free, (false, String::new(), 0)]);
}

#[test]
fn a_members_session_that_goes_on_is_not_darkened_by_another_machine_with_its_key() {
    let (board, job) = board();
    board.quarantine("clinic-1", CODE, OwnSession::GoesOn, 5);
    assert_eq!(shown(&board, &job)[0], (true, String::new(), 0));
    board.quarantine("clinic-1", CODE, OwnSession::Failed, 6);
    assert_eq!(shown(&board, &job)[0], (true, CODE.to_owned(), 6));
}

#[test]
fn a_name_that_is_none_is_quarantined_nowhere() {
    let (board, job) = board();
    board.quarantine("Nobody at all", CODE, OwnSession::Failed, 5);
    board.readmit("Nobody at all");
    assert!(
        shown(&board, &job)
            .iter()
            .all(|(_, code, _)| code.is_empty())
    );
}
