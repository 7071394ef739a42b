//! How long to wait before a link is opened again.

use std::time::Duration;

use rand_core::RngCore;

/// The first wait: a coordinator that restarts is back within a second.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait: a member is back five seconds after its coordinator, at the latest.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Doubling waits with jitter, so that members do not come back all at once.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self::from(FIRST)
    }

    /// Begins with another wait.
    pub(super) fn from(first: Duration) -> Self {
        Self { next: first }
    }

    /// A connection held.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Half to all of the current step, which doubles up to [`LONGEST`].
    pub(crate) fn next_wait(&mut self, rng: &mut impl RngCore) -> Duration {
        let step = self.next;
        self.next = (2 * step).min(LONGEST);
        step.mul_f64(0.5 + 0.5 * f64::from(rng.next_u32()) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn waits_double_to_five_seconds_and_start_again_after_a_success() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut backoff = Backoff::new();
        for expected_ms in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let step = Duration::from_millis(expected_ms);
            let wait = backoff.next_wait(&mut rng);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait(&mut rng) <= FIRST);
    }
}
