//! Comparisons of a random point with a multiple of exp(−n/d), decided exactly: by bounds in integers, as narrow as it takes.

use num_bigint::BigUint;
use rand_core::RngCore;

/// Bits by which the bounds are finer than the point that is compared: one comparison in 2^30 needs another word.
const SPARE_BITS: u64 = 64;

/// Bounds of exp(−n/d) as integers with `bits` bits after the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpBounds {
    pub(super) low: BigUint,
    pub(super) high: BigUint,
    pub(super) bits: u64,
}

impl ExpBounds {
    /// By the Taylor series of exp(n/d), whose terms are positive, and its inverse; every rounding goes outwards.
    pub(super) fn of(numerator: u128, denominator: u128, bits: u64) -> Self {
        let one = BigUint::from(1_u8) << bits;
        let (mut low_term, mut high_term) = (one.clone(), one.clone());
        let (mut low, mut high) = (one.clone(), one);
        let mut place = 0_u64;
        loop {
            place += 1;
            let divisor = BigUint::from(denominator) * place;
            low_term = low_term * numerator / &divisor;
            high_term = ceil_div(high_term * numerator, &divisor);
            low += &low_term;
            high += &high_term;
            // From here on each term is at most half of the one before: all that follow are together at most the last one.
            let halves = divisor >= BigUint::from(numerator) << 1_u8;
            if halves && high_term.bits() <= 1 {
                high += &high_term;
                break;
            }
        }
        let square = BigUint::from(1_u8) << (2 * bits);
        Self {
            low: &square / high,
            high: ceil_div(square, &low),
            bits,
        }
    }
}

/// Whether `point` and a uniform fraction in [0, 1) behind it are below `scale`·exp(−numerator/denominator). Of the fraction, as many
/// bits are drawn as decide it.
pub(super) fn is_below<R: RngCore + ?Sized>(
    point: u64,
    scale: &BigUint,
    numerator: u128,
    denominator: u128,
    rng: &mut R,
) -> bool {
    let mut point = BigUint::from(point);
    let mut fraction_bits = 0;
    loop {
        point = (point << 64_u8) + rng.next_u64();
        fraction_bits += 64;
        let bits = fraction_bits + scale.bits() + SPARE_BITS;
        let exp = ExpBounds::of(numerator, denominator, bits);
        let beyond = bits - fraction_bits;
        // The point and any fraction behind it are below the integer above the point.
        if point < (scale * &exp.low) >> beyond {
            return true;
        }
        if point > (scale * exp.high) >> beyond {
            return false;
        }
    }
}

pub(super) fn ceil_div(dividend: BigUint, divisor: &BigUint) -> BigUint {
    (dividend + divisor - 1_u8) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// exp(−n/d) to sixty decimals, floor: from the published digits of e^-1 (OEIS A068985) and of e^-40 (computed with
    /// Python's `decimal` at 120 digits).
    const KNOWN: [(u128, u128, &str); 2] = [
        (
            1,
            1,
            "367879441171442321595523770161460867445811131031767834507836",
        ),
        (80, 2, "4248354255291588995329234782858"),
    ];

    #[test]
    fn the_bounds_hold_the_known_digits_and_are_narrow() {
        for (numerator, denominator, digits) in KNOWN {
            let exp = ExpBounds::of(numerator, denominator, 400);
            let known: BigUint = digits.parse().unwrap();
            let scale = if digits.len() == 60 { 60 } else { 48 };
            let decimals = BigUint::from(10_u8).pow(scale);
            let floor = (&exp.low * &decimals) >> 400_u16;
            assert_eq!(floor, known, "{numerator}/{denominator}");
            assert!(
                (&exp.high - &exp.low).bits() < 16,
                "{numerator}/{denominator}"
            );
        }
    }

    #[test]
    fn exp_of_zero_is_one() {
        let exp = ExpBounds::of(0, 7, 100);
        assert_eq!(exp.low, BigUint::from(1_u8) << 100_u8);
        assert_eq!(exp.high, exp.low);
    }
}
