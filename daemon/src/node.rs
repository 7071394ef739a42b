//! The node a daemon runs as: its identity key, the machine that vouches for it, the roster and policy it judges others by.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use consort_aggregation::Digest;
use consort_attestation::channel::ChannelSettings;
use consort_attestation::simulated::SimulationFault;
use consort_attestation::statements::SessionContext;
use consort_attestation::{
    Attester, AttesterFault, Policy, PolicyError, TrustError, TrustStore, Verifier,
};
use consort_contract::{IdentitySecret, Roster, RosterEntry, RosterError, SignedRoster};
use consort_round::PROTOCOL_VERSION;
use consort_vault::{StateKey, VaultError};
use ed25519_dalek::SigningKey;
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

pub use crate::attester::{AttesterConfig, HardwareConfig, SIMULATED_TCB, SimulatedConfig};
use crate::compute::{ComputeConfig, ComputeError};
use crate::config::{self, ConfigError};
use crate::peers::RosterPeers;

/// The `[node]` table of both daemons' configuration. Relative paths start at the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The organisation's name in the roster; the coordinator has one too.
    pub organisation: String,
    /// The roster that all members signed (JSON).
    pub roster: PathBuf,
    /// The attestation policy (TOML).
    pub policy: PathBuf,
    /// PEM bundles of the vendors' roots that the policy may name, and their revocation lists, DER or in a bundle.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Where this node keeps its state.
    pub state_dir: PathBuf,
    /// The file whose key seals the state. Dangerous: whoever copies both reads the state.
    pub dangerous_state_key_file: PathBuf,
    /// What makes this machine's evidence.
    pub attester: AttesterConfig,
    /// What masks are made with.
    #[serde(default)]
    pub compute: ComputeConfig,
    /// Where `/metrics` is served; nowhere if absent.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
    /// One JSON object per log line instead of text.
    #[serde(default)]
    pub log_json: bool,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The processor.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The sealed state.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The roster.
    #[error("the roster is refused: {0}")]
    Roster(#[from] RosterError),
    /// The attestation policy.
    #[error("the attestation policy is refused: {0}")]
    Policy(#[from] PolicyError),
    /// The roots.
    #[error("the trust roots are refused: {0}")]
    Trust(#[from] TrustError),
    /// The simulated machine.
    #[error("the simulated machine cannot be made: {0}")]
    Simulation(#[from] SimulationFault),
    /// The machine.
    #[error(transparent)]
    Attester(#[from] AttesterFault),
    /// No identity yet.
    #[error("this node has no identity in {0}; run `init` first")]
    NoIdentity(PathBuf),
    /// A file of the state.
    #[error("the state file {path} cannot be used: {source}")]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The roster has another key for this node.
    #[error(
        "the roster does not name {0} with this node's key and machine; have the roster signed again"
    )]
    NotInRoster(String),
}

impl NodeError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Compute(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Roster(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Trust(error) => error.code(),
            Self::Simulation(error) => error.code(),
            Self::Attester(error) => error.code(),
            Self::NoIdentity(_) => "node_no_identity",
            Self::State { .. } => "node_state",
            Self::NotInRoster(_) => "node_not_in_roster",
        }
    }
}

/// With which DER begins a revocation list.
const DER_SEQUENCE: u8 = 0x30;

/// Where the sealed identity lies in the state folder.
const IDENTITY_FILE: &str = "identity.sealed";

/// Name of the roster entry in the state folder.
const ENTRY_FILE: &str = "entry.json";

impl NodeConfig {
    /// Makes every relative path start at the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        for path in [
            &mut self.roster,
            &mut self.policy,
            &mut self.state_dir,
            &mut self.dangerous_state_key_file,
        ] {
            *path = base.join(&*path);
        }
        for path in &mut self.roots {
            *path = base.join(&*path);
        }
        self.attester.resolve(base);
    }

    /// Where `init` leaves the roster entry, for whoever writes the roster.
    pub fn entry_file(&self) -> PathBuf {
        self.state_dir.join(ENTRY_FILE)
    }

    /// What weakens a promise in this configuration, for the log and the audit trail.
    pub fn dangerous(&self) -> Vec<String> {
        let mut dangerous = vec!["dangerous_state_key_file".to_owned()];
        if self.attester.is_simulated() {
            dangerous.push("simulated attester".to_owned());
        }
        dangerous
    }

    /// Makes the identity key, sealed, unless it is there, and writes the roster entry beside it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn init(&self) -> Result<RosterEntry, NodeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::State { path, source }
        };
        std::fs::create_dir_all(&self.state_dir).map_err(failed(&self.state_dir))?;
        let key = StateKey::create_dangerous_file(&self.dangerous_state_key_file)?;
        let path = self.state_dir.join(IDENTITY_FILE);
        if !path.exists() {
            let sealed = key.seal(
                "identity",
                &self.organisation,
                IdentitySecret::random(&mut OsRng).to_seed().as_ref(),
            );
            write_new(&path, &sealed).map_err(failed(&path))?;
        }
        let machine = self.attester.machine()?;
        let entry = RosterEntry {
            identity: self.identity()?.public(),
            chip_id: *machine.chip_id.as_bytes(),
            host_data: *machine.host_data.as_bytes(),
        };
        let text = serde_json::to_string_pretty(&entry).expect("a roster entry is plain text");
        let path = self.entry_file();
        std::fs::write(&path, text).map_err(failed(&path))?;
        Ok(entry)
    }

    /// The sealed identity key.
    ///
    /// # Errors
    /// [`NodeError::NoIdentity`] before `init`; [`NodeError::Vault`] under another state key.
    pub fn identity(&self) -> Result<IdentitySecret, NodeError> {
        let path = self.state_dir.join(IDENTITY_FILE);
        let sealed =
            std::fs::read(&path).map_err(|_| NodeError::NoIdentity(self.state_dir.clone()))?;
        let seed = self
            .state_key()?
            .open("identity", &self.organisation, &sealed)?;
        let seed: &[u8; 32] = seed
            .as_slice()
            .try_into()
            .map_err(|_| NodeError::NoIdentity(self.state_dir.clone()))?;
        Ok(IdentitySecret::from_seed(seed))
    }

    /// A verifier for another policy than this node's own, with the same roots and revocation lists.
    ///
    /// # Errors
    /// [`NodeError`] names the file.
    pub fn verifier_by(&self, policy: &Path) -> Result<Verifier, NodeError> {
        let policy = Policy::from_toml(&config::read(policy)?)?;
        Ok(Verifier::new(policy, &trust_store(&self.roots)?)?)
    }

    /// The key that seals the state.
    ///
    /// # Errors
    /// [`NodeError::Vault`].
    pub fn state_key(&self) -> Result<StateKey, NodeError> {
        Ok(StateKey::from_dangerous_file(
            &self.dangerous_state_key_file,
        )?)
    }
}

/// A node that is ready: it can prove itself and judge others.
pub struct Node {
    /// Its configuration.
    pub config: NodeConfig,
    /// Its identity key.
    pub identity: IdentitySecret,
    /// What makes its evidence.
    pub attester: Arc<dyn Attester>,
    /// The roster, every signature checked.
    pub roster: Arc<Roster>,
    /// Judges evidence by the policy.
    pub verifier: Arc<Verifier>,
}

impl Node {
    /// Opens everything a node needs.
    ///
    /// # Errors
    /// [`NodeError`] names the file and what to do.
    pub fn open(config: NodeConfig) -> Result<Self, NodeError> {
        let identity = config.identity()?;
        let roster = config::load_json::<SignedRoster>(&config.roster)?.verify()?;
        let policy = Policy::from_toml(&config::read(&config.policy)?)?;
        let store = trust_store(&config.roots)?;
        let attester = config.attester.open()?;
        let verifier = Verifier::new(policy, &store)?;
        Ok(Self {
            identity,
            attester,
            roster: Arc::new(roster),
            verifier: Arc::new(verifier),
            config,
        })
    }
}

impl Node {
    /// How the roster judges peers.
    pub fn peers(&self) -> RosterPeers {
        RosterPeers::new(self.roster.clone(), self.verifier.clone())
    }

    /// What this node's side of an attested channel needs. Connections serve all jobs; the manifest in force is the roster.
    pub fn channel_settings(&self) -> ChannelSettings {
        let consortium = Digest::of(self.roster.consortium().as_str().as_bytes());
        let manifest = self.roster.root();
        ChannelSettings {
            organisation: self.config.organisation.clone(),
            identity: SigningKey::from_bytes(&self.identity.to_seed()),
            attester: self.attester.clone(),
            verifier: self.verifier.clone(),
            directory: Arc::new(self.peers()),
            context: SessionContext::new(
                PROTOCOL_VERSION,
                consortium.as_bytes(),
                manifest.as_bytes(),
                b"",
            ),
            clock: SystemTime::now,
        }
    }
}

/// Bundles of roots and revocation lists, in any order: which is which, their first byte says, as AMD publishes its lists as DER.
fn trust_store(files: &[PathBuf]) -> Result<TrustStore, NodeError> {
    let mut store = TrustStore::new();
    let mut lists = Vec::new();
    for path in files {
        let file = config::read_bytes(path)?;
        if file.first() == Some(&DER_SEQUENCE) {
            lists.push(file);
        } else {
            store.add_pem_bundle(&file)?;
        }
    }
    for list in lists {
        store.add_crl(&list)?;
    }
    Ok(store)
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use consort_attestation::Product;
    use consort_attestation::simulated::SimulatedVendor;

    use super::*;

    #[test]
    fn roots_and_their_revocation_lists_are_read_in_any_order() {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let vendor = SimulatedVendor::create(Product::Genoa, now).unwrap();
        let (roots, list) = (
            folder.path().join("roots.pem"),
            folder.path().join("roots.crl"),
        );
        std::fs::write(&roots, vendor.roots_pem().unwrap()).unwrap();
        std::fs::write(&list, vendor.revocation_list(&[], now).unwrap()).unwrap();
        for files in [[roots.clone(), list.clone()], [list.clone(), roots]] {
            assert_eq!(trust_store(&files).unwrap().root_hashes().len(), 1);
        }
        let alone = trust_store(&[list]).err().unwrap();
        assert_eq!(alone.code(), "trust.crl-unknown-issuer");
    }
}
