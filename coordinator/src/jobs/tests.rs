use consort_aggregation::MemberIndex;
use consort_contract::{OrganisationId, Vote};
use consort_round::{AbortReason, Attempt, RoundNumber, RoundOpen, RoundResult, RoundTerms};

use super::*;
use crate::testing::{contract, document, organisation, roster, secret};

fn vote(contract: &Contract, i: u8) -> JobEvent {
    JobEvent::Voted(Vote::cast(
        &contract.id,
        &organisation(i),
        contract.hash,
        Ok(()),
        &secret(i),
    ))
}

fn running(rounds: u32) -> JobState {
    let contract = contract(rounds);
    let mut state = JobState::submitted(contract.clone());
    (1..=5).for_each(|i| state.apply(&vote(&contract, i)));
    state
}

fn opened(state: &JobState) -> JobEvent {
    let NextStep::Open(round, attempt) = state.next_step() else {
        panic!("{:?}", state.next_step())
    };
    let contract = &state.contract;
    let digest = consort_aggregation::Digest::of(b"any");
    let terms = RoundTerms {
        consortium: roster().consortium().clone(),
        job: contract.id.clone(),
        round,
        attempt,
        cohort: contract.cohort(&roster()),
        thresholds: *contract.job.thresholds(),
        roster_root: digest,
        contract: contract.hash,
        votes: digest,
        model: state.model,
        schema: contract.plan.schema(),
        log_head: digest,
    };
    JobEvent::RoundOpened(Box::new(RoundOpen::new(terms, &secret(0))))
}

fn aborted(code: &str) -> JobEvent {
    JobEvent::Aborted {
        code: code.to_owned(),
        reason: "for a test".to_owned(),
    }
}

fn released(state: &JobState) -> JobEvent {
    let members = state.contract.indexed().map(|(index, _)| index).collect();
    let digest = consort_aggregation::Digest::of(b"sum");
    let result = RoundResult::new(digest, members, digest, &secret(0));
    JobEvent::Released(Box::new(Released {
        result,
        model: digest,
        noised_loss: None,
        phase_ms: [].into(),
    }))
}

#[test]
fn rounds_run_once_every_member_approved_and_not_before() {
    let contract = contract(2);
    let mut state = JobState::submitted(contract.clone());
    for i in 1..=4 {
        state.apply(&vote(&contract, i));
        assert_eq!(state.stage, Stage::Voting);
    }
    state.apply(&vote(&contract, 5));
    assert_eq!(state.stage, Stage::Running);
    assert_eq!(
        state.next_step(),
        NextStep::Open(RoundNumber(1), Attempt(1))
    );
}

#[test]
fn an_attempt_without_submissions_is_tried_again_and_costs_nothing_but_not_for_ever() {
    let mut state = running(2);
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(
            state.next_step(),
            NextStep::Open(RoundNumber(1), Attempt(attempt))
        );
        state.apply(&opened(&state));
        state.apply(&aborted("abort_too_few_joined"));
        assert_eq!(state.spent_rounds, 0);
    }
    assert!(matches!(
        state.next_step(),
        NextStep::Fail {
            code: "round_attempts_exhausted",
            ..
        }
    ));
}

#[test]
fn a_round_that_was_aborted_after_submissions_is_spent_and_the_next_one_follows() {
    let mut state = running(2);
    state.apply(&opened(&state));
    state.apply(&aborted("abort_too_few_survivors"));
    assert_eq!(state.spent_rounds, 1);
    assert!(state.rounds[0].epsilon_spent > 0.0);
    assert_eq!(
        state.next_step(),
        NextStep::Open(RoundNumber(2), Attempt(1))
    );
    state.apply(&opened(&state));
    state.apply(&released(&state));
    assert_eq!(state.next_step(), NextStep::Release);
}

#[test]
fn a_job_whose_rounds_were_all_lost_has_no_model_to_hand_over() {
    let mut state = running(1);
    state.apply(&opened(&state));
    state.apply(&aborted("abort_too_few_confirmed"));
    assert!(matches!(
        state.next_step(),
        NextStep::Fail {
            code: "no_round_released",
            ..
        }
    ));
}

#[test]
fn epsilon_grows_with_every_spent_round_up_to_the_plan() {
    let contract = contract(3);
    let spent: Vec<_> = (0..=3)
        .map(|rounds| contract.epsilon_after(rounds))
        .collect();
    assert_eq!(spent[0], 0.0);
    assert!(spent.windows(2).all(|pair| pair[0] < pair[1]), "{spent:?}");
    assert!(spent[3] <= 1.0);
}

#[test]
fn events_read_back_from_their_bytes_give_the_same_state() {
    let mut state = JobState::submitted(contract(2));
    let mut stored = Vec::new();
    let mut store = |event: &JobEvent, state: &JobState| {
        let key = state.attempt.as_ref().map(|attempt| &attempt.key);
        stored.push(event.encode(&state.contract.id, 7, key));
    };
    let mut events = vec![JobEvent::Submitted(Box::new(state.contract.clone()))];
    events.extend((1..=5).map(|i| vote(&state.contract, i)));
    for event in events {
        store(&event, &state);
        state.apply(&event);
    }
    for event in [opened(&state), aborted("abort_too_few_shared")] {
        store(&event, &state);
        state.apply(&event);
    }
    for make in [opened, released] {
        let event = make(&state);
        store(&event, &state);
        state.apply(&event);
    }
    let ending = Ending::new(Final::Cancelled, "cancelled", String::new());
    for event in [JobEvent::Restarted, JobEvent::Ended(ending)] {
        store(&event, &state);
        state.apply(&event);
    }

    let first = Stamped::decode(&stored[0]).unwrap();
    let JobEvent::Submitted(contract) = first.event else {
        panic!("the first event is the submission")
    };
    assert_eq!((first.at_unix_ms, contract.hash), (7, state.contract.hash));
    let mut again = JobState::submitted(*contract);
    stored[1..]
        .iter()
        .for_each(|bytes| again.apply(&Stamped::decode(bytes).unwrap().event));
    assert_eq!(again.stage, state.stage);
    assert_eq!(again.votes, state.votes);
    assert_eq!(again.rounds, state.rounds);
    assert_eq!(view(&again, ""), view(&state, ""));
}

#[test]
fn a_job_with_a_stranger_is_refused_by_name() {
    let mut job = document(2);
    job.members[0] = OrganisationId::new("stranger").unwrap();
    let refused = Contract::propose(contract(2).id, job, &roster()).unwrap_err();
    assert_eq!(refused.code(), "job_member_not_in_roster");
    assert!(refused.to_string().contains("stranger"));
}

#[test]
fn a_round_is_spent_by_the_aborts_after_which_members_may_have_submitted_and_by_no_other() {
    let (have, need) = (1, 2);
    for reason in [
        AbortReason::TooFewJoined { have, need },
        AbortReason::TooFewShared { have, need },
        AbortReason::TooFewSurvivors { have, need },
        AbortReason::TooFewConfirmed { have, need },
        AbortReason::TooFewUnmasked { have, need },
        AbortReason::GapInShared,
        AbortReason::GapInSurvivors,
        AbortReason::BadSecret(MemberIndex::new(1).unwrap()),
    ] {
        assert_eq!(
            is_spent(reason.code()),
            reason.after_submission(),
            "{reason}"
        );
    }
}

#[test]
fn a_reason_that_names_a_thousand_members_is_cut_to_what_operators_are_told() {
    let names = "clinic-é, ".repeat(1024);
    let ending = Ending::new(Final::Failed, "voting_expired", names.clone());
    assert!(
        (1000..=1024).contains(&ending.reason.len()),
        "{}",
        ending.reason.len()
    );
    let kept = ending.reason.strip_suffix(" …").unwrap();
    assert!(names.starts_with(kept));
    let short = Ending::new(Final::Failed, "vote_refused", "n".repeat(1024));
    assert_eq!(short.reason, "n".repeat(1024));
    // What an earlier version stored, uncut, is still read.
    let uncut = Ending {
        reason: "clinic-1, ".repeat(7_000),
        ..short
    };
    let id = consort_contract::JobId::new("job-1").unwrap();
    let stored = JobEvent::Ended(uncut.clone()).encode(&id, 7, None);
    let Ok(Stamped {
        event: JobEvent::Ended(read),
        ..
    }) = Stamped::decode(&stored)
    else {
        panic!("an ending")
    };
    assert_eq!(read, uncut);
}
