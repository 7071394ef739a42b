//! What a witness makes of a head that a coordinator announces: it and the newest one that the witness keeps must be of one log.

use sha2::{Digest, Sha256};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::merkle::verify_consistency;
use crate::note::{NoteVerifier, SignedNote};

/// The name under which a consortium's coordinator signs its log.
pub fn log_origin(consortium: &str) -> String {
    format!("{consortium}/audit")
}

/// The name under which an organisation co-signs checkpoints.
pub fn witness_name(consortium: &str, organisation: &str) -> String {
    format!("{consortium}/witness/{organisation}")
}

/// What an announcement names: SHA-256 of the checkpoint as the log signed it.
pub fn head_hash(checkpoint: &SignedNote) -> Hash {
    let text = checkpoint.without_cosignatures().to_string();
    Hash(Sha256::digest(text).into())
}

/// A head that was found to be of the log that the witness knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenHead {
    checkpoint: Checkpoint,
    newest: bool,
}

impl ProvenHead {
    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether it is the longest log that the witness has seen: to be kept, and to be co-signed. Else it is a head that another job
    /// announced earlier.
    pub fn is_newest(&self) -> bool {
        self.newest
    }
}

/// Judges a head: the `shown` checkpoint must be the announced one, signed by the log, and of one log with the `kept` one, as
/// the proof shows. The proof is from the shorter of both to the longer.
///
/// # Errors
/// [`Distrust`]: the witness takes no part in what is bound to this head.
///
/// # Security
/// A witness that keeps its newest head on disk cannot be shown a log that was rewritten or cut below that head. Two witnesses
/// that never see a common head can be shown two logs; that comes out when their co-signatures are compared with one copy.
pub fn judge_head(
    announced: &Hash,
    kept: Option<&SignedNote>,
    shown: &SignedNote,
    proof: &[Hash],
    log: &NoteVerifier,
) -> Result<ProvenHead, Distrust> {
    if head_hash(shown) != *announced {
        return Err(Distrust::OtherHead);
    }
    let new = Checkpoint::verified(shown, log)?;
    let Some(kept) = kept else {
        return Ok(ProvenHead {
            checkpoint: new,
            newest: true,
        });
    };
    let old = Checkpoint::verified(kept, log)?;
    let (short, long) = if old.size <= new.size {
        (&old, &new)
    } else {
        (&new, &old)
    };
    if verify_consistency(short.size, &short.root, long.size, &long.root, proof).is_ok() {
        let newest = new.size >= old.size;
        return Ok(ProvenHead {
            checkpoint: new,
            newest,
        });
    }
    let (kept, shown) = (old.size, new.size);
    Err(if shown < kept {
        Distrust::RolledBack { kept, shown }
    } else {
        Distrust::Forked { kept, shown }
    })
}

/// Why a witness does not believe a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The checkpoint that was shown is not the announced one.
    #[error("the checkpoint that was shown is not the one that was announced")]
    OtherHead,
    /// A checkpoint does not hold.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log is shorter than it was, and not shown to be the beginning of what it was.
    #[error(
        "the audit log was rolled back: it had {kept} entries, and is announced with {shown} that are not shown to be the first of them"
    )]
    RolledBack {
        /// Entries under the checkpoint that the witness keeps.
        kept: u64,
        /// Entries under the checkpoint that was shown.
        shown: u64,
    },
    /// The log does not extend what it was.
    #[error(
        "the audit log was rewritten: its {shown} entries are not shown to begin with the {kept} that were signed before"
    )]
    Forked {
        /// Entries under the checkpoint that the witness keeps.
        kept: u64,
        /// Entries under the checkpoint that was shown.
        shown: u64,
    },
}

impl Distrust {
    /// Stable code for logs, metrics and refusals.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherHead => "log_other_head",
            Self::Checkpoint(error) => error.code(),
            Self::RolledBack { .. } => "log_rolled_back",
            Self::Forked { .. } => "log_forked",
        }
    }

    /// The entries under the kept and the shown checkpoint, where both are the log's and contradict each other: then a record of
    /// them is worth keeping.
    pub fn contradiction(&self) -> Option<(u64, u64)> {
        match self {
            Self::OtherHead | Self::Checkpoint(_) => None,
            Self::RolledBack { kept, shown } | Self::Forked { kept, shown } => {
                Some((*kept, *shown))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::merkle::{MerkleTree, leaf_hash};
    use crate::note::NoteSigner;

    fn signer() -> NoteSigner {
        NoteSigner::new(&log_origin("demo"), SigningKey::from_bytes(&[1; 32])).unwrap()
    }

    /// A log whose entries from `forked_at` on are others.
    fn tree(size: u64, forked_at: u64) -> MerkleTree {
        let mut tree = MerkleTree::new();
        for i in 0..size {
            tree.push(leaf_hash(&[
                u8::from(i >= forked_at),
                u8::try_from(i).unwrap(),
            ]));
        }
        tree
    }

    fn note(tree: &MerkleTree, size: u64) -> SignedNote {
        let checkpoint = Checkpoint {
            origin: log_origin("demo"),
            size,
            root: tree.root_at(size).unwrap(),
        };
        checkpoint.sign(&signer()).unwrap()
    }

    fn judged(
        kept: &SignedNote,
        shown: &SignedNote,
        proof: &[Hash],
    ) -> Result<ProvenHead, Distrust> {
        judge_head(
            &head_hash(shown),
            Some(kept),
            shown,
            proof,
            signer().verifier(),
        )
    }

    #[test]
    fn every_honest_head_is_proven_whether_it_is_newer_or_older() {
        let log = tree(20, 99);
        for kept in 0..20 {
            for shown in 0..20 {
                let proof = log
                    .consistency_proof(kept.min(shown), kept.max(shown))
                    .unwrap();
                let head = judged(&note(&log, kept), &note(&log, shown), &proof).unwrap();
                assert_eq!(
                    (head.checkpoint().size, head.is_newest()),
                    (shown, shown >= kept)
                );
            }
        }
        let first = note(&log, 3);
        let head = judge_head(&head_hash(&first), None, &first, &[], signer().verifier());
        assert!(head.unwrap().is_newest());
    }

    #[test]
    fn no_proof_that_a_rewritten_log_can_make_is_believed() {
        let (log, forked) = (tree(20, 99), tree(20, 5));
        for kept in 6..20 {
            for shown in 6..20 {
                let (short, long) = (kept.min(shown), kept.max(shown));
                for of in [&log, &forked] {
                    let proof = of.consistency_proof(short, long).unwrap();
                    let refused =
                        judged(&note(&log, kept), &note(&forked, shown), &proof).unwrap_err();
                    let code = if shown < kept {
                        "log_rolled_back"
                    } else {
                        "log_forked"
                    };
                    assert_eq!(refused.code(), code);
                    assert_eq!(refused.contradiction(), Some((kept, shown)));
                }
            }
        }
        // The two agree up to the fork: a head before it is of both.
        let proof = forked.consistency_proof(5, 20).unwrap();
        assert!(judged(&note(&log, 5), &note(&forked, 20), &proof).is_ok());
    }

    #[test]
    fn a_log_that_was_cut_has_no_proof_of_what_it_lost() {
        let log = tree(20, 99);
        let refused = judged(&note(&log, 20), &note(&log, 8), &[]).unwrap_err();
        assert_eq!(refused, Distrust::RolledBack { kept: 20, shown: 8 });
    }

    #[test]
    fn another_checkpoint_than_the_announced_one_or_anothers_is_refused() {
        let log = tree(20, 99);
        let (kept, shown) = (note(&log, 8), note(&log, 9));
        let proof = log.consistency_proof(8, 9).unwrap();
        let key = signer();
        let other = judge_head(
            &head_hash(&kept),
            Some(&kept),
            &shown,
            &proof,
            key.verifier(),
        );
        assert_eq!(other.unwrap_err(), Distrust::OtherHead);
        let stranger =
            NoteSigner::new(&log_origin("demo"), SigningKey::from_bytes(&[2; 32])).unwrap();
        let refused = judge_head(&head_hash(&shown), None, &shown, &[], stranger.verifier());
        assert_eq!(refused.unwrap_err().code(), "note_unsigned");
    }
}
