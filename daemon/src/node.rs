//! The node a daemon runs as: its identity key, the machine that vouches for it, the roster and manifest it judges others by.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use consort_attestation::channel::{ChannelSettings, InForce};
use consort_attestation::simulated::SimulationFault;
use consort_attestation::{Attester, AttesterFault, Policy, PolicyError, TrustError, Verifier};
use consort_contract::{
    IdentitySecret, ManifestError, Roster, RosterEntry, RosterError, SignedRoster,
};
use consort_vault::{StateKey, VaultError};
use ed25519_dalek::SigningKey;
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

pub use crate::attester::{AttesterConfig, HardwareConfig, SIMULATED_TCB, SimulatedConfig};
use crate::compute::{ComputeConfig, ComputeError};
use crate::config::{self, ConfigError};
use crate::disk;
use crate::manifest::{ManifestHistory, ManifestWatch, Taken, rules, trust_store};
use crate::peers::RosterPeers;

/// The `[node]` table of both daemons' configuration. Relative paths start at the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The organisation's name in the roster; the coordinator has one too.
    pub organisation: String,
    /// The roster that all members signed (JSON).
    pub roster: PathBuf,
    /// The attestation manifest that the members signed (JSON). While the daemon runs, a newer one may be put in its place.
    pub manifest: PathBuf,
    /// PEM bundles of the vendors' roots that the manifest's policy may name, their revocation lists, DER or in a bundle, and Intel's
    /// collateral (JSON), with the root that it leads to.
    #[serde(default)]
    pub roots: Vec<PathBuf>,
    /// Where this node keeps its state.
    pub state_dir: PathBuf,
    /// The file whose key seals the state. Dangerous: whoever copies both reads the state. A participant may have its organisation's
    /// broker release the key instead (`[broker.state_key]`); a coordinator and a broker have nobody to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dangerous_state_key_file: Option<PathBuf>,
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
    /// The manifest.
    #[error("the manifest {path} is refused: {source}")]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
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
    /// Nobody to have the state key from.
    #[error(
        "no state key: node.dangerous_state_key_file must name the file whose key seals the state"
    )]
    NoStateKey,
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
            Self::Manifest { source, .. } => source.code(),
            Self::Policy(error) => error.code(),
            Self::Trust(error) => error.code(),
            Self::Simulation(error) => error.code(),
            Self::Attester(error) => error.code(),
            Self::NoStateKey => "node_no_state_key",
            Self::NoIdentity(_) => "node_no_identity",
            Self::State { .. } => "node_state",
            Self::NotInRoster(_) => "node_not_in_roster",
        }
    }
}

/// Where the sealed identity lies in the state folder.
const IDENTITY_FILE: &str = "identity.sealed";

/// Name of the roster entry in the state folder.
const ENTRY_FILE: &str = "entry.json";

impl NodeConfig {
    /// Makes every relative path start at the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        for path in [&mut self.roster, &mut self.manifest, &mut self.state_dir] {
            *path = base.join(&*path);
        }
        for path in self
            .roots
            .iter_mut()
            .chain(&mut self.dangerous_state_key_file)
        {
            *path = base.join(&*path);
        }
        self.attester.resolve(base);
    }

    /// The manifests of this roster that this node saw.
    ///
    /// # Errors
    /// [`NodeError`] when one of them does not follow from the one before it any more.
    pub fn manifests(
        &self,
        roster: &Arc<Roster>,
        key: &Arc<StateKey>,
    ) -> Result<ManifestHistory, NodeError> {
        ManifestHistory::open(&self.state_dir, roster, key)
    }

    /// Where `init` leaves the roster entry, for whoever writes the roster.
    pub fn entry_file(&self) -> PathBuf {
        self.state_dir.join(ENTRY_FILE)
    }

    /// What weakens a promise in this configuration, for the log and the audit trail.
    pub fn dangerous(&self) -> Vec<String> {
        let mut dangerous = Vec::new();
        if self.dangerous_state_key_file.is_some() {
            dangerous.push("dangerous_state_key_file".to_owned());
        }
        if self.attester.is_simulated() {
            dangerous.push("simulated attester".to_owned());
        }
        dangerous
    }

    /// Whether `init` made an identity here.
    pub fn has_identity(&self) -> bool {
        self.state_dir.join(IDENTITY_FILE).exists()
    }

    /// Makes the identity key, sealed under the state key, unless it is there, and writes the roster entry beside it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn init(&self, key: &StateKey) -> Result<RosterEntry, NodeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::State { path, source }
        };
        if !self.has_identity() {
            self.keep_identity(&IdentitySecret::random(&mut OsRng), key)?;
        }
        let machine = self.attester.machine()?;
        let entry = RosterEntry {
            identity: self.identity(key)?.public(),
            chip_id: *machine.chip_id.as_bytes(),
            host_data: *machine.host_data.as_bytes(),
        };
        let text = serde_json::to_string_pretty(&entry).expect("a roster entry is plain text");
        let path = self.entry_file();
        std::fs::write(&path, text).map_err(failed(&path))?;
        Ok(entry)
    }

    /// Keeps an identity key, sealed under the state key, in place of any other.
    ///
    /// # Errors
    /// [`NodeError::State`].
    pub fn keep_identity(
        &self,
        identity: &IdentitySecret,
        key: &StateKey,
    ) -> Result<(), NodeError> {
        let path = self.state_dir.join(IDENTITY_FILE);
        let sealed = key.seal("identity", &self.organisation, identity.to_seed().as_ref());
        std::fs::create_dir_all(&self.state_dir)
            .and_then(|()| disk::replace(&path, &sealed))
            .map_err(|source| NodeError::State { path, source })
    }

    /// The sealed identity key.
    ///
    /// # Errors
    /// [`NodeError::NoIdentity`] before `init`; [`NodeError::Vault`] under another state key.
    pub fn identity(&self, key: &StateKey) -> Result<IdentitySecret, NodeError> {
        let path = self.state_dir.join(IDENTITY_FILE);
        let sealed =
            std::fs::read(&path).map_err(|_| NodeError::NoIdentity(self.state_dir.clone()))?;
        let seed = key.open("identity", &self.organisation, &sealed)?;
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

    /// The key that seals the state, from the file that the configuration names.
    ///
    /// # Errors
    /// [`NodeError::NoStateKey`] when it names none, [`NodeError::Vault`] when the file holds none.
    pub fn state_key_file(&self) -> Result<Arc<StateKey>, NodeError> {
        Ok(Arc::new(StateKey::from_dangerous_file(self.key_file()?)?))
    }

    /// The same, and makes the file if it is not there yet.
    ///
    /// # Errors
    /// As [`NodeConfig::state_key_file`].
    pub fn create_state_key_file(&self) -> Result<Arc<StateKey>, NodeError> {
        Ok(Arc::new(StateKey::create_dangerous_file(self.key_file()?)?))
    }

    fn key_file(&self) -> Result<&Path, NodeError> {
        let file = self.dangerous_state_key_file.as_deref();
        file.ok_or(NodeError::NoStateKey)
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
    /// By what peers are judged now, and which sessions live.
    pub in_force: Arc<InForce>,
    /// The manifests that this node saw, the newest of them in force.
    manifests: ManifestHistory,
}

impl Node {
    /// Opens everything a node needs. The manifest in force is the one in the file that the configuration names.
    ///
    /// # Errors
    /// [`NodeError`] names the file and what to do.
    pub fn open(config: NodeConfig, key: &Arc<StateKey>) -> Result<Self, NodeError> {
        Self::open_by(config, key, ManifestHistory::take)
    }

    /// As [`Node::open`], of a node that takes manifests from elsewhere too: where the file is older than the newest that was in
    /// force here, that one stays.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub fn open_member(config: NodeConfig, key: &Arc<StateKey>) -> Result<Self, NodeError> {
        Self::open_by(config, key, ManifestHistory::take_or_keep)
    }

    fn open_by(
        config: NodeConfig,
        key: &Arc<StateKey>,
        take: impl FnOnce(&mut ManifestHistory, &Path, &[PathBuf]) -> Result<Taken, NodeError>,
    ) -> Result<Self, NodeError> {
        let identity = config.identity(key)?;
        let roster = config::load_json::<SignedRoster>(&config.roster)?.verify()?;
        let roster = Arc::new(roster);
        let mut manifests = config.manifests(&roster, key)?;
        let taken = take(&mut manifests, &config.manifest, &config.roots)?;
        let attester = config.attester.open()?;
        let in_force = InForce::new(rules(&roster, &taken.manifest, taken.verifier));
        Ok(Self {
            identity,
            attester,
            in_force: Arc::new(in_force),
            manifests,
            roster,
            config,
        })
    }
}

impl Node {
    /// How the roster judges peers.
    pub fn peers(&self) -> RosterPeers {
        RosterPeers::new(self.roster.clone(), self.in_force.clone())
    }

    /// The verifier of now.
    pub fn verifier(&self) -> Arc<Verifier> {
        self.in_force.rules().verifier.clone()
    }

    /// The manifests that this node saw.
    pub fn manifest_history(&self) -> ManifestHistory {
        self.manifests.clone()
    }

    /// Looks after the manifest's file while the daemon runs.
    pub fn manifest_watch(&self) -> ManifestWatch {
        ManifestWatch::new(
            self.config.manifest.clone(),
            self.config.roots.clone(),
            self.roster.clone(),
            self.manifests.clone(),
            self.in_force.clone(),
        )
    }

    /// What this node's side of an attested channel needs.
    pub fn channel_settings(&self) -> ChannelSettings {
        ChannelSettings {
            organisation: self.config.organisation.clone(),
            identity: SigningKey::from_bytes(&self.identity.to_seed()),
            attester: self.attester.clone(),
            in_force: self.in_force.clone(),
            clock: SystemTime::now,
        }
    }
}
