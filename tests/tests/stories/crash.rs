//! Processes that die in the middle, and what survives them.

use std::collections::BTreeMap;

use consort_audit::Event;

use crate::program::demo;

#[test]
fn a_participant_that_dies_before_its_update_is_complete_is_left_out_of_that_round_only() {
    let demo = demo(&["--rounds", "4", "--drop", "clinic-3@2"]);
    assert!(demo.succeeded);
    assert_eq!(demo.numbers("survivors"), [5, 4, 5, 5]);
    let mut left_out = Vec::new();
    for record in demo.audit() {
        if let Event::Survivors { members, .. } = record.event
            && members.len() == 4
        {
            left_out.push(members);
        }
    }
    assert_eq!(left_out.len(), 1);
    assert!(
        left_out[0]
            .iter()
            .all(|member| member.to_string() != "clinic-3")
    );
}

#[test]
fn a_coordinator_that_dies_while_collecting_goes_on_without_a_second_training() {
    let demo = demo(&["--rounds", "4", "--crash-coordinator", "2"]);
    assert!(demo.succeeded);
    assert_eq!(demo.numbers("survivors"), [5, 5, 5, 5]);
    assert_eq!(demo.result["coordinator_restarts"], 1);
    let mut restarts = 0;
    let mut acknowledged = BTreeMap::new();
    for record in demo.audit() {
        restarts += u32::from(matches!(record.event, Event::CoordinatorRestarted { .. }));
        if let Event::UpdateAcknowledged { organisation, .. } = record.event {
            let round = record.round.unwrap().number;
            let member = organisation.to_string();
            *acknowledged.entry((round, member)).or_insert(0) += 1;
        }
    }
    assert_eq!(restarts, 1);
    assert_eq!(acknowledged.len(), 20);
    assert!(
        acknowledged.values().all(|times| *times == 1),
        "{acknowledged:?}"
    );
}
