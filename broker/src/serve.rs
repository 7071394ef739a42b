//! Runs the daemon: the gate, the service behind it, and the end when the disk fails.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_aggregation::Digest;
use consort_attestation::Evidence;
use consort_attestation::channel::{
    self, AttestedStream, ChannelError, RefusalCause, ServerChannel,
};
use consort_audit::{Event, Fact, Hash};
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::Node;
use consort_daemon::record;
use consort_daemon::strangers::StrangerLimit;
use consort_daemon::telemetry;
use consort_proto::wire::keys::v1::key_release_service_server::KeyReleaseServiceServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::broker::Broker;
use crate::config::Config;
use crate::error::BrokerError;
use crate::release::ReleaseFault;
use crate::service::Releases;

/// Where this daemon can be told to kill itself (`--dangerous-crash-at POINT@N`, in the N-th release of the process): before the
/// release is booked and logged, and after that and before the key is sent.
pub const CRASH_POINTS: &[&str] = &["before-log", "after-log"];

/// Handshakes at a time: each costs some 15 ms of a core, and strangers can cause them. A broker has one participant.
const HANDSHAKES: usize = 8;

/// Between two HTTP/2 pings on an idle connection, and until a silent peer counts as gone: as the coordinator's.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Largest message that is read: a job of 4096 features and the votes of 1024 members, with room.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Calls of one connection at a time: a participant asks for one key after the other.
const CALLS_AT_A_TIME: usize = 8;

/// How long calls may take to end once the daemon stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Runs the broker until `shutdown` resolves.
///
/// # Errors
/// [`BrokerError`] says what cannot be used and what to do.
pub async fn serve(
    config: Config,
    crash: CrashPoints,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BrokerError> {
    let node = Node::open(config.node.clone())?;
    // The port first: a port in use must not cost a restart record in the log.
    let listener =
        TcpListener::bind(config.address)
            .await
            .map_err(|source| BrokerError::Listen {
                address: config.address,
                source,
            })?;
    if let Some(address) = config.node.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let broker = Arc::new(Broker::open(&config, &node, crash)?);
    let mut settings = node.channel_settings();
    settings.in_force = broker.rules_of_peers.now();
    let channel = Arc::new(ServerChannel::of_broker(settings)?);
    tracing::info!(address = %config.address, organisation = %broker.organisation, "the key broker serves");

    let manifests = node.manifest_watch();
    let kept = async {
        manifests.keep(drop).await;
        // Without the watch the daemon goes on under the manifest that it has; the watch said so.
        std::future::pending::<()>().await
    };
    let (faults, mut failed) = mpsc::unbounded_channel();
    let (admitted, streams) = mpsc::channel(HANDSHAKES);
    let max_age = channel.max_age();
    let gate = tokio::spawn(admit(
        Arc::clone(&broker),
        channel,
        listener,
        admitted,
        faults.clone(),
    ));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let releases = KeyReleaseServiceServer::new(Releases { broker, faults })
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let server = Server::builder()
        .concurrency_limit_per_connection(CALLS_AT_A_TIME)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(max_age)
        .add_service(releases)
        .serve_with_incoming_shutdown(ReceiverStream::new(streams), async move {
            // An error means that the daemon is gone, which is a stop as well.
            let _ = stopped.await;
        });
    tokio::pin!(server);
    let ended = tokio::select! {
        ended = &mut server => ended.map_err(BrokerError::from),
        Some(fault) = failed.recv() => {
            tracing::error!(code = fault.code(), %fault, "the broker's storage failed; it stops");
            Err(fault.into())
        }
        () = kept => Ok(()),
        () = shutdown => {
            tracing::info!("the key broker stops");
            // The server holds the receiver; if it is gone it has stopped.
            let _ = stop.send(());
            let stopped = tokio::time::timeout(STOP_GRACE, server).await;
            stopped.unwrap_or(Ok(())).map_err(BrokerError::from)
        }
    };
    gate.abort();
    ended
}

/// Attests every connection; only those that pass reach the service.
async fn admit(
    broker: Arc<Broker>,
    channel: Arc<ServerChannel>,
    listener: TcpListener,
    admitted: mpsc::Sender<Result<AttestedStream, std::io::Error>>,
    faults: mpsc::UnboundedSender<ReleaseFault>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let strangers = Arc::new(StrangerLimit::new(Instant::now()));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (broker, channel) = (Arc::clone(&broker), Arc::clone(&channel));
        let (admitted, faults) = (admitted.clone(), faults.clone());
        let strangers = Arc::clone(&strangers);
        tokio::spawn(async move {
            match attest(&broker, &channel, &strangers, stream, address).await {
                Ok(Some(stream)) => {
                    // The server is gone only when the daemon stops.
                    let _ = admitted.send(Ok(stream)).await;
                }
                Ok(None) => {}
                Err(fault) => {
                    // The receiver is gone only when the daemon stops.
                    let _ = faults.send(fault);
                }
            }
            drop(permit);
        });
    }
}

/// The verdict is in the log before the peer is spoken to.
async fn attest(
    broker: &Arc<Broker>,
    channel: &ServerChannel,
    strangers: &StrangerLimit,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<Option<AttestedStream>, ReleaseFault> {
    // A manifest that came into force since is the one that this connection is about.
    broker.rules_of_peers.now();
    let outcome = channel::accept(stream, channel).await;
    let mut facts = Vec::new();
    if let Err(error) = &outcome
        && error.is_of_a_stranger()
    {
        match strangers.recorded(address.ip(), Instant::now()) {
            Some(0) => {}
            Some(count) => facts.push(Fact::of_consortium(Event::RefusalsLeftOut { count })),
            None => return Ok(None),
        }
    }
    let event = match &outcome {
        Ok(stream) => {
            let peer = stream.peer();
            Event::EvidenceVerdict {
                organisation: record::organisation(peer.organisation()),
                accepted: true,
                code: record::code("accepted"),
                simulated: peer.claims().simulated(),
                report: Hash(*Digest::of(peer.evidence().report()).as_bytes()),
            }
        }
        Err(ChannelError::CertificateRefused(refused)) => {
            let (member, reason) = (refused.organisation.as_deref(), refused.reason.code());
            tracing::warn!(%address, member, code = reason, correlation = %refused.correlation, "a peer is refused in the handshake");
            let code = record::code(reason);
            match member {
                Some(member) => Event::EvidenceVerdict {
                    organisation: record::organisation(member),
                    accepted: false,
                    code,
                    simulated: false,
                    report: report_hash(&refused.evidence),
                },
                None => Event::MemberRefused {
                    organisation: record::organisation(record::UNKNOWN),
                    code,
                },
            }
        }
        Err(ChannelError::PeerRefused(refused)) => {
            tracing::warn!(%address, member = refused.organisation, code = refused.cause.code(), correlation = %refused.correlation, "a peer is refused");
            let (organisation, code) = (
                record::organisation(&refused.organisation),
                record::code(refused.cause.code()),
            );
            match refused.cause {
                RefusalCause::Evidence(_) => Event::EvidenceVerdict {
                    organisation,
                    accepted: false,
                    code,
                    simulated: false,
                    report: report_hash(&refused.evidence),
                },
                RefusalCause::Directory(_)
                | RefusalCause::IdentitySignature
                | RefusalCause::Manifest(_) => Event::MemberRefused { organisation, code },
            }
        }
        Err(error) => {
            tracing::info!(%address, code = error.code(), %error, "a connection did not pass the gate");
            return Ok(None);
        }
    };
    let label = outcome
        .as_ref()
        .map_or_else(|error| error.code(), |_| "accepted");
    metrics::counter!("consort_evidence_verdicts_total", "code" => label).increment(1);
    let broker = Arc::clone(broker);
    facts.push(Fact::of_consortium(event));
    let append = move || {
        let mut facts = facts.into_iter();
        facts.try_for_each(|fact| broker.journal.append(fact))
    };
    let logged = tokio::task::spawn_blocking(append).await;
    logged.map_err(|_| ReleaseFault::Lost)??;
    Ok(outcome.ok())
}

/// SHA-256 of the report in evidence; of all of it when it holds none.
fn report_hash(evidence: &[u8]) -> Hash {
    let report = Evidence::from_bytes(evidence).map(|evidence| Digest::of(evidence.report()));
    Hash(*report.unwrap_or_else(|_| Digest::of(evidence)).as_bytes())
}
