//! The link to the coordinator: an attested channel that participants open, a stream on which the coordinator asks, and the
//! calls that answer it. A link that breaks is opened again, with back-off; whatever is still wanted is then asked again.

mod backoff;
mod manifests;
mod patience;
mod session;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use consort_attestation::channel::{AttestedConnector, ChannelError, ClientChannel, VerifiedPeer};
use consort_daemon::crash::CrashPoints;
use consort_proto::wire::round::v1 as wire;
use rand_core::{OsRng, RngCore};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::transport::{Endpoint, Uri};

use crate::agent::{Effect, Input};
use crate::keys::{self, BrokerLink};
pub(crate) use backoff::Backoff;
pub use manifests::Manifests;
use session::Session;
pub(crate) use session::describe;

/// Pings on an idle connection: a partition is noticed within half a minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a ping may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest message that is read, bytes: the key list of 256 members with usual evidence of 2.7 KiB fits.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Largest frame of HTTP/2 that the coordinator may send, bytes: a piece of a model is four of them instead of sixteen, and each is
/// buffered whole.
const MAX_FRAME_BYTES: u32 = 64 * 1024;

/// Bytes of the name of a process.
const INSTANCE_BYTES: usize = 16;

/// The link of one process.
pub struct Uplink {
    endpoint: Endpoint,
    connector: AttestedConnector,
    /// Drawn once per process: who comes back with another one has lost its round secrets.
    instance: [u8; INSTANCE_BYTES],
    crash: Arc<CrashPoints>,
    inputs: mpsc::Sender<Input>,
    /// This organisation's own broker, where it has one.
    broker: Option<Arc<BrokerLink>>,
    manifests: Arc<Manifests>,
    session: watch::Sender<Option<Arc<Session>>>,
}

impl Uplink {
    /// A link to `HOST:PORT` that is not open yet; what the coordinator says goes to `inputs`.
    ///
    /// # Errors
    /// The address, when it is none.
    pub fn new(
        coordinator: &str,
        channel: ClientChannel,
        crash: CrashPoints,
        inputs: mpsc::Sender<Input>,
        broker: Option<BrokerLink>,
        manifests: Manifests,
    ) -> Result<Self, BadAddress> {
        let endpoint = endpoint(coordinator)?;
        let mut instance = [0; INSTANCE_BYTES];
        OsRng.fill_bytes(&mut instance);
        let manifests = Arc::new(manifests);
        let noting = Arc::clone(&manifests);
        let connector = AttestedConnector::new(Arc::new(channel), move |verdict| {
            note_verdict(verdict);
            noting.note(verdict.err());
        });
        Ok(Self {
            endpoint,
            connector,
            manifests,
            instance,
            crash: Arc::new(crash),
            inputs,
            broker: broker.map(Arc::new),
            session: watch::Sender::new(None),
        })
    }

    /// Keeps the link open, for ever.
    pub async fn keep_open(&self) {
        let mut backoff = Backoff::new();
        loop {
            let opened = Instant::now();
            let ended = self.follow().await;
            // Only a link that held: else a coordinator that fails each call would be dialled ten times a second.
            if opened.elapsed() >= backoff::LONGEST {
                backoff.reset();
            }
            self.session.send_replace(None);
            metrics::gauge!("consort_participant_connected").set(0.0);
            let wait = backoff.next_wait(&mut OsRng);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            match ended {
                Ok(reason) => tracing::info!(reason, wait_ms, "the link is opened again"),
                Err(problem) => tracing::warn!(
                    problem,
                    wait_ms,
                    "the coordinator is not reached; trying again"
                ),
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, from its attestation to its end.
    async fn follow(&self) -> Result<&'static str, String> {
        let connected = self
            .endpoint
            .connect_with_connector(self.connector.clone())
            .await;
        let channel = match connected {
            Ok(channel) => channel,
            Err(error) => {
                self.manifests.catch_up(&self.endpoint).await;
                return Err(with_sources(&error));
            }
        };
        let handed_out = self.manifests.follow(channel.clone());
        let handed_out = async {
            handed_out.await;
            // The session goes on without.
            std::future::pending::<()>().await
        };
        tokio::pin!(handed_out);
        let session = Session::new(channel, Arc::clone(&self.crash), self.inputs.clone());
        let mut events = session.follow(self.instance).await?;
        metrics::gauge!("consort_participant_connected").set(1.0);
        tracing::info!("the coordinator is attested and followed");
        let session = Arc::new(session);
        self.session.send_replace(Some(Arc::clone(&session)));
        let age = tokio::time::sleep(self.connector.max_age());
        tokio::pin!(age);
        loop {
            let message = tokio::select! {
                message = events.message() => message,
                () = session.broken() => return Ok("a call found the link broken"),
                () = &mut handed_out => continue,
                () = &mut age => return Ok("the connection reached its age; both sides attest anew"),
            };
            match message {
                Ok(Some(wire::FollowResponse { event: Some(event) })) => {
                    if self
                        .inputs
                        .send(Input::Said(Box::new(event)))
                        .await
                        .is_err()
                    {
                        return Ok("the agent ended");
                    }
                }
                Ok(Some(wire::FollowResponse { event: None })) => {
                    tracing::warn!("the coordinator said something this version does not know");
                }
                Ok(None) => return Ok("the coordinator ended the stream"),
                Err(status) => return Err(session::describe(&status)),
            }
        }
    }

    /// Carries out what the agent decides, until the agent ends. Each effect runs on its own: a slow upload holds up nothing.
    pub async fn carry_out(&self, mut effects: mpsc::UnboundedReceiver<Effect>) {
        // One training at a time: it uses all cores anyway, and memory once.
        let trainer = Arc::new(tokio::sync::Semaphore::new(1));
        while let Some(effect) = effects.recv().await {
            if let Effect::Train(task) = effect {
                let (trainer, inputs) = (Arc::clone(&trainer), self.inputs.clone());
                tokio::spawn(session::train(task, trainer, inputs));
                continue;
            }
            if let Effect::FetchKey(wanted) = effect {
                let (broker, inputs) = (self.broker.clone(), self.inputs.clone());
                tokio::spawn(keys::fetch(broker, *wanted, inputs));
                continue;
            }
            let session = self.session.borrow().clone();
            match session {
                Some(session) => {
                    tokio::spawn(async move { session.perform(effect).await });
                }
                None => tracing::debug!("no link; what is still wanted will be asked again"),
            }
        }
    }
}

/// How a participant dials `HOST:PORT`.
pub(crate) fn endpoint(coordinator: &str) -> Result<Endpoint, BadAddress> {
    let uri: Uri = format!("http://{coordinator}")
        .parse()
        .map_err(|_| BadAddress(coordinator.to_owned()))?;
    Ok(Endpoint::from(uri)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// An address that is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address; write HOST:PORT")]
pub struct BadAddress(String);

/// Notes what became of the attestation of a connection.
pub(crate) fn note_verdict(verdict: Result<&Arc<VerifiedPeer>, &ChannelError>) {
    let code = match verdict {
        Ok(peer) => {
            let simulated = peer.claims().simulated();
            metrics::gauge!("consort_simulated_attestation").set(f64::from(u8::from(simulated)));
            if simulated {
                tracing::warn!(
                    organisation = peer.organisation(),
                    role = %peer.role(),
                    "the peer's evidence is SIMULATED: no hardware vouches for it"
                );
            }
            "accepted"
        }
        Err(error) => {
            if let ChannelError::CertificateRefused(_)
            | ChannelError::CertificateRefusedByPeer(_)
            | ChannelError::PeerRefused(_)
            | ChannelError::RefusedByPeer { .. } = error
            {
                tracing::error!(code = error.code(), %error, "attestation failed");
            }
            error.code()
        }
    };
    metrics::counter!("consort_evidence_verdicts_total", "reason" => code).increment(1);
}

/// An error with what caused it: tonic's own text says "transport error" only.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
