//! A member that breaks a rule is refused by name; the round stays as it was and goes on with the others.

use consort_aggregation::Digest;
use consort_round::coordinator::{Accepted, Input, Round};
use consort_round::{MemberMessage, Rejection};

use crate::cluster::{Cluster, Judge, index, plain_sum, updates};

fn advanced(phases: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(5, None, None, seed);
    let everyone = cluster.everyone();
    for _ in 0..phases {
        cluster.step(&everyone, &updates(&everyone));
    }
    cluster
}

fn answer(cluster: &mut Cluster, member: u32) -> MemberMessage {
    let directive = cluster
        .round()
        .directive(index(member))
        .expect("this member is asked");
    cluster.answer(index(member), &directive, &[1; 5]).unwrap()
}

/// Breaks C1.
#[test]
fn p1_an_advert_with_a_changed_key_a_foreign_signature_or_bad_evidence_is_refused_by_name() {
    let mut cluster = advanced(0, 1);
    let MemberMessage::Advert(good) = answer(&mut cluster, 2) else {
        panic!("an advert")
    };
    let mut changed = good.clone();
    (changed.mask_key, changed.share_key) = (changed.share_key, changed.mask_key);
    assert_eq!(
        changed.verify(&cluster.open, &Judge),
        Err(Rejection::Signature(index(2)))
    );
    let mut foreign = good.clone();
    foreign.member = index(3);
    assert_eq!(
        foreign.verify(&cluster.open, &Judge),
        Err(Rejection::Signature(index(3)))
    );
    let mut stranger = good.clone();
    stranger.member = index(9);
    assert_eq!(
        stranger.verify(&cluster.open, &Judge),
        Err(Rejection::NotAsked(index(9)))
    );
    let mut long = good.clone();
    long.evidence = vec![0; 17 * 1024];
    assert!(matches!(
        long.verify(&cluster.open, &Judge),
        Err(Rejection::Malformed(_))
    ));
    assert!(good.verify(&cluster.open, &Judge).is_ok());
}

#[test]
fn p1_a_second_advert_is_an_equivocation_and_the_same_one_a_repeat() {
    let mut cluster = advanced(0, 2);
    let MemberMessage::Advert(first) = answer(&mut cluster, 2) else {
        panic!("an advert")
    };
    let first = first.verify(&cluster.open, &Judge).unwrap();
    assert_eq!(
        cluster.feed(Input::Advertise(first.clone())),
        Ok(Accepted::New)
    );
    assert_eq!(cluster.feed(Input::Advertise(first)), Ok(Accepted::Repeat));
    cluster.members.remove(&index(2));
    cluster.answered.clear();
    let open = consort_round::Directive::Advertise((*cluster.open).clone());
    let MemberMessage::Advert(second) = cluster.answer(index(2), &open, &[]).unwrap() else {
        panic!("an advert")
    };
    let second = second.verify(&cluster.open, &Judge).unwrap();
    assert_eq!(
        cluster.feed(Input::Advertise(second)),
        Err(Rejection::Equivocation(index(2)))
    );
}

#[test]
fn p3_shares_that_do_not_fit_are_refused_by_name() {
    for what in [
        "ciphertext swapped",
        "ciphertext missing",
        "foreign signature",
        "commitments swapped",
    ] {
        let mut cluster = advanced(1, 3);
        let MemberMessage::ShareKeys(mut shares) = answer(&mut cluster, 2) else {
            panic!("shares")
        };
        match what {
            "ciphertext swapped" => {
                let other = shares.sealed[&index(3)].clone();
                shares.sealed.insert(index(1), other);
            }
            "ciphertext missing" => drop(shares.sealed.remove(&index(1))),
            "foreign signature" => {
                shares.statement.signature = cluster.identities[&index(3)].sign(b"x")
            }
            _ => std::mem::swap(
                &mut shares.statement.mask_key,
                &mut shares.statement.self_mask,
            ),
        }
        assert!(cluster.feed(Input::ShareKeys(shares)).is_err(), "{what}");
        assert_eq!(cluster.round().phase(), "sharing", "{what}");
        assert!(cluster.round().waiting_for().contains(&index(2)), "{what}");
    }
}

/// Breaks C3, C5, C12.
#[test]
fn p4_a_seal_of_somebody_else_a_second_one_and_one_after_the_deadline_are_refused() {
    let mut cluster = advanced(2, 4);
    let MemberMessage::Seal(seal) = answer(&mut cluster, 2) else {
        panic!("a seal")
    };
    let mut other = seal.clone();
    other.tree_hash = Digest::of(b"other");
    assert_eq!(
        cluster.feed(Input::Seal(other.clone())),
        Err(Rejection::Signature(index(2)))
    );
    assert_eq!(cluster.feed(Input::Seal(seal.clone())), Ok(Accepted::New));
    assert_eq!(
        cluster.feed(Input::Seal(other)),
        Err(Rejection::Equivocation(index(2)))
    );
    assert_eq!(cluster.feed(Input::Seal(seal)), Ok(Accepted::Repeat));
    let MemberMessage::Seal(late) = answer(&mut cluster, 3) else {
        panic!("a seal")
    };
    for member in [1, 4, 5] {
        let MemberMessage::Seal(seal) = answer(&mut cluster, member) else {
            panic!("a seal")
        };
        cluster.feed(Input::Seal(seal)).unwrap();
    }
    cluster.expire();
    assert_eq!(cluster.round().phase(), "confirming");
    assert!(matches!(
        cluster.feed(Input::Seal(late)),
        Err(Rejection::WrongPhase { .. })
    ));
}

#[test]
fn p5_a_confirmation_that_is_not_about_this_set_is_refused_by_name() {
    let mut cluster = advanced(3, 5);
    let MemberMessage::Confirmation(mut confirmation) = answer(&mut cluster, 2) else {
        panic!("a confirmation")
    };
    confirmation.signature = cluster.identities[&index(2)].sign(b"another set");
    assert_eq!(
        cluster.feed(Input::Confirm(confirmation)),
        Err(Rejection::Signature(index(2)))
    );
}

/// Breaks C9, C11.
#[test]
fn p6_a_wrong_share_names_its_sender_and_the_round_still_opens_with_the_others() {
    let mut cluster = Cluster::new(5, None, None, 6);
    let everyone = cluster.everyone();
    let all = updates(&everyone);
    for _ in 0..4 {
        cluster.step(&everyone, &all);
    }
    let MemberMessage::Unmask(mut bad) = answer(&mut cluster, 2) else {
        panic!("shares")
    };
    let swapped = bad.shares.self_mask[&index(1)].clone();
    bad.shares.self_mask.insert(index(3), swapped);
    assert_eq!(
        cluster.feed(Input::Unmask(bad.clone())),
        Err(Rejection::Signature(index(2)))
    );
    let resigned = cluster.sign_unmask(index(2), bad);
    assert_eq!(
        cluster.feed(Input::Unmask(resigned)),
        Err(Rejection::Share {
            from: index(2),
            owner: index(3)
        })
    );
    for member in [1, 3, 4, 5] {
        let MemberMessage::Unmask(shares) = answer(&mut cluster, member) else {
            panic!("shares")
        };
        cluster.feed(Input::Unmask(shares)).unwrap();
    }
    assert!(matches!(cluster.round(), Round::Opened(_)));
    assert_eq!(
        cluster.open_sum().values(),
        plain_sum(&all, &everyone.into_iter().collect())
    );
}
