//! How far a member's neighbourhood must reach above 256 members, and how many of it must stand (docs/decisions/0006).
//!
//! The seats are a random order of U1, so the corrupt members in h seats in a row follow the hypergeometric law. Every
//! machine must find the same two numbers: only additions, multiplications and divisions are used, which IEEE 754 defines
//! to the last bit, and no logarithm, which it does not.

use consort_aggregation::{Circle, MAX_THRESHOLD};

/// How unlikely each failure must be, as powers of one half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assurance {
    /// That somewhere h seats in a row have m corrupt members, over all that an adversary tries.
    pub security_bits: u32,
    /// log2 of the orders of seats that an adversary can try by leaving out adverts or drawing its own keys again.
    pub grinding_bits: u32,
    /// That somewhere h seats in a row have fewer than m members left, when no more drop out than were planned for.
    pub correctness_bits: u32,
}

impl Assurance {
    /// What every contract of this version has.
    ///
    /// 2^-40 and 2^-20 are Bell et al.'s. A try costs a hash for each seat; 2^64 hashes are more than ten thousand of
    /// today's fastest accelerators (2^35 SHA-256 per second each) manage in half a day, and adverts are waited for in
    /// seconds. The tries of all rounds of a job count together.
    pub const STANDARD: Self = Self {
        security_bits: 40,
        grinding_bits: 64,
        correctness_bits: 20,
    };
}

/// Who sits on the circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// n: members of the job.
    pub cohort: u32,
    /// Fewest members of U1 that anybody accepts. The coordinator may leave out honest ones down to this number.
    pub fewest: u32,
    /// c: corrupt members among them.
    pub colluders: u32,
    /// d: members that may drop out, from the first phase to the last.
    pub dropouts: u32,
}

/// The smallest reach that keeps the assurance, with its m; `None` where a complete graph would be as small, or where the
/// shares would need a threshold above [`MAX_THRESHOLD`].
pub fn circle(population: Population, assurance: Assurance) -> Option<Circle> {
    let Population {
        cohort,
        fewest,
        colluders,
        dropouts,
    } = population;
    let security = assurance.security_bits + assurance.grinding_bits;
    // The degree 2h must leave somebody out even in the smallest U1.
    (1..fewest.saturating_sub(1).div_ceil(2)).find_map(|reach| {
        // A union over all rows, of which there are at most n.
        let corrupt = Draw::new(fewest, colluders, reach);
        let witnesses = corrupt.least_unlikely(cohort, security);
        let dropped = Draw::new(cohort, dropouts, reach);
        let unlikely = dropped.least_unlikely(cohort, assurance.correctness_bits);
        let circle = Circle { reach, witnesses };
        let stands = witnesses + unlikely <= reach + 1;
        (stands && share_threshold(circle) <= MAX_THRESHOLD).then_some(circle)
    })
}

/// t' = 2m − 1: a member's neighbours sit in two rows of h seats, each with at most m − 1 corrupt members, so the corrupt
/// ones lack a share; and at least 2m of the neighbours stand when each row has m.
pub fn share_threshold(circle: Circle) -> u32 {
    (2 * circle.witnesses).saturating_sub(1).max(1)
}

/// h seats drawn from N, of which K are marked: the hypergeometric law.
struct Draw {
    population: u32,
    marked: u32,
    drawn: u32,
}

impl Draw {
    fn new(population: u32, marked: u32, drawn: u32) -> Self {
        let (marked, drawn) = (marked.min(population), drawn.min(population));
        Self {
            population,
            marked,
            drawn,
        }
    }

    /// The least i for which `rows`·P[at least i are marked] ≤ 2^-bits.
    fn least_unlikely(&self, rows: u32, bits: u32) -> u32 {
        // P[≥ i] = P[= i]·(1 + r_i·(1 + r_{i+1}·(…))), r_i = P[= i + 1] / P[= i], from the top down.
        let mut above = 0.0;
        for (i, exactly) in self.law().into_iter().rev() {
            above = 1.0 + above * self.ratio(i);
            let union = exactly.times(above).times(f64::from(rows)).times(ROUNDING);
            if !union.at_most_half_to_the(bits) {
                return i + 1;
            }
        }
        self.least()
    }

    /// P[exactly i are marked] for each i that can be.
    fn law(&self) -> Vec<(u32, Chance)> {
        let mut exactly = self.first();
        let mut law = vec![(self.least(), exactly)];
        for i in self.least()..self.most() {
            exactly = exactly.times(self.ratio(i));
            law.push((i + 1, exactly));
        }
        law
    }

    /// Fewest that can be marked: the others do not fill h seats.
    fn least(&self) -> u32 {
        self.drawn.saturating_sub(self.population - self.marked)
    }

    fn most(&self) -> u32 {
        self.drawn.min(self.marked)
    }

    /// P[as few as can be are marked].
    fn first(&self) -> Chance {
        let (n, k, h) = (self.population, self.marked, self.drawn);
        let (factors, from) = if h <= n - k { (h, n - k) } else { (n - h, k) };
        (0..factors).fold(Chance::CERTAIN, |chance, j| {
            chance.times(f64::from(from - j) / f64::from(n - j))
        })
    }

    /// P[= i + 1] / P[= i]; zero above the most that can be.
    fn ratio(&self, i: u32) -> f64 {
        let (n, k, h) = (self.population, self.marked, self.drawn);
        let up = f64::from(k - i) * f64::from(h - i);
        up / (f64::from(i + 1) * f64::from((n - k + i + 1) - h))
    }
}

/// Covers the rounding of the arithmetic: fewer than 2^14 steps of relative error 2^-53 each stay far below 2^-20.
const ROUNDING: f64 = 1.0 + 1.0 / 1_048_576.0;

/// A non-negative number far below what an f64 reaches: mantissa·2^exponent, the mantissa zero or in [1, 2).
#[derive(Clone, Copy, Debug)]
struct Chance {
    mantissa: f64,
    exponent: i32,
}

impl Chance {
    const CERTAIN: Self = Self {
        mantissa: 1.0,
        exponent: 0,
    };

    /// Times a factor that is not negative; one that overflowed counts as certainty, which is the safe side.
    fn times(self, factor: f64) -> Self {
        let mut product = Self {
            mantissa: self.mantissa * factor,
            exponent: self.exponent,
        };
        if !product.mantissa.is_finite() {
            return Self::CERTAIN;
        }
        // Scaling by two is exact.
        while product.mantissa >= 2.0 {
            product.mantissa *= 0.5;
            product.exponent += 1;
        }
        while product.mantissa > 0.0 && product.mantissa < 1.0 {
            product.mantissa *= 2.0;
            product.exponent -= 1;
        }
        product
    }

    fn at_most_half_to_the(self, bits: u32) -> bool {
        let limit = i32::try_from(bits).map_or(i32::MIN, |bits| -bits);
        self.mantissa == 0.0
            || self.exponent < limit
            || (self.exponent == limit && self.mantissa <= 1.0)
    }
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
