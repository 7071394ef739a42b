//! The law of sealed records: the same answers as plain ones, and of one moment or refused.

use consort_storage::{EmbeddedStore, MemoryStore};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;

fn state_key(byte: u8) -> Arc<StateKey> {
    Arc::new(StateKey::parse(&format!("{byte:02x}").repeat(32)).unwrap())
}

fn at(collection: &str, key: &str) -> RecordKey {
    RecordKey::new(collection, key).unwrap()
}

fn put(collection: &str, key: &str, value: &[u8]) -> RecordChange {
    RecordChange::Put {
        key: at(collection, key),
        value: value.to_vec(),
    }
}

fn opened(below: &Arc<MemoryStore>) -> Result<SealedRecords, SealedRecordsError> {
    SealedRecords::open(below.clone(), state_key(1), "clinic-1")
}

/// A ledger of five entries and one other record.
fn ledger() -> (Arc<MemoryStore>, SealedRecords) {
    let below = Arc::new(MemoryStore::new());
    let records = SealedRecords::create(below.clone(), state_key(1), "clinic-1").unwrap();
    for i in 0..5 {
        let entry = format!("entry {i}");
        let place = format!("records/{i:020}");
        let change = RecordChange::Insert {
            key: at("ledger", &place),
            value: entry.into_bytes(),
        };
        records.change(&[change]).unwrap();
    }
    records.change(&[put("answered", "job-1", b"3 1")]).unwrap();
    (below, records)
}

fn below_all(below: &MemoryStore) -> Vec<(RecordKey, Vec<u8>)> {
    below.list(COLLECTION, "").unwrap()
}

/// A copy of the store below in which something was done.
fn tampered(
    below: &MemoryStore,
    change: impl FnOnce(&mut Vec<(RecordKey, Vec<u8>)>),
) -> Arc<MemoryStore> {
    let mut records = below_all(below);
    change(&mut records);
    let copy = Arc::new(MemoryStore::new());
    for (key, value) in records {
        copy.put(&key, &value).unwrap();
    }
    copy
}

fn refusal(below: &Arc<MemoryStore>) -> &'static str {
    opened(below).err().expect("it opens").code()
}

fn contents(records: &dyn RecordStore) -> Vec<(RecordKey, Vec<u8>)> {
    ["a", "b"]
        .iter()
        .flat_map(|collection| records.list(collection, "").unwrap())
        .collect()
}

fn random_change(random: &mut ChaCha20Rng) -> RecordChange {
    let collection = ["a", "b"][usize::from(random.next_u32().is_multiple_of(2))];
    let key = at(collection, &format!("k{}", random.next_u32() % 4));
    let value = vec![(random.next_u32() % 3) as u8; (random.next_u32() % 40) as usize];
    match random.next_u32() % 3 {
        0 => RecordChange::Put { key, value },
        1 => RecordChange::Insert { key, value },
        _ => RecordChange::Remove { key },
    }
}

#[test]
fn sealed_records_answer_as_plain_ones_do_also_after_they_are_opened_again() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let (below, plain) = (Arc::new(MemoryStore::new()), MemoryStore::new());
        let mut sealed = SealedRecords::create(below.clone(), state_key(1), "clinic-1").unwrap();
        for _ in 0..60 {
            let changes: Vec<_> = (0..random.next_u32() % 4)
                .map(|_| random_change(&mut random))
                .collect();
            let (ours, theirs) = (sealed.change(&changes), plain.change(&changes));
            assert_eq!(ours.map_err(|e| e.code()), theirs.map_err(|e| e.code()));
            if random.next_u32().is_multiple_of(4) {
                sealed = opened(&below).unwrap();
            }
            assert_eq!(contents(&sealed), contents(&plain));
            for (key, value) in contents(&plain) {
                assert_eq!(sealed.get(&key).unwrap(), Some(value));
                let prefix = &key.key()[..1];
                assert_eq!(
                    sealed.list(key.collection(), prefix).unwrap(),
                    plain.list(key.collection(), prefix).unwrap()
                );
            }
        }
    }
}

#[test]
fn neither_names_nor_values_can_be_read_below() {
    let (below, _records) = ledger();
    for (key, value) in below_all(&below) {
        assert!(key.key() == HEAD || key.key().len() == 64, "{key}");
        for plain in [&b"entry"[..], b"records/", b"ledger", b"job-1"] {
            assert!(!value.windows(plain.len()).any(|part| part == plain));
        }
    }
}

#[test]
fn a_record_that_is_changed_moved_swapped_or_cut_is_refused() {
    let (below, _records) = ledger();
    let count = below_all(&below).len();
    assert_eq!(count, 7);
    for i in 0..count {
        let length = below_all(&below)[i].1.len();
        for byte in 0..length {
            let flipped = tampered(&below, |records| records[i].1[byte] ^= 1);
            assert_eq!(refusal(&flipped), "vault_sealed", "record {i} byte {byte}");
            let cut = tampered(&below, |records| records[i].1.truncate(byte));
            assert_eq!(refusal(&cut), "vault_sealed", "record {i} cut at {byte}");
        }
        for j in (0..count).filter(|j| *j != i) {
            let moved = tampered(&below, |records| records[i].1 = records[j].1.clone());
            assert_eq!(refusal(&moved), "vault_sealed", "{j} in the place of {i}");
            let swapped = tampered(&below, |records| {
                let (one, other) = (records[i].1.clone(), records[j].1.clone());
                (records[i].1, records[j].1) = (other, one);
            });
            assert_eq!(refusal(&swapped), "vault_sealed", "{i} and {j} swapped");
        }
    }
}

#[test]
fn a_record_that_is_left_out_or_added_is_refused() {
    let (below, _records) = ledger();
    for i in 0..below_all(&below).len() {
        let is_head = below_all(&below)[i].0.key() == HEAD;
        let dropped = tampered(&below, |records| drop(records.remove(i)));
        let expected = if is_head {
            "state_no_head"
        } else {
            "state_not_whole"
        };
        assert_eq!(refusal(&dropped), expected, "record {i}");
    }
    let emptied = tampered(&below, |records| {
        records.retain(|(key, _)| key.key() == HEAD);
    });
    assert_eq!(refusal(&emptied), "state_not_whole");
    let added = tampered(&below, |records| {
        records.push((place(&"0".repeat(64)), records[0].1.clone()));
    });
    assert_eq!(refusal(&added), "vault_sealed");
}

#[test]
fn a_record_or_a_head_of_another_moment_is_refused_and_a_whole_moment_opens() {
    let (below, records) = ledger();
    let before = below_all(&below);
    records.change(&[put("answered", "job-1", b"4 1")]).unwrap();
    let after = below_all(&below);
    let differing: Vec<usize> = (0..after.len())
        .filter(|i| before[*i].1 != after[*i].1)
        .collect();
    assert_eq!(differing.len(), 2, "the record and the head");
    for i in differing {
        let older = tampered(&below, |records| records[i].1 = before[i].1.clone());
        assert_eq!(refusal(&older), "state_not_whole", "record {i}");
    }
    // A running daemon notices too: the record is not of the moment that it was written in.
    let place = records.place_of(&at("answered", "job-1"));
    let older = before.iter().find(|(key, _)| *key == place).unwrap();
    below.put(&place, &older.1).unwrap();
    let fault = records.get(&at("answered", "job-1")).unwrap_err();
    assert_eq!(fault.code(), "store_damaged");
    let whole = tampered(&below, |records| *records = before);
    opened(&whole).unwrap();
}

#[test]
fn another_key_another_store_and_records_that_nobody_sealed_are_refused() {
    let (below, _records) = ledger();
    let open = |key, name| {
        let refused = SealedRecords::open(below.clone(), key, name);
        refused.err().expect("it opens").code()
    };
    assert_eq!(open(state_key(2), "clinic-1"), "vault_sealed");
    assert_eq!(open(state_key(1), "clinic-2"), "vault_sealed");
    let empty = Arc::new(MemoryStore::new());
    assert_eq!(refusal(&empty), "state_no_head");
    let plain = MemoryStore::new();
    SealedRecords::refuse_unsealed(&plain, &["ledger"]).unwrap();
    plain.put(&at("ledger", "x"), b"y").unwrap();
    let refused = SealedRecords::refuse_unsealed(&plain, &["answered", "ledger"]).unwrap_err();
    assert_eq!(refused.code(), "state_unsealed");
    assert!(refused.to_string().contains("ledger"), "{refused}");
}

#[test]
fn what_was_begun_is_not_begun_again() {
    let (below, _records) = ledger();
    let again = SealedRecords::create(below, state_key(1), "clinic-1").unwrap();
    assert_eq!(again.list("ledger", "").unwrap().len(), 5);
}

#[test]
fn a_value_that_would_not_fit_sealed_is_refused_and_the_largest_that_fits_is_kept() {
    let (below, records) = ledger();
    let long = "k".repeat(MAX_RECORD_KEY_BYTES);
    let most = vec![7; MAX_RECORD_BYTES - MOST_OVERHEAD];
    records.change(&[put("a", &long, &most)]).unwrap();
    let too_large = put("a", "k", &[most, vec![7]].concat());
    let refused = records.change(&[too_large]).unwrap_err();
    assert_eq!(refused.code(), "record_too_large");
    assert_eq!(opened(&below).unwrap().list("a", "").unwrap().len(), 1);
}

/// A write that stops at any half page: redb writes new pages beside old ones, and the page that names them last (two-phase commit).
/// And files that no crash leaves: new beside old in the other order, or cut. redb panics at some of those; a process that ends has
/// released nothing.
#[test]
fn a_torn_write_leaves_the_moment_before_and_any_other_damage_a_moment_or_nothing() {
    const PAGE: usize = 4096;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.redb");
    let entry = |i: u64| format!("entry {i}").into_bytes();
    // Read while the store is open, as a crash would leave it.
    let below = Arc::new(EmbeddedStore::open(&file).unwrap());
    let records = SealedRecords::create(below, state_key(1), "clinic-1").unwrap();
    let write = |i| {
        let change = put("ledger", &format!("records/{i:020}"), &entry(i));
        records.change(&[change]).unwrap();
        std::fs::read(&file).unwrap()
    };
    let (before, after) = (write(0), write(1));
    assert_eq!(before.len(), after.len(), "nothing grew");
    let torn = folder.path().join("torn.redb");
    let moment = |bytes: &[u8]| {
        std::fs::write(&torn, bytes).unwrap();
        let opened = || {
            let below = EmbeddedStore::open(&torn).ok()?;
            let records = SealedRecords::open(Arc::new(below), state_key(1), "clinic-1").ok()?;
            let ledger = records.list("ledger", "").unwrap();
            let expected = (0..).map(entry).take(ledger.len());
            assert!(expected.eq(ledger.iter().map(|(_, value)| value.clone())));
            Some(ledger.len())
        };
        std::panic::catch_unwind(opened).unwrap_or(None)
    };
    assert_eq!((moment(&before), moment(&after)), (Some(1), Some(2)));
    let differs = |at: &usize| before[*at..].iter().zip(&after[*at..]).any(|(a, b)| a != b);
    let steps = || (PAGE..=after.len()).step_by(PAGE / 2).take_while(differs);
    assert!(steps().count() > 2, "the write has several pages");
    for written in steps() {
        let bytes = [&before[..PAGE], &after[PAGE..written], &before[written..]].concat();
        assert_eq!(moment(&bytes), Some(1), "torn at {written}");
    }
    for at in steps() {
        for bytes in [[&after[..at], &before[at..]].concat(), after[..at].to_vec()] {
            let found = moment(&bytes);
            assert!(matches!(found, None | Some(1 | 2)), "{at}: {found:?}");
        }
    }
}

#[test]
fn two_changes_of_one_number_after_a_restored_copy_do_not_stand_in_for_each_other() {
    let (below, _) = ledger();
    let place = "records/00000000000000000005";
    // Two histories go on from one copy: both write their next entry by a change of one number, at one place.
    let branch = |entry: &[u8]| {
        let copy = tampered(&below, |_| {});
        let records = opened(&copy).unwrap();
        records.change(&[put("ledger", place, entry)]).unwrap();
        (copy, records)
    };
    let (one, _) = branch(b"1.0 of the budget");
    let (other, records) = branch(b"0.1 of the budget");
    let changed_in = |copy: &MemoryStore| {
        let before = below_all(&below);
        let mut changed = below_all(copy);
        changed.retain(|record| record.0.key() != HEAD && !before.contains(record));
        let [(key, value)] = <[_; 1]>::try_from(changed).unwrap();
        (key, value)
    };
    let ((from, spent), (to, _)) = (changed_in(&one), changed_in(&other));
    assert_eq!(from, to);
    other.put(&to, &spent).unwrap();
    assert!(records.get(&at("ledger", place)).is_err());
    let refused = opened(&other).err().unwrap();
    assert_eq!(refused.code(), "state_not_whole");
}
