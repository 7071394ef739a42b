//! A recorded request for a key, sent again: by the machine it was made in, to the broker that answered it, and after that was
//! restarted.

use std::path::Path;
use std::sync::Arc;

use consort_attestation::channel::{AttestedConnector, ClientChannel, PeerDirectory, Refused};
use consort_attestation::statements::{KeyRelease, key_release};
use consort_attestation::{IdentityKey, MachineBinding, Role};
use consort_audit::Event;
use consort_contract::{JobId, RosterEntry};
use consort_daemon::config::load_json;
use consort_daemon::node::Node;
use consort_daemon::own_rules::OwnRules;
use consort_daemon::peers::binding;
use consort_participant::Config;
use consort_participant::state::SiteState;
use consort_proto::errors::code_of;
use consort_proto::wire::keys::v1 as wire;
use consort_proto::wire::keys::v1::key_release_service_client::KeyReleaseServiceClient;
use consort_storage::EmbeddedStore;
use consort_vault::SealedRecords;
use consort_vault::release::ReleaseKeyPair;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::consortium::{records_of, until_in};
use crate::program::{Daemon, demo, run};

type Client = KeyReleaseServiceClient<Channel>;

/// The broker, by its entry alone: these tests are not about the participant's checks.
struct Pinned(RosterEntry);

impl PeerDirectory for Pinned {
    fn expected(&self, _: Role, _: &str, _: &IdentityKey) -> Result<MachineBinding, Refused> {
        Ok(binding(&self.0))
    }

    fn owner(&self, _: Role, _: &MachineBinding) -> Option<String> {
        None
    }
}

/// A participant's machine and identity, without its daemon.
struct Machine {
    config: Config,
    node: Node,
}

impl Machine {
    fn of(folder: &Path) -> Self {
        let config = Config::load(&folder.join("config.toml")).unwrap();
        let node = Node::open(config.node.clone(), &config.node.state_key_file().unwrap()).unwrap();
        Self { config, node }
    }

    async fn connect(&self) -> Client {
        let broker = self.config.broker.as_ref().unwrap();
        let pinned = Pinned(load_json(&broker.entry).unwrap());
        let rules = OwnRules::new(&self.node, &broker.policy, Arc::new(pinned)).unwrap();
        let mut settings = self.node.channel_settings();
        settings.in_force = rules.now();
        let channel = Arc::new(ClientChannel::to_broker(settings).unwrap());
        let endpoint: Endpoint = format!("http://{}", broker.address).parse().unwrap();
        let connector = AttestedConnector::new(channel, |_| ());
        for _ in 0..100 {
            if let Ok(channel) = endpoint.connect_with_connector(connector.clone()).await {
                return KeyReleaseServiceClient::new(channel);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the broker does not let its participant in");
    }

    /// What the machine would ask for in this session, all in order.
    async fn request(&self, client: &mut Client, job: &JobId) -> wire::ReleaseRequest {
        let challenge = client.challenge(wire::ChallengeRequest {}).await.unwrap();
        let nonce = challenge.into_inner().nonce;
        let node = &self.node.config;
        let store = EmbeddedStore::open(node.state_dir.join("state.redb")).unwrap();
        let key = node.state_key_file().unwrap();
        let records = SealedRecords::open(Arc::new(store), key, &node.organisation).unwrap();
        let state = SiteState::open(Arc::new(records)).unwrap();
        let stored = state.job(job).unwrap().unwrap();
        let pair = ReleaseKeyPair::generate();
        let statement = key_release(&KeyRelease {
            nonce: nonce.as_slice().try_into().unwrap(),
            hpke_key: pair.public(),
            key_id: "breast-cancer-key",
            job: job.as_str().as_bytes(),
            manifest_hash: &self.node.in_force.rules().manifest.hash,
        });
        let evidence = self.node.attester.attest(statement.report_data()).unwrap();
        wire::ReleaseRequest {
            nonce,
            hpke_key: pair.public().to_vec(),
            key_id: "breast-cancer-key".to_owned(),
            version: 1,
            proposal: Some(stored.proposal),
            approval: stored.approval,
            evidence: evidence.to_bytes(),
        }
    }
}

fn assert_nonce_refused(answer: Result<tonic::Response<wire::ReleaseResponse>, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(code_of(&status).as_deref(), Some("key_request_nonce"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_request_for_a_key_is_refused_also_after_a_restart_of_the_broker() {
    let demo = demo(&["--members", "3", "--rounds", "1", "--sealed-data"]);
    assert!(demo.succeeded);
    let job = JobId::new(demo.result["job_id"].as_str().unwrap()).unwrap();
    let own = demo.folder.join("clinic-1-broker");
    let serve = || Daemon::serve("broker", &own.join("config.toml"));
    let machine = Machine::of(&demo.folder.join("clinic-1"));

    let broker = serve();
    let mut client = machine.connect().await;
    let request = machine.request(&mut client, &job).await;
    client.release(request.clone()).await.unwrap();
    assert_nonce_refused(client.release(request.clone()).await);
    let mut later = machine.connect().await;
    assert_nonce_refused(later.release(request.clone()).await);
    let unused = machine.request(&mut client, &job).await;
    drop(broker);
    let broker = serve();
    let mut client = machine.connect().await;
    assert_nonce_refused(client.release(request).await);
    assert_nonce_refused(client.release(unused).await);
    drop(broker);

    let log = own.join("state/audit");
    until_in(
        &log,
        "four requests were refused for their nonce",
        |records| {
            let refused = records.iter().filter(|record| {
            matches!(&record.event, Event::KeyRefused { code, .. } if code.as_str() == "key_nonce")
        });
            (refused.count() == 4).then_some(())
        },
    );
    let records = records_of(&log);
    let released = records
        .iter()
        .filter(|record| matches!(record.event, Event::KeyReleased { .. }));
    assert_eq!(released.count(), 2, "the demo's, and the one above");
    let verified = run(&["audit", "verify", log.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}
