//! State in real files: sealed from the first start on, refused when it is not whole, and sealed again under another key.

use std::path::Path;

use consort_contract::{JobId, Label};
use consort_daemon::config::DaemonConfig;
use consort_privacy::{DebitKey, Mechanism, NoiseMultiplier, Relation, SamplingRate, Steps, Unit};

use super::*;
use crate::roster::init;

const SAMPLE: &str = include_str!("../config.sample.toml");

/// The sample configuration in a folder, with its state and its key under these names.
fn config(folder: &Path, state: &str, key: &str) -> Config {
    let mut config: Config = toml::from_str(SAMPLE).unwrap();
    config.node.state_dir = state.into();
    config.node.dangerous_state_key_file = Some(key.into());
    config.resolve(folder);
    let consent = include_str!("../consent.sample.toml");
    std::fs::write(&config.consent, consent).unwrap();
    config
}

fn data_set() -> Label {
    Label::new("breast-cancer").unwrap()
}

/// Pays for a release, as a running daemon does.
fn pay(config: &Config, round: u64) {
    let key = config.node.state_key_file().unwrap();
    let records = records(&config.node, &key).unwrap();
    let cap = config.consent().unwrap().lifetime_cap().unwrap();
    let mut ledger = PrivacyLedger::open(records, cap).unwrap();
    let release = Mechanism::new(
        NoiseMultiplier::new(50.0).unwrap(),
        SamplingRate::FULL_BATCH,
        Steps::new(1).unwrap(),
        Relation::AddRemove,
        Unit::Record,
    );
    let paid = DebitKey::new("job-1", round, 1).unwrap();
    ledger.pay(&data_set(), paid, &release).unwrap();
}

async fn paid_for(config: &Config) -> u64 {
    open_ledger(config).await.unwrap().sequence()
}

async fn refused(config: &Config) -> &'static str {
    open_ledger(config).await.err().expect("it opens").code()
}

#[tokio::test]
async fn what_a_participant_keeps_is_sealed_from_the_first_start_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "state", "state.key");
    assert_eq!(paid_for(&config).await, 0, "it never ran");
    assert!(!config.node.state_dir.exists());
    init(&config).await.unwrap();
    for round in 1..=3 {
        pay(&config, round);
    }
    assert_eq!(paid_for(&config).await, 3);
    let file = std::fs::read(state_file(&config.node)).unwrap();
    for plain in [&b"breast-cancer"[..], b"job-1", b"ledger"] {
        assert!(!file.windows(plain.len()).any(|part| part == plain));
    }
    init(&config).await.unwrap();
    assert_eq!(paid_for(&config).await, 3, "init again makes nothing new");
}

#[tokio::test]
async fn a_state_file_that_is_gone_emptied_of_another_key_or_not_sealed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "state", "state.key");
    init(&config).await.unwrap();
    pay(&config, 1);
    let (file, key) = (state_file(&config.node), folder.path().join("state.key"));
    let (whole, right) = (std::fs::read(&file).unwrap(), std::fs::read(&key).unwrap());

    std::fs::write(&key, "5a".repeat(32)).unwrap();
    assert_eq!(refused(&config).await, "vault_sealed");
    std::fs::remove_file(&key).unwrap();
    let error = open_ledger(&config).await.err().unwrap();
    assert_eq!(error.code(), "vault_key_file");
    assert!(error.to_string().contains("state.key"), "{error}");
    std::fs::write(&key, right).unwrap();

    std::fs::remove_file(&file).unwrap();
    assert_eq!(refused(&config).await, "participant_no_state");
    init(&config).await.unwrap();
    assert_eq!(
        refused(&config).await,
        "participant_no_state",
        "init makes no second ledger"
    );
    drop(EmbeddedStore::open(&file).unwrap());
    assert_eq!(refused(&config).await, "state_no_head");

    let plain = EmbeddedStore::open(&file).unwrap();
    SiteState::open(Arc::new(plain))
        .unwrap()
        .answer(&JobId::new("job-1").unwrap(), 1, 1)
        .unwrap();
    assert_eq!(refused(&config).await, "state_unsealed");
    std::fs::write(&file, whole).unwrap();
    assert_eq!(paid_for(&config).await, 1);
}

#[tokio::test]
async fn state_that_is_sealed_again_is_the_same_under_the_new_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let old = config(folder.path(), "state", "state.key");
    let new = config(folder.path(), "state-2", "state-2.key");
    let entry = init(&old).await.unwrap();
    pay(&old, 1);
    pay(&old, 2);
    new.node.create_state_key_file().unwrap();
    reseal(&old, &new).await.unwrap();
    assert_eq!((paid_for(&new).await, paid_for(&old).await), (2, 2));
    assert_eq!(init(&new).await.unwrap(), entry);
    let mixed = config(folder.path(), "state-2", "state.key");
    assert_eq!(refused(&mixed).await, "vault_sealed");
    pay(&new, 3);
    let again = reseal(&old, &new).await.unwrap_err();
    assert_eq!(again.code(), "participant_state_there");
    assert_eq!(paid_for(&new).await, 3);
}
