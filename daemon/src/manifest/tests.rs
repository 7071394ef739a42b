//! Manifests in a node's state, and the file that is looked after.

use std::collections::BTreeMap;

use consort_attestation::Product;
use consort_attestation::simulated::{ROOTS_FILE, SimulatedTdxVendor, SimulatedVendor};
use consort_contract::{
    ConsortiumId, IdentitySecret, OrganisationId, RosterDocument, RosterEntry, SignedRoster,
};

use consort_attestation::channel::InForce;
use consort_vault::StateKey;
use std::time::SystemTime;

use super::watch::RETRY_LOOKS;
use super::*;

/// Three clinics, a vendor, a state folder and a manifest's file.
struct World {
    folder: tempfile::TempDir,
    root: String,
    roster: Arc<Roster>,
    key: Arc<StateKey>,
}

fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

fn state_key(byte: &str) -> Arc<StateKey> {
    Arc::new(StateKey::parse(&byte.repeat(32)).unwrap())
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
            key: state_key("11"),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("manifest.json")
    }

    fn roots(&self) -> Vec<PathBuf> {
        vec![self.folder.path().join(ROOTS_FILE)]
    }

    fn history(&self) -> Result<ManifestHistory, NodeError> {
        ManifestHistory::open(&self.folder.path().join("state"), &self.roster, &self.key)
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

    fn signed(
        &self,
        document: &ManifestDocument,
        by: impl IntoIterator<Item = u8>,
    ) -> SignedManifest {
        let mut manifest = SignedManifest {
            document: document.clone(),
            signatures: BTreeMap::new(),
        };
        for i in by {
            let signature = document.sign(&secret(i));
            manifest.add(name(i), &signature);
        }
        manifest
    }

    fn put(&self, document: &ManifestDocument, by: impl IntoIterator<Item = u8>) {
        std::fs::write(self.file(), self.signed(document, by).to_json()).unwrap();
    }

    /// Manifests from the first to this version, each taken in turn.
    fn chain(&self, newest: u64) -> Vec<ManifestDocument> {
        let mut documents = Vec::<ManifestDocument>::new();
        for version in 1..=newest {
            let document = self.document(version, documents.last());
            self.put(&document, 1..=3);
            self.take().unwrap();
            documents.push(document);
        }
        documents
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
        let watch = ManifestWatch::new(
            self.file(),
            self.roots(),
            self.roster.clone(),
            history,
            in_force.clone(),
        );
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
fn a_pin_that_was_touched_moved_or_taken_out_of_the_middle_stops_the_node_by_its_name() {
    let mut world = World::new();
    let documents = world.chain(3);
    let pins = world.history().unwrap().files().unwrap();
    let sealed: Vec<_> = pins.iter().map(|pin| std::fs::read(pin).unwrap()).collect();
    let policy = documents[0].policy.as_bytes();
    for bytes in &sealed {
        assert!(
            !bytes.windows(8).any(|part| policy.starts_with(part)),
            "it can be read"
        );
    }
    let refused = |world: &World| world.history().err().unwrap();
    for i in 0..3 {
        for byte in (0..sealed[i].len()).step_by(97) {
            let mut touched = sealed[i].clone();
            touched[byte] ^= 1;
            std::fs::write(&pins[i], &touched).unwrap();
            assert_eq!(refused(&world).code(), "vault_sealed");
            std::fs::write(&pins[i], &sealed[i][..byte]).unwrap();
            assert_eq!(refused(&world).code(), "vault_sealed");
        }
        std::fs::write(&pins[i], &sealed[(i + 1) % 3]).unwrap();
        let error = refused(&world);
        assert_eq!(error.code(), "vault_sealed");
        assert!(
            error.to_string().contains(&format!("{:020}", i + 1)),
            "{error}"
        );
        std::fs::write(&pins[i], &sealed[i]).unwrap();
    }
    for (i, code) in [(0, "manifest_gap"), (1, "manifest_gap")] {
        std::fs::remove_file(&pins[i]).unwrap();
        assert_eq!(refused(&world).code(), code);
        std::fs::write(&pins[i], &sealed[i]).unwrap();
    }
    assert_eq!(world.history().unwrap().newest().unwrap().version(), 3);
    world.key = state_key("22");
    assert_eq!(refused(&world).code(), "vault_sealed");
}

#[test]
fn a_pin_that_nobody_sealed_is_refused_by_its_name() {
    let world = World::new();
    world.chain(1);
    let pin = world.history().unwrap().files().unwrap().remove(0);
    std::fs::copy(world.file(), pin.with_extension("json")).unwrap();
    let error = world.history().err().unwrap().to_string();
    assert!(
        error.contains("001.json") && error.contains("not sealed"),
        "{error}"
    );
}

#[test]
fn where_the_newest_came_from_elsewhere_it_stays_in_force_over_an_older_file() {
    let world = World::new();
    let documents = world.chain(2);
    world.put(&documents[0], 1..=3);
    let kept = |world: &World| {
        world
            .history()
            .unwrap()
            .take_or_keep(&world.file(), &world.roots())
    };
    let taken = kept(&world).unwrap();
    assert_eq!((taken.manifest.version(), taken.known), (2, true));
    let third = world.document(3, Some(&documents[1]));
    world.put(&third, [1, 2]);
    assert_eq!(kept(&world).unwrap().manifest.version(), 3);
    let mut other = world.document(2, Some(&documents[0]));
    other.policy.push_str("# another\n");
    world.put(&other, 1..=3);
    assert_eq!(kept(&world).err().unwrap().code(), "manifest_rollback");
}

#[test]
fn an_offered_manifest_is_judged_as_the_file_is_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let first = world.document(1, None);
    world.put(&first, 1..=3);
    let (mut watch, in_force) = world.watch();
    let now = SystemTime::now();
    let second = world.document(2, Some(&first));
    let mut another_roster = second.clone();
    another_roster.roster = Digest::of(b"another");
    let mut gap = world.document(3, Some(&second));
    gap.version = 3;
    let mut offer = |document: &ManifestDocument, by: &[u8]| {
        let bytes = world.signed(document, by.iter().copied()).to_json();
        let taken = watch.take_offered(bytes.as_bytes(), "the coordinator", now);
        taken.map(|change| change.map(|change| (change.manifest.version, change.signed_by)))
    };
    for (document, by, code) in [
        (&second, &[2][..], "manifest_too_few_signatures"),
        (&another_roster, &[1, 2, 3], "manifest_roster"),
        (&gap, &[1, 2, 3], "manifest_gap"),
    ] {
        let error = offer(document, by).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains("the coordinator"), "{error}");
        assert_eq!(in_force.rules().manifest.version, 1);
    }
    assert_eq!(offer(&first, &[1, 2, 3]).unwrap(), None);
    let names = ["clinic-1", "clinic-3"].map(str::to_owned).to_vec();
    assert_eq!(offer(&second, &[1, 3]).unwrap(), Some((2, names)));
    assert_eq!(in_force.rules().manifest.version, 2);
    assert_eq!(
        offer(&first, &[1, 2, 3]).unwrap_err().code(),
        "manifest_rollback"
    );
    // The file still holds the first, which is no news.
    for _ in 0..3 {
        assert!(watch.look(now).unwrap().is_none());
    }
    assert_eq!(world.history().unwrap().newest().unwrap().version(), 2);
    let mut history = world.history().unwrap();
    let after = |history: &mut ManifestHistory, version| {
        let after = history.after(version).unwrap().iter();
        after.map(Manifest::version).collect::<Vec<_>>()
    };
    assert_eq!(after(&mut history, 0), [1, 2]);
    assert_eq!(after(&mut history, 1), [2]);
    assert!(after(&mut history, 2).is_empty());
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

/// A list that comes, as collateral does, is obeyed within some looks; what cannot be used is said once and changes nothing.
#[test]
fn files_of_roots_that_change_come_into_force_under_the_same_manifest() {
    let world = World::new();
    world.put(&world.document(1, None), 1..=3);
    let (mut watch, in_force) = world.watch();
    let before = in_force.rules();
    let roots = world.roots().remove(0);
    let good = std::fs::read(&roots).unwrap();
    let now = SystemTime::now();
    let mut looks = || (0..100).find_map(|_| watch.look_at_roots(now).transpose());
    assert!(looks().is_none(), "nothing changed");

    std::fs::write(&roots, [good.as_slice(), b"\n"].concat()).unwrap();
    let change = looks().unwrap().unwrap();
    assert!(!change.is_new);
    assert_eq!(change.manifest, before.manifest);
    let after = in_force.rules();
    assert!(!Arc::ptr_eq(&before.verifier, &after.verifier));
    assert_eq!(
        (after.manifest, after.replaces),
        (before.manifest, before.replaces)
    );
    assert!(looks().is_none(), "it is taken once");

    std::fs::write(&roots, b"no roots").unwrap();
    assert_eq!(looks().unwrap().unwrap_err().code(), "trust.not-pem");
    assert!(looks().is_none(), "it is said once");
    std::fs::remove_file(&roots).unwrap();
    assert!(looks().is_none(), "it may be on its way");
    assert!(Arc::ptr_eq(&after.verifier, &in_force.rules().verifier));
    std::fs::write(&roots, &good).unwrap();
    assert!(looks().unwrap().is_ok());
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
