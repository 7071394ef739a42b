//! The organisation's keys, under which data keys lie on disk: a file, or a key management service.

use std::path::Path;

use consort_daemon::config::ConfigError;
use consort_vault::{DataKey, KeyName, StateKey, VaultError};

use crate::config::{Config, WrappingConfig};
use crate::kms::{AwsKms, KmsFault};

/// What a wrapped key is bound to: it opens as nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Which data key it is.
    pub name: KeyName,
    /// When it was made: its age decides whether it is released, so it cannot be made younger.
    pub created_unix_ms: u64,
}

impl Wrapped {
    /// One word for all of it: labels hold no `/`.
    fn place(&self) -> String {
        let KeyName {
            key_id,
            version,
            data_set,
        } = &self.name;
        format!("{key_id}/{version}/{data_set}/{}", self.created_unix_ms)
    }
}

/// What data keys are called in a file under a local key.
const KIND: &str = "data-key";

/// The organisation's key in force and its former ones.
pub struct OrganisationKeys {
    current: OrganisationKey,
    former: Vec<OrganisationKey>,
}

impl OrganisationKeys {
    /// Opens the keys that the configuration names.
    ///
    /// # Errors
    /// [`WrappingFault`] names the file or the service.
    pub fn open(config: &Config) -> Result<Self, WrappingFault> {
        let former = config.former_wrapping.iter();
        Ok(Self {
            current: OrganisationKey::open(&config.wrapping)?,
            former: former
                .map(OrganisationKey::open)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The name of the key in force, as wrapped keys carry it.
    pub fn current(&self) -> String {
        self.current.name()
    }

    /// Makes a data key and wraps it under the key in force.
    ///
    /// # Errors
    /// [`WrappingFault`].
    pub async fn generate(&self, what: &Wrapped) -> Result<(DataKey, Vec<u8>), WrappingFault> {
        self.current.generate(what).await
    }

    /// Wraps a data key under the key in force.
    ///
    /// # Errors
    /// [`WrappingFault`].
    pub async fn wrap(&self, what: &Wrapped, key: &DataKey) -> Result<Vec<u8>, WrappingFault> {
        self.current.wrap(what, key).await
    }

    /// Unwraps a data key that was wrapped under one of the keys.
    ///
    /// # Errors
    /// [`WrappingFault::Unknown`] when it was wrapped under none of them, and whatever the key says.
    pub async fn unwrap(
        &self,
        what: &Wrapped,
        wrapped_by: &str,
        wrapped: &[u8],
    ) -> Result<DataKey, WrappingFault> {
        let all = std::iter::once(&self.current).chain(&self.former);
        let key = all.into_iter().find(|key| key.name() == wrapped_by);
        let key = key.ok_or_else(|| WrappingFault::Unknown(wrapped_by.to_owned()))?;
        key.unwrap(what, wrapped).await
    }
}

impl std::fmt::Debug for OrganisationKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OrganisationKeys({})", self.current())
    }
}

/// One key of the organisation.
enum OrganisationKey {
    /// In a file.
    Local(StateKey),
    /// In a service.
    AwsKms(AwsKms),
}

impl OrganisationKey {
    fn open(config: &WrappingConfig) -> Result<Self, WrappingFault> {
        match config {
            WrappingConfig::Local(local) => Ok(Self::Local(StateKey::from_dangerous_file(
                &local.dangerous_key_file,
            )?)),
            WrappingConfig::AwsKms(kms) => Ok(Self::AwsKms(AwsKms::open(kms)?)),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Local(key) => format!("local/{}", key.fingerprint()),
            Self::AwsKms(kms) => kms.name(),
        }
    }

    async fn generate(&self, what: &Wrapped) -> Result<(DataKey, Vec<u8>), WrappingFault> {
        match self {
            Self::Local(_) => {
                let key = DataKey::random();
                let wrapped = self.wrap(what, &key).await?;
                Ok((key, wrapped))
            }
            Self::AwsKms(kms) => kms.generate(what).await,
        }
    }

    async fn wrap(&self, what: &Wrapped, key: &DataKey) -> Result<Vec<u8>, WrappingFault> {
        match self {
            Self::Local(own) => Ok(own.seal(KIND, &what.place(), key.expose())),
            Self::AwsKms(kms) => kms.wrap(what, key).await,
        }
    }

    async fn unwrap(&self, what: &Wrapped, wrapped: &[u8]) -> Result<DataKey, WrappingFault> {
        match self {
            Self::Local(own) => {
                let plain = own.open(KIND, &what.place(), wrapped)?;
                DataKey::from_slice(&plain).ok_or(WrappingFault::Length)
            }
            Self::AwsKms(kms) => kms.unwrap(what, wrapped).await,
        }
    }
}

/// Makes the organisation's key, if it is one in a file that is not there yet.
///
/// # Errors
/// [`WrappingFault::Vault`].
pub(crate) fn create(config: &WrappingConfig) -> Result<(), WrappingFault> {
    match config {
        WrappingConfig::Local(local) => {
            let path: &Path = &local.dangerous_key_file;
            StateKey::create_dangerous_file(path)?;
            Ok(())
        }
        WrappingConfig::AwsKms(_) => Ok(()),
    }
}

/// A data key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrappingFault {
    /// The organisation's key file, or what lies under it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Wrapped under a key that the configuration does not name.
    #[error(
        "a data key lies under the organisation's key {0}, which is neither wrapping nor one of former_wrapping"
    )]
    Unknown(String),
    /// What was unwrapped is no data key.
    #[error("what was unwrapped is no data key of 32 bytes")]
    Length,
    /// The service.
    #[error(transparent)]
    Kms(#[from] KmsFault),
}

impl WrappingFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Vault(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Unknown(_) => "wrapping_unknown",
            Self::Length => "wrapping_length",
            Self::Kms(fault) => fault.code(),
        }
    }
}
