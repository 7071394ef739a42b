//! Manifests in a node's state, and the file that is looked after.

use std::collections::BTreeMap;

use consort_attestation::Product;
use consort_attestation::simulated::{ROOTS_FILE, SimulatedTdxVendor, SimulatedVendor};
use consort_contract::{
    ConsortiumId, IdentitySecret, OrganisationId, RosterDocument, RosterEntry, SignedRoster,
};

use super::*;

/// Three clinics, a vendor, a state folder and a manifest's file.
struct World {
    folder: tempfile::TempDir,
    root: String,
    roster: Arc<Roster>,
}

fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

fn name(i: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{i}")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn roster() -> Roster {
    let entry = |seed| RosterEntry {
        identity: secret(seed).public(),
        chip_id: [seed; 64],
        host_data: [seed; 32],
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new("trial").unwrap(),
        version: 1,
        coordinator: entry(9),
        members: (1..=3).map(|i| (name(i), entry(i))).collect(),
    };
    let signatures = (1..=3)
        .map(|i| (name(i), document.sign(&secret(i))))
        .collect();
    let signed = SignedRoster::assemble(document, &signatures);
    signed.verify().unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vendor = SimulatedVendor::create(Product::Genoa, SystemTime::now()).unwrap();
        vendor.save(folder.path()).unwrap();
        Self {
            root: hex(&vendor.root_hash().unwrap()),
            folder,
            roster: Arc::new(roster()),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("manifest.json")
    }

    fn roots(&self) -> Vec<PathBuf> {
        vec![self.folder.path().join(ROOTS_FILE)]
    }

    fn history(&self) -> Result<ManifestHistory, NodeError> {
        ManifestHistory::open(&self.folder.path().join("state"), &self.roster)
    }

    fn document(&self, version: u64, previous: Option<&ManifestDocument>) -> ManifestDocument {
        ManifestDocument {
            consortium: self.roster.consortium().clone(),
            roster: self.roster.root(),
            version,
            threshold: 2,
            previous: previous.map(ManifestDocument::hash),
            policy: format!(
                "# {version}\n[trust]\nroots = []\ndangerous_simulated_roots = [\"{}\"]\n[snp]\nreport_versions = [3]\nmeasurements = [\"{}\"]\n\
                 [snp.min_tcb.genoa]\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n",
                self.root,
                "4d".repeat(48)
            ),
            revocation_lists: Vec::new(),
        }
    }

    fn put(&self, document: &ManifestDocument, by: impl IntoIterator<Item = u8>) {
        let mut manifest = SignedManifest {
            document: document.clone(),
            signatures: BTreeMap::new(),
        };
        for i in by {
            let signature = document.sign(&secret(i));
            manifest.add(name(i), &signature);
        }
        std::fs::write(self.file(), manifest.to_json()).unwrap();
    }

    fn take(&self) -> Result<Taken, NodeError> {
        self.history()?.take(&self.file(), &self.roots())
    }

    fn refused(&self) -> &'static str {
        self.take().err().unwrap().code()
    }

    /// A watch over a node that began with the manifest in the file.
    fn watch(&self) -> (ManifestWatch, Arc<InForce>) {
        let mut history = self.history().unwrap();
        let taken = history.take(&self.file(), &self.roots()).unwrap();
        let rules = rules(&self.roster, &taken.manifest, taken.verifier);
        let in_force = Arc::new(InForce::new(rules));
        let newest = history.newest().unwrap().signed().to_json();
        let taken = Digest::of(newest.as_bytes());
        let watch = ManifestWatch {
            path: self.file(),
            roots: self.roots(),
            roster: self.roster.clone(),
            history,
            in_force: in_force.clone(),
            seen: taken,
            taken,
            failed: None,
        };
        (watch, in_force)
    }
}

#[test]
fn a_node_starts_again_with_the_manifest_it_has_and_never_with_an_older_one() {
    let world = World::new();
    let first = world.document(1, None);
    world.put(&first, 1..=3);
    assert!(!world.take().unwrap().known);
    assert!(world.take().unwrap().known);
    let second = world.document(2, Some(&first));
    world.put(&second, [1, 3]);
    assert_eq!(world.take().unwrap().manifest.version(), 2);
    world.put(&first, 1..=3);
    let error = world.take().err().unwrap();
    assert_eq!(error.code(), "manifest_rollback");
    assert!(error.to_string().contains("manifest.json"), "{error}");
    world.put(&second, [1, 3]);
    assert!(world.take().unwrap().known);
}

#[test]
fn a_manifest_that_this_node_cannot_judge_by_is_not_pinned() {
    let world = World::new();
    let mut foreign = world.document(1, None);
    foreign.policy = foreign.policy.replace(&world.root, &"ab".repeat(32));
    world.put(&foreign, 1..=3);
    assert_eq!(world.refused(), "policy.root-not-given");
    let mut bad_list = world.document(1, None);
    bad_list.revocation_lists = vec![consort_contract::RevocationListBytes(vec![0x30, 0])];
    world.put(&bad_list, 1..=3);
    let refused = world.refused();
    assert!(refused.contains("crl"), "{refused}");
    world.put(&world.document(1, None), 1..=3);
    assert!(!world.take().unwrap().known);
}

#[test]
fn a_pinned_manifest_that_was_touched_stops_the_node_by_its_name() {
    let world = World::new();
    world.put(&world.document(1, None), 1..=3);
    world.take().unwrap();
    let pinned = world.history().unwrap().files().unwrap();
    let text = std::fs::read_to_string(&pinned[0]).unwrap();
    std::fs::write(&pinned[0], text.replace("# 1", "# 7")).unwrap();
    let error = world.history().err().unwrap();
    assert_eq!(error.code(), "manifest_signature");
    assert!(
        error.to_string().contains("00000000000000000001.json"),
        "{error}"
    );
}

#[test]
fn a_new_manifest_comes_into_force_once_two_looks_saw_the_same_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let first = world.document(1, None);
    world.put(&first, 1..=3);
    let (mut watch, in_force) = world.watch();
    let now = SystemTime::now();
    let mut look = || {
        watch
            .look(now)
            .map(|found| found.map(|change| change.manifest))
    };
    assert_eq!(look().unwrap(), None);

    let second = world.document(2, Some(&first));
    world.put(&second, [2]);
    assert_eq!(look().unwrap(), None);
    assert_eq!(look().unwrap_err().code(), "manifest_too_few_signatures");
    // It is said once.
    assert_eq!(look().unwrap(), None);
    assert_eq!(in_force.rules().manifest.version, 1);

    world.put(&second, [2, 3]);
    assert_eq!(look().unwrap(), None);
    let hash = *second.hash().as_bytes();
    let manifest = ManifestId { version: 2, hash };
    assert_eq!(look().unwrap(), Some(manifest));
    assert_eq!(in_force.rules().manifest, manifest);
    assert_eq!(in_force.rules().replaces, Some(*first.hash().as_bytes()));
    assert_eq!(look().unwrap(), None);

    std::fs::remove_file(world.file()).unwrap();
    assert_eq!(look().unwrap(), None);
    assert_eq!(look().unwrap_err().code(), "config_unreadable");
    world.put(&second, [1, 2, 3]);
    assert_eq!(look().unwrap(), None);
    assert_eq!(
        look().unwrap(),
        None,
        "the same manifest with more signatures"
    );
    assert_eq!(in_force.rules().manifest, manifest);
}

#[test]
fn what_was_adopted_beside_a_running_daemon_comes_into_force_and_is_not_forked() {
    let world = World::new();
    let first = world.document(1, None);
    let second = world.document(2, Some(&first));
    let third = world.document(3, Some(&second));
    world.put(&first, 1..=3);
    let (mut watch, in_force) = world.watch();
    let now = SystemTime::now();
    let mut look = || {
        watch
            .look(now)
            .map(|found| found.map(|change| change.manifest))
    };
    world.put(&third, [1, 2]);
    assert_eq!(look().unwrap(), None);
    assert_eq!(look().unwrap_err().code(), "manifest_gap");

    // `consort manifest adopt` with the one between and the newest: the file's content has been refused, and is tried again.
    world.put(&second, [1, 2]);
    world.take().unwrap();
    world.put(&third, [1, 2]);
    world.take().unwrap();
    let found = (0..=RETRY_LOOKS).find_map(|_| look().unwrap());
    assert_eq!(found.unwrap().version, 3);
    assert_eq!(in_force.rules().manifest.version, 3);

    let mut fork = world.document(2, Some(&first));
    fork.policy.push_str("# another\n");
    world.put(&fork, [1, 2]);
    assert_eq!(look().unwrap(), None);
    assert_eq!(look().unwrap_err().code(), "manifest_rollback");
    assert_eq!(world.history().unwrap().newest().unwrap().version(), 3);
}

#[test]
fn a_manifest_whose_roots_were_missing_comes_into_force_when_they_are_there() {
    let world = World::new();
    let first = world.document(1, None);
    world.put(&first, 1..=3);
    let (mut watch, _in_force) = world.watch();
    let roots = world.roots().remove(0);
    let aside = roots.with_extension("aside");
    std::fs::rename(&roots, &aside).unwrap();
    world.put(&world.document(2, Some(&first)), 1..=3);
    let now = SystemTime::now();
    let mut look = || {
        watch
            .look(now)
            .map(|found| found.map(|change| change.manifest))
    };
    assert_eq!(look().unwrap(), None);
    assert_eq!(look().unwrap_err().code(), "config_unreadable");
    assert_eq!(look().unwrap(), None);
    std::fs::rename(&aside, &roots).unwrap();
    let found = (0..=RETRY_LOOKS).find_map(|_| look().unwrap());
    assert_eq!(found.unwrap().version, 2);
}

#[test]
fn roots_and_their_revocation_lists_are_read_in_any_order() {
    let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let vendor = SimulatedVendor::create(Product::Genoa, now).unwrap();
    let (roots, list) = (
        folder.path().join("roots.pem"),
        folder.path().join("roots.crl"),
    );
    std::fs::write(&roots, vendor.roots_pem().unwrap()).unwrap();
    std::fs::write(&list, vendor.revocation_list(&[], now).unwrap()).unwrap();
    for files in [[roots.clone(), list.clone()], [list.clone(), roots]] {
        assert_eq!(trust_store(&files).unwrap().root_hashes().len(), 1);
    }
    let alone = trust_store(&[list]).err().unwrap();
    assert_eq!(alone.code(), "trust.crl-unknown-issuer");
}

#[test]
fn collateral_is_told_from_roots_by_its_first_byte() {
    let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let vendor = SimulatedTdxVendor::create(now).unwrap();
    let file = folder.path().join("collateral.json");
    std::fs::write(&file, vendor.collateral(now).unwrap()).unwrap();
    let store = trust_store(std::slice::from_ref(&file)).unwrap();
    assert_eq!(store.root_hashes(), [vendor.root_hash()]);
    let twice = trust_store(&[file.clone(), file]).err().unwrap();
    assert_eq!(twice.code(), "trust.collateral-twice");
}
