//! The private update: noised and paid for. The one thing that may be masked and sent under differential privacy.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::entry::DebitKey;
use crate::grid::RecordSum;
use crate::ledger::Debit;
use crate::noise::NoiseVector;
use crate::plan::NoisePlan;
use crate::source::NoiseSource;

/// A member's sum with its noise, after its debit.
///
/// # Security
/// It exists only if the sum lies on the plan's grid under the plan's cap, the noise has the plan's variance, and a
/// ledger booked this very round. Its noise is this member's share alone: it is private only inside a sum over n_min
/// members. So it has no wire form, no Serialize and no readable Debug, is wiped on drop, and is made to be masked:
///
/// ```compile_fail,E0599
/// # fn send(update: consort_privacy::PrivateUpdate) {
/// let bytes = update.to_bytes();
/// # }
/// ```
/// ```
/// # fn mask(update: consort_privacy::PrivateUpdate) {
/// let integers = update.into_integers();
/// # }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateUpdate {
    #[zeroize(skip)]
    key: DebitKey,
    values: Vec<i64>,
}

impl PrivateUpdate {
    /// Adds the noise to the sum against a debit. The debit is taken in any case: what was booked stays spent.
    ///
    /// # Errors
    /// [`ReleaseError`] if sum, noise or debit do not belong to the plan; all three are dropped.
    pub fn release(
        sum: RecordSum,
        noise: NoiseVector,
        plan: &NoisePlan,
        debit: Debit,
    ) -> Result<Self, ReleaseError> {
        match plan.target().source {
            NoiseSource::Cohort => {}
            NoiseSource::Site { .. } => return Err(ReleaseError::OtherSource),
        }
        check_parts(&sum, &noise, plan)?;
        if *debit.mechanism() != plan.round_mechanism() {
            return Err(ReleaseError::OtherDebit);
        }
        Ok(Self {
            key: debit.key().clone(),
            values: sum.with_noise(noise.values()),
        })
    }

    /// The attempt that was paid for; the update belongs to no other.
    pub fn key(&self) -> &DebitKey {
        &self.key
    }

    /// The integers, for the encoder whose result is masked.
    pub fn into_integers(mut self) -> Vec<i64> {
        std::mem::take(&mut self.values)
    }
}

/// Whether a sum and its noise are those of a release of the plan.
pub(crate) fn check_parts(
    sum: &RecordSum,
    noise: &NoiseVector,
    plan: &NoisePlan,
) -> Result<(), ReleaseError> {
    if sum.grid() != plan.grid() || sum.cap() != plan.record_cap() {
        return Err(ReleaseError::OtherGrid);
    }
    if sum.elements() as u64 != plan.elements() || noise.elements() != sum.elements() {
        return Err(ReleaseError::OtherLength);
    }
    if noise.variance() != plan.member_variance() {
        return Err(ReleaseError::OtherNoise);
    }
    Ok(())
}

/// Shows what it is for and its length.
impl fmt::Debug for PrivateUpdate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "PrivateUpdate({}, {} elements)",
            self.key,
            self.values.len()
        )
    }
}

/// Parts of a release that do not belong together: a bug of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The sum has another grid, clip norm or cap.
    #[error("the sum was made on another grid or cap than the plan's: report this as a bug")]
    OtherGrid,
    /// Sum or noise has another length.
    #[error("sum, noise and plan differ in length: report this as a bug")]
    OtherLength,
    /// The noise has another variance.
    #[error("the noise was drawn with another variance than the plan's: report this as a bug")]
    OtherNoise,
    /// The plan counts on the noise of others.
    #[error(
        "the plan counts on another source of noise than this release has: report this as a bug"
    )]
    OtherSource,
    /// A local model took another number of steps than its round has.
    #[error("{taken} noised steps were taken and the plan has {planned}: report this as a bug")]
    OtherSteps {
        /// Steps that the local model took.
        taken: u32,
        /// Steps of a round of the plan.
        planned: u32,
    },
    /// The steps of a local model were noised under another plan.
    #[error("the steps were noised under another plan than the round's: report this as a bug")]
    OtherPlan,
    /// The debit paid for something else.
    #[error("the debit paid for another release than a round of the plan: report this as a bug")]
    OtherDebit,
}

impl ReleaseError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherGrid => "privacy_release_other_grid",
            Self::OtherLength => "privacy_release_other_length",
            Self::OtherNoise => "privacy_release_other_noise",
            Self::OtherSource => "privacy_release_other_source",
            Self::OtherSteps { .. } => "privacy_release_other_steps",
            Self::OtherPlan => "privacy_release_other_plan",
            Self::OtherDebit => "privacy_release_other_debit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Account;
    use crate::grid::{ClipNorm, Grid, GridBits, RecordCap};
    use crate::ledger::{Cap, Ledger};
    use crate::mechanism::{Mechanism, Relation};
    use crate::noise::{DiscreteGaussian, NoiseVariance};
    use crate::plan::{GridChoice, PrivacyTarget, UpdateShape};
    use crate::quantity::{Delta, Epsilon, Steps};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn plan(elements: u64) -> NoisePlan {
        let target = PrivacyTarget {
            epsilon: Epsilon::new(1.0).unwrap(),
            delta: Delta::new(1e-5).unwrap(),
            rounds: Steps::new(20).unwrap(),
            relation: Relation::AddRemove,
            members: 5,
            n_min: 4,
            c_noise: 1,
            source: NoiseSource::Cohort,
            batches: None,
        };
        let shape = UpdateShape {
            elements,
            record_cap: RecordCap::new(100).unwrap(),
            clip: ClipNorm::new(1.0).unwrap(),
            grid: GridChoice::Coarsest,
        };
        NoisePlan::new(target, shape).unwrap()
    }

    fn debit(mechanism: Mechanism) -> Debit {
        let cap = Cap {
            epsilon: Epsilon::new(2.0).unwrap(),
            delta: Delta::new(1e-5).unwrap(),
        };
        let mut ledger = Ledger::new(Account::new("heart", "training").unwrap(), cap);
        let authorization = ledger
            .authorize(DebitKey::new("job", 1, 0).unwrap(), &mechanism)
            .unwrap();
        ledger.apply(authorization).unwrap()
    }

    fn noise(variance: NoiseVariance, elements: usize) -> NoiseVector {
        DiscreteGaussian::new(variance)
            .sample_vector(elements, &mut ChaCha20Rng::seed_from_u64(1))
            .unwrap()
    }

    fn sum(plan: &NoisePlan, elements: usize) -> RecordSum {
        let mut sum = RecordSum::new(plan.grid(), plan.record_cap(), elements);
        sum.add_record(&vec![0.25; elements]).unwrap();
        sum
    }

    #[test]
    fn a_release_is_the_sum_plus_the_noise() {
        let plan = plan(3);
        let drawn = noise(plan.member_variance(), 3).values().to_vec();
        let update = PrivateUpdate::release(
            sum(&plan, 3),
            noise(plan.member_variance(), 3),
            &plan,
            debit(plan.round_mechanism()),
        )
        .unwrap();
        assert_eq!(
            format!("{update:?}"),
            "PrivateUpdate(job job, round 1, attempt 0, 3 elements)"
        );
        let quarter = i64::try_from(plan.grid().bits().units() / 4).unwrap();
        let expected: Vec<i64> = drawn.iter().map(|noise| quarter + noise).collect();
        assert_eq!(update.into_integers(), expected);
    }

    #[test]
    fn parts_that_do_not_belong_to_the_plan_are_refused() {
        let plan = plan(3);
        let good = plan.member_variance();
        let release =
            |sum, noise, debit| PrivateUpdate::release(sum, noise, &plan, debit).unwrap_err();
        let other_grid = Grid::new(
            plan.grid().clip(),
            GridBits::new(plan.grid().bits().bits() + 1).unwrap(),
        );
        let foreign = RecordSum::new(other_grid, plan.record_cap(), 3);
        assert_eq!(
            release(foreign, noise(good, 3), debit(plan.round_mechanism())),
            ReleaseError::OtherGrid
        );
        assert_eq!(
            release(sum(&plan, 2), noise(good, 2), debit(plan.round_mechanism())),
            ReleaseError::OtherLength
        );
        assert_eq!(
            release(sum(&plan, 3), noise(good, 2), debit(plan.round_mechanism())),
            ReleaseError::OtherLength
        );
        let weak = NoiseVariance::new(1).unwrap();
        assert_eq!(
            release(sum(&plan, 3), noise(weak, 3), debit(plan.round_mechanism())),
            ReleaseError::OtherNoise
        );
        let more =
            crate::quantity::NoiseMultiplier::new(plan.noise_multiplier().value() + 1.0).unwrap();
        let round = plan.round_mechanism();
        let cheaper = Mechanism::new(
            more,
            round.sampling(),
            round.steps(),
            round.relation(),
            round.unit(),
        );
        assert_eq!(
            release(sum(&plan, 3), noise(good, 3), debit(cheaper)),
            ReleaseError::OtherDebit
        );
    }
}
