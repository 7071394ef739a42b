//! The law of the blob store, and what the local files promise across a restart.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use consort_storage::{BlobKey, BlobStore, LocalBlobs};

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
    store.remove(&key("large")).unwrap();
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
