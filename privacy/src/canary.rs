//! Canaries: made-up records of which each is planted or not by a coin, so that what a released model gives away of the coins bounds
//! epsilon from below.
//!
//! Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023, arXiv:2305.08846): whoever guesses more coins
//! right than (ε, δ) allows has shown that the mechanism does not keep (ε, δ). A canary here is a record whose clipped vector is all of the
//! clip norm on one coordinate of its own (section 5 of the paper: the easiest gradients to find again), with a sign of its own, in every full
//! batch. Any way to guess is valid; this one looks how far that coordinate of the model went.

use std::collections::BTreeSet;
use std::fmt;

use rand_core::{CryptoRng, RngCore};
use thiserror::Error;

use crate::grid::{GridError, RecordSum};
use crate::quantity::Delta;

/// Most canaries of a site.
pub const MAX_CANARIES: u32 = 100_000;

/// Shares of the canaries that are guessed, the surest first; a choice among so many tests is paid for by as many times less doubt.
const GUESSED: [f64; 4] = [0.125, 0.25, 0.5, 1.0];

/// No audit can show more: 2^-70 is a share of all guesses that nobody has.
const MOST_EPSILON: f64 = 50.0;

/// The canaries of a site in a job.
///
/// # Security
/// Whoever knows the coins before the model is released can tell the noise of the others, no record. They are drawn from the site's own
/// randomness and stay there.
pub struct Canaries(Vec<Canary>);

#[derive(Clone, Copy)]
struct Canary {
    coordinate: usize,
    positive: bool,
    planted: bool,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryAudit {
    /// Canaries that might have been planted.
    pub canaries: u32,
    /// Coins that were guessed, in the test that showed most.
    pub guesses: u32,
    /// Those that were guessed right.
    pub correct: u32,
    /// The greatest epsilon that is refuted: the mechanism keeps none below it. 0 where nothing is shown.
    pub epsilon: f64,
    /// Probability that a mechanism keeping (ε, δ) is not wrongly said to break it.
    pub confidence: f64,
}

/// Canaries that cannot be drawn or judged.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum CanaryError {
    /// More than there is room for.
    #[error(
        "{asked} canaries do not fit: each needs a parameter of its own, of {parameters} at most half are used, and a site has at most {MAX_CANARIES}; ask for fewer"
    )]
    Count {
        /// As many were asked for.
        asked: u32,
        /// Parameters of the model.
        parameters: usize,
    },
    /// A model of another shape.
    #[error(
        "a model of {found} parameters was given, and the canaries are on one of {expected}; name the model of this job"
    )]
    Model {
        /// Parameters of the job's model.
        expected: usize,
        /// Parameters that were given.
        found: usize,
    },
    /// A confidence that is no probability.
    #[error("the confidence is {0}; it must be above 0 and below 1, such as 0.95")]
    Confidence(f64),
}

impl CanaryError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Count { .. } => "canary_count",
            Self::Model { .. } => "canary_model",
            Self::Confidence(_) => "canary_confidence",
        }
    }
}

impl Canaries {
    /// So many canaries on a model of so many parameters, each on a coordinate of its own.
    ///
    /// # Errors
    /// [`CanaryError::Count`].
    pub fn draw<R: RngCore + CryptoRng>(
        count: u32,
        parameters: usize,
        rng: &mut R,
    ) -> Result<Self, CanaryError> {
        let wanted = count as usize;
        if count > MAX_CANARIES || wanted > parameters / 2 {
            return Err(CanaryError::Count {
                asked: count,
                parameters,
            });
        }
        let mut taken = BTreeSet::new();
        let mut canaries = Vec::with_capacity(wanted);
        while canaries.len() < wanted {
            let coordinate = below(parameters, rng);
            if taken.insert(coordinate) {
                let coins = rng.next_u32();
                canaries.push(Canary {
                    coordinate,
                    positive: coins & 1 == 1,
                    planted: coins & 2 == 2,
                });
            }
        }
        Ok(Self(canaries))
    }

    /// Adds those whose coin says so to a sum, as records of the clip norm's length.
    ///
    /// # Errors
    /// [`GridError::TooManyRecords`] where the cap has no room for them.
    pub fn plant(&self, sum: &mut RecordSum) -> Result<(), GridError> {
        let mut planted = self.0.iter().filter(|canary| canary.planted);
        planted.try_for_each(|canary| sum.add_on_axis(canary.coordinate, canary.positive))
    }

    /// Guesses the coins from the parameters before the first round and after the last, and says what that shows.
    ///
    /// The step of a round is against the gradient: a coordinate goes down where a positive canary was planted.
    ///
    /// # Errors
    /// [`CanaryError`] if parameters are missing, or the confidence is no probability.
    pub fn audit(
        &self,
        before: &[f32],
        after: &[f32],
        delta: Delta,
        confidence: f64,
    ) -> Result<CanaryAudit, CanaryError> {
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(CanaryError::Confidence(confidence));
        }
        if before.len() != after.len()
            || (self.0.iter()).any(|canary| canary.coordinate >= after.len())
        {
            return Err(CanaryError::Model {
                expected: before.len(),
                found: after.len(),
            });
        }
        let score = |canary: &Canary| {
            let way = f64::from(before[canary.coordinate]) - f64::from(after[canary.coordinate]);
            (if canary.positive { way } else { -way }, canary.planted)
        };
        let mut scores: Vec<(f64, bool)> = self.0.iter().map(score).collect();
        scores.sort_by(|one, other| other.0.total_cmp(&one.0));
        let canaries = scores.len();
        let doubt = (1.0 - confidence) / count(GUESSED.len());
        let tests = GUESSED.map(|share| {
            let half = half_of(canaries, share);
            let planted = scores[..half].iter().filter(|(_, planted)| *planted);
            let left_out = scores[canaries - half..]
                .iter()
                .filter(|(_, planted)| !planted);
            let (guesses, correct) = (2 * half, planted.count() + left_out.count());
            let epsilon = refuted(canaries, guesses, correct, delta.value(), doubt);
            CanaryAudit {
                canaries: small(canaries),
                guesses: small(guesses),
                correct: small(correct),
                epsilon,
                confidence,
            }
        });
        let [first, rest @ ..] = tests;
        let better = |best: CanaryAudit, test: CanaryAudit| {
            if test.epsilon > best.epsilon {
                test
            } else {
                best
            }
        };
        Ok(rest.into_iter().fold(first, better))
    }
}

/// Shows how many there are.
impl fmt::Debug for Canaries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Canaries({})", self.0.len())
    }
}

/// A number below `bound`, each as likely as the others (Lemire 2019, with its rejection).
fn below<R: RngCore>(bound: usize, rng: &mut R) -> usize {
    let bound = bound as u64;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        // The low half decides whether this multiple is one too many.
        if low(product) >= bound.wrapping_neg() % bound {
            return usize::try_from(product >> 64).expect("below a usize");
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(product: u128) -> u64 {
    product as u64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of at most 100 000"
)]
fn half_of(canaries: usize, share: f64) -> usize {
    (canaries as f64 * share / 2.0) as usize
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("at most MAX_CANARIES")
}

#[expect(clippy::cast_precision_loss, reason = "at most 100 000")]
fn count(count: usize) -> f64 {
    count as f64
}

/// The greatest ε for which so many right guesses have a probability below `doubt` under every mechanism that keeps (ε, δ).
fn refuted(canaries: usize, guesses: usize, correct: usize, delta: f64, doubt: f64) -> f64 {
    let logs = LogFactorials::new(guesses);
    let is_refuted =
        |epsilon: f64| logs.p_value(canaries, guesses, correct, epsilon, delta) < doubt;
    if !is_refuted(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, MOST_EPSILON);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_refuted(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// ln 0! to ln n!.
struct LogFactorials(Vec<f64>);

impl LogFactorials {
    fn new(most: usize) -> Self {
        let mut sum = 0.0;
        let logs = (1..=most).map(|number| {
            sum += count(number).ln();
            sum
        });
        Self(std::iter::once(0.0).chain(logs).collect())
    }

    /// The probability of so many successes in so many trials, each with the probability e^ε/(1 + e^ε).
    fn binomial(&self, trials: usize, successes: usize, epsilon: f64) -> f64 {
        let ways = self.0[trials] - self.0[successes] - self.0[trials - successes];
        let failure = -(epsilon.exp().ln_1p());
        let success = epsilon + failure;
        let successes_and_failures =
            count(successes) * success + count(trials - successes) * failure;
        (ways + successes_and_failures).exp()
    }

    /// Theorem 5.2 and its computation in appendix D: the probability of at least `correct` right guesses, for pure ε, plus
    /// what δ adds, 2·m·δ times the largest mean mass of the binomial on a stretch right below `correct`.
    fn p_value(
        &self,
        canaries: usize,
        guesses: usize,
        correct: usize,
        epsilon: f64,
        delta: f64,
    ) -> f64 {
        let mass = |successes| self.binomial(guesses, successes, epsilon);
        let pure: f64 = (correct..=guesses).map(mass).sum();
        let (mut below, mut steepest) = (0.0, 0.0_f64);
        for length in 1..=correct {
            below += mass(correct - length);
            steepest = steepest.max(below / count(length));
        }
        (pure + steepest * delta * 2.0 * count(canaries)).min(1.0)
    }
}

#[cfg(test)]
#[path = "canary_tests.rs"]
mod tests;
