//! Runs the daemon: stores, jobs, the attested port and the operators' port.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use consort_aggregation::Digest;
use consort_attestation::channel::{
    self, AGE_GRACE, AttestedStream, ChannelError, MAX_CONNECTION_AGE, ManifestId, RefusalCause,
    ServerChannel,
};
use consort_audit::{Event, Fact, Hash};
use consort_daemon::config;
use consort_daemon::crash::CrashPoints;
use consort_daemon::manifest::ManifestChange;
use consort_daemon::node::Node;
use consort_daemon::record::{UNKNOWN, code, organisation};
use consort_daemon::strangers::StrangerLimit;
use consort_daemon::telemetry;
use consort_proto::wire::audit::v1::witness_service_server::WitnessServiceServer;
use consort_proto::wire::consent::v1::consent_service_server::ConsentServiceServer;
use consort_proto::wire::job::v1::job_service_server::JobServiceServer;
use consort_proto::wire::manifest::v1::manifest_service_server::ManifestServiceServer;
use consort_proto::wire::model::v1::model_service_server::ModelServiceServer;
use consort_proto::wire::round::v1::round_service_server::RoundServiceServer;
use consort_round::Millis;
use consort_storage::{EmbeddedStore, LocalBlobs};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::api::{
    CONNECTION_WINDOW_BYTES, Consent, Jobs, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, Manifests, Models,
    Rounds, STREAM_WINDOW_BYTES, Token, Witnesses,
};
use crate::config::Config;
use crate::driver::{Board, Desk, Now, OwnSession, Services};
use crate::error::{Fault, ServeError};
use crate::recorder::{Recorder, report_hash};

/// Handshakes at a time: each costs some 15 ms of a core, and strangers can cause them.
const HANDSHAKES: usize = 64;

/// Between two HTTP/2 pings on an idle connection, and until a silent peer counts as gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Calls that one connection may have open at a time, on either port: a stream, and for each of some dozens of jobs an answer on its way.
/// What is beyond waits in the client.
const CALLS_AT_A_TIME: u32 = 64;

/// Most bytes of a call's headers: a token, a deadline and a trace are within 1 KiB.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Calls that a peer may open and reset before the server has looked at them; then the connection is closed (CVE-2023-44487).
const MAX_RESETS: usize = 20;

/// Pause after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long calls may take to end once the daemon stops; open streams are cut then.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Runs the coordinator until `shutdown` resolves.
///
/// # Errors
/// [`ServeError`] says what cannot be used and what to do.
pub async fn serve(
    config: Config,
    crash: CrashPoints,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let node = Node::open(config.node.clone(), &config.node.state_key_file()?)?;
    check_own_entry(&node)?;
    let token = Token::load(&config.operators.token_file)?;
    let identity = Identity::from_pem(
        config::read(&config.operators.certificate)?,
        config::read(&config.operators.key)?,
    );
    // Ports first: a port in use must not cost a restart record in the audit log.
    let participants = listen(config.participants_address).await?;
    let operators = listen(config.operators_address).await?;
    if let Some(address) = config.node.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let channel = ServerChannel::new(node.channel_settings()).map_err(|error| ServeError::Tls {
        what: "the attested channel",
        problem: error.to_string(),
    })?;
    let manifests = node.manifest_watch();
    let (newest, in_force) = watch::channel(node.in_force.rules().manifest.version);
    let handed_out = Manifests {
        history: node.manifest_history(),
        in_force,
    };
    let (fault_sender, mut faults) = mpsc::unbounded_channel();
    let services = Arc::new(open_services(node, crash)?);
    let desk = {
        let services = services.clone();
        tokio::task::spawn_blocking(move || Desk::open(services, now, fault_sender)).await
    };
    let desk = Arc::new(desk.map_err(|error| ServeError::Tls {
        what: "the recovery of jobs",
        problem: error.to_string(),
    })??);
    tracing::info!(participants = %config.participants_address, operators = %config.operators_address, "the coordinator serves");

    let (stop, stopped) = watch::channel(false);
    let attested = attested_port(
        desk.clone(),
        Arc::new(channel),
        handed_out,
        participants,
        stopped.clone(),
    );
    let plain = operators_port(desk.clone(), token, identity, operators, stopped);
    let kept = async {
        let desk = desk.clone();
        let changed = move |change: ManifestChange| {
            let version = change.manifest.version;
            adopt(&desk, change);
            // Members are handed it once the log has it.
            newest.send_replace(version);
        };
        manifests.keep(changed).await;
        // Without the watch the daemon goes on under the manifest that it has; the watch said so.
        std::future::pending::<Result<(), ServeError>>().await
    };
    let servers = async { tokio::try_join!(attested, plain, kept).map(drop) };
    tokio::pin!(servers);
    tokio::select! {
        ended = &mut servers => return ended,
        Some(fault) = faults.recv() => {
            tracing::error!(code = fault.code(), %fault, "the coordinator's storage failed; it stops");
            return Err(fault.into());
        }
        () = shutdown => {}
    }
    tracing::info!("the coordinator stops");
    // Both servers hold a receiver; if they are gone they have stopped.
    let _ = stop.send(true);
    // Streams that stay open are cut: members connect again.
    tokio::time::timeout(STOP_GRACE, servers)
        .await
        .unwrap_or(Ok(()))
}

/// The time on both clocks.
fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let mono = START.get_or_init(Instant::now).elapsed().as_millis();
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let narrow = |millis: u128| u64::try_from(millis).unwrap_or(u64::MAX);
    Now {
        mono: Millis(narrow(mono)),
        unix_ms: narrow(unix),
    }
}

fn check_own_entry(node: &Node) -> Result<(), ServeError> {
    if node.roster.coordinator().identity == node.identity.public() {
        return Ok(());
    }
    Err(consort_daemon::node::NodeError::NotInRoster(node.config.organisation.clone()).into())
}

fn open_services(node: Node, crash: CrashPoints) -> Result<Services, ServeError> {
    let mut dangerous = node.config.dangerous();
    let verifier = node.verifier();
    dangerous.extend(
        verifier
            .policy()
            .simulated_roots()
            .iter()
            .map(|_| "dangerous_simulated_roots".to_owned()),
    );
    dangerous.extend(crash.armed());
    for choice in &dangerous {
        tracing::warn!(choice, "a dangerous choice is in force");
    }
    show_simulated(verifier.policy().simulated_roots().len());
    let workers = node
        .config
        .compute
        .start()
        .map_err(consort_daemon::node::NodeError::from)?;
    let folder = &node.config.state_dir;
    let store = EmbeddedStore::open(folder.join("events.redb"))?;
    let blobs = LocalBlobs::open(folder.join("blobs"))?;
    let origin = consort_audit::log_origin(node.roster.consortium().as_str());
    let recorder = Recorder::open(
        &folder.join("audit"),
        &origin,
        &node.identity,
        &dangerous,
        || now().unix_ms,
    )?;
    recorder.enrol(&node.roster)?;
    let manifest = node.in_force.rules().manifest;
    recorder.append(vec![in_force(&manifest)])?;
    tracing::info!(version = manifest.version, hash = %Digest::new(manifest.hash), "the manifest in force");
    Ok(Services {
        judge: Arc::new(node.peers()),
        identity: node.identity,
        roster: node.roster,
        store: Arc::new(store),
        blobs: Arc::new(blobs),
        recorder,
        board: Board::default(),
        crash,
        workers,
        dangerous,
    })
}

fn show_simulated(roots: usize) {
    let simulated = if roots == 0 { 0.0 } else { 1.0 };
    metrics::gauge!("consort_simulated_attestation").set(simulated);
}

fn in_force(manifest: &ManifestId) -> Fact {
    Fact::of_consortium(Event::ManifestInForce {
        version: manifest.version,
        manifest: Hash(manifest.hash),
    })
}

/// A manifest came into force, or other collateral under it. The members whose sessions it ended are quarantined, each alone; rounds go on with the others.
fn adopt(desk: &Desk, change: ManifestChange) {
    show_simulated(change.simulated_roots);
    let mut facts = Vec::new();
    if change.is_new {
        facts.push(in_force(&change.manifest));
    }
    for dropped in &change.dropped {
        let (peer, code) = (&dropped.peer, dropped.cause.code());
        let evidence = peer.evidence().to_bytes();
        facts.push(Fact::of_consortium(verdict(
            peer.organisation(),
            false,
            code,
            peer.claims().simulated(),
            &evidence,
        )));
        let board = &desk.services().board;
        board.quarantine(peer.organisation(), code, OwnSession::Failed, now().unix_ms);
    }
    let recorded = tokio::task::block_in_place(|| desk.services().recorder.append(facts));
    if let Err(error) = recorded {
        desk.fail(Fault::Audit(error));
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

async fn attested_port(
    desk: Arc<Desk>,
    channel: Arc<ServerChannel>,
    manifests: Manifests,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (sender, receiver) = mpsc::channel(HANDSHAKES);
    let gate = tokio::spawn(admit(desk.clone(), channel, listener, sender));
    let served = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(CALLS_AT_A_TIME)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // Members leave by themselves at the policy's age, and are cut a little later if they do not, by the policy of then. This is the
        // longest that any policy allows.
        .max_connection_age(MAX_CONNECTION_AGE)
        .max_connection_age_grace(AGE_GRACE)
        .add_service(
            RoundServiceServer::new(Rounds(desk.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            ConsentServiceServer::new(Consent(desk.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            WitnessServiceServer::new(Witnesses(desk)).max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            ManifestServiceServer::new(manifests).max_decoding_message_size(MAX_MESSAGE_BYTES),
        )
        .serve_with_incoming_shutdown(ReceiverStream::new(receiver), async move {
            // An error means that the daemon is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await;
    gate.abort();
    Ok(served?)
}

/// Attests every connection; only those that pass reach the services.
async fn admit(
    desk: Arc<Desk>,
    channel: Arc<ServerChannel>,
    listener: TcpListener,
    admitted: mpsc::Sender<Result<AttestedStream, std::io::Error>>,
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
        let (desk, channel, admitted) = (desk.clone(), channel.clone(), admitted.clone());
        let strangers = strangers.clone();
        tokio::spawn(async move {
            if let Some(stream) = attest(&desk, &channel, &strangers, stream, address).await {
                // The server is gone only when the daemon stops.
                let _ = admitted.send(Ok(stream)).await;
            }
            drop(permit);
        });
    }
}

async fn attest(
    desk: &Arc<Desk>,
    channel: &ServerChannel,
    strangers: &StrangerLimit,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<AttestedStream> {
    let outcome = channel::accept(stream, channel).await;
    // Its machine spoke, and held the key: it is the organisation's, and does not hold.
    if let Err(ChannelError::CertificateRefused(refused)) = &outcome
        && let Some(member) = &refused.organisation
    {
        let board = &desk.services().board;
        let reason = refused.reason.code();
        board.quarantine(member, reason, OwnSession::GoesOnBeside, now().unix_ms);
    }
    let mut facts = Vec::new();
    // In the handshake no identity key has spoken: whoever runs machines for the organisation can be refused there without end.
    if let Err(error) = &outcome
        && (error.is_of_a_stranger() || matches!(error, ChannelError::CertificateRefused(_)))
    {
        let count = strangers.recorded(address.ip(), Instant::now())?;
        if count > 0 {
            facts.push(Fact::of_consortium(Event::RefusalsLeftOut { count }));
        }
    }
    let event = match &outcome {
        // A manifest came into force meanwhile that this peer fails: what ended the session has said so.
        Ok(stream) if stream.is_cut() => return None,
        Ok(stream) => {
            let peer = stream.peer();
            desk.services().board.readmit(peer.organisation());
            verdict(
                peer.organisation(),
                true,
                "accepted",
                peer.claims().simulated(),
                &peer.evidence().to_bytes(),
            )
        }
        Err(ChannelError::CertificateRefused(refused)) => {
            let (member, reason) = (refused.organisation.as_deref(), refused.reason.code());
            tracing::warn!(%address, member, code = reason, correlation = %refused.correlation, "a peer is refused in the handshake");
            match member {
                Some(member) => verdict(member, false, reason, false, &refused.evidence),
                None => Event::MemberRefused {
                    organisation: organisation(UNKNOWN),
                    code: code(reason),
                },
            }
        }
        Err(ChannelError::PeerRefused(refused)) => {
            tracing::warn!(%address, member = refused.organisation, code = refused.cause.code(), correlation = %refused.correlation, cause = %refused.cause, "a peer is refused");
            let reason = refused.cause.code();
            match refused.cause {
                // Its identity key signed this session: it is the organisation, on a machine that does not hold.
                RefusalCause::Evidence(_) => {
                    desk.services().board.quarantine(
                        &refused.organisation,
                        reason,
                        OwnSession::GoesOn,
                        now().unix_ms,
                    );
                    verdict(
                        &refused.organisation,
                        false,
                        reason,
                        false,
                        &refused.evidence,
                    )
                }
                // Anybody could have been that: nobody is quarantined for it.
                RefusalCause::Directory(_)
                | RefusalCause::Manifest(_)
                | RefusalCause::IdentitySignature => Event::MemberRefused {
                    organisation: organisation(&refused.organisation),
                    code: code(reason),
                },
            }
        }
        Err(error) => {
            tracing::info!(%address, code = error.code(), %error, "a connection did not pass the gate");
            return None;
        }
    };
    let label = outcome
        .as_ref()
        .map_or_else(|error| error.code(), |_| "accepted");
    metrics::counter!("consort_evidence_verdicts_total", "code" => label).increment(1);
    facts.push(Fact::of_consortium(event));
    let services = desk.services().clone();
    let recorded = tokio::task::spawn_blocking(move || services.recorder.append(facts)).await;
    match recorded {
        Ok(Ok(())) => outcome.ok(),
        Ok(Err(error)) => {
            desk.fail(Fault::Audit(error));
            None
        }
        Err(_) => None,
    }
}

fn verdict(name: &str, accepted: bool, reason: &str, simulated: bool, evidence: &[u8]) -> Event {
    Event::EvidenceVerdict {
        organisation: organisation(name),
        accepted,
        code: code(reason),
        simulated,
        report: report_hash(evidence),
    }
}

async fn operators_port(
    desk: Arc<Desk>,
    token: Token,
    identity: Identity,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let unusable = |error: &dyn std::fmt::Display| ServeError::Tls {
        what: "the operators' certificate",
        problem: error.to_string(),
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<JobServiceServer<Jobs>>().await;
    reporter.set_serving::<ModelServiceServer<Models>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(consort_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("consort.job.v1.JobService")
            .with_service_name("consort.model.v1.ModelService")
            .with_service_name("grpc.health.v1.Health")
    };
    let schema = |error: tonic_reflection::server::Error| ServeError::Tls {
        what: "the schema",
        problem: error.to_string(),
    };
    let jobs =
        JobServiceServer::new(Jobs(desk.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let models = ModelServiceServer::new(Models(desk)).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .map_err(|error| unusable(&error))?
        .max_concurrent_streams(CALLS_AT_A_TIME)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(MAX_CONNECTION_AGE)
        .tcp_nodelay(true)
        .add_service(InterceptedService::new(jobs, token.clone()))
        .add_service(InterceptedService::new(models, token))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(schema)?)
        .add_service(reflection().build_v1alpha().map_err(schema)?)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            // An error means that the daemon is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .await?;
    Ok(())
}
