//! A small consortium for the tests: four clinics with a roster, a job, data files and policies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consort_aggregation::Digest;
use consort_audit::{
    Checkpoint, MerkleTree, NoteSigner, SignedNote, head_hash, leaf_hash, log_origin,
};
use consort_contract::{
    ConsortiumId, IdentitySecret, Job, JobId, JobKind, Label, OrganisationId, Plan, Roster,
    RosterDocument, RosterEntry, SignedRoster,
};
use consort_proto::convert::{ShownHead, job_to_wire, plan_to_wire};
use consort_proto::wire::consent::v1::Proposal;
use consort_round::messages::{RoundKeyJudge, RoundKeys};
use consort_storage::RecordStore;

use crate::agent::{Agent, Site};
use crate::config::DatasetConfig;
use crate::consent::ConsentPolicy;
use crate::ledger::PrivacyLedger;
use crate::premises::Premises;
use crate::state::SiteState;

/// Members of the consortium.
pub(crate) const MEMBERS: u8 = 4;

/// What the clinics have in their files: a number and a label that follows from it.
pub(crate) const RECORDS: &str = "x,y\n0.5,1\n-0.25,0\n1.5,1\n-2,0\n0.125,0\n";

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn name(member: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{member}")).unwrap()
}

pub(crate) fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

/// The coordinator's key.
pub(crate) fn coordinator() -> IdentitySecret {
    secret(99)
}

pub(crate) fn roster() -> Arc<Roster> {
    let entry = |seed: u8| RosterEntry {
        identity: secret(seed).public(),
        chip_id: [seed; 64],
        host_data: [seed; 32],
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new("test").unwrap(),
        version: 1,
        coordinator: entry(99),
        members: (1..=MEMBERS).map(|i| (name(i), entry(i))).collect(),
    };
    let signatures: BTreeMap<_, _> = (1..=MEMBERS)
        .map(|i| (name(i), document.sign(&secret(i))))
        .collect();
    let signed = SignedRoster::assemble(document, &signatures);
    Arc::new(signed.verify().unwrap())
}

/// A job of three rounds of logistic regression at epsilon 1.
pub(crate) fn job() -> (Job, Plan) {
    job_of(|_| ())
}

/// The same job with a change.
pub(crate) fn job_of(change: impl FnOnce(&mut consort_contract::JobDocument)) -> (Job, Plan) {
    let text = r#"{
        "name": "test", "purpose": "diagnosis", "dataset": "records",
        "members": ["clinic-1", "clinic-2", "clinic-3", "clinic-4"],
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

pub(crate) fn job_id() -> JobId {
    JobId::new("job-1").unwrap()
}

pub(crate) fn proposal(job: &Job, plan: &Plan) -> Proposal {
    Proposal {
        job: job_id().to_string(),
        spec: Some(job_to_wire(job.document())),
        plan: Some(plan_to_wire(job, plan)),
    }
}

pub(crate) fn consent() -> ConsentPolicy {
    ConsentPolicy {
        purposes: vec![label("diagnosis")],
        datasets: vec![label("records")],
        kinds: vec![JobKind::Training, JobKind::Stats, JobKind::Evaluate],
        max_epsilon_per_job: 1.0,
        max_epsilon_lifetime: 3.0,
        delta: 1e-5,
        min_cohort: 3,
        max_parameters: 100,
        automatic: true,
    }
}

/// Evidence that says what it is about; these tests are not about attestation.
pub(crate) struct Trusting;

impl RoundKeyJudge for Trusting {
    fn judge(&self, _: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        if evidence == b"evidence" {
            Ok(())
        } else {
            Err("not_evidence".to_owned())
        }
    }
}

pub(crate) fn site(member: u8, data: &Path) -> Site {
    Site {
        organisation: name(member),
        identity: secret(member),
        roster: roster(),
        judge: Box::new(Trusting),
        attest: Box::new(|_| Ok(b"evidence".to_vec())),
        consent: consent(),
        datasets: BTreeMap::from([(
            label("records"),
            DatasetConfig {
                path: data.to_owned(),
                key_id: None,
            },
        )]),
        premises: Box::new(Premises::default),
        workers: std::num::NonZeroUsize::new(2).unwrap(),
        unix_s: || 1_700_000_000,
    }
}

/// The coordinator's audit log, as long as it says; from `forked_at` on its entries are others than those of the honest one.
pub(crate) struct TestLog {
    tree: MerkleTree,
}

impl TestLog {
    pub(crate) fn new(entries: u64, forked_at: u64) -> Self {
        let mut tree = MerkleTree::new();
        for index in 0..entries {
            tree.push(leaf_hash(
                format!("{index} {}", index >= forked_at).as_bytes(),
            ));
        }
        Self { tree }
    }

    /// The checkpoint over its first entries.
    pub(crate) fn checkpoint(&self, size: u64) -> SignedNote {
        let key = ed25519_dalek::SigningKey::from_bytes(&coordinator().to_seed());
        let signer = NoteSigner::new(&log_origin("test"), key).unwrap();
        let checkpoint = Checkpoint {
            origin: log_origin("test"),
            size,
            root: self.tree.root_at(size).unwrap(),
        };
        checkpoint.sign(&signer).unwrap()
    }

    /// What an announcement names.
    pub(crate) fn head(&self, size: u64) -> Digest {
        Digest::new(head_hash(&self.checkpoint(size)).0)
    }

    /// What the coordinator answers to whoever keeps a checkpoint over `kept` entries.
    pub(crate) fn shown(&self, head: Digest, kept: u64) -> ShownHead {
        let mut sizes = 0..=self.tree.size();
        let size = sizes.find(|size| self.head(*size) == head);
        let size = size.expect("the head that is asked for is one of this log's");
        let proof = self.tree.consistency_proof(size.min(kept), size.max(kept));
        ShownHead {
            checkpoint: self.checkpoint(size).to_string(),
            proof: proof
                .unwrap_or_default()
                .iter()
                .map(|hash| hash.0)
                .collect(),
        }
    }
}

/// An agent over these records, as after a start of its process.
pub(crate) fn agent(site: Site, records: &Arc<dyn RecordStore>) -> Agent {
    let state = SiteState::open(Arc::clone(records)).unwrap();
    let cap = site.consent.lifetime_cap().unwrap();
    let ledger = PrivacyLedger::open(Arc::clone(records), cap).unwrap();
    Agent::open(site, state, ledger).unwrap()
}

/// A data file in a folder of its own.
pub(crate) fn data_file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.csv");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}
