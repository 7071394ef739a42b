//! What `fedavg` does with an update: a member's way into the ring, and the server's way from the sum to the next model.

use std::num::NonZeroUsize;

use consort_aggregation::{
    EncodeError, EncodedUpdate, FixedPoint, FixedPointError, Layer, Quantisation, RotationSeed,
    UpdateBuilder, VectorSchema,
};
use consort_model::{
    AverageRule, LOSS_CAP, ModelSpec, OptimizerState, Scaffold, ServerOptimizer, StepError,
};
use consort_privacy::{LocalRule, PrivateModelUpdate};
use rand_core::{CryptoRng, RngCore};

use super::schedule::{Schedule, share};
use super::{FedAvg, optimizer};
use crate::job::Job;
use crate::organisation::JobId;
use crate::plan::{PlanError, field, narrow};

/// Largest mean loss of a site that the last element carries, in nats: four times [`LOSS_CAP`], because it comes with noise on it
/// and what is cut off would be a bias.
pub const LOSS_RANGE: f64 = 4.0 * LOSS_CAP;

/// The public constants of a job's updates and of the server's step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averaging {
    local: LocalRule,
    local_schedule: Option<Schedule>,
    rounds: u32,
    local_steps: u32,
    step: AverageRule,
    update_clip: f64,
    range: f64,
    values: Quantisation,
    /// Nats of the mean loss for one clip norm of the loss query's sum; nothing when no loss is asked.
    nats: Option<f64>,
}

/// Why an update is not in the ring. Nothing left.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeFault {
    /// The real numbers.
    #[error(transparent)]
    Values(#[from] FixedPointError),
    /// The integers.
    #[error(transparent)]
    Integers(#[from] EncodeError),
}

impl EncodeFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Values(error) => error.code(),
            Self::Integers(error) => error.code(),
        }
    }
}

impl Averaging {
    pub(crate) fn new(a: &FedAvg) -> Result<Self, PlanError> {
        let nats = LOSS_CAP / (a.loss_weight * a.local_divisor);
        if a.loss_weight > 0.0 && !nats.is_finite() {
            let problem = "it is too small to be divided by; 0 asks no loss";
            return Err(field("fedavg.loss_weight", &problem));
        }
        let averaging = Self {
            local: local_rule(a)?,
            local_schedule: a.local_schedule,
            rounds: a.rounds,
            local_steps: a.local_steps,
            step: AverageRule::new(
                narrow(a.learning_rate),
                optimizer(a.momentum, a.server_optimizer)?,
            )?,
            update_clip: a.update_clip,
            range: a.value_range(),
            values: a.quantisation(),
            nats: (a.loss_weight > 0.0).then_some(nats),
        };
        averaging
            .coder(None)
            .map_err(|error| field("fedavg.value_range", &error))?;
        Ok(averaging)
    }

    /// How a noised sum moves a local model in this round.
    pub fn local_rule(&self, round: u32) -> LocalRule {
        self.local
            .scaled(share(self.local_schedule, round, self.rounds))
    }

    /// K·η_l: the learning rates of the round's local steps together.
    pub fn local_way(&self, round: u32) -> f32 {
        narrow(f64::from(self.local_steps)) * self.local_rule(round).learning_rate()
    }

    /// Largest L2 norm of one member's update.
    pub fn update_clip(&self) -> f64 {
        self.update_clip
    }

    /// Q, and whether updates are rotated.
    pub fn quantisation(&self) -> Quantisation {
        self.values
    }

    /// Clips, rotates and rounds an update that was paid for, and its loss query after it.
    ///
    /// # Errors
    /// [`EncodeFault`]: training has diverged, and the first layer with a NaN or infinity is named; or the vector is not of the
    /// schema.
    ///
    /// # Security
    /// `rng` must be the system's randomness. Rounding comes after the noise: it protects the average's expectation, not records.
    pub fn encode<R: RngCore + CryptoRng>(
        &self,
        job: &JobId,
        round: u32,
        model: &ModelSpec,
        schema: VectorSchema,
        update: PrivateModelUpdate,
        rng: &mut R,
    ) -> Result<EncodedUpdate, EncodeFault> {
        let layout = model.layout();
        let layers: Vec<Layer<'_>> = layout
            .tensors()
            .iter()
            .map(|tensor| Layer {
                name: &tensor.name,
                elements: tensor.range().len(),
            })
            .collect();
        let (mut values, loss) = update.into_values();
        let mut builder = UpdateBuilder::new(schema);
        // The builder keeps the first refusal and gives it at its end.
        self.coder(self.rotation(job, round))?
            .encode(&mut values, &layers, rng, |piece| {
                builder.push(piece).ok();
            })?;
        let nats = loss * self.nats.unwrap_or(0.0);
        let mut loss = [narrow(nats.clamp(-LOSS_RANGE, LOSS_RANGE))];
        let query = Layer {
            name: "loss query",
            elements: 1,
        };
        self.loss_coder()?
            .encode(&mut loss, &[query], rng, |piece| {
                builder.push(piece).ok();
            })?;
        Ok(builder.finish()?)
    }

    /// The server's step by the survivors' average of a job's round, and the loss that the last element tells.
    ///
    /// # Errors
    /// [`StepError`] when the sum does not fit the model or the step diverges.
    pub(crate) fn advance(
        &self,
        of: (&JobId, &Job),
        round: u32,
        state: &OptimizerState,
        sum: &[i64],
        survivors: u32,
        workers: NonZeroUsize,
    ) -> Result<(OptimizerState, Option<f64>), StepError> {
        let (id, job) = of;
        let (loss, update) = sum
            .split_last()
            .expect("a schema has the loss element at least");
        let average = self
            .coder(self.rotation(id, round))
            .expect("the plan has made this coder")
            .decode_average_with(update, survivors, workers);
        let mut rule = self.step.scaled(job.algorithm().rate_share(round));
        if job.has_control() {
            let members = job.thresholds().cohort();
            let scaffold = Scaffold::of_round(survivors, members, self.local_way(round))?;
            rule = rule.optimized_by(ServerOptimizer::Scaffold(scaffold));
        }
        let stepped = state.step_by_average(&rule, average, workers)?;
        Ok((stepped, self.noised_loss(*loss, survivors)))
    }

    /// Mean over the survivors of each one's mean loss over the local divisor, noised.
    pub(crate) fn noised_loss(&self, sum: i64, survivors: u32) -> Option<f64> {
        let coder = self.loss_coder().ok()?;
        let mean = coder.decode_average(&[sum], survivors);
        self.nats
            .and_then(|_| mean.first().map(|loss| f64::from(*loss)))
    }

    fn rotation(&self, job: &JobId, round: u32) -> Option<RotationSeed> {
        self.values
            .rotated
            .then(|| RotationSeed::of_round(job.as_str(), round))
    }

    fn coder(&self, rotation: Option<RotationSeed>) -> Result<FixedPoint, FixedPointError> {
        let q = self.values.quantised;
        FixedPoint::new(self.update_clip, self.range, q, rotation)
    }

    /// One element by itself: neither clipped with the update nor rotated into it.
    fn loss_coder(&self) -> Result<FixedPoint, FixedPointError> {
        FixedPoint::new(LOSS_RANGE, LOSS_RANGE, self.values.quantised, None)
    }
}

fn local_rule(a: &FedAvg) -> Result<LocalRule, PlanError> {
    let plain = LocalRule::new(narrow(a.local_learning_rate), narrow(a.local_divisor))?;
    Ok(match a.proximal {
        None => plain,
        Some(proximal) => plain.with_proximal(narrow(proximal))?,
    })
}
