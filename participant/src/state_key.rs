//! Asking this organisation's broker for the key of the state, at each start: evidence alone opens the session, since the identity key
//! that signs others lies under the key that is asked for. The key is never written anywhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consort_attestation::Attester;
use consort_attestation::channel::{AttestedConnector, ChannelError, ClientChannel};
use consort_attestation::statements::{KeyRelease, key_release};
use consort_contract::{Label, OrganisationId};
use consort_daemon::config::load_json;
use consort_daemon::starting::{Starting, instead_of_a_manifest};
use consort_proto::convert::state_nonce_from_wire;
use consort_proto::wire::keys::v1 as wire;
use consort_proto::wire::keys::v1::state_key_service_client::StateKeyServiceClient;
use consort_site::config::StateKeyConfig;
use consort_vault::StateKey;
use consort_vault::release::{SealedKey, StateTerms};
use rand_core::OsRng;
use tonic::transport::Endpoint;

use crate::config::{BrokerConfig, Config};
use crate::error::ParticipantError;
use crate::keys::{KeyUnavailable, PAUSES, Pinned, RELEASE_TIMEOUT, prove, refusal};
use crate::uplink::{self, Backoff};

/// A state key has one version: what lies under it is not sealed again while it is in use.
const VERSION: u32 = 1;

/// How long to wait for a broker that is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A few seconds: a person waits for the answer.
    OfATool,
    /// For ever: nothing can be done without the key.
    OfADaemon,
}

/// The key of the state, from the broker that the configuration names.
///
/// # Errors
/// [`ParticipantError::StateKey`] when the broker refuses, or is not reached while a tool waits; others when a file is unusable.
pub(crate) async fn released(
    config: &Config,
    broker: &BrokerConfig,
    state_key: &StateKeyConfig,
    patience: Patience,
) -> Result<Arc<StateKey>, ParticipantError> {
    let link = Link::new(config, broker, state_key)?;
    let mut pauses = Pauses::of(patience);
    loop {
        let attempt = tokio::time::timeout(RELEASE_TIMEOUT, link.ask()).await;
        let unavailable = match attempt.unwrap_or(Err(KeyUnavailable::Timeout)) {
            Ok(key) => {
                tracing::info!(key_id = %state_key.key_id, "the broker released the key of the state");
                return Ok(Arc::new(key));
            }
            Err(unavailable) => unavailable,
        };
        let pause = pauses.next().filter(|_| unavailable.may_pass());
        let Some(pause) = pause else {
            return Err(ParticipantError::StateKey {
                key_id: state_key.key_id.clone(),
                address: state_key.address.clone(),
                source: unavailable,
            });
        };
        let wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            key_id = %state_key.key_id,
            broker = state_key.address,
            code = unavailable.code(),
            %unavailable,
            wait_ms,
            "the key of the state is not had yet, and nothing opens without it; asking the broker again"
        );
        tokio::time::sleep(pause).await;
    }
}

/// Between two attempts.
enum Pauses {
    Few(std::array::IntoIter<Duration, 4>),
    Endless(Backoff),
}

impl Pauses {
    fn of(patience: Patience) -> Self {
        match patience {
            Patience::OfATool => Self::Few(PAUSES.into_iter()),
            Patience::OfADaemon => Self::Endless(Backoff::new()),
        }
    }

    fn next(&mut self) -> Option<Duration> {
        match self {
            Self::Few(pauses) => pauses.next(),
            Self::Endless(backoff) => Some(backoff.next_wait(&mut OsRng)),
        }
    }
}

/// The way to the broker's port for participants that start.
struct Link {
    endpoint: Endpoint,
    connector: AttestedConnector,
    attester: Arc<dyn Attester>,
    organisation: OrganisationId,
    key_id: Label,
    bound_to: [u8; 32],
    /// Why the gate was not passed, where somebody said no: tonic takes a refusal for a connection that failed.
    refused: Arc<Mutex<Option<String>>>,
}

impl Link {
    fn new(
        config: &Config,
        broker: &BrokerConfig,
        state_key: &StateKeyConfig,
    ) -> Result<Self, ParticipantError> {
        let pinned = Pinned {
            organisation: config.node.organisation.clone(),
            entry: load_json(&broker.entry)?,
        };
        let starting = Starting::open(&config.node, &broker.policy, Arc::new(pinned))?;
        let bound_to = instead_of_a_manifest(&starting.roster);
        let channel = ClientChannel::starting_to_broker(starting.channel)?;
        let refused = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&refused);
        let connector = AttestedConnector::new(Arc::new(channel), move |verdict| {
            uplink::note_verdict(verdict);
            let said = verdict.err().and_then(said_no);
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = said;
        });
        Ok(Self {
            endpoint: uplink::endpoint(&state_key.address)?,
            connector,
            attester: starting.attester,
            organisation: OrganisationId::new(&config.node.organisation)?,
            key_id: state_key.key_id.clone(),
            bound_to,
            refused,
        })
    }

    async fn ask(&self) -> Result<StateKey, KeyUnavailable> {
        let connected = self
            .endpoint
            .connect_with_connector(self.connector.clone())
            .await;
        let channel = connected.map_err(|error| {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            match refused.take() {
                Some(said) => KeyUnavailable::Refused(said),
                None => KeyUnavailable::Unreachable(uplink::with_sources(&error)),
            }
        })?;
        let mut broker = StateKeyServiceClient::new(channel);
        let challenge = broker.state_challenge(wire::StateChallengeRequest {}).await;
        let nonce = state_nonce_from_wire(&challenge.map_err(refusal)?.into_inner())?;
        let (pair, evidence) = prove(&self.attester, |public| {
            key_release(&KeyRelease {
                nonce: &nonce,
                hpke_key: public,
                key_id: self.key_id.as_str(),
                job: b"",
                manifest_hash: &self.bound_to,
            })
        })
        .await?;
        let request = wire::StateReleaseRequest {
            nonce: nonce.to_vec(),
            hpke_key: pair.public().to_vec(),
            key_id: self.key_id.to_string(),
            evidence,
        };
        let released = broker
            .state_release(request)
            .await
            .map_err(refusal)?
            .into_inner();
        let sealed = SealedKey {
            encapsulated: released.encapsulated,
            sealed: released.sealed,
        };
        let terms = StateTerms {
            nonce,
            key_id: self.key_id.clone(),
            version: VERSION,
            organisation: self.organisation.clone(),
        };
        Ok(StateKey::from_released(&pair.open(&sealed, &terms)?))
    }
}

/// What a refusal says, of either side; nothing for a connection that failed otherwise and may pass the next time.
fn said_no(error: &ChannelError) -> Option<String> {
    match error {
        ChannelError::PeerRefused(_)
        | ChannelError::RefusedByPeer { .. }
        | ChannelError::CertificateRefused(_)
        | ChannelError::CertificateRefusedByPeer(_) => Some(error.to_string()),
        ChannelError::ManifestDiffers(..) => {
            Some("it is of another roster than this participant".to_owned())
        }
        ChannelError::Io(_)
        | ChannelError::Tls(_)
        | ChannelError::Timeout
        | ChannelError::FrameTooLarge
        | ChannelError::Malformed(_)
        | ChannelError::Name
        | ChannelError::Address
        | ChannelError::Attester(_) => None,
    }
}
