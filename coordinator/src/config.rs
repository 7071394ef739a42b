//! The coordinator's configuration file: strict TOML, relative paths starting at the file itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use consort_daemon::config::{self, ConfigError, DaemonConfig};
use consort_daemon::node::NodeConfig;
use serde::{Deserialize, Serialize};

/// `config.toml` of a coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where participants connect; everyone there is attested.
    pub participants_address: SocketAddr,
    /// Where operators connect, with TLS and a token.
    pub operators_address: SocketAddr,
    /// What both daemons have.
    pub node: NodeConfig,
    /// The operators' port.
    pub operators: OperatorsConfig,
}

/// How the operators' port proves itself, and what it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorsConfig {
    /// TLS certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// The file with the bearer token.
    pub token_file: PathBuf,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load(path)
    }
}

impl DaemonConfig for Config {
    fn node(&self) -> &NodeConfig {
        &self.node
    }

    fn resolve(&mut self, base: &Path) {
        self.node.resolve(base);
        let operators = &mut self.operators;
        for path in [
            &mut operators.certificate,
            &mut operators.key,
            &mut operators.token_file,
        ] {
            *path = base.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../config.sample.toml");

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
        assert_eq!(
            config.operators.token_file,
            folder.path().join("operator.token")
        );
        assert_eq!(config.node.state_dir, folder.path().join("state"));
    }

    #[test]
    fn the_sample_configuration_names_every_field() {
        let (_folder, path) = written(SAMPLE);
        let fields = |table: &toml::Value| {
            let keys = table.as_table().unwrap().keys();
            keys.cloned().collect::<Vec<_>>()
        };
        let sample: toml::Value = toml::from_str(SAMPLE).unwrap();
        let all = toml::Value::try_from(Config::load(&path).unwrap()).unwrap();
        assert_eq!(fields(&sample), fields(&all));
        assert_eq!(fields(&sample["operators"]), fields(&all["operators"]));
        assert_eq!(fields(&sample["node"]), fields(&all["node"]));
        let compute = |table: &toml::Value| fields(&table["node"]["compute"]);
        assert_eq!(compute(&sample), ["mask_tier", "workers"]);
        assert_eq!(compute(&sample), compute(&all));
    }

    #[test]
    fn the_containers_configuration_is_read() {
        let (_folder, path) = written(include_str!("../../docker/config/coordinator.toml"));
        Config::load(&path).unwrap();
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let (_folder, path) = written(&format!("colour = \"blue\"\n{SAMPLE}"));
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
    }
}
