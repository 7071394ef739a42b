//! A learning rate over the rounds: linear warm-up, then a decay. Sums, products and quotients of binary32 alone, so that it is the
//! same number at every site and may enter what is hashed.

use consort_aggregation::Canonical;
use serde::{Deserialize, Serialize};

use super::first_broken;
use crate::job::JobError;
use crate::plan::narrow;

/// What share of its learning rate a job uses in each round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Rounds in which the rate rises in equal steps to the whole; below the job's rounds.
    #[serde(default)]
    pub warmup_rounds: u32,
    /// What follows.
    #[serde(default)]
    pub decay: Decay,
}

/// How a rate falls after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// By a factor each so many rounds.
    Step(StepDecay),
    /// Along half a cosine wave, by Bhaskara's rational form of it.
    Cosine(CosineDecay),
}

/// A factor each so many rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    /// Rounds between two falls.
    pub every: u32,
    /// What is left after a fall: above 0, at most 1.
    pub factor: f64,
}

/// Half a cosine wave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDecay {
    /// The share to which it would come one round after the last: 0 to 1.
    pub last: f64,
}

/// Which of a job's rates a schedule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    Server,
    Local,
}

/// The share of a rate in a round, counted from 1, of a job of so many.
pub(super) fn share(schedule: Option<Schedule>, round: u32, rounds: u32) -> f32 {
    schedule.map_or(1.0, |schedule| schedule.share(round, rounds))
}

impl Schedule {
    /// The share of the rate in a round, counted from 1, of a job of so many.
    pub fn share(&self, round: u32, rounds: u32) -> f32 {
        let warmup = self.warmup_rounds;
        if round <= warmup {
            return whole(round.into()) / whole(warmup.into());
        }
        let past = round.saturating_sub(warmup).saturating_sub(1);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Step(StepDecay { every, factor }) => {
                let falls = past.checked_div(every).unwrap_or(0);
                (0..falls).fold(1.0, |share, _| share * narrow(factor))
            }
            Decay::Cosine(CosineDecay { last }) => {
                let wave = half_wave(past, rounds.saturating_sub(warmup));
                let last = narrow(last);
                let falling = (1.0 - last) * wave;
                last + falling
            }
        }
    }

    pub(super) fn check(&self, of: Rate, rounds: u32) -> Result<(), JobError> {
        let [warmup_rounds, every, factor, last] = match of {
            Rate::Server => [
                "schedule.warmup_rounds",
                "schedule.decay.step.every",
                "schedule.decay.step.factor",
                "schedule.decay.cosine.last",
            ],
            Rate::Local => [
                "local_schedule.warmup_rounds",
                "local_schedule.decay.step.every",
                "local_schedule.decay.step.factor",
                "local_schedule.decay.cosine.last",
            ],
        };
        first_broken([(
            self.warmup_rounds < rounds,
            warmup_rounds,
            f64::from(self.warmup_rounds),
            "below the job's rounds",
        )])?;
        match self.decay {
            Decay::Constant => Ok(()),
            Decay::Step(step) => first_broken([
                (step.every >= 1, every, step.every.into(), "at least 1"),
                (
                    step.factor > 0.0 && step.factor <= 1.0,
                    factor,
                    step.factor,
                    "above 0 and at most 1",
                ),
            ]),
            Decay::Cosine(cosine) => first_broken([(
                (0.0..=1.0).contains(&cosine.last),
                last,
                cosine.last,
                "0 to 1",
            )]),
        }
    }

    pub(super) fn encode(&self, of: Rate, job: Canonical) -> Canonical {
        let label = match of {
            Rate::Server => "schedule",
            Rate::Local => "local_schedule",
        };
        let job = job.str(label).u64(self.warmup_rounds.into());
        match self.decay {
            Decay::Constant => job.str("constant"),
            Decay::Step(step) => job
                .str("step")
                .u64(step.every.into())
                .u64(step.factor.to_bits()),
            Decay::Cosine(cosine) => job.str("cosine").u64(cosine.last.to_bits()),
        }
    }
}

/// (1 + cos(πk/n))/2, which is cos² of half the angle, within 0.0024: with Bhaskara's cos(πx/2) ≈ 4(1 − x²)/(4 + x²), x = k/n,
/// it is (4(n² − k²)/(4n² + k²))², 1 at 0 and 0 at n.
fn half_wave(k: u32, n: u32) -> f32 {
    let (k, n) = (u64::from(k), u64::from(n.max(1)));
    let (k, n) = (k.min(n).pow(2), n.pow(2));
    let cosine = whole(4 * (n - k)) / whole(4 * n + k);
    cosine * cosine
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rounds to nearest even, the same on every machine"
)]
fn whole(integer: u64) -> f32 {
    integer as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(schedule: Schedule, rounds: u32) -> Vec<f32> {
        (1..=rounds)
            .map(|round| schedule.share(round, rounds))
            .collect()
    }

    #[test]
    fn a_rate_rises_in_equal_steps_and_then_falls_by_its_factor() {
        let schedule = Schedule {
            warmup_rounds: 4,
            decay: Decay::Step(StepDecay {
                every: 2,
                factor: 0.5,
            }),
        };
        let expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25];
        assert_eq!(shares(schedule, 9), expected);
    }

    #[test]
    fn the_rational_wave_stays_within_24_ten_thousandths_of_the_cosine() {
        let schedule = Schedule {
            warmup_rounds: 0,
            decay: Decay::Cosine(CosineDecay { last: 0.0 }),
        };
        for rounds in [1, 2, 3, 20, 997, 10_000] {
            let found = shares(schedule, rounds);
            assert_eq!(found[0], 1.0);
            // In ten thousand rounds the first differences are below what f32 tells apart.
            let fallen = |pair: &[f32]| pair[1] < pair[0] + 2_f32.powi(-22);
            assert!(found.windows(2).all(fallen));
            for (past, share) in (0_u32..).zip(found) {
                let angle = std::f64::consts::PI * f64::from(past) / f64::from(rounds);
                let wave = (1.0 + angle.cos()) / 2.0;
                assert!(
                    (f64::from(share) - wave).abs() < 0.0024,
                    "{past} of {rounds}"
                );
            }
        }
    }

    #[test]
    fn a_cosine_ends_at_its_last_share() {
        let schedule = Schedule {
            warmup_rounds: 1,
            decay: Decay::Cosine(CosineDecay { last: 0.25 }),
        };
        assert_eq!(schedule.share(1, 101), 1.0);
        assert_eq!(schedule.share(2, 101), 1.0);
        // One step before the wave's end: 1/100 of the way is left, where it is near (π/200)².
        assert!((schedule.share(101, 101) - 0.25).abs() < 3e-4);
    }
}
