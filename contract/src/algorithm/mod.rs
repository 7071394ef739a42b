//! What a job does: trains by one of the strategies, each in a file of its own, or asks ([`crate::query`]); over the same rounds.

mod averaging;
mod dp_fedsgd;
mod fedavg;
mod sampling;
mod scaffold;
mod schedule;
mod server;

pub use averaging::{Averaging, EncodeFault, LOSS_RANGE};
pub use dp_fedsgd::DpFedSgd;
pub use fedavg::{FedAvg, MAX_LOCAL_STEPS, MAX_VALUE_BITS, MIN_VALUE_BITS, Rotation};
pub use sampling::Sampling;
pub use schedule::{CosineDecay, Decay, Schedule, StepDecay};
pub use server::{AdaptiveTerms, ServerOptimizerTerms};

use consort_aggregation::Canonical;
use consort_model::ModelSpec;
use consort_privacy::{NoiseSource, PoissonBatches, QuantityError, Steps};
use serde::{Deserialize, Serialize};

use crate::job::JobError;
use crate::query::{QUERY_CLIP, Query};
use schedule::{Rate, share};
pub(crate) use server::optimizer;

/// The algorithm of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    /// One clipped-gradient sum a round; the members' noise adds up.
    DpFedSgd(DpFedSgd),
    /// Noised local steps at each site; what they moved is averaged.
    FedAvg(FedAvg),
    /// One noised sum of query vectors; nothing is trained.
    Query(Query),
}

/// The kinds of job, as members' policies name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Trains a model.
    Training,
    /// Asks for statistics of columns.
    Stats,
    /// Asks how well a released model does.
    Evaluate,
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Stats => "stats",
            Self::Evaluate => "evaluate",
        })
    }
}

/// What every algorithm says about the records of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordTerms {
    /// C: largest L2 norm of one record's contribution to one sum.
    pub clip: f64,
    /// Share of a record's norm that the loss query may take; 0 asks no loss.
    pub loss_weight: f64,
    /// Most records of one member.
    pub max_records_per_member: u32,
}

impl Algorithm {
    /// Rounds of the job.
    pub fn rounds(&self) -> u32 {
        match self {
            Self::DpFedSgd(a) => a.rounds,
            Self::FedAvg(a) => a.rounds,
            Self::Query(_) => 1,
        }
    }

    /// Which kind of job it is.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::DpFedSgd(_) | Self::FedAvg(_) => JobKind::Training,
            Self::Query(Query::Stats(_)) => JobKind::Stats,
            Self::Query(Query::Evaluate(_)) => JobKind::Evaluate,
        }
    }

    /// What becomes of a record.
    pub fn records(&self) -> RecordTerms {
        match self {
            Self::DpFedSgd(a) => RecordTerms {
                clip: a.clip,
                loss_weight: a.loss_weight,
                max_records_per_member: a.max_records_per_member,
            },
            Self::FedAvg(a) => RecordTerms {
                clip: a.clip,
                loss_weight: a.loss_weight,
                max_records_per_member: a.max_records_per_member,
            },
            Self::Query(query) => RecordTerms {
                clip: QUERY_CLIP,
                loss_weight: 0.0,
                max_records_per_member: query.max_records_per_member(),
            },
        }
    }

    /// Whose noise keeps the promise.
    pub(crate) fn noise_source(&self) -> Result<NoiseSource, QuantityError> {
        match self {
            Self::DpFedSgd(_) | Self::Query(_) => Ok(NoiseSource::Cohort),
            Self::FedAvg(a) => Ok(NoiseSource::Site {
                steps: Steps::new(a.local_steps)?,
            }),
        }
    }

    /// How each sum takes its batch; nothing where all records are summed.
    pub(crate) fn batches(&self) -> Result<Option<PoissonBatches>, QuantityError> {
        match self {
            Self::DpFedSgd(a) => a
                .sampling
                .map(|sampling| sampling.batches(a.max_records_per_member))
                .transpose(),
            Self::FedAvg(_) | Self::Query(_) => Ok(None),
        }
    }

    /// Most records of one member in one sum.
    pub(crate) fn most_summed(&self) -> u32 {
        match self {
            Self::DpFedSgd(a) => a
                .sampling
                .map_or(a.max_records_per_member, |sampling| sampling.max_batch),
            Self::FedAvg(a) => a.max_records_per_member,
            Self::Query(query) => query.max_records_per_member(),
        }
    }

    /// The share of the server's learning rate in a round, counted from 1.
    pub fn rate_share(&self, round: u32) -> f32 {
        match self {
            Self::DpFedSgd(a) => share(a.schedule, round, a.rounds),
            Self::FedAvg(a) => share(a.schedule, round, a.rounds),
            Self::Query(_) => 1.0,
        }
    }

    /// The name of a field that every algorithm has, as it is written in the job.
    pub(crate) fn field(&self, field: RecordField) -> &'static str {
        match (self, field) {
            (Self::DpFedSgd(_), RecordField::Clip) => "dp_fedsgd.clip",
            (Self::DpFedSgd(_), RecordField::MaxRecords) => "dp_fedsgd.max_records_per_member",
            (Self::FedAvg(_), RecordField::Clip) => "fedavg.clip",
            (Self::FedAvg(_), RecordField::MaxRecords) => "fedavg.max_records_per_member",
            (Self::Query(_), RecordField::Clip) => "the norm of a query vector",
            (Self::Query(Query::Stats(_)), RecordField::MaxRecords) => {
                "stats.max_records_per_member"
            }
            (Self::Query(Query::Evaluate(_)), RecordField::MaxRecords) => {
                "evaluate.max_records_per_member"
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), JobError> {
        match self {
            Self::DpFedSgd(a) => a.check(),
            Self::FedAvg(a) => a.check(),
            Self::Query(query) => query.check(),
        }
    }

    /// Whether it may be asked of this model.
    pub(crate) fn check_model(&self, model: &ModelSpec) -> Result<(), JobError> {
        match self {
            Self::FedAvg(a) if a.scaffold => scaffold::check_model(model),
            Self::FedAvg(_) | Self::DpFedSgd(_) | Self::Query(_) => Ok(()),
        }
    }

    /// Its parts of the end of the job's hash: none in a job that asks for none of them.
    pub(crate) fn encode_options(&self, job: Canonical) -> Canonical {
        match self {
            Self::DpFedSgd(a) => a.encode_options(job),
            Self::FedAvg(a) => a.encode_options(job),
            Self::Query(_) => job,
        }
    }

    /// Its parts of the job's hash.
    pub(crate) fn encode(&self, job: Canonical) -> Canonical {
        match self {
            Self::DpFedSgd(a) => a.encode(job),
            Self::FedAvg(a) => a.encode(job),
            Self::Query(query) => query.encode(job),
        }
    }
}

/// A field that every algorithm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordField {
    Clip,
    MaxRecords,
}

/// One rule about a number of a job: whether it holds, the field, what it says, what it may say.
pub(crate) type NumberRule = (bool, &'static str, f64, &'static str);

/// The first rule that does not hold.
pub(crate) fn first_broken(rules: impl IntoIterator<Item = NumberRule>) -> Result<(), JobError> {
    match rules.into_iter().find(|(holds, ..)| !holds) {
        Some((_, field, value, range)) => Err(JobError::Range {
            field,
            value,
            range,
        }),
        None => Ok(()),
    }
}

pub(crate) fn positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}
