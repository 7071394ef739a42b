//! P2: what a coordinator would gain from a key list that is not the cohort's.

use std::collections::BTreeMap;

use consort_aggregation::{SecretKey, SelfMaskSecret};
use consort_contract::{IdentitySecret, Thresholds};

use super::cluster::{Judge, index};
use super::corrupt::Corrupt;
use super::lab::{Lab, World, set};
use super::only;
use crate::messages::{Advert, Directive, KeyList, MemberMessage, RoundOpen};
use crate::participant::{Member, Surroundings};
use crate::rejection::Rejection;
use crate::rules::Rule;

/// After P1, member 1 judges a key list; gives the members that it accepts as U1.
fn accepts(lab: &mut Lab, list: &KeyList) -> Result<Vec<u32>, Rejection> {
    let Member::Advertised(phase) = &lab.cluster.members[&index(1)] else {
        panic!("advertised")
    };
    let around = Surroundings {
        identity: &lab.cluster.identities[&index(1)],
        coordinator: &lab.cluster.coordinator.public(),
        judge: &Judge,
        rng: &mut lab.cluster.rng,
    };
    let accepted = phase.verified(list, &around)?;
    Ok(accepted.adverts.keys().map(|m| m.get()).collect())
}

fn joined(seed: u64) -> (Lab, KeyList) {
    let mut lab = Lab::five(seed);
    lab.join().unwrap();
    let adverts = lab.adverts.values().cloned().collect();
    let heads = Vec::new();
    (lab, KeyList { adverts, heads })
}

/// Obeys R6a, R6b, R6c, R7, R8a, R8b, R9a, R9b.
#[test]
fn the_key_list_of_the_cohort_is_answered_and_again_with_the_same_bytes() {
    let (mut lab, list) = joined(11);
    assert_eq!(accepts(&mut lab, &list), Ok(vec![1, 2, 3, 4, 5]));
    let first = lab
        .ask(index(1), &Directive::ShareKeys(list.clone()))
        .unwrap();
    assert_eq!(lab.ask(index(1), &Directive::ShareKeys(list)), Ok(first));
}

/// Breaks R6a.
#[test]
fn without_its_own_advert_in_the_list_a_member_shares_under_a_context_that_does_not_bind_it() {
    only(Rule::R6a, "round_malformed", || {
        let (mut lab, mut list) = joined(12);
        list.adverts.retain(|advert| advert.member != index(1));
        assert_eq!(accepts(&mut lab, &list)?, [2, 3, 4, 5]);
        Ok(())
    });
}

/// Breaks R6b.
#[test]
fn without_signed_adverts_a_coordinator_in_the_middle_has_both_secrets_before_the_upload() {
    only(Rule::R6b, "round_signature", || {
        let mut lab = Lab::new(5, 1, None, &[], 13);
        lab.join()?;
        for peer in [2, 3, 4, 5].map(index) {
            let nobody = IdentitySecret::random(&mut lab.cluster.rng);
            let forged = Corrupt::new(peer, nobody, &mut lab.cluster.rng);
            lab.adverts.insert(peer, forged.advert(&lab.open));
            lab.corrupt.insert(peer, forged);
        }
        lab.share()?;
        lab.deduce();
        let statement = &lab.world().shares[&index(1)].statement;
        let public = |key: Option<&SecretKey>| key.map(SecretKey::public);
        let own = lab.adverts[&index(1)].mask_key;
        assert_eq!(public(lab.knowledge.mask_keys.get(&index(1))), Some(own));
        let self_mask = lab
            .knowledge
            .self_masks
            .get(&index(1))
            .map(SelfMaskSecret::public);
        assert_eq!(self_mask, Some(statement.self_mask.constant()));
        Ok(())
    });
}

/// Breaks R6c.
#[test]
fn without_uniqueness_an_equivocating_member_stands_in_the_list_twice() {
    only(Rule::R6c, "round_equivocation", || {
        let (mut lab, mut list) = joined(14);
        let twin = &lab.corrupt[&index(5)];
        let keys = (
            SecretKey::random(&mut lab.cluster.rng),
            SecretKey::random(&mut lab.cluster.rng),
        );
        let second = twin.advert_of(&lab.open, (keys.0.public(), keys.1.public()));
        // In member 4's place, so that the list is no longer than the cohort.
        list.adverts[3] = second;
        assert_eq!(accepts(&mut lab, &list)?, [1, 2, 3, 5]);
        Ok(())
    });
}

/// Breaks R7.
#[test]
fn without_evidence_stolen_identity_keys_are_enough_to_be_four_of_five_members() {
    only(Rule::R7, "round_evidence", || {
        let mut lab = Lab::new(5, 1, None, &[2, 3, 4, 5], 15);
        lab.join()?;
        let context = lab.open.terms.context();
        for (member, thief) in &lab.corrupt {
            let keys = (thief.mask_key.public(), thief.share_key.public());
            let unattested = Advert::sign(
                &context,
                *member,
                keys,
                b"no machine".to_vec(),
                0,
                &thief.identity,
            );
            lab.adverts.insert(*member, unattested);
        }
        lab.share()?;
        lab.submit(index(1), &lab.everyone())?;
        assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
        Ok(())
    });
}

/// Breaks R8a.
#[test]
fn without_distinct_keys_a_member_speaks_with_the_mask_key_of_another() {
    only(Rule::R8a, "round_malformed", || {
        let (mut lab, mut list) = joined(16);
        let stolen = lab.adverts[&index(4)].mask_key;
        let thief = &lab.corrupt[&index(5)];
        list.adverts[4] = thief.advert_of(&lab.open, (stolen, thief.share_key.public()));
        assert_eq!(accepts(&mut lab, &list)?, [1, 2, 3, 4, 5]);
        Ok(())
    });
}

/// Breaks R8b.
#[test]
fn without_the_fewest_in_u1_a_member_shares_with_fewer_than_the_noise_needs() {
    only(Rule::R8b, "round_too_few", || {
        let mut lab = Lab::new(5, 1, Some(5), &[5], 17);
        lab.join()?;
        lab.share_among(&set(&[1, 2, 3, 4]))?;
        assert!(lab.world().shares.len() < lab.open.terms.thresholds.minimum() as usize);
        Ok(())
    });
}

/// Breaks R9a.
#[test]
fn without_the_threshold_over_half_two_disjoint_survivor_sets_open_both_secrets_of_a_member() {
    // Thresholds of three members over a cohort of five: t = 3, and 2t = |U1| + c.
    only(Rule::R9a, "round_terms", || {
        let mut lab = Lab::five(18);
        let mut terms = lab.open.terms.clone();
        terms.thresholds = Thresholds::new(3, Some(1), None).unwrap();
        lab.open = RoundOpen::new(terms, &lab.cluster.coordinator);
        lab.cluster.open = lab.open.clone().into();
        lab.submitted()?;
        let all = lab.everyone();
        lab.open_set(&all, &set(&[1, 2, 5]))?;
        lab.open_set(&all, &set(&[3, 4, 5]))?;
        assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
        assert_eq!(lab.learned(&[4]), lab.truth(&[4]));
        Ok(())
    });
}

/// Breaks R9b.
#[test]
fn without_one_key_list_a_member_answers_two_contexts_with_one_set_of_secrets() {
    only(Rule::R9b, "round_answered_once", || {
        let mut lab = Lab::five(19);
        lab.join()?;
        lab.share()?;
        let adverts: BTreeMap<_, _> = lab.adverts.clone().into_iter().take(4).collect();
        let other = World::new(&lab.open, &adverts);
        assert_ne!(other.context2, lab.world().context2);
        let answer = lab.ask(index(1), &Directive::ShareKeys(other.key_list(index(1))))?;
        assert!(matches!(answer, MemberMessage::ShareKeys(_)));
        Ok(())
    });
}
