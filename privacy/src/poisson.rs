//! A batch of a step, drawn by secret coins: each record by itself, and of too many a random choice.
//!
//! Poisson sampling as the accountants know it, truncated as in Ganesh 2025 (arXiv 2508.15089). A permutation that is cut into
//! batches is another mechanism, for which their figures do not hold.

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::mechanism::Truncation;
use crate::quantity::{QuantityError, SamplingRate};

/// How a step takes its batch: public constants of the job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonBatches {
    rate: SamplingRate,
    truncation: Truncation,
}

impl PoissonBatches {
    /// Each record with probability `rate`, of those at most `max_batch`, from data sets of at most `most_records`. How many records a
    /// data set has is nobody else's to know: what is accounted holds for every number up to that.
    ///
    /// # Errors
    /// [`QuantityError`] if one of the numbers is 0.
    pub fn new(
        rate: SamplingRate,
        max_batch: u32,
        most_records: u32,
    ) -> Result<Self, QuantityError> {
        Ok(Self {
            rate,
            truncation: Truncation::of_at_most(max_batch, most_records)?,
        })
    }

    /// Probability of a record to be drawn.
    pub fn rate(&self) -> SamplingRate {
        self.rate
    }

    /// The cap, and for which data sets it is accounted.
    pub fn truncation(&self) -> Truncation {
        self.truncation
    }

    /// Draws a batch of these many records: their places, in order. It may be empty.
    ///
    /// A coin is 64 bits, of which ⌊rate·2^64⌋ values win: never more often than the rate that is accounted.
    ///
    /// # Security
    /// `rng` must be the system's randomness, never a seed that a job names: who can tell the coins knows which records took part, and
    /// the figures for sampled batches hold no more. How long the draw takes depends on the size of the batch alone.
    pub fn draw<R: RngCore + CryptoRng>(&self, records: u32, rng: &mut R) -> Zeroizing<Vec<u32>> {
        let winning = winning_coins(self.rate);
        let room = usize::try_from(records).unwrap_or(0);
        // All the room there may be: places that were drawn are not left behind by a vector that grows.
        let mut drawn = Zeroizing::new(Vec::with_capacity(room));
        for place in 0..records {
            if u128::from(rng.next_u64()) < winning {
                drawn.push(place);
            }
        }
        let cap = usize::try_from(self.truncation.max_batch()).unwrap_or(usize::MAX);
        if drawn.len() > cap {
            choose(&mut drawn, cap, rng);
        }
        drawn
    }
}

/// ⌊rate·2^64⌋. Multiplying by a power of two is exact.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is above 0 and at most 1; rounding down is what is asked for"
)]
fn winning_coins(rate: SamplingRate) -> u128 {
    (rate.value() * 2_f64.powi(64)) as u128
}

/// Keeps `count` of the places, each choice of so many as likely as any other, in order: the first steps of a Fisher-Yates shuffle.
fn choose<R: RngCore>(places: &mut Vec<u32>, count: usize, rng: &mut R) {
    for kept in 0..count {
        let others = places.len() - kept;
        places.swap(kept, kept + below(others, rng));
    }
    places.truncate(count);
    places.sort_unstable();
}

/// A number below `bound`, all equally likely: coins of the last, incomplete round through them are thrown again.
fn below<R: RngCore>(bound: usize, rng: &mut R) -> usize {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
    let whole = u64::MAX - u64::MAX % bound;
    loop {
        let coin = rng.next_u64();
        if coin < whole {
            return usize::try_from(coin % bound).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn batches(rate: f64, max_batch: u32, most_records: u32) -> PoissonBatches {
        PoissonBatches::new(SamplingRate::new(rate).unwrap(), max_batch, most_records).unwrap()
    }

    #[test]
    fn each_record_is_drawn_at_its_rate_and_independently_of_its_neighbour() {
        let (records, draws, rate) = (40_u32, 20_000_u32, 0.3);
        let batches = batches(rate, 40, 40);
        let mut rng = ChaCha20Rng::seed_from_u64(17);
        let mut taken = vec![0_u32; 40];
        let (mut pairs, mut squares) = (0_u32, 0.0);
        for _ in 0..draws {
            let batch = batches.draw(records, &mut rng);
            assert!(batch.windows(2).all(|pair| pair[0] < pair[1]));
            for place in batch.iter() {
                taken[*place as usize] += 1;
            }
            pairs += u32::from(batch.contains(&7) && batch.contains(&8));
            let off = f64::from(u32::try_from(batch.len()).unwrap()) - f64::from(records) * rate;
            squares += off * off;
        }
        // Six standard deviations of a binomial each.
        let within = |found: u32, p: f64| {
            let (mean, spread) = (
                f64::from(draws) * p,
                (f64::from(draws) * p * (1.0 - p)).sqrt(),
            );
            (f64::from(found) - mean).abs() <= 6.0 * spread
        };
        assert!(taken.iter().all(|found| within(*found, rate)), "{taken:?}");
        assert!(within(pairs, rate * rate), "{pairs}");
        // The size of a batch is binomial: its variance is 8.4, and the estimate of it is off by √(2/20 000) of that, six times.
        let variance = squares / f64::from(draws);
        assert!((variance - 8.4).abs() <= 6.0 * 0.01 * 8.4, "{variance}");
    }

    #[test]
    fn of_too_many_a_random_choice_is_kept_and_every_record_as_often_as_any_other() {
        let batches = batches(0.9, 3, 10);
        let mut rng = ChaCha20Rng::seed_from_u64(18);
        let mut taken = [0_u32; 10];
        let draws = 30_000;
        for _ in 0..draws {
            let batch = batches.draw(10, &mut rng);
            assert!(batch.len() <= 3 && batch.windows(2).all(|pair| pair[0] < pair[1]));
            for place in batch.iter() {
                taken[*place as usize] += 1;
            }
        }
        // Fewer than three of ten at 0.9 are drawn once in three million times: 0.3 each, six standard deviations.
        let spread = (f64::from(draws) * 0.3 * 0.7).sqrt();
        let even = |found: &u32| (f64::from(*found) - 0.3 * f64::from(draws)).abs() <= 6.0 * spread;
        assert!(taken.iter().all(even), "{taken:?}");
    }

    #[test]
    fn an_empty_batch_is_drawn_as_often_as_it_should_be_and_none_come_of_no_records() {
        let batches = batches(0.5, 4, 4);
        let mut rng = ChaCha20Rng::seed_from_u64(19);
        assert!(batches.draw(0, &mut rng).is_empty());
        let empty = (0..16_000).filter(|_| batches.draw(4, &mut rng).is_empty());
        // One in sixteen: 1000, with a deviation of 30.6.
        assert!((816..=1184).contains(&empty.count()));
    }

    #[test]
    fn a_coin_never_wins_more_often_than_the_rate_and_always_at_one() {
        assert_eq!(winning_coins(SamplingRate::FULL_BATCH), 1 << 64);
        let rate = SamplingRate::new(1.0 / 3.0).unwrap();
        assert_eq!(winning_coins(rate), 0x5555_5555_5555_5400);
        assert_eq!(winning_coins(SamplingRate::new(1e-30).unwrap()), 0);
        assert_eq!(
            batches(1.0, 9, 9)
                .draw(9, &mut ChaCha20Rng::seed_from_u64(1))
                .len(),
            9
        );
    }
}
