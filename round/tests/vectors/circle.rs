//! The attempt of 257 members on a circle, of which the vectors show three; what all others say is in the hashes.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Canonical, Digest, MemberIndex, RoundKeyContext, Seating};
use consort_contract::IdentitySecret;
use serde_json::{Value, json};

use crate::answers::{at, digest, read, small};
use crate::scene::{Files, Given, Phases, Scene};
use crate::{listed, member, members};

const CIRCLE: &str = include_str!("../../../vectors/secure-aggregation/circle.json");

/// The rule by which the secrets of the cohort are made (vectors/README.md).
fn drawn(kind: &str, own: u32, k: u32) -> Digest {
    Canonical::new("consort/vectors/circle/v1")
        .str(kind)
        .u64(own.into())
        .u64(k.into())
        .hash()
}

fn scalar(kind: &str, own: u32, k: u32) -> [u8; 32] {
    let mut scalar = *drawn(kind, own, k).as_bytes();
    scalar[31] &= 0x0f;
    scalar
}

fn element(own: u32, i: u32) -> i64 {
    let word = drawn("element", own, i).as_bytes()[..4].try_into().unwrap();
    i64::from(u32::from_be_bytes(word)) - (1 << 31)
}

fn given(own: u32, threshold: u32, elements: u32) -> Given {
    let mut scalars = vec![
        scalar("mask key", own, 0),
        scalar("share key", own, 0),
        scalar("self-mask", own, 0),
    ];
    for kind in ["mask key", "self-mask"] {
        scalars.extend((1..threshold).map(|k| scalar(kind, own, k)));
    }
    Given {
        identity_seed: *drawn("identity", own, 0).as_bytes(),
        evidence: drawn("evidence", own, 0).as_bytes().to_vec(),
        ledger_sequence: own.into(),
        scalars,
        integers: Some((0..elements).map(|i| element(own, i)).collect()),
    }
}

/// The announcement, with the cohort that the file leaves out.
fn opened(circle: &Value) -> Value {
    let mut opened = at(circle, "/context").clone();
    let cohort: Vec<Value> = (1..=small::<u32>(&opened, "/terms/thresholds/n"))
        .map(|own| {
            let seed = drawn("identity", own, 0);
            let identity = IdentitySecret::from_seed(seed.as_bytes()).public();
            json!({
                "index": own,
                "organisation": format!("member-{own:03}"),
                "identity": consort_contract::identity::hex(identity.as_bytes()),
            })
        })
        .collect();
    opened["terms"]["cohort"] = cohort.into();
    opened
}

fn without(members: &BTreeSet<MemberIndex>, missing: &Value, phase: &str) -> BTreeSet<MemberIndex> {
    let missing = member(missing, phase);
    assert!(members.contains(&missing));
    members.iter().copied().filter(|m| *m != missing).collect()
}

fn scene(circle: &Value) -> Scene {
    let file = |name: &str| at(circle, name).clone();
    let files = Files {
        opened: opened(circle),
        keys: file("/keys"),
        sharing: file("/sharing"),
        updates: file("/updates"),
        opening: file("/opening"),
    };
    let threshold = small(&files.sharing, "/threshold");
    let elements = small(&files.opened, "/terms/elements");
    let given = (1..=small::<u32>(&files.opened, "/terms/thresholds/n")).map(|own| {
        (
            MemberIndex::new(own).unwrap(),
            given(own, threshold, elements),
        )
    });
    let given: BTreeMap<_, _> = given.collect();
    Scene::new(files, given)
}

/// One member is missing from each phase on.
fn phases(scene: &Scene, never: &Value) -> Phases {
    let everyone = scene.open.terms.cohort.keys().copied().collect();
    let u1 = without(&everyone, never, "/joins");
    let u2 = without(&u1, never, "/shares");
    let u3 = without(&u2, never, "/submits");
    let confirming = without(&u3, never, "/confirms");
    Phases {
        u1,
        u2,
        u3,
        confirming,
    }
}

fn seating(scene: &Scene, u1: &BTreeSet<MemberIndex>) -> Seating {
    let keys = &scene.files.keys;
    let context = RoundKeyContext::new(&digest(keys, "/ctx"), &digest(keys, "/advert_root"));
    assert_eq!(*context.digest(), digest(keys, "/ctx2"));
    let graph = scene.open.terms.thresholds.graph();
    graph.seat(&context, u1.iter().copied())
}

#[test]
fn the_circle_and_who_is_shown_of_it_are_those_of_the_reference() {
    let circle = read(CIRCLE);
    let (scene, never) = (scene(&circle), at(&circle, "/never"));
    let phases = phases(&scene, never);
    let seating = seating(&scene, &phases.u1);
    let keys = &scene.files.keys;
    let seats: Vec<u64> = seating.seats().iter().map(|m| m.get().into()).collect();
    assert_eq!(json!(seats), *at(keys, "/seats"));
    // Member 1, the one that does not submit, and the one in the first seat.
    let shown = listed(keys, "/adverts");
    let first = MemberIndex::new(1).unwrap();
    assert!(shown.len() == 3 && shown.contains(&first) && shown.contains(&seating.seats()[0]));
    for own in &shown {
        let near = members(keys, &format!("/neighbours/{}", own.get()));
        assert_eq!(seating.neighbours(*own), near);
    }
    // Whoever stops is a neighbour of member 1.
    let stopping = ["/shares", "/submits", "/confirms"].map(|phase| member(never, phase));
    let near = seating.neighbours(first);
    assert!(stopping.iter().all(|m| near.contains(m)));
    // So much is compared.
    let submitting: BTreeSet<_> = shown.intersection(&phases.u3).copied().collect();
    assert_eq!(submitting.len(), 2);
    assert_eq!(listed(&scene.files.sharing, "/statements"), shown);
    for (file, list) in [
        (&scene.files.updates, "/updates"),
        (&scene.files.opening, "/confirmations"),
        (&scene.files.opening, "/answers"),
    ] {
        assert_eq!(listed(file, list), submitting);
    }
}

#[test]
fn a_round_on_a_circle_with_the_scalars_of_the_reference_is_that_of_the_reference() {
    let circle = read(CIRCLE);
    let mut scene = scene(&circle);
    let phases = phases(&scene, at(&circle, "/never"));
    scene.run(&phases);
}
