//! A checkpoint (C2SP tlog-checkpoint, <https://c2sp.org/tlog-checkpoint>): which log, how long, and its root.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::note::{NoteError, NoteSigner, NoteVerifier, SignedNote};

/// The head of a log, as text: origin, size, base64 root, each on a line. Extension lines are not used and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name without a schema, such as `consort.example/audit`.
    pub origin: String,
    /// How many entries the log has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Signs the checkpoint.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] if the origin could not be read back.
    pub fn sign(&self, signer: &NoteSigner) -> Result<SignedNote, NoteError> {
        signer.sign(&self.to_string())
    }

    /// The checkpoint in a note that `verifier` signed, whose name must be the origin of the log.
    ///
    /// # Errors
    /// [`CheckpointError`] if the signature does not hold, the text is no checkpoint, or it is that of another log.
    pub fn verified(note: &SignedNote, verifier: &NoteVerifier) -> Result<Self, CheckpointError> {
        let checkpoint: Self = note.verified(verifier)?.parse()?;
        // "The key name SHOULD match the origin line" (tlog-checkpoint): here it must.
        if checkpoint.origin == verifier.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin {
                origin: checkpoint.origin,
            })
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root.0)
        )
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) = (
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
        ) else {
            return Err(CheckpointError::Malformed);
        };
        let root = STANDARD
            .decode(root)
            .map_err(|_| CheckpointError::Malformed)?;
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| CheckpointError::Malformed)?,
            root: Hash(root.try_into().map_err(|_| CheckpointError::Malformed)?),
        };
        // One spelling: no `+5`, no leading zeros.
        if checkpoint.to_string() == text && !origin.is_empty() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Malformed)
        }
    }
}

/// A note is no checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note is malformed or not signed by the key of the log.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not origin, size and root.
    #[error("a checkpoint has three lines: origin, size and base64 root")]
    Malformed,
    /// The checkpoint is that of another log.
    #[error("the checkpoint is that of another log: {origin}")]
    Origin {
        /// The origin found.
        origin: String,
    },
}

impl CheckpointError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Note(error) => error.code(),
            Self::Malformed => "checkpoint_malformed",
            Self::Origin { .. } => "checkpoint_origin",
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "consort.example/audit".to_owned(),
            size: 20,
            root: Hash([5; 32]),
        }
    }

    #[test]
    fn a_checkpoint_is_origin_size_and_root() {
        let text = checkpoint().to_string();
        assert_eq!(
            text,
            "consort.example/audit\n20\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n"
        );
        assert_eq!(text.parse(), Ok(checkpoint()));
    }

    #[test]
    fn another_spelling_is_refused() {
        let text = checkpoint().to_string();
        for refused in [
            text.replace("\n20\n", "\n020\n"),
            text.replace("\n20\n", "\n+20\n"),
            text.replace("\n20\n", "\n-1\n"),
            text.replace("\n20\n", "\n18446744073709551616\n"),
            text.replace("U=", "V="),
            format!("{text}extension\n"),
            text.trim_end().to_owned(),
            text.replace("consort.example/audit", ""),
            String::new(),
        ] {
            assert_eq!(
                refused.parse::<Checkpoint>(),
                Err(CheckpointError::Malformed),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn the_checkpoint_of_another_log_is_refused() {
        let signer =
            NoteSigner::new("other.example/audit", SigningKey::from_bytes(&[3; 32])).unwrap();
        let note = checkpoint().sign(&signer).unwrap();
        let refused = Checkpoint::verified(&note, signer.verifier()).unwrap_err();
        assert_eq!(refused.code(), "checkpoint_origin");
    }
}
