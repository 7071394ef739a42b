//! Members stop at any point: the exact sum over the announced survivors, or a clean abort with a reason; never a wrong sum.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::MemberIndex;
use consort_round::coordinator::{Input, Round};
use consort_round::{AbortReason, Millis};

use crate::cluster::{Cluster, DEADLINES, index, open_sum, plain_sum, updates};

fn run(n: u32, colluders: Option<u32>, stops: &[u32], seed: u64) -> Cluster {
    let mut cluster = Cluster::new(n, colluders, None, seed);
    let everyone = cluster.everyone();
    let stops = everyone
        .iter()
        .copied()
        .zip(stops.iter().copied())
        .collect();
    cluster.run(&stops, &updates(&everyone));
    cluster
}

#[test]
fn the_sum_over_all_is_exact_for_every_small_cohort() {
    for n in 3..=9 {
        let cluster = run(n, None, &vec![5; n as usize], u64::from(n));
        let everyone = cluster.everyone();
        let all: BTreeSet<_> = everyone.iter().copied().collect();
        assert_eq!(cluster.survivors(), all);
        assert_eq!(
            cluster.open_sum().values(),
            plain_sum(&updates(&everyone), &all)
        );
    }
}

#[test]
fn a_member_that_shared_and_did_not_submit_is_left_out_and_the_sum_over_four_is_exact() {
    let cluster = run(5, None, &[5, 5, 2, 5, 5], 17);
    let survivors: BTreeSet<_> = [1, 2, 4, 5].map(index).into();
    assert_eq!(cluster.survivors(), survivors);
    assert_eq!(
        cluster.open_sum().values(),
        plain_sum(&updates(&cluster.everyone()), &survivors)
    );
}

/// 6^n schedules for n = 3 and 4, and every legal c: each member stops before one of the five answers or never.
#[test]
fn every_schedule_of_stops_gives_the_exact_sum_or_a_clean_abort() {
    for n in 3..=4_u32 {
        for colluders in 1..=n - 2 {
            for schedule in 0..6_u32.pow(n) {
                let stops: Vec<_> = (0..n).map(|i| schedule / 6_u32.pow(i) % 6).collect();
                check_schedule(n, colluders, &stops, u64::from(schedule));
            }
        }
    }
}

fn check_schedule(n: u32, colluders: u32, stops: &[u32], seed: u64) {
    let cluster = run(n, Some(colluders), stops, seed);
    let terms = cluster.open.terms.thresholds;
    let answering = |phase: u32| -> BTreeSet<MemberIndex> {
        cluster
            .everyone()
            .into_iter()
            .zip(stops)
            .filter(|(_, stop)| **stop > phase)
            .map(|(m, _)| m)
            .collect()
    };
    let count = |phase| u32::try_from(answering(phase).len()).unwrap();
    let needs = [
        terms.fewest_survivors(),
        terms.fewest_survivors(),
        terms.fewest_survivors(),
        terms.confirmation_quorum(),
        terms.threshold(),
    ];
    let failing = (0..5).find(|phase| count(*phase) < needs[*phase as usize]);
    let context = format!("n={n} c={colluders} stops={stops:?}");
    match (cluster.round(), failing) {
        (Round::Opened(opening), None) => {
            assert_eq!(opening.survivors, answering(2), "{context}");
            assert_eq!(
                cluster.open_sum().values(),
                plain_sum(&updates(&cluster.everyone()), &answering(2)),
                "{context}"
            );
        }
        (Round::Aborted(reason), Some(phase)) => {
            let (have, need) = (count(phase), needs[phase as usize]);
            let expected = match phase {
                0 => AbortReason::TooFewJoined { have, need },
                1 => AbortReason::TooFewShared { have, need },
                2 => AbortReason::TooFewSurvivors { have, need },
                3 => AbortReason::TooFewConfirmed { have, need },
                _ => AbortReason::TooFewUnmasked { have, need },
            };
            assert_eq!(*reason, expected, "{context}");
        }
        (round, failing) => panic!(
            "{context}: the round is {} and phase {failing:?} should have failed",
            round.phase()
        ),
    }
}

#[test]
fn a_departed_member_is_not_waited_for() {
    let mut cluster = Cluster::new(5, None, None, 3);
    let everyone = cluster.everyone();
    let all = updates(&everyone);
    cluster.step(&everyone, &all);
    cluster.step(&everyone, &all);
    assert_eq!(cluster.round().phase(), "collecting");
    let four: Vec<_> = [1, 2, 4, 5].map(index).into();
    cluster.step(&four, &all);
    assert_eq!(cluster.round().phase(), "collecting");
    cluster.feed(Input::Depart(index(3))).unwrap();
    assert_eq!(cluster.round().phase(), "confirming");
    cluster.step(&four, &all);
    cluster.step(&four, &all);
    assert_eq!(
        cluster.open_sum().values(),
        plain_sum(&all, &four.into_iter().collect())
    );
}

/// A coordinator that is killed after any stored input and replays what it stored ends with the same sum.
#[test]
fn replaying_the_stored_inputs_gives_the_same_round() {
    let mut cluster = run(5, None, &[5, 5, 2, 5, 5], 29);
    let expected = cluster.open_sum();
    let mut round = Round::open(cluster.open.clone(), DEADLINES, Millis(0));
    for input in std::mem::take(&mut cluster.stored) {
        let now = if matches!(input, Input::Tick) {
            Millis(u64::MAX)
        } else {
            Millis(0)
        };
        round = round.handle(input, now).round;
        round.rearm(Millis(0));
    }
    let Round::Opened(opening) = &round else {
        panic!("the replayed round is {}", round.phase())
    };
    assert_eq!(
        open_sum(opening, &cluster.uploads, cluster.open.terms.schema),
        expected
    );
}

/// The members' inputs are unit vectors: the sum is the indicator of the declared survivors (an oracle after janus).
#[test]
fn the_sum_of_unit_vectors_is_the_indicator_of_the_survivors() {
    for (seed, dropped) in (1..=5).enumerate() {
        let mut cluster = Cluster::new(5, None, None, seed as u64);
        let everyone = cluster.everyone();
        let unit = |m: &MemberIndex| (1..=5).map(|j| i64::from(j == m.get())).collect();
        let units: BTreeMap<_, Vec<i64>> = everyone.iter().map(|m| (*m, unit(m))).collect();
        let stops = everyone
            .iter()
            .map(|m| (*m, if m.get() == dropped { 2 } else { 5 }))
            .collect();
        cluster.run(&stops, &units);
        let indicator: Vec<_> = (1..=5).map(|j| i64::from(j != dropped)).collect();
        assert_eq!(cluster.open_sum().values(), indicator);
    }
}
