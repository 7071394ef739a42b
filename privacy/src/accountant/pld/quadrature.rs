//! Gauss-Legendre quadrature on one panel (Abramowitz and Stegun, table 25.4), with 3, 5 or 8 points.
//!
//! The error of n points on a panel of width d is (n!)⁴/((2n+1)·((2n)!)³)·d^(2n+1)·f^(2n) (same source, 25.4.30). With
//! [`rule`] a panel is at most one unit of the integrand's own scale wide, and each rule's error is below 1e-13 of the
//! integral.

/// Abscissa on [-1, 1] and weight.
type Point = (f64, f64);

const THREE: [Point; 3] = [
    (-0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
    (0.0, 0.888_888_888_888_888_8),
    (0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
];

const FIVE: [Point; 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_08),
];

const EIGHT: [Point; 8] = [
    (-0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
    (-0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (-0.525_532_409_916_329, 0.313_706_645_877_887_27),
    (-0.183_434_642_495_649_8, 0.362_683_783_378_361_96),
    (0.183_434_642_495_649_8, 0.362_683_783_378_361_96),
    (0.525_532_409_916_329, 0.313_706_645_877_887_27),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// Widest panel of the three-point rule, in units of the integrand's scale: 5e-7·0.06⁶ is 2e-14.
pub(super) const NARROW: f64 = 0.06;

/// Widest panel of the five-point rule: 4e-13·0.5¹⁰ is 4e-16; Hermite polynomials at the middle add three digits.
const MIDDLE: f64 = 0.5;

/// The rule for a panel that is `scales` times as wide as the integrand's scale, at most 1.
pub(super) fn rule(scales: f64) -> &'static [Point] {
    if scales <= NARROW {
        &THREE
    } else if scales <= MIDDLE {
        &FIVE
    } else {
        &EIGHT
    }
}

/// The points of a panel from `start` to `end` with their weights.
pub(super) fn points(start: f64, end: f64, rule: &'static [Point]) -> impl Iterator<Item = Point> {
    let (middle, half) = (0.5 * (start + end), 0.5 * (end - start));
    rule.iter()
        .map(move |(at, weight)| (middle + half * at, half * weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_n_points_integrates_powers_below_2n_exactly() {
        for (rule, degree) in [(&THREE[..], 5), (&FIVE[..], 9), (&EIGHT[..], 15)] {
            for power in 0..=degree {
                let found: f64 = rule
                    .iter()
                    .map(|(at, weight)| weight * at.powi(power))
                    .sum();
                let expected = if power % 2 == 0 {
                    2.0 / f64::from(power + 1)
                } else {
                    0.0
                };
                assert!((found - expected).abs() < 1e-15, "{degree} {power}");
            }
        }
    }
}
