//! What a broker needs before it first serves, and what is done to its keys: made, rotated, put under another key.

use std::time::SystemTime;

use consort_contract::{Label, OrganisationId, RosterEntry};
use consort_vault::{DataKey, KeyName};

use crate::config::{Config, StateKeyConfig};
use crate::error::BrokerError;
use crate::keys::{KeyStore, StoredVersion};
use crate::wrapping::{OrganisationKeys, create};

/// Makes what is missing and keeps what is there: the identity key, the organisation's key if it is one in a file, and the first
/// version of every data key. Gives the broker's entry, which its participant pins.
///
/// # Errors
/// [`BrokerError`] names the file.
pub async fn init(config: &Config) -> Result<RosterEntry, BrokerError> {
    OrganisationId::new(&config.node.organisation)?;
    let store = KeyStore::new(config.keys_dir());
    let locked = store.lock()?;
    let entry = config.node.init(&*config.node.create_state_key_file()?)?;
    create(&config.wrapping)?;
    let keys = OrganisationKeys::open(config)?;
    for (id, rule) in &config.keys {
        if store.versions(id)?.is_empty() {
            locked
                .rotate(id, &rule.data_set, &keys, SystemTime::now())
                .await?;
        }
    }
    if let Some(state) = &config.state_key
        && store.versions(&state.key_id)?.is_empty()
    {
        let kept_as = StateKeyConfig::kept_as();
        locked
            .rotate(&state.key_id, &kept_as, &keys, SystemTime::now())
            .await?;
    }
    Ok(entry)
}

/// Makes the next version of a data key.
///
/// # Errors
/// [`BrokerError`]; [`BrokerError::UnknownKey`] for a key that the configuration does not name.
pub async fn rotate(config: &Config, key_id: &Label) -> Result<StoredVersion, BrokerError> {
    let state = config.state_key.as_ref();
    if state.is_some_and(|state| state.key_id == *key_id) {
        return Err(BrokerError::StateKeyStays(key_id.clone()));
    }
    let rule = config
        .keys
        .get(key_id)
        .ok_or_else(|| BrokerError::UnknownKey(key_id.clone()))?;
    let keys = OrganisationKeys::open(config)?;
    let store = KeyStore::new(config.keys_dir());
    Ok(store
        .lock()?
        .rotate(key_id, &rule.data_set, &keys, SystemTime::now())
        .await?)
}

/// Puts every version of every data key under the organisation's key in force; how many were not.
///
/// # Errors
/// [`BrokerError`].
pub async fn rewrap(config: &Config) -> Result<usize, BrokerError> {
    let store = KeyStore::new(config.keys_dir());
    let locked = store.lock()?;
    create(&config.wrapping)?;
    let keys = OrganisationKeys::open(config)?;
    let mut moved = 0;
    for id in config.key_ids() {
        moved += locked.rewrap(id, &keys).await?;
    }
    Ok(moved)
}

/// The newest version of a data key, to seal a data set under. For the organisation's own hands, beside the broker.
///
/// # Errors
/// [`BrokerError`].
pub async fn newest_key(
    config: &Config,
    key_id: &Label,
) -> Result<(KeyName, DataKey), BrokerError> {
    let unknown = || BrokerError::UnknownKey(key_id.clone());
    if !config.keys.contains_key(key_id) {
        return Err(unknown());
    }
    let store = KeyStore::new(config.keys_dir());
    let newest = store.versions(key_id)?.pop().ok_or_else(unknown)?;
    let keys = OrganisationKeys::open(config)?;
    let key = store.unwrap(key_id, &newest, &keys).await?;
    let name = KeyName {
        key_id: key_id.clone(),
        version: newest.version,
        data_set: newest.data_set,
    };
    Ok((name, key))
}
