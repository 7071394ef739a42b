//! A coordinator that breaks a rule is refused by the member, who stays as it was. Each test names the rule it breaks.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::Thresholds;
use consort_round::messages::UpdateSeal;
use consort_round::{
    Attempt, Confirmations, Directive, KeyList, MemberMessage, Rejection, RoundNumber, RoundOpen,
    RoundTerms, Survivors,
};

use crate::cluster::{Cluster, index, updates};

/// A cluster in which every member has answered the first `phases` phases.
fn advanced(phases: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(5, None, None, seed);
    let everyone = cluster.everyone();
    for _ in 0..phases {
        cluster.step(&everyone, &updates(&everyone));
    }
    cluster
}

fn refusal(cluster: &mut Cluster, member: u32, directive: &Directive) -> Rejection {
    cluster
        .answer(index(member), directive, &[0; 5])
        .expect_err("this breaks a rule")
}

fn announcement(cluster: &Cluster, change: impl FnOnce(&mut RoundTerms)) -> Directive {
    let mut terms = cluster.open.terms.clone();
    change(&mut terms);
    Directive::Advertise(RoundOpen::new(terms, &cluster.coordinator))
}

#[test]
fn p0_terms_other_than_the_contract_are_refused() {
    type Change = Box<dyn FnOnce(&mut RoundTerms)>;
    let changes: Vec<(&str, Change)> = vec![
        ("contract", Box::new(|t| t.contract = Digest::of(b"x"))),
        ("votes", Box::new(|t| t.votes = Digest::of(b"x"))),
        ("roster", Box::new(|t| t.roster_root = Digest::of(b"x"))),
        ("model", Box::new(|t| t.model = Digest::of(b"x"))),
        ("cohort", Box::new(|t| drop(t.cohort.remove(&index(5))))),
        (
            "thresholds",
            Box::new(|t| t.thresholds = Thresholds::new(5, Some(2), None).unwrap()),
        ),
        ("round 0", Box::new(|t| t.round = RoundNumber(0))),
        ("round 21", Box::new(|t| t.round = RoundNumber(21))),
        ("attempt 0", Box::new(|t| t.attempt = Attempt(0))),
    ];
    for (what, change) in changes {
        let mut cluster = Cluster::new(5, None, None, 1);
        let directive = announcement(&cluster, change);
        assert!(
            matches!(refusal(&mut cluster, 1, &directive), Rejection::Terms(_)),
            "{what}"
        );
    }
}

#[test]
fn p0_an_announcement_that_somebody_else_signed_is_refused() {
    let mut cluster = Cluster::new(5, None, None, 2);
    let forged = RoundOpen::new(cluster.open.terms.clone(), &cluster.identities[&index(2)]);
    assert_eq!(
        refusal(&mut cluster, 1, &Directive::Advertise(forged)),
        Rejection::CoordinatorSignature
    );
}

#[test]
fn p0_a_round_or_attempt_that_was_answered_before_is_refused() {
    let cluster = Cluster::new(5, None, None, 3);
    for (newest, fresh) in [((1, 1), false), ((1, 2), false), ((2, 1), false)] {
        let mut expected = cluster.expectations(index(1));
        expected.newest_answered = Some(newest);
        assert_eq!(
            expected.check(&cluster.open.terms).is_ok(),
            fresh,
            "{newest:?}"
        );
    }
    let mut terms = cluster.open.terms.clone();
    let mut expected = cluster.expectations(index(1));
    expected.newest_answered = Some((1, 1));
    terms.attempt = Attempt(2);
    assert_eq!(expected.check(&terms), Ok(index(1)));
    (terms.round, terms.attempt) = (RoundNumber(2), Attempt(1));
    assert_eq!(expected.check(&terms), Ok(index(1)));
}

fn key_list(cluster: &Cluster) -> KeyList {
    match cluster.round().directive(index(1)) {
        Some(Directive::ShareKeys(list)) => list,
        other => panic!("expected the key list, got {other:?}"),
    }
}

#[test]
fn p2_a_key_list_that_was_tampered_with_is_refused() {
    type Change = Box<dyn Fn(&mut KeyList, &mut Cluster)>;
    let changes: Vec<(&str, Change)> = vec![
        (
            "own advert left out",
            Box::new(|list, _| list.adverts.retain(|a| a.member != index(1))),
        ),
        (
            "own advert changed",
            Box::new(|list, _| list.adverts[0].ledger_sequence += 1),
        ),
        (
            "a peer's key swapped",
            Box::new(|list, _| list.adverts[1].mask_key = list.adverts[2].mask_key),
        ),
        (
            "an advert twice",
            Box::new(|list, _| list.adverts[1] = list.adverts[2].clone()),
        ),
        (
            "below the fewest survivors",
            Box::new(|list, _| list.adverts.truncate(3)),
        ),
        (
            "a peer's evidence replaced",
            Box::new(|list, _| list.adverts[1].evidence = vec![1, 2, 3]),
        ),
        (
            "a Sybil outside the roster",
            Box::new(|list, _| list.adverts[1].member = index(77)),
        ),
        (
            "an advert too many",
            Box::new(|list, _| list.adverts.push(list.adverts[1].clone())),
        ),
    ];
    for (what, change) in changes {
        let mut cluster = advanced(1, 4);
        let mut list = key_list(&cluster);
        change(&mut list, &mut cluster);
        refusal(&mut cluster, 1, &Directive::ShareKeys(list));
        assert_eq!(cluster.members[&index(1)].phase(), "advertised", "{what}");
    }
}

#[test]
fn p2_an_advert_of_another_attempt_is_refused() {
    let mut other = Cluster::new(5, None, None, 5);
    let directive = announcement(&other, |t| t.attempt = Attempt(2));
    let MemberMessage::Advert(replayed) = other.answer(index(2), &directive, &[]).unwrap() else {
        panic!("an advert")
    };
    // The same identities (same seed) in attempt 1.
    let mut cluster = advanced(1, 5);
    let mut list = key_list(&cluster);
    list.adverts[1] = replayed;
    assert_eq!(
        refusal(&mut cluster, 1, &Directive::ShareKeys(list)),
        Rejection::Signature(index(2))
    );
}

#[test]
fn p2_a_second_key_list_is_refused_and_the_same_one_gets_the_same_bytes() {
    let mut cluster = advanced(1, 6);
    let list = key_list(&cluster);
    let first = cluster
        .answer(index(1), &Directive::ShareKeys(list.clone()), &[])
        .unwrap();
    assert_eq!(
        cluster
            .answer(index(1), &Directive::ShareKeys(list.clone()), &[])
            .unwrap(),
        first
    );
    let mut other = list;
    other.adverts.pop();
    assert_eq!(
        refusal(&mut cluster, 1, &Directive::ShareKeys(other)),
        Rejection::AnsweredOnce("key list")
    );
}

#[test]
fn p4_a_delivery_that_was_tampered_with_is_refused() {
    for what in [
        "reflected ciphertext",
        "flipped byte",
        "missing share",
        "statement dropped",
        "own statement dropped",
        "too few",
    ] {
        let mut cluster = advanced(2, 7);
        let Some(Directive::Submit(mut delivery)) = cluster.round().directive(index(1)) else {
            panic!("a delivery")
        };
        match what {
            "reflected ciphertext" => {
                let of_three = delivery.sealed[&index(3)].clone();
                delivery.sealed.insert(index(2), of_three);
            }
            "flipped byte" => delivery.sealed.get_mut(&index(2)).unwrap()[5] ^= 1,
            "missing share" => drop(delivery.sealed.remove(&index(2))),
            "statement dropped" => delivery.statements.truncate(3),
            "own statement dropped" => delivery.statements.retain(|s| s.member != index(1)),
            _ => delivery.statements.truncate(2),
        }
        refusal(&mut cluster, 1, &Directive::Submit(delivery));
        assert_eq!(cluster.members[&index(1)].phase(), "shared", "{what}");
    }
}

fn survivors_over(cluster: &Cluster, members: &[u32], signer: Option<MemberIndex>) -> Survivors {
    let Some(Directive::Confirm(honest)) = cluster.round().directive(index(1)) else {
        panic!("a survivor set")
    };
    let seals: BTreeMap<_, UpdateSeal> = members
        .iter()
        .map(|i| (index(*i), cluster.forged_seal(index(*i))))
        .collect();
    let secret = signer.map_or(&cluster.coordinator, |m| &cluster.identities[&m]);
    let context2 = cluster.context2();
    let forged = Survivors::new(&context2, &seals, secret);
    assert_ne!(forged, honest);
    forged
}

#[test]
fn p5_a_survivor_set_without_the_member_too_small_foreign_or_unsigned_is_refused() {
    let cases: [(&[u32], Option<u32>); 4] = [
        (&[2, 3, 4, 5], None),
        (&[1, 2, 3], None),
        (&[1, 2, 3, 77], None),
        (&[1, 2, 3, 4], Some(2)),
    ];
    for (members, signer) in cases {
        let mut cluster = advanced(3, 8);
        let forged = survivors_over(&cluster, members, signer.map(index));
        refusal(&mut cluster, 1, &Directive::Confirm(forged));
        assert_eq!(
            cluster.members[&index(1)].phase(),
            "submitted",
            "{members:?}"
        );
    }
}

#[test]
fn p5_a_member_confirms_one_survivor_set_only() {
    let mut cluster = advanced(3, 9);
    let Some(Directive::Confirm(honest)) = cluster.round().directive(index(1)) else {
        panic!("a survivor set")
    };
    let smaller = survivors_over(&cluster, &[1, 2, 3, 4], None);
    let first = cluster
        .answer(index(1), &Directive::Confirm(honest.clone()), &[])
        .unwrap();
    assert_eq!(
        refusal(&mut cluster, 1, &Directive::Confirm(smaller)),
        Rejection::AnsweredOnce("survivor set")
    );
    assert_eq!(
        cluster
            .answer(index(1), &Directive::Confirm(honest), &[])
            .unwrap(),
        first
    );
}

#[test]
fn p6_without_a_quorum_of_valid_confirmations_nothing_is_opened() {
    for what in ["too few", "one twice", "a stranger's", "over another set"] {
        let mut cluster = advanced(4, 10);
        let Some(Directive::Unmask(Confirmations {
            mut confirmations,
            seals,
        })) = cluster.round().directive(index(1))
        else {
            panic!("confirmations")
        };
        match what {
            "too few" => confirmations.truncate(3),
            "one twice" => {
                confirmations.truncate(3);
                confirmations.push(confirmations[0].clone());
            }
            "a stranger's" => confirmations[1].member = index(77),
            _ => confirmations[1].signature = cluster.identities[&index(2)].sign(b"another set"),
        }
        refusal(
            &mut cluster,
            1,
            &Directive::Unmask(Confirmations {
                confirmations,
                seals,
            }),
        );
        assert_eq!(cluster.members[&index(1)].phase(), "confirmed", "{what}");
    }
}

#[test]
fn p6_no_member_ever_sends_both_shares_of_one_member() {
    let mut cluster = Cluster::new(5, None, None, 11);
    let everyone = cluster.everyone();
    let four: Vec<_> = [1, 2, 4, 5].map(index).into();
    for members in [&everyone, &everyone, &four, &four] {
        cluster.step(members, &updates(&everyone));
        if cluster.round().phase() == "collecting" && cluster.uploads.len() == 4 {
            cluster.expire();
        }
    }
    let directive = cluster.unmask_directive(index(1));
    let MemberMessage::Unmask(answer) = cluster.answer(index(1), &directive, &[]).unwrap() else {
        panic!("shares")
    };
    let self_mask: BTreeSet<_> = answer.shares.self_mask.keys().copied().collect();
    let mask_key: BTreeSet<_> = answer.shares.mask_key.keys().copied().collect();
    assert_eq!(self_mask, [1, 2, 4, 5].map(index).into());
    assert_eq!(mask_key, [index(3)].into());
}

#[test]
fn directives_out_of_order_are_refused_and_change_nothing() {
    let mut later = advanced(3, 12);
    let confirm = later.round().directive(index(1)).unwrap();
    let mut cluster = advanced(1, 12);
    assert!(matches!(
        refusal(&mut cluster, 1, &confirm),
        Rejection::WrongPhase { .. }
    ));
    assert_eq!(cluster.members[&index(1)].phase(), "advertised");
    let open = Directive::Advertise((*later.open).clone());
    assert!(matches!(
        refusal(&mut later, 1, &open),
        Rejection::WrongPhase { .. }
    ));
}
