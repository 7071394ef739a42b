//! The verifiable log: what happened in a consortium, in typed records under a Merkle tree, whose head is signed.
//!
//! The coordinator appends with [`AuditLog`]; participants keep the checkpoints they saw and ask for consistency proofs;
//! an auditor checks a copy of the folder offline with [`verify`].

mod blame;
mod checkpoint;
mod cosignature;
mod entries;
mod epsilon;
mod fact;
mod hash;
mod heads;
mod log;
mod merkle;
mod note;
mod proof;
mod proof_file;
mod prove;
mod record;
mod rule;
mod semantics;
mod text;
mod verify;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosignature::{COSIGNATURE_BYTES, Cosignature, WitnessKey};
pub use epsilon::{Epsilon, InvalidEpsilon};
pub use fact::Fact;
pub use hash::{Hash, InvalidHash};
pub use heads::{AnnouncedHeads, KEPT_HEADS, NotCosigned, WITNESSED_FOLDER, cosigners, witnessed};
pub use log::{
    AuditLog, CHECKPOINT_FILE, ENTRIES_FILE, KEY_FILE, LogError, MAX_ENTRY_BYTES, Recovery,
};
pub use merkle::{MerkleTree, ProofError, leaf_hash, verify_consistency, verify_inclusion};
pub use note::{NoteError, NoteSigner, NoteVerifier, SignedNote};
pub use proof::{InvalidProof, MAX_PROOF_BYTES, Proof};
pub use proof_file::{
    ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, ProofFile, ProofFileError,
};
pub use prove::{Tail, prove_consistency, prove_inclusion};
pub use record::{Event, JobState, Phase, RECORD_VERSION, Record, RecordError, RoundRef};
pub use rule::{Broken, Rule};
pub use semantics::check_rules;
pub use text::{Code, InvalidText, JobId, MAX_TEXT_BYTES, Organisation, Text};
pub use verify::{Line, Report, VerifyError, Witnesses, verify, verify_against, verify_witnessed};
pub use witness::{Distrust, ProvenHead, head_hash, judge_head, log_origin, witness_name};
