//! Whom a reader of the log trusts: the key that signs it, and the members that witness it.

use std::path::{Path, PathBuf};

use clap::Args;
use consort_audit::{NoteVerifier, SignedNote, WitnessKey, Witnesses, log_origin, witness_name};
use consort_contract::{Roster, SignedRoster};
use consort_daemon::config;

use crate::failure::Failure;

/// Whose log it is, and who must have witnessed it.
#[derive(Args)]
pub(crate) struct Trust {
    /// The coordinator's audit key as you got it from its operator
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The roster, whose signatures are checked: it has the coordinator's key, so that --key is not needed, and those of the members
    #[arg(long, value_name = "FILE")]
    roster: Option<PathBuf>,
    /// Refuse unless this many members of the roster have co-signed one checkpoint of the log
    #[arg(long, value_name = "N", requires = "roster")]
    witnesses: Option<usize>,
}

/// What the files say.
pub(super) struct Trusted {
    /// The log's key, if one is trusted.
    pub(super) key: Option<NoteVerifier>,
    /// Who must have co-signed.
    pub(super) witnesses: Option<Witnesses>,
}

impl Trust {
    /// Reads the files.
    pub(super) fn load(&self) -> Result<Trusted, Failure> {
        let key = self.key.as_deref().map(read_key).transpose()?;
        let Some(file) = &self.roster else {
            return Ok(Trusted {
                key,
                witnesses: None,
            });
        };
        let signed: SignedRoster = config::load_json(file)?;
        let roster = signed
            .verify()
            .map_err(|error| Failure::refused(error.code(), error))?;
        let own = log_key(&roster)?;
        if key.as_ref().is_some_and(|key| *key != own) {
            let what = "the audit key is not that of the roster's coordinator";
            return Err(Failure::refused("audit_other_key", what));
        }
        let keys = witness_keys(&roster)?;
        let witnesses = self.witnesses.map(|at_least| Witnesses { keys, at_least });
        Ok(Trusted {
            key: Some(own),
            witnesses,
        })
    }

    /// As [`Self::load`], where without a key nothing can be said.
    pub(super) fn demand(&self) -> Result<(NoteVerifier, Option<Witnesses>), Failure> {
        let Trusted { key, witnesses } = self.load()?;
        let key = key.ok_or_else(|| {
            let what = "name the log's key with --key or --roster: the file itself cannot say whose log it is";
            Failure::usage("audit_key_missing", what)
        })?;
        Ok((key, witnesses))
    }
}

/// The key under which the coordinator of a roster signs its log.
fn log_key(roster: &Roster) -> Result<NoteVerifier, Failure> {
    let origin = log_origin(roster.consortium().as_str());
    NoteVerifier::from_bytes(&origin, roster.coordinator().identity.as_bytes())
        .map_err(|error| Failure::refused(error.code(), error))
}

fn witness_keys(roster: &Roster) -> Result<Vec<WitnessKey>, Failure> {
    let keys = roster.members().map(|(name, entry)| {
        let name = witness_name(roster.consortium().as_str(), name.as_str());
        WitnessKey::new(&name, entry.identity.as_bytes())
    });
    keys.collect::<Result<_, _>>()
        .map_err(|error| Failure::refused(error.code(), error))
}

/// A checkpoint in a file.
pub(super) fn read_checkpoint(file: &Path) -> Result<SignedNote, Failure> {
    SignedNote::read_cosigned(&config::read(file)?).map_err(|error| {
        let what = format!("{} holds no checkpoint: {error}", file.display());
        Failure::usage(error.code(), what)
    })
}

fn read_key(file: &Path) -> Result<NoteVerifier, Failure> {
    let text = config::read(file)?;
    text.trim()
        .parse()
        .map_err(|error: consort_audit::NoteError| {
            Failure::usage(
                error.code(),
                format!("{} holds no audit key: {error}", file.display()),
            )
        })
}
