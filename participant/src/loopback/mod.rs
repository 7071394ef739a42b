//! `consort uplink`: the attested channel for a participant in another language. The channel is here, and the coordinator's
//! services are offered in plain text on loopback, beside the one service that the machine and the roster are needed for.
//!
//! # Security
//! Every process and every user of this machine can speak on the port. None can speak as the organisation with it alone: votes and
//! messages of a round are signed with the identity key, which stays in its sealed file. They can disturb: take the follow
//! stream over, spend an attempt's evidence, read models. The coordinator cannot tell an uplink from a daemon, so its audit
//! log does not show it; it is said in this process's log.

mod address;
mod forward;
mod link;
mod service;

use std::future::Future;
use std::sync::{Arc, Mutex};

use consort_attestation::channel::ClientChannel;
use consort_daemon::peers::attest_round_keys;
use consort_daemon::telemetry;
use consort_proto::wire::audit::v1::witness_service_server::WitnessServiceServer;
use consort_proto::wire::consent::v1::consent_service_server::ConsentServiceServer;
use consort_proto::wire::round::v1::round_service_server::RoundServiceServer;
use consort_proto::wire::uplink::v1::uplink_service_server::UplinkServiceServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::config::Config;
use crate::error::ParticipantError;
use crate::kept;
use crate::serve::enrolled_node;
use crate::state::SiteState;
use crate::state_key::Patience;
use crate::uplink::Manifests;

pub use address::{LoopbackAddress, NotLoopback};
use forward::Forward;
use link::Link;
use service::Vouching;

/// Calls of one local connection at a time: a follow stream, an upload, a download and a few answers, with room.
const CALLS_AT_A_TIME: usize = 32;

/// Largest message for the services that are answered here: an announcement of 256 members and an advert, with room. What is
/// forwarded is bounded by the coordinator.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;

/// Offers the uplink until `shutdown` completes. The state file is held meanwhile, so that no daemon of this organisation runs
/// beside it.
///
/// # Errors
/// [`ParticipantError`] when it cannot start, or the server ends.
pub async fn serve_loopback(
    config: Config,
    address: LoopbackAddress,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ParticipantError> {
    tokio::pin!(shutdown);
    let key = tokio::select! {
        key = kept::key_for(&config, Patience::OfADaemon) => key?,
        () = &mut shutdown => return Ok(()),
    };
    let (organisation, node) = enrolled_node(&config, &key)?;
    for choice in node.config.dangerous() {
        tracing::warn!(choice, "a dangerous choice is in force");
    }
    if let Some(address) = node.config.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let state = SiteState::open(kept::records(&config.node, &key)?)?;
    let link = Link::new(
        &config.coordinator,
        ClientChannel::new(node.channel_settings())?,
    )?;
    let attester = Arc::clone(&node.attester);
    let (manifests, in_force) = (node.manifest_watch(), Arc::clone(&node.in_force));
    let handed_out = Manifests::new(&node, manifests.offers());
    let vouching = Vouching {
        organisation: organisation.clone(),
        identity: node.identity.public(),
        simulated: !node.verifier().policy().simulated_roots().is_empty(),
        judge: Box::new(node.peers()),
        attest: Mutex::new(Box::new(move |keys| {
            attest_round_keys(&*attester, &in_force, keys)
        })),
        state: Mutex::new(state),
        roster: Arc::clone(&node.roster),
    };
    let in_use = |source| ParticipantError::Listen {
        address: address.socket(),
        source,
    };
    let listener = TcpListener::bind(address.socket()).await.map_err(in_use)?;
    let bound = listener.local_addr().map_err(in_use)?;
    tracing::warn!(
        choice = "dangerous_local",
        "a dangerous choice is in force: whoever can run a program on this machine reaches the coordinator through this port"
    );
    tracing::info!(address = %bound, %organisation, roster = %node.roster.root(), coordinator = config.coordinator, "the uplink listens");
    let offered = offer(Arc::new(link), vouching, listener, shutdown);
    let kept = async {
        manifests.keep(drop).await;
        // Without the watch the uplink goes on under the manifest that it has; the watch said so.
        std::future::pending().await
    };
    tokio::select! {
        ended = offered => ended,
        () = kept => Ok(()),
        ended = handed_out.keep(&config.coordinator) => ended,
    }
}

/// The services on the port: three that are forwarded, one that is answered here, health, and reflection for all of them.
async fn offer(
    link: Arc<Link>,
    vouching: Vouching,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ParticipantError> {
    type Uplink = UplinkServiceServer<Vouching>;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<Uplink>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(consort_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("consort.round.v1.RoundService")
            .with_service_name("consort.consent.v1.ConsentService")
            .with_service_name("consort.audit.v1.WitnessService")
            .with_service_name("consort.uplink.v1.UplinkService")
            .with_service_name("grpc.health.v1.Health")
    };
    let schema = |error: tonic_reflection::server::Error| ParticipantError::Loopback {
        problem: error.to_string(),
    };
    let vouching = UplinkServiceServer::new(vouching).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let served = Server::builder()
        .concurrency_limit_per_connection(CALLS_AT_A_TIME)
        .tcp_nodelay(true)
        .add_service(Forward::<RoundServiceServer<()>>::new(Arc::clone(&link)))
        .add_service(Forward::<ConsentServiceServer<()>>::new(Arc::clone(&link)))
        .add_service(Forward::<WitnessServiceServer<()>>::new(link))
        .add_service(vouching)
        .add_service(health)
        .add_service(reflection().build_v1().map_err(schema)?)
        .add_service(reflection().build_v1alpha().map_err(schema)?)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::select! {
        ended = served => ended.map_err(|error| ParticipantError::Loopback {
            problem: error.to_string(),
        }),
        // Streams that are open are cut: a follow stream would never end by itself.
        () = shutdown => {
            tracing::info!("the uplink stops");
            Ok(())
        }
    }
}
