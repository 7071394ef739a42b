//! Above 256 members: shares and masks go to neighbours on a circle, the sum over all survivors is exact, and a coordinator
//! that tears a hole into the circle gets nothing.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Circle, Digest, Graph, MemberIndex, Seating};
use consort_round::coordinator::Round;
use consort_round::messages::UpdateSeal;
use consort_round::{Confirmations, Directive, MemberMessage, Rejection, Survivors};

use crate::cluster::{Cluster, index, plain_sum, updates};

const N: u32 = 257;

/// One colluder and n_min = 200: h is small, and a hostile coordinator has 57 members to leave out.
fn cohort(seed: u64) -> Cluster {
    Cluster::new(N, Some(1), Some(200), seed)
}

fn circle(cluster: &Cluster) -> Circle {
    match cluster.open.terms.thresholds.graph() {
        Graph::Harary(circle) => circle,
        Graph::Complete => panic!("257 members are no complete graph"),
    }
}

fn seating(cluster: &Cluster) -> Seating {
    let graph = cluster.open.terms.thresholds.graph();
    graph.seat(&cluster.context2(), cluster.everyone())
}

/// Obeys R7, R8c, R12d, R12e, R14d, R16d, C10, C13.
#[test]
fn members_that_stop_at_every_phase_leave_an_exact_sum_over_the_others() {
    let mut cluster = cohort(71);
    let everyone = cluster.everyone();
    // Two members stop before each of the five phases.
    let stop = |m: MemberIndex| if m.get() <= 10 { (m.get() - 1) / 2 } else { 5 };
    let stops = everyone.iter().map(|m| (*m, stop(*m))).collect();
    cluster.run(&stops, &updates(&everyone));
    let survivors = cluster.survivors();
    assert_eq!(survivors, everyone[6..].iter().copied().collect());
    assert_eq!(
        cluster.open_sum().values(),
        plain_sum(&updates(&everyone), &survivors)
    );
}

fn refused(cluster: &mut Cluster, member: MemberIndex, directive: &Directive) -> Rejection {
    cluster
        .answer(member, directive, &[0; 5])
        .expect_err("this breaks a rule")
}

fn survivors_without(cluster: &Cluster, missing: &BTreeSet<MemberIndex>) -> Survivors {
    let kept = |m: &MemberIndex| !missing.contains(m);
    let members = cluster.everyone().into_iter().filter(kept);
    let seals: BTreeMap<_, UpdateSeal> = members.map(|m| (m, cluster.forged_seal(m))).collect();
    Survivors::new(&cluster.context2(), &seals, &cluster.coordinator)
}

fn directive_at(cluster: &Cluster, member: MemberIndex) -> Directive {
    cluster.round().directive(member).expect("it is asked")
}

/// One cohort through all phases, because each costs 257² signatures: at each, what a hostile coordinator might send one
/// member is refused with the reason that names the hole, and the honest message is still answered afterwards.
///
/// Obeys R16e.
/// Breaks R8c, R12d, R12e, R14d, R16d, R16e.
#[test]
fn a_coordinator_that_cuts_the_circle_is_refused_at_every_phase() {
    let mut cluster = cohort(72);
    let everyone = cluster.everyone();
    let all = updates(&everyone);
    cluster.step(&everyone, &all);
    key_lists_without_the_neighbours_evidence_are_refused(&mut cluster);
    cluster.step(&everyone, &all);
    deliveries_with_a_hole_are_refused(&mut cluster);
    cluster.step(&everyone, &all);
    survivors_with_a_hole_are_refused(&mut cluster);
    // A whole row stays silent: it is in U3 and does not confirm.
    let h = circle(&cluster).reach as usize;
    let row: BTreeSet<_> = seating(&cluster).seats()[..h].iter().copied().collect();
    let others: Vec<_> = everyone
        .iter()
        .copied()
        .filter(|m| !row.contains(m))
        .collect();
    let witnesses = circle(&cluster).witnesses as usize;
    let spoken: Vec<_> = row.iter().copied().take(witnesses).collect();
    let mute: BTreeSet<_> = row.iter().copied().skip(witnesses).collect();
    cluster.step(&[others, spoken.clone()].concat(), &all);
    cluster.expire();
    assert_eq!(cluster.round().phase(), "unmasking");
    confirmations_with_a_hole_or_without_seals_are_refused(&mut cluster, &spoken, &mute);
    let answering: Vec<_> = everyone
        .iter()
        .copied()
        .filter(|m| !mute.contains(m))
        .collect();
    cluster.step(&answering, &all);
    let whole: BTreeSet<_> = everyone.iter().copied().collect();
    assert_eq!(cluster.open_sum().values(), plain_sum(&all, &whole));
}

fn key_lists_without_the_neighbours_evidence_are_refused(cluster: &mut Cluster) {
    let own = index(1);
    let Directive::ShareKeys(honest) = directive_at(cluster, own) else {
        panic!("a key list")
    };
    assert_eq!(honest.adverts.len(), 2 * circle(cluster).reach as usize + 1);
    assert_eq!(honest.adverts.len() + honest.heads.len(), N as usize);

    let mut list = honest.clone();
    let near = list.adverts.iter().position(|a| a.member != own).unwrap();
    let hidden = list.adverts.remove(near);
    list.heads.push(hidden.head());
    let refusal = refused(cluster, own, &Directive::ShareKeys(list));
    assert!(matches!(refusal, Rejection::Malformed(_)), "{refusal}");

    let mut list = honest.clone();
    list.heads[0].ledger_sequence += 1;
    let forged = Rejection::Signature(list.heads[0].member);
    assert_eq!(refused(cluster, own, &Directive::ShareKeys(list)), forged);

    // Without one far advert everything hangs on another ctx2, and the seats are others: other evidence is asked for.
    let mut list = honest;
    list.heads.pop();
    refused(cluster, own, &Directive::ShareKeys(list));
    assert_eq!(cluster.members[&own].phase(), "advertised");
}

fn deliveries_with_a_hole_are_refused(cluster: &mut Cluster) {
    let own = index(1);
    let Directive::Submit(honest) = directive_at(cluster, own) else {
        panic!("a delivery")
    };
    let seats = seating(cluster);
    let opposite = seats.seats().iter().position(|m| *m == own).unwrap() + N as usize / 2;
    let row =
        (0..circle(cluster).reach as usize).map(|i| seats.seats()[(opposite + i) % N as usize]);
    let mut delivery = honest.clone();
    for member in row {
        let far = delivery.others.remove(&member);
        assert!(far.is_some(), "far from {own}");
    }
    let refusal = refused(cluster, own, &Directive::Submit(delivery));
    assert_eq!(refusal, Rejection::Gap);

    for stranger in [index(N + 1), *seats.neighbours(own).first().unwrap()] {
        let mut delivery = honest.clone();
        delivery.others.insert(stranger, Digest::of(b"a statement"));
        let refusal = refused(cluster, own, &Directive::Submit(delivery));
        assert_eq!(refusal, Rejection::NotAsked(stranger));
    }
    assert_eq!(cluster.members[&own].phase(), "shared");
}

/// The arc between two holes of h seats would be summed alone: `aggregation`'s graph tests compute that sum.
fn survivors_with_a_hole_are_refused(cluster: &mut Cluster) {
    let seats = seating(cluster);
    let h = circle(cluster).reach as usize;
    let holes = seats.seats()[..h]
        .iter()
        .chain(&seats.seats()[h + 20..2 * h + 20]);
    let holes: BTreeSet<_> = holes.copied().collect();
    let survivors = survivors_without(cluster, &holes);
    assert!(survivors.members.len() >= 200, "enough but for the holes");
    for own in [seats.seats()[h + 10], seats.seats()[2 * h + 100]] {
        let directive = Directive::Confirm(survivors.clone());
        assert_eq!(refused(cluster, own, &directive), Rejection::Gap);
        assert_eq!(cluster.members[&own].phase(), "submitted");
    }
}

fn confirmations_with_a_hole_or_without_seals_are_refused(
    cluster: &mut Cluster,
    spoken: &[MemberIndex],
    mute: &BTreeSet<MemberIndex>,
) {
    // The claim that a row survived is not enough: its members must have said so.
    let own = *spoken.first().unwrap();
    let Directive::Unmask(honest) = directive_at(cluster, own) else {
        panic!("confirmations")
    };
    let row: BTreeSet<_> = spoken.iter().copied().chain(mute.iter().copied()).collect();
    let mut cut = honest.clone();
    cut.confirmations.retain(|c| !row.contains(&c.member));
    assert!(cut.confirmations.len() >= 130, "still a quorum");
    assert_eq!(
        refused(cluster, own, &Directive::Unmask(cut)),
        Rejection::Gap
    );

    let silent: BTreeSet<_> = honest.seals.iter().map(|seal| seal.member).collect();
    assert_eq!(silent, mute & &seating(cluster).neighbours(own));
    let with = |seals: Vec<UpdateSeal>| {
        Directive::Unmask(Confirmations {
            confirmations: honest.confirmations.clone(),
            seals,
        })
    };
    let refusal = refused(cluster, own, &with(Vec::new()));
    assert!(matches!(refusal, Rejection::Malformed(_)), "{refusal}");
    // A seal over another U2, as a member signs that was told of others.
    let mut other = honest.seals.clone();
    other[0] = cluster.forged_seal(other[0].member);
    let forged = Rejection::Signature(other[0].member);
    assert_eq!(refused(cluster, own, &with(other)), forged);
    assert_eq!(cluster.members[&own].phase(), "confirmed");

    let honest = Directive::Unmask(honest);
    let MemberMessage::Unmask(answer) = cluster.answer(own, &honest, &[]).unwrap() else {
        panic!("shares")
    };
    let owners: BTreeSet<_> = answer.shares.self_mask.keys().copied().collect();
    assert_eq!(owners, seating(cluster).holders(own));
    assert!(answer.shares.mask_key.is_empty());
}

/// Breaks C13.
#[test]
fn a_hole_ends_the_attempt_with_its_own_reason_and_before_anything_is_opened() {
    let mut cluster = cohort(73);
    let everyone = cluster.everyone();
    let all = updates(&everyone);
    cluster.step(&everyone, &all);
    let h = circle(&cluster).reach as usize;
    let row: BTreeSet<_> = seating(&cluster).seats()[3..3 + h]
        .iter()
        .copied()
        .collect();
    let others: Vec<_> = everyone.into_iter().filter(|m| !row.contains(m)).collect();
    cluster.step(&others, &all);
    cluster.expire();
    let Round::Aborted(reason) = cluster.round() else {
        panic!("the round is {}", cluster.round().phase())
    };
    assert_eq!(reason.code(), "abort_gap_in_shared");
    assert!(!reason.after_submission());
}
