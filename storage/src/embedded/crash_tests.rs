//! Every operation on the disk is a crash point: whatever the disk kept of what was not synced, the store opens again
//! with each acknowledged append whole, and the interrupted one whole or absent.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::{Builder, StorageBackend};

use super::*;

/// Appends in one life of the store.
const APPENDS: u64 = 12;
/// Images of the disk for each crash point: all unsynced writes lost, all kept, and seeded mixtures.
const IMAGES_PER_POINT: u64 = 24;

#[derive(Debug, Clone)]
enum Operation {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    journal: Vec<Operation>,
    syncs_until_failure: Option<u64>,
}

/// A disk in memory that remembers each operation.
#[derive(Debug, Default, Clone)]
struct JournalDisk(Arc<Mutex<Disk>>);

impl JournalDisk {
    fn with_image(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            bytes,
            ..Disk::default()
        })))
    }

    fn perform(&self, operation: Operation) {
        let mut disk = self.0.lock().unwrap();
        apply(&mut disk.bytes, &operation);
        disk.journal.push(operation);
    }

    fn operations(&self) -> usize {
        self.0.lock().unwrap().journal.len()
    }
}

impl StorageBackend for JournalDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let source = disk.bytes.get(start..start + out.len());
        out.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.perform(Operation::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        match disk.syncs_until_failure.as_mut() {
            Some(0) => return Err(io::Error::other("injected")),
            Some(left) => *left -= 1,
            None => {}
        }
        disk.journal.push(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.perform(Operation::Write {
            offset,
            data: data.to_vec(),
        });
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write { offset, data } => {
            let start = usize::try_from(*offset).unwrap();
            if bytes.len() < start + data.len() {
                bytes.resize(start + data.len(), 0);
            }
            bytes[start..start + data.len()].copy_from_slice(data);
        }
        Operation::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Operation::Sync => {}
    }
}

/// SplitMix64 (Steele et al., OOPSLA 2014): enough to choose which writes survive.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The disk as a crash may leave it: `synced`, and of `unsynced` nothing (image 0), all (1), or some writes, some torn.
fn image_after(synced: &[u8], unsynced: &[Operation], image: u64, seed: u64) -> Vec<u8> {
    let mut bytes = synced.to_vec();
    let mut random = seed;
    for operation in unsynced {
        let choice = match image {
            0 => 0,
            1 => 1,
            _ => next_random(&mut random) % 3,
        };
        match (choice, operation) {
            (0, _) => {}
            (2, Operation::Write { offset, data }) => {
                // A sector reaches the disk or does not; what tears is a write of several (512 bytes each).
                let sectors = data.len() as u64 / 512;
                let kept = next_random(&mut random) % (sectors + 1) * 512;
                let data = data[..usize::try_from(kept).unwrap()].to_vec();
                apply(
                    &mut bytes,
                    &Operation::Write {
                        offset: *offset,
                        data,
                    },
                );
            }
            (_, operation) => apply(&mut bytes, operation),
        }
    }
    bytes
}

fn open_on(disk: &JournalDisk) -> Result<EmbeddedStore, OpenError> {
    let path = Path::new("simulated");
    let opened = Builder::new().create_with_backend(disk.clone());
    EmbeddedStore::with_database(path, opened.map_err(|error| open_error(path, error))?, None)
}

fn new_store(disk: &JournalDisk) -> EmbeddedStore {
    let database = Builder::new().create_with_backend(disk.clone()).unwrap();
    initialise(&database).unwrap();
    EmbeddedStore::with_database(Path::new("simulated"), database, None).unwrap()
}

fn stream() -> StreamId {
    StreamId::new("job/1").unwrap()
}

fn counter() -> RecordKey {
    RecordKey::new("state", "counter").unwrap()
}

/// The n-th append: three events and a record that counts them, some events larger than a page.
fn append_number(store: &EmbeddedStore, number: u64) -> Result<Version, AppendError> {
    let size = usize::try_from(number % 3 * 5_000 + 10).unwrap();
    let events = [vec![u8::try_from(number).unwrap(); size], vec![1], vec![2]];
    let change = RecordChange::Put {
        key: counter(),
        value: (number + 1).to_be_bytes().to_vec(),
    };
    store.append_with(&stream(), Version(number * 3), &events, &[change])
}

/// How many appends the store holds, having checked that each is whole and its record with it.
fn whole_appends(store: &EmbeddedStore) -> u64 {
    let events = store.read(&stream(), Version::START).unwrap();
    assert_eq!(events.len() % 3, 0, "an append is there in part");
    let appends = events.len() as u64 / 3;
    for (number, event) in (0..appends).zip(events.iter().step_by(3)) {
        assert!(
            event.bytes.iter().all(|byte| u64::from(*byte) == number),
            "append {number} is mixed up"
        );
    }
    let counted = store.get(&counter()).unwrap().unwrap_or_else(|| vec![0; 8]);
    assert_eq!(
        counted,
        appends.to_be_bytes(),
        "the record and the events disagree"
    );
    appends
}

#[test]
fn after_a_crash_at_any_operation_acknowledged_appends_are_whole() {
    let disk = JournalDisk::default();
    let store = new_store(&disk);
    let first_point = disk.operations();
    let mut acknowledged_at = Vec::new();
    for number in 0..APPENDS {
        append_number(&store, number).unwrap();
        acknowledged_at.push(disk.operations());
    }
    drop(store);
    let journal = disk.0.lock().unwrap().journal.clone();

    let (mut synced, mut unsynced_from) = (Vec::new(), 0);
    let mut images = 0;
    for point in 0..=journal.len() {
        if point >= first_point {
            let acknowledged = acknowledged_at.iter().filter(|at| **at <= point).count() as u64;
            for image in 0..IMAGES_PER_POINT {
                let seed = point as u64 * IMAGES_PER_POINT + image;
                let bytes = image_after(&synced, &journal[unsynced_from..point], image, seed);
                let reopened = open_on(&JournalDisk::with_image(bytes));
                let store = reopened
                    .unwrap_or_else(|error| panic!("point {point}, seed {seed}: {error:?}"));
                let found = whole_appends(&store);
                assert!(
                    found == acknowledged || found == acknowledged + 1,
                    "point {point}, seed {seed}: {found} appends found, {acknowledged} acknowledged"
                );
                append_number(&store, found).unwrap();
                assert_eq!(whole_appends(&store), found + 1);
                images += 1;
            }
        }
        if let Some(Operation::Sync) = journal.get(point) {
            for operation in &journal[unsynced_from..point] {
                apply(&mut synced, operation);
            }
            unsynced_from = point + 1;
        }
    }
    assert!(images > 4_000, "only {images} images were tried");
}

#[test]
fn after_a_failed_fsync_the_store_answers_nothing_until_it_is_reopened() {
    for syncs in 0..4 {
        let disk = JournalDisk::default();
        let store = new_store(&disk);
        append_number(&store, 0).unwrap();
        disk.0.lock().unwrap().syncs_until_failure = Some(syncs);
        let mut acknowledged = 1;
        while append_number(&store, acknowledged).is_ok() {
            acknowledged += 1;
        }
        disk.0.lock().unwrap().syncs_until_failure = None;
        assert_eq!(
            append_number(&store, acknowledged).unwrap_err().code(),
            "store_stopped"
        );
        assert_eq!(
            store.read(&stream(), Version::START).unwrap_err().code(),
            "store_stopped"
        );
        assert_eq!(
            store.put(&counter(), b"x").unwrap_err().code(),
            "store_stopped"
        );
        drop(store);

        let bytes = disk.0.lock().unwrap().bytes.clone();
        let found = whole_appends(&open_on(&JournalDisk::with_image(bytes)).unwrap());
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} of {acknowledged} appends after {syncs} syncs"
        );
    }
}

#[test]
fn a_store_of_another_format_is_refused() {
    let disk = JournalDisk::default();
    let store = new_store(&disk);
    let transaction = store.database.begin_write().unwrap();
    transaction
        .open_table(META)
        .unwrap()
        .insert(FORMAT_KEY, FORMAT + 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(store);
    assert_eq!(open_on(&disk).unwrap_err().code(), "store_format");
}
