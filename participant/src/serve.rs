//! Runs the daemon: opens the state, starts the agent on a thread of its own, and keeps the link to the coordinator.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use consort_attestation::channel::ClientChannel;
use consort_contract::OrganisationId;
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::{Node, NodeError};
use consort_daemon::peers::attest_round_keys;
use consort_daemon::telemetry;
use consort_vault::StateKey;
use tokio::sync::mpsc;

use crate::agent::{Agent, AgentFault, Effect, Input, Measure, Site};
use crate::config::Config;
use crate::error::ParticipantError;
use crate::kept;
use crate::keys::BrokerLink;
use crate::ledger::PrivacyLedger;
use crate::premises::Premises;
use crate::state::SiteState;
use crate::state_key::Patience;
use crate::uplink::{Manifests, Uplink};

/// Where this daemon can be told to kill itself (`--dangerous-crash-at POINT@ROUND`): after the coordinator acknowledged
/// the message, and `mid-upload` after the first chunk of the update and before its seal.
pub const CRASH_POINTS: &[&str] = &[
    "after-advert",
    "after-shares",
    "mid-upload",
    "after-seal",
    "after-confirm",
    "after-unmask",
];

/// Events that wait for the agent: more are left on the stream, where flow control holds the coordinator back.
const INPUTS_WAITING: usize = 64;

/// Takes part until `shutdown` completes.
///
/// # Errors
/// [`ParticipantError`] when the daemon cannot start, or the disk fails.
pub async fn serve(
    config: Config,
    crash: CrashPoints,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ParticipantError> {
    let consent = config.consent()?;
    tokio::pin!(shutdown);
    let key = tokio::select! {
        key = kept::key_for(&config, Patience::OfADaemon) => key?,
        () = &mut shutdown => return Ok(()),
    };
    let (organisation, node) = enrolled_node(&config, &key)?;
    for choice in node.config.dangerous().into_iter().chain(crash.armed()) {
        tracing::warn!(choice, "a dangerous choice is in force");
    }
    if let Some(address) = node.config.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let workers = node.config.compute.start().map_err(NodeError::from)?;
    let records = kept::records(&config.node, &key)?;
    let state = SiteState::open(Arc::clone(&records))?;
    let ledger = PrivacyLedger::open(records, consent.lifetime_cap()?)?;
    let channel = ClientChannel::new(node.channel_settings())?;
    let broker = match &config.broker {
        Some(broker) => Some(BrokerLink::new(broker, &node)?),
        None => None,
    };
    let (peers, attester) = (node.peers(), Arc::clone(&node.attester));
    let (manifests, in_force) = (node.manifest_watch(), Arc::clone(&node.in_force));
    let handed_out = Manifests::new(&node, manifests.offers());
    let premises = premises(&node);
    let site = Site {
        organisation: organisation.clone(),
        identity: node.identity,
        roster: Arc::clone(&node.roster),
        judge: Box::new(peers),
        attest: Box::new(move |keys| attest_round_keys(&*attester, &in_force, keys)),
        consent,
        datasets: config.datasets.clone(),
        premises,
        workers,
        unix_s,
    };
    let agent = Agent::open(site, state, ledger)?;
    let (inputs, asked) = mpsc::channel(INPUTS_WAITING);
    let (decided, effects) = mpsc::unbounded_channel();
    let uplink = Uplink::new(
        &config.coordinator,
        channel,
        crash,
        inputs,
        broker,
        handed_out,
    )?;
    tracing::info!(
        %organisation,
        roster = %node.roster.root(),
        manifest = node.in_force.rules().manifest.version,
        coordinator = config.coordinator,
        "this participant starts"
    );
    let agent = tokio::task::spawn_blocking(move || run(agent, asked, &decided));
    let kept = async {
        manifests.keep(drop).await;
        // Without the watch the daemon goes on under the manifest that it has; the watch said so.
        std::future::pending().await
    };
    tokio::select! {
        () = &mut shutdown => {
            tracing::info!("this participant stops");
            Ok(())
        }
        ended = agent => match ended {
            Ok(Ok(())) | Err(_) => Err(ParticipantError::AgentLost),
            Ok(Err(fault)) => Err(fault.into()),
        },
        () = kept => Ok(()),
        () = uplink.keep_open() => Ok(()),
        () = uplink.carry_out(effects) => Err(ParticipantError::AgentLost),
    }
}

/// What tells what this machine has, by the manifest that is in force when it is asked.
fn premises(node: &Node) -> Box<Measure> {
    let in_force = Arc::clone(&node.in_force);
    let config = node.config.clone();
    Box::new(move || {
        let rules = in_force.rules();
        let genuine =
            !config.attester.is_simulated() && rules.verifier.policy().simulated_roots().is_empty();
        Premises::measure(&config.state_dir, genuine, config.metrics_address.is_some())
    })
}

/// The node, and its name, which the roster must have with this node's key.
pub(crate) fn enrolled_node(
    config: &Config,
    key: &Arc<StateKey>,
) -> Result<(OrganisationId, Node), ParticipantError> {
    let organisation = OrganisationId::new(&config.node.organisation)?;
    let node = Node::open_member(config.node.clone(), key)?;
    let enrolled = node.roster.member(&organisation);
    if enrolled.is_none_or(|entry| entry.identity != node.identity.public()) {
        return Err(NodeError::NotInRoster(organisation.to_string()).into());
    }
    Ok((organisation, node))
}

/// The wall clock, seconds since 1970.
fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// The agent's thread: one input at a time, stored before anything follows from it.
fn run(
    mut agent: Agent,
    mut asked: mpsc::Receiver<Input>,
    decided: &mpsc::UnboundedSender<Effect>,
) -> Result<(), AgentFault> {
    while let Some(input) = asked.blocking_recv() {
        for effect in agent.handle(input)? {
            if decided.send(effect).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
