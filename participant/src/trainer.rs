//! The work of one round on this organisation's records: noise first, then the clipped sum. Runs where it may block.

use std::sync::Arc;
use std::time::Instant;

use consort_contract::{Job, Plan};
use consort_model::Parameters;
use consort_privacy::{DiscreteGaussian, NoiseError, NoiseVector, RecordSum};
use consort_proto::convert::AttemptKey;
use consort_training::{Batch, Clipping, LossWeight, TrainingError, clipped_sum};
use rand_core::{CryptoRng, RngCore};

use crate::data::DataSet;

/// What a round needs of this organisation.
#[derive(Debug, Clone)]
pub struct TrainingTask {
    /// The attempt it belongs to.
    pub key: AttemptKey,
    /// The contract.
    pub agreed: Arc<(Job, Plan)>,
    /// The global model of the round.
    pub parameters: Arc<Parameters>,
    /// This organisation's records.
    pub data: Arc<DataSet>,
}

/// A sum and its noise, not yet paid for and not yet added up.
#[derive(Debug)]
pub struct Contribution {
    /// Σ of the clipped vectors of the records.
    pub sum: RecordSum,
    /// This member's part of the noise.
    pub noise: NoiseVector,
}

/// Why there is no contribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainingFault {
    /// The training engine.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The task ended without an answer.
    #[error(
        "the training task ended without an answer; look for an earlier message of this process"
    )]
    Lost,
}

impl TrainingFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Training(error) => error.code(),
            Self::Noise(error) => error.code(),
            Self::Lost => "training_lost",
        }
    }
}

impl TrainingTask {
    /// Does the work. The noise is drawn before the records are touched, so that the time it takes says nothing of them.
    ///
    /// # Errors
    /// [`TrainingFault`]; nothing was released.
    ///
    /// # Security
    /// `rng` must be the operating system's randomness: who can guess the noise can subtract it.
    pub fn run<R: RngCore + CryptoRng>(&self, rng: &mut R) -> Result<Contribution, TrainingFault> {
        let (job, plan) = &*self.agreed;
        let started = Instant::now();
        let noise = plan.noise();
        let elements = usize::try_from(noise.elements()).expect("a vector fits in memory");
        let noise = DiscreteGaussian::new(noise.member_variance()).sample_vector(elements, rng)?;
        let noise_took = started.elapsed();
        let inputs = u32::try_from(self.data.inputs()).unwrap_or(u32::MAX);
        let batch = Batch::new(self.data.features(), self.data.labels(), inputs)?;
        let weight = LossWeight::new(job.document().dp_fedsgd.loss_weight)?;
        let clipping = Clipping::new(plan.noise().grid(), weight);
        let cap = plan.noise().record_cap();
        let summed = clipped_sum(job.model(), &self.parameters, &batch, &clipping, cap)?;
        // For this organisation's own log: how long its data take is nobody else's matter.
        tracing::debug!(
            job = %self.key.job,
            round = self.key.round.0,
            noise_ms = noise_took.as_millis(),
            training_ms = started.elapsed().saturating_sub(noise_took).as_millis(),
            "trained"
        );
        if summed.zeroed > 0 {
            tracing::warn!(
                job = %self.key.job,
                round = self.key.round.0,
                records = summed.zeroed,
                "records that are not finite count as zero"
            );
        }
        Ok(Contribution {
            sum: summed.sum,
            noise,
        })
    }
}
