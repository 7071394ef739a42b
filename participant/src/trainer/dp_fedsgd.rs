//! `dp_fedsgd` at a site: one clipped sum of its records or of a sample of them, and its share of the noise beside it. A job that
//! asks has the same.

use consort_aggregation::{EncodedUpdate, VectorSchema};
use consort_privacy::{Debit, NoisePlan, NoiseVector, PrivateUpdate, RecordSum};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::sampling::Sample;
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
        let sum = match task.agreed.1.noise().target().batches {
            None => task.clipped_sum(&task.parameters)?,
            Some(batches) => {
                let sample = Sample::draw(&task.data, &batches, rng);
                task.clipped_sum_of(&sample.features, &sample.labels, &task.parameters)?
            }
        };
        Ok(Self { sum, noise })
    }

    /// The sum without its noise.
    #[cfg(test)]
    pub(crate) fn dangerous_into_integers(self) -> Vec<i64> {
        self.sum.dangerous_into_integers()
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
