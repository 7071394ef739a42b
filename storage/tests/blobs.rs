//! The law of the blob store, and what the local files promise across a restart.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use consort_storage::{BlobKey, BlobSpool, BlobStore, LocalBlobs, MARK_BYTES};

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

fn store_blob(store: &dyn BlobStore, at: &str, chunks: &[&[u8]]) {
    let mut writer = store.begin(&key(at)).unwrap();
    for chunk in chunks {
        writer.write(chunk).unwrap();
    }
    let expected: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    assert_eq!(writer.finish().unwrap(), expected as u64);
}

/// The law: each implementation is run through it with an empty store.
fn obeys_the_law(store: &dyn BlobStore) {
    a_blob_is_visible_when_whole_and_not_before(store);
    a_blob_does_not_change(store);
    a_dropped_writer_leaves_no_trace(store);
    of_two_writers_the_first_to_finish_wins(store);
    a_key_and_keys_below_it_live_together(store);
    blobs_are_listed_by_prefix_in_order(store);
    a_blob_larger_than_allowed_is_not_read(store);
    a_part_of_a_blob_is_read_and_none_beyond_its_end(store);
    a_spool_goes_on_where_it_was_dropped_and_is_a_blob_when_finished(store);
    a_key_has_one_spool_at_a_time(store);
    a_removed_spool_starts_anew_and_cannot_be_finished(store);
}

fn a_blob_is_visible_when_whole_and_not_before(store: &dyn BlobStore) {
    let at = key("visible/1");
    let mut writer = store.begin(&at).unwrap();
    assert_eq!(writer.write(b"one ").unwrap(), 4);
    assert_eq!(writer.write(b"two").unwrap(), 7);
    assert_eq!(store.length(&at).unwrap(), None);
    assert_eq!(store.open(&at).err().unwrap().code(), "blob_missing");
    assert_eq!(store.list("visible").unwrap(), []);
    assert_eq!(writer.finish().unwrap(), 7);
    assert_eq!(store.read(&at, 7).unwrap(), b"one two");
    let mut reader = store.open(&at).unwrap();
    reader.seek(SeekFrom::Start(4)).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two");
    assert!(store.remove(&at).unwrap());
    assert!(!store.remove(&at).unwrap());
    assert_eq!(store.length(&at).unwrap(), None);
}

fn a_blob_does_not_change(store: &dyn BlobStore) {
    store_blob(store, "same", &[b"x"]);
    assert_eq!(
        store.begin(&key("same")).err().unwrap().code(),
        "blob_exists"
    );
    assert_eq!(store.read(&key("same"), 1).unwrap(), b"x");
    store.remove(&key("same")).unwrap();
}

fn a_dropped_writer_leaves_no_trace(store: &dyn BlobStore) {
    let mut writer = store.begin(&key("dropped")).unwrap();
    writer.write(b"x").unwrap();
    drop(writer);
    assert_eq!(store.length(&key("dropped")).unwrap(), None);
    store_blob(store, "dropped", &[]);
    assert_eq!(store.read(&key("dropped"), 0).unwrap(), b"");
    store.remove(&key("dropped")).unwrap();
}

fn of_two_writers_the_first_to_finish_wins(store: &dyn BlobStore) {
    let mut first = store.begin(&key("race")).unwrap();
    let mut second = store.begin(&key("race")).unwrap();
    first.write(b"first").unwrap();
    second.write(b"second").unwrap();
    second.finish().unwrap();
    assert_eq!(first.finish().unwrap_err().code(), "blob_exists");
    assert_eq!(store.read(&key("race"), 100).unwrap(), b"second");
    store.remove(&key("race")).unwrap();
}

fn a_key_and_keys_below_it_live_together(store: &dyn BlobStore) {
    store_blob(store, "a/b", &[b"below"]);
    store_blob(store, "a", &[b"above"]);
    assert_eq!(store.read(&key("a"), 100).unwrap(), b"above");
    assert_eq!(store.length(&key("a/b/c")).unwrap(), None);
    store.remove(&key("a/b")).unwrap();
    assert_eq!(store.list("a").unwrap(), [key("a")]);
    store.remove(&key("a")).unwrap();
}

fn blobs_are_listed_by_prefix_in_order(store: &dyn BlobStore) {
    for at in ["up/2/b", "up/10/a", "up/2/a", "upper", "model"] {
        store_blob(store, at, &[b"x"]);
    }
    let listed = |prefix| -> Vec<String> {
        store
            .list(prefix)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(listed("up/"), ["up/10/a", "up/2/a", "up/2/b"]);
    assert_eq!(listed("up/2/"), ["up/2/a", "up/2/b"]);
    assert_eq!(listed("up"), ["up/10/a", "up/2/a", "up/2/b", "upper"]);
    assert_eq!(listed("../"), [""; 0]);
    for at in store.list("").unwrap() {
        store.remove(&at).unwrap();
    }
    assert_eq!(listed(""), [""; 0]);
}

fn a_blob_larger_than_allowed_is_not_read(store: &dyn BlobStore) {
    store_blob(store, "large", &[&[0; 100]]);
    assert_eq!(
        store.read(&key("large"), 99).unwrap_err().code(),
        "blob_too_large"
    );
    assert_eq!(store.read(&key("large"), 100).unwrap().len(), 100);
    let mut lengths = Vec::new();
    let read = store.read_pieces(&key("large"), 30, &mut |piece| lengths.push(piece.len()));
    assert_eq!((read.unwrap(), lengths), (100, vec![30, 30, 30, 10]));
    store.remove(&key("large")).unwrap();
}

fn a_part_of_a_blob_is_read_and_none_beyond_its_end(store: &dyn BlobStore) {
    store_blob(store, "parts", &[b"01234", b"56789"]);
    let mut part = [0; 4];
    store.read_at(&key("parts"), 3, &mut part).unwrap();
    assert_eq!(&part, b"3456");
    store.read_at(&key("parts"), 6, &mut part).unwrap();
    assert_eq!(&part, b"6789");
    for beyond in [7, 10, u64::MAX] {
        assert!(store.read_at(&key("parts"), beyond, &mut part).is_err());
    }
    let missing = store.read_at(&key("no-parts"), 0, &mut part).unwrap_err();
    assert_eq!(missing.code(), "blob_missing");
    store.remove(&key("parts")).unwrap();
}

/// A mark for these tests: length and sum of the bytes, with a place for each.
fn mark(frame: &[u8]) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    for (i, byte) in frame.iter().enumerate() {
        mark[i % MARK_BYTES] ^= byte.wrapping_add(1);
    }
    mark
}

fn append(spool: &mut Box<dyn BlobSpool>, frame: &[u8]) {
    spool.append(frame, mark(frame)).unwrap();
}

fn a_spool_goes_on_where_it_was_dropped_and_is_a_blob_when_finished(store: &dyn BlobStore) {
    let at = key("spooled/1");
    let mut spool = store.spool(&at, mark).unwrap();
    append(&mut spool, b"one ");
    drop(spool);
    assert_eq!(store.length(&at).unwrap(), None);
    assert_eq!(store.spools("spooled/").unwrap(), std::slice::from_ref(&at));
    let mut spool = store.spool(&at, mark).unwrap();
    assert_eq!(
        (spool.marks(), spool.bytes()),
        ([mark(b"one ")].as_slice(), 4)
    );
    append(&mut spool, b"two");
    spool.sync().unwrap();
    append(&mut spool, b"!");
    assert_eq!(spool.finish().unwrap(), 8);
    assert_eq!(store.read(&at, 8).unwrap(), b"one two!");
    assert_eq!(store.spools("").unwrap(), []);
    assert_eq!(store.spool(&at, mark).err().unwrap().code(), "blob_exists");
    assert!(!store.remove_spool(&at).unwrap());
    store.remove(&at).unwrap();
}

fn a_key_has_one_spool_at_a_time(store: &dyn BlobStore) {
    let first = store.spool(&key("alone"), mark).unwrap();
    let second = store.spool(&key("alone"), mark);
    assert_eq!(second.err().unwrap().code(), "blob_spooling");
    drop(first);
    store.spool(&key("alone"), mark).unwrap();
    assert!(store.remove_spool(&key("alone")).unwrap());
}

fn a_removed_spool_starts_anew_and_cannot_be_finished(store: &dyn BlobStore) {
    let at = key("gone/1");
    let mut spool = store.spool(&at, mark).unwrap();
    append(&mut spool, b"x");
    assert!(store.remove_spool(&at).unwrap());
    assert_eq!(spool.finish().unwrap_err().code(), "blob_missing");
    let mut spool = store.spool(&at, mark).unwrap();
    assert!(spool.marks().is_empty());
    assert!(
        spool.append(b"", mark(b"")).is_err(),
        "an empty frame says nothing"
    );
    drop(spool);
    assert!(store.remove_spool(&at).unwrap());
}

fn files_below(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn local_files_obey_the_law_of_blobs() {
    let folder = tempfile::tempdir().unwrap();
    obeys_the_law(&LocalBlobs::open(folder.path()).unwrap());
    assert_eq!(files_below(&folder.path().join("partial")), 0);
    assert_eq!(files_below(&folder.path().join("finished")), 0);
    assert_eq!(files_below(&folder.path().join("spool")), 0);
}

#[test]
fn a_half_written_blob_is_gone_after_a_restart_and_a_finished_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalBlobs::open(folder.path()).unwrap();
    store_blob(&store, "up/1", &[b"whole"]);
    drop(store);
    // What a process killed in mid-upload leaves.
    fs::write(folder.path().join("partial/0"), b"half").unwrap();
    let store = LocalBlobs::open(folder.path()).unwrap();
    assert_eq!(files_below(&folder.path().join("partial")), 0);
    assert_eq!(store.list("").unwrap(), [key("up/1")]);
    store_blob(&store, "up/2", &[b"next"]);
}

#[test]
fn a_blob_store_that_another_has_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = LocalBlobs::open(folder.path()).unwrap();
    assert_eq!(
        LocalBlobs::open(folder.path()).unwrap_err().code(),
        "store_in_use"
    );
    drop(first);
    LocalBlobs::open(folder.path()).unwrap();
}

/// What three spooled frames leave in the two files.
fn spooled() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalBlobs::open(folder.path()).unwrap();
    let mut spool = store.spool(&key("up/1"), mark).unwrap();
    for frame in [b"aaaa", b"bbbb", b"cccc"] {
        append(&mut spool, frame);
    }
    let read = |name| fs::read(folder.path().join("spool/up").join(name)).unwrap();
    (read("1~"), read("1~marks"))
}

/// A store, and a way to leave files in its spool as a power cut would.
struct Cut {
    folder: tempfile::TempDir,
    store: LocalBlobs,
    cases: usize,
}

impl Cut {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalBlobs::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("spool/cut")).unwrap();
        Self {
            folder,
            store,
            cases: 0,
        }
    }

    fn leave(&mut self, data: &[u8], records: &[u8]) -> BlobKey {
        self.cases += 1;
        let spool = self.folder.path().join("spool/cut");
        fs::write(spool.join(format!("{}~", self.cases)), data).unwrap();
        fs::write(spool.join(format!("{}~marks", self.cases)), records).unwrap();
        key(&format!("cut/{}", self.cases))
    }
}

#[test]
fn after_a_power_cut_a_spool_goes_on_after_the_last_frame_that_is_whole_in_both_files() {
    let (data, records) = spooled();
    let mut cut = Cut::new();
    for data_bytes in 0..=data.len() {
        for record_bytes in 0..=records.len() {
            let at = cut.leave(&data[..data_bytes], &records[..record_bytes]);
            let whole = (data_bytes / 4).min(record_bytes / 36);
            let mut spool = cut.store.spool(&at, mark).unwrap();
            assert_eq!(
                (spool.marks().len(), spool.bytes()),
                (whole, 4 * whole as u64)
            );
            append(&mut spool, b"next");
            drop(spool);
            let spool = cut.store.spool(&at, mark).unwrap();
            assert_eq!(spool.marks().last(), Some(&mark(b"next")));
            assert_eq!(spool.marks().len(), whole + 1);
        }
    }
}

#[test]
fn a_flipped_bit_of_a_spool_costs_its_frame_and_the_later_ones_and_never_a_panic() {
    let (data, records) = spooled();
    let mut cut = Cut::new();
    for place in 0..data.len() + records.len() {
        let (mut data, mut records) = (data.clone(), records.clone());
        let frame = match place.checked_sub(data.len()) {
            None => {
                data[place] ^= 0x40;
                place / 4
            }
            Some(place) => {
                records[place] ^= 0x40;
                place / 36
            }
        };
        let at = cut.leave(&data, &records);
        let spool = cut.store.spool(&at, mark).unwrap();
        assert_eq!(spool.marks().len(), frame, "byte {place}");
    }
}
