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
use consort_storage::{EmbeddedStore, MemoryStore, RecordStore};
use tokio::sync::mpsc;

use crate::agent::{Agent, AgentFault, Effect, Input, Measure, Site};
use crate::config::Config;
use crate::error::ParticipantError;
use crate::keys::BrokerLink;
use crate::ledger::PrivacyLedger;
use crate::premises::Premises;
use crate::state::SiteState;
use crate::uplink::Uplink;

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

/// The state file in the state folder.
pub(crate) const STATE_FILE: &str = "state.redb";

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
    let (organisation, node) = enrolled_node(&config)?;
    for choice in node.config.dangerous().into_iter().chain(crash.armed()) {
        tracing::warn!(choice, "a dangerous choice is in force");
    }
    if let Some(address) = node.config.metrics_address {
        telemetry::serve_metrics(address)?;
    }
    let workers = node.config.compute.start().map_err(NodeError::from)?;
    let store = EmbeddedStore::open(node.config.state_dir.join(STATE_FILE))?;
    let records: Arc<dyn RecordStore> = Arc::new(store);
    let state = SiteState::open(Arc::clone(&records))?;
    let ledger = PrivacyLedger::open(records, consent.lifetime_cap()?)?;
    let channel = ClientChannel::new(node.channel_settings())?;
    let broker = match &config.broker {
        Some(broker) => Some(BrokerLink::new(broker, &node)?),
        None => None,
    };
    let (peers, attester) = (node.peers(), Arc::clone(&node.attester));
    let (manifests, in_force) = (node.manifest_watch(), Arc::clone(&node.in_force));
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
    let uplink = Uplink::new(&config.coordinator, channel, crash, inputs, broker)?;
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
        () = shutdown => {
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

/// The privacy ledger where it lies, of a daemon that is stopped: the state file has one owner at a time. Of a participant that
/// never ran, an empty one.
///
/// # Errors
/// [`ParticipantError`] when the daemon runs, or the file is damaged.
pub fn open_ledger(config: &Config) -> Result<PrivacyLedger, ParticipantError> {
    let cap = config.consent()?.lifetime_cap()?;
    let file = config.node.state_dir.join(STATE_FILE);
    let records: Arc<dyn RecordStore> = if file.exists() {
        Arc::new(EmbeddedStore::open(file)?)
    } else {
        Arc::new(MemoryStore::new())
    };
    Ok(PrivacyLedger::open(records, cap)?)
}

/// What a daemon that is stopped has kept of coordinators that signed two contradicting statements: each with its job's name.
///
/// # Errors
/// [`ParticipantError`] when the daemon runs, or the file is damaged.
pub fn split_views(config: &Config) -> Result<Vec<(String, Vec<u8>)>, ParticipantError> {
    let file = config.node.state_dir.join(STATE_FILE);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let state = SiteState::open(Arc::new(EmbeddedStore::open(file)?))?;
    Ok(state.split_views()?)
}

/// What a daemon that is stopped has kept of its coordinator's log.
#[derive(Debug)]
pub struct WitnessedLog {
    /// The checkpoint of the longest log that it has seen.
    pub checkpoint: Option<String>,
    /// What shows that the log did not go on as it was: each a proof that does not hold, named by both lengths.
    pub contradictions: Vec<(String, Vec<u8>)>,
}

/// What a daemon that is stopped has kept of its coordinator's log. With `forget` it is told to believe the next log that it is shown.
///
/// # Errors
/// [`ParticipantError`] when the daemon runs, or the file is damaged.
pub fn witnessed_log(config: &Config, forget: bool) -> Result<WitnessedLog, ParticipantError> {
    let file = config.node.state_dir.join(STATE_FILE);
    if !file.exists() {
        return Ok(WitnessedLog {
            checkpoint: None,
            contradictions: Vec::new(),
        });
    }
    let mut state = SiteState::open(Arc::new(EmbeddedStore::open(file)?))?;
    let witnessed = WitnessedLog {
        checkpoint: state.log_head().map(str::to_owned),
        contradictions: state.log_contradictions()?,
    };
    if forget {
        state.forget_log_head()?;
    }
    Ok(witnessed)
}

/// The node, and its name, which the roster must have with this node's key.
pub(crate) fn enrolled_node(config: &Config) -> Result<(OrganisationId, Node), ParticipantError> {
    let organisation = OrganisationId::new(&config.node.organisation)?;
    let node = Node::open(config.node.clone())?;
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
