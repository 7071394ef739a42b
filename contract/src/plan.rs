//! What follows from a job: noise, grid, width, and what each coalition would learn. Computed by the coordinator, computed
//! again by every member, and part of the contract that they vote on.

use std::num::NonZeroUsize;

use consort_aggregation::{Canonical, Digest, VectorSchema, Width, width_for};
use consort_model::{LOSS_CAP, OptimizerState, StepError, StepRule};
use consort_privacy::{
    ClipNorm, Delta, Epsilon, GridBits, GridChoice, LocalRuleError, NoiseMultiplier, NoisePlan,
    PrivacyTarget, QuantityError, RecordCap, Relation, Steps, UpdateShape,
};

use crate::algorithm::{Algorithm, Averaging, RecordField, optimizer};
use crate::job::Job;
use crate::organisation::JobId;

/// The numbers of a contract that its author does not choose. A value of this type follows from its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    noise: NoisePlan,
    schema: VectorSchema,
    step: ServerStep,
}

/// How the sum of a round becomes the next model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ServerStep {
    /// `dp_fedsgd`: the sum is a gradient.
    Gradient(StepRule),
    /// `fedavg`: the sum is one of model updates, whose average is taken.
    Average(Averaging),
    /// A query: the sum is its answer, and the model, if it asks about one, stays what it is.
    Report,
}

/// Why a job has no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A quantity of the promise is out of range.
    #[error("the promise cannot be met: {0}")]
    Quantity(#[from] QuantityError),
    /// The noise cannot be planned.
    #[error("the noise cannot be planned: {0}")]
    Noise(#[from] consort_privacy::PlanError),
    /// The clip, records or grid are out of range.
    #[error("{field} cannot be honoured: {problem}")]
    Field {
        /// The field, as it is written in the job.
        field: &'static str,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The sum would not fit 64 bits.
    #[error("the sum would not fit: {0}; lower max_records_per_member or name fewer members")]
    Width(#[from] consort_aggregation::PlanError),
    /// The server step's constants are out of range.
    #[error("the server step cannot be taken: {0}")]
    Step(#[from] StepError),
    /// The local steps' constants are out of range.
    #[error("the local steps cannot be taken: {0}")]
    Local(#[from] LocalRuleError),
}

impl PlanError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Quantity(error) => error.code(),
            Self::Noise(error) => error.code(),
            Self::Field { .. } => "plan_field_out_of_range",
            Self::Width(error) => error.code(),
            Self::Step(error) => error.code(),
            Self::Local(error) => error.code(),
        }
    }
}

impl Plan {
    /// Plans a job with the least noise that keeps its promise, on the coarsest grid that carries it.
    ///
    /// # Errors
    /// [`PlanError`] names what cannot be met.
    pub fn derive(job: &Job) -> Result<Self, PlanError> {
        Self::of(
            job,
            NoisePlan::new(target(job)?, shape(job, GridChoice::Coarsest)?)?,
        )
    }

    /// Computes the plan again from the two numbers that were chosen: the noise multiplier and the grid.
    ///
    /// # Errors
    /// [`PlanError`] names what cannot be met, first of all a noise that does not keep the job's promise.
    pub fn with_noise(job: &Job, sigma: f64, grid_bits: u8) -> Result<Self, PlanError> {
        let bits = GridBits::new(grid_bits).map_err(|error| field("plan.grid_bits", &error))?;
        let shape = shape(job, GridChoice::Bits(bits))?;
        Self::of(
            job,
            NoisePlan::with_noise_multiplier(target(job)?, shape, NoiseMultiplier::new(sigma)?)?,
        )
    }

    fn of(job: &Job, noise: NoisePlan) -> Result<Self, PlanError> {
        let members = job.thresholds().cohort();
        let elements = job.elements();
        let (schema, step) = match job.algorithm() {
            Algorithm::DpFedSgd(a) => {
                let width = width_for(members, noise.value_bound(), noise.noise_bound())?;
                let step = StepRule::new(
                    narrow(a.learning_rate),
                    optimizer(a.momentum, a.server_optimizer)?,
                    narrow(a.clip),
                    noise.grid().bits().bits(),
                    narrow(a.divisor),
                )?;
                let schema = VectorSchema::new(elements, width)?;
                (schema, ServerStep::Gradient(step))
            }
            Algorithm::Query(_) => {
                let width = width_for(members, noise.value_bound(), noise.noise_bound())?;
                (VectorSchema::new(elements, width)?, ServerStep::Report)
            }
            Algorithm::FedAvg(a) => {
                // The noise is in the update before it is limited to Q.
                let step = Averaging::new(a)?;
                let values = step.quantisation();
                let width = width_for(members, values.quantised.into(), 0)?;
                let schema = VectorSchema::new(elements, width)?.of_values(values);
                (schema, ServerStep::Average(step))
            }
        };
        Ok(Self {
            noise,
            schema,
            step,
        })
    }

    /// The noise: multiplier, grid, variance of one member, epsilon by coalition.
    pub fn noise(&self) -> &NoisePlan {
        &self.noise
    }

    /// The vector that a round sums: the gradient, then one element for the loss query; or the query vector.
    pub fn schema(&self) -> VectorSchema {
        self.schema
    }

    /// w: width of an element.
    pub fn width(&self) -> Width {
        self.schema.width()
    }

    /// The server step's constants.
    pub fn step(&self) -> &ServerStep {
        &self.step
    }

    /// The server's step on the sum over this many survivors, and the loss that its last element tells. So many threads may work on
    /// it, which changes no bit.
    ///
    /// # Errors
    /// [`StepError`] when the sum does not fit the model or the training has diverged.
    pub fn advance(
        &self,
        job: (&JobId, &Job),
        round: u32,
        state: &OptimizerState,
        sum: &[i64],
        survivors: u32,
        workers: NonZeroUsize,
    ) -> Result<(OptimizerState, Option<f64>), StepError> {
        let (id, job) = job;
        match &self.step {
            ServerStep::Gradient(rule) => {
                let (loss, gradient) = sum
                    .split_last()
                    .expect("a schema has the loss element at least");
                let loss = self.noised_loss(job, *loss, survivors);
                let rule = rule.scaled(job.algorithm().rate_share(round));
                Ok((state.step(&rule, gradient)?, loss))
            }
            ServerStep::Average(averaging) => {
                averaging.advance((id, job), round, state, sum, survivors, workers)
            }
            ServerStep::Report => Ok((state.clone(), None)),
        }
    }

    /// Mean loss over the job's divisor, from the last element of a sum over this many survivors: noised, and each record's
    /// loss limited to [`LOSS_CAP`]. `None` when the job has no loss query.
    pub fn noised_loss(&self, job: &Job, sum: i64, survivors: u32) -> Option<f64> {
        match &self.step {
            ServerStep::Gradient(rule) => {
                let records = job.algorithm().records();
                (records.loss_weight > 0.0).then(|| {
                    f64::from(rule.mean(sum)) * LOSS_CAP / (records.loss_weight * records.clip)
                })
            }
            ServerStep::Average(averaging) => averaging.noised_loss(sum, survivors),
            ServerStep::Report => None,
        }
    }

    /// The contract: what the members vote on and every round context contains.
    pub fn contract_hash(&self, job: &Job) -> Digest {
        Canonical::new("consort/contract/v1")
            .bytes(job.hash().as_bytes())
            .u64(self.noise.noise_multiplier().ten_thousandths_up())
            .u64(self.noise.grid().bits().bits().into())
            .u64(self.noise.member_variance().sigma_squared())
            .u64(self.noise.noise_bound())
            .bytes(self.schema.hash().as_bytes())
            .hash()
    }
}

fn target(job: &Job) -> Result<PrivacyTarget, PlanError> {
    let privacy = &job.document().privacy;
    Ok(PrivacyTarget {
        epsilon: Epsilon::new(privacy.epsilon)?,
        delta: Delta::new(privacy.delta)?,
        rounds: Steps::new(job.algorithm().rounds())?,
        relation: Relation::AddRemove,
        members: job.thresholds().cohort(),
        n_min: job.thresholds().minimum(),
        c_noise: privacy.c_noise,
        source: job.algorithm().noise_source()?,
        batches: job.algorithm().batches()?,
    })
}

fn shape(job: &Job, grid: GridChoice) -> Result<UpdateShape, PlanError> {
    let algorithm = job.algorithm();
    let records = algorithm.records();
    let named = |name| algorithm.field(name);
    Ok(UpdateShape {
        elements: job.elements(),
        record_cap: RecordCap::new(algorithm.most_summed())
            .map_err(|e| field(named(RecordField::MaxRecords), &e))?,
        clip: ClipNorm::new(narrow(records.clip))
            .map_err(|e| field(named(RecordField::Clip), &e))?,
        grid,
    })
}

pub(crate) fn field(field: &'static str, problem: &dyn std::fmt::Display) -> PlanError {
    PlanError::Field {
        field,
        problem: problem.to_string(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "training is done in f32; every member rounds the same way"
)]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}
