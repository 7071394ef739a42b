//! SCAFFOLD's control of this site, on disk: by job, as it was before the newest paid round and as that round leaves it.

use consort_contract::JobId;
use zeroize::Zeroizing;

use crate::state::{SiteState, StateFault};

/// Where controls lie in the state file, by job.
pub(crate) const CONTROLS: &str = "controls";

/// Bytes of the hash in front.
const HASH_BYTES: usize = 32;

/// The control of a site around the newest round that it paid for.
///
/// # Security
/// Made of noised sums that were paid for, and still one site's own: it never leaves, has no readable Debug, and is wiped on drop.
pub struct SiteControl {
    trained_on: [u8; HASH_BYTES],
    before: Zeroizing<Vec<f32>>,
    after: Zeroizing<Vec<f32>>,
}

impl SiteControl {
    /// A control that was `before` in a round that began with this announced model, and is `after` if the round was released.
    pub fn around(
        trained_on: [u8; HASH_BYTES],
        before: Zeroizing<Vec<f32>>,
        after: Zeroizing<Vec<f32>>,
    ) -> Self {
        Self {
            trained_on,
            before,
            after,
        }
    }

    /// The control for a round that begins with this model: another model than the newest paid round began with says that it was
    /// released.
    pub fn at(self, model: &[u8; HASH_BYTES]) -> Zeroizing<Vec<f32>> {
        if self.trained_on == *model {
            self.before
        } else {
            self.after
        }
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let values = self.before.iter().chain(self.after.iter());
        let mut bytes = Vec::with_capacity(HASH_BYTES + 8 * self.before.len());
        bytes.extend_from_slice(&self.trained_on);
        for value in values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Zeroizing::new(bytes)
    }

    /// Two vectors of so many finite values behind a hash.
    fn from_bytes(bytes: &[u8], parameters: usize) -> Option<Self> {
        let (trained_on, values) = bytes.split_first_chunk::<HASH_BYTES>()?;
        let (words, rest) = values.as_chunks::<4>();
        if !rest.is_empty() || words.len() != parameters.checked_mul(2)? {
            return None;
        }
        let read = |words: &[[u8; 4]]| -> Zeroizing<Vec<f32>> {
            Zeroizing::new(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        };
        let (before, after) = words.split_at(parameters);
        let control = Self::around(*trained_on, read(before), read(after));
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        (finite(&control.before) && finite(&control.after)).then_some(control)
    }
}

/// Shows the length only.
impl std::fmt::Debug for SiteControl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SiteControl({} values)", self.before.len())
    }
}

impl SiteState {
    /// Keeps the control of a job's newest paid round.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn keep_control(&self, job: &JobId, control: &SiteControl) -> Result<(), StateFault> {
        self.put(CONTROLS, job, &control.to_bytes())
    }

    /// The control of a job whose model has so many parameters, if one was kept.
    ///
    /// # Errors
    /// [`StateFault`] when the disk failed or the record is damaged.
    pub fn control(
        &self,
        job: &JobId,
        parameters: usize,
    ) -> Result<Option<SiteControl>, StateFault> {
        let Some((key, bytes)) = self.get(CONTROLS, job)? else {
            return Ok(None);
        };
        let control = SiteControl::from_bytes(&Zeroizing::new(bytes), parameters);
        control.map(Some).ok_or(StateFault::Damaged(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_storage::EmbeddedStore;
    use std::sync::Arc;

    fn control() -> SiteControl {
        let [before, after] = [[1.0, -2.0], [0.5, 0.25]].map(|v| Zeroizing::new(v.to_vec()));
        SiteControl::around([7; 32], before, after)
    }

    #[test]
    fn a_control_is_there_after_a_restart_and_is_the_older_one_for_a_round_on_the_same_model() {
        let folder = tempfile::tempdir().unwrap();
        let job = JobId::new("job-1").unwrap();
        let opened = || {
            let store = EmbeddedStore::open(folder.path().join("state.redb")).unwrap();
            SiteState::open(Arc::new(store)).unwrap()
        };
        assert!(opened().control(&job, 2).unwrap().is_none());
        opened().keep_control(&job, &control()).unwrap();
        let kept = |model| opened().control(&job, 2).unwrap().unwrap().at(&model);
        assert_eq!(*kept([7; 32]), [1.0, -2.0]);
        assert_eq!(*kept([8; 32]), [0.5, 0.25]);
        let damaged = opened().control(&job, 3).unwrap_err();
        assert_eq!(damaged.code(), "state_damaged");
    }

    #[test]
    fn a_control_that_is_cut_or_not_finite_is_refused_and_its_debug_shows_no_value() {
        let bytes = control().to_bytes();
        assert!(SiteControl::from_bytes(&bytes, 2).is_some());
        for length in 0..bytes.len() {
            assert!(SiteControl::from_bytes(&bytes[..length], 2).is_none());
        }
        let mut changed = bytes.to_vec();
        changed[32..36].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(SiteControl::from_bytes(&changed, 2).is_none());
        assert_eq!(format!("{:?}", control()), "SiteControl(2 values)");
    }
}
