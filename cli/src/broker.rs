//! `consort broker`: an organisation's key broker.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consort_broker::Config;
use consort_contract::Label;
use serde_json::json;

use crate::failure::Failure;
use crate::said::said;
use crate::serve::ServeOptions;

/// What can be done with a broker.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make its identity, the organisation's key if it is a file, and the first version of every data key
    Init(ConfigFile),
    /// Run it until it is told to stop
    Serve(ServeOptions),
    /// Make a new version of a data key, which data sets are encrypted under from now on
    Rotate {
        #[command(flatten)]
        config: ConfigFile,
        /// The data key, as the configuration names it
        #[arg(long, value_name = "ID")]
        key_id: Label,
    },
    /// Put every data key under the organisation's key in force, after it was replaced
    Rewrap(ConfigFile),
    /// List the data keys and their versions
    Keys(ConfigFile),
}

/// Where a broker's configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The broker's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        load(&self.config)
    }
}

/// Reads a broker's configuration.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    Ok(Config::load(path)?)
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(file) => {
            let config = file.load()?;
            consort_broker::init(&config).await.map_err(failed)?;
            let entry = config.node.entry_file();
            said(file.json, &json!({ "entry": entry }), entry.display());
            Ok(())
        }
        Command::Serve(options) => {
            let config = load(&options.config)?;
            let crash = options.prepare(&config, consort_broker::CRASH_POINTS)?;
            consort_broker::serve(config, crash, options.shutdown())
                .await
                .map_err(failed)
        }
        Command::Rotate { config, key_id } => {
            let made = consort_broker::rotate(&config.load()?, &key_id)
                .await
                .map_err(failed)?;
            let text = format!(
                "{key_id} version {}\n\
                 Encrypt the data set {} again: what lies under an older version stays readable until that is too old.",
                made.version, made.data_set
            );
            let object = json!({
                "key_id": key_id,
                "version": made.version,
                "data_set": made.data_set.to_string(),
            });
            said(config.json, &object, text);
            Ok(())
        }
        Command::Rewrap(file) => {
            let moved = consort_broker::rewrap(&file.load()?)
                .await
                .map_err(failed)?;
            let text = format!("{moved} versions were put under the organisation's key in force");
            said(file.json, &json!({ "versions": moved }), text);
            Ok(())
        }
        Command::Keys(file) => keys(&file.load()?, file.json),
    }
}

fn keys(config: &Config, json: bool) -> Result<(), Failure> {
    let store = consort_broker::KeyStore::new(config.keys_dir());
    for id in config.key_ids() {
        for version in store
            .versions(id)
            .map_err(|fault| Failure::failed(fault.code(), fault))?
        {
            let text = format!(
                "{id} version {} of data set {}, made at {} (milliseconds since 1970), under {}",
                version.version, version.data_set, version.created_unix_ms, version.wrapped_by
            );
            let object = json!({
                "key_id": id,
                "version": version.version,
                "data_set": version.data_set.to_string(),
                "created_unix_ms": version.created_unix_ms,
                "wrapped_by": version.wrapped_by.to_string(),
            });
            said(json, &object, text);
        }
    }
    Ok(())
}

/// What a broker could not do.
pub(crate) fn failed(error: consort_broker::BrokerError) -> Failure {
    Failure::failed(error.code(), error)
}
