//! Releases, good and bad, against a broker on real files and simulated machines.

use std::time::{Duration, SystemTime};

use super::*;
use crate::rule::CoarseRefusal;
use crate::test_world::{SESSION, World, attester, job, label, machine, name, yes};
use consort_audit::{ENTRIES_FILE, Record};
use consort_contract::identity::hex;
use consort_daemon::record;
use consort_proto::convert::vote_to_wire;
use consort_vault::release::ReleaseKeyPair;

/// What a broker's log says.
fn log(world: &World) -> Vec<Event> {
    let folder = world.config.log_dir();
    consort_audit::verify(&folder, None).unwrap();
    let text = std::fs::read_to_string(folder.join(ENTRIES_FILE)).unwrap();
    text.lines()
        .map(|line| Record::from_line(line.as_bytes()).unwrap().event)
        .collect()
}

fn releases(world: &World) -> usize {
    let events = log(world);
    let released = |event: &&Event| matches!(event, Event::KeyReleased { .. });
    events.iter().filter(released).count()
}

/// The log's code and the participant's coarse reason of a refusal, which the same correlation id joins.
fn refused(world: &World, answer: Result<SealedKey, NotReleased>) -> (String, CoarseRefusal) {
    let Err(NotReleased::Refused {
        coarse,
        correlation,
    }) = answer
    else {
        panic!("it was not refused: {answer:?}");
    };
    let found = log(world).into_iter().find_map(|event| {
        if let Event::KeyRefused {
            code,
            correlation: named,
            ..
        } = event
        {
            (named.as_str() == correlation).then(|| code.to_string())
        } else {
            None
        }
    });
    (found.unwrap(), coarse)
}

/// The gate's verdict that comes before every release in a real log.
fn accept(broker: &Broker) {
    let verdict = Event::EvidenceVerdict {
        organisation: record::organisation(name(1).as_str()),
        accepted: true,
        code: record::code("accepted"),
        simulated: true,
        report: Hash([1; 32]),
    };
    broker.journal.append(Fact::of_consortium(verdict)).unwrap();
}

fn started(world: &World) -> Arc<Broker> {
    let broker = world.broker();
    accept(&broker);
    broker
}

/// Asks for all that is in order, after a change.
async fn ask(
    world: &World,
    broker: &Arc<Broker>,
    change: impl FnOnce(&mut ReleaseRequest),
) -> Result<SealedKey, NotReleased> {
    let nonce = broker.challenge(SESSION);
    let mut request = world.request(nonce, &ReleaseKeyPair::generate());
    change(&mut request);
    broker.release(SESSION, request).await
}

#[tokio::test]
async fn a_release_is_logged_and_opens_to_the_key_that_data_is_sealed_under() {
    let world = World::new().await;
    let broker = started(&world);
    let (nonce, pair) = (broker.challenge(SESSION), ReleaseKeyPair::generate());
    let request = world.request(nonce, &pair);
    let sealed = broker.release(SESSION, request.clone()).await.unwrap();

    let (key_name, key) = crate::newest_key(&world.config, &label("breast-cancer-key"))
        .await
        .unwrap();
    let (job, plan) = &world.job;
    let terms = ReleaseTerms {
        nonce,
        key: key_name,
        job: crate::test_world::job_id(),
        contract: plan.contract_hash(job),
        manifest: world.manifest,
    };
    let opened = pair.open(&sealed, &terms).unwrap();
    assert_eq!(opened.expose(), key.expose());

    let events = log(&world);
    let Some(Event::KeyReleased {
        organisation,
        version,
        nonce: logged,
        sealed_to,
        simulated,
        ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert_eq!(organisation.as_str(), "clinic-1");
    assert_eq!((*version, logged.0), (1, nonce));
    assert_eq!(sealed_to.0, *Digest::of(&request.hpke_key).as_bytes());
    assert!(simulated, "a dangerous release is marked in its record");
    let Event::Started { dangerous, .. } = &events[0] else {
        panic!("{events:?}");
    };
    let told = dangerous
        .iter()
        .any(|choice| choice.as_str() == "dangerous_release_to_simulated");
    assert!(told, "a dangerous choice is marked at the start");
}

#[tokio::test]
async fn a_replayed_request_is_refused_also_by_a_broker_that_was_restarted() {
    let world = World::new().await;
    let broker = started(&world);
    let nonce = broker.challenge(SESSION);
    let request = world.request(nonce, &ReleaseKeyPair::generate());
    broker.release(SESSION, request.clone()).await.unwrap();
    let replayed = broker.release(SESSION, request.clone()).await;
    let nonce_refused = ("key_nonce".to_owned(), CoarseRefusal::Nonce);
    assert_eq!(refused(&world, replayed), nonce_refused);

    let unused = broker.challenge(SESSION);
    drop(broker);
    let broker = started(&world);
    let replayed = broker.release(SESSION, request).await;
    assert_eq!(refused(&world, replayed), nonce_refused);
    let from_before = world.request(unused, &ReleaseKeyPair::generate());
    let late = broker.release(SESSION, from_before).await;
    assert_eq!(refused(&world, late), nonce_refused);
    assert_eq!(releases(&world), 1);
}

#[tokio::test]
async fn a_nonce_of_another_session_or_of_nobody_is_refused() {
    let world = World::new().await;
    let broker = started(&world);
    let nonce = broker.challenge([8; 32]);
    let stolen = world.request(nonce, &ReleaseKeyPair::generate());
    let answer = broker.release(SESSION, stolen).await;
    assert_eq!(refused(&world, answer).0, "key_nonce");
    for nonce in [vec![], vec![0; 32], vec![0; 33]] {
        let answer = ask(&world, &broker, |request| request.nonce = nonce).await;
        assert_eq!(refused(&world, answer).0, "key_nonce");
    }
    assert_eq!(releases(&world), 0);
}

#[tokio::test]
async fn a_simulated_machine_is_refused_unless_the_broker_was_started_so() {
    let world = World::with(|config| config.dangerous_release_to_simulated = false).await;
    let broker = started(&world);
    let answer = ask(&world, &broker, |_| ()).await;
    let expected = ("key_simulated_machine".to_owned(), CoarseRefusal::Evidence);
    assert_eq!(refused(&world, answer), expected);
    assert_eq!(releases(&world), 0);
}

#[tokio::test]
async fn evidence_of_another_program_machine_or_organisation_is_refused() {
    let world = World::new().await;
    let broker = started(&world);
    let mut other_program = machine(1);
    other_program.measurement = consort_attestation::Measurement::new([0x4E; 48]);
    for (machine, code) in [
        (other_program, "attest.measurement"),
        (machine(2), "attest.chip-id"),
    ] {
        let nonce = broker.challenge(SESSION);
        let pair = ReleaseKeyPair::generate();
        let request = world.request_from(&attester(machine), nonce, &pair);
        let (found, coarse) = refused(&world, broker.release(SESSION, request).await);
        assert!(found.starts_with("attest."), "{found} for {code}");
        assert_eq!(coarse, CoarseRefusal::Evidence);
    }
    assert_eq!(releases(&world), 0);
}

#[tokio::test]
async fn evidence_over_another_nonce_key_or_job_is_refused() {
    let world = World::new().await;
    let broker = started(&world);
    let other_key = ReleaseKeyPair::generate();
    let answer = ask(&world, &broker, |request| {
        request.hpke_key = other_key.public().to_vec();
    })
    .await;
    assert_eq!(refused(&world, answer).0, "attest.report-data");
    let earlier = world.request([9; 32], &ReleaseKeyPair::generate());
    let answer = ask(&world, &broker, |request| {
        request.evidence = earlier.evidence;
        request.hpke_key = earlier.hpke_key;
    })
    .await;
    assert_eq!(refused(&world, answer).0, "attest.report-data");
    let answer = ask(&world, &broker, |request| {
        let (proposal, approval) = (&mut request.proposal, &mut request.approval);
        proposal.as_mut().unwrap().job = "job-2".to_owned();
        approval.as_mut().unwrap().job = "job-2".to_owned();
    })
    .await;
    assert_eq!(refused(&world, answer).0, "attest.report-data");
    let answer = ask(&world, &broker, |request| request.evidence.clear()).await;
    assert_eq!(refused(&world, answer).1, CoarseRefusal::Evidence);
    assert_eq!(releases(&world), 0);
}

#[tokio::test]
async fn a_job_that_a_member_did_not_approve_gets_no_key() {
    let world = World::new().await;
    let broker = started(&world);
    let answer = ask(&world, &broker, |request| {
        request.approval.as_mut().unwrap().votes.pop();
    })
    .await;
    let expected = ("vote_not_approved".to_owned(), CoarseRefusal::Rule);
    assert_eq!(refused(&world, answer), expected);

    // The votes are on the job as it was approved; the coordinator proposes another one under them.
    let (cheaper, plan) = job(|document| document.privacy.epsilon = 0.5);
    let answer = ask(&world, &broker, |request| {
        let proposal = request.proposal.as_mut().unwrap();
        proposal.spec = Some(consort_proto::convert::job_to_wire(cheaper.document()));
        proposal.plan = Some(consort_proto::convert::plan_to_wire(&cheaper, &plan));
    })
    .await;
    assert_eq!(refused(&world, answer).0, "vote_other_contract");

    let answer = ask(&world, &broker, |request| {
        let votes = &mut request.approval.as_mut().unwrap().votes;
        votes[1].signature = votes[0].signature.clone();
    })
    .await;
    assert_eq!(refused(&world, answer).0, "vote_signature");
    assert_eq!(releases(&world), 0);
}

#[tokio::test]
async fn a_key_is_not_unwrapped_for_a_request_that_has_no_key_to_seal_it_to() {
    let world = World::new().await;
    let broker = started(&world);
    // The data key would not unwrap: its file is one of the same form, wrapped under nothing that is known.
    let path = world.config.keys_dir().join("breast-cancer-key.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("local/", "unknown/")).unwrap();
    let nonce = broker.challenge(SESSION);
    let none = world.request_for(&attester(machine(1)), nonce, &[0xff; 32]);
    let answer = broker.release(SESSION, none).await;
    let expected = ("release_public_key".to_owned(), CoarseRefusal::Malformed);
    assert_eq!(refused(&world, answer), expected);
    let answer = ask(&world, &broker, |_| ()).await;
    let expected = ("wrapping_unknown".to_owned(), CoarseRefusal::Unavailable);
    assert_eq!(refused(&world, answer), expected);
}

/// A world whose one job is another one, approved by all.
async fn asked_for_another_job(
    change: impl FnOnce(&mut consort_contract::JobDocument),
) -> (World, Result<SealedKey, NotReleased>) {
    let mut world = World::new().await;
    world.job = job(change);
    let broker = started(&world);
    let answer = ask(&world, &broker, |_| ()).await;
    (world, answer)
}

#[tokio::test]
async fn an_approved_job_for_another_purpose_or_data_set_gets_no_key() {
    let (world, answer) =
        asked_for_another_job(|document| document.purpose = label("marketing")).await;
    assert_eq!(refused(&world, answer).0, "key_purpose");
    let (world, answer) = asked_for_another_job(|document| document.dataset = label("other")).await;
    assert_eq!(refused(&world, answer).0, "key_other_data_set");
}

#[tokio::test]
async fn the_jobs_of_a_key_are_paid_for_once_each_and_not_past_its_cap() {
    // The job costs a little less than epsilon 1; two of them do not fit.
    let mut world = World::with(|config| {
        let rule = config.keys.get_mut(&label("breast-cancer-key")).unwrap();
        rule.max_epsilon = 1.0;
    })
    .await;
    let broker = started(&world);
    for _ in 0..3 {
        ask(&world, &broker, |_| ()).await.unwrap();
    }
    drop(broker);
    world.job = job(|document| document.name = label("second"));
    let broker = started(&world);
    // Under the name of the first job, which stands in no ledger that was rolled back, but in this one.
    let answer = ask(&world, &broker, |_| ()).await;
    let expected = ("privacy_over_cap".to_owned(), CoarseRefusal::Rule);
    assert_eq!(refused(&world, answer), expected);
    world.job = job(|_| ());
    ask(&world, &broker, |_| ()).await.unwrap();
    assert_eq!(releases(&world), 4);
}

#[tokio::test]
async fn an_unknown_key_or_version_is_refused_and_a_new_version_is_released_beside_the_old() {
    let world = World::new().await;
    let broker = started(&world);
    let answer = ask(&world, &broker, |request| request.version = 2).await;
    assert_eq!(refused(&world, answer).0, "key_unknown");
    let answer = ask(&world, &broker, |request| request.version = 0).await;
    assert_eq!(refused(&world, answer).0, "wire_field_invalid");
    let answer = ask(&world, &broker, |request| request.key_id = "other".into()).await;
    assert_eq!(refused(&world, answer).0, "key_unknown");

    let made = crate::rotate(&world.config, &label("breast-cancer-key"))
        .await
        .unwrap();
    assert_eq!(made.version, 2);
    for version in [1, 2] {
        let answer = ask(&world, &broker, |request| request.version = version).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_version_older_than_its_rule_is_refused_and_a_younger_one_is_not() {
    let world = World::new().await;
    let id = label("breast-cancer-key");
    let store = crate::KeyStore::new(world.config.keys_dir());
    let keys = crate::OrganisationKeys::open(&world.config).unwrap();
    std::fs::remove_file(world.config.keys_dir().join(format!("{id}.json"))).unwrap();
    for days in [366, 364] {
        let made = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        store
            .lock()
            .unwrap()
            .rotate(&id, &label("breast-cancer"), &keys, made)
            .await
            .unwrap();
    }
    let broker = started(&world);
    let answer = ask(&world, &broker, |_| ()).await;
    assert_eq!(refused(&world, answer).0, "key_too_old");
    let answer = ask(&world, &broker, |request| request.version = 2).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn a_job_may_ask_for_a_younger_key_than_the_rule_does_and_never_gets_an_older_one() {
    let mut world = World::new().await;
    let id = label("breast-cancer-key");
    let store = crate::KeyStore::new(world.config.keys_dir());
    let keys = crate::OrganisationKeys::open(&world.config).unwrap();
    std::fs::remove_file(world.config.keys_dir().join(format!("{id}.json"))).unwrap();
    for days in [31, 29] {
        let made = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        store
            .lock()
            .unwrap()
            .rotate(&id, &label("breast-cancer"), &keys, made)
            .await
            .unwrap();
    }
    world.job = job(|document| {
        document.data_access.encryption = Some(consort_contract::job::EncryptionDocument {
            key_rotation_days: 30,
        });
    });
    let broker = started(&world);
    let answer = ask(&world, &broker, |_| ()).await;
    assert_eq!(refused(&world, answer).0, "key_too_old");
    let answer = ask(&world, &broker, |request| request.version = 2).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_and_spends_its_nonce() {
    let world = World::new().await;
    let broker = started(&world);
    let nonce = broker.challenge(SESSION);
    let whole = world.request(nonce, &ReleaseKeyPair::generate());
    let broken = ReleaseRequest {
        proposal: None,
        ..whole.clone()
    };
    let answer = broker.release(SESSION, broken).await;
    let expected = ("wire_field_missing".to_owned(), CoarseRefusal::Malformed);
    assert_eq!(refused(&world, answer), expected);
    let answer = broker.release(SESSION, whole).await;
    assert_eq!(refused(&world, answer).0, "key_nonce");
}

#[tokio::test]
async fn a_vote_of_a_stranger_beside_those_of_all_members_is_refused() {
    let world = World::new().await;
    let broker = started(&world);
    let (job, plan) = &world.job;
    let stranger = consort_contract::Vote {
        organisation: name(9),
        ..yes(3, job, plan)
    };
    let answer = ask(&world, &broker, |request| {
        let votes = &mut request.approval.as_mut().unwrap().votes;
        votes.push(vote_to_wire(&stranger));
    })
    .await;
    assert_eq!(refused(&world, answer).0, "vote_stranger");
}

#[tokio::test]
async fn no_key_stands_in_the_log_or_in_a_message() {
    let world = World::new().await;
    let broker = started(&world);
    ask(&world, &broker, |_| ()).await.unwrap();
    let (_, key) = crate::newest_key(&world.config, &label("breast-cancer-key"))
        .await
        .unwrap();
    let text = std::fs::read_to_string(world.config.log_dir().join(ENTRIES_FILE)).unwrap();
    assert!(!text.contains(&hex(key.expose())));
    assert_eq!(format!("{key:?}"), "DataKey(32 bytes)");
}
