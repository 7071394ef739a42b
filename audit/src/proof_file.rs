//! Proofs as files, which whoever has the log's key checks without the log: that an entry is in it (C2SP tlog-proof,
//! <https://c2sp.org/tlog-proof>), and that one checkpoint extends another.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entries::MAX_ENTRY_BYTES;
use crate::hash::Hash;
use crate::merkle::{ProofError, leaf_hash, verify_consistency, verify_inclusion};
use crate::note::{NoteError, NoteVerifier, SignedNote};
use crate::record::{Record, RecordError};

/// First line of a proof of inclusion.
const INCLUSION: &str = "c2sp.org/tlog-proof@v1";

/// First line of a proof of consistency, for which there is no standard file.
const CONSISTENCY: &str = "consort/audit/consistency/v1";

/// Most hashes of a proof: a consistency proof has one for each level of the tree and one more (RFC 6962 §2.1.2).
pub const MAX_PROOF_HASHES: usize = 64;

/// A proof that an entry is in the log, with the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Which entry, from 0.
    pub index: u64,
    /// Its line, without a newline.
    pub entry: Vec<u8>,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The head it leads to.
    pub checkpoint: SignedNote,
}

/// A proof that the log under one checkpoint begins with that under another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// As RFC 6962 §2.1.2 orders them.
    pub hashes: Vec<Hash>,
    /// The older checkpoint.
    pub old: SignedNote,
    /// The newer one.
    pub new: SignedNote,
}

/// A proof of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofFile {
    /// Of an entry.
    Inclusion(InclusionProof),
    /// Of two checkpoints.
    Consistency(ConsistencyProof),
}

impl InclusionProof {
    /// The head and the entry, if the entry is in the log of this key.
    ///
    /// # Errors
    /// [`ProofFileError`] says what does not hold.
    pub fn verify(&self, log: &NoteVerifier) -> Result<(Checkpoint, Record), ProofFileError> {
        let head = Checkpoint::verified(&self.checkpoint, log)?;
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(&leaf, self.index, head.size, &self.hashes, &head.root)?;
        Ok((head, Record::from_line(&self.entry)?))
    }
}

impl ConsistencyProof {
    /// Both heads, older first, if the newer extends the older.
    ///
    /// # Errors
    /// [`ProofFileError`] says what does not hold. [`ProofFileError::Contradiction`] convicts the log's signer by itself; a proof
    /// that merely does not lead there ([`ProofFileError::Proof`]) does so together with a copy of the log.
    pub fn verify(&self, log: &NoteVerifier) -> Result<[Checkpoint; 2], ProofFileError> {
        let old = Checkpoint::verified(&self.old, log)?;
        let new = Checkpoint::verified(&self.new, log)?;
        if old.size == new.size && old.root != new.root {
            return Err(ProofFileError::Contradiction { size: old.size });
        }
        verify_consistency(old.size, &old.root, new.size, &new.root, &self.hashes)?;
        Ok([old, new])
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{INCLUSION}")?;
        writeln!(out, "extra {}", STANDARD.encode(&self.entry))?;
        writeln!(out, "index {}", self.index)?;
        write_hashes(out, &self.hashes)?;
        write!(out, "\n{}", self.checkpoint)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{CONSISTENCY}")?;
        write_hashes(out, &self.hashes)?;
        write!(out, "\n{}\n{}", self.old, self.new)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inclusion(proof) => proof.fmt(out),
            Self::Consistency(proof) => proof.fmt(out),
        }
    }
}

impl FromStr for ProofFile {
    type Err = ProofFileError;

    fn from_str(text: &str) -> Result<Self, ProofFileError> {
        let (head, rest) = text
            .split_once("\n\n")
            .ok_or(ProofFileError::Malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        match lines.next() {
            Some(INCLUSION) => Ok(Self::Inclusion(inclusion(lines, rest)?)),
            Some(CONSISTENCY) => {
                let hashes = read_hashes(lines)?;
                let [old, new] = two_notes(rest)?;
                Ok(Self::Consistency(ConsistencyProof { hashes, old, new }))
            }
            Some(_) | None => Err(ProofFileError::Malformed(
                "its first line names no kind of proof that this version knows",
            )),
        }
    }
}

fn inclusion<'a>(
    mut lines: impl Iterator<Item = &'a str>,
    checkpoint: &str,
) -> Result<InclusionProof, ProofFileError> {
    let refuse = ProofFileError::Malformed;
    let entry = lines
        .next()
        .and_then(|line| line.strip_prefix("extra "))
        .ok_or(refuse(
            "the entry is not there: its second line is not 'extra base64'",
        ))?;
    // Four characters for three bytes: a longer line is no entry, and is not decoded.
    if entry.len() > MAX_ENTRY_BYTES.div_ceil(3) * 4 {
        return Err(refuse("the entry is too long"));
    }
    let entry = STANDARD
        .decode(entry)
        .map_err(|_| refuse("the entry is no base64"))?;
    let index = lines.next().and_then(|line| line.strip_prefix("index "));
    let index = index.and_then(number);
    Ok(InclusionProof {
        index: index.ok_or(refuse("its third line is not 'index' and a number"))?,
        entry,
        hashes: read_hashes(lines)?,
        checkpoint: SignedNote::read_cosigned(checkpoint)?,
    })
}

/// A number in its one spelling.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Two notes with an empty line between them. A checkpoint has no empty line in its text: each note is text and signatures.
fn two_notes(text: &str) -> Result<[SignedNote; 2], ProofFileError> {
    let parts: Vec<_> = text.splitn(5, "\n\n").collect();
    let [old_text, old_signatures, new_text, new_signatures] = parts.as_slice() else {
        return Err(ProofFileError::Malformed("it has not two checkpoints"));
    };
    let old = SignedNote::read_cosigned(&format!("{old_text}\n\n{old_signatures}\n"))?;
    let new = SignedNote::read_cosigned(&format!("{new_text}\n\n{new_signatures}"))?;
    Ok([old, new])
}

fn write_hashes(out: &mut fmt::Formatter<'_>, hashes: &[Hash]) -> fmt::Result {
    hashes
        .iter()
        .try_for_each(|hash| writeln!(out, "{}", STANDARD.encode(hash.0)))
}

fn read_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, ProofFileError> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == MAX_PROOF_HASHES {
            return Err(ProofFileError::Malformed("it has too many hashes"));
        }
        // 44 characters are 32 bytes: a longer line is not decoded.
        let bytes = (line.len() == 44)
            .then(|| STANDARD.decode(line).ok())
            .flatten();
        let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hashes.push(Hash(
            hash.ok_or(ProofFileError::Malformed("a line is no hash in base64"))?,
        ));
    }
    Ok(hashes)
}

/// A proof does not show what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileError {
    /// The file is no proof.
    #[error("the file is no proof: {0}")]
    Malformed(&'static str),
    /// A checkpoint in it is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint in it is not of the log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead there.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The entry is no record.
    #[error("the entry is no record")]
    Record(#[from] RecordError),
    /// The log's key signed two logs of one length.
    #[error("the log's key signed two different logs of {size} entries: that convicts its holder")]
    Contradiction {
        /// Their length.
        size: u64,
    },
}

impl ProofFileError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "audit_proof_malformed",
            Self::Note(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Contradiction { .. } => "audit_contradiction",
        }
    }
}
