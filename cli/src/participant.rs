//! `consort participant`: an organisation's participant, the same code as the small daemon.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use consort_participant::Config;
use serde_json::json;

use crate::failure::{Failure, at};
use crate::said::said;
use crate::serve::ServeOptions;

/// What can be done with a participant.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make its keys and its roster entry
    Init {
        /// Its configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check this organisation's entry in the roster and sign it
    SignRoster {
        /// Its configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write out what a stopped participant has kept of a coordinator that signed two contradicting statements
    SplitViews {
        /// Its configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Folder for the records, a file for each job
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the checkpoint of the coordinator's log that a stopped participant keeps, and write out what contradicts it
    LogHead {
        /// Its configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Folder for the checkpoint, and for a record of each log that did not go on as it was
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Forget the checkpoint: whatever log the coordinator shows next is believed. Only after all members have agreed that the
        /// log begins anew
        #[arg(long)]
        dangerous_forget: bool,
    },
    /// Seal what a stopped participant keeps under another key, in a new state folder: from a key file to one that the broker releases
    Reseal {
        /// Its configuration file (TOML), by which its state opens now
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The configuration file (TOML) that it is to have from now on: the same but for the state folder and the state key
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run it until it is told to stop
    Serve(ServeOptions),
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { config, json } => {
            let config = Config::load(&config)?;
            consort_participant::init(&config)
                .await
                .map_err(|error| Failure::failed(error.code(), error))?;
            let entry = config.node.entry_file();
            said(json, &json!({ "entry": entry }), entry.display());
            Ok(())
        }
        Command::SignRoster { config, json } => {
            let config = Config::load(&config)?;
            let root = consort_participant::sign_roster(&config)
                .await
                .map_err(|error| Failure::refused(error.code(), error))?;
            let text = format!("signed the roster with fingerprint {root}");
            said(json, &json!({ "fingerprint": root.to_string() }), text);
            Ok(())
        }
        Command::SplitViews { config, out, json } => {
            let records = consort_participant::split_views(&Config::load(&config)?)
                .await
                .map_err(|error| Failure::failed(error.code(), error))?;
            std::fs::create_dir_all(&out).map_err(at(&out))?;
            let mut files = Vec::new();
            for (job, record) in &records {
                let file = out.join(format!("{job}.split-view"));
                std::fs::write(&file, record).map_err(at(&file))?;
                files.push(file.display().to_string());
            }
            let text = if files.is_empty() {
                "no coordinator was seen to sign two contradicting statements".to_owned()
            } else {
                files.join("\n")
            };
            said(json, &json!({ "files": files }), text);
            Ok(())
        }
        Command::LogHead {
            config,
            out,
            dangerous_forget,
        } => log_head(&Config::load(&config)?, out.as_deref(), dangerous_forget).await,
        Command::Reseal { config, into, json } => {
            let (from, into) = (Config::load(&config)?, Config::load(&into)?);
            consort_participant::reseal(&from, &into)
                .await
                .map_err(|error| Failure::failed(error.code(), error))?;
            let (old, new) = (&from.node.state_dir, &into.node.state_dir);
            let text = format!(
                "{} holds the state now; wipe {} and its key: who runs it again spends and signs twice",
                new.display(),
                old.display()
            );
            said(json, &json!({ "state": new, "wipe": old }), text);
            Ok(())
        }
        Command::Serve(options) => serve(options).await,
    }
}

async fn log_head(config: &Config, out: Option<&Path>, forget: bool) -> Result<(), Failure> {
    let failed =
        |error: consort_participant::ParticipantError| Failure::failed(error.code(), error);
    let witnessed = consort_participant::witnessed_log(config, false)
        .await
        .map_err(failed)?;
    match &witnessed.checkpoint {
        Some(checkpoint) => print!("{checkpoint}"),
        None => println!("no log of the coordinator's was seen yet"),
    }
    if let Some(out) = out {
        std::fs::create_dir_all(out).map_err(at(out))?;
        let write = |name: &str, bytes: &[u8]| {
            let file = out.join(name);
            std::fs::write(&file, bytes).map_err(at(&file))
        };
        if let Some(checkpoint) = &witnessed.checkpoint {
            write("checkpoint", checkpoint.as_bytes())?;
        }
        for (lengths, record) in &witnessed.contradictions {
            write(&format!("{lengths}.contradiction"), record)?;
        }
    }
    if !witnessed.contradictions.is_empty() {
        let count = witnessed.contradictions.len();
        println!(
            "{count} times the log that was announced was not the one that this participant had seen"
        );
    }
    if forget {
        // Last: what is forgotten was the evidence.
        consort_participant::witnessed_log(config, true)
            .await
            .map_err(failed)?;
        println!("forgotten: the next log that the coordinator shows is believed");
    }
    Ok(())
}

async fn serve(options: ServeOptions) -> Result<(), Failure> {
    let config = Config::load(&options.config)?;
    let crash = options.prepare(&config, consort_participant::CRASH_POINTS)?;
    consort_participant::serve(config, crash, options.shutdown())
        .await
        .map_err(|error| Failure::failed(error.code(), error))
}
