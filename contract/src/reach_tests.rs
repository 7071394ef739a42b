use super::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The cohort's numbers as a contract derives them, n_min by default.
fn population(cohort: u32, colluders: u32, dropouts: u32) -> Population {
    let threshold = (cohort + colluders) / 2 + 1;
    Population {
        cohort,
        fewest: threshold.max(cohort - dropouts).max(colluders + 2),
        colluders,
        dropouts,
    }
}

fn found(population: Population, assurance: Assurance) -> Option<(u32, u32)> {
    circle(population, assurance).map(|circle| (circle.reach, circle.witnesses))
}

/// n, c, d, then (h, m) with the margin of 2^64 and without it: by exact integers, in Python:
/// `least` is the least i with n·Σ_{j≥i} C(K,j)·C(N−K,h−j) ≤ 2^-bits·C(N,h), and h the least with m + least' ≤ h + 1.
type Row = (u32, u32, u32, Option<(u32, u32)>, (u32, u32));
const EXACT: [Row; 13] = [
    (257, 85, 12, Some((84, 72)), (58, 46)),
    (300, 1, 3, Some((5, 2)), (5, 2)),
    (300, 15, 15, Some((26, 16)), (23, 14)),
    (500, 25, 25, Some((38, 26)), (25, 15)),
    (500, 166, 25, Some((114, 95)), (72, 56)),
    (1000, 10, 10, Some((17, 11)), (14, 9)),
    (1000, 50, 50, Some((46, 32)), (29, 17)),
    (1000, 100, 50, Some((61, 45)), (37, 24)),
    (1000, 100, 100, Some((75, 50)), (48, 28)),
    (1000, 200, 100, Some((115, 83)), (71, 46)),
    (1000, 333, 50, Some((137, 113)), (80, 62)),
    (1000, 333, 100, None, (114, 82)),
    (1024, 341, 51, Some((138, 114)), (80, 62)),
];

#[test]
fn the_reach_is_that_of_exact_integers() {
    let bare = Assurance {
        grinding_bits: 0,
        ..Assurance::STANDARD
    };
    for (n, c, d, with_margin, without) in EXACT {
        let population = population(n, c, d);
        let computed = found(population, Assurance::STANDARD);
        println!("n={n} c={c} d={d}: (h, m) = {computed:?}, {without:?} without the margin");
        assert_eq!(computed, with_margin, "n={n} c={c} d={d}");
        assert_eq!(found(population, bare), Some(without), "n={n} c={c} d={d}");
    }
}

#[test]
fn the_law_is_hypergeometric_at_both_ends() {
    // C(7,i)·C(5,8−i)/C(12,8): at least three of eight are marked, because only five are not.
    let draw = Draw::new(12, 7, 8);
    let expected = [35.0, 175.0, 210.0, 70.0, 5.0].map(|ways: f64| ways / 495.0);
    let law: Vec<f64> = draw
        .law()
        .iter()
        .map(|(_, p)| p.mantissa * 2_f64.powi(p.exponent))
        .collect();
    assert_eq!((draw.least(), draw.most(), law.len()), (3, 7, 5));
    for (computed, expected) in law.iter().zip(expected) {
        assert!((computed - expected).abs() < 1e-15, "{computed} {expected}");
    }
}

#[test]
fn a_chance_below_the_range_of_floating_point_is_still_compared() {
    let tiny = (0..4_000).fold(Chance::CERTAIN, |chance, _| chance.times(0.5));
    assert!(tiny.at_most_half_to_the(4_000));
    assert!(!tiny.at_most_half_to_the(4_001));
    assert!(!tiny.times(f64::INFINITY).at_most_half_to_the(1));
    assert!(tiny.times(0.0).at_most_half_to_the(u32::MAX));
}

#[test]
fn more_colluders_or_dropouts_never_reach_less_far() {
    let reach = |c, d| circle(population(400, c, d), Assurance::STANDARD).map(|c| c.reach);
    for d in [4, 20, 40] {
        let reaches: Vec<_> = [4, 20, 40, 80].map(|c| reach(c, d)).into();
        assert!(reaches.is_sorted(), "d={d}: {reaches:?}");
    }
    assert!(reach(20, 10) <= reach(20, 40));
}

/// A seeded shuffle of n seats, the first `marked` indices being marked: how many of them each row has at most.
fn most_marked(n: u32, marked: u32, reach: u32, rng: &mut ChaCha20Rng) -> u32 {
    let mut seats: Vec<bool> = (0..n).map(|i| i < marked).collect();
    for i in (1..seats.len()).rev() {
        // The bias of the remainder is below 2^-50.
        let other = rng.next_u64() % (i as u64 + 1);
        seats.swap(i, usize::try_from(other).unwrap());
    }
    let (n, reach) = (n as usize, reach as usize);
    let mut inside = u32::try_from(seats[..reach].iter().filter(|m| **m).count()).unwrap();
    let mut most = inside;
    for first in 0..n {
        inside = inside + u32::from(seats[(first + reach) % n]) - u32::from(seats[first]);
        most = most.max(inside);
    }
    most
}

/// The union bound n·P[at least i in one row], as a plain number.
fn union_bound(n: u32, marked: u32, reach: u32, at_least: u32) -> f64 {
    let draw = Draw::new(n, marked, reach);
    let tail = draw.law().into_iter().filter(|(i, _)| *i >= at_least);
    f64::from(n)
        * tail
            .map(|(_, p)| p.mantissa * 2_f64.powi(p.exponent))
            .sum::<f64>()
}

/// Observed failures lie below the union bound, and not far below. Let X be the rows that fail. P[X ≥ 1] = E[X] / E[X | X ≥ 1],
/// and E[X] is the union bound. Given a failing row, at most 2h − 2 others overlap it, and of the rest no more fail than
/// without it (marked members are used up), so E[X | X ≥ 1] ≤ 2h − 1 + E[X].
#[test]
fn simulated_failures_lie_within_the_union_bound_and_its_overlap() {
    let seed = 20_260_703;
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let trials = 20_000;
    for (n, marked, reach, at_least) in [(300, 30, 20, 9), (300, 15, 12, 5), (500, 100, 30, 15)] {
        let failed = (0..trials)
            .filter(|_| most_marked(n, marked, reach, &mut rng) >= at_least)
            .count();
        let observed = failed as f64 / f64::from(trials);
        let bound = union_bound(n, marked, reach, at_least);
        let floor = bound / (f64::from(2 * reach - 1) + bound);
        // Five standard deviations of a count of this size.
        let slack = 5.0 * (bound.min(1.0) / f64::from(trials)).sqrt();
        println!("n={n} K={marked} h={reach} ≥{at_least}: {observed:.5} in {floor:.5}..{bound:.5}");
        assert!(failed > 0 && observed <= bound + slack && observed >= floor - slack);
    }
}

#[test]
fn a_weak_assurance_is_kept_in_simulation_and_the_next_smaller_m_would_break_it() {
    let seed = 20_260_704;
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let weak = Assurance {
        security_bits: 6,
        grinding_bits: 0,
        correctness_bits: 6,
    };
    let (population, trials) = (population(300, 30, 15), 20_000);
    let circle = circle(population, weak).unwrap();
    let (h, m) = (circle.reach, circle.witnesses);
    let mut rate = |n, marked, at_least: u32| {
        let failed = (0..trials)
            .filter(|_| most_marked(n, marked, h, &mut rng) >= at_least)
            .count();
        failed as f64 / f64::from(trials)
    };
    let (corrupt, thin) = (rate(285, 30, m), rate(300, 15, h - m + 1));
    let loose = rate(285, 30, m - 2);
    println!(
        "h={h} m={m}: corrupt {corrupt:.5}, thin {thin:.5}, with m - 2 {loose:.5}; promised {:.5}",
        1.0 / 64.0
    );
    // 2^-6 plus five standard deviations of the mean of 20 000 trials.
    let most = 1.0 / 64.0 + 5.0 * (1.0 / 64.0_f64 / f64::from(trials)).sqrt();
    assert!(corrupt <= most && thin <= most);
    assert!(loose > most);
}
