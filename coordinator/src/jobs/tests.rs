use std::sync::Arc;

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{
    IdentitySecret, JobId, OrganisationId, RosterDocument, RosterEntry, SignedRoster, Vote,
};
use consort_proto::bounds::decode;
use consort_proto::convert::AttemptKey;
use consort_proto::wire::job::v1 as wire;
use consort_round::{AbortReason, Attempt, RoundNumber, RoundOpen, RoundResult, RoundTerms};
use prost::Message;

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
fn a_reason_names_as_many_as_fit_on_the_wire_and_counts_the_rest() {
    let name = |i: u32| format!("{}-{i:03} of a contradiction", "m".repeat(60));
    let all = (0..1000).map(name).collect::<Vec<_>>();
    assert_eq!(state::named(all[..1].iter().cloned()), all[0]);
    let text = state::named(all.into_iter());
    assert!(text.len() < 800 && text.ends_with(" others"), "{text}");
    let told = text.matches("contradiction").count();
    assert!(text.ends_with(&format!(" and {} others", 1000 - told)));
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

/// A job of 1024 members with the longest names, after so many rounds with everybody in each sum.
fn crowded(rounds: u32) -> JobState {
    let name = |i: u32| OrganisationId::new(&format!("{i:x>64}")).unwrap();
    let secret = |i: u32| IdentitySecret::from_seed(Digest::of(&i.to_be_bytes()).as_bytes());
    let entry = |i: u32| {
        let mut chip_id = [0; 64];
        chip_id[..4].copy_from_slice(&i.to_be_bytes());
        RosterEntry {
            identity: secret(i).public(),
            chip_id,
            host_data: [0; 32],
        }
    };
    let roster = RosterDocument {
        consortium: roster().consortium().clone(),
        version: 1,
        coordinator: entry(0),
        members: (1..=1024).map(|i| (name(i), entry(i))).collect(),
    };
    let signatures = (1..=1024)
        .map(|i| (name(i), roster.sign(&secret(i))))
        .collect();
    let roster = SignedRoster::assemble(roster, &signatures)
        .verify()
        .unwrap();
    let mut document = document(rounds);
    document.members = (1..=1024).map(name).collect();
    document.aggregation.colluders = Some(51);
    let contract = Contract::propose(JobId::new("job-1").unwrap(), document, &roster).unwrap();
    let members: Vec<_> = contract.indexed().map(|(index, _)| index).collect();
    let round = |round| EndedRound {
        key: AttemptKey {
            job: contract.id.clone(),
            round: RoundNumber(round),
            attempt: Attempt(1),
        },
        survivors: members.clone(),
        noised_loss: Some(0.5),
        epsilon_spent: 0.5,
        phase_ms: [
            "joining",
            "sharing",
            "collecting",
            "confirming",
            "unmasking",
        ]
        .map(|phase| (phase.to_owned(), 1_000_000))
        .into(),
        aborted: String::new(),
    };
    JobState {
        rounds: Arc::new((1..=rounds).map(round).collect()),
        ..JobState::submitted(contract)
    }
}

#[test]
fn a_thousand_rounds_of_1024_members_are_shown_in_one_message_and_pages_name_everybody() {
    /// What clients of gRPC read unless they are told otherwise.
    const MOST_BYTES: usize = 4 * 1024 * 1024;
    let state = crowded(1_200);
    let shown = view(&state, "");
    assert!(
        shown.encoded_len() < MOST_BYTES / 4,
        "{} bytes",
        shown.encoded_len()
    );
    decode::<wire::Job>(&shown.encode_to_vec()).unwrap();
    let numbers: Vec<_> = shown.rounds.iter().map(|round| round.round).collect();
    assert_eq!(numbers, (201..=1_200).collect::<Vec<_>>());
    assert_eq!(shown.rounds_ended, 1_200);
    for round in &shown.rounds {
        let named = if round.round > 1_192 { 1024 } else { 0 };
        assert_eq!((round.survivors.len(), round.survivor_count), (named, 1024));
    }
    let listed = brief(&shown);
    assert_eq!((listed.rounds.len(), listed.rounds[0].round), (1, 1_200));
    assert!(listed.encoded_len() < 200 * 1024);

    let members = state.contract.members();
    let (mut after, mut told) = (0, Vec::new());
    loop {
        let answer = rounds_after(&state.rounds, members, after);
        assert!(answer.encoded_len() < MOST_BYTES / 2);
        decode::<wire::ListRoundsResponse>(&answer.encode_to_vec()).unwrap();
        for round in &answer.rounds {
            assert!(
                round
                    .survivors
                    .iter()
                    .map(String::as_str)
                    .eq(members.iter().map(OrganisationId::as_str))
            );
            told.push(round.round);
        }
        after = *told.last().unwrap();
        if !answer.more {
            break;
        }
    }
    assert_eq!(told, (1..=1_200).collect::<Vec<_>>());
    assert_eq!(rounds_after(&state.rounds, members, 1_200).rounds, []);
}

#[test]
fn a_view_of_a_small_consortium_names_the_survivors_of_every_round() {
    let mut state = running(3);
    for _ in 0..3 {
        state.apply(&opened(&state));
        state.apply(&released(&state));
    }
    let shown = view(&state, "");
    let named: Vec<_> = shown
        .rounds
        .iter()
        .map(|round| round.survivors.len())
        .collect();
    assert_eq!(named, [5, 5, 5]);
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
