//! The work of one round on this organisation's records, one file for each algorithm, and one for jobs that ask: noise first, then
//! the records. Runs where it may block.

mod dp_fedsgd;
mod fedavg;
mod query;
mod sampling;
mod scaffold;

pub use dp_fedsgd::GradientSum;
pub use fedavg::LocalSteps;
pub use scaffold::Controls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use consort_aggregation::{EncodeError, EncodedUpdate};
use consort_contract::algorithm::EncodeFault;
use consort_contract::{Job, Plan, ServerStep};
use consort_model::{Parameters, ParametersError};
use consort_privacy::{Debit, DiscreteGaussian, NoiseError, NoiseVector, RecordSum, ReleaseError};
use consort_proto::convert::AttemptKey;
use consort_site::control::SiteControl;
use consort_training::{Batch, Clipping, LossWeight, TrainingError, clipped_sum, logits};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::data::DataSet;

/// What a round needs of this organisation.
#[derive(Debug, Clone)]
pub struct TrainingTask {
    /// The attempt it belongs to.
    pub key: AttemptKey,
    /// The contract.
    pub agreed: Arc<(Job, Plan)>,
    /// What the round begins with: the global model, and the control of all behind it where there is one.
    pub parameters: Arc<Parameters>,
    /// Where the job asks for SCAFFOLD.
    pub controls: Option<Controls>,
    /// This organisation's records.
    pub data: Arc<DataSet>,
}

/// What this organisation puts into a round: noised or with its noise beside it, and not yet paid for.
#[derive(Debug)]
pub enum Contribution {
    /// Of `dp_fedsgd`, or of a job that asks.
    Gradient(GradientSum),
    /// Of `fedavg`.
    Local(LocalSteps),
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
    /// Sum, noise and plan do not belong together.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A local step left the finite numbers.
    #[error("a local step diverged, lower the job's local learning rate: {0}")]
    Diverged(#[source] ParametersError),
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
            Self::Release(error) => error.code(),
            Self::Diverged(_) => "training_local_diverged",
            Self::Lost => "training_lost",
        }
    }
}

/// Why a contribution that was paid for is not in the ring.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodingFault {
    /// Contribution, plan and debit do not belong together.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Its integers do not fit.
    #[error(transparent)]
    Integers(#[from] EncodeError),
    /// Its real numbers cannot be rounded.
    #[error(transparent)]
    Values(#[from] EncodeFault),
}

impl EncodingFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Release(error) => error.code(),
            Self::Integers(error) => error.code(),
            Self::Values(error) => error.code(),
        }
    }
}

impl Contribution {
    /// The control that the round leaves, to be kept once it is paid for.
    pub fn control(&self) -> Option<&SiteControl> {
        match self {
            Self::Gradient(_) => None,
            Self::Local(steps) => steps.control.as_ref(),
        }
    }

    /// The way into the ring, against the debit of the round.
    ///
    /// # Errors
    /// [`EncodingFault`]; nothing leaves then, and the round stays spent.
    ///
    /// # Security
    /// `rng` must be as unpredictable as the operating system's.
    pub fn encode<R: RngCore + CryptoRng>(
        self,
        key: &AttemptKey,
        agreed: &(Job, Plan),
        debit: Debit,
        rng: &mut R,
    ) -> Result<EncodedUpdate, EncodingFault> {
        let (job, plan) = agreed;
        let (noise, schema) = (plan.noise(), plan.schema());
        match (self, plan.step()) {
            (Self::Gradient(sum), ServerStep::Gradient(_) | ServerStep::Report) => {
                sum.encode(noise, schema, debit)
            }
            (Self::Local(steps), ServerStep::Average(averaging)) => {
                let update = steps.update.release(noise, debit)?;
                let (model, round) = (job.model(), key.round.0);
                Ok(averaging.encode(&key.job, round, model, schema, update, rng)?)
            }
            (Self::Gradient(_), ServerStep::Average(_))
            | (Self::Local(_), ServerStep::Gradient(_) | ServerStep::Report) => {
                Err(ReleaseError::OtherSource.into())
            }
        }
    }
}

impl TrainingTask {
    /// Does the work.
    ///
    /// # Errors
    /// [`TrainingFault`]; nothing was released.
    ///
    /// # Security
    /// `rng` must be as unpredictable as the operating system's: who can guess the noise can subtract it.
    pub fn run<R: RngCore + CryptoRng>(&self, rng: &mut R) -> Result<Contribution, TrainingFault> {
        let mut watch = Stopwatch::started();
        let contribution = match self.agreed.1.step() {
            ServerStep::Gradient(_) | ServerStep::Report => {
                Contribution::Gradient(GradientSum::of(self, rng, &mut watch)?)
            }
            ServerStep::Average(averaging) => {
                Contribution::Local(LocalSteps::taken(self, averaging, rng, &mut watch)?)
            }
        };
        // For this organisation's own log: how long its data take is nobody else's matter.
        tracing::debug!(
            job = %self.key.job,
            round = self.key.round.0,
            noise_ms = watch.noise.as_millis(),
            training_ms = watch.started.elapsed().saturating_sub(watch.noise).as_millis(),
            "trained"
        );
        Ok(contribution)
    }

    /// One release's noise of this member.
    fn noise<R: RngCore + CryptoRng>(&self, rng: &mut R) -> Result<NoiseVector, NoiseError> {
        let plan = self.agreed.1.noise();
        let elements = usize::try_from(plan.elements()).expect("a vector fits in memory");
        DiscreteGaussian::new(plan.member_variance()).sample_vector(elements, rng)
    }

    /// Σ of the clipped vectors of all records at these parameters.
    fn clipped_sum(&self, parameters: &Parameters) -> Result<RecordSum, TrainingError> {
        self.clipped_sum_of(self.data.features(), self.data.labels(), parameters)
    }

    /// The same over a sample of them.
    fn clipped_sum_of(
        &self,
        features: &[f32],
        labels: &[f32],
        parameters: &Parameters,
    ) -> Result<RecordSum, TrainingError> {
        let (job, plan) = &*self.agreed;
        let inputs = u32::try_from(self.data.inputs()).unwrap_or(u32::MAX);
        let batch = Batch::new(features, labels, inputs)?;
        let weight = LossWeight::new(job.algorithm().records().loss_weight)?;
        let clipping = Clipping::new(plan.noise().grid(), weight);
        let cap = plan.noise().record_cap();
        let summed = match job.query() {
            None => clipped_sum(job.model(), parameters, &batch, &clipping, cap)?,
            Some(query) => {
                let logits = if query.reads_scores() {
                    logits(job.model(), parameters, &batch)?
                } else {
                    vec![0.0; batch.records()]
                };
                query::sum(
                    query,
                    &self.data,
                    &Zeroizing::new(logits),
                    (clipping.grid(), cap),
                )?
            }
        };
        if summed.zeroed > 0 {
            tracing::warn!(
                job = %self.key.job,
                round = self.key.round.0,
                records = summed.zeroed,
                "records that are not finite count as zero"
            );
        }
        Ok(summed.sum)
    }
}

/// How long a round's work takes, and its noise of that.
struct Stopwatch {
    started: Instant,
    noise: Duration,
}

impl Stopwatch {
    fn started() -> Self {
        Self {
            started: Instant::now(),
            noise: Duration::ZERO,
        }
    }

    fn noise<T>(&mut self, draw: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let drawn = draw();
        self.noise += started.elapsed();
        drawn
    }
}
