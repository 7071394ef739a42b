//! What this organisation keeps on disk: the key that it lies sealed under, and what tools read of a participant that is stopped.

use std::path::PathBuf;
use std::sync::Arc;

use consort_daemon::manifest::ManifestHistory;
use consort_daemon::node::NodeConfig;
use consort_storage::{EmbeddedStore, MemoryStore, RecordStore};
use consort_vault::{SealedRecords, SealedRecordsError, StateKey};

use crate::config::Config;
use crate::error::ParticipantError;
use crate::ledger::{self, PrivacyLedger};
use crate::state::{self, SiteState};
use crate::state_key::{self, Patience};

/// The state file in the state folder.
const STATE_FILE: &str = "state.redb";

/// The key that the state lies sealed under: from its file, or from the broker, for which a tool waits some seconds.
///
/// # Errors
/// [`ParticipantError`] says what to do.
pub async fn state_key(config: &Config) -> Result<Arc<StateKey>, ParticipantError> {
    key_for(config, Patience::OfATool).await
}

/// The same, for a daemon: a broker that is away is waited for.
pub(crate) async fn key_for(
    config: &Config,
    patience: Patience,
) -> Result<Arc<StateKey>, ParticipantError> {
    let broker = config.broker.as_ref();
    match broker.and_then(|broker| Some((broker, broker.state_key.as_ref()?))) {
        Some((broker, key)) => state_key::released(config, broker, key, patience).await,
        None => Ok(config.node.state_key_file()?),
    }
}

/// The key of a state that is to begin: a file is made where there is none yet.
pub(crate) async fn first_state_key(config: &Config) -> Result<Arc<StateKey>, ParticipantError> {
    match config.node.dangerous_state_key_file {
        Some(_) => Ok(config.node.create_state_key_file()?),
        None => state_key(config).await,
    }
}

/// Begins the records of an organisation that has no identity yet; those of another are there, or lost.
pub(crate) fn begin(node: &NodeConfig, key: &Arc<StateKey>) -> Result<(), ParticipantError> {
    if !node.has_identity() {
        let file = state_file(node);
        if let Some(folder) = file.parent() {
            // A folder that cannot be made fails below, by its name.
            let _ = std::fs::create_dir_all(folder);
        }
        let below = Arc::new(EmbeddedStore::open(file)?);
        SealedRecords::create(below, Arc::clone(key), &node.organisation)?;
    }
    Ok(())
}

/// The records of an organisation, each opened once.
pub(crate) fn records(
    node: &NodeConfig,
    key: &Arc<StateKey>,
) -> Result<Arc<dyn RecordStore>, ParticipantError> {
    Ok(Arc::new(sealed_records(node, key)?))
}

fn sealed_records(
    node: &NodeConfig,
    key: &Arc<StateKey>,
) -> Result<SealedRecords, ParticipantError> {
    let file = state_file(node);
    if !file.exists() {
        return Err(ParticipantError::NoState(file));
    }
    let below = Arc::new(EmbeddedStore::open(file)?);
    let collections = [&state::COLLECTIONS[..], &[ledger::COLLECTION]].concat();
    SealedRecords::refuse_unsealed(&*below, &collections)?;
    Ok(SealedRecords::open(
        below,
        Arc::clone(key),
        &node.organisation,
    )?)
}

fn state_file(node: &NodeConfig) -> PathBuf {
    node.state_dir.join(STATE_FILE)
}

/// The records of a participant that is stopped: the state file has one owner at a time. `None` of one that never was.
async fn stopped(config: &Config) -> Result<Option<Arc<dyn RecordStore>>, ParticipantError> {
    if !config.node.has_identity() && !state_file(&config.node).exists() {
        return Ok(None);
    }
    let key = state_key(config).await?;
    records(&config.node, &key).map(Some)
}

/// Seals all that a stopped participant keeps under another key, in a state folder that is new: `into` has the same organisation, its
/// own state folder and its own state key. What lies in the old folder stays as it is.
///
/// # Errors
/// [`ParticipantError`]; the new folder is not to be used then.
///
/// # Security
/// There are two states then, and whoever runs the old one spends and signs again: the old folder is to be wiped.
pub async fn reseal(config: &Config, into: &Config) -> Result<(), ParticipantError> {
    let (from, to) = (&config.node, &into.node);
    if to.has_identity() || state_file(to).exists() {
        return Err(ParticipantError::StateThere(to.state_dir.clone()));
    }
    let (old, new) = (state_key(config).await?, state_key(into).await?);
    let identity = from.identity(&old)?;
    let records = sealed_records(from, &old)?;
    begin(to, &new)?;
    let changes = records.all().map_err(SealedRecordsError::from)?;
    sealed_records(to, &new)?
        .change(&changes)
        .map_err(SealedRecordsError::from)?;
    ManifestHistory::reseal(&from.state_dir, &old, &to.state_dir, &new)?;
    // Last: a folder without an identity is none.
    to.keep_identity(&identity, &new)?;
    Ok(())
}

/// The privacy ledger where it lies, of a daemon that is stopped: the state file has one owner at a time. Of a participant that
/// never ran, an empty one.
///
/// # Errors
/// [`ParticipantError`] when the state key cannot be had, the daemon runs, or the file is damaged.
pub async fn open_ledger(config: &Config) -> Result<PrivacyLedger, ParticipantError> {
    let cap = config.consent()?.lifetime_cap()?;
    let records = stopped(config).await?;
    let records = records.unwrap_or_else(|| Arc::new(MemoryStore::new()));
    Ok(PrivacyLedger::open(records, cap)?)
}

/// What a daemon that is stopped has kept of coordinators that signed two contradicting statements: each with its job's name.
///
/// # Errors
/// [`ParticipantError`] when the state key cannot be had, the daemon runs, or the file is damaged.
pub async fn split_views(config: &Config) -> Result<Vec<(String, Vec<u8>)>, ParticipantError> {
    match stopped(config).await? {
        Some(records) => Ok(SiteState::open(records)?.split_views()?),
        None => Ok(Vec::new()),
    }
}

/// What a daemon that is stopped has kept of its coordinator's log.
#[derive(Debug)]
pub struct WitnessedLog {
    /// The checkpoint of the longest log that it has seen.
    pub checkpoint: Option<String>,
    /// What shows that the log did not go on as it was: each a proof that does not hold, named by both lengths.
    pub contradictions: Vec<(String, Vec<u8>)>,
}

/// What a daemon that is stopped has kept of its coordinator's log. With `forget` it is told to believe the next log that it is shown.
///
/// # Errors
/// [`ParticipantError`] when the state key cannot be had, the daemon runs, or the file is damaged.
pub async fn witnessed_log(
    config: &Config,
    forget: bool,
) -> Result<WitnessedLog, ParticipantError> {
    let Some(records) = stopped(config).await? else {
        return Ok(WitnessedLog {
            checkpoint: None,
            contradictions: Vec::new(),
        });
    };
    let mut state = SiteState::open(records)?;
    let witnessed = WitnessedLog {
        checkpoint: state.log_head().map(str::to_owned),
        contradictions: state.log_contradictions()?,
    };
    if forget {
        state.forget_log_head()?;
    }
    Ok(witnessed)
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
