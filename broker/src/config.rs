//! The broker's configuration file: strict TOML, relative paths starting at the file itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consort_contract::Label;
use consort_daemon::config::{self, ConfigError, DaemonConfig};
use consort_daemon::node::NodeConfig;
use consort_privacy::{Cap, Delta, Epsilon, QuantityError};
use serde::{Deserialize, Serialize};

/// Longest age of a key that can be configured: what is never rotated is not a data key. Ten years.
const MAX_AGE_DAYS: u32 = 3660;

/// `config.toml` of a broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where this organisation's participants connect; everyone there is attested.
    pub address: SocketAddr,
    /// Release keys to machines that only a simulated root vouches for. Dangerous: no hardware keeps such a key.
    #[serde(default)]
    pub dangerous_release_to_simulated: bool,
    /// The policy that participants' machines are judged by (TOML): the organisation's own, beside the consortium's manifest.
    pub policy: PathBuf,
    /// The organisation this broker is of, the consortium's roster and manifest, and its own machine.
    pub node: NodeConfig,
    /// The organisation's key, under which data keys lie.
    pub wrapping: WrappingConfig,
    /// Keys of the organisation that older data keys still lie under.
    #[serde(default)]
    pub former_wrapping: Vec<WrappingConfig>,
    /// The key that the participant keeps its own state under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_key: Option<StateKeyConfig>,
    /// The data keys, by their ids, and what each may be released for.
    #[serde(default)]
    pub keys: BTreeMap<Label, KeyRule>,
}

/// The key of the participant's state, which it is given whenever it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateKeyConfig {
    /// Where this organisation's participant connects when it starts: its evidence alone lets it in.
    pub address: SocketAddr,
    /// The key's id.
    pub key_id: Label,
}

/// What a state key is kept as, in the place of a data set: no data key is.
const KEPT_AS: &str = "participant-state";

impl StateKeyConfig {
    pub(crate) fn kept_as() -> Label {
        Label::new(KEPT_AS).expect("letters and a hyphen are a label")
    }
}

/// A key of the organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum WrappingConfig {
    /// A file beside the broker.
    Local(LocalConfig),
    /// AWS Key Management Service, or what speaks like it.
    AwsKms(AwsKmsConfig),
}

/// A key in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Dangerous: whoever copies this file and the broker's state has every data key.
    pub dangerous_key_file: PathBuf,
}

/// A key in AWS KMS. The credentials are read from the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where
/// there is one, `AWS_SESSION_TOKEN`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsConfig {
    /// The key: its id or ARN. No alias: what was wrapped under one could not be unwrapped once it named another key.
    pub key_id: String,
    /// The region, which is part of what is signed.
    pub region: String,
    /// `https://HOST[:PORT]`; `http://` on loopback alone.
    pub endpoint: String,
    /// PEM bundle of the certificate authorities that the endpoint's certificate is verified by; not read for `http://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// What a data key may be released for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRule {
    /// The one data set that lies under it, by the name that jobs use. No other key is for it.
    pub data_set: Label,
    /// Purposes a job may have.
    pub purposes: Vec<Label>,
    /// Largest epsilon of all jobs together that it was released for, for ever, counted at [`Self::delta`].
    pub max_epsilon: f64,
    /// The delta at which that is counted.
    pub delta: f64,
    /// A version older than this is not released, whatever a job says.
    pub max_age_days: u32,
}

impl KeyRule {
    /// The most that all jobs it is released for may cost together.
    ///
    /// # Errors
    /// [`QuantityError`] for a number out of its range.
    pub fn cap(&self) -> Result<Cap, QuantityError> {
        Ok(Cap {
            epsilon: Epsilon::new(self.max_epsilon)?,
            delta: Delta::new(self.delta)?,
        })
    }

    /// How old a version may be.
    pub fn max_age(&self) -> Duration {
        days(self.max_age_days)
    }
}

/// Whole days.
pub(crate) fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path)
    }

    /// Where the data keys lie, wrapped.
    pub fn keys_dir(&self) -> PathBuf {
        self.node.state_dir.join("keys")
    }

    /// Where the log of releases and refusals lies.
    pub fn log_dir(&self) -> PathBuf {
        self.node.state_dir.join("audit")
    }

    /// Every key, of data and of state.
    pub fn key_ids(&self) -> impl Iterator<Item = &Label> {
        let state = self.state_key.iter().map(|state| &state.key_id);
        self.keys.keys().chain(state)
    }

    /// What weakens a promise in this configuration, for the log.
    pub fn dangerous(&self) -> Vec<String> {
        let mut choices = self.node.dangerous();
        if self.dangerous_release_to_simulated {
            choices.push("dangerous_release_to_simulated".to_owned());
        }
        let wrapping = std::iter::once(&self.wrapping).chain(&self.former_wrapping);
        if wrapping
            .into_iter()
            .any(|key| matches!(key, WrappingConfig::Local(_)))
        {
            choices.push("wrapping.local.dangerous_key_file".to_owned());
        }
        choices
    }
}

impl DaemonConfig for Config {
    fn node(&self) -> &NodeConfig {
        &self.node
    }

    fn resolve(&mut self, base: &Path) {
        self.node.resolve(base);
        self.policy = base.join(&self.policy);
        for wrapping in std::iter::once(&mut self.wrapping).chain(&mut self.former_wrapping) {
            match wrapping {
                WrappingConfig::Local(local) => {
                    local.dangerous_key_file = base.join(&local.dangerous_key_file);
                }
                WrappingConfig::AwsKms(kms) => {
                    if let Some(file) = &mut kms.ca_file {
                        *file = base.join(&*file);
                    }
                }
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(state) = &self.state_key {
            if self.keys.contains_key(&state.key_id) {
                return Err(format!(
                    "state_key.key_id = {:?} is one of [keys] too: no key is for data and for state",
                    state.key_id.as_str()
                ));
            }
            if state.address == self.address {
                return Err(format!(
                    "state_key.address = {} is the broker's other port: what is asked without an identity key has a port of its own",
                    state.address
                ));
            }
        }
        let mut key_of = BTreeMap::new();
        for (id, rule) in &self.keys {
            if rule.data_set == StateKeyConfig::kept_as() {
                return Err(format!(
                    "keys.{id}.data_set = \"{KEPT_AS}\" is what state keys are kept as; give the data set another name"
                ));
            }
            // A budget is a key's: a data set under two keys could be released for twice as much as either allows.
            if let Some(other) = key_of.insert(&rule.data_set, id) {
                return Err(format!(
                    "keys.{other} and keys.{id} are both for the data set {}, which would have two budgets; leave one of them \
                     (`consort broker rotate` makes new versions of it)",
                    rule.data_set
                ));
            }
            rule.cap()
                .map_err(|error| format!("keys.{id}.max_epsilon, delta: {error}"))?;
            if !(1..=MAX_AGE_DAYS).contains(&rule.max_age_days) {
                return Err(format!(
                    "keys.{id}.max_age_days = {} must be 1 to {MAX_AGE_DAYS}",
                    rule.max_age_days
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../config.sample.toml");

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn the_sample_configuration_is_read_and_names_every_field() {
        let config = read(SAMPLE).unwrap();
        let fields = |table: &toml::Value| {
            let keys = table.as_table().unwrap().keys();
            keys.cloned().collect::<Vec<_>>()
        };
        let sample: toml::Value = toml::from_str(SAMPLE).unwrap();
        let all = toml::Value::try_from(&config).unwrap();
        assert_eq!(fields(&sample), fields(&all));
        for table in ["node", "wrapping"] {
            assert_eq!(fields(&sample[table]), fields(&all[table]));
        }
        assert_eq!(
            fields(&sample["keys"]["breast-cancer-key"]),
            fields(&all["keys"]["breast-cancer-key"])
        );
        let WrappingConfig::AwsKms(kms) = &config.former_wrapping[0] else {
            panic!("the sample shows both kinds")
        };
        assert!(kms.ca_file.as_ref().unwrap().is_absolute());
    }

    #[test]
    fn what_is_dangerous_is_told() {
        let config = read(SAMPLE).unwrap();
        assert!(!config.dangerous_release_to_simulated);
        let told = config.dangerous().join(" ");
        assert!(told.contains("dangerous_key_file"), "{told}");
        let text = SAMPLE.replace(
            "dangerous_release_to_simulated = false",
            "dangerous_release_to_simulated = true",
        );
        let told = read(&text).unwrap().dangerous().join(" ");
        assert!(told.contains("dangerous_release_to_simulated"), "{told}");
    }

    #[test]
    fn two_keys_for_one_data_set_are_refused_and_for_two_are_not() {
        let rule = |data_set: &str| {
            format!(
                "{SAMPLE}\n[keys.second]\ndata_set = \"{data_set}\"\npurposes = [\"diagnosis\"]\n\
                 max_epsilon = 1.0\ndelta = 0.00001\nmax_age_days = 1\n"
            )
        };
        let refused = read(&rule("breast-cancer")).unwrap_err().to_string();
        for id in ["keys.breast-cancer-key", "keys.second"] {
            assert!(refused.contains(id), "{refused}");
        }
        assert_eq!(read(&rule("other")).unwrap().keys.len(), 2);
    }

    #[test]
    fn a_state_key_is_no_data_key_and_has_a_port_of_its_own() {
        let refused = |from: &str, to: &str| {
            let text = SAMPLE.replace(from, to);
            assert_ne!(text, SAMPLE);
            read(&text).unwrap_err().to_string()
        };
        let told = refused(
            "key_id = \"clinic-1-state\"",
            "key_id = \"breast-cancer-key\"",
        );
        assert!(told.contains("state_key.key_id"), "{told}");
        let told = refused("127.0.0.1:7501", "127.0.0.1:7500");
        assert!(told.contains("state_key.address"), "{told}");
        let told = refused(
            "data_set = \"breast-cancer\"",
            "data_set = \"participant-state\"",
        );
        assert!(told.contains("keys.breast-cancer-key.data_set"), "{told}");
    }

    #[test]
    fn a_key_that_may_grow_too_old_and_an_unknown_field_are_refused_by_name() {
        let text = SAMPLE.replace("max_age_days = 365", "max_age_days = 0");
        assert!(
            read(&text)
                .unwrap_err()
                .to_string()
                .contains("max_age_days")
        );
        let text = format!("colour = \"blue\"\n{SAMPLE}");
        assert!(read(&text).unwrap_err().to_string().contains("colour"));
    }
}
