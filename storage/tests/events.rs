//! The law of the event store and its records, for each implementation, and what only the embedded one promises.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;

use consort_storage::{
    AppendError, EmbeddedStore, EventStore, MAX_EVENT_BYTES, MAX_RECORD_BYTES, MemoryStore,
    RecordChange, RecordError, RecordKey, RecordStore, StreamId, Version,
};
use proptest::prelude::*;

fn stream(id: &str) -> StreamId {
    StreamId::new(id).unwrap()
}

fn key(collection: &str, key: &str) -> RecordKey {
    RecordKey::new(collection, key).unwrap()
}

/// Calls a law with a fresh store of each implementation.
macro_rules! for_each_store {
    ($($law:ident),* $(,)?) => {
        mod embedded {
            $(#[test]
            fn $law() {
                let folder = tempfile::tempdir().unwrap();
                super::$law(&super::EmbeddedStore::open(folder.path().join("events")).unwrap());
            })*
        }
        mod memory {
            $(#[test]
            fn $law() {
                super::$law(&super::MemoryStore::new());
            })*
        }
    };
}

for_each_store!(
    events_come_back_in_the_order_of_their_appends,
    streams_do_not_touch_each_other,
    an_append_to_another_version_changes_nothing,
    of_two_appends_to_one_version_one_wins,
    an_append_without_events_keeps_the_version,
    a_refused_record_takes_its_events_with_it,
    an_inserted_record_keeps_its_first_value,
    records_are_listed_by_prefix_in_order,
    what_is_too_large_is_refused_before_anything_changes,
    changes_apply_in_order,
);

fn events_come_back_in_the_order_of_their_appends(store: &dyn EventStore) {
    let job = stream("job/1");
    assert_eq!(store.read(&job, Version::START).unwrap(), []);
    assert_eq!(
        store
            .append(&job, Version::START, &[b"a".to_vec(), b"b".to_vec()])
            .unwrap(),
        Version(2)
    );
    assert_eq!(
        store.append(&job, Version(2), &[Vec::new()]).unwrap(),
        Version(3)
    );
    let read = |after| -> Vec<(u64, Vec<u8>)> {
        store
            .read(&job, Version(after))
            .unwrap()
            .into_iter()
            .map(|event| (event.version.0, event.bytes))
            .collect()
    };
    assert_eq!(
        read(0),
        [(1, b"a".to_vec()), (2, b"b".to_vec()), (3, Vec::new())]
    );
    assert_eq!(read(2), [(3, Vec::new())]);
    assert_eq!(read(3), []);
    assert_eq!(read(u64::MAX), []);
    assert_eq!(store.version(&job).unwrap(), Version(3));
}

fn streams_do_not_touch_each_other(store: &dyn EventStore) {
    for id in ["job/2", "job/10", "job", "roster", "job/1"] {
        store
            .append(&stream(id), Version::START, &[id.as_bytes().to_vec()])
            .unwrap();
    }
    let ids = |prefix| -> Vec<String> {
        store
            .streams(prefix)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(ids("job/"), ["job/1", "job/10", "job/2"]);
    assert_eq!(ids(""), ["job", "job/1", "job/10", "job/2", "roster"]);
    assert_eq!(ids("model/"), [""; 0]);
    assert_eq!(store.read(&stream("job"), Version::START).unwrap().len(), 1);
    assert_eq!(store.version(&stream("nobody")).unwrap(), Version::START);
}

fn an_append_to_another_version_changes_nothing<S: EventStore + RecordStore>(store: &S) {
    let job = stream("job/1");
    store
        .append(&job, Version::START, &[b"a".to_vec()])
        .unwrap();
    let change = RecordChange::Put {
        key: key("state", "x"),
        value: b"x".to_vec(),
    };
    for expected in [Version(0), Version(2), Version(u64::MAX)] {
        let refused = store
            .append_with(
                &job,
                expected,
                &[b"b".to_vec()],
                std::slice::from_ref(&change),
            )
            .unwrap_err();
        assert_eq!(refused.code(), "append_conflict");
        assert!(matches!(
            refused,
            AppendError::Conflict {
                actual: Version(1),
                ..
            }
        ));
    }
    assert_eq!(store.version(&job).unwrap(), Version(1));
    assert_eq!(store.get(&key("state", "x")).unwrap(), None);
}

fn of_two_appends_to_one_version_one_wins(store: &dyn EventStore) {
    let job = stream("job/1");
    let wins: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8_u8)
            .map(|racer| {
                scope.spawn({
                    let job = &job;
                    move || store.append(job, Version::START, &[vec![racer]]).is_ok()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| usize::from(racer.join().unwrap()))
            .sum()
    });
    assert_eq!(wins, 1);
    assert_eq!(store.version(&job).unwrap(), Version(1));
}

fn an_append_without_events_keeps_the_version<S: EventStore + RecordStore>(store: &S) {
    let job = stream("job/1");
    let change = RecordChange::Put {
        key: key("state", "x"),
        value: b"x".to_vec(),
    };
    assert_eq!(
        store
            .append_with(&job, Version::START, &[], &[change])
            .unwrap(),
        Version::START
    );
    assert_eq!(store.get(&key("state", "x")).unwrap(), Some(b"x".to_vec()));
    assert_eq!(store.streams("").unwrap(), []);
}

fn a_refused_record_takes_its_events_with_it<S: EventStore + RecordStore>(store: &S) {
    let answer = key("answers", "clinic-a/1");
    let insert = |value: &[u8]| RecordChange::Insert {
        key: answer.clone(),
        value: value.to_vec(),
    };
    let other = RecordChange::Put {
        key: key("state", "x"),
        value: b"x".to_vec(),
    };
    let job = stream("job/1");
    store
        .append_with(&job, Version::START, &[b"a".to_vec()], &[insert(b"first")])
        .unwrap();
    let refused = store
        .append_with(
            &job,
            Version(1),
            &[b"b".to_vec()],
            &[other, insert(b"second")],
        )
        .unwrap_err();
    assert_eq!(refused.code(), "record_exists");
    assert_eq!(store.version(&job).unwrap(), Version(1));
    assert_eq!(store.get(&answer).unwrap(), Some(b"first".to_vec()));
    assert_eq!(store.get(&key("state", "x")).unwrap(), None);
}

fn an_inserted_record_keeps_its_first_value(store: &dyn RecordStore) {
    let answer = key("answers", "clinic-a/1");
    let insert = |value: &[u8]| {
        store.change(&[RecordChange::Insert {
            key: answer.clone(),
            value: value.to_vec(),
        }])
    };
    insert(b"first").unwrap();
    insert(b"first").unwrap();
    assert!(matches!(insert(b"second"), Err(RecordError::Exists { .. })));
    assert_eq!(store.get(&answer).unwrap(), Some(b"first".to_vec()));
    store.put(&answer, b"third").unwrap();
    assert_eq!(store.get(&answer).unwrap(), Some(b"third".to_vec()));
}

fn records_are_listed_by_prefix_in_order(store: &dyn RecordStore) {
    for (collection, name) in [
        ("ledger", "b/2"),
        ("ledger", "a/1"),
        ("ledger", "b/1"),
        ("ledgers", "b/3"),
        ("answers", "b/9"),
    ] {
        store.put(&key(collection, name), name.as_bytes()).unwrap();
    }
    let names = |collection, prefix| -> Vec<String> {
        store
            .list(collection, prefix)
            .unwrap()
            .iter()
            .map(|(key, _)| key.to_string())
            .collect()
    };
    assert_eq!(
        names("ledger", ""),
        ["ledger/a/1", "ledger/b/1", "ledger/b/2"]
    );
    assert_eq!(names("ledger", "b/"), ["ledger/b/1", "ledger/b/2"]);
    assert_eq!(names("nothing", ""), [""; 0]);
    assert_eq!(
        store.list("ledger", "a").unwrap(),
        [(key("ledger", "a/1"), b"a/1".to_vec())]
    );
}

fn what_is_too_large_is_refused_before_anything_changes<S: EventStore + RecordStore>(store: &S) {
    let job = stream("job/1");
    let large_event = [b"a".to_vec(), vec![0; MAX_EVENT_BYTES + 1]];
    assert_eq!(
        store
            .append(&job, Version::START, &large_event)
            .unwrap_err()
            .code(),
        "event_too_large"
    );
    let large = RecordChange::Put {
        key: key("state", "x"),
        value: vec![0; MAX_RECORD_BYTES + 1],
    };
    let refused = store
        .append_with(&job, Version::START, &[b"a".to_vec()], &[large])
        .unwrap_err();
    assert_eq!(refused.code(), "record_too_large");
    assert_eq!(store.version(&job).unwrap(), Version::START);
}

fn changes_apply_in_order(store: &dyn RecordStore) {
    let x = key("state", "x");
    let put = |value: &[u8]| RecordChange::Put {
        key: x.clone(),
        value: value.to_vec(),
    };
    let insert = |value: &[u8]| RecordChange::Insert {
        key: x.clone(),
        value: value.to_vec(),
    };
    let remove = RecordChange::Remove { key: x.clone() };
    store
        .change(&[put(b"1"), remove.clone(), insert(b"2")])
        .unwrap();
    assert_eq!(store.get(&x).unwrap(), Some(b"2".to_vec()));
    store.change(&[put(b"3"), remove]).unwrap();
    assert_eq!(store.get(&x).unwrap(), None);
    store.change(&[]).unwrap();
}

#[test]
fn what_was_appended_is_there_after_the_store_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let job = stream("job/1");
    for round in 0..5_u8 {
        let store = EmbeddedStore::open(&path).unwrap();
        assert_eq!(store.version(&job).unwrap(), Version(u64::from(round)));
        store
            .append(&job, Version(u64::from(round)), &[vec![round]])
            .unwrap();
    }
}

#[test]
fn a_store_that_another_has_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    let first = EmbeddedStore::open(&path).unwrap();
    assert_eq!(
        EmbeddedStore::open(&path).unwrap_err().code(),
        "store_in_use"
    );
    drop(first);
    EmbeddedStore::open(&path).unwrap();
}

#[test]
fn a_half_created_store_is_created_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(folder.path().join("events.creating"), b"half of a header").unwrap();
    EmbeddedStore::open(&path).unwrap();
    assert!(!folder.path().join("events.creating").exists());
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(&path, b"my thesis").unwrap();
    assert!(EmbeddedStore::open(&path).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"my thesis");
}

#[derive(Debug, Clone)]
enum Act {
    Append {
        stream: u8,
        wrong_by: u8,
        events: Vec<Vec<u8>>,
    },
    Put(u8, u8),
    Insert(u8, u8),
    Remove(u8),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let events = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4);
    prop_oneof![
        (0..3_u8, 0..2_u8, events).prop_map(|(stream, wrong_by, events)| Act::Append {
            stream,
            wrong_by,
            events
        }),
        (0..3_u8, 0..3_u8).prop_map(|(at, value)| Act::Put(at, value)),
        (0..3_u8, 0..3_u8).prop_map(|(at, value)| Act::Insert(at, value)),
        (0..3_u8).prop_map(Act::Remove),
        Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The memory store is the model.
    #[test]
    fn the_embedded_store_answers_as_the_memory_store_does(acts in prop::collection::vec(act(), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let model = MemoryStore::new();
        let mut store = EmbeddedStore::open(&path).unwrap();
        for act in acts {
            let change = match act {
                Act::Append { stream: id, wrong_by, events } => {
                    let id = stream(&format!("job/{id}"));
                    let expected = Version(model.version(&id).unwrap().0 + u64::from(wrong_by));
                    let answers = [model.append(&id, expected, &events), store.append(&id, expected, &events)];
                    let [modelled, stored] = answers.map(|answer| answer.map_err(|error| error.code()));
                    prop_assert_eq!(modelled, stored);
                    continue;
                }
                Act::Put(at, value) => RecordChange::Put { key: key("state", &at.to_string()), value: vec![value] },
                Act::Insert(at, value) => RecordChange::Insert { key: key("state", &at.to_string()), value: vec![value] },
                Act::Remove(at) => RecordChange::Remove { key: key("state", &at.to_string()) },
                Act::Reopen => {
                    drop(store);
                    store = EmbeddedStore::open(&path).unwrap();
                    continue;
                }
            };
            let changes = [change];
            let answers = [model.change(&changes), store.change(&changes)].map(|answer| answer.map_err(|error| error.code()));
            prop_assert_eq!(answers[0], answers[1]);
        }
        prop_assert_eq!(model.streams("").unwrap(), store.streams("").unwrap());
        for id in model.streams("").unwrap() {
            prop_assert_eq!(model.read(&id, Version::START).unwrap(), store.read(&id, Version::START).unwrap());
        }
        prop_assert_eq!(model.list("state", "").unwrap(), store.list("state", "").unwrap());
    }
}
