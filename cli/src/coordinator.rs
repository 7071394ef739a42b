//! `consort coordinator`: the consortium's coordinator, the same code as the small daemon.

use std::path::PathBuf;

use clap::Subcommand;
use consort_coordinator::Config;
use serde_json::json;

use crate::failure::Failure;
use crate::said::said;
use crate::serve::ServeOptions;

/// What can be done with a coordinator.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make its keys, its operators' certificate and token, and its roster entry
    Init {
        /// Its configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
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
            consort_coordinator::init(&config)
                .map_err(|error| Failure::failed(error.code(), error))?;
            let entry = config.node.entry_file();
            said(json, &json!({ "entry": entry }), entry.display());
            Ok(())
        }
        Command::Serve(options) => serve(options).await,
    }
}

async fn serve(options: ServeOptions) -> Result<(), Failure> {
    let config = Config::load(&options.config)?;
    let crash = options.prepare(&config, consort_coordinator::CRASH_POINTS)?;
    consort_coordinator::serve(config, crash, options.shutdown())
        .await
        .map_err(|error| Failure::failed(error.code(), error))
}
