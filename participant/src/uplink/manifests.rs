//! Manifests that the coordinator hands out. They are offered to whoever looks after this node's manifest, who judges them as a file's:
//! enough of the members signed them, for this roster, and they follow what was in force here. A coordinator can hold a manifest
//! back; then its members miss rounds, as they do when nobody copies the file.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consort_attestation::channel::{
    AttestedConnector, ChannelError, ChannelSettings, ClientChannel, InForce, ManifestDifference,
    ManifestId, Rules,
};
use consort_contract::Roster;
use consort_contract::manifest::MAX_MANIFEST_BYTES;
use consort_daemon::manifest::{Offers, context};
use consort_daemon::node::Node;
use consort_proto::wire::manifest::v1::FollowRequest;
use consort_proto::wire::manifest::v1::manifest_service_client::ManifestServiceClient;
use rand_core::OsRng;
use tonic::transport::{Channel, Endpoint};

use super::backoff::Backoff;
use super::{note_verdict, session, with_sources};
use crate::error::ParticipantError;

/// Who hands manifests out, for the log.
const FROM: &str = "the coordinator";

/// Largest message: a manifest and its frame.
const MAX_MESSAGE_BYTES: usize = MAX_MANIFEST_BYTES + 64;

/// How long all manifests may take that a member has missed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// What takes the coordinator's manifests.
pub struct Manifests {
    offers: Offers,
    roster: Arc<Roster>,
    /// This node's side of a channel.
    own: ChannelSettings,
    /// What the gate said last: the coordinator has another manifest.
    differs: Mutex<Option<ManifestDifference>>,
}

impl Manifests {
    /// Offers what the coordinator hands out here.
    pub fn new(node: &Node, offers: Offers) -> Self {
        Self {
            offers,
            roster: Arc::clone(&node.roster),
            own: node.channel_settings(),
            differs: Mutex::new(None),
        }
    }

    /// Takes manifests on a connection of its own, for ever: for a process that keeps no other.
    pub(crate) async fn keep(self, coordinator: &str) -> Result<(), ParticipantError> {
        let endpoint = super::endpoint(coordinator)?;
        let own = Arc::new(self);
        let channel = Arc::new(ClientChannel::new(own.settings_under(&own.own.in_force))?);
        let noting = Arc::clone(&own);
        let connector = AttestedConnector::new(channel, move |verdict| {
            note_verdict(verdict);
            noting.note(verdict.err());
        });
        let mut backoff = Backoff::new();
        loop {
            match endpoint.connect_with_connector(connector.clone()).await {
                Ok(channel) => own.follow(channel).await,
                Err(error) => {
                    tracing::debug!(problem = with_sources(&error), "no manifests are had");
                    own.catch_up(&endpoint).await;
                }
            }
            tokio::time::sleep(backoff.next_wait(&mut OsRng)).await;
        }
    }

    fn settings_under(&self, in_force: &Arc<InForce>) -> ChannelSettings {
        ChannelSettings {
            organisation: self.own.organisation.clone(),
            identity: self.own.identity.clone(),
            attester: Arc::clone(&self.own.attester),
            in_force: Arc::clone(in_force),
            clock: self.own.clock,
        }
    }

    /// Notes what became of a connection.
    pub(super) fn note(&self, error: Option<&ChannelError>) {
        let differs = match error {
            Some(ChannelError::ManifestDiffers(difference, _)) => Some(*difference),
            Some(_) | None => None,
        };
        *self.differs.lock().unwrap_or_else(PoisonError::into_inner) = differs;
    }

    /// Takes what is handed out on a session, until it ends or a manifest is refused.
    pub(super) async fn follow(&self, channel: Channel) {
        let after = self.own.in_force.rules().manifest.version;
        if let Err(problem) = self.take(channel, after, None).await {
            tracing::debug!(problem, "no more manifests on this session");
        }
    }

    /// Where the gate was closed because the coordinator has a newer manifest: takes those that were missed.
    pub(super) async fn catch_up(&self, endpoint: &Endpoint) {
        let differs = self
            .differs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(newer) = differs.filter(|it| it.peer.version > it.own.version) else {
            return;
        };
        let caught_up = async {
            let channel = self.connect_under(endpoint, newer.peer).await?;
            self.take(channel, newer.own.version, Some(newer.peer.version))
                .await
        };
        let ended = tokio::time::timeout(CATCH_UP_TIMEOUT, caught_up).await;
        let (own, peer) = (newer.own.version, newer.peer.version);
        match ended {
            Ok(Ok(())) => {
                tracing::info!(
                    from = own,
                    to = peer,
                    "caught up with the manifest in force"
                );
            }
            Ok(Err(problem)) => tracing::warn!(
                problem,
                own,
                peer,
                "the newer manifest is not had from the coordinator; it may be copied and adopted instead"
            ),
            Err(_) => tracing::warn!(
                own,
                peer,
                "the coordinator did not hand the newer manifest out in time"
            ),
        }
    }

    /// A session about the manifest that the coordinator has in force, of which this member knows no more than the hash. The coordinator
    /// judges this member by it; this member judges the coordinator by the one that it has.
    ///
    /// # Security
    /// Nothing is said on it but which version this member has. What is heard on it is signed by the members.
    async fn connect_under(
        &self,
        endpoint: &Endpoint,
        manifest: ManifestId,
    ) -> Result<Channel, String> {
        let now = self.own.in_force.rules();
        let claimed = InForce::new(Rules {
            verifier: Arc::clone(&now.verifier),
            directory: Arc::clone(&now.directory),
            manifest,
            replaces: None,
            context: context(&self.roster, &manifest.hash),
        });
        let settings = self.settings_under(&Arc::new(claimed));
        let channel = ClientChannel::new(settings).map_err(|error| with_sources(&error))?;
        let connector = AttestedConnector::new(Arc::new(channel), note_verdict);
        let connected = endpoint.connect_with_connector(connector).await;
        connected.map_err(|error| with_sources(&error))
    }

    /// Takes manifests above a version, up to one or for as long as they come.
    async fn take(&self, channel: Channel, after: u64, until: Option<u64>) -> Result<(), String> {
        let mut service =
            ManifestServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let followed = service.follow(FollowRequest { after }).await;
        let mut handed_out = followed
            .map_err(|status| session::describe(&status))?
            .into_inner();
        let mut newest = after;
        while let Some(message) = handed_out
            .message()
            .await
            .map_err(|status| session::describe(&status))?
        {
            let verdict = self.offers.make(message.manifest, FROM).await;
            let version = verdict
                .ok_or_else(|| "nobody looks after manifests any more".to_owned())?
                .map_err(|error| error.to_string())?;
            if version <= newest {
                return Err("the coordinator hands out what is in force already".to_owned());
            }
            newest = version;
            if until.is_some_and(|until| version >= until) {
                return Ok(());
            }
        }
        match until {
            Some(_) => Err("the coordinator ended the stream before its newest".to_owned()),
            None => Ok(()),
        }
    }
}
