//! The job document: what is to be trained, on what, under which promise. Data, never code.

use std::collections::BTreeSet;

use consort_aggregation::{Canonical, Digest};
use consort_model::{InitialSeed, Layer, Loss, ModelSpec, SpecError};
use serde::{Deserialize, Serialize};

use crate::features::DataSchema;
use crate::organisation::{Label, OrganisationId};
use crate::thresholds::{Thresholds, ThresholdsError};

/// Most rounds of a job: accounting and audit stay readable, and full-batch training is done long before.
pub const MAX_ROUNDS: u32 = 10_000;

/// Most records of one member per round: 2^22, so that grid sums fit 63 bits with room (see `consort_privacy::RecordSum`).
pub const MAX_RECORDS_PER_MEMBER: u32 = 1 << 22;

/// A job as its author writes it (JSON or gRPC). Unknown fields are refused; [`Job::new`] checks the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDocument {
    /// Short name.
    pub name: Label,
    /// What the model is for; members' policies name the purposes they allow.
    pub purpose: Label,
    /// Name of the data set at every member.
    pub dataset: Label,
    /// Members of the roster.
    pub members: Vec<OrganisationId>,
    /// Columns and target.
    pub data: DataSchema,
    /// The architecture; its inputs follow from the features.
    pub model: ModelDocument,
    /// How it is trained.
    pub dp_fedsgd: DpFedSgd,
    /// What is promised.
    pub privacy: PrivacyDocument,
    /// How many must stand; defaults follow from the number of members.
    #[serde(default)]
    pub aggregation: AggregationDocument,
    /// How long the coordinator waits.
    #[serde(default)]
    pub deadlines: DeadlineDocument,
}

/// Layers and loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    /// From the inputs to the output.
    pub layers: Vec<Layer>,
    /// What is minimised.
    pub loss: Loss,
    /// From which the initial parameters are drawn; 32 bytes, hexadecimal, public.
    #[serde(default = "zero_seed", with = "crate::roster::hex_array")]
    pub seed: [u8; 32],
}

fn zero_seed() -> [u8; 32] {
    [0; 32]
}

/// One clipped-gradient sum per round over full batches, noise shared by the members, momentum at the server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpFedSgd {
    /// Rounds.
    pub rounds: u32,
    /// C: largest L2 norm of one record's contribution.
    pub clip: f64,
    /// Step size of the server.
    pub learning_rate: f64,
    /// Momentum of the server.
    pub momentum: f64,
    /// What the noised sum is divided by: a public constant.
    pub divisor: f64,
    /// Share of a record's norm that the loss query may take; 0 means that no loss is reported.
    #[serde(default)]
    pub loss_weight: f64,
    /// Most records of one member.
    pub max_records_per_member: u32,
}

/// What is promised about one record; neighbouring data sets differ by adding or removing it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyDocument {
    /// Above 0.
    pub epsilon: f64,
    /// Strictly between 0 and 1.
    pub delta: f64,
    /// Members whose own noise is not counted, because they may know it.
    #[serde(default = "one")]
    pub c_noise: u32,
}

fn one() -> u32 {
    1
}

/// How many members must stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregationDocument {
    /// c.
    #[serde(default)]
    pub colluders: Option<u32>,
    /// n_min.
    #[serde(default)]
    pub minimum: Option<u32>,
    /// d: members that may drop out of a round; for jobs above 256 members.
    #[serde(default)]
    pub dropouts: Option<u32>,
}

/// How long the coordinator waits for a phase, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlineDocument {
    /// For votes: people may have to look.
    pub voting_ms: u64,
    /// For adverts.
    pub joining_ms: u64,
    /// For shares.
    pub sharing_ms: u64,
    /// For training and upload.
    pub collecting_ms: u64,
    /// For signatures on the survivors.
    pub confirming_ms: u64,
    /// For shares of secrets.
    pub unmasking_ms: u64,
}

impl Default for DeadlineDocument {
    fn default() -> Self {
        Self {
            voting_ms: 600_000,
            joining_ms: 30_000,
            sharing_ms: 30_000,
            collecting_ms: 600_000,
            confirming_ms: 30_000,
            unmasking_ms: 30_000,
        }
    }
}

/// Longest deadline: seven days.
const MAX_DEADLINE_MS: u64 = 7 * 24 * 3600 * 1000;

/// Why a job is not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// A number is outside its range.
    #[error("{field} = {value} is outside its range; it must be {range}")]
    Range {
        /// The field, as it is written in the job.
        field: &'static str,
        /// What it says.
        value: f64,
        /// What it may say.
        range: &'static str,
    },
    /// A member is named twice.
    #[error("member {0} is named twice; each member has one vote and one update")]
    MemberTwice(OrganisationId),
    /// A member is not in the roster.
    #[error("member {0} is not in the roster of this consortium; name members of the roster")]
    Stranger(OrganisationId),
    /// The cohort's numbers do not fit.
    #[error(transparent)]
    Thresholds(#[from] ThresholdsError),
    /// The architecture does not fit.
    #[error("the model does not fit: {0}")]
    Model(#[from] SpecError),
}

impl JobError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Range { .. } => "job_number_out_of_range",
            Self::MemberTwice(_) => "job_member_twice",
            Self::Stranger(_) => "job_member_not_in_roster",
            Self::Thresholds(error) => error.code(),
            Self::Model(error) => error.code(),
        }
    }
}

/// A job whose every field was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    document: JobDocument,
    model: ModelSpec,
    thresholds: Thresholds,
}

impl Job {
    /// Checks a document: ranges, members, architecture, thresholds. Members are sorted; their order has no meaning.
    ///
    /// # Errors
    /// [`JobError`] names the first field that cannot be honoured, what it says and what it may say.
    pub fn new(mut document: JobDocument) -> Result<Self, JobError> {
        document.members.sort();
        if let Some(pair) = document.members.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(JobError::MemberTwice(pair[0].clone()));
        }
        check_numbers(&document)?;
        let cohort = u32::try_from(document.members.len()).unwrap_or(u32::MAX);
        let asked = document.aggregation;
        let thresholds =
            Thresholds::with_dropouts(cohort, asked.colluders, asked.minimum, asked.dropouts)?;
        let least = thresholds.minimum();
        if !(1..least).contains(&document.privacy.c_noise) {
            return Err(range(
                "privacy.c_noise",
                document.privacy.c_noise.into(),
                "at least 1 and below n_min",
            ));
        }
        let inputs = document.data.inputs();
        let inputs = u32::try_from(inputs).unwrap_or(u32::MAX);
        let model = ModelSpec::new(inputs, document.model.layers.clone(), document.model.loss)?;
        Ok(Self {
            document,
            model,
            thresholds,
        })
    }

    /// The document, members sorted.
    pub fn document(&self) -> &JobDocument {
        &self.document
    }

    /// The architecture with its inferred shapes.
    pub fn model(&self) -> &ModelSpec {
        &self.model
    }

    /// n, c, t and n_min.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The seed of the initial parameters.
    pub fn initial_seed(&self) -> InitialSeed {
        InitialSeed(self.document.model.seed)
    }

    /// Elements of the vector a round sums: the gradient and one for the loss query.
    pub fn elements(&self) -> u64 {
        self.model.parameter_count() as u64 + 1
    }

    /// Hash of the job in the project's canonical encoding. Numbers with a fraction are hashed by their IEEE 754 bits.
    pub fn hash(&self) -> Digest {
        let d = &self.document;
        let real = f64::to_bits;
        let head = Canonical::new("consort/contract/job/v1")
            .str(d.name.as_str())
            .str(d.purpose.as_str())
            .str(d.dataset.as_str())
            .list(d.members.len());
        let members = d
            .members
            .iter()
            .fold(head, |canonical, member| canonical.str(member.as_str()));
        let data = d.data.encode(members);
        let trained = data
            .bytes(&self.model.canonical_bytes())
            .bytes(&d.model.seed)
            .u64(d.dp_fedsgd.rounds.into())
            .u64(real(d.dp_fedsgd.clip))
            .u64(real(d.dp_fedsgd.learning_rate))
            .u64(real(d.dp_fedsgd.momentum))
            .u64(real(d.dp_fedsgd.divisor))
            .u64(real(d.dp_fedsgd.loss_weight))
            .u64(d.dp_fedsgd.max_records_per_member.into())
            .u64(real(d.privacy.epsilon))
            .u64(real(d.privacy.delta))
            .u64(d.privacy.c_noise.into());
        let deadlines = &d.deadlines;
        self.thresholds
            .encode(trained)
            .u64(deadlines.voting_ms)
            .u64(deadlines.joining_ms)
            .u64(deadlines.sharing_ms)
            .u64(deadlines.collecting_ms)
            .u64(deadlines.confirming_ms)
            .u64(deadlines.unmasking_ms)
            .hash()
    }
}

fn range(field: &'static str, value: f64, range: &'static str) -> JobError {
    JobError::Range {
        field,
        value,
        range,
    }
}

fn check_numbers(d: &JobDocument) -> Result<(), JobError> {
    let a = &d.dp_fedsgd;
    let positive = |x: f64| x.is_finite() && x > 0.0;
    let deadlines = [
        ("deadlines.voting_ms", d.deadlines.voting_ms),
        ("deadlines.joining_ms", d.deadlines.joining_ms),
        ("deadlines.sharing_ms", d.deadlines.sharing_ms),
        ("deadlines.collecting_ms", d.deadlines.collecting_ms),
        ("deadlines.confirming_ms", d.deadlines.confirming_ms),
        ("deadlines.unmasking_ms", d.deadlines.unmasking_ms),
    ];
    let rules = [
        (
            (1..=MAX_ROUNDS).contains(&a.rounds),
            "dp_fedsgd.rounds",
            f64::from(a.rounds),
            "1 to 10000",
        ),
        (positive(a.clip), "dp_fedsgd.clip", a.clip, "above 0"),
        (
            positive(a.learning_rate),
            "dp_fedsgd.learning_rate",
            a.learning_rate,
            "above 0",
        ),
        (
            (0.0..1.0).contains(&a.momentum),
            "dp_fedsgd.momentum",
            a.momentum,
            "at least 0 and below 1",
        ),
        (
            a.divisor.is_finite() && a.divisor >= 1.0,
            "dp_fedsgd.divisor",
            a.divisor,
            "at least 1",
        ),
        (
            (0.0..1.0).contains(&a.loss_weight),
            "dp_fedsgd.loss_weight",
            a.loss_weight,
            "at least 0 and below 1",
        ),
        (
            (1..=MAX_RECORDS_PER_MEMBER).contains(&a.max_records_per_member),
            "dp_fedsgd.max_records_per_member",
            f64::from(a.max_records_per_member),
            "1 to 4194304",
        ),
        (
            positive(d.privacy.epsilon),
            "privacy.epsilon",
            d.privacy.epsilon,
            "above 0 (smaller is more private; 1 is common)",
        ),
        (
            positive(d.privacy.delta) && d.privacy.delta < 1.0,
            "privacy.delta",
            d.privacy.delta,
            "above 0 and below 1 (well below 1 / records; 0.00001 is common)",
        ),
    ];
    if let Some((_, field, value, text)) = rules.into_iter().find(|(holds, ..)| !holds) {
        return Err(range(field, value, text));
    }
    match deadlines
        .into_iter()
        .find(|(_, ms)| !(1..=MAX_DEADLINE_MS).contains(ms))
    {
        #[expect(clippy::cast_precision_loss, reason = "only shown to a person")]
        Some((field, ms)) => Err(range(field, ms as f64, "1 ms to 7 days")),
        None => Ok(()),
    }
}

/// The distinct members of a document, for callers that check them against a roster.
///
/// # Errors
/// [`JobError::Stranger`] names the first member the roster does not know.
pub fn members_in_roster(
    job: &Job,
    roster: &crate::Roster,
) -> Result<BTreeSet<OrganisationId>, JobError> {
    let members = job
        .document
        .members
        .iter()
        .cloned()
        .collect::<BTreeSet<_>>();
    match members.iter().find(|name| roster.member(name).is_none()) {
        Some(stranger) => Err(JobError::Stranger(stranger.clone())),
        None => Ok(members),
    }
}
