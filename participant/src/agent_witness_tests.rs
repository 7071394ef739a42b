//! Agents as witnesses: a coordinator whose log was cut or rewritten is found out by whoever saw it before.

use consort_audit::{
    NoteVerifier, ProofFile, ProofFileError, WitnessKey, log_origin, witness_name,
};

use super::*;

/// The longest log of [`World::log`].
const LENGTH: u64 = 40;

fn log_key() -> NoteVerifier {
    NoteVerifier::from_bytes(&log_origin("test"), coordinator().public().as_bytes()).unwrap()
}

/// What an agent kept of logs that contradict each other, read as an auditor would.
fn contradictions(world: &World, member: u8) -> Vec<(String, ProofFileError)> {
    let kept = world.agents[&member].state.log_contradictions().unwrap();
    let read = |(lengths, record): (String, Vec<u8>)| {
        let ProofFile::Consistency(record) = String::from_utf8(record).unwrap().parse().unwrap()
        else {
            panic!("two checkpoints are kept")
        };
        (lengths, record.verify(&log_key()).unwrap_err())
    };
    kept.into_iter().map(read).collect()
}

fn takes_part(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Send { .. }, Effect::Train(_)])
}

/// A world in which all have taken part in round 1, and so have seen a log of eleven entries.
fn after_a_round() -> World {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    world.play(&open, &initial, &[1, 2, 3, 4]);
    world
}

/// Announces the next round to a member, which has its model.
fn announced(world: &mut World, member: u8) -> Vec<Effect> {
    let next = Parameters::new(world.job.model(), vec![0.5, -0.25]).unwrap();
    let open = world.open(2, 1, &next);
    let mut effects = world.say(member, announcement(&open));
    if let Some(Effect::FetchModel { agreed, .. }) = effects.first() {
        let input = Input::Model {
            job: job_id(),
            model: model_digest(&next),
            arrived: arrived(&agreed.0, &next.to_le_bytes()),
        };
        effects = world.tell(member, input);
    }
    effects
}

/// Obeys R20a, R20b.
#[test]
fn a_log_that_goes_on_is_followed_and_cosigned_once_for_each_head_by_every_member() {
    let mut world = after_a_round();
    for i in 1..=MEMBERS {
        assert!(takes_part(&announced(&mut world, i)), "member {i}");
        assert_eq!(contradictions(&world, i).len(), 0);
    }
    assert_eq!(world.cosigned.len(), 2 * usize::from(MEMBERS));
    for (member, head, cosignature) in &world.cosigned {
        let size = [11, 21]
            .into_iter()
            .find(|size| world.log.head(*size) == *head);
        let checkpoint = world.log.checkpoint(size.unwrap());
        let text = checkpoint.verified(&log_key()).unwrap();
        let witness = witness_name("test", name(*member).as_str());
        let witness = WitnessKey::new(&witness, secret(*member).public().as_bytes()).unwrap();
        assert_eq!(witness.verify(text, cosignature), Ok(1_700_000_000));
    }
    // After a restart the member goes on from the log that it knew.
    world.restart(1, |_| ());
    assert_eq!(
        world.agents[&1].state.log_head(),
        Some(&*world.log.checkpoint(21).to_string())
    );
}

/// Breaks R20b.
#[test]
fn a_log_that_was_rewritten_is_found_by_every_member_that_saw_it_also_after_a_restart() {
    for forked_at in [0, 5, 10] {
        let mut world = after_a_round();
        world.log = TestLog::new(LENGTH, forked_at);
        let cosigned = world.cosigned.len();
        for i in 1..=MEMBERS {
            if i % 2 == 0 {
                world.restart(i, |_| ());
            }
            assert!(announced(&mut world, i).is_empty(), "member {i}");
            let [(lengths, error)] = &contradictions(&world, i)[..] else {
                panic!("one record is kept")
            };
            assert_eq!((lengths.as_str(), error.code()), ("11-21", "proof_root"));
            assert_eq!(world.entries(i), 1);
        }
        assert_eq!(world.cosigned.len(), cosigned, "nothing of it is co-signed");
        // The log that they know is believed again.
        world.log = TestLog::new(LENGTH, LENGTH);
        assert!(takes_part(&announced(&mut world, 1)));
    }
}

/// Breaks R20b.
#[test]
fn a_coordinator_that_was_restored_from_an_old_copy_is_found_by_every_member_when_it_announces_again()
 {
    let mut world = after_a_round();
    let initial = world.initial();
    // Of eleven entries the copy had eight; it goes on from there, and opens what it does not know to be over.
    world.log = TestLog::new(LENGTH, 8);
    let copy = world.open(1, 1, &initial);
    for i in 1..=MEMBERS {
        world.restart(i, |_| ());
        assert!(world.say(i, announcement(&copy)).is_empty());
        let [(lengths, error)] = &contradictions(&world, i)[..] else {
            panic!("one record is kept")
        };
        // Two logs of one length under its key convict the coordinator without anything else.
        assert_eq!(
            (lengths.as_str(), error.code()),
            ("11-11", "audit_contradiction")
        );
        assert_eq!(world.entries(i), 1);
    }
    // Shorter than it was, and not the beginning of what it was.
    let mut world = after_a_round();
    world.restart(1, |_| ());
    let other = TestLog::new(10, 4);
    let mut terms = copy.terms;
    terms.log_head = other.head(9);
    let copy = RoundOpen::new(terms, &coordinator());
    world.log = other;
    assert!(world.say(1, announcement(&copy)).is_empty());
    assert_eq!(contradictions(&world, 1)[0].0, "11-9");
}

/// Breaks R20a.
#[test]
fn a_head_that_is_not_shown_as_it_was_announced_or_is_not_the_coordinators_is_not_answered() {
    let initial = World::approved().initial();
    let ask = |world: &mut World| {
        let open = world.open(1, 1, &initial);
        let agent = world.agents.get_mut(&1).unwrap();
        let effects = agent
            .handle(Input::Said(Box::new(announcement(&open))))
            .unwrap();
        let [
            Effect::ProveHead {
                job,
                head,
                kept_entries: 0,
            },
        ] = &effects[..]
        else {
            panic!("the head is asked for first, not {effects:?}")
        };
        (job.clone(), *head)
    };
    let log = TestLog::new(LENGTH, LENGTH);
    let good = log.shown(log.head(11), 0);
    let mut signature = good.clone();
    signature.checkpoint = log
        .checkpoint(11)
        .to_string()
        .replace("test/audit", "test/other");
    for shown in [
        log.shown(log.head(12), 0),
        TestLog::new(LENGTH, 3).shown(TestLog::new(LENGTH, 3).head(11), 0),
        signature,
        ShownHead {
            checkpoint: String::new(),
            proof: Vec::new(),
        },
    ] {
        let mut world = World::approved();
        let (job, head) = ask(&mut world);
        let shown = Input::Head {
            job,
            head,
            kept_entries: 0,
            shown: Ok(shown),
        };
        assert!(world.tell(1, shown).is_empty());
        assert_eq!(
            (world.cosigned.len(), world.agents[&1].state.log_head()),
            (0, None)
        );
        // The honest head of the same attempt is still answered.
        let open = world.open(1, 1, &initial);
        assert!(takes_part(&world.say(1, announcement(&open))));
    }
    // A call that failed says nothing: it is asked for again.
    let mut world = World::approved();
    let (job, head) = ask(&mut world);
    let failed = Input::Head {
        job,
        head,
        kept_entries: 0,
        shown: Err("the connection broke".to_owned()),
    };
    assert!(world.tell(1, failed).is_empty());
    assert!(takes_part(&{
        let open = world.open(1, 1, &initial);
        world.say(1, announcement(&open))
    }));
}

/// Obeys R20b.
#[test]
fn an_older_head_of_the_same_log_is_answered_and_the_longest_one_stays() {
    let mut world = World::approved();
    let initial = world.initial();
    // Another job's announcement came first, under a longer log.
    let longer = world.log.checkpoint(30).to_string();
    world
        .agents
        .get_mut(&1)
        .unwrap()
        .state
        .keep_log_head(&longer)
        .unwrap();
    world.restart(1, |_| ());
    let open = world.open(1, 1, &initial);
    assert!(takes_part(&world.say(1, announcement(&open))));
    assert_eq!(world.agents[&1].state.log_head(), Some(longer.as_str()));
    assert_eq!(
        world.cosigned.len(),
        0,
        "a co-signature is for the longest log alone"
    );
}

#[test]
fn a_proof_from_where_the_member_is_no_more_is_asked_for_again() {
    let mut world = after_a_round();
    let next = world.initial();
    let open = world.open(2, 2, &next);
    let agent = world.agents.get_mut(&1).unwrap();
    let effects = agent
        .handle(Input::Said(Box::new(announcement(&open))))
        .unwrap();
    let Some(Effect::ProveHead { kept_entries, .. }) = effects.first() else {
        panic!("the head is asked for first, not {effects:?}")
    };
    assert_eq!(*kept_entries, 11);
    // What was shown is a proof from nothing, as if it had been asked for before round 1.
    let stale = Input::Head {
        job: job_id(),
        head: open.terms.log_head,
        kept_entries: 0,
        shown: Ok(world.log.shown(open.terms.log_head, 0)),
    };
    world.tell(1, stale);
    assert_eq!(contradictions(&world, 1).len(), 0);
    let size = |world: &World| {
        let kept = world.agents[&1].state.log_head().unwrap();
        let head: Vec<&str> = kept.lines().collect();
        head[1].parse::<u64>().unwrap()
    };
    assert_eq!(size(&world), length_at(2, 2));
}

#[test]
fn a_damaged_checkpoint_on_disk_is_no_reason_to_believe_the_next_one() {
    let mut world = after_a_round();
    world
        .agents
        .get_mut(&1)
        .unwrap()
        .state
        .keep_log_head("damaged")
        .unwrap();
    let state = SiteState::open(Arc::clone(&world.stores[&1])).unwrap();
    let site = site(1, &world.files[&1].1);
    let cap = site.consent.lifetime_cap().unwrap();
    let ledger = PrivacyLedger::open(Arc::clone(&world.stores[&1]), cap).unwrap();
    let opened = Agent::open(site, state, ledger);
    assert_eq!(
        opened.err().map(|fault| fault.code()),
        Some("state_log_head")
    );
}
