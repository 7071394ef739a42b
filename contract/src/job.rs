//! The job document: what is to be trained or asked, on what, under which promise. Data, never code.

use std::collections::BTreeSet;

use consort_aggregation::{Canonical, Digest};
use consort_model::{InitialSeed, Layer, Loss, ModelSpec, SpecError};
use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, DpFedSgd, FedAvg, JobKind, NumberRule, first_broken, positive};
use crate::embedded::{self, EmbeddingError};
use crate::features::DataSchema;
use crate::organisation::{Label, OrganisationId};
use crate::query::{Evaluate, Query, QueryError, QueryVector, Stats};
use crate::requirements::{DataAccessFile, EncryptionFile, Requirements, TrainingJobFile};
use crate::thresholds::{Thresholds, ThresholdsError};

/// Most rounds of a job: accounting and audit stay readable, and full-batch training is done long before.
pub const MAX_ROUNDS: u32 = 10_000;

/// Most records of one member per round: 2^22, so that grid sums fit 63 bits with room (see `consort_privacy::RecordSum`).
pub const MAX_RECORDS_PER_MEMBER: u32 = 1 << 22;

/// A job as its author writes it (JSON or gRPC). Unknown fields are refused; [`Job::new`] checks the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "JobFile", into = "JobFile")]
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
    /// The architecture; its inputs follow from the features. [`ModelDocument::none`] in a stats job.
    pub model: ModelDocument,
    /// How it is trained, or what is asked.
    pub algorithm: Algorithm,
    /// What is promised.
    pub privacy: PrivacyDocument,
    /// How many must stand; defaults follow from the number of members.
    pub aggregation: AggregationDocument,
    /// How long the coordinator waits.
    pub deadlines: DeadlineDocument,
    /// How every member keeps its data; nothing is asked for if absent.
    pub data_access: DataAccessDocument,
    /// What every member's machine must have; nothing if absent.
    pub requirements: Requirements,
}

/// The form of a file: the algorithm under its name, and what is asked of members as people write it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFile {
    name: Label,
    purpose: Label,
    dataset: Label,
    members: Vec<OrganisationId>,
    data: DataSchema,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<ModelDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dp_fedsgd: Option<DpFedSgd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fedavg: Option<FedAvg>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stats: Option<Stats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evaluate: Option<Evaluate>,
    privacy: PrivacyDocument,
    #[serde(default)]
    aggregation: AggregationDocument,
    #[serde(default)]
    deadlines: DeadlineDocument,
    #[serde(default, skip_serializing_if = "DataAccessFile::asks_nothing")]
    data_access: DataAccessFile,
    #[serde(default, skip_serializing_if = "TrainingJobFile::asks_nothing")]
    training_job: TrainingJobFile,
}

impl TryFrom<JobFile> for JobDocument {
    type Error = &'static str;

    fn try_from(file: JobFile) -> Result<Self, Self::Error> {
        let algorithms = [
            file.dp_fedsgd.map(Algorithm::DpFedSgd),
            file.fedavg.map(Algorithm::FedAvg),
            file.stats
                .map(|stats| Algorithm::Query(Query::Stats(stats))),
            file.evaluate
                .map(|evaluate| Algorithm::Query(Query::Evaluate(evaluate))),
        ];
        let mut algorithms = algorithms.into_iter().flatten();
        let algorithm = match (algorithms.next(), algorithms.next()) {
            (Some(algorithm), None) => algorithm,
            (None, _) => {
                return Err(
                    "dp_fedsgd, fedavg, stats or evaluate is missing: a job has exactly one of them",
                );
            }
            (Some(_), Some(_)) => {
                return Err(
                    "more than one of dp_fedsgd, fedavg, stats and evaluate is there: a job has exactly one of them",
                );
            }
        };
        let model = match (file.model, algorithm.kind()) {
            (Some(model), _) => model,
            (None, JobKind::Stats) => ModelDocument::none(),
            (None, JobKind::Training | JobKind::Evaluate) => return Err("model is missing"),
        };
        Ok(Self {
            name: file.name,
            purpose: file.purpose,
            dataset: file.dataset,
            members: file.members,
            data: file.data,
            model,
            algorithm,
            privacy: file.privacy,
            aggregation: file.aggregation,
            deadlines: file.deadlines,
            data_access: file.data_access.document(),
            requirements: Requirements::asked(&file.training_job, &file.data_access),
        })
    }
}

impl From<JobDocument> for JobFile {
    fn from(document: JobDocument) -> Self {
        let (mut dp_fedsgd, mut fedavg, mut stats, mut evaluate) = (None, None, None, None);
        match document.algorithm {
            Algorithm::DpFedSgd(a) => dp_fedsgd = Some(a),
            Algorithm::FedAvg(a) => fedavg = Some(a),
            Algorithm::Query(Query::Stats(a)) => stats = Some(a),
            Algorithm::Query(Query::Evaluate(a)) => evaluate = Some(a),
        }
        Self {
            name: document.name,
            purpose: document.purpose,
            dataset: document.dataset,
            members: document.members,
            data: document.data,
            model: (document.model != ModelDocument::none()).then_some(document.model),
            dp_fedsgd,
            fedavg,
            stats,
            evaluate,
            privacy: document.privacy,
            aggregation: document.aggregation,
            deadlines: document.deadlines,
            data_access: DataAccessFile::asking(&document.data_access, &document.requirements),
            training_job: TrainingJobFile::asking(&document.requirements),
        }
    }
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

impl ModelDocument {
    /// No layers: what a job has that trains nothing.
    pub fn none() -> Self {
        Self {
            layers: Vec::new(),
            loss: Loss::BinaryCrossEntropy,
            seed: zero_seed(),
        }
    }
}

fn zero_seed() -> [u8; 32] {
    [0; 32]
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

/// How every member keeps the data that the job is trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataAccessDocument {
    /// It lies encrypted under a data key; it may lie plain if absent.
    pub encryption: Option<EncryptionDocument>,
}

/// How the data key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EncryptionFile", into = "EncryptionFile")]
pub struct EncryptionDocument {
    /// A data key older than this is not released for the job, in days.
    pub key_rotation_days: u32,
}

/// Longest key rotation, in days: ten years.
pub const MAX_KEY_ROTATION_DAYS: u32 = 3660;

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
    /// What is to be embedded is no category.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// What is asked does not fit.
    #[error(transparent)]
    Query(#[from] QueryError),
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
            Self::Embedding(error) => error.code(),
            Self::Query(error) => error.code(),
        }
    }
}

/// A job whose every field was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    document: JobDocument,
    model: ModelSpec,
    query: Option<QueryVector>,
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
        let model = match document.algorithm.kind() {
            JobKind::Training | JobKind::Evaluate => {
                let layers = &document.model.layers;
                let model = ModelSpec::new(inputs, layers.clone(), document.model.loss)?;
                embedded::check(&document.data, layers)?;
                model
            }
            JobKind::Stats if document.model == ModelDocument::none() => {
                ModelSpec::without_layers(inputs)
            }
            JobKind::Stats => return Err(QueryError::NeedlessModel.into()),
        };
        let query = match &document.algorithm {
            Algorithm::Query(query) => Some(query.vector(&document.data, &model)?),
            Algorithm::DpFedSgd(_) | Algorithm::FedAvg(_) => None,
        };
        document.algorithm.check_model(&model)?;
        Ok(Self {
            document,
            model,
            query,
            thresholds,
        })
    }

    /// The document, members sorted.
    pub fn document(&self) -> &JobDocument {
        &self.document
    }

    /// The architecture with its inferred shapes; that of a stats job has no layers and no parameters.
    pub fn model(&self) -> &ModelSpec {
        &self.model
    }

    /// n, c, t and n_min.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// What of a record goes into the sum of a job that asks; nothing in one that trains.
    pub fn query(&self) -> Option<&QueryVector> {
        self.query.as_ref()
    }

    /// The hash of the parameters that the job names, in a job that evaluates them. Any other starts from [`Self::initial_seed`].
    pub fn stated_parameters(&self) -> Option<Digest> {
        match &self.document.algorithm {
            Algorithm::Query(Query::Evaluate(evaluate)) => Some(Digest::new(evaluate.parameters)),
            Algorithm::Query(Query::Stats(_)) | Algorithm::DpFedSgd(_) | Algorithm::FedAvg(_) => {
                None
            }
        }
    }

    /// The seed of the initial parameters.
    pub fn initial_seed(&self) -> InitialSeed {
        InitialSeed(self.document.model.seed)
    }

    /// How it is trained.
    pub fn algorithm(&self) -> &Algorithm {
        &self.document.algorithm
    }

    /// Elements of the vector a round sums: the gradient or update, and one for the loss query; or the coordinates of the query.
    pub fn elements(&self) -> u64 {
        match &self.query {
            Some(query) => query.elements() as u64,
            None => self.model.parameter_count() as u64 + 1,
        }
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
            .bytes(&d.model.seed);
        let trained = d
            .algorithm
            .encode(trained)
            .u64(real(d.privacy.epsilon))
            .u64(real(d.privacy.delta))
            .u64(d.privacy.c_noise.into());
        let deadlines = &d.deadlines;
        let whole = self
            .thresholds
            .encode(trained)
            .u64(deadlines.voting_ms)
            .u64(deadlines.joining_ms)
            .u64(deadlines.sharing_ms)
            .u64(deadlines.collecting_ms)
            .u64(deadlines.confirming_ms)
            .u64(deadlines.unmasking_ms);
        // A job that asks for nothing here has the hash it had before there was anything to ask for.
        let whole = d.algorithm.encode_options(whole);
        let whole = match d.data_access.encryption {
            None => whole,
            Some(encryption) => whole
                .str("data_access.encryption")
                .u64(encryption.key_rotation_days.into()),
        };
        d.requirements.encode(whole).hash()
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
    d.algorithm.check()?;
    let deadlines = [
        ("deadlines.voting_ms", d.deadlines.voting_ms),
        ("deadlines.joining_ms", d.deadlines.joining_ms),
        ("deadlines.sharing_ms", d.deadlines.sharing_ms),
        ("deadlines.collecting_ms", d.deadlines.collecting_ms),
        ("deadlines.confirming_ms", d.deadlines.confirming_ms),
        ("deadlines.unmasking_ms", d.deadlines.unmasking_ms),
    ];
    let rules: [NumberRule; 2] = [
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
    first_broken(rules)?;
    d.requirements.check()?;
    if let Some(EncryptionDocument { key_rotation_days }) = d.data_access.encryption
        && !(1..=MAX_KEY_ROTATION_DAYS).contains(&key_rotation_days)
    {
        return Err(range(
            "data_access.encryption.key_rotation_days",
            key_rotation_days.into(),
            "1 to 3660 days",
        ));
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
