//! What a job asks of every member's machine, and how a job file says it: the fields that users of cloud training platforms expect.
//!
//! `training_job`, `data_access.access_control` and `data_access.monitoring` of a job file each mean something here, or are refused with
//! the reason. What every job has anyway (attestation, AES-256 on the way, authentication, the audit log) is accepted and asks for
//! nothing more; what a member's machine must have beside it is a [`Requirements`], part of the contract, and each member checks it
//! before it votes.

use consort_aggregation::Canonical;
use serde::{Deserialize, Serialize};

use crate::job::{DataAccessDocument, EncryptionDocument, JobError};
use crate::quantity::{Days, Size, Speed};

/// What every member's machine must have; each member judges its own before it votes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Bytes of main memory.
    pub memory_bytes: Option<u64>,
    /// Free bytes where the member keeps its state.
    pub storage_bytes: Option<u64>,
    /// Speed of its fastest network link, bits per second.
    pub network_bits_per_second: Option<u64>,
    /// A confidential VM of genuine hardware, and a policy that accepts no simulated evidence of others.
    pub genuine_hardware: bool,
    /// Metrics that are served, so that alerts can be made from them.
    pub metrics: bool,
}

impl Requirements {
    /// Adds what is asked for, each under a name of its own; nothing for a job that asks for nothing.
    pub(crate) fn encode(&self, canonical: Canonical) -> Canonical {
        let numbers = [
            ("requirements.memory_bytes", self.memory_bytes),
            ("requirements.storage_bytes", self.storage_bytes),
            (
                "requirements.network_bits_per_second",
                self.network_bits_per_second,
            ),
            (
                "requirements.genuine_hardware",
                self.genuine_hardware.then_some(1),
            ),
            ("requirements.metrics", self.metrics.then_some(1)),
        ];
        numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?)))
            .fold(canonical, |canonical, (name, number)| {
                canonical.str(name).u64(number)
            })
    }

    /// Checks the numbers.
    pub(crate) fn check(&self) -> Result<(), JobError> {
        let numbers = [
            ("training_job.compute.memory", self.memory_bytes),
            ("training_job.compute.storage", self.storage_bytes),
            (
                "training_job.resources.network",
                self.network_bits_per_second,
            ),
        ];
        match numbers.iter().find(|(_, number)| *number == Some(0)) {
            None => Ok(()),
            Some((field, _)) => Err(JobError::Range {
                field,
                value: 0.0,
                range: "above 0, or absent",
            }),
        }
    }

    /// From the two tables of a job file.
    pub(crate) fn asked(training: &TrainingJobFile, access: &DataAccessFile) -> Self {
        let monitoring = access.monitoring.unwrap_or_default();
        Self {
            memory_bytes: training.compute.memory.map(|size| size.0),
            storage_bytes: training.compute.storage.map(|size| size.0),
            network_bits_per_second: training.resources.network.map(|speed| speed.0),
            genuine_hardware: training.security.enclave.is_some(),
            metrics: monitoring.alerts.is_some(),
        }
    }
}

/// `training_job` of a job file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrainingJobFile {
    #[serde(skip_serializing_if = "is_default")]
    compute: ComputeFile,
    #[serde(skip_serializing_if = "is_default")]
    security: SecurityFile,
    #[serde(skip_serializing_if = "is_default")]
    resources: ResourcesFile,
}

impl TrainingJobFile {
    /// As a file says it; what every job has is not said.
    pub(crate) fn asking(requirements: &Requirements) -> Self {
        Self {
            compute: ComputeFile {
                shape: None,
                memory: requirements.memory_bytes.map(Size),
                storage: requirements.storage_bytes.map(Size),
            },
            security: SecurityFile {
                enclave: requirements.genuine_hardware.then_some(Enclave),
                ..SecurityFile::default()
            },
            resources: ResourcesFile {
                gpu: None,
                network: requirements.network_bits_per_second.map(Speed),
            },
        }
    }

    pub(crate) fn asks_nothing(&self) -> bool {
        is_default(self)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ComputeFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<AnyShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Size>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecurityFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    enclave: Option<Enclave>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<TransportCipher>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<Attestation>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResourcesFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<NoGpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Speed>,
}

/// `data_access` of a job file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DataAccessFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<EncryptionDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_control: Option<AccessControlFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    monitoring: Option<MonitoringFile>,
}

impl DataAccessFile {
    /// As a file says it; what every job has is not said.
    pub(crate) fn asking(access: &DataAccessDocument, requirements: &Requirements) -> Self {
        Self {
            encryption: access.encryption,
            access_control: None,
            monitoring: requirements.metrics.then_some(MonitoringFile {
                logging: None,
                alerts: Some(Alerts),
            }),
        }
    }

    pub(crate) fn document(&self) -> DataAccessDocument {
        DataAccessDocument {
            encryption: self.encryption,
        }
    }

    pub(crate) fn asks_nothing(&self) -> bool {
        is_default(self)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AccessControlFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Authentication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MonitoringFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    logging: Option<Logging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<Alerts>,
}

/// `data_access.encryption` of a job file: the age of the key in words, or as the number of days that it is in the contract.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptionFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<DataCipher>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_rotation: Option<Days>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_rotation_days: Option<u32>,
}

impl TryFrom<EncryptionFile> for EncryptionDocument {
    type Error = &'static str;

    fn try_from(file: EncryptionFile) -> Result<Self, Self::Error> {
        match (file.key_rotation, file.key_rotation_days) {
            (Some(Days(days)), None) | (None, Some(days)) => Ok(Self {
                key_rotation_days: days,
            }),
            (None, None) => Err(
                "key_rotation is missing: say how old a data key may be, for instance \"30days\"",
            ),
            (Some(_), Some(_)) => Err("key_rotation and key_rotation_days are both there"),
        }
    }
}

impl From<EncryptionDocument> for EncryptionFile {
    fn from(document: EncryptionDocument) -> Self {
        Self {
            algorithm: None,
            key_rotation: None,
            key_rotation_days: Some(document.key_rotation_days),
        }
    }
}

/// A field that takes one word, because nothing else can be honoured; another is refused with the reason.
macro_rules! word {
    ($(#[$meta:meta])* $name:ident, $word:literal, $why:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        struct $name;

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                if text == $word {
                    Ok(Self)
                } else {
                    Err(format!("{text:?} cannot be honoured: {}", $why))
                }
            }
        }

        impl From<$name> for String {
            fn from(_: $name) -> Self {
                $word.to_owned()
            }
        }
    };
}

word!(
    AnyShape,
    "any",
    "a member cannot prove which shape its machine has; write any, and ask for memory and storage"
);
word!(
    /// Members' machines are genuine: see [`Requirements::genuine_hardware`].
    Enclave,
    "enabled",
    "members run in confidential VMs in every job; write enabled to refuse simulated ones too, or leave it out"
);
word!(
    /// Masks are AES-256-CTR, and the attested channel speaks TLS 1.3 with AES-256-GCM alone.
    TransportCipher,
    "AES-256",
    "what travels is under AES-256; write AES-256, or leave it out"
);
word!(
    /// Every connection is judged by the members' manifest before anything confidential is said.
    Attestation,
    "required",
    "no job runs without attestation; write required, or leave it out"
);
word!(
    NoGpu,
    "disabled",
    "members train on their processors in this version; write disabled, or leave it out"
);
word!(
    DataCipher,
    "ChaCha20-Poly1305",
    "data sets lie under ChaCha20-Poly1305 with keys of 256 bits; write ChaCha20-Poly1305, or leave it out"
);
word!(
    Authentication,
    "required",
    "no call is answered without it; write required, or leave it out"
);
word!(
    Authorization,
    "operator-token",
    "this version has one operators' token and no roles; write operator-token, or leave it out"
);
word!(
    Logging,
    "enabled",
    "every job is in the audit log; write enabled, or leave it out"
);
word!(
    /// A member serves the metrics that alerts are made from: see [`Requirements::metrics`].
    Alerts,
    "configured",
    "write configured to ask every member to serve the metrics that alerts are made from, or leave it out"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn training(text: &str) -> Result<TrainingJobFile, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_reason() {
        for (text, reason) in [
            (r#"{"resources": {"gpu": "enabled"}}"#, "processors"),
            (r#"{"compute": {"shape": "big.8"}}"#, "shape"),
            (
                r#"{"security": {"attestation": "optional"}}"#,
                "attestation",
            ),
            (
                r#"{"security": {"enclave": "disabled"}}"#,
                "confidential VMs",
            ),
            (r#"{"security": {"encryption": "DES"}}"#, "AES-256"),
            (r#"{"colour": "blue"}"#, "colour"),
        ] {
            let error = training(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            (
                r#"{"access_control": {"authorization": "role-based"}}"#,
                "roles",
            ),
            (r#"{"monitoring": {"logging": "disabled"}}"#, "audit log"),
            (
                r#"{"encryption": {"algorithm": "AES-256", "key_rotation": "1day"}}"#,
                "ChaCha20",
            ),
            (r#"{"encryption": {}}"#, "key_rotation is missing"),
            (
                r#"{"encryption": {"key_rotation": "1day", "key_rotation_days": 1}}"#,
                "both",
            ),
        ] {
            let error = serde_json::from_str::<DataAccessFile>(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_a_file_asks_for_comes_back_when_it_is_written_and_read_again() {
        let text = r#"{"compute": {"shape": "any", "memory": "128GB", "storage": "1TB"},
            "security": {"enclave": "enabled", "encryption": "AES-256", "attestation": "required"},
            "resources": {"gpu": "disabled", "network": "25Gbps"}}"#;
        let access = r#"{"encryption": {"algorithm": "ChaCha20-Poly1305", "key_rotation": "30days"},
            "access_control": {"authentication": "required", "authorization": "operator-token"},
            "monitoring": {"logging": "enabled", "alerts": "configured"}}"#;
        let access: DataAccessFile = serde_json::from_str(access).unwrap();
        let asked = Requirements::asked(&training(text).unwrap(), &access);
        assert_eq!(
            asked,
            Requirements {
                memory_bytes: Some(128_000_000_000),
                storage_bytes: Some(1_000_000_000_000),
                network_bits_per_second: Some(25_000_000_000),
                genuine_hardware: true,
                metrics: true,
            }
        );
        assert_eq!(access.document().encryption.unwrap().key_rotation_days, 30);
        let written = serde_json::to_string(&TrainingJobFile::asking(&asked)).unwrap();
        let access = DataAccessFile::asking(&access.document(), &asked);
        let again = serde_json::to_string(&access).unwrap();
        let again: DataAccessFile = serde_json::from_str(&again).unwrap();
        assert_eq!(
            Requirements::asked(&training(&written).unwrap(), &again),
            asked
        );
        assert_eq!(again.document(), access.document());
    }
}
