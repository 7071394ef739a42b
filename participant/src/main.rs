//! `consort-participant`: the daemon alone, for an image that holds no more than it needs.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use consort_daemon::crash::CrashAt;
use consort_daemon::program;
use consort_participant::{CRASH_POINTS, Config, init, serve, sign_manifest, sign_roster};

/// Takes part in a consortium's trainings. Nothing leaves but votes and masked updates.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this organisation's identity key and its roster entry.
    Init(ConfigFile),
    /// Sign the roster that the configuration names, and print its fingerprint.
    SignRoster(ConfigFile),
    /// Sign the manifest that the configuration names, and print its fingerprint.
    SignManifest(ConfigFile),
    /// Run the daemon.
    Serve {
        #[command(flatten)]
        config: ConfigFile,
        /// Kill this process at a point of a round, for tests: POINT@ROUND.
        #[arg(long, value_name = "POINT@ROUND")]
        dangerous_crash_at: Vec<CrashAt>,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Init(file) => {
            let config = Config::load(&file.config)?;
            runtime()?.block_on(init(&config))?;
            println!("{}", config.node.entry_file().display());
            Ok(())
        }
        Command::SignRoster(file) => {
            println!(
                "{}",
                runtime()?.block_on(sign_roster(&Config::load(&file.config)?))?
            );
            Ok(())
        }
        Command::SignManifest(file) => {
            let manifest =
                runtime()?.block_on(sign_manifest(&Config::load(&file.config)?, None))?;
            println!("{}", manifest.document.hash());
            Ok(())
        }
        Command::Serve {
            config,
            dangerous_crash_at,
        } => {
            let config = Config::load(&config.config)?;
            let crash = program::prepare(&config, dangerous_crash_at, CRASH_POINTS)?;
            let runtime = runtime()?;
            let served = runtime.block_on(serve(config, crash, program::told_to_stop()));
            runtime.shutdown_background();
            Ok(served?)
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("starting the runtime")
}
