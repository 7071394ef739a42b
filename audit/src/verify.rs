//! Offline verification: a copy of the log's folder, and perhaps the key and the checkpoints that others kept.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::WitnessKey;
use crate::entries::{Entry, next_entry};
use crate::heads::{cosigners, witnessed};
use crate::log::{CHECKPOINT_FILE, ENTRIES_FILE, KEY_FILE, LogError};
use crate::merkle::{MerkleTree, leaf_hash};
use crate::note::{NoteError, NoteVerifier, SignedNote};
use crate::record::{Record, RecordError};
use crate::rule::{Broken, Rule};
use crate::semantics::Semantics;

/// Verifies the log in `folder`: key, signature, tree, and that what it says makes sense.
///
/// # Errors
/// [`VerifyError`] with the first thing that does not hold, naming the entry where it can.
///
/// # Security
/// Without a `trusted` key the folder's own is believed: that shows that the log is whole, not whose it is. Either way a
/// holder of the signing key can have written another history; [`verify_against`] compares with checkpoints that others
/// kept.
pub fn verify(
    folder: impl AsRef<Path>,
    trusted: Option<&NoteVerifier>,
) -> Result<Report, VerifyError> {
    verify_against(folder, trusted, &[])
}

/// As [`verify`], and that the log extends each of the `witnessed` checkpoints, which others kept.
///
/// # Errors
/// As [`verify`]; [`VerifyError::Forked`] if a checkpoint was signed over another history.
pub fn verify_against(
    folder: impl AsRef<Path>,
    trusted: Option<&NoteVerifier>,
    witnessed: &[SignedNote],
) -> Result<Report, VerifyError> {
    verify_witnessed(folder, trusted, witnessed, None)
}

/// How many witnesses must have co-signed a checkpoint of the log, and whose signatures count.
#[derive(Debug, Clone)]
pub struct Witnesses {
    /// Who they are.
    pub keys: Vec<WitnessKey>,
    /// How many of them one checkpoint must have.
    pub at_least: usize,
}

/// As [`verify_against`], and that the log extends every head that its folder has as announced, of which one must have the
/// co-signatures of `witnesses`.
///
/// # Errors
/// As [`verify_against`]; [`VerifyError::Unwitnessed`] if no head has as many co-signatures.
pub fn verify_witnessed(
    folder: impl AsRef<Path>,
    trusted: Option<&NoteVerifier>,
    others: &[SignedNote],
    witnesses: Option<&Witnesses>,
) -> Result<Report, VerifyError> {
    let folder = folder.as_ref();
    let key = read_key(folder, trusted)?;
    // Before the checkpoint: a head is announced when the checkpoint that is on disk covers it, also while the log goes on.
    let announced =
        witnessed(folder, &key).map_err(|source| VerifyError::Heads(Box::new(source)))?;
    let note: SignedNote = read_text(folder, CHECKPOINT_FILE)?.parse()?;
    let signed = Checkpoint::verified(&note, &key)?;
    let (tree, semantics) = read_entries(folder, &signed)?;
    if let Some((size, _)) = announced.iter().find(|(size, _)| *size > signed.size) {
        return Err(VerifyError::HeadBeyond {
            size: *size,
            entries: signed.size,
        });
    }
    for note in others.iter().chain(announced.iter().map(|(_, note)| note)) {
        let older = Checkpoint::verified(note, &key)?;
        if tree.root_at(older.size) != Some(older.root) {
            return Err(VerifyError::Forked { size: older.size });
        }
    }
    let mut report = report(
        &signed,
        &key,
        trusted.is_some(),
        others.len(),
        witnesses.is_some(),
        &semantics,
    );
    if let Some(witnesses) = witnesses {
        let (size, names) = newest_cosigned(&announced, witnesses)?;
        let what = format!(
            "witnesses co-signed the checkpoint over the first {size} entries: {}",
            names.join(", ")
        );
        let count = names.len() as u64;
        report.checked.insert(2, Line { what, count });
        let later = signed.size.saturating_sub(size);
        if later > 0 {
            report.remarks.push(format!(
                "{later} entries are newer than the newest checkpoint with enough co-signatures"
            ));
        }
    }
    Ok(report)
}

/// The newest head with enough co-signatures, and whose they are.
fn newest_cosigned<'a>(
    announced: &[(u64, SignedNote)],
    witnesses: &'a Witnesses,
) -> Result<(u64, Vec<&'a str>), VerifyError> {
    let mut most = 0;
    for (size, note) in announced.iter().rev() {
        let names = cosigners(note, &witnesses.keys)?;
        if names.len() >= witnesses.at_least {
            return Ok((*size, names));
        }
        most = most.max(names.len());
    }
    Err(VerifyError::Unwitnessed {
        wanted: witnesses.at_least,
        most,
    })
}

/// What was verified, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The head that was verified.
    pub checkpoint: Checkpoint,
    /// What was checked, with how often.
    pub checked: Vec<Line>,
    /// What a reader should know besides: simulated evidence, dangerous choices, a key that was believed.
    pub remarks: Vec<String>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checkpoint { origin, size, root } = &self.checkpoint;
        writeln!(out, "{origin}: {size} entries, root {root}")?;
        for line in &self.checked {
            writeln!(out, "{:>8}  {}", line.count, line.what)?;
        }
        self.remarks
            .iter()
            .try_for_each(|remark| writeln!(out, "note: {remark}"))
    }
}

pub(crate) fn read_key(
    folder: &Path,
    trusted: Option<&NoteVerifier>,
) -> Result<NoteVerifier, VerifyError> {
    let text = read_text(folder, KEY_FILE)?;
    let key: NoteVerifier = text.strip_suffix('\n').ok_or(NoteError::Key)?.parse()?;
    if trusted.is_some_and(|trusted| *trusted != key) {
        return Err(VerifyError::OtherKey);
    }
    Ok(key)
}

/// Reads every entry once: the tree first has to be what was signed, then what it says has to make sense.
fn read_entries(
    folder: &Path,
    signed: &Checkpoint,
) -> Result<(MerkleTree, Semantics), VerifyError> {
    let failed = |source| VerifyError::Io {
        file: ENTRIES_FILE,
        source,
    };
    let mut reader = BufReader::new(File::open(folder.join(ENTRIES_FILE)).map_err(failed)?);
    let mut tree = MerkleTree::new();
    let mut semantics = Semantics::default();
    let mut first_broken = None;
    while let Some(entry) = next_entry(&mut reader).map_err(failed)? {
        let index = tree.size();
        let Entry::Whole(line) = entry else {
            return Err(VerifyError::Torn { index });
        };
        let record =
            Record::from_line(&line).map_err(|source| VerifyError::Entry { index, source })?;
        if first_broken.is_none() {
            first_broken = semantics.take(index, &record).err();
        }
        tree.push(leaf_hash(&line));
    }
    if tree.size() != signed.size {
        return Err(VerifyError::Size {
            found: tree.size(),
            signed: signed.size,
        });
    }
    if tree.root() != signed.root {
        return Err(VerifyError::Root { size: signed.size });
    }
    match first_broken {
        Some(broken) => Err(broken.into()),
        None => Ok((tree, semantics)),
    }
}

fn report(
    signed: &Checkpoint,
    key: &NoteVerifier,
    trusted: bool,
    witnessed: usize,
    cosigned: bool,
    semantics: &Semantics,
) -> Report {
    let line = |what: &str, count| Line {
        what: what.to_owned(),
        count,
    };
    let mut checked = vec![
        line("signature of the log's key over the checkpoint holds", 1),
        line(
            "entries are well-formed and under the signed root",
            signed.size,
        ),
    ];
    if witnessed > 0 {
        checked.push(line(
            "checkpoints that others kept are extended by this log",
            witnessed as u64,
        ));
    }
    checked.extend(Rule::ALL.map(|rule| Line {
        what: rule.to_string(),
        count: semantics.kept(rule),
    }));
    let mut remarks = Vec::new();
    if !trusted {
        remarks.push(format!(
            "no trusted key was given; the folder's own was believed: {key}"
        ));
    }
    if witnessed == 0 && !cosigned {
        remarks.push(
            "no checkpoint kept by another was given; a second history would not be noticed"
                .to_owned(),
        );
    }
    let mut count = |count: u64, what: &str| {
        if count > 0 {
            remarks.push(format!("{count} {what}"));
        }
    };
    count(
        semantics.simulated_verdicts,
        "evidence verdicts rest on a simulated root",
    );
    count(
        semantics.simulated_releases,
        "keys were released to SIMULATED machines",
    );
    count(semantics.refused_releases, "times a key was not released");
    count(semantics.refused_peers, "times a peer was refused");
    count(semantics.aborted_rounds, "rounds were aborted");
    count(
        semantics.clock_steps_back,
        "times the coordinator's clock went back",
    );
    count(
        semantics.convicted_unenrolled,
        "blame records rest on a key that the round's context names and this log did not enrol",
    );
    remarks.extend(semantics.convicted.iter().cloned());
    remarks.extend(
        semantics
            .dangerous
            .iter()
            .map(|choice| format!("dangerous choice: {choice}")),
    );
    Report {
        checkpoint: signed.clone(),
        checked,
        remarks,
    }
}

pub(crate) fn read_text(folder: &Path, file: &'static str) -> Result<String, VerifyError> {
    fs::read_to_string(folder.join(file)).map_err(|source| VerifyError::Io { file, source })
}

/// The log does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file cannot be read, or is no text.
    #[error("{file} of the log cannot be read")]
    Io {
        /// Which file.
        file: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key file or the note is malformed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The folder holds the log of another key than the trusted one.
    #[error("the log is signed by another key than the trusted one")]
    OtherKey,
    /// A checkpoint does not hold.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An entry is no record.
    #[error("entry {index} is no record")]
    Entry {
        /// Which entry, from 0.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// The last entry has no end.
    #[error("entry {index} is torn")]
    Torn {
        /// Which entry, from 0.
        index: u64,
    },
    /// There are more or fewer entries than were signed.
    #[error("the log has {found} entries, the checkpoint was signed over {signed}")]
    Size {
        /// Entries found.
        found: u64,
        /// Entries signed.
        signed: u64,
    },
    /// The entries are not those that were signed.
    #[error("the {size} entries are not those that were signed")]
    Root {
        /// Entries signed.
        size: u64,
    },
    /// A checkpoint that somebody kept is over another history.
    #[error(
        "the log was rewritten: a checkpoint over its first {size} entries was signed over others"
    )]
    Forked {
        /// Entries under that checkpoint.
        size: u64,
    },
    /// The folder has a head over more entries than its log has.
    #[error(
        "a head over {size} entries was announced, and the log has {entries}: this copy was made while the log went on (copy again, the folder of the heads first), or the log was cut"
    )]
    HeadBeyond {
        /// Entries under that head.
        size: u64,
        /// Entries of the log.
        entries: u64,
    },
    /// An entry breaks a rule.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// There is no such entry.
    #[error("there is no entry {index} under the checkpoint over {size} entries; the first is 0")]
    NoEntry {
        /// Which entry, from 0.
        index: u64,
        /// Entries under the checkpoint.
        size: u64,
    },
    /// The announced heads beside the log cannot be read.
    #[error("the announced heads of the log do not hold")]
    Heads(#[source] Box<LogError>),
    /// Too few witnesses have co-signed.
    #[error(
        "no checkpoint of the log has the co-signatures of {wanted} of these witnesses; the most that one has is {most}"
    )]
    Unwitnessed {
        /// As many as were asked for.
        wanted: usize,
        /// As many as there are.
        most: usize,
    },
}

impl VerifyError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "audit_io",
            Self::Note(error) => error.code(),
            Self::OtherKey => "audit_other_key",
            Self::Checkpoint(error) => error.code(),
            Self::Entry { source, .. } => source.code(),
            Self::Torn { .. } => "audit_torn",
            Self::Size { .. } => "audit_size",
            Self::Root { .. } => "audit_root",
            Self::Forked { .. } => "audit_forked",
            Self::HeadBeyond { .. } => "audit_head_beyond",
            Self::Broken(broken) => broken.rule.code(),
            Self::NoEntry { .. } => "audit_no_entry",
            Self::Heads(error) => error.code(),
            Self::Unwitnessed { .. } => "audit_unwitnessed",
        }
    }
}
