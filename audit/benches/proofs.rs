//! What it costs to check a proof offline, from the text of the file on: the checkpoints' signatures, the hashes, the entry.
//!
//! `cargo bench -p consort-audit --bench proofs [-- ENTRIES [PROOFS]]`: 10^6 entries and 1 000 proofs of each kind unless told;
//! the mean and the slowest are printed. The program ends with a failure when one takes more than 5 ms.
#![expect(clippy::unwrap_used, reason = "a measurement that fails may panic")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use consort_audit::{
    Checkpoint, ConsistencyProof, Event, Fact, InclusionProof, MerkleTree, NoteSigner,
    NoteVerifier, ProofFile, SignedNote, Text, leaf_hash,
};
use ed25519_dalek::SigningKey;

/// What a check may take (issue 6).
const LIMIT: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let (entries, proofs) = (number(0, 1_000_000), number(1, 1_000));
    let signer = NoteSigner::new("demo/audit", SigningKey::from_bytes(&[1; 32])).unwrap();
    let started = Instant::now();
    let mut tree = MerkleTree::new();
    for index in 0..entries {
        tree.push(leaf_hash(entry(index).as_bytes()));
    }
    println!(
        "a tree of {entries} entries: {:.2} s",
        started.elapsed().as_secs_f64()
    );
    let note = |size: u64| -> SignedNote {
        let (origin, root) = ("demo/audit".to_owned(), tree.root_at(size).unwrap());
        Checkpoint { origin, size, root }.sign(&signer).unwrap()
    };
    // Spread over the log by a step that has no factor in common with usual sizes.
    let places = |salt: u64| (0..proofs).map(move |i| (i * 7_919 + salt) * 104_729 % entries);
    let inclusion = places(1).map(|index| {
        let hashes = tree.inclusion_proof(index, entries).unwrap();
        let (entry, checkpoint) = (entry(index).into_bytes(), note(entries));
        ProofFile::Inclusion(InclusionProof {
            index,
            entry,
            hashes,
            checkpoint,
        })
    });
    let consistency = places(2).map(|size| {
        let hashes = tree.consistency_proof(size, entries).unwrap();
        ProofFile::Consistency(ConsistencyProof {
            hashes,
            old: note(size),
            new: note(entries),
        })
    });
    let within = [
        measured("inclusion", inclusion, signer.verifier()),
        measured("consistency", consistency, signer.verifier()),
    ];
    if within.iter().all(|within| *within) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn entry(index: u64) -> String {
    let build = Text::new(format!("entry {index}")).unwrap();
    let event = Event::CoordinatorRestarted {
        build,
        log_size: index,
        dangerous: Vec::new(),
    };
    Fact::of_consortium(event).at(index).to_line().unwrap()
}

fn measured(what: &str, proofs: impl Iterator<Item = ProofFile>, key: &NoteVerifier) -> bool {
    let files: Vec<String> = proofs.map(|proof| proof.to_string()).collect();
    let (mut all, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for file in &files {
        let started = Instant::now();
        match file.parse().unwrap() {
            ProofFile::Inclusion(proof) => drop(proof.verify(key).unwrap()),
            ProofFile::Consistency(proof) => drop(proof.verify(key).unwrap()),
        }
        let took = started.elapsed();
        all += took;
        slowest = slowest.max(took);
    }
    let count = u32::try_from(files.len()).unwrap().max(1);
    let bytes = files.iter().map(String::len).max().unwrap_or_default();
    println!(
        "{what}: mean {:?}, slowest {slowest:?}, largest file {bytes} bytes",
        all / count
    );
    slowest <= LIMIT
}
