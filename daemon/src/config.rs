//! Strict TOML files: an unknown field is an error that names the file, the line and the field.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::node::NodeConfig;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what is expected.
    #[error("{path} is not valid: {problem}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where and what, and what is expected.
        problem: String,
    },
}

impl ConfigError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "config_unreadable",
            Self::Invalid { .. } => "config_invalid",
        }
    }

    /// A file that was read and does not hold what is expected.
    pub fn invalid(path: &Path, problem: impl ToString) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// The configuration file of a daemon.
pub trait DaemonConfig: DeserializeOwned {
    /// What both daemons have.
    fn node(&self) -> &NodeConfig;

    /// Makes every relative path start at the folder of the file.
    fn resolve(&mut self, base: &Path);

    /// Checks what the types of the fields do not.
    ///
    /// # Errors
    /// Says which field, what it holds and what is expected.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Reads and checks the configuration file of a daemon.
///
/// # Errors
/// [`ConfigError`] names the file, the line and the field.
pub fn load<T: DaemonConfig>(path: &Path) -> Result<T, ConfigError> {
    parse(path, &read(path)?)
}

/// Checks the text of a daemon's configuration file; relative paths start at the folder of `path`.
///
/// # Errors
/// [`ConfigError::Invalid`] names the file, the line and the field.
pub fn parse<T: DaemonConfig>(path: &Path, text: &str) -> Result<T, ConfigError> {
    let mut config: T = parse_toml(path, text)?;
    config
        .check()
        .map_err(|problem| ConfigError::invalid(path, problem))?;
    config.resolve(&base_of(path));
    Ok(config)
}

/// Reads a TOML file into its typed struct.
///
/// # Errors
/// [`ConfigError`] names the file and, for content, the line and the field.
pub fn load_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse_toml(path, &read(path)?)
}

/// Reads the text of a TOML file into its typed struct.
///
/// # Errors
/// [`ConfigError::Invalid`] names the file, the line and the field.
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::invalid(path, error.to_string().trim_end()))
}

/// Reads a JSON file into its typed struct.
///
/// # Errors
/// [`ConfigError`] names the file and, for content, the line and the field.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    serde_json::from_str(&read(path)?).map_err(|error| ConfigError::invalid(path, error))
}

/// Reads a text file.
///
/// # Errors
/// [`ConfigError::Read`].
pub fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file.
///
/// # Errors
/// [`ConfigError::Read`].
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The folder that relative paths in a configuration file start from: the file's own.
fn base_of(file: &Path) -> PathBuf {
    file.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only parsed")]
        port: u16,
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "port = 1\nprot = 2\n").unwrap();
        let text = load_toml::<Sample>(&path).unwrap_err().to_string();
        assert!(
            text.contains("config.toml") && text.contains("line 2") && text.contains("prot"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load_toml::<Sample>(Path::new("nowhere/config.toml")).unwrap_err();
        assert_eq!(error.code(), "config_unreadable");
        assert!(error.to_string().contains("nowhere/config.toml"));
    }
}
