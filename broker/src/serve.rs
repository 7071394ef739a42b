//! Runs the daemon: the gate, the service behind it, and the end when the disk fails.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consort_attestation::channel::ServerChannel;
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::Node;
use consort_daemon::telemetry;
use consort_proto::wire::keys::v1::key_release_service_server::KeyReleaseServiceServer;
use consort_proto::wire::keys::v1::state_key_service_server::StateKeyServiceServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::broker::Broker;
use crate::config::Config;
use crate::error::BrokerError;
use crate::gate::{Gate, HANDSHAKES};
use crate::service::{Releases, StateKeys};
use crate::state_release::StateReleases;

/// Where this daemon can be told to kill itself (`--dangerous-crash-at POINT@N`, in the N-th release of the process): before the
/// release is booked and logged, and after that and before the key is sent; of a state key likewise.
pub const CRASH_POINTS: &[&str] = &[
    "before-log",
    "after-log",
    "before-state-log",
    "after-state-log",
];

/// Between two HTTP/2 pings on an idle connection, and until a silent peer counts as gone: as the coordinator's.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest message that is read: a job of 4096 features and the votes of 1024 members, with room.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Largest message of a participant that starts: a key to seal to and evidence, with room.
const MAX_STATE_MESSAGE_BYTES: usize = 64 * 1024;

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
    let key = config.node.state_key_file()?;
    let node = Node::open(config.node.clone(), &key)?;
    // The ports first: a port in use must not cost a restart record in the log.
    let listener = listen(config.address).await?;
    let to_starting = match &config.state_key {
        Some(state) => Some((state, listen(state.address).await?)),
        None => None,
    };
    if let Some(address) = config.node.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let broker = Arc::new(Broker::open(&config, &node, crash.clone())?);
    let (faults, mut failed) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    tracing::info!(address = %config.address, organisation = %broker.organisation, "the key broker serves");
    let to_starting = match to_starting {
        Some((state, listener)) => {
            let releases = StateReleases::open(&config, state, &node, &broker, crash)?;
            let releases = Arc::new(releases);
            let mut settings = node.channel_settings();
            settings.in_force = releases.rules.now();
            let renewed = Arc::clone(&releases);
            let gate = Gate {
                channel: ServerChannel::of_broker_to_starting(settings)?,
                journal: Arc::clone(&broker.journal),
                renew: Box::new(move || drop(renewed.rules.now())),
                faults: faults.clone(),
            };
            let service = StateKeyServiceServer::new(StateKeys {
                releases,
                faults: faults.clone(),
            });
            tracing::info!(address = %state.address, key_id = %state.key_id, "a participant that starts is served");
            Some(port(gate, listener, stopped.clone(), |server| {
                server.add_service(service.max_decoding_message_size(MAX_STATE_MESSAGE_BYTES))
            }))
        }
        None => None,
    };
    let mut settings = node.channel_settings();
    settings.in_force = broker.rules_of_peers.now();
    let renewed = Arc::clone(&broker);
    let gate = Gate {
        channel: ServerChannel::of_broker(settings)?,
        journal: Arc::clone(&broker.journal),
        renew: Box::new(move || drop(renewed.rules_of_peers.now())),
        faults: faults.clone(),
    };
    let releases = KeyReleaseServiceServer::new(Releases { broker, faults });
    let to_running = port(gate, listener, stopped, |server| {
        server.add_service(releases.max_decoding_message_size(MAX_MESSAGE_BYTES))
    });
    let manifests = node.manifest_watch();
    let kept = async {
        manifests.keep(drop).await;
        // Without the watch the daemon goes on under the manifest that it has; the watch said so.
        std::future::pending::<()>().await
    };
    let server = async {
        match to_starting {
            Some(to_starting) => tokio::try_join!(to_running, to_starting).map(drop),
            None => to_running.await,
        }
    };
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
            // The servers hold the receivers; if they are gone they have stopped.
            let _ = stop.send(true);
            let stopped = tokio::time::timeout(STOP_GRACE, server).await;
            stopped.unwrap_or(Ok(())).map_err(BrokerError::from)
        }
    };
    ended
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BrokerError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| BrokerError::Listen { address, source })
}

/// One attested port and the service behind it, until it is told to stop.
async fn port(
    gate: Gate,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    service: impl FnOnce(&mut Server) -> Router,
) -> Result<(), tonic::transport::Error> {
    let mut server = Server::builder()
        .concurrency_limit_per_connection(CALLS_AT_A_TIME)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(gate.channel.max_age());
    let (admitted, streams) = mpsc::channel(HANDSHAKES);
    // It ends with this future.
    let mut gates = JoinSet::new();
    gates.spawn(Arc::new(gate).admit(listener, admitted));
    service(&mut server)
        .serve_with_incoming_shutdown(ReceiverStream::new(streams), async move {
            // An error means that the daemon is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await
}
