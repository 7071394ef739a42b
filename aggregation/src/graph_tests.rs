use super::*;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn member(position: u32) -> MemberIndex {
    MemberIndex::new(position).unwrap()
}

fn members(n: u32) -> BTreeSet<MemberIndex> {
    (1..=n).map(member).collect()
}

fn context(text: &str) -> RoundKeyContext {
    RoundKeyContext::new(&Digest::of(b"context"), &Digest::of(text.as_bytes()))
}

fn circle(reach: u32, witnesses: u32) -> Graph {
    Graph::Harary(Circle { reach, witnesses })
}

/// The members that hang together with `start` over edges between members of `among`.
fn component(
    seating: &Seating,
    start: MemberIndex,
    among: &BTreeSet<MemberIndex>,
) -> BTreeSet<MemberIndex> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![start]);
    while let Some(next) = todo.pop() {
        if found.insert(next) {
            todo.extend(seating.neighbours(next).intersection(among));
        }
    }
    found
}

#[test]
fn in_a_complete_graph_everybody_else_is_a_neighbour_once() {
    let seating = Graph::Complete.seat(&context("x"), [5, 2, 9, 2].map(member));
    assert_eq!(seating.neighbours(member(5)), [2, 9].map(member).into());
    assert_eq!(seating.holders(member(5)), [2, 5, 9].map(member).into());
    assert!(seating.covered_by(&BTreeSet::new()));
}

#[test]
fn who_has_no_seat_has_no_neighbour() {
    for graph in [Graph::Complete, circle(1, 1)] {
        let seating = graph.seat(&context("x"), members(5));
        assert!(seating.neighbours(member(7)).is_empty());
        assert!(!seating.contains(member(7)));
    }
}

#[test]
fn another_set_of_adverts_seats_the_same_members_in_another_order() {
    let seats = |text| {
        circle(2, 1)
            .seat(&context(text), members(40))
            .seats()
            .to_vec()
    };
    assert_ne!(seats("x"), seats("y"));
    assert_eq!(seats("x"), seats("x"));
}

#[test]
fn neighbours_are_the_nearest_seats_on_either_side_around_the_end_too() {
    let seating = circle(2, 1).seat(&context("x"), members(7));
    let at = |place: usize| seating.seats()[place % 7];
    for place in 0..7 {
        let near = [1, 2, 5, 6].map(|step| at(place + step));
        assert_eq!(seating.neighbours(at(place)), near.into());
    }
}

#[test]
fn a_circle_smaller_than_its_reach_is_complete() {
    let seating = circle(9, 2).seat(&context("x"), members(6));
    assert_eq!(seating.holders(member(3)), members(6));
    assert!(seating.covered_by(&members(2)));
    assert!(!seating.covered_by(&members(1)));
    let nobody = circle(9, 2).seat(&context("x"), []);
    assert!(!nobody.covered_by(&members(6)));
}

#[test]
fn a_row_that_lost_too_many_is_noticed_wherever_it_lies() {
    let seating = circle(6, 3).seat(&context("x"), members(50));
    for first in 0..50 {
        let lost = |count| -> BTreeSet<_> { seating.row(first, count).collect() };
        let without = |lost: BTreeSet<MemberIndex>| &members(50) - &lost;
        assert!(seating.covered_by(&without(lost(3))), "first={first}");
        assert!(!seating.covered_by(&without(lost(4))), "first={first}");
    }
}

#[test]
fn an_arc_that_is_cut_off_would_be_summed_alone_and_is_not_covered() {
    let seating = circle(4, 2).seat(&context("x"), members(60));
    // Two gaps of h seats each cut the circle into arcs of 20 and 32 members.
    let gaps: BTreeSet<_> = seating.row(0, 4).chain(seating.row(24, 4)).collect();
    let survivors = &members(60) - &gaps;
    let arc = component(&seating, seating.seats()[4], &survivors);
    assert_eq!(arc.len(), 20);
    assert!(!seating.covered_by(&survivors));
}

#[test]
fn neighbours_that_did_not_confirm_are_named_and_only_on_a_circle() {
    let (survivors, confirmed) = (members(9), members(5));
    let seating = circle(3, 1).seat(&context("x"), members(9));
    let own = seating.seats()[0];
    let missing = seating.unconfirmed_neighbours(own, &survivors, &confirmed);
    let expected = &seating.neighbours(own) - &confirmed;
    assert_eq!(missing, expected);
    assert!(!missing.is_empty());
    let complete = Graph::Complete.seat(&context("x"), members(9));
    let missing = complete.unconfirmed_neighbours(own, &survivors, &confirmed);
    assert!(missing.is_empty());
}

proptest! {
    #[test]
    fn neighbourhood_is_mutual_and_everybody_has_the_same_degree(
        n in 3_u32..80, reach in 1_u32..40, seed: u64,
    ) {
        let seating = circle(reach, 1).seat(&context(&seed.to_string()), members(n));
        for own in members(n) {
            let near = seating.neighbours(own);
            prop_assert_eq!(near.len(), (2 * reach).min(n - 1) as usize);
            for other in near {
                prop_assert!(seating.neighbours(other).contains(&own));
            }
        }
    }

    /// The theorem of docs/decisions/0006: for every corrupt set with at most m - 1 members in any row, and for every set
    /// of missing members, a circle that is covered has connected honest members, and each owner too few corrupt holders.
    #[test]
    fn a_covered_circle_hangs_together_whoever_is_corrupt_and_whoever_is_missing(
        n in 8_u32..60, reach in 2_u32..12, witnesses in 1_u32..6, drops in 0_u32..40, seed: u64,
    ) {
        prop_assume!(2 * reach < n && witnesses <= reach);
        let seating = circle(reach, witnesses).seat(&context(&seed.to_string()), members(n));
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let seats = seating.seats();
        let mut pick = |weight: u32| -> BTreeSet<MemberIndex> {
            // Clustered, as an adversary would: a stretch of seats, and a few anywhere.
            let (first, length) = (rng.next_u32() % n, rng.next_u32() % (weight + 1));
            let stretch = (first..first + length).map(|place| seats[(place % n) as usize]);
            let few: Vec<_> = (0..rng.next_u32() % (weight + 1))
                .map(|_| seats[(rng.next_u32() % n) as usize]).collect();
            stretch.chain(few).collect()
        };
        let (corrupt, missing) = (pick(witnesses), pick(drops));
        let rows = |row: BTreeSet<MemberIndex>| row.intersection(&corrupt).count();
        let most_corrupt = (0..n as usize)
            .map(|first| rows(seating.row(first, reach as usize).collect())).max().unwrap();
        let survivors = &members(n) - &missing;
        if most_corrupt < witnesses as usize && seating.covered_by(&survivors) {
            let honest = &survivors - &corrupt;
            let first = *honest.first().unwrap();
            prop_assert_eq!(component(&seating, first, &honest), honest);
            for owner in members(n) {
                let holders = seating.holders(owner);
                let others = &(&holders & &corrupt) - &BTreeSet::from([owner]);
                prop_assert!(others.len() < 2 * witnesses as usize - 1);
                prop_assert!((&holders & &survivors).len() >= 2 * witnesses as usize - 1);
            }
        }
    }
}
