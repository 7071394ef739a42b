use consort_aggregation::Width;
use consort_storage::LocalBlobs;

use super::*;

/// Three chunks, the last one of five bytes of which the last uses one bit.
const ELEMENTS: u64 = 599_191;

fn schema() -> VectorSchema {
    let schema = VectorSchema::new(ELEMENTS, Width::new(7).unwrap()).unwrap();
    assert_eq!(schema.packed_len(), 2 * CHUNK_BYTES as u64 + 5);
    schema
}

fn vector() -> Vec<u8> {
    let length = usize::try_from(schema().packed_len()).unwrap();
    let mut vector: Vec<u8> = (0..=250).cycle().take(length).collect();
    vector[length - 1] = 1;
    vector
}

fn chunks(vector: &[u8]) -> Vec<&[u8]> {
    vector.chunks(CHUNK_BYTES).collect()
}

fn tree_hash(vector: &[u8]) -> Digest {
    let mut tree = ChunkTree::new();
    chunks(vector)
        .into_iter()
        .for_each(|chunk| tree.push(chunk));
    tree.root()
}

fn blob() -> BlobKey {
    BlobKey::new("updates/job-1/1/1/2").unwrap()
}

/// A store, and uploads into it.
struct Disk {
    _folder: tempfile::TempDir,
    blobs: Arc<LocalBlobs>,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(LocalBlobs::open(folder.path()).unwrap());
        Self {
            _folder: folder,
            blobs,
        }
    }

    /// The same upload as a process that was just started sees it.
    fn upload(&self) -> Upload {
        Upload::new(self.blobs.clone(), blob(), schema())
    }

    fn stored(&self) -> Option<Vec<u8>> {
        self.blobs.read(&blob(), u64::MAX).ok()
    }
}

fn code<T: std::fmt::Debug>(taken: Result<T, UploadError>) -> &'static str {
    match taken {
        Err(UploadError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn chunks_in_order_and_their_seal_make_a_blob_and_a_repeat_of_all_of_it_changes_nothing() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    for _ in 0..2 {
        for (index, chunk) in (0..).zip(chunks(&vector)) {
            upload.chunk(index, chunk).unwrap();
        }
        upload.seal(&tree_hash(&vector)).unwrap();
        assert_eq!(disk.stored().unwrap(), vector);
        assert_eq!(upload.progress().unwrap().next_chunk, 3);
    }
    assert_eq!(disk.blobs.spools("").unwrap(), []);
}

#[test]
fn a_gap_is_refused_with_the_chunk_that_is_expected_and_changes_nothing() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    let chunks = chunks(&vector);
    assert_eq!(code(upload.chunk(1, chunks[1])), "update_gap");
    upload.chunk(0, chunks[0]).unwrap();
    let refused = upload.chunk(2, chunks[2]).unwrap_err();
    assert!(
        refused.to_string().contains("chunk 1 is expected"),
        "{refused}"
    );
    assert_eq!(upload.progress().unwrap().next_chunk, 1);
    upload.chunk(1, chunks[1]).unwrap();
    upload.chunk(2, chunks[2]).unwrap();
    upload.seal(&tree_hash(&vector)).unwrap();
}

/// Obeys C6. Breaks C6.
#[test]
fn a_chunk_that_comes_again_with_other_bytes_is_equivocation_before_and_after_the_seal() {
    let (disk, vector) = (Disk::new(), vector());
    let mut other = vector.clone();
    other[CHUNK_BYTES] ^= 1;
    let upload = disk.upload();
    let (chunks, others) = (chunks(&vector), chunks(&other));
    upload.chunk(0, chunks[0]).unwrap();
    upload.chunk(1, chunks[1]).unwrap();
    upload.chunk(0, chunks[0]).unwrap();
    assert_eq!(code(upload.chunk(1, others[1])), "update_equivocation");
    upload.chunk(2, chunks[2]).unwrap();
    assert_eq!(code(upload.seal(&tree_hash(&other))), "update_tree_hash");
    assert_eq!(disk.stored(), None);
    upload.seal(&tree_hash(&vector)).unwrap();
    assert_eq!(code(upload.chunk(1, others[1])), "update_equivocation");
    assert_eq!(code(upload.seal(&tree_hash(&other))), "update_tree_hash");
    assert_eq!(disk.stored().unwrap(), vector);
}

#[test]
fn a_truncated_update_is_not_sealed_and_is_no_blob() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    for (index, chunk) in (0..2).zip(chunks(&vector)) {
        upload.chunk(index, chunk).unwrap();
    }
    let sealed_part = tree_hash(&vector[..2 * CHUNK_BYTES]);
    assert_eq!(code(upload.seal(&sealed_part)), "update_incomplete");
    assert_eq!(code(upload.seal(&tree_hash(&vector))), "update_incomplete");
    assert_eq!(disk.stored(), None);
    assert!(disk.blobs.list("").unwrap().is_empty());
}

#[test]
fn chunks_of_another_length_after_the_end_or_with_unused_bits_are_refused() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    let chunks = chunks(&vector);
    assert_eq!(
        code(upload.chunk(0, &chunks[0][1..])),
        "update_chunk_length"
    );
    assert_eq!(code(upload.chunk(0, &[])), "update_chunk_length");
    upload.chunk(0, chunks[0]).unwrap();
    upload.chunk(1, chunks[1]).unwrap();
    assert_eq!(code(upload.chunk(2, chunks[0])), "update_chunk_length");
    assert_eq!(
        code(upload.chunk(2, &[0, 0, 0, 0, 2])),
        "update_unused_bits"
    );
    upload.chunk(2, chunks[2]).unwrap();
    assert_eq!(code(upload.chunk(3, chunks[2])), "update_too_long");
    assert_eq!(code(upload.chunk(u64::MAX, chunks[2])), "update_gap");
}

#[test]
fn an_upload_goes_on_after_a_restart_wherever_it_was_and_still_knows_its_chunks() {
    let vector = vector();
    let mut other = vector.clone();
    other[0] ^= 1;
    for before in 0..=3 {
        let disk = Disk::new();
        let upload = disk.upload();
        for (index, chunk) in (0..before).zip(chunks(&vector)) {
            upload.chunk(index, chunk).unwrap();
        }
        drop(upload);
        let upload = disk.upload();
        assert_eq!(upload.progress().unwrap().next_chunk, before);
        if before > 0 {
            let changed = upload.chunk(0, chunks(&other)[0]);
            assert_eq!(code(changed), "update_equivocation");
        }
        let first = usize::try_from(before).unwrap();
        for (index, chunk) in (before..).zip(&chunks(&vector)[first..]) {
            upload.chunk(index, chunk).unwrap();
        }
        upload.seal(&tree_hash(&vector)).unwrap();
        // The process dies before the seal is stored as an event: only the seal is wanted again.
        drop(upload);
        let upload = disk.upload();
        assert_eq!(upload.progress().unwrap().next_chunk, 3);
        let changed = upload.chunk(0, chunks(&other)[0]);
        assert_eq!(code(changed), "update_equivocation");
        upload.seal(&tree_hash(&vector)).unwrap();
        assert_eq!(disk.stored().unwrap(), vector);
    }
}

#[test]
fn a_member_sends_its_budget_and_not_a_byte_more() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    let chunk = chunks(&vector)[0];
    let budget = upload.progress().unwrap().bytes_left;
    assert_eq!(budget, 4 * schema().packed_len() + 64 * CHUNK_BYTES as u64);
    for sent in 1..=budget / CHUNK_BYTES as u64 {
        upload.chunk(0, chunk).unwrap();
        let left = upload.progress().unwrap().bytes_left;
        assert_eq!(left, budget - sent * CHUNK_BYTES as u64);
    }
    assert_eq!(code(upload.chunk(0, chunk)), "update_budget");
    assert_eq!(code(upload.chunk(1, chunks(&vector)[1])), "update_budget");
    assert_eq!(upload.progress().unwrap().next_chunk, 1);
}

#[test]
fn a_closed_upload_takes_nothing_and_leaves_no_trace() {
    let (disk, vector) = (Disk::new(), vector());
    let upload = disk.upload();
    upload.chunk(0, chunks(&vector)[0]).unwrap();
    assert_eq!(disk.blobs.spools("").unwrap(), [blob()]);
    upload.close().unwrap();
    assert_eq!(disk.blobs.spools("").unwrap(), []);
    for refused in [
        upload.chunk(1, chunks(&vector)[1]),
        upload.seal(&tree_hash(&vector)),
        upload.progress().map(drop),
    ] {
        assert_eq!(code(refused), "attempt_not_running");
    }
    assert_eq!(disk.upload().progress().unwrap().next_chunk, 0);
}
