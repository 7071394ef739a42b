//! What a broker is made of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use consort_attestation::channel::{PeerDirectory, Refused};
use consort_attestation::{IdentityKey, MachineBinding, Role};
use consort_contract::{Label, OrganisationId, Roster};
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::{Node, NodeError};
use consort_daemon::own_rules::OwnRules;
use consort_daemon::peers::binding;
use consort_proto::convert::NONCE_BYTES;
use consort_storage::{EmbeddedStore, RecordStore};

use crate::budget::Budget;
use crate::config::{Config, KeyRule};
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::keys::KeyStore;
use crate::nonces::{Nonces, Session};
use crate::rule::Judge;
use crate::wrapping::OrganisationKeys;

/// The state file in the state folder.
const STATE_FILE: &str = "broker.redb";

/// A broker that can decide. It knows no socket; whoever asks has passed the gate, so it is this organisation's participant.
pub struct Broker {
    pub(crate) organisation: OrganisationId,
    pub(crate) roster: Arc<Roster>,
    /// By what the participant is judged: its own policy, under the manifest in force.
    pub(crate) rules_of_peers: OwnRules,
    pub(crate) release_to_simulated: bool,
    pub(crate) keys: KeyStore,
    pub(crate) wrapping: OrganisationKeys,
    pub(crate) rules: BTreeMap<Label, (KeyRule, Mutex<Budget>)>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) clock: fn() -> SystemTime,
    nonces: Mutex<Nonces>,
    crash: CrashPoints,
    released: AtomicU32,
}

impl Broker {
    /// Opens the state, the keys and the log.
    ///
    /// # Errors
    /// [`BrokerError`] says what cannot be used and what to do.
    pub fn open(config: &Config, node: &Node, crash: CrashPoints) -> Result<Self, BrokerError> {
        let organisation = OrganisationId::new(&config.node.organisation)?;
        if node.roster.member(&organisation).is_none() {
            return Err(NodeError::NotInRoster(organisation.to_string()).into());
        }
        let mut dangerous = config.dangerous();
        let directory = OwnParticipant {
            organisation: organisation.clone(),
            roster: Arc::clone(&node.roster),
        };
        let rules_of_peers = OwnRules::new(node, &config.policy, Arc::new(directory))?;
        let rules = rules_of_peers.now().rules();
        let simulated = rules.verifier.policy().simulated_roots().len();
        dangerous.extend((0..simulated).map(|_| "dangerous_simulated_roots".to_owned()));
        dangerous.extend(crash.armed());
        for choice in &dangerous {
            tracing::warn!(choice, "a dangerous choice is in force");
        }
        let wrapping = OrganisationKeys::open(config)?;
        let store = EmbeddedStore::open(config.node.state_dir.join(STATE_FILE))?;
        let records: Arc<dyn RecordStore> = Arc::new(store);
        let mut rules = BTreeMap::new();
        for (id, rule) in &config.keys {
            let budget = Budget::open(Arc::clone(&records), id.clone(), rule.cap()?)?;
            rules.insert(id.clone(), (rule.clone(), Mutex::new(budget)));
        }
        let origin = format!("{}/{organisation}/keys", node.roster.consortium());
        let clock = SystemTime::now;
        let journal = Journal::open(
            &config.log_dir(),
            &origin,
            &node.identity,
            &dangerous,
            clock,
        )?;
        Ok(Self {
            organisation,
            roster: Arc::clone(&node.roster),
            rules_of_peers,
            release_to_simulated: config.dangerous_release_to_simulated,
            keys: KeyStore::new(config.keys_dir()),
            wrapping,
            rules,
            journal: Arc::new(journal),
            clock,
            nonces: Mutex::default(),
            crash,
            released: AtomicU32::new(0),
        })
    }

    /// A nonce for one release in this session.
    pub fn challenge(&self, session: Session) -> [u8; NONCE_BYTES] {
        self.nonces().draw(session, Instant::now())
    }

    /// Whether a nonce is good in this session. It is spent now.
    pub(crate) fn spend(&self, nonce: &[u8; NONCE_BYTES], session: &Session) -> bool {
        self.nonces().spend(nonce, session, Instant::now())
    }

    pub(crate) fn judge(&self) -> Judge<'_> {
        Judge {
            organisation: &self.organisation,
            roster: &self.roster,
            rules: self.rules_of_peers.now().rules(),
            release_to_simulated: self.release_to_simulated,
        }
    }

    /// The number of the release that is being made, for crash points.
    pub(crate) fn count_release(&self) -> u32 {
        self.released
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
    }

    pub(crate) fn reached(&self, point: &str, release: u32) {
        self.crash.reached(point, release);
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one peer there is: this organisation's participant, with the key and on the machine of its roster entry.
struct OwnParticipant {
    organisation: OrganisationId,
    roster: Arc<Roster>,
}

impl PeerDirectory for OwnParticipant {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        identity_key: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        match role {
            Role::Participant => {}
            Role::Coordinator | Role::Broker | Role::StartingParticipant => {
                return Err(Refused::Role);
            }
        }
        let entry = self.roster.member(&self.organisation);
        let entry = entry.filter(|_| organisation == self.organisation.as_str());
        let entry = entry.ok_or(Refused::UnknownOrganisation)?;
        if entry.identity.as_bytes() != identity_key.as_bytes() {
            return Err(Refused::IdentityKey);
        }
        Ok(binding(entry))
    }

    fn owner(&self, role: Role, machine: &MachineBinding) -> Option<String> {
        let entry = self.roster.member(&self.organisation)?;
        let is_its = role == Role::Participant && binding(entry) == *machine;
        is_its.then(|| self.organisation.as_str().to_owned())
    }
}
