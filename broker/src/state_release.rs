//! The release of the key that this organisation's participant keeps its state under, when it starts: for no job, to the machine of
//! the roster's entry, which evidence alone speaks for. Like a data key it is released once for a nonce, and the log says so before.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use consort_aggregation::Digest;
use consort_attestation::channel::{PeerDirectory, Refused};
use consort_attestation::statements::{KeyRelease, key_release};
use consort_attestation::{IdentityKey, MachineBinding, Role};
use consort_audit::{Event, Fact, Hash};
use consort_contract::{OrganisationId, Roster};
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::Node;
use consort_daemon::own_rules::OwnRules;
use consort_daemon::peers::binding;
use consort_daemon::record;
use consort_daemon::starting;
use consort_proto::convert::{NONCE_BYTES, StateKeyRequest, state_key_request_from_wire};
use consort_proto::wire::keys::v1::StateReleaseRequest;
use consort_vault::DataKey;
use consort_vault::release::{SealedKey, StateTerms, check_public, seal};

use crate::broker::Broker;
use crate::config::{Config, StateKeyConfig};
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::keys::{KeyStore, StoredVersion};
use crate::nonces::{Nonces, Session};
use crate::release::{Decided, NotReleased, ReleaseFault, blocking, refuse};
use crate::rule::{Refusal, machine_vouches};
use crate::wrapping::OrganisationKeys;

/// Releases the state key. It knows no socket; whoever asks has passed the gate for participants that start.
pub(crate) struct StateReleases {
    organisation: OrganisationId,
    roster: Arc<Roster>,
    key: StateKeyConfig,
    /// By what the machine is judged, in the session and in the statement: the organisation's own policy.
    pub(crate) rules: OwnRules,
    release_to_simulated: bool,
    keys: KeyStore,
    wrapping: OrganisationKeys,
    pub(crate) journal: Arc<Journal>,
    clock: fn() -> SystemTime,
    nonces: Mutex<Nonces>,
    crash: CrashPoints,
    released: AtomicU32,
}

/// A request whose every rule holds.
struct Good {
    request: StateKeyRequest,
    version: StoredVersion,
    simulated: bool,
    report: [u8; 32],
}

impl StateReleases {
    /// Releases the state key that the configuration names, beside a broker's data keys and in its log.
    ///
    /// # Errors
    /// [`BrokerError`] says what cannot be used and what to do.
    pub(crate) fn open(
        config: &Config,
        key: &StateKeyConfig,
        node: &Node,
        broker: &Broker,
        crash: CrashPoints,
    ) -> Result<Self, BrokerError> {
        let directory = StartingParticipant {
            organisation: broker.organisation.clone(),
            roster: Arc::clone(&node.roster),
        };
        let rules = OwnRules::of_starting(node, &config.policy, Arc::new(directory))?;
        Ok(Self {
            organisation: broker.organisation.clone(),
            roster: Arc::clone(&node.roster),
            key: key.clone(),
            rules,
            release_to_simulated: config.dangerous_release_to_simulated,
            keys: KeyStore::new(config.keys_dir()),
            wrapping: OrganisationKeys::open(config)?,
            journal: Arc::clone(&broker.journal),
            clock: broker.clock,
            nonces: Mutex::default(),
            crash,
            released: AtomicU32::new(0),
        })
    }

    /// A nonce for one release in this session.
    pub(crate) fn challenge(&self, session: Session) -> [u8; NONCE_BYTES] {
        self.nonces().draw(session, Instant::now())
    }

    /// Answers a request in one session. To be run to its end: what is dropped on the way has spent its nonce, and leaves no refusal
    /// in the log.
    ///
    /// # Errors
    /// [`NotReleased`].
    pub(crate) async fn release(
        self: &Arc<Self>,
        session: Session,
        request: StateReleaseRequest,
    ) -> Result<SealedKey, NotReleased> {
        let asked_for = request.key_id.clone();
        match self.decide(session, request).await {
            Ok(sealed) => Ok(sealed),
            Err(Decided::Refused(refusal)) => {
                refuse(&self.journal, &self.organisation, &asked_for, &refusal).await
            }
            Err(Decided::Fault(fault)) => Err(fault.into()),
        }
    }

    async fn decide(
        self: &Arc<Self>,
        session: Session,
        request: StateReleaseRequest,
    ) -> Result<SealedKey, Decided> {
        let own = Arc::clone(self);
        let good = blocking(move || own.check(&session, request)).await??;
        let key = self
            .keys
            .unwrap(&self.key.key_id, &good.version, &self.wrapping)
            .await
            .map_err(Refusal::from)?;
        let own = Arc::clone(self);
        blocking(move || own.commit(&good, &key)).await?
    }

    /// Everything that is decided without the key, in this order.
    fn check(&self, session: &Session, request: StateReleaseRequest) -> Result<Good, Refusal> {
        let nonce = request.nonce.as_slice().try_into();
        // Before the rest is read: what is refused is not asked twice under one nonce.
        if !nonce.is_ok_and(|nonce| self.nonces().spend(&nonce, session, Instant::now())) {
            return Err(Refusal::Nonce);
        }
        let request = state_key_request_from_wire(request)?;
        if request.key_id != self.key.key_id {
            return Err(Refusal::NoKey);
        }
        let version = self.keys.versions(&request.key_id)?.pop();
        // A key that is kept for a data set is never given away as a state key, whatever the configuration says.
        let version = version.filter(|stored| stored.data_set == StateKeyConfig::kept_as());
        let version = version.ok_or(Refusal::NoKey)?;
        let entry = self.roster.member(&self.organisation);
        let entry = entry.ok_or(Refusal::NotAMember)?;
        let statement = key_release(&KeyRelease {
            nonce: &request.nonce,
            hpke_key: &request.hpke_key,
            key_id: request.key_id.as_str(),
            job: b"",
            manifest_hash: &starting::instead_of_a_manifest(&self.roster),
        });
        let (simulated, report) = machine_vouches(
            &self.rules.now().rules(),
            &binding(entry),
            &statement,
            &request.evidence,
            self.release_to_simulated,
            (self.clock)(),
        )?;
        check_public(&request.hpke_key)?;
        Ok(Good {
            request,
            version,
            simulated,
            report,
        })
    }

    /// Seals, logs; then it may be sent.
    fn commit(&self, good: &Good, key: &DataKey) -> Result<SealedKey, Decided> {
        let (request, version) = (&good.request, good.version.version);
        let terms = StateTerms {
            nonce: request.nonce,
            key_id: request.key_id.clone(),
            version,
            organisation: self.organisation.clone(),
        };
        let sealed = seal(&request.hpke_key, key, &terms).map_err(Refusal::from)?;
        let release = self
            .released
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        self.crash.reached("before-state-log", release);
        let event = Event::StateKeyReleased {
            organisation: record::organisation(self.organisation.as_str()),
            key: record::code(request.key_id.as_str()),
            version,
            nonce: Hash(request.nonce),
            sealed_to: record::hash(&Digest::of(&request.hpke_key)),
            report: Hash(good.report),
            simulated: good.simulated,
        };
        let logged = self.journal.append(Fact::of_consortium(event));
        logged.map_err(ReleaseFault::from)?;
        self.crash.reached("after-state-log", release);
        if good.simulated {
            tracing::warn!(key = %request.key_id, "the state key is released to a SIMULATED machine: dangerous_release_to_simulated");
        } else {
            tracing::info!(key = %request.key_id, "the state key is released");
        }
        metrics::counter!("consort_broker_releases_total", "code" => "state_released").increment(1);
        Ok(sealed)
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one peer there is: this organisation's participant before it has its identity key, on the machine of its roster entry.
struct StartingParticipant {
    organisation: OrganisationId,
    roster: Arc<Roster>,
}

impl PeerDirectory for StartingParticipant {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        _drawn_for_the_session: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        match role {
            Role::StartingParticipant => {}
            Role::Coordinator | Role::Participant | Role::Broker => return Err(Refused::Role),
        }
        let entry = self.roster.member(&self.organisation);
        let entry = entry.filter(|_| organisation == self.organisation.as_str());
        entry.map(binding).ok_or(Refused::UnknownOrganisation)
    }

    /// Nobody's: what is shown here is signed by no key that the organisation is known by.
    fn owner(&self, _role: Role, _machine: &MachineBinding) -> Option<String> {
        None
    }
}

#[cfg(test)]
#[path = "state_release_tests.rs"]
mod tests;
