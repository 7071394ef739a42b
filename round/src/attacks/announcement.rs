//! P0: what a coordinator would gain from an announcement that is not the contract's.

use consort_aggregation::{Digest, VectorSchema, Width};
use consort_contract::{IdentitySecret, Thresholds};

use super::cluster::index;
use super::lab::{Lab, other, set};
use super::only;
use crate::messages::{Directive, MemberMessage, RoundOpen};
use crate::rejection::Rejection;
use crate::rules::Rule;
use crate::terms::{Attempt, RoundNumber, RoundTerms};

/// Member 1 joins under changed terms, signed by the coordinator.
fn joins(change: impl FnOnce(&mut RoundTerms)) -> Result<(), Rejection> {
    let mut lab = Lab::five(1);
    let mut terms = lab.open.terms.clone();
    change(&mut terms);
    lab.open = RoundOpen::new(terms, &lab.cluster.coordinator);
    let directive = Directive::Advertise(lab.open.clone());
    let MemberMessage::Advert(advert) = lab.ask(index(1), &directive)? else {
        panic!("an advert")
    };
    // The member speaks under the changed terms: its signature is over their context.
    assert!(advert.verify(&lab.open, &super::cluster::Judge).is_ok());
    Ok(())
}

/// Obeys R1, R2a, R2b, R2c, R2d, R2e, R3, R4, R5.
#[test]
fn the_announcement_of_the_contract_is_answered() {
    assert_eq!(joins(|_| {}), Ok(()));
    assert_eq!(joins(|t| t.attempt = Attempt(2)), Ok(()));
}

/// Breaks R1.
#[test]
fn without_the_coordinators_signature_anybody_opens_an_attempt() {
    only(Rule::R1, "round_coordinator_signature", || {
        let mut lab = Lab::five(2);
        let forged = RoundOpen::new(lab.open.terms.clone(), &lab.cluster.identities[&index(2)]);
        lab.ask(index(1), &Directive::Advertise(forged)).map(drop)
    });
}

/// Breaks R2a.
#[test]
fn without_the_contract_a_member_joins_what_it_never_voted_for() {
    only(Rule::R2a, "round_terms", || joins(|t| t.contract = other()));
    only(Rule::R2a, "round_terms", || joins(|t| t.votes = other()));
    let job = || consort_contract::JobId::new("job-2").unwrap();
    only(Rule::R2a, "round_terms", || joins(|t| t.job = job()));
    let consortium = || consort_contract::ConsortiumId::new("others").unwrap();
    only(Rule::R2a, "round_terms", || {
        joins(|t| t.consortium = consortium())
    });
}

/// Breaks R2b.
#[test]
fn without_the_pinned_cohort_sybils_learn_the_update_of_the_only_real_member() {
    only(Rule::R2b, "round_terms", || {
        let mut lab = Lab::new(5, 1, None, &[2, 3, 4, 5], 3);
        let mut terms = lab.open.terms.clone();
        for (member, sybil) in &mut lab.corrupt {
            sybil.identity = IdentitySecret::random(&mut lab.cluster.rng);
            terms.cohort.get_mut(member).unwrap().identity = sybil.identity.public();
        }
        lab.open = RoundOpen::new(terms, &lab.cluster.coordinator);
        lab.submitted()?;
        assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
        Ok(())
    });
    only(Rule::R2b, "round_terms", || {
        joins(|t| t.roster_root = other())
    });
}

/// Breaks R2c.
#[test]
fn without_the_contracts_thresholds_three_colluders_learn_the_update_of_the_fourth() {
    // The contract tolerates c = 3 of 5: t = 5, nobody may drop. The announcement says c = 1, t = 4.
    only(Rule::R2c, "round_terms", || {
        let mut lab = Lab::new(5, 3, None, &[3, 4, 5], 4);
        let mut terms = lab.open.terms.clone();
        terms.thresholds = Thresholds::new(5, Some(1), None).unwrap();
        lab.open = RoundOpen::new(terms, &lab.cluster.coordinator);
        lab.submitted()?;
        lab.open_set(&set(&[1, 2, 3, 4, 5]), &set(&[1, 3, 4, 5]))?;
        assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
        Ok(())
    });
}

/// Breaks R2d.
#[test]
fn without_the_contracts_schema_a_member_masks_a_vector_of_another_shape() {
    only(Rule::R2d, "round_terms", || {
        joins(|t| t.schema = VectorSchema::new(5, Width::new(64).unwrap()).unwrap())
    });
}

/// Breaks R2e.
#[test]
fn without_the_contracts_rounds_a_member_answers_more_often_than_was_accounted_for() {
    only(Rule::R2e, "round_terms", || {
        joins(|t| t.round = RoundNumber(21))
    });
    only(Rule::R2e, "round_terms", || {
        joins(|t| t.round = RoundNumber(0))
    });
    only(Rule::R2e, "round_terms", || {
        joins(|t| t.attempt = Attempt(0))
    });
}

/// Breaks R3.
#[test]
fn without_the_models_hash_a_member_answers_for_a_model_it_does_not_hold() {
    only(Rule::R3, "round_terms", || {
        joins(|t| t.model = Digest::of(b"chosen for this member"))
    });
}

/// What binds R3 to the others: who holds another model has another context, and nobody takes its keys.
#[test]
fn members_that_are_shown_two_models_refuse_each_others_adverts() {
    let mut lab = Lab::five(8);
    for member in lab.honest() {
        let mut terms = lab.cluster.open.terms.clone();
        if member == index(1) {
            terms.model = Digest::of(b"chosen for member 1");
        }
        let open = RoundOpen::new(terms, &lab.cluster.coordinator);
        // Each member holds the bytes of the model that it is shown.
        let agreed = std::mem::replace(&mut lab.cluster.open, open.clone().into());
        let said = lab.ask(member, &Directive::Advertise(open)).unwrap();
        lab.cluster.open = agreed;
        let MemberMessage::Advert(advert) = said else {
            panic!("an advert")
        };
        lab.adverts.insert(member, advert);
    }
    let adverts = lab.adverts.values().cloned().collect();
    let list = Directive::ShareKeys(crate::messages::KeyList {
        adverts,
        heads: Vec::new(),
    });
    for (member, stranger) in [(1, 2), (2, 1), (3, 1), (4, 1)] {
        let refused = lab.ask(index(member), &list);
        assert_eq!(refused, Err(Rejection::Signature(index(stranger))));
    }
}

/// Breaks R4.
#[test]
fn without_fresh_attempts_two_sums_differ_by_one_member() {
    only(Rule::R4, "round_stale", || {
        let mut lab = Lab::five(5);
        let all = lab.everyone();
        lab.submitted()?;
        lab.open_set(&all, &all)?;
        let first = lab.learned(&[1, 2, 3, 4]).expect("the sum over all");
        lab.next_attempt(6);
        lab.join()?;
        lab.share()?;
        for member in [2, 3, 4] {
            lab.submit(index(member), &all)?;
        }
        lab.open_set(&all, &set(&[2, 3, 4, 5]))?;
        let second = lab.learned(&[2, 3, 4]).expect("the sum without member 1");
        let difference = first.iter().zip(&second).map(|(a, b)| a - b).collect();
        assert_eq!(Some(difference), lab.truth(&[1]));
        Ok(())
    });
}

/// Breaks R5.
#[test]
fn without_its_own_key_in_the_cohort_a_member_speaks_for_who_is_not_in_it() {
    only(Rule::R5, "round_terms", || {
        let mut lab = Lab::five(7);
        let foreign = lab.cluster.identities[&index(2)].public();
        let mut terms = lab.open.terms.clone();
        terms.cohort.get_mut(&index(1)).unwrap().identity = foreign;
        lab.open = RoundOpen::new(terms, &lab.cluster.coordinator);
        // The contract that this member is given says the same.
        lab.cluster.open = lab.open.clone().into();
        let MemberMessage::Advert(advert) =
            lab.ask(index(1), &Directive::Advertise(lab.open.clone()))?
        else {
            panic!("an advert")
        };
        assert_eq!(
            advert.verify(&lab.open, &super::cluster::Judge),
            Err(Rejection::Signature(index(1)))
        );
        Ok(())
    });
}
