//! `consort audit`: checks a copy of the audit log offline, proves what is in it, and follows it.

mod proofs;
mod tail;
mod trust;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use consort_audit::{Report, VerifyError, verify_witnessed};
use consort_contract::SignedRoster;
use consort_daemon::config;
use consort_round::SplitView;
use consort_round::blame::Unproven;

use crate::failure::{Failure, at};
use trust::{Trust, Trusted, read_checkpoint};

/// What can be done with an audit log.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check that the log is whole, signed, and makes sense; says what it checked
    Verify {
        /// The log's folder
        dir: PathBuf,
        /// A checkpoint that somebody kept, which the log must extend; may be repeated
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        trust: Trust,
    },
    /// Prove that an entry is in the log, or that the log extends an older checkpoint
    Prove(proofs::Prove),
    /// Check such a proof with the log's key, without the log
    CheckProof(proofs::CheckProof),
    /// Show the newest entries of a log, and new ones as they come
    Tail(tail::Follow),
    /// Check a member's record of a coordinator that signed two contradicting statements of one attempt
    SplitView {
        /// The record, as `consort participant split-views` wrote it
        record: PathBuf,
        /// The roster, whose signatures are checked; its coordinator is the one that the record must convict
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Verify {
            dir,
            checkpoint,
            json,
            trust,
        } => {
            let report = verify(&dir, &checkpoint, &trust)?;
            if json {
                println!("{}", to_json(&report));
            } else {
                print!("{report}");
                println!("verified: {}", dir.display());
            }
            Ok(())
        }
        Command::Prove(asked) => proofs::prove(&asked),
        Command::CheckProof(asked) => proofs::check(&asked),
        Command::Tail(asked) => tail::tail(&asked),
        Command::SplitView { record, roster } => split_view(&record, &roster),
    }
}

fn verify(dir: &Path, checkpoints: &[PathBuf], trust: &Trust) -> Result<Report, Failure> {
    let Trusted { key, witnesses } = trust.load()?;
    let kept = checkpoints.iter().map(|file| read_checkpoint(file));
    let kept = kept.collect::<Result<Vec<_>, _>>()?;
    verify_witnessed(dir, key.as_ref(), &kept, witnesses.as_ref())
        .map_err(|error| broken(dir, &error))
}

/// Says of what a record convicts the roster's coordinator.
fn split_view(file: &Path, roster: &Path) -> Result<(), Failure> {
    let signed: SignedRoster = config::load_json(roster)?;
    let roster = signed
        .verify()
        .map_err(|error| Failure::refused(error.code(), error))?;
    let unproven = |error: Unproven| {
        let what = format!("{} convicts nobody: {error}", file.display());
        Failure::refused(error.code(), what)
    };
    let record = std::fs::read(file).map_err(at(file))?;
    let record = SplitView::decode(&record).map_err(unproven)?;
    let fault = (record.verify(&roster.coordinator().identity)).map_err(unproven)?;
    let about = record.about();
    println!(
        "the coordinator of {} signed {fault}: job {} round {} attempt {}",
        about.consortium, about.job, about.round.0, about.attempt.0
    );
    println!(
        "verified: {} with the coordinator's key in roster {}",
        file.display(),
        roster.root()
    );
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use consort_contract::{
        ConsortiumId, IdentitySecret, OrganisationId, RosterDocument, RosterEntry,
    };

    use super::*;

    /// A roster file whose coordinator has the key of this seed.
    pub(super) fn roster(folder: &Path, coordinator: u8) -> PathBuf {
        let secret = |seed| IdentitySecret::from_seed(&[seed; 32]);
        let entry = |seed| RosterEntry {
            identity: secret(seed).public(),
            chip_id: [seed; 64],
            host_data: [seed; 32],
        };
        let name = |seed| OrganisationId::new(&format!("clinic-{seed}")).unwrap();
        let document = RosterDocument {
            consortium: ConsortiumId::new("demo").unwrap(),
            version: 1,
            coordinator: entry(coordinator),
            members: (1..=3).map(|seed| (name(seed), entry(seed))).collect(),
        };
        let sign = |seed| (name(seed), document.sign(&secret(seed)));
        let signatures: BTreeMap<_, _> = (1..=3).map(sign).collect();
        let signed = SignedRoster::assemble(document, &signatures);
        let path = folder.join(format!("roster-{coordinator}.json"));
        std::fs::write(&path, serde_json::to_string(&signed).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_record_of_two_views_convicts_the_coordinator_of_its_roster_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        // Two announcements of one attempt under the key of seed 9 (decoders/examples/seeds.rs).
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decoders/corpus/split-view");
        let record = corpus.join("valid");
        split_view(&record, &roster(folder.path(), 9)).unwrap();
        let refused = split_view(&record, &roster(folder.path(), 8)).unwrap_err();
        assert!(refused.to_string().contains("convicts nobody"), "{refused}");

        let cut = folder.path().join("cut");
        let bytes = std::fs::read(&record).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
        assert!(split_view(&cut, &roster(folder.path(), 9)).is_err());
    }
}
