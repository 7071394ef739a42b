//! Asking this organisation's broker for a data key: a nonce, a key pair made for it, evidence over both, and one answer that only
//! this process can open. The broker is pinned: its key and machine stand in the configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use consort_aggregation::Digest;
use consort_attestation::channel::{AttestedConnector, ClientChannel, PeerDirectory, Refused};
use consort_attestation::statements::{KeyRelease, Statement, key_release};
use consort_attestation::{Attester, AttesterFault, IdentityKey, MachineBinding, Role};
use consort_contract::{JobId, RosterEntry};
use consort_daemon::config::load_json;
use consort_daemon::node::Node;
use consort_daemon::own_rules::OwnRules;
use consort_daemon::peers::binding;
use consort_proto::convert::{WireError, nonce_from_wire};
use consort_proto::wire::consent::v1::{Approval, Proposal};
use consort_proto::wire::keys::v1 as wire;
use consort_proto::wire::keys::v1::key_release_service_client::KeyReleaseServiceClient;
use consort_vault::release::{ReleaseError, ReleaseKeyPair, ReleaseTerms, SealedKey};
use consort_vault::{DataKey, KeyName};
use tokio::sync::mpsc;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::agent::Input;
use crate::config::BrokerConfig;
use crate::error::ParticipantError;
use crate::uplink;

/// How long one attempt at a release may take: two exchanges of evidence with firmware that throttles, and a slow disk.
pub(crate) const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// Pauses between attempts while the broker is not reached: it may be starting. A refusal is not repeated.
pub(crate) const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Which key is wanted, and for what.
#[derive(Debug, Clone)]
pub struct KeyWanted {
    /// The job whose records lie under it.
    pub job: JobId,
    /// The key, as the header of the file names it.
    pub name: KeyName,
    /// Hash of the contract that all members approved.
    pub contract: Digest,
    /// The job and its plan, as the coordinator proposed them.
    pub proposal: Proposal,
    /// Every member's yes.
    pub approval: Approval,
}

/// A data key that was not had.
#[derive(Debug, thiserror::Error)]
pub enum KeyUnavailable {
    /// The configuration names no broker.
    #[error("the configuration has no [broker] to ask")]
    NoBroker,
    /// The broker was not reached, or not believed.
    #[error("the broker is not reached: {0}")]
    Unreachable(String),
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    Timeout,
    /// The broker said no.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// The broker's answer is none.
    #[error("the broker's answer is not valid: {0}")]
    Answer(#[from] WireError),
    /// The released key does not open.
    #[error(transparent)]
    Opens(#[from] ReleaseError),
    /// This machine gave no evidence.
    #[error(transparent)]
    Attester(#[from] AttesterFault),
}

impl KeyUnavailable {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoBroker => "key_no_broker",
            Self::Unreachable(_) => "key_broker_unreachable",
            Self::Timeout => "key_broker_timeout",
            Self::Refused(_) => "key_refused",
            Self::Answer(error) => error.code(),
            Self::Opens(error) => error.code(),
            Self::Attester(fault) => fault.code(),
        }
    }

    /// Whether the same question may be answered another time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout => true,
            Self::NoBroker
            | Self::Refused(_)
            | Self::Answer(_)
            | Self::Opens(_)
            | Self::Attester(_) => false,
        }
    }
}

/// The way to the broker. Each release opens a connection of its own, which attests both ends anew.
pub struct BrokerLink {
    endpoint: Endpoint,
    connector: AttestedConnector,
    attester: Arc<dyn Attester>,
    rules: OwnRules,
}

impl BrokerLink {
    /// A way to the broker that the configuration pins.
    ///
    /// # Errors
    /// [`ParticipantError`] names the file or the field.
    pub fn new(config: &BrokerConfig, node: &Node) -> Result<Self, ParticipantError> {
        let entry: RosterEntry = load_json(&config.entry)?;
        let pinned = Pinned {
            organisation: node.config.organisation.clone(),
            entry,
        };
        let rules = OwnRules::new(node, &config.policy, Arc::new(pinned))?;
        let mut settings = node.channel_settings();
        settings.in_force = rules.now();
        let channel = Arc::new(ClientChannel::to_broker(settings)?);
        Ok(Self {
            endpoint: uplink::endpoint(&config.address)?,
            connector: AttestedConnector::new(channel, uplink::note_verdict),
            attester: Arc::clone(&node.attester),
            rules,
        })
    }

    /// Has the key released, trying again while the broker is not reached.
    ///
    /// # Errors
    /// [`KeyUnavailable`].
    pub async fn release(&self, wanted: &KeyWanted) -> Result<DataKey, KeyUnavailable> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let attempt = tokio::time::timeout(RELEASE_TIMEOUT, self.try_release(wanted)).await;
            let refused = match attempt.unwrap_or(Err(KeyUnavailable::Timeout)) {
                Ok(key) => return Ok(key),
                Err(refused) => refused,
            };
            match pauses.next() {
                Some(pause) if refused.may_pass() => tokio::time::sleep(pause).await,
                Some(_) | None => return Err(refused),
            }
        }
    }

    async fn try_release(&self, wanted: &KeyWanted) -> Result<DataKey, KeyUnavailable> {
        let manifest = self.rules.now().rules().manifest.hash;
        let channel = self
            .endpoint
            .connect_with_connector(self.connector.clone())
            .await
            .map_err(|error| KeyUnavailable::Unreachable(uplink::with_sources(&error)))?;
        let mut broker = KeyReleaseServiceClient::new(channel);
        let challenge = broker
            .challenge(wire::ChallengeRequest {})
            .await
            .map_err(refusal)?;
        let nonce = nonce_from_wire(&challenge.into_inner())?;
        let (pair, evidence) = prove(&self.attester, |public| {
            key_release(&KeyRelease {
                nonce: &nonce,
                hpke_key: public,
                key_id: wanted.name.key_id.as_str(),
                job: wanted.job.as_str().as_bytes(),
                manifest_hash: &manifest,
            })
        })
        .await?;
        let request = wire::ReleaseRequest {
            nonce: nonce.to_vec(),
            hpke_key: pair.public().to_vec(),
            key_id: wanted.name.key_id.to_string(),
            version: wanted.name.version,
            proposal: Some(wanted.proposal.clone()),
            approval: Some(wanted.approval.clone()),
            evidence,
        };
        let released = broker.release(request).await.map_err(refusal)?.into_inner();
        let sealed = SealedKey {
            encapsulated: released.encapsulated,
            sealed: released.sealed,
        };
        let terms = ReleaseTerms {
            nonce,
            key: wanted.name.clone(),
            job: wanted.job.clone(),
            contract: wanted.contract,
            manifest: Digest::new(manifest),
        };
        Ok(pair.open(&sealed, &terms)?)
    }
}

/// A fresh key pair, and evidence that this machine made it for what the statement says. The attester may block.
pub(crate) async fn prove(
    attester: &Arc<dyn Attester>,
    statement: impl FnOnce(&[u8]) -> Statement,
) -> Result<(ReleaseKeyPair, Vec<u8>), KeyUnavailable> {
    let pair = ReleaseKeyPair::generate();
    let report_data = statement(pair.public()).report_data();
    let attester = Arc::clone(attester);
    let attested = tokio::task::spawn_blocking(move || attester.attest(report_data)).await;
    let evidence = attested.map_err(|_| AttesterFault::new("the attester panicked"))??;
    Ok((pair, evidence.to_bytes()))
}

/// Gets a key and tells the agent.
pub(crate) async fn fetch(
    broker: Option<Arc<BrokerLink>>,
    wanted: KeyWanted,
    inputs: mpsc::Sender<Input>,
) {
    let started = SystemTime::now();
    let key = match &broker {
        Some(broker) => broker.release(&wanted).await,
        None => Err(KeyUnavailable::NoBroker),
    };
    let code = key
        .as_ref()
        .map_or_else(KeyUnavailable::code, |_| "released");
    metrics::counter!("consort_participant_key_releases_total", "code" => code).increment(1);
    let waited_ms = started.elapsed().unwrap_or_default().as_millis();
    tracing::debug!(job = %wanted.job, key = %wanted.name, code, waited_ms, "the broker was asked");
    let key = key.map_err(|refused| format!("{refused} ({})", refused.code()));
    let (job, name) = (wanted.job, wanted.name);
    if inputs.send(Input::Key { job, name, key }).await.is_err() {
        tracing::debug!("the agent ended");
    }
}

/// The one peer there is: the pinned broker.
pub(crate) struct Pinned {
    pub(crate) organisation: String,
    pub(crate) entry: RosterEntry,
}

impl PeerDirectory for Pinned {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        identity_key: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        match role {
            Role::Broker => {}
            Role::Coordinator | Role::Participant | Role::StartingParticipant => {
                return Err(Refused::Role);
            }
        }
        if organisation != self.organisation {
            return Err(Refused::UnknownOrganisation);
        }
        if self.entry.identity.as_bytes() != identity_key.as_bytes() {
            return Err(Refused::IdentityKey);
        }
        Ok(binding(&self.entry))
    }

    fn owner(&self, role: Role, machine: &MachineBinding) -> Option<String> {
        let is_its = role == Role::Broker && binding(&self.entry) == *machine;
        is_its.then(|| self.organisation.clone())
    }
}

/// A call that failed: the connection, or the broker's no.
pub(crate) fn refusal(status: Status) -> KeyUnavailable {
    let said = uplink::describe(&status);
    match status.code() {
        Code::PermissionDenied
        | Code::InvalidArgument
        | Code::Unauthenticated
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented => KeyUnavailable::Refused(said),
        // A nonce that is not good any more is asked for anew.
        Code::FailedPrecondition
        | Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => KeyUnavailable::Unreachable(said),
    }
}
