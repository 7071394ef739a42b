//! The coordinator's program of its own, for images that hold nothing else.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use consort_coordinator::{CRASH_POINTS, Config, init, serve};
use consort_daemon::crash::CrashAt;
use consort_daemon::program;

/// Coordinates a consortium's jobs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the identity key, the operators' certificate and their token.
    Init {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Serve until SIGTERM or SIGINT.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Die by SIGKILL at a point of a round, for tests.
        #[arg(long, value_name = "POINT@ROUND")]
        dangerous_crash_at: Vec<CrashAt>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Init { config } => {
            let config = Config::load(&config)?;
            init(&config)?;
            println!("{}", config.node.entry_file().display());
            Ok(())
        }
        Command::Serve {
            config,
            dangerous_crash_at,
        } => {
            let config = Config::load(&config)?;
            let crash = program::prepare(&config, dangerous_crash_at, CRASH_POINTS)?;
            Ok(serve(config, crash, program::told_to_stop()).await?)
        }
    }
}
