//! The coordinator's program of its own, for images that hold nothing else.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use consort_coordinator::{CRASH_POINTS, Config, init, serve};
use consort_daemon::crash::{CrashAt, CrashPoints};
use consort_daemon::telemetry;
use tokio::signal::unix::{SignalKind, signal};

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
            println!(
                "{}",
                config
                    .node
                    .state_dir
                    .join(consort_daemon::node::ENTRY_FILE)
                    .display()
            );
            Ok(())
        }
        Command::Serve {
            config,
            dangerous_crash_at,
        } => {
            let config = Config::load(&config)?;
            telemetry::init_logs(config.node.log_json);
            let crash = CrashPoints::new(dangerous_crash_at, CRASH_POINTS)?;
            let mut terminated =
                signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
            let shutdown = async move {
                tokio::select! {
                    _ = terminated.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            };
            Ok(serve(config, crash, shutdown).await?)
        }
    }
}
