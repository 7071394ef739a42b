//! `consort uplink`: the attested channel for a participant in another language on the same machine.

use std::path::PathBuf;

use clap::Args;
use consort_participant::{Config, LoopbackAddress};

use crate::failure::Failure;
use crate::serve::shutdown;

/// Where the uplink dials and where it listens.
#[derive(Args)]
pub(crate) struct Options {
    /// The participant's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The port on loopback where the coordinator's services are offered in plain text; every process of this machine reaches
    /// it. 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    dangerous_local: String,
    /// Stop when standard input ends, so that the uplink does not outlive the program that started it
    #[arg(long)]
    until_input_ends: bool,
}

/// Runs the command.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let address: LoopbackAddress = options
        .dangerous_local
        .parse()
        .map_err(|error: consort_participant::NotLoopback| Failure::usage(error.code(), error))?;
    let config = Config::load(&options.config)?;
    consort_daemon::telemetry::init_logs(config.node.log_json);
    let stop = shutdown(options.until_input_ends);
    consort_participant::serve_loopback(config, address, stop)
        .await
        .map_err(|error| Failure::failed(error.code(), error))
}
