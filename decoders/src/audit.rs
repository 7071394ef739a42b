//! The log's records, notes, checkpoints, keys and proofs.

use crate::{Decoder, Outcome, code, head, text};
use consort_audit::{
    Checkpoint, Hash, MerkleTree, NoteVerifier, ProofFile, Record, SignedNote, leaf_hash,
    verify_consistency, verify_inclusion,
};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "audit-record",
        decode: record,
    },
    Decoder {
        name: "audit-note",
        decode: note,
    },
    Decoder {
        name: "audit-cosigned",
        decode: cosigned,
    },
    Decoder {
        name: "audit-proof",
        decode: proof,
    },
    Decoder {
        name: "audit-checkpoint",
        decode: checkpoint,
    },
    Decoder {
        name: "audit-key",
        decode: key,
    },
    Decoder {
        name: "audit-inclusion",
        decode: inclusion,
    },
    Decoder {
        name: "audit-consistency",
        decode: consistency,
    },
];

fn record(bytes: &[u8]) -> Outcome {
    let record = Record::from_line(bytes).map_err(code!())?;
    let line = record.to_line().map_err(code!())?;
    assert_eq!(line.as_bytes(), bytes);
    Ok(())
}

fn note(bytes: &[u8]) -> Outcome {
    let note: SignedNote = text(bytes)?
        .parse()
        .map_err(|error: consort_audit::NoteError| error.code().to_owned())?;
    let again: SignedNote = note.to_string().parse().expect("what was written is read");
    assert_eq!(again, note);
    Ok(())
}

fn cosigned(bytes: &[u8]) -> Outcome {
    let note = SignedNote::read_cosigned(text(bytes)?).map_err(code!())?;
    assert_eq!(SignedNote::read_cosigned(&note.to_string()), Ok(note));
    Ok(())
}

/// A file with a proof of either kind; whether it proves anything is another question.
fn proof(bytes: &[u8]) -> Outcome {
    let text = text(bytes)?;
    let proof: ProofFile = text
        .parse()
        .map_err(|error: consort_audit::ProofFileError| error.code().to_owned())?;
    assert_eq!(proof.to_string(), text);
    Ok(())
}

fn checkpoint(bytes: &[u8]) -> Outcome {
    let text = text(bytes)?;
    let checkpoint: Checkpoint = text
        .parse()
        .map_err(|error: consort_audit::CheckpointError| error.code().to_owned())?;
    assert_eq!(checkpoint.to_string(), text);
    Ok(())
}

fn key(bytes: &[u8]) -> Outcome {
    let text = text(bytes)?;
    let key: NoteVerifier = text
        .parse()
        .map_err(|error: consort_audit::NoteError| error.code().to_owned())?;
    assert_eq!(key.to_string(), text);
    Ok(())
}

/// Leaf number and size (8 bytes each, big-endian), then hashes: the proof for a leaf of a tree of that many equal leaves.
fn inclusion(bytes: &[u8]) -> Outcome {
    let (index, rest) = head::<8>(bytes)?;
    let (size, rest) = head::<8>(rest)?;
    let (index, size) = (u64::from_be_bytes(index), u64::from_be_bytes(size));
    let leaf = leaf_hash(b"leaf");
    verify_inclusion(&leaf, index, size, &hashes(rest), &root(size)).map_err(code!())
}

/// Two sizes, then hashes: the proof that the larger tree of equal leaves extends the smaller.
fn consistency(bytes: &[u8]) -> Outcome {
    let (old, rest) = head::<8>(bytes)?;
    let (new, rest) = head::<8>(rest)?;
    let (old, new) = (u64::from_be_bytes(old), u64::from_be_bytes(new));
    verify_consistency(old, &root(old), new, &root(new), &hashes(rest)).map_err(code!())
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes
        .as_chunks::<32>()
        .0
        .iter()
        .copied()
        .map(Hash)
        .collect()
}

/// The root of a small tree of equal leaves; of a large one some hash, which no proof leads to.
fn root(size: u64) -> Hash {
    let mut tree = MerkleTree::new();
    for _ in 0..size.min(16) {
        tree.push(leaf_hash(b"leaf"));
    }
    tree.root()
}
