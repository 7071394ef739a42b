//! P5 and P6: what a coordinator would gain if members opened more than one announced survivor set.

use std::collections::BTreeMap;

use super::cluster::index;
use super::lab::{Lab, set};
use super::only;
use crate::messages::{Confirmation, Directive, MemberMessage, Survivors};
use crate::rejection::Rejection;
use crate::rules::Rule;

fn submitted(seed: u64) -> Lab {
    let mut lab = Lab::five(seed);
    lab.submitted().unwrap();
    lab
}

/// Obeys R13, R14a, R14b, R14c, R15, R16a, R16b, R16c, R17a, R17b.
#[test]
fn one_survivor_set_is_confirmed_and_opened_and_gives_the_sum_and_nothing_else() {
    let mut lab = submitted(41);
    let all = lab.everyone();
    lab.open_set(&all, &all).unwrap();
    assert_eq!(lab.learned(&[1, 2, 3, 4]), lab.truth(&[1, 2, 3, 4]));
    for one in 1..=4 {
        assert_eq!(lab.learned(&[one]), None);
    }
    assert_eq!(lab.knowledge.open_sets(lab.world()), [set(&[1, 2, 3, 4])]);
}

/// Breaks R13.
#[test]
fn without_the_coordinators_signature_nobody_answers_for_the_survivor_set() {
    only(Rule::R13, "round_coordinator_signature", || {
        let mut lab = submitted(42);
        let all = lab.everyone();
        let mut survivors = lab.survivors(&all);
        survivors.signature = lab.cluster.identities[&index(2)].sign(b"not the coordinator's");
        lab.confirm(index(1), &survivors).map(drop)
    });
}

/// Breaks R14a.
#[test]
fn without_being_a_survivor_a_member_helps_to_open_its_own_mask_key_while_its_update_is_out() {
    only(Rule::R14a, "round_not_asked", || {
        let mut lab = submitted(43);
        let (all, others) = (lab.everyone(), set(&[2, 3, 4, 5]));
        let survivors = lab.survivors(&others);
        lab.confirm(index(1), &survivors)?;
        let mut signed = lab.corrupt_confirm(&survivors, &all);
        for member in [2, 3, 4] {
            signed.push(lab.confirm(index(member), &survivors)?);
        }
        let answer = lab.unmask(index(1), signed)?;
        assert!(answer.shares.mask_key.contains_key(&index(1)));
        Ok(())
    });
}

/// Breaks R14b.
#[test]
fn without_survivors_in_u2_a_colluder_that_sent_nothing_counts_among_them() {
    // Six members, t = 4, U2 = {1, 2, 3, 4}. The set {1, 2, 3, 5} has four members and three updates.
    only(Rule::R14b, "round_not_asked", || {
        let mut lab = Lab::new(6, 1, None, &[5], 44);
        lab.join()?;
        lab.share()?;
        let u2 = set(&[1, 2, 3, 4]);
        for member in &u2 {
            lab.submit(*member, &u2)?;
        }
        lab.open_set(&u2, &set(&[1, 2, 3, 5]))?;
        assert_eq!(lab.learned(&[1, 2, 3]), lab.truth(&[1, 2, 3]));
        assert!(3 < lab.open.terms.thresholds.fewest_survivors());
        Ok(())
    });
}

/// Breaks R14c.
#[test]
fn without_the_fewest_in_u3_a_sum_is_opened_that_the_noise_is_not_sized_for() {
    only(Rule::R14c, "round_too_few", || {
        let mut lab = Lab::new(5, 1, Some(5), &[5], 45);
        lab.submitted()?;
        lab.open_set(&lab.everyone(), &set(&[1, 2, 3, 5]))?;
        assert_eq!(lab.learned(&[1, 2, 3]), lab.truth(&[1, 2, 3]));
        assert!(4 < lab.open.terms.thresholds.minimum());
        Ok(())
    });
}

/// Breaks R15.
#[test]
fn without_one_survivor_set_a_member_answers_for_two() {
    only(Rule::R15, "round_answered_once", || {
        let mut lab = submitted(46);
        let (all, four) = (
            lab.survivors(&lab.everyone()),
            lab.survivors(&set(&[1, 2, 3, 4])),
        );
        lab.confirm(index(1), &all)?;
        lab.confirm(index(1), &four).map(drop)
    });
}

/// Breaks R15, R17b.
#[test]
fn members_whose_memory_is_rolled_back_open_two_sets_and_with_them_one_update() {
    let mut lab = submitted(47);
    let all = lab.everyone();
    let before = lab.snapshot();
    lab.open_set(&all, &all).unwrap();
    assert_eq!(lab.learned(&[1]), None);
    // As they are, they refuse: their secrets are gone, and what they have answered they repeat.
    let survivors = lab.survivors(&set(&[2, 3, 4, 5]));
    let refused = lab.confirm(index(2), &survivors).unwrap_err();
    assert_eq!(refused.code(), "round_wrong_phase");
    let first = lab.unmask(index(2), Vec::new()).unwrap();
    assert_eq!(first.shares.mask_key.len(), 0);
    // A machine that could be rolled back would give the other shares too: round secrets are never on a disk.
    lab.cluster.members = before;
    lab.open_set(&all, &set(&[2, 3, 4, 5])).unwrap();
    assert_eq!(lab.learned(&[1]), lab.truth(&[1]));
}

/// Six members, t = 4, member 6 corrupt: each honest member is shown a survivor set of its own, and what they open together
/// is the sum of members 1 and 2, where four is the fewest.
fn partition(
    seed: u64,
    signatures: impl Fn(
        &BTreeMap<u32, (Survivors, Confirmation)>,
        u32,
        Vec<Confirmation>,
    ) -> Vec<Confirmation>,
) -> Result<(), Rejection> {
    let mut lab = Lab::new(6, 1, None, &[6], seed);
    lab.submitted()?;
    let all = lab.everyone();
    // Three honest members each for σ_3, σ_4 and σ_5; the corrupt one's share is the fourth.
    let views: [(u32, &[u32]); 5] = [
        (1, &[1, 2, 5, 6]),
        (2, &[1, 2, 3, 4, 6]),
        (3, &[1, 2, 3, 6]),
        (4, &[1, 2, 4, 6]),
        (5, &[1, 2, 5, 6]),
    ];
    let mut signed = BTreeMap::new();
    for (member, view) in views {
        let survivors = lab.survivors(&set(view));
        let own = lab.confirm(index(member), &survivors)?;
        signed.insert(member, (survivors, own));
    }
    for (member, _) in views {
        let colluding = lab.corrupt_confirm(&signed[&member].0, &all);
        let shown = signatures(&signed, member, colluding);
        lab.unmask(index(member), shown)?;
    }
    assert_eq!(lab.learned(&[1, 2]), lab.truth(&[1, 2]));
    Ok(())
}

/// Breaks R16a.
#[test]
fn without_signatures_over_its_own_set_each_member_opens_another_and_two_updates_remain() {
    only(Rule::R16a, "round_signature", || {
        partition(48, |signed, member, colluding| {
            let others = signed
                .iter()
                .filter(|(m, _)| **m != member)
                .map(|(_, (_, c))| c.clone());
            let size = signed[&member].0.members.len();
            colluding
                .into_iter()
                .chain([signed[&member].1.clone()])
                .chain(others)
                .take(size)
                .collect()
        })
    });
}

/// Breaks R16b.
#[test]
fn without_distinct_signers_a_member_is_its_own_quorum() {
    only(Rule::R16b, "round_equivocation", || {
        partition(49, |signed, member, _| vec![signed[&member].1.clone(); 4])
    });
}

/// Breaks R16c.
#[test]
fn without_a_quorum_a_colluders_signature_is_enough() {
    only(Rule::R16c, "round_too_few", || {
        partition(50, |signed, member, mut colluding| {
            colluding.push(signed[&member].1.clone());
            colluding
        })
    });
}

/// Breaks R17a.
#[test]
fn without_one_kind_of_share_each_update_is_read() {
    let attack = || {
        let mut lab = submitted(51);
        let all = lab.everyone();
        lab.open_set(&all, &all).unwrap();
        [1, 2, 3, 4].map(|one| lab.learned(&[one]) == lab.truth(&[one]))
    };
    assert_eq!(attack(), [false; 4]);
    assert_eq!(crate::rules::off::without(&[Rule::R17a], attack), [true; 4]);
}

/// Obeys R18. Breaks R18.
#[test]
fn a_step_that_is_skipped_or_gone_back_to_is_refused_and_the_next_one_still_answered() {
    let mut lab = Lab::five(52);
    lab.join().unwrap();
    lab.share().unwrap();
    let all = lab.everyone();
    for member in [2, 3, 4] {
        lab.submit(index(member), &all).unwrap();
    }
    let survivors = lab.survivors(&all);
    let skipped = lab.confirm(index(1), &survivors).unwrap_err();
    assert_eq!(skipped.code(), "round_wrong_phase");
    let unmasked = lab.unmask(index(1), Vec::new()).unwrap_err();
    assert_eq!(unmasked.code(), "round_wrong_phase");
    lab.submit(index(1), &all).unwrap();
    let list = lab.world().key_list(index(1));
    let back = lab.ask(index(1), &Directive::ShareKeys(list)).unwrap_err();
    assert_eq!(back.code(), "round_wrong_phase");
    assert!(matches!(
        lab.ask(index(1), &Directive::Confirm(survivors)),
        Ok(MemberMessage::Confirmation(_))
    ));
}
