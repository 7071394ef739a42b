//! `dp_fedsgd` at a site: one clipped sum of its records, and its share of the noise beside it. A job that asks has the same.

use consort_aggregation::{EncodedUpdate, VectorSchema};
use consort_privacy::{Debit, NoisePlan, NoiseVector, PrivateUpdate, RecordSum};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{EncodingFault, Stopwatch, TrainingFault, TrainingTask};

/// A sum and its noise, not yet paid for and not yet added up.
#[derive(Debug)]
pub struct GradientSum {
    sum: RecordSum,
    noise: NoiseVector,
}

impl GradientSum {
    /// The noise is drawn before the records are touched, so that the time it takes says nothing of them.
    pub(super) fn of<R: RngCore + CryptoRng>(
        task: &TrainingTask,
        rng: &mut R,
        watch: &mut Stopwatch,
    ) -> Result<Self, TrainingFault> {
        let noise = watch.noise(|| task.noise(rng))?;
        let sum = task.clipped_sum(&task.parameters)?;
        Ok(Self { sum, noise })
    }

    /// Adds sum and noise up against the debit.
    pub(super) fn encode(
        self,
        plan: &NoisePlan,
        schema: VectorSchema,
        debit: Debit,
    ) -> Result<EncodedUpdate, EncodingFault> {
        let update = PrivateUpdate::release(self.sum, self.noise, plan, debit)?;
        let integers = Zeroizing::new(update.into_integers());
        Ok(EncodedUpdate::from_integers(&integers, schema)?)
    }
}
