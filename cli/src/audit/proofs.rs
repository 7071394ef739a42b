//! Proofs about the log: made from a copy of its folder, and checked without it.

use std::path::{Path, PathBuf};

use clap::Args;
use consort_audit::{
    Checkpoint, ProofFile, ProofFileError, SignedNote, Witnesses, cosigners, prove_consistency,
    prove_inclusion, witnessed,
};
use consort_daemon::config;

use super::broken;
use super::trust::{Trust, read_checkpoint};
use crate::failure::{Failure, at};

/// What is to be proven.
#[derive(Args)]
pub(crate) struct Prove {
    /// The log's folder
    dir: PathBuf,
    /// Prove that this entry, counted from 0, is in the log
    #[arg(
        long,
        value_name = "INDEX",
        conflicts_with = "since",
        required_unless_present = "since"
    )]
    entry: Option<u64>,
    /// Prove that the log extends this older checkpoint: a file with one that somebody kept, or the number of entries of a head
    /// that was announced lately
    #[arg(long, value_name = "FILE|ENTRIES")]
    since: Option<String>,
    /// The checkpoint that the proof leads to, in the same two forms; the newest one unless told
    #[arg(long, value_name = "FILE|ENTRIES")]
    head: Option<String>,
    /// Where the proof goes; to the standard output unless told
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// What is to be checked.
#[derive(Args)]
pub(crate) struct CheckProof {
    /// The proof
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: Trust,
}

/// Writes a proof.
pub(super) fn prove(asked: &Prove) -> Result<(), Failure> {
    let dir = &asked.dir;
    let key = asked.trust.load()?.key;
    let named = |name: &Option<String>| {
        let head = name.as_deref().map(|name| head_named(dir, name));
        head.transpose()
    };
    let (since, head) = (named(&asked.since)?, named(&asked.head)?);
    let proof = match (asked.entry, since) {
        (Some(index), _) => {
            prove_inclusion(dir, key.as_ref(), index, head).map(ProofFile::Inclusion)
        }
        (None, Some(since)) => {
            prove_consistency(dir, key.as_ref(), since, head).map(ProofFile::Consistency)
        }
        (None, None) => {
            let what = "say what is to be proven: --entry INDEX or --since CHECKPOINT";
            return Err(Failure::usage("audit_prove_what", what));
        }
    };
    let proof = proof.map_err(|error| broken(dir, &error))?.to_string();
    match &asked.out {
        Some(file) => std::fs::write(file, proof).map_err(at(file)),
        None => {
            print!("{proof}");
            Ok(())
        }
    }
}

/// A checkpoint in a file, or an announced head by its number of entries.
fn head_named(dir: &Path, name: &str) -> Result<SignedNote, Failure> {
    let Ok(size) = name.parse::<u64>() else {
        return read_checkpoint(Path::new(name));
    };
    let key = config::read(&dir.join(consort_audit::KEY_FILE))?;
    let key = key
        .trim()
        .parse()
        .map_err(|error: consort_audit::NoteError| Failure::refused(error.code(), error))?;
    let heads = witnessed(dir, &key).map_err(|error| Failure::refused(error.code(), error))?;
    let sizes: Vec<_> = heads.iter().map(|(size, _)| size.to_string()).collect();
    let head = heads.into_iter().find(|(found, _)| *found == size);
    head.map(|(_, note)| note).ok_or_else(|| {
        let what = format!(
            "no head over {size} entries was announced lately; those that were: {}. For another, name the file of a checkpoint that somebody kept",
            sizes.join(", ")
        );
        Failure::usage("audit_no_such_head", what)
    })
}

/// Checks a proof with the log's key alone.
pub(super) fn check(asked: &CheckProof) -> Result<(), Failure> {
    let (key, witnesses) = asked.trust.demand()?;
    let refused = |error: ProofFileError| {
        let what = format!("{} proves nothing: {error}", asked.file.display());
        Failure::refused(error.code(), what)
    };
    let proof: ProofFile = config::read(&asked.file)?.parse().map_err(refused)?;
    let (mut shown, head) = match &proof {
        ProofFile::Inclusion(proof) => {
            let (head, record) = proof.verify(&key).map_err(refused)?;
            let record = record.to_line().map_err(|error| refused(error.into()))?;
            let record: serde_json::Value = serde_json::from_str(&record).unwrap_or_default();
            if !asked.json {
                println!("entry {} is in the log: {record}", proof.index);
            }
            let shown = serde_json::json!({ "entry": proof.index, "record": record });
            (shown, (&proof.checkpoint, head))
        }
        ProofFile::Consistency(proof) => {
            let [old, new] = proof.verify(&key).map_err(refused)?;
            if !asked.json {
                println!(
                    "the log of {} entries extends that of {}",
                    new.size, old.size
                );
            }
            let shown = serde_json::json!({ "since": old.size });
            (shown, (&proof.new, new))
        }
    };
    let (note, head) = head;
    let names = match &witnesses {
        Some(witnesses) => cosigned(note, witnesses)?,
        None => Vec::new(),
    };
    if asked.json {
        shown["origin"] = head.origin.into();
        shown["entries"] = head.size.into();
        shown["root"] = head.root.to_string().into();
        shown["witnesses"] = names.into();
        println!("{shown}");
    } else {
        let Checkpoint { origin, size, root } = head;
        println!("under the checkpoint of {origin}: {size} entries, root {root}");
        if !names.is_empty() {
            println!("co-signed by {}", names.join(", "));
        }
        println!("verified: {}", asked.file.display());
    }
    Ok(())
}

fn cosigned(note: &SignedNote, witnesses: &Witnesses) -> Result<Vec<String>, Failure> {
    let names =
        cosigners(note, &witnesses.keys).map_err(|error| Failure::refused(error.code(), error))?;
    if names.len() < witnesses.at_least {
        let what = format!(
            "the checkpoint has {} co-signatures of this roster, {} are demanded; prove it under a head that was announced (--head)",
            names.len(),
            witnesses.at_least
        );
        return Err(Failure::refused("audit_unwitnessed", what));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use consort_audit::{
        AnnouncedHeads, AuditLog, Cosignature, Event, Fact, NoteSigner, Text, WitnessKey,
        witness_name,
    };
    use consort_contract::IdentitySecret;

    use super::super::tests::roster;
    use super::super::{Command, run};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    /// Runs `consort audit` with these arguments.
    fn audit(arguments: &[&str]) -> Result<(), String> {
        let line = Line::try_parse_from(["audit"].iter().chain(arguments));
        run(line.unwrap().command).map_err(|failure| failure.code)
    }

    /// A log of six entries under the key of seed 9, of which the third head was announced and co-signed by two members.
    fn log(folder: &Path) {
        let secret = |seed: u8| IdentitySecret::from_seed(&[seed; 32]);
        let key = ed25519_dalek::SigningKey::from_bytes(&secret(9).to_seed());
        let signer = NoteSigner::new("demo/audit", key).unwrap();
        let mut heads = AnnouncedHeads::open(folder, signer.verifier()).unwrap();
        let mut log = AuditLog::open(folder, signer).unwrap();
        for index in 0..6 {
            let build = Text::new("test").unwrap();
            let dangerous = Vec::new();
            let event = match index {
                0 => Event::Started { build, dangerous },
                log_size => Event::CoordinatorRestarted {
                    build,
                    log_size,
                    dangerous,
                },
            };
            log.append(&Fact::of_consortium(event).at(index)).unwrap();
            if index == 2 {
                let head = heads.announce(3, log.checkpoint()).unwrap();
                let text = log
                    .checkpoint()
                    .verified(log.verifier())
                    .unwrap()
                    .to_owned();
                for seed in [1, 2] {
                    let name = witness_name("demo", &format!("clinic-{seed}"));
                    let own = secret(seed);
                    let witness = WitnessKey::new(&name, own.public().as_bytes()).unwrap();
                    let signed = Cosignature::new(&text, 1, |bytes| own.sign(bytes).0);
                    assert_eq!(heads.cosign(&head, &witness, &signed).unwrap(), Ok(true));
                }
            }
        }
    }

    #[test]
    fn a_proof_that_was_written_is_checked_with_the_roster_alone_and_refused_with_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("audit");
        log(&dir);
        let (own, other) = (roster(folder.path(), 9), roster(folder.path(), 8));
        let file = folder.path().join("proof");
        let [dir, own, other, file] =
            [&dir, &own, &other, &file].map(|path| path.to_str().unwrap());
        for what in [
            ["--entry", "4", "--out"],
            ["--entry", "0", "--out"],
            ["--since", "3", "--out"],
        ] {
            let made = [&["prove", dir, "--roster", own][..], &what, &[file]].concat();
            audit(&made).unwrap();
            audit(&["check-proof", file, "--roster", own, "--json"]).unwrap();
            let key = format!("{dir}/audit.pub");
            audit(&["check-proof", file, "--key", &key]).unwrap();
            let refused = audit(&["check-proof", file, "--roster", other]);
            assert_eq!(refused, Err("note_unsigned".to_owned()));
            let keyless = audit(&["check-proof", file]);
            assert_eq!(keyless, Err("audit_key_missing".to_owned()));
            let unwitnessed = audit(&["check-proof", file, "--roster", own, "--witnesses", "1"]);
            assert_eq!(unwitnessed, Err("audit_unwitnessed".to_owned()));
        }
        audit(&["prove", dir, "--entry", "2", "--head", "3", "--out", file]).unwrap();
        audit(&["check-proof", file, "--roster", own, "--witnesses", "2"]).unwrap();
        let most = audit(&["check-proof", file, "--roster", own, "--witnesses", "3"]);
        assert_eq!(most, Err("audit_unwitnessed".to_owned()));
        assert_eq!(
            audit(&["prove", dir, "--entry", "6"]),
            Err("audit_no_entry".to_owned())
        );
        assert_eq!(
            audit(&["prove", dir, "--since", "4"]),
            Err("audit_no_such_head".to_owned())
        );
        audit(&["verify", dir, "--roster", own, "--witnesses", "2"]).unwrap();
        let refused = audit(&["verify", dir, "--roster", own, "--witnesses", "3"]);
        assert_eq!(refused, Err("audit_unwitnessed".to_owned()));
        audit(&["tail", dir, "--roster", own, "--lines", "2", "--json"]).unwrap();
        assert!(audit(&["tail", dir, "--roster", other]).is_err());
    }
}
