//! Members stop at any point: the exact sum over the announced survivors, or a clean abort with a reason; never a wrong sum.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::MemberIndex;
use consort_round::Millis;
use consort_round::coordinator::{Input, Round};

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
