//! `consort audit`: checks a copy of the audit log offline.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use consort_audit::{NoteVerifier, Report, VerifyError};
use consort_daemon::config;

use crate::failure::Failure;

/// What can be done with an audit log.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check that the log is whole, signed, and makes sense; says what it checked
    Verify {
        /// The log's folder
        dir: PathBuf,
        /// The coordinator's audit key as you got it from its operator; without it the folder's own is believed
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let Command::Verify { dir, key, json } = command;
    let trusted = key.as_deref().map(read_key).transpose()?;
    let report =
        consort_audit::verify(&dir, trusted.as_ref()).map_err(|error| broken(&dir, &error))?;
    if json {
        println!("{}", to_json(&report));
    } else {
        print!("{report}");
        println!("verified: {}", dir.display());
    }
    Ok(())
}

/// The failure of a log that does not hold.
pub(crate) fn broken(dir: &Path, error: &VerifyError) -> Failure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let what = format!("the audit log in {} does not hold: {text}", dir.display());
    Failure::refused(error.code(), what)
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

fn to_json(report: &Report) -> serde_json::Value {
    let checked: Vec<_> = report
        .checked
        .iter()
        .map(|line| serde_json::json!({ "what": line.what, "count": line.count }))
        .collect();
    serde_json::json!({
        "origin": report.checkpoint.origin,
        "entries": report.checkpoint.size,
        "root": report.checkpoint.root.to_string(),
        "checked": checked,
        "remarks": report.remarks,
    })
}
