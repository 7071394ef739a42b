//! P4: what a coordinator, with or without a corrupt dealer, would gain from a U2 that is not what its members said.

use super::cluster::index;
use super::lab::{Lab, other, set};
use super::only;
use crate::messages::{Directive, MemberMessage, SharesDelivery};
use crate::rejection::Rejection;
use crate::rules::Rule;

fn shared(seed: u64) -> Lab {
    let mut lab = Lab::five(seed);
    lab.join().unwrap();
    lab.share().unwrap();
    lab
}

/// Member 1 gets a delivery that was changed; does it submit?
fn submits(
    seed: u64,
    change: impl FnOnce(&mut Lab, &mut SharesDelivery),
) -> Result<Lab, Rejection> {
    let mut lab = shared(seed);
    let all = lab.everyone();
    let mut delivery = lab.world().delivery(index(1), &all);
    change(&mut lab, &mut delivery);
    lab.submit_as(index(1), &all, delivery)?;
    Ok(lab)
}

/// Member 5 deals as it likes, after everybody else; member 1 gets what it dealt.
fn dealt(
    seed: u64,
    deal: impl FnOnce(&mut Lab) -> crate::messages::ShareKeys,
) -> Result<Lab, Rejection> {
    let mut lab = shared(seed);
    let message = deal(&mut lab);
    lab.world.as_mut().unwrap().shares.insert(index(5), message);
    let all = lab.everyone();
    lab.submit(index(1), &all)?;
    Ok(lab)
}

/// Obeys R10a, R10b, R10c, R10d, R11a, R11b, R12a, R12b, R12c.
#[test]
fn the_delivery_of_what_everybody_said_is_answered_with_an_update() {
    let mut lab = submits(21, |_, _| {}).unwrap();
    let again = lab.world().delivery(index(1), &lab.everyone());
    let seal = lab.world().uploads[&index(1)].seal.clone();
    assert_eq!(
        lab.ask(index(1), &Directive::Submit(again)),
        Ok(MemberMessage::Seal(seal))
    );
}

/// Breaks R10a.
#[test]
fn without_signed_statements_a_member_masks_with_what_a_peer_never_said() {
    only(Rule::R10a, "round_signature", || {
        submits(22, |_, delivery| {
            delivery.statements[1].sealed.insert(index(3), other());
        })
        .map(drop)
    });
}

/// Breaks R10b.
#[test]
fn without_t_commitments_a_dealer_makes_its_secret_unrecoverable() {
    only(Rule::R10b, "round_malformed", || {
        dealt(23, |lab| {
            let (world, t) = (
                lab.world.as_ref().unwrap(),
                lab.open.terms.thresholds.threshold(),
            );
            let dealer = &lab.corrupt[&index(5)];
            let dealing = dealer.deal(world, (t, t + 1), &mut lab.cluster.rng);
            dealer.share(world, &dealing, |_| {})
        })
        .map(|lab| {
            // t shares of it give nothing: were member 5 a survivor, the round would be spent and would not open.
            let statement = &lab.world().shares[&index(5)].statement;
            assert!(statement.self_mask.threshold() > lab.open.terms.thresholds.threshold());
        })
    });
}

/// Breaks R10c.
#[test]
fn without_the_commitment_to_its_key_a_dealer_that_drops_out_cannot_be_opened() {
    only(Rule::R10c, "round_material", || {
        dealt(24, |lab| {
            let (world, t) = (
                lab.world.as_ref().unwrap(),
                lab.open.terms.thresholds.threshold(),
            );
            let dealer = &lab.corrupt[&index(5)];
            let mut dealing = dealer.deal(world, (t, t), &mut lab.cluster.rng);
            dealing.mask_key = dealing.self_mask.clone();
            dealer.share(world, &dealing, |_| {})
        })
        .map(|lab| {
            let statement = &lab.world().shares[&index(5)].statement;
            assert_ne!(
                statement.mask_key.constant(),
                lab.adverts[&index(5)].mask_key
            );
        })
    });
}

/// Breaks R10d.
#[test]
fn without_a_box_for_everybody_a_dealer_chooses_who_cannot_answer() {
    only(Rule::R10d, "round_malformed", || {
        let mut lab = dealt(25, |lab| {
            let (world, t) = (
                lab.world.as_ref().unwrap(),
                lab.open.terms.thresholds.threshold(),
            );
            let dealer = &lab.corrupt[&index(5)];
            let dealing = dealer.deal(world, (t, t), &mut lab.cluster.rng);
            dealer.share(world, &dealing, |sealed| drop(sealed.remove(&index(2))))
        })?;
        let all = lab.everyone();
        let excluded = lab.submit(index(2), &all);
        assert_eq!(
            excluded,
            Err(Rejection::Malformed("a sealed share is missing"))
        );
        Ok(())
    });
}

/// Breaks R11a.
#[test]
fn without_the_named_box_nobody_can_be_held_to_what_it_sealed() {
    only(Rule::R11a, "round_malformed", || {
        let lab = dealt(26, |lab| {
            let (world, t) = (
                lab.world.as_ref().unwrap(),
                lab.open.terms.thresholds.threshold(),
            );
            let dealer = &lab.corrupt[&index(5)];
            let dealing = dealer.deal(world, (t, t), &mut lab.cluster.rng);
            // The statement names garbage for member 1; what is delivered opens.
            let mut message = dealer.share(world, &dealing, |sealed| {
                sealed.insert(index(1), b"garbage".to_vec());
            });
            let good = dealer.seal(world, index(1), &dealing.pair(index(1)));
            message.sealed.insert(index(1), good);
            message
        })?;
        let message = &lab.world().shares[&index(5)];
        let held = consort_aggregation::Digest::of(&message.sealed[&index(1)]);
        assert_ne!(message.statement.sealed[&index(1)], held);
        Ok(())
    });
}

/// Breaks R11b.
#[test]
fn without_checked_shares_the_coordinator_blames_the_member_that_was_cheated() {
    only(Rule::R11b, "round_share", || {
        let mut lab = dealt(27, |lab| {
            let (world, t) = (
                lab.world.as_ref().unwrap(),
                lab.open.terms.thresholds.threshold(),
            );
            let dealer = &lab.corrupt[&index(5)];
            let dealing = dealer.deal(world, (t, t), &mut lab.cluster.rng);
            let wrong = dealing.pair(index(2));
            let sealed = dealer.seal(world, index(1), &wrong);
            dealer.share(world, &dealing, |boxes| {
                drop(boxes.insert(index(1), sealed))
            })
        })?;
        let all = lab.everyone();
        for member in [2, 3, 4] {
            lab.submit(index(member), &all)?;
        }
        let survivors = lab.survivors(&all);
        let mut signed = lab.corrupt_confirm(&survivors, &all);
        for member in [1, 2, 3, 4] {
            signed.push(lab.confirm(index(member), &survivors)?);
        }
        let answer = lab.unmask(index(1), signed)?;
        let statement = &lab.world().shares[&index(5)].statement;
        assert!(
            !statement
                .self_mask
                .verify(index(1), &answer.shares.self_mask[&index(5)])
        );
        Ok(())
    });
}

/// Breaks R12a.
#[test]
fn without_the_fewest_in_u2_a_member_masks_with_a_colluder_alone_and_its_update_is_read() {
    only(Rule::R12a, "round_too_few", || {
        let mut lab = shared(28);
        let all = lab.everyone();
        lab.submit(index(1), &set(&[1, 5]))?;
        for member in [2, 3, 4] {
            lab.submit(index(member), &all)?;
        }
        // To the others everything looks well; they open member 1's self-mask.
        lab.open_set(&all, &all)?;
        assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
        Ok(())
    });
}

/// Breaks R12b.
#[test]
fn without_its_own_statement_a_member_submits_under_a_u2_that_it_is_not_in() {
    only(Rule::R12b, "round_malformed", || {
        submits(29, |_, delivery| {
            delivery.statements.retain(|s| s.member != index(1))
        })
        .map(drop)
    });
}

/// Breaks R12c.
#[test]
fn without_uniqueness_a_statement_counts_twice_in_the_place_of_another_members() {
    only(Rule::R12c, "round_equivocation", || {
        submits(30, |lab, delivery| {
            // In member 4's place, so that there are no more statements than adverts.
            delivery.statements[3] = lab.world().shares[&index(5)].statement.clone();
        })
        .map(drop)
    });
}
