//! What members would gain if the coordinator did not check them: another's name, another's blame, or a spent round.

use consort_aggregation::Digest;

use super::cluster::{Cluster, index, updates};
use super::only;
use crate::coordinator::{Accepted, Input, Round};
use crate::messages::{MemberMessage, Survivors, UnmaskShares, UpdateSeal};
use crate::rejection::{AbortReason, Rejection};
use crate::rules::Rule;

/// A cohort of five in which everybody has answered the first `phases` phases.
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
        .expect("it is asked");
    cluster.answer(index(member), &directive, &[1; 5]).unwrap()
}

fn unmask(cluster: &mut Cluster, member: u32) -> UnmaskShares {
    match answer(cluster, member) {
        MemberMessage::Unmask(answer) => answer,
        _ => panic!("shares"),
    }
}

/// Feeds the honest answers to P6 of these members, until the round ends.
fn finish(cluster: &mut Cluster, members: &[u32]) {
    for member in members {
        let shares = unmask(cluster, *member);
        let _ = cluster.feed(Input::Unmask(shares));
    }
}

/// Obeys C1, C2, C3, C4, C5, C7, C8, C9, C10, C11, C12, C13, C14.
#[test]
fn a_round_of_honest_members_is_opened_with_every_answer_accepted_once() {
    let mut cluster = advanced(4, 61);
    for member in [1, 2, 3] {
        let shares = unmask(&mut cluster, member);
        assert_eq!(
            cluster.feed(Input::Unmask(shares.clone())),
            Ok(Accepted::New)
        );
        assert_eq!(cluster.feed(Input::Unmask(shares)), Ok(Accepted::Repeat));
    }
    finish(&mut cluster, &[4]);
    assert!(matches!(cluster.round(), Round::Opened(_)));
}

/// Breaks C2.
#[test]
fn without_the_senders_place_a_member_that_departed_still_speaks() {
    only(Rule::C2, "round_not_asked", || {
        let mut cluster = advanced(2, 62);
        let MemberMessage::Seal(seal) = answer(&mut cluster, 3) else {
            panic!("a seal")
        };
        cluster.feed(Input::Depart(index(3)))?;
        cluster.feed(Input::Seal(seal)).map(drop)
    });
}

/// Breaks C3.
#[test]
fn without_one_message_for_each_phase_a_contradiction_is_acknowledged() {
    only(Rule::C3, "round_equivocation", || {
        let mut cluster = advanced(2, 63);
        let MemberMessage::Seal(seal) = answer(&mut cluster, 3) else {
            panic!("a seal")
        };
        cluster.feed(Input::Seal(seal.clone()))?;
        let second = UpdateSeal {
            tree_hash: Digest::of(b"another update"),
            ..seal
        };
        cluster.feed(Input::Seal(second)).map(drop)
    });
}

/// Breaks C4.
#[test]
fn without_the_named_boxes_one_dealer_makes_everybody_refuse_and_the_attempt_fail() {
    only(Rule::C4, "round_malformed", || {
        let mut cluster = advanced(1, 64);
        for member in [1, 2, 3, 4, 5] {
            let MemberMessage::ShareKeys(mut shares) = answer(&mut cluster, member) else {
                panic!("shares")
            };
            if member == 5 {
                shares.sealed.values_mut().for_each(|sealed| sealed[0] ^= 1);
            }
            cluster.feed(Input::ShareKeys(shares))?;
        }
        for member in [1, 2, 3, 4] {
            let directive = cluster.round().directive(index(member)).unwrap();
            let refused = cluster.answer(index(member), &directive, &[1; 5]);
            assert!(refused.is_err());
        }
        Ok(())
    });
}

/// Breaks C5.
#[test]
fn without_the_seals_signature_anybody_seals_an_update_in_the_name_of_another() {
    only(Rule::C5, "round_signature", || {
        let mut cluster = advanced(2, 65);
        let forged = cluster.forged_seal(index(2));
        cluster.feed(Input::Seal(forged)).map(drop)
    });
}

/// Breaks C7.
#[test]
fn without_the_exact_survivors_a_member_is_announced_whose_update_is_not_there() {
    only(Rule::C7, "round_malformed", || {
        let mut cluster = advanced(2, 66);
        let mut seals = std::collections::BTreeMap::new();
        for member in [1, 2, 3, 4] {
            let MemberMessage::Seal(seal) = answer(&mut cluster, member) else {
                panic!("a seal")
            };
            cluster.feed(Input::Seal(seal.clone()))?;
            seals.insert(index(member), seal);
        }
        seals.insert(index(5), cluster.forged_seal(index(5)));
        let padded = Survivors::new(&cluster.context2(), &seals, &cluster.coordinator);
        cluster.feed(Input::AnnounceSurvivors(padded))?;
        assert_eq!(
            (cluster.round().phase(), cluster.uploads.len()),
            ("confirming", 4)
        );
        Ok(())
    });
}

/// Breaks C8.
#[test]
fn without_checked_confirmations_one_member_makes_everybody_refuse_to_open_a_spent_round() {
    only(Rule::C8, "round_signature", || {
        let mut cluster = advanced(3, 67);
        for member in [1, 2, 3, 4, 5] {
            let MemberMessage::Confirmation(mut confirmation) = answer(&mut cluster, member) else {
                panic!("a confirmation")
            };
            if member == 5 {
                confirmation.signature = cluster.identities[&index(5)].sign(b"another set");
            }
            cluster.feed(Input::Confirm(confirmation))?;
        }
        for member in [1, 2, 3, 4] {
            let directive = cluster.unmask_directive(index(member));
            let refused = cluster.answer(index(member), &directive, &[]);
            assert_eq!(refused, Err(Rejection::Signature(index(5))));
        }
        cluster.expire();
        assert!(matches!(
            cluster.round(),
            Round::Aborted(AbortReason::TooFewUnmasked { .. })
        ));
        Ok(())
    });
}

/// Breaks C9.
#[test]
fn without_the_answers_signature_anybody_answers_in_the_name_of_another() {
    only(Rule::C9, "round_signature", || {
        let mut cluster = advanced(4, 68);
        let mut replayed = unmask(&mut cluster, 2);
        replayed.signature = cluster.identities[&index(3)].sign(b"not member 2's");
        cluster.feed(Input::Unmask(replayed)).map(drop)
    });
}

/// Breaks C10.
#[test]
fn without_all_shares_four_answers_do_not_open_the_round_and_nobody_is_named() {
    only(Rule::C10, "round_malformed", || {
        let mut cluster = advanced(4, 69);
        let mut short = unmask(&mut cluster, 2);
        short.shares.self_mask.remove(&index(3));
        let short = cluster.sign_unmask(index(2), short);
        cluster.feed(Input::Unmask(short))?;
        finish(&mut cluster, &[1, 3, 4]);
        cluster.expire();
        assert!(matches!(
            cluster.round(),
            Round::Aborted(AbortReason::TooFewUnmasked { have: 3, need: 4 })
        ));
        Ok(())
    });
}

/// Breaks C11, C14.
#[test]
fn without_checked_shares_the_round_is_spent_and_the_owner_of_a_wrong_one_is_blamed() {
    only(Rule::C11, "round_share", || {
        let mut cluster = advanced(4, 70);
        let mut wrong = unmask(&mut cluster, 2);
        let of_one = wrong.shares.self_mask[&index(1)].clone();
        wrong.shares.self_mask.insert(index(3), of_one);
        let wrong = cluster.sign_unmask(index(2), wrong);
        cluster.feed(Input::Unmask(wrong))?;
        finish(&mut cluster, &[1, 3, 4]);
        // What the reconstruction gives is compared with what member 3 published, so no wrong sum comes out either way.
        assert!(
            matches!(cluster.round(), Round::Aborted(AbortReason::BadSecret(m)) if *m == index(3))
        );
        Ok(())
    });
}

/// Breaks C13.
#[test]
fn without_the_fewest_the_coordinator_spends_a_round_that_no_member_will_open() {
    let attack = || {
        let mut cluster = advanced(2, 71);
        let three: Vec<_> = [1, 2, 3].map(index).into();
        cluster.step(&three, &updates(&cluster.everyone()));
        cluster.expire();
        cluster.round().phase()
    };
    assert_eq!(attack(), "aborted");
    assert_eq!(
        crate::rules::off::without(&[Rule::C13], attack),
        "confirming"
    );
}
