//! Manifests, good and bad: who must sign, what may follow what.

use super::*;
use crate::roster::{RosterDocument, RosterEntry, SignedRoster};

const MEMBERS: u8 = 5;

fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

fn name(i: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{i}")).unwrap()
}

fn roster_of(consortium: &str) -> Roster {
    let entry = |seed| RosterEntry {
        identity: secret(seed).public(),
        chip_id: [seed; 64],
        host_data: [seed; 32],
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new(consortium).unwrap(),
        version: 1,
        coordinator: entry(9),
        members: (1..=MEMBERS).map(|i| (name(i), entry(i))).collect(),
    };
    let signatures = (1..=MEMBERS)
        .map(|i| (name(i), document.sign(&secret(i))))
        .collect();
    let signed = SignedRoster::assemble(document, &signatures);
    signed.verify().unwrap()
}

fn roster() -> Roster {
    roster_of("demo")
}

fn document(version: u64, previous: Option<&Manifest>) -> ManifestDocument {
    ManifestDocument {
        consortium: roster().consortium().clone(),
        roster: roster().root(),
        version,
        threshold: 3,
        previous: previous.map(Manifest::hash),
        policy: format!("# version {version}\n"),
        revocation_lists: vec![RevocationListBytes(vec![1, 2, 3])],
    }
}

fn signed(document: ManifestDocument, by: impl IntoIterator<Item = u8>) -> SignedManifest {
    let mut manifest = SignedManifest {
        document,
        signatures: BTreeMap::new(),
    };
    for i in by {
        let signature = manifest.document.sign(&secret(i));
        manifest.add(name(i), &signature);
    }
    manifest
}

fn genesis() -> Manifest {
    let manifest = signed(document(1, None), 1..=MEMBERS);
    manifest.verify(&roster(), None).unwrap()
}

fn refused(manifest: SignedManifest, previous: Option<&Manifest>) -> ManifestError {
    manifest.verify(&roster(), previous).unwrap_err()
}

#[test]
fn genesis_is_accepted_with_the_signatures_of_all_also_after_a_trip_through_json() {
    let text = genesis().signed().to_json();
    let read = SignedManifest::from_json(text.as_bytes()).unwrap();
    assert_eq!(read.verify(&roster(), None).unwrap(), genesis());
    assert_eq!(genesis().policy(), "# version 1\n");
    assert_eq!(
        genesis().revocation_lists().collect::<Vec<_>>(),
        [[1, 2, 3]]
    );
    assert_eq!(genesis().signers().count(), 5);
}

#[test]
fn genesis_without_one_founder_is_refused_by_the_name_of_who_is_missing() {
    let error = refused(signed(document(1, None), [1, 2, 4, 5]), None);
    assert_eq!(error.code(), "manifest_too_few_signatures");
    let text = error.to_string();
    assert!(
        text.contains("4 of the 5") && text.contains("clinic-3"),
        "{text}"
    );
    assert!(!text.contains("clinic-4"), "{text}");
}

#[test]
fn a_later_manifest_needs_as_many_signatures_as_the_one_before_it_says() {
    let first = genesis();
    let next = document(2, Some(&first));
    let second = signed(next.clone(), [1, 2, 3]).verify(&roster(), Some(&first));
    let second = second.unwrap();
    let error = refused(signed(next, [1, 2]), Some(&first));
    assert_eq!(error.code(), "manifest_too_few_signatures");

    // It raises the threshold: the next one obeys it, not genesis's, and not its own.
    let strict = ManifestDocument {
        threshold: 5,
        ..document(7, Some(&second))
    };
    let strict = signed(strict, [3, 4, 5]).verify(&roster(), Some(&second));
    let strict = strict.unwrap();
    let lax = document(8, Some(&strict));
    let error = refused(signed(lax, [1, 2, 3, 4]), Some(&strict));
    assert_eq!(error.code(), "manifest_too_few_signatures");
}

#[test]
fn a_version_may_skip_but_never_fall_and_never_be_two_things() {
    let first = genesis();
    let seventh = signed(document(7, Some(&first)), 1..=3).verify(&roster(), Some(&first));
    let seventh = seventh.unwrap();
    let old = signed(document(3, Some(&first)), 1..=MEMBERS);
    let rollback = |found| ManifestError::Rollback { in_force: 7, found };
    assert_eq!(refused(old, Some(&seventh)), rollback(3));
    assert_eq!(refused(first.signed().clone(), Some(&seventh)), rollback(1));
    assert_eq!(
        refused(seventh.signed().clone(), Some(&seventh)),
        rollback(7)
    );
    let twin = ManifestDocument {
        policy: "# another\n".into(),
        ..document(7, Some(&first))
    };
    let twin = signed(twin, 1..=MEMBERS);
    assert_eq!(refused(twin, Some(&seventh)), ManifestError::Fork(7));
}

#[test]
fn a_manifest_whose_predecessor_was_not_seen_is_refused() {
    let first = genesis();
    let second = signed(document(2, Some(&first)), 1..=3).verify(&roster(), Some(&first));
    let third = signed(document(3, Some(&second.unwrap())), 1..=MEMBERS);
    let gap = |seen| ManifestError::Gap { seen, found: 3 };
    assert_eq!(refused(third.clone(), Some(&first)), gap(Some(1)));
    assert_eq!(refused(third, None), gap(None));
}

#[test]
fn genesis_names_nothing_before_it_and_every_other_manifest_does() {
    let first = genesis();
    for wrong in [
        document(1, Some(&first)),
        document(2, None),
        document(0, None),
    ] {
        let version = wrong.version;
        let error = refused(signed(wrong, 1..=MEMBERS), None);
        assert_eq!(error, ManifestError::Linkage(version));
    }
}

#[test]
fn a_threshold_that_two_disjoint_groups_could_reach_or_nobody_is_refused() {
    for threshold in [0, 1, 2, 6, u32::MAX] {
        let document = ManifestDocument {
            threshold,
            ..document(1, None)
        };
        let error = refused(signed(document, 1..=MEMBERS), None);
        assert_eq!(error.code(), "manifest_threshold", "{threshold}");
    }
}

#[test]
fn every_field_is_under_the_signature() {
    let first = genesis();
    let good = document(2, Some(&first));
    let changed = [
        ManifestDocument {
            threshold: 4,
            ..good.clone()
        },
        ManifestDocument {
            version: 3,
            ..good.clone()
        },
        ManifestDocument {
            policy: "# version 2 \n".into(),
            ..good.clone()
        },
        ManifestDocument {
            revocation_lists: Vec::new(),
            ..good.clone()
        },
    ];
    for document in changed {
        assert_ne!(document.hash(), good.hash());
        let mut manifest = signed(good.clone(), 1..=MEMBERS);
        manifest.document = document;
        let error = refused(manifest, Some(&first));
        assert_eq!(error, ManifestError::Signature(name(1)));
    }
}

#[test]
fn a_stranger_and_another_members_key_are_refused_by_name() {
    let mut manifest = signed(document(1, None), 1..=MEMBERS);
    let signature = manifest.document.sign(&secret(9));
    manifest.add(name(3), &signature);
    assert_eq!(refused(manifest, None), ManifestError::Signature(name(3)));
    let mut manifest = signed(document(1, None), 1..=MEMBERS);
    manifest.add(name(6), &signature);
    assert_eq!(refused(manifest, None), ManifestError::Stranger(name(6)));
}

#[test]
fn a_manifest_of_another_consortium_or_roster_is_refused() {
    let manifest = || signed(document(1, None), 1..=MEMBERS);
    let elsewhere = roster_of("elsewhere");
    let error = manifest().verify(&elsewhere, None).unwrap_err();
    assert_eq!(error.code(), "manifest_consortium");
    let mut other = manifest();
    other.document.roster = elsewhere.root();
    assert_eq!(refused(other, None).code(), "manifest_roster");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_looked_into() {
    let file = vec![b' '; MAX_MANIFEST_BYTES + 1];
    let error = SignedManifest::from_json(&file).unwrap_err();
    assert_eq!(error.code(), "manifest_size");
    let policy = "#".repeat(MAX_POLICY_BYTES + 1);
    for policy in [policy, String::new()] {
        let document = ManifestDocument {
            policy,
            ..document(1, None)
        };
        let error = refused(signed(document, 1..=MEMBERS), None);
        assert_eq!(error.code(), "manifest_policy_size");
    }
    let long = vec![RevocationListBytes(vec![0; MAX_REVOCATION_LIST_BYTES + 1])];
    let many = vec![RevocationListBytes(Vec::new()); MAX_REVOCATION_LISTS + 1];
    for revocation_lists in [long, many] {
        let document = ManifestDocument {
            revocation_lists,
            ..document(1, None)
        };
        let error = refused(signed(document, 1..=MEMBERS), None);
        assert_eq!(error.code(), "manifest_revocation_lists");
    }
}

#[test]
fn a_file_with_an_unknown_field_or_a_short_hash_is_no_manifest() {
    let text = genesis().signed().to_json();
    for (from, to) in [
        ("\"version\"", "\"verison\""),
        ("\"signatures\"", "\"signed\""),
        ("010203", "01020"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        let error = SignedManifest::from_json(changed.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "manifest_malformed");
    }
}
