//! Stories of jobs: what the driver does with members that answer, die, lie or stay silent, and with its own death.

use consort_contract::Vote;
use consort_proto::convert::{AttemptKey, directive_from_wire, directive_to_wire};
use consort_round::{Attempt, MemberMessage, Millis, RoundNumber};
use tokio::sync::mpsc;

use super::cluster::{Cluster, digest_of, index, job_id, services};
use crate::driver::rounds::released_keys;
use crate::driver::{Answer, Command, Desk, Now, Wish};
use crate::jobs::{Ending, Final, Stage};
use crate::manifest::verify_manifest;
use crate::release;
use crate::testing::{adaptive_contract, document, organisation, scaffold_contract, secret};

const ALL: &[u8] = &[1, 2, 3, 4, 5];

fn ending(cluster: &Cluster) -> &Ending {
    match &cluster.driver().state().stage {
        Stage::Ended(ending) => ending,
        other @ (Stage::Voting | Stage::Running) => panic!("the job is {other:?}"),
    }
}

#[test]
fn five_members_complete_two_rounds_and_the_model_is_the_step_on_their_exact_sums() {
    let mut cluster = Cluster::new(2);
    cluster.settle();
    assert_eq!(ending(&cluster).state, Final::Completed);
    assert_eq!(cluster.survivors(), [5, 5]);
    assert_eq!(*cluster.driver().optimizer(), cluster.expected(&[ALL, ALL]));
    cluster.verify_audit();

    let (model, manifest) = released_keys(&job_id()).unwrap();
    let blobs = &cluster.driver().services.blobs;
    let (model, manifest) = (
        blobs.read(&model, u64::MAX).unwrap(),
        blobs.read(&manifest, u64::MAX).unwrap(),
    );
    let said = verify_manifest(&manifest, &model, &secret(0).public()).unwrap();
    assert_eq!(
        (said.rounds.len(), said.attestation.as_str()),
        (2, "simulated")
    );
    assert!(said.epsilon <= 1.0 && said.dangerous == ["dangerous_for_a_test"]);
    assert!(
        blobs.list("updates/").unwrap().is_empty(),
        "masked updates are gone once their sum is out"
    );

    let mut changed = model.clone();
    changed[0] ^= 1;
    assert_eq!(
        verify_manifest(&manifest, &changed, &secret(0).public())
            .unwrap_err()
            .code(),
        "manifest_other_model"
    );
    assert_eq!(
        verify_manifest(&manifest, &model, &secret(1).public())
            .unwrap_err()
            .code(),
        "manifest_signature"
    );
}

#[test]
fn what_each_member_sent_is_counted_and_a_member_that_dropped_out_sent_less() {
    let mut cluster = Cluster::new(2);
    cluster.settle_until("collecting");
    cluster.start(3);
    cluster.settle();
    let state = cluster.driver().state();
    let sent = |member: u8| state.sent_bytes[&organisation(member)];
    let update = state.contract.plan.schema().packed_len();
    // Adverts, boxes for four peers, seals, confirmations and shares come on top of two updates.
    assert!(sent(1) > 2 * update + 2 * 4 * 80, "{}", sent(1));
    assert!(sent(3) + update < sent(1), "{} and {}", sent(3), sent(1));
}

#[test]
fn a_member_that_restarts_while_updates_are_collected_is_not_in_the_exact_sum_of_the_other_four() {
    let mut cluster = Cluster::new(2);
    cluster.settle_until("collecting");
    cluster.start(3);
    cluster.settle();
    assert_eq!(cluster.survivors(), [4, 5]);
    assert_eq!(
        *cluster.driver().optimizer(),
        cluster.expected(&[&[1, 2, 4, 5], ALL])
    );
    cluster.verify_audit();
}

#[test]
fn a_restarted_coordinator_goes_on_and_asks_nobody_again_whose_update_it_acknowledged() {
    let mut cluster = Cluster::new(2);
    cluster.settle_until("collecting");
    while cluster
        .driver()
        .state()
        .attempt
        .as_ref()
        .unwrap()
        .sealed
        .len()
        < 2
    {
        assert!(cluster.answer_one(1) || cluster.answer_one(2));
    }
    cluster.restart_coordinator();
    assert_eq!(cluster.driver().phase(), Some("collecting"));
    assert_eq!(cluster.driver().state().restarts, 1);
    cluster.settle();
    assert_eq!(cluster.survivors(), [5, 5]);
    assert_eq!(*cluster.driver().optimizer(), cluster.expected(&[ALL, ALL]));
    let trained = |i| {
        cluster.processes[&i]
            .trained
            .values()
            .copied()
            .collect::<Vec<_>>()
    };
    assert!(
        ALL.iter().all(|i| trained(*i) == [1, 1]),
        "every member trained each round once"
    );
    cluster.verify_audit();
}

#[test]
fn a_coordinator_that_restarts_after_every_single_answer_completes_with_the_same_model() {
    let mut cluster = Cluster::new(1);
    let mut restarts = 0;
    loop {
        let before = cluster.stored();
        if !(1..=5).any(|i| cluster.answer_one(i)) {
            break;
        }
        if cluster.stored() != before && !cluster.driver().state().has_ended() {
            cluster.restart_coordinator();
            restarts += 1;
        }
    }
    // Five votes, adverts, shares, updates and confirmations, and three of the four answers that open the sum.
    assert_eq!(restarts, 28);
    assert_eq!(ending(&cluster).state, Final::Completed);
    assert_eq!(*cluster.driver().optimizer(), cluster.expected(&[ALL]));
    cluster.verify_audit();
}

#[test]
fn both_moments_of_an_adaptive_optimizer_survive_a_coordinator_that_restarts_after_every_answer() {
    let mut cluster = Cluster::of(adaptive_contract(2));
    loop {
        let before = cluster.stored();
        if !(1..=5).any(|i| cluster.answer_one(i)) {
            break;
        }
        if cluster.stored() != before && !cluster.driver().state().has_ended() {
            cluster.restart_coordinator();
        }
    }
    assert_eq!(ending(&cluster).state, Final::Completed);
    let expected = cluster.expected(&[ALL, ALL]);
    assert_eq!(*cluster.driver().optimizer(), expected);
    // Not the model that the same sums give by momentum at one rate.
    let mut plain = Cluster::new(2);
    plain.settle();
    assert_ne!(
        plain.driver().optimizer().parameters(),
        expected.parameters()
    );
    cluster.verify_audit();
}

#[test]
fn the_control_of_scaffold_is_announced_with_the_model_and_survives_restarts_of_the_coordinator() {
    let mut cluster = Cluster::of(scaffold_contract(2));
    let initial = cluster.driver().state().model;
    loop {
        let before = cluster.stored();
        if !(1..=5).any(|i| cluster.answer_one(i)) {
            break;
        }
        if cluster.stored() != before && !cluster.driver().state().has_ended() {
            cluster.restart_coordinator();
        }
    }
    assert_eq!(ending(&cluster).state, Final::Completed);
    let expected = cluster.expected(&[ALL, ALL]);
    assert_eq!(*cluster.driver().optimizer(), expected);
    let job = &cluster.driver().state().contract.job;
    let announced = release::model_digest(job, &expected);
    assert_eq!(cluster.driver().state().model, announced);
    assert_ne!(
        announced.as_bytes(),
        expected.parameters().hash().as_bytes()
    );
    assert_ne!(initial, announced);
    // The control is there: every member moved.
    assert!(
        expected.with_control().as_slice()[3..]
            .iter()
            .any(|c| *c != 0.0)
    );
    cluster.verify_audit();
}

#[test]
fn a_round_that_is_aborted_after_submissions_is_spent_and_the_next_round_follows() {
    let mut cluster = Cluster::new(2);
    cluster.settle_until("collecting");
    for i in [4, 5] {
        cluster
            .processes
            .get_mut(&i)
            .unwrap()
            .silent_in
            .push("collecting");
    }
    cluster.settle();
    cluster.expire();
    for i in [4, 5] {
        cluster.processes.get_mut(&i).unwrap().silent_in.clear();
    }
    assert_eq!(cluster.driver().state().spent_rounds, 1);
    cluster.settle();
    assert_eq!(ending(&cluster).state, Final::Completed);
    assert_eq!(cluster.survivors(), [0, 5]);
    assert_eq!(*cluster.driver().optimizer(), cluster.expected(&[&[], ALL]));
    cluster.verify_audit();
}

#[test]
fn an_attempt_that_too_few_join_is_made_again_with_fresh_keys() {
    let mut cluster = Cluster::new(1);
    for i in [3, 4, 5] {
        cluster
            .processes
            .get_mut(&i)
            .unwrap()
            .silent_in
            .push("joining");
    }
    cluster.settle();
    cluster.expire();
    let attempt = cluster
        .driver()
        .state()
        .attempt
        .as_ref()
        .unwrap()
        .key
        .clone();
    assert_eq!(
        (attempt.round, attempt.attempt),
        (RoundNumber(1), Attempt(2))
    );
    for i in [3, 4, 5] {
        cluster.processes.get_mut(&i).unwrap().silent_in.clear();
    }
    cluster.settle();
    assert_eq!(ending(&cluster).state, Final::Completed);
    assert_eq!(cluster.driver().state().spent_rounds, 1);
    cluster.verify_audit();
}

#[test]
fn a_no_ends_the_job_with_the_members_name_and_reason() {
    let mut cluster = Cluster::new(1);
    let contract = cluster.contract.clone();
    let no = Vote::cast(
        &contract.id,
        &organisation(2),
        contract.hash,
        Err("too much epsilon".to_owned()),
        &secret(2),
    );
    cluster.ask(Command::Vote(no)).unwrap();
    let ending = ending(&cluster);
    assert_eq!(
        (ending.state, ending.code.as_str()),
        (Final::Failed, "vote_refused")
    );
    assert!(ending.reason.contains("clinic-2") && ending.reason.contains("too much epsilon"));
    cluster.verify_audit();
}

#[test]
fn a_job_that_not_everybody_votes_on_in_time_fails_and_names_who_was_silent() {
    let mut cluster = Cluster::new(1);
    cluster
        .processes
        .get_mut(&4)
        .unwrap()
        .silent_in
        .push("voting");
    cluster.settle();
    cluster.expire();
    let ending = ending(&cluster);
    assert_eq!(ending.code, "voting_expired");
    assert!(ending.reason.contains("clinic-4") && !ending.reason.contains("clinic-1"));
}

#[test]
fn a_vote_that_somebody_else_signed_or_that_changes_is_refused() {
    let mut cluster = Cluster::new(1);
    let contract = cluster.contract.clone();
    let cast = |by: u8, answer| {
        Vote::cast(
            &contract.id,
            &organisation(1),
            contract.hash,
            answer,
            &secret(by),
        )
    };
    assert_eq!(
        cluster
            .ask(Command::Vote(cast(2, Ok(()))))
            .unwrap_err()
            .code,
        "vote_signature"
    );
    cluster.ask(Command::Vote(cast(1, Ok(())))).unwrap();
    cluster.ask(Command::Vote(cast(1, Ok(())))).unwrap();
    let changed = cast(1, Err("no".to_owned()));
    assert_eq!(
        cluster.ask(Command::Vote(changed)).unwrap_err().code,
        "vote_cast_already"
    );
}

#[test]
fn what_a_phase_hands_out_is_each_members_own_directive_and_is_dropped_with_the_phase() {
    let mut cluster = Cluster::new(1);
    for phase in [
        "joining",
        "sharing",
        "collecting",
        "confirming",
        "unmasking",
    ] {
        cluster.settle_until(phase);
        let driver = cluster.driver();
        let key = &driver.state().attempt.as_ref().unwrap().key;
        let round = driver.round.as_ref().unwrap();
        let mut held = Vec::new();
        for i in 1..=5 {
            let link = cluster.processes[&i].link;
            let board = &driver.services.board;
            let wanted = board.wanted(&organisation(i), &link).unwrap();
            let handed = (wanted.iter()).find(|wish| matches!(wish, Wish::Handed(..)));
            let due = round.directive(index(i));
            assert_eq!(
                handed.map(Wish::event),
                due.map(|directive| directive_to_wire(key, &directive)),
                "{phase}, clinic-{i}"
            );
            held.extend(handed.map(Wish::said));
        }
        assert!(!held.is_empty());
        assert!(
            held.iter()
                .all(|said| !said.is_over() && !said.parts().is_empty())
        );
        // Whoever still hears it when the phase is over hears no more, and keeps nothing of it.
        while cluster.driver().phase() == Some(phase) && (1..=5).any(|i| cluster.answer_one(i)) {}
        assert!(
            held.iter()
                .all(|said| said.is_over() && said.parts().is_empty())
        );
    }
}

#[test]
fn a_member_that_speaks_for_another_is_refused_by_name_and_the_others_go_on() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("joining");
    let link = cluster.processes[&1].link;
    let wanted = cluster
        .driver()
        .services
        .board
        .wanted(&organisation(1), &link)
        .unwrap();
    let (key, directive) = wanted
        .iter()
        .find_map(|wish| directive_from_wire(wish.event()).unwrap())
        .unwrap();
    let Some(MemberMessage::Advert(advert)) = cluster.reply(1, &key, &directive) else {
        panic!("an advert is due")
    };
    let refused = cluster
        .say(organisation(2), &key, MemberMessage::Advert(advert.clone()))
        .unwrap_err();
    assert_eq!(refused.code, "speaks_for_another");
    let mut forged = advert.clone();
    forged.evidence = b"other".to_vec();
    let refused = cluster
        .say(organisation(1), &key, MemberMessage::Advert(forged))
        .unwrap_err();
    assert_eq!(refused.code, "round_signature");
    cluster
        .say(organisation(1), &key, MemberMessage::Advert(advert))
        .unwrap();
    cluster.settle_until("collecting");
    cluster.settle();
    assert_eq!(ending(&cluster).state, Final::Completed);
    let log = std::fs::read_to_string(
        cluster
            .folder
            .path()
            .join("audit")
            .join(consort_audit::ENTRIES_FILE),
    )
    .unwrap();
    assert!(
        log.contains(
            r#"{"member_refused":{"organisation":"clinic-2","code":"speaks_for_another"}}"#
        )
    );
    cluster.verify_audit();
}

#[test]
fn a_stored_update_that_is_not_the_sealed_one_is_never_summed() {
    let mut cluster = Cluster::new(2);
    cluster.settle_until("confirming");
    let key = AttemptKey {
        job: job_id(),
        round: RoundNumber(1),
        attempt: Attempt(1),
    };
    let blob = release::update_key(&key, index(2)).unwrap();
    let blobs = cluster.driver().services.blobs.clone();
    let mut bytes = blobs.read(&blob, u64::MAX).unwrap();
    bytes[0] ^= 1;
    blobs.remove(&blob).unwrap();
    let mut writer = blobs.begin(&blob).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    cluster.settle();
    assert_eq!(cluster.survivors(), [0, 5]);
    assert!(
        cluster.driver().state().rounds[0]
            .aborted
            .contains("not the one that was sealed")
    );
    cluster.verify_audit();
}

#[test]
fn an_upload_by_a_departed_member_or_for_another_attempt_does_not_begin() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("collecting");
    let key = cluster
        .driver()
        .state()
        .attempt
        .as_ref()
        .unwrap()
        .key
        .clone();
    let begin = |i, key: &AttemptKey| Command::Upload {
        from: organisation(i),
        key: key.clone(),
    };
    assert!(matches!(
        cluster.ask(begin(1, &key)),
        Ok(Answer::Upload { sealed: false, .. })
    ));
    cluster.start(3);
    assert_eq!(
        cluster.ask(begin(3, &key)).unwrap_err().code,
        "round_not_asked"
    );
    let other = AttemptKey {
        attempt: Attempt(2),
        ..key
    };
    assert_eq!(
        cluster.ask(begin(1, &other)).unwrap_err().code,
        "attempt_not_running"
    );
}

#[test]
fn the_model_of_the_round_is_handed_to_members_by_its_hash_only() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("joining");
    let model = cluster.driver().state().model;
    let Ok(Answer::Model(bytes)) = cluster.ask(Command::Model {
        from: organisation(1),
        model,
    }) else {
        panic!("a member gets the model")
    };
    assert_eq!(bytes.as_ref(), [0; 12]);
    let other = Command::Model {
        from: organisation(1),
        model: digest_of(b"other"),
    };
    assert_eq!(cluster.ask(other).unwrap_err().code, "model_not_current");
}

#[test]
fn an_operator_ends_a_job_once() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("collecting");
    cluster.ask(Command::Cancel).unwrap();
    assert_eq!(ending(&cluster).state, Final::Cancelled);
    assert_eq!(cluster.ask(Command::Cancel).unwrap_err().code, "job_ended");
    cluster.verify_audit();
}

#[test]
fn the_same_key_with_the_same_job_gives_the_same_job_and_another_job_is_refused() {
    let clock: fn() -> Now = || Now {
        mono: Millis(0),
        unix_ms: 1,
    };
    let folder = tempfile::tempdir().unwrap();
    let (faults, _listener) = mpsc::unbounded_channel();
    let desk = Desk::open(services(folder.path()), clock, faults.clone()).unwrap();
    let first = desk.submit(document(2), "key").unwrap().unwrap();
    assert_eq!(
        desk.submit(document(2), "key").unwrap().unwrap().id,
        first.id
    );
    assert_eq!(
        desk.submit(document(3), "key").unwrap().unwrap_err().code,
        "idempotency_key_reused"
    );
    assert_ne!(desk.submit(document(2), "").unwrap().unwrap().id, first.id);
    assert_eq!(
        desk.submit(document(2), &"k".repeat(65))
            .unwrap()
            .unwrap_err()
            .code,
        "idempotency_key"
    );
    assert_eq!(desk.services().board.views_after(None).jobs.len(), 2);
}
