//! A small consortium for the tests: three clinics, a simulated machine for the first one, and its broker, in one process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use consort_aggregation::Digest;
use consort_attestation::simulated::{
    ROOTS_FILE, SimulatedAttester, SimulatedMachine, SimulatedVendor,
};
use consort_attestation::statements::{KeyRelease, key_release};
use consort_attestation::{Attester, ChipId, HostData, Measurement, Product};
use consort_contract::identity::hex;
use consort_contract::{
    ConsortiumId, IdentitySecret, Job, JobId, Label, ManifestDocument, OrganisationId, Plan,
    RosterDocument, RosterEntry, SignedManifest, SignedRoster, Vote,
};
use consort_daemon::config::DaemonConfig;
use consort_daemon::crash::CrashPoints;
use consort_daemon::node::{Node, SIMULATED_TCB};
use consort_proto::convert::{job_to_wire, plan_to_wire, vote_to_wire};
use consort_proto::wire::consent::v1::{Approval, Proposal};
use consort_proto::wire::keys::v1::ReleaseRequest;
use consort_vault::release::ReleaseKeyPair;

use crate::broker::Broker;
use crate::config::{Config, LocalConfig, WrappingConfig};
use crate::wrapping::{OrganisationKeys, create};

/// Members of the consortium.
pub(crate) const MEMBERS: u8 = 3;

/// The session that the tests ask in.
pub(crate) const SESSION: [u8; 32] = [7; 32];

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn name(member: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{member}")).unwrap()
}

fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

/// The machine of a member: the first clinic's is the one that its broker knows.
pub(crate) fn machine(member: u8) -> SimulatedMachine {
    SimulatedMachine {
        chip_id: ChipId::new([member; 64]),
        measurement: Measurement::new([0x4D; 48]),
        host_data: HostData::new([member; 32]),
        tcb: SIMULATED_TCB,
    }
}

fn vendor() -> &'static SimulatedVendor {
    static VENDOR: OnceLock<SimulatedVendor> = OnceLock::new();
    VENDOR.get_or_init(|| SimulatedVendor::create(Product::Genoa, SystemTime::now()).unwrap())
}

pub(crate) fn attester(machine: SimulatedMachine) -> SimulatedAttester {
    vendor().attester(machine, SystemTime::now()).unwrap()
}

fn policy() -> String {
    let tcb = SIMULATED_TCB;
    format!(
        "[trust]\nroots = []\ndangerous_simulated_roots = [\"{}\"]\n\
         [snp]\nreport_versions = [3, 5]\nmeasurements = [\"{}\"]\n\
         [snp.min_tcb.genoa]\nbootloader = {}\ntee = {}\nsnp = {}\nmicrocode = {}\n",
        hex(&vendor().root_hash().unwrap()),
        hex(&[0x4D; 48]),
        tcb.bootloader,
        tcb.tee,
        tcb.snp,
        tcb.microcode
    )
}

/// The organisation's key and former ones, in files of this folder.
pub(crate) fn local_keys(folder: &Path, current: &str, former: &[&str]) -> OrganisationKeys {
    let local = |file: &str| {
        WrappingConfig::Local(LocalConfig {
            dangerous_key_file: folder.join(file),
        })
    };
    let mut config = config(folder);
    config.wrapping = local(current);
    config.former_wrapping = former.iter().map(|file| local(file)).collect();
    create(&config.wrapping).unwrap();
    OrganisationKeys::open(&config).unwrap()
}

/// The sample configuration in a folder, which releases to simulated machines.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config: Config = toml::from_str(include_str!("../config.sample.toml")).unwrap();
    config.former_wrapping.clear();
    config.dangerous_release_to_simulated = true;
    config.node.roots = vec![Path::new("simulated").join(ROOTS_FILE)];
    config.node.roster = "roster.json".into();
    config.node.manifest = "manifest.json".into();
    let consort_daemon::node::AttesterConfig::Simulated(simulated) = &mut config.node.attester
    else {
        panic!("the sample's machine is simulated");
    };
    simulated.vendor_dir = "simulated".into();
    config.resolve(folder);
    config
}

/// A broker's folder.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) job: (Job, Plan),
    /// The manifest in force.
    pub(crate) manifest: Digest,
}

impl World {
    /// With the files that `consort broker init` makes.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same, with a change to the configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let simulated = folder.path().join("simulated");
        std::fs::create_dir_all(&simulated).unwrap();
        vendor().save(&simulated).unwrap();
        std::fs::write(folder.path().join("broker-policy.toml"), policy()).unwrap();
        let roster = serde_json::to_string(&roster()).unwrap();
        std::fs::write(folder.path().join("roster.json"), roster).unwrap();
        let manifest = manifest();
        std::fs::write(folder.path().join("manifest.json"), manifest.to_json()).unwrap();
        crate::init::init(&config).await.unwrap();
        Self {
            _folder: folder,
            config,
            job: job(|_| ()),
            manifest: manifest.document.hash(),
        }
    }

    /// A broker on these files, as after a start of its process.
    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::new(Broker::open(&self.config, &self.node(), CrashPoints::default()).unwrap())
    }

    /// The broker's own machine.
    pub(crate) fn node(&self) -> Node {
        let key = self.config.node.state_key_file().unwrap();
        Node::open(self.config.node.clone(), &key).unwrap()
    }

    /// What the first clinic's machine asks for under a nonce, all in order.
    pub(crate) fn request(&self, nonce: [u8; 32], pair: &ReleaseKeyPair) -> ReleaseRequest {
        self.request_from(&attester(machine(1)), nonce, pair)
    }

    /// The same, from another machine.
    pub(crate) fn request_from(
        &self,
        attester: &SimulatedAttester,
        nonce: [u8; 32],
        pair: &ReleaseKeyPair,
    ) -> ReleaseRequest {
        self.request_for(attester, nonce, pair.public())
    }

    /// The same, for whatever stands where the public key should.
    pub(crate) fn request_for(
        &self,
        attester: &SimulatedAttester,
        nonce: [u8; 32],
        hpke_key: &[u8],
    ) -> ReleaseRequest {
        let (job, plan) = &self.job;
        let statement = key_release(&KeyRelease {
            nonce: &nonce,
            hpke_key,
            key_id: "breast-cancer-key",
            job: job_id().as_str().as_bytes(),
            manifest_hash: self.manifest.as_bytes(),
        });
        let evidence = attester.attest(statement.report_data()).unwrap();
        let votes = (1..=MEMBERS).map(|i| vote_to_wire(&yes(i, job, plan)));
        ReleaseRequest {
            nonce: nonce.to_vec(),
            hpke_key: hpke_key.to_vec(),
            key_id: "breast-cancer-key".to_owned(),
            version: 1,
            proposal: Some(Proposal {
                job: job_id().to_string(),
                spec: Some(job_to_wire(job.document())),
                plan: Some(plan_to_wire(job, plan)),
            }),
            approval: Some(Approval {
                job: job_id().to_string(),
                votes: votes.collect(),
            }),
            evidence: evidence.to_bytes(),
        }
    }
}

pub(crate) fn job_id() -> JobId {
    JobId::new("job-1").unwrap()
}

/// A member's yes.
pub(crate) fn yes(member: u8, job: &Job, plan: &Plan) -> Vote {
    let contract = plan.contract_hash(job);
    Vote::cast(&job_id(), &name(member), contract, Ok(()), &secret(member))
}

pub(crate) fn roster() -> SignedRoster {
    let entry = |seed: u8| RosterEntry {
        identity: secret(seed).public(),
        chip_id: *machine(seed).chip_id.as_bytes(),
        host_data: *machine(seed).host_data.as_bytes(),
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new("test").unwrap(),
        version: 1,
        coordinator: entry(99),
        members: (1..=MEMBERS).map(|i| (name(i), entry(i))).collect(),
    };
    let signatures = (1..=MEMBERS)
        .map(|i| (name(i), document.sign(&secret(i))))
        .collect();
    SignedRoster::assemble(document, &signatures)
}

/// The first manifest, signed by all founders. Its policy accepts what the broker's own does.
fn manifest() -> SignedManifest {
    let document = ManifestDocument {
        consortium: ConsortiumId::new("test").unwrap(),
        roster: roster().document.root(),
        version: 1,
        threshold: 2,
        previous: None,
        policy: policy(),
        revocation_lists: Vec::new(),
    };
    let mut manifest = SignedManifest {
        document: document.clone(),
        signatures: BTreeMap::new(),
    };
    for member in 1..=MEMBERS {
        manifest.add(name(member), &document.sign(&secret(member)));
    }
    manifest
}

/// A job of three rounds of logistic regression at epsilon 1, with a change.
pub(crate) fn job(change: impl FnOnce(&mut consort_contract::JobDocument)) -> (Job, Plan) {
    let text = r#"{
        "name": "test", "purpose": "diagnosis", "dataset": "breast-cancer",
        "members": ["clinic-1", "clinic-2", "clinic-3"],
        "data": {
            "features": [{"numeric": {"column": "x", "center": 0, "scale": 1, "clip": 3}}],
            "target": {"column": "y", "positive_above": 0.5}
        },
        "model": {"layers": [{"dense": {"outputs": 1}}], "loss": "binary_cross_entropy"},
        "dp_fedsgd": {
            "rounds": 3, "clip": 1.0, "learning_rate": 0.5, "momentum": 0.0, "divisor": 20.0,
            "loss_weight": 0.1, "max_records_per_member": 100
        },
        "privacy": {"epsilon": 1.0, "delta": 0.00001}
    }"#;
    let mut document = serde_json::from_str(text).unwrap();
    change(&mut document);
    let job = Job::new(document).unwrap();
    let plan = Plan::derive(&job).unwrap();
    (job, plan)
}
