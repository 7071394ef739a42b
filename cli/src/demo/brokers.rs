//! The demo's key brokers, one for each clinic: its records are encrypted there, and only what is encrypted goes to the participant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use consort_audit::Rule;
use consort_broker::Config;
use consort_broker::config::{KeyRule, LocalConfig, WrappingConfig};
use consort_contract::Label;
use consort_participant::config::{BrokerConfig, DatasetConfig};

use super::documents::{PURPOSE, broker_node, policy_for};
use super::jobs::DemoJob;
use super::layout::{Layout, label, to_toml, write};
use super::options::Plan;
use super::processes::Daemon;
use super::site::TRAIN_FILE;
use crate::failure::{Failure, at};

/// File of the encrypted records, in the participant's folder.
pub(super) const SEALED_FILE: &str = "train.sealed";

/// The policy that each side judges the other by, in its own folder.
const POLICY_FILE: &str = "broker-policy.toml";

/// How old a key of the demo may be.
const MAX_AGE_DAYS: u32 = 30;

/// Name of a clinic's broker's folder.
pub(super) fn broker_of(site: &str) -> String {
    format!("{site}-broker")
}

fn key_id(job: &DemoJob) -> Result<Label, Failure> {
    label(&format!("{}-key", job.name))
}

/// How a participant finds its broker.
pub(super) fn pinned(site: &str, address: SocketAddr) -> BrokerConfig {
    BrokerConfig {
        address: address.to_string(),
        entry: Path::new("..")
            .join(broker_of(site))
            .join("state/entry.json"),
        policy: POLICY_FILE.into(),
        state_key: None,
    }
}

/// The encrypted data set in a participant's configuration.
pub(super) fn dataset(job: &DemoJob) -> Result<DatasetConfig, Failure> {
    Ok(DatasetConfig {
        path: SEALED_FILE.into(),
        key_id: Some(key_id(job)?),
    })
}

/// Makes the brokers' files with the commands that people use: `broker init`, `data encrypt`. The plain records go to the broker's
/// folder, which stands for wherever the clinic keeps them.
pub(super) async fn prepare(
    layout: &Layout,
    plan: &Plan,
    simulated_root: &str,
) -> Result<(), Failure> {
    for (site, address) in plan.sites.iter().zip(layout.brokers()) {
        let (own, participants) = (
            layout.folder(&broker_of(&site.name)),
            layout.folder(&site.name),
        );
        std::fs::create_dir_all(&own).map_err(at(&own))?;
        write(
            &own.join(POLICY_FILE),
            &policy_for(simulated_root, &["consort-participant"]),
        )?;
        write(
            &participants.join(POLICY_FILE),
            &policy_for(simulated_root, &["consort-broker"]),
        )?;
        let (plain, moved) = (participants.join(TRAIN_FILE), own.join(TRAIN_FILE));
        std::fs::rename(&plain, &moved).map_err(at(&plain))?;
        let written = configuration(&site.name, *address, &plan.job)?;
        let path = layout.config(&broker_of(&site.name));
        write(&path, &to_toml(&written)?)?;
        let config = crate::broker::load(&path)?;
        consort_broker::init(&config)
            .await
            .map_err(crate::broker::failed)?;
        let (name, key) = consort_broker::newest_key(&config, &key_id(&plan.job)?)
            .await
            .map_err(crate::broker::failed)?;
        crate::data::encrypt(&moved, &participants.join(SEALED_FILE), &name, &key)?;
    }
    Ok(())
}

fn configuration(site: &str, address: SocketAddr, job: &DemoJob) -> Result<Config, Failure> {
    // Room for one job of the asked epsilon, as in the participant's own ledger.
    let rule = KeyRule {
        data_set: label(job.name)?,
        purposes: vec![label(PURPOSE)?],
        max_epsilon: job.epsilon,
        delta: job.delta,
        max_age_days: MAX_AGE_DAYS,
    };
    Ok(Config {
        address,
        // The demo's machines are software: without this they would get no key.
        dangerous_release_to_simulated: true,
        policy: POLICY_FILE.into(),
        node: broker_node(site, &broker_of(site)),
        wrapping: WrappingConfig::Local(LocalConfig {
            dangerous_key_file: "organisation.key".into(),
        }),
        former_wrapping: Vec::new(),
        state_key: None,
        keys: BTreeMap::from([(key_id(job)?, rule)]),
    })
}

/// The brokers to run.
pub(super) fn daemons(layout: &Layout, plan: &Plan) -> Vec<Daemon> {
    let broker = |name: String| Daemon {
        program: "broker",
        config: layout.config(&name),
        name,
        crash_at: None,
    };
    let sites = plan.sites.iter().filter(|_| plan.sealed_data);
    sites.map(|site| broker(broker_of(&site.name))).collect()
}

/// Keys that were released, as the brokers' logs say, each of which verified.
pub(super) fn releases(layout: &Layout, plan: &Plan) -> Result<u64, Failure> {
    let mut released = 0;
    for site in &plan.sites {
        let log: PathBuf = layout.folder(&broker_of(&site.name)).join("state/audit");
        let report = consort_audit::verify(&log, None)
            .map_err(|error| crate::audit::broken(&log, &error))?;
        let rule = Rule::KeyRelease.to_string();
        let lines = report.checked.iter().filter(|line| line.what == rule);
        released += lines.map(|line| line.count).sum::<u64>();
    }
    Ok(released)
}
