//! The participant's configuration file: strict TOML, relative paths starting at the file itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use consort_contract::Label;
use consort_daemon::config::{self, ConfigError, DaemonConfig};
use consort_daemon::node::NodeConfig;
use serde::{Deserialize, Serialize};

use crate::consent::ConsentPolicy;

/// `config.toml` of a participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What both daemons have.
    pub node: NodeConfig,
    /// `HOST:PORT` of the coordinator's attested port. Participants only dial out.
    pub coordinator: String,
    /// What this organisation agrees to (TOML).
    pub consent: PathBuf,
    /// The organisation's key broker, where a data set lies encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerConfig>,
    /// This organisation's data, by the name that jobs use.
    #[serde(default)]
    pub datasets: BTreeMap<Label, DatasetConfig>,
}

/// The broker, pinned: its key and machine, and the policy that its evidence is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `HOST:PORT` of its attested port.
    pub address: String,
    /// Its entry, as `consort broker init` wrote it (JSON).
    pub entry: PathBuf,
    /// Which evidence of it is accepted (TOML): list its measurement and nothing else.
    pub policy: PathBuf,
    /// The key that this participant's state lies under, in the place of `node.dangerous_state_key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_key: Option<StateKeyConfig>,
}

/// The key of the state, which the broker releases at each start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateKeyConfig {
    /// `HOST:PORT` of the broker's port for participants that start.
    pub address: String,
    /// The key's id.
    pub key_id: Label,
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// A CSV file with a header, plain or made by `consort data encrypt`. It is read, never written.
    pub path: PathBuf,
    /// The data key that it lies encrypted under; absent for a plain file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Label>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path)
    }

    /// Reads the consent file that the configuration names.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the field.
    pub fn consent(&self) -> Result<ConsentPolicy, ConfigError> {
        ConsentPolicy::parse(&self.consent, &config::read(&self.consent)?)
    }
}

impl DaemonConfig for Config {
    fn node(&self) -> &NodeConfig {
        &self.node
    }

    fn resolve(&mut self, base: &Path) {
        self.node.resolve(base);
        self.consent = base.join(&self.consent);
        if let Some(broker) = &mut self.broker {
            broker.entry = base.join(&broker.entry);
            broker.policy = base.join(&broker.policy);
        }
        for dataset in self.datasets.values_mut() {
            dataset.path = base.join(&dataset.path);
        }
    }

    fn check(&self) -> Result<(), String> {
        check_address("coordinator", &self.coordinator)?;
        let released = self.broker.as_ref().and_then(|it| it.state_key.as_ref());
        match (released, &self.node.dangerous_state_key_file) {
            (Some(key), None) => check_address("broker.state_key.address", &key.address)?,
            (None, Some(_)) => {}
            (Some(_), Some(_)) => {
                return Err(
                    "node.dangerous_state_key_file and [broker.state_key] are both there; leave one of them, the state lies under one key"
                        .to_owned(),
                );
            }
            (None, None) => {
                return Err(
                    "nothing says where the key of the state is: write [broker.state_key], or node.dangerous_state_key_file"
                        .to_owned(),
                );
            }
        }
        match &self.broker {
            Some(broker) => check_address("broker.address", &broker.address),
            None => {
                let sealed = self.datasets.iter().find(|(_, it)| it.key_id.is_some());
                match sealed {
                    Some((name, _)) => Err(format!(
                        "datasets.{name} lies under a data key and there is no [broker] to ask for it"
                    )),
                    None => Ok(()),
                }
            }
        }
    }
}

fn check_address(field: &str, address: &str) -> Result<(), String> {
    let parts = address.rsplit_once(':');
    if parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        Ok(())
    } else {
        Err(format!("{field} = {address:?} must be HOST:PORT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../participant/config.sample.toml");

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn the_sample_configuration_is_read_and_its_paths_start_at_the_file() {
        let (folder, path) = written(SAMPLE);
        let config = Config::load(&path).unwrap();
        assert_eq!(config.consent, folder.path().join("consent.toml"));
        let dataset = &config.datasets[&Label::new("breast-cancer").unwrap()];
        assert_eq!(dataset.path, folder.path().join("train.sealed"));
        let broker = config.broker.unwrap();
        assert_eq!(broker.policy, folder.path().join("broker-policy.toml"));
        assert_eq!(config.node.state_dir, folder.path().join("state"));
    }

    #[test]
    fn the_sample_configuration_names_every_field() {
        let (_folder, path) = written(SAMPLE);
        let fields = |table: &toml::Table| table.keys().cloned().collect::<Vec<_>>();
        let sample: toml::Table = SAMPLE.parse().unwrap();
        let all = toml::Table::try_from(Config::load(&path).unwrap()).unwrap();
        assert_eq!(fields(&sample), fields(&all));
        let node = |table: &toml::Table| fields(table["node"].as_table().unwrap());
        assert_eq!(node(&sample), node(&all));
        let broker = |table: &toml::Table| fields(table["broker"].as_table().unwrap());
        assert_eq!(broker(&sample), broker(&all));
        let compute = |table: &toml::Table| fields(table["node"]["compute"].as_table().unwrap());
        assert_eq!(compute(&sample), ["mask_tier", "workers"]);
        assert_eq!(compute(&sample), compute(&all));
    }

    #[test]
    fn the_containers_configuration_is_read() {
        let (_folder, path) = written(include_str!("../../docker/config/participant.toml"));
        Config::load(&path).unwrap();
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let (_folder, path) = written(&format!("colour = \"blue\"\n{SAMPLE}"));
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
    }

    #[test]
    fn a_data_set_under_a_key_without_a_broker_is_refused_by_name() {
        let from = SAMPLE.find("[broker]").unwrap();
        let to = SAMPLE.find("[datasets.").unwrap();
        let (_folder, path) = written(&format!("{}{}", &SAMPLE[..from], &SAMPLE[to..]));
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("datasets.breast-cancer"), "{error}");
    }

    #[test]
    fn the_state_key_is_released_or_in_a_file_and_not_both_or_neither() {
        let file = "dangerous_state_key_file = \"state.key\"\n";
        let commented = "# [broker.state_key]\n";
        let table = SAMPLE.find(commented).unwrap();
        let (before, after) = SAMPLE.split_at(table);
        let uncommented: String = after
            .splitn(4, '\n')
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
            .collect();
        let both = format!("{before}{uncommented}");
        let refused = |text: &str| {
            let (_folder, path) = written(text);
            Config::load(&path).unwrap_err().to_string()
        };
        assert!(refused(&both).contains("both"), "{}", refused(&both));
        assert!(refused(&SAMPLE.replace(file, "")).contains("[broker.state_key]"));
        let (_folder, path) = written(&both.replace(file, ""));
        let config = Config::load(&path).unwrap();
        assert!(
            config
                .node
                .dangerous()
                .iter()
                .all(|it| !it.contains("state_key"))
        );
        let key = config.broker.unwrap().state_key.unwrap();
        assert_eq!(key.key_id, Label::new("clinic-1-state").unwrap());
        let no_port = both
            .replace(file, "")
            .replace("127.0.0.1:7501", "127.0.0.1");
        assert!(refused(&no_port).contains("broker.state_key.address"));
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        let (_folder, path) = written(&SAMPLE.replace("127.0.0.1:7400", "127.0.0.1"));
        let error = Config::load(&path).unwrap_err();
        assert!(error.to_string().contains("HOST:PORT"), "{error}");
    }
}
