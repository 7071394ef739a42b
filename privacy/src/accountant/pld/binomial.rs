//! How often a Poisson-sampled batch overflows its cap: tails of the binomial distribution.

/// What truncation does to one record (Ganesh 2025, "Tighter Privacy Analysis for Truncated Poisson Sampling",
/// arXiv 2508.15089; the same two probabilities as dp-accounting's `from_truncated_subsampled_gaussian_mechanism`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Overflow {
    /// That the others fill the batch: P(Bin(records − 1, rate) ≥ cap).
    pub(crate) probability: f64,
    /// That the record is in the batch, given that.
    pub(crate) rate: f64,
}

impl Overflow {
    /// Batches drawn at `rate` from `records`, of which at most `cap` are taken.
    pub(crate) fn new(records: u32, rate: f64, cap: u32) -> Self {
        let probability = above(records.saturating_sub(1), rate, cap.saturating_sub(1));
        let full = above(records, rate, cap) * f64::from(cap) / f64::from(records.max(1));
        let share = if probability > 0.0 {
            (full / probability).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Self {
            probability,
            rate: share,
        }
    }

    /// What dominates a batch of whatever number of records up to `most`.
    ///
    /// Given that the others fill the batch, a record is in it only if its own coin won: never more often than `rate`. The others
    /// fill it the more often the more they are. Both only move mass to a worse pair: that of a full batch, whose shift is twice
    /// as long, dominates the plain one of the same rate (on the half lines where the plain one's divergence is taken, its masses
    /// lie further apart), and a pair of a lower rate is a mixture of it with one that tells nothing. So the mixture with the
    /// greatest probability and the whole rate has the greatest divergence at every order, and after composition too.
    pub(crate) fn of_at_most(most: u32, rate: f64, cap: u32) -> Self {
        Self {
            probability: above(most.saturating_sub(1), rate, cap.saturating_sub(1)),
            rate,
        }
    }
}

/// P(Bin(n, p) > k).
fn above(n: u32, p: f64, k: u32) -> f64 {
    if k >= n {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let odds = p / (1.0 - p);
    let mode = (f64::from(n) + 1.0) * p;
    if f64::from(k) + 1.0 >= mode {
        // From k + 1 upwards the terms only fall.
        let mut term = mass(n, p, k + 1);
        let mut sum = 0.0;
        for j in k + 1..=n {
            sum += term;
            term *= f64::from(n - j) / (f64::from(j) + 1.0) * odds;
            if term <= sum * 1e-18 {
                break;
            }
        }
        sum.min(1.0)
    } else {
        // The tail is a large part: one minus what lies below, whose terms fall downwards.
        let mut term = mass(n, p, k);
        let mut sum = 0.0;
        for j in (0..=k).rev() {
            sum += term;
            term *= f64::from(j) / (f64::from(n - j) + 1.0) / odds;
            if term <= sum * 1e-18 {
                break;
            }
        }
        (1.0 - sum).max(0.0)
    }
}

/// P(Bin(n, p) = k) by Loader's saddle-point form (Fast and accurate computation of binomial probabilities, 2000), which
/// keeps its digits where products of factorials lose them.
fn mass(n: u32, p: f64, k: u32) -> f64 {
    let (size, taken) = (f64::from(n), f64::from(k));
    if k == 0 {
        return (size * (-p).ln_1p()).exp();
    }
    if k == n {
        return (size * p.ln()).exp();
    }
    let rest = size - taken;
    let ln = stirling_error(size)
        - stirling_error(taken)
        - stirling_error(rest)
        - deviance(taken, size * p)
        - deviance(rest, size * (1.0 - p));
    (ln).exp() * (size / (std::f64::consts::TAU * taken * rest)).sqrt()
}

/// ln n! − ln(√(2πn)·(n/e)^n): by its series, and below 16 by the factorial itself.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let mut factorial = 1.0;
        let mut factor = 2.0;
        while factor <= n {
            factorial *= factor;
            factor += 1.0;
        }
        return f64::ln(factorial) - 0.5 * (std::f64::consts::TAU * n).ln() - n * n.ln() + n;
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0) / square) / square) / square) / n
}

/// x·ln(x/m) + m − x, without cancellation near x = m.
fn deviance(x: f64, m: f64) -> f64 {
    let ratio = (x - m) / (x + m);
    if ratio.abs() > 0.1 {
        return x * (x / m).ln() + m - x;
    }
    let mut sum = (x - m) * ratio;
    let mut power = 2.0 * x * ratio;
    let square = ratio * ratio;
    let mut odd = 3.0;
    loop {
        power *= square;
        let next = sum + power / odd;
        if next == sum {
            return sum;
        }
        sum = next;
        odd += 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (n, p, k, P(Bin(n, p) > k)) by mpmath at 60 digits.
    const KNOWN: [(u32, f64, u32, f64); 9] = [
        (4999, 0.0256, 159, 0.003126846237310576),
        (5000, 0.0256, 160, 0.002438760963994782),
        (199, 0.1, 31, 0.004963759664357136),
        (199, 0.1, 63, 9.964160913740618e-18),
        (59999, 0.004266666666666667, 319, 6.184609885016608e-05),
        (100, 0.3, 5, 0.9999999996007056),
        (20, 0.5, 10, 0.41190147399902344),
        (1000000, 0.001, 1200, 3.805747069449323e-10),
        (100000, 0.5, 50300, 0.028681603594112683),
    ];

    #[test]
    fn tails_are_those_of_mpmath() {
        for (n, p, k, expected) in KNOWN {
            let found = above(n, p, k);
            assert!(
                (found / expected - 1.0).abs() < 1e-10,
                "{n} {p} {k}: {found:e} is not {expected:e}"
            );
        }
    }

    #[test]
    fn a_bound_on_the_records_is_no_better_than_any_number_below_it() {
        let (rate, cap, most) = (0.1, 32, 200);
        let bound = Overflow::of_at_most(most, rate, cap);
        for records in [1, 31, 32, 33, 100, 199, 200] {
            let known = Overflow::new(records, rate, cap);
            assert!(known.probability <= bound.probability && known.rate <= bound.rate);
        }
        assert_eq!(Overflow::of_at_most(32, rate, 32).probability, 0.0);
    }

    #[test]
    fn a_cap_of_all_records_never_overflows() {
        assert_eq!(Overflow::new(200, 0.5, 200).probability, 0.0);
        assert_eq!(above(5, 1.0, 4), 1.0);
    }
}
