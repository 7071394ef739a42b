//! An agent whose records lie encrypted: it asks for the key once all have approved, and takes part once it has it.

use super::*;
use crate::test_world::label;
use consort_vault::sealed_data::seal;

fn name_of_key() -> KeyName {
    KeyName {
        key_id: label("records-key"),
        version: 1,
        data_set: label("records"),
    }
}

/// A world in which the first member's records lie encrypted under this key; nobody has approved.
fn encrypted(key: &DataKey) -> (World, tempfile::TempDir) {
    let mut world = World::approved();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.sealed");
    let file = std::fs::File::create(&path).unwrap();
    seal(RECORDS.as_bytes(), file, key, &name_of_key()).unwrap();
    world.stores.insert(1, Arc::new(MemoryStore::new()));
    world.restart(1, |site| {
        let dataset = site.datasets.get_mut(&label("records")).unwrap();
        dataset.path = path;
        dataset.key_id = Some(label("records-key"));
    });
    (world, folder)
}

/// The same, after it voted and saw that all had; what it asked its broker for.
fn approved(key: &DataKey) -> (World, tempfile::TempDir, KeyWanted) {
    let (mut world, folder) = encrypted(key);
    let event = Event::Proposal(proposal(&world.job, &world.plan));
    let vote = vote_of(&world.say(1, event));
    assert!(vote.approve, "{}", vote.reason);
    let approval = world.approval();
    let wanted = wanted(&world.say(1, approval));
    (world, folder, wanted)
}

fn wanted(effects: &[Effect]) -> KeyWanted {
    match effects {
        [Effect::FetchKey(wanted)] => (**wanted).clone(),
        other => panic!("a key is to be asked for, not {other:?}"),
    }
}

fn answered(world: &mut World, key: Result<DataKey, String>) -> Vec<Effect> {
    let input = Input::Key {
        job: job_id(),
        name: name_of_key(),
        key,
    };
    world.agents.get_mut(&1).unwrap().handle(input).unwrap()
}

fn copy(key: &DataKey) -> DataKey {
    DataKey::from_slice(key.expose()).unwrap()
}

fn takes_part(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Send { .. }, Effect::Train(_)])
}

#[test]
fn the_key_is_asked_for_once_all_have_approved_and_not_before() {
    let key = DataKey::random();
    let (world, _folder, wanted) = approved(&key);
    assert_eq!((wanted.name, wanted.job), (name_of_key(), job_id()));
    assert_eq!(wanted.contract, world.plan.contract_hash(&world.job));
    assert_eq!(wanted.approval.votes.len(), usize::from(MEMBERS));
}

#[test]
fn a_round_that_is_announced_before_the_key_is_there_is_joined_when_it_comes() {
    let key = DataKey::random();
    let (mut world, _folder, _) = approved(&key);
    let open = world.open(1, 1, &world.initial());
    let event = announcement(&open);
    assert!(world.say(1, event.clone()).is_empty(), "it is being asked");
    assert!(world.say(1, event).is_empty());
    let effects = answered(&mut world, Ok(copy(&key)));
    assert!(takes_part(&effects), "{effects:?}");
}

#[test]
fn a_key_that_was_not_released_is_asked_for_again_in_the_next_round() {
    let key = DataKey::random();
    let (mut world, _folder, _) = approved(&key);
    assert!(answered(&mut world, Err("refused".to_owned())).is_empty());
    let open = world.open(1, 1, &world.initial());
    let event = announcement(&open);
    wanted(&world.say(1, event));
    let effects = answered(&mut world, Ok(copy(&key)));
    assert!(takes_part(&effects), "{effects:?}");
}

#[test]
fn after_a_restart_the_key_is_asked_for_anew() {
    let key = DataKey::random();
    let (mut world, folder, _) = approved(&key);
    answered(&mut world, Ok(copy(&key)));
    world.restart(1, |site| {
        let dataset = site.datasets.get_mut(&label("records")).unwrap();
        dataset.path = folder.path().join("train.sealed");
        dataset.key_id = Some(label("records-key"));
    });
    let open = world.open(1, 1, &world.initial());
    let event = announcement(&open);
    wanted(&world.say(1, event));
}

#[test]
fn under_a_wrong_key_this_member_stays_away() {
    let (mut world, _folder, _) = approved(&DataKey::random());
    let open = world.open(1, 1, &world.initial());
    let event = announcement(&open);
    assert!(world.say(1, event).is_empty());
    assert!(answered(&mut world, Ok(DataKey::random())).is_empty());
}

#[test]
fn a_file_of_another_data_set_or_a_plain_one_gets_a_no() {
    let key = DataKey::random();
    let (mut world, folder) = encrypted(&key);
    let path = folder.path().join("train.sealed");
    let other = KeyName {
        data_set: label("others"),
        ..name_of_key()
    };
    let file = std::fs::File::create(&path).unwrap();
    seal(RECORDS.as_bytes(), file, &key, &other).unwrap();
    let event = Event::Proposal(proposal(&world.job, &world.plan));
    let vote = vote_of(&world.say(1, event.clone()));
    assert!(!vote.approve);
    assert!(vote.reason.contains("data set others"), "{}", vote.reason);

    let (mut world, folder) = encrypted(&key);
    std::fs::write(folder.path().join("train.sealed"), RECORDS).unwrap();
    let vote = vote_of(&world.say(1, event));
    assert!(!vote.approve);
    assert!(
        vote.reason.contains("no sealed data set"),
        "{}",
        vote.reason
    );
}

#[test]
fn a_job_that_asks_for_encrypted_data_gets_a_no_where_it_lies_plain() {
    let asks = |document: &mut consort_contract::JobDocument| {
        document.data_access.encryption = Some(consort_contract::job::EncryptionDocument {
            key_rotation_days: 30,
        });
    };
    let (world, folder) = encrypted(&DataKey::random());
    let (job, plan) = job_of(asks);
    for (encrypted, answer) in [(true, true), (false, false)] {
        let mut site = site(1, &world.files[&1].1);
        if encrypted {
            let dataset = site.datasets.get_mut(&label("records")).unwrap();
            dataset.path = folder.path().join("train.sealed");
            dataset.key_id = Some(label("records-key"));
        }
        let records: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
        let mut agent = agent(site, &records);
        let event = Event::Proposal(proposal(&job, &plan));
        let effects = agent.handle(Input::Said(Box::new(event))).unwrap();
        let vote = vote_of(&effects);
        assert_eq!(vote.approve, answer, "{}", vote.reason);
    }
}
