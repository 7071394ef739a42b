//! Jobs and plans.

use consort_contract::features::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use consort_contract::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, EncryptionDocument, Job,
    JobDocument, ModelDocument, PrivacyDocument,
};
use consort_contract::{
    AdaptiveTerms, Algorithm, CosineDecay, Decay, DpFedSgd, FedAvg, JobKind, OrganisationId, Plan,
    Query, Requirements, Rotation, Sampling, Schedule, ServerOptimizerTerms, StepDecay,
};

use super::model::{model_from_wire, model_to_wire};
use super::query::{evaluate_from_wire, evaluate_to_wire, stats_from_wire, stats_to_wire};
use super::{WireError, circle_of, name, required};
use crate::wire::job::v1 as wire;

/// To the wire.
pub fn job_to_wire(document: &JobDocument) -> wire::JobSpec {
    let d = &document.deadlines;
    wire::JobSpec {
        name: document.name.to_string(),
        purpose: document.purpose.to_string(),
        dataset: document.dataset.to_string(),
        members: document
            .members
            .iter()
            .map(OrganisationId::to_string)
            .collect(),
        data: Some(schema_to_wire(&document.data)),
        model: match document.algorithm.kind() {
            JobKind::Training | JobKind::Evaluate => Some(model_to_wire(&document.model)),
            JobKind::Stats => None,
        },
        algorithm: Some(algorithm_to_wire(&document.algorithm)),
        privacy: Some(wire::PrivacySpec {
            epsilon: document.privacy.epsilon,
            delta: document.privacy.delta,
            c_noise: Some(document.privacy.c_noise),
        }),
        aggregation: Some(wire::AggregationSpec {
            colluders: document.aggregation.colluders,
            minimum: document.aggregation.minimum,
            dropouts: document.aggregation.dropouts,
        }),
        deadlines: Some(wire::DeadlineSpec {
            voting_ms: Some(d.voting_ms),
            joining_ms: Some(d.joining_ms),
            sharing_ms: Some(d.sharing_ms),
            collecting_ms: Some(d.collecting_ms),
            confirming_ms: Some(d.confirming_ms),
            unmasking_ms: Some(d.unmasking_ms),
        }),
        data_access: document
            .data_access
            .encryption
            .map(|encryption| wire::DataAccessSpec {
                encryption: Some(wire::EncryptionSpec {
                    key_rotation_days: encryption.key_rotation_days,
                }),
            }),
        requirements: requirements_to_wire(&document.requirements),
    }
}

fn requirements_to_wire(requirements: &Requirements) -> Option<wire::RequirementsSpec> {
    (*requirements != Requirements::default()).then_some(wire::RequirementsSpec {
        memory_bytes: requirements.memory_bytes,
        storage_bytes: requirements.storage_bytes,
        network_bits_per_second: requirements.network_bits_per_second,
        genuine_hardware: requirements.genuine_hardware,
        metrics: requirements.metrics,
    })
}

fn requirements_from_wire(spec: wire::RequirementsSpec) -> Requirements {
    Requirements {
        memory_bytes: spec.memory_bytes,
        storage_bytes: spec.storage_bytes,
        network_bits_per_second: spec.network_bits_per_second,
        genuine_hardware: spec.genuine_hardware,
        metrics: spec.metrics,
    }
}

/// From the wire; [`Job::new`] checks the rest.
///
/// # Errors
/// [`WireError`] names the field that is missing or malformed.
pub fn job_from_wire(spec: Option<wire::JobSpec>) -> Result<JobDocument, WireError> {
    let spec = required(spec, "spec")?;
    let algorithm = required(
        spec.algorithm,
        "spec.dp_fedsgd, spec.fedavg, spec.stats or spec.evaluate",
    )?;
    let algorithm = algorithm_from_wire(algorithm)?;
    let model = match (spec.model, algorithm.kind()) {
        (Some(model), _) => model_from_wire(model)?,
        (None, JobKind::Stats) => ModelDocument::none(),
        (None, JobKind::Training | JobKind::Evaluate) => {
            return Err(WireError::Missing("spec.model"));
        }
    };
    let privacy = required(spec.privacy, "spec.privacy")?;
    let members = spec
        .members
        .iter()
        .map(|m| name(m, "spec.members"))
        .collect::<Result<_, _>>()?;
    Ok(JobDocument {
        name: name(&spec.name, "spec.name")?,
        purpose: name(&spec.purpose, "spec.purpose")?,
        dataset: name(&spec.dataset, "spec.dataset")?,
        members,
        data: schema_from_wire(required(spec.data, "spec.data")?)?,
        model,
        algorithm,
        privacy: PrivacyDocument {
            epsilon: privacy.epsilon,
            delta: privacy.delta,
            c_noise: privacy.c_noise.unwrap_or(1),
        },
        aggregation: spec
            .aggregation
            .map(|a| AggregationDocument {
                colluders: a.colluders,
                minimum: a.minimum,
                dropouts: a.dropouts,
            })
            .unwrap_or_default(),
        deadlines: spec.deadlines.map(deadlines_from_wire).unwrap_or_default(),
        data_access: DataAccessDocument {
            encryption: spec
                .data_access
                .and_then(|access| access.encryption)
                .map(|encryption| EncryptionDocument {
                    key_rotation_days: encryption.key_rotation_days,
                }),
        },
        requirements: spec
            .requirements
            .map(requirements_from_wire)
            .unwrap_or_default(),
    })
}

fn deadlines_from_wire(spec: wire::DeadlineSpec) -> DeadlineDocument {
    let default = DeadlineDocument::default();
    DeadlineDocument {
        voting_ms: spec.voting_ms.unwrap_or(default.voting_ms),
        joining_ms: spec.joining_ms.unwrap_or(default.joining_ms),
        sharing_ms: spec.sharing_ms.unwrap_or(default.sharing_ms),
        collecting_ms: spec.collecting_ms.unwrap_or(default.collecting_ms),
        confirming_ms: spec.confirming_ms.unwrap_or(default.confirming_ms),
        unmasking_ms: spec.unmasking_ms.unwrap_or(default.unmasking_ms),
    }
}

fn schema_to_wire(schema: &DataSchema) -> wire::DataSchema {
    use wire::feature_spec::Kind;
    let feature = |feature: &FeatureSpec| {
        let kind = match feature {
            FeatureSpec::Numeric {
                column,
                center,
                scale,
                clip,
            } => Kind::Numeric(wire::NumericFeature {
                column: column.clone(),
                center: *center,
                scale: *scale,
                clip: *clip,
            }),
            FeatureSpec::OneHot { column, levels } => Kind::OneHot(wire::OneHotFeature {
                column: column.clone(),
                levels: levels.clone(),
            }),
        };
        wire::FeatureSpec { kind: Some(kind) }
    };
    let missing = match schema.missing() {
        MissingValues::Refuse => wire::MissingValues::Refuse,
        MissingValues::DropRow => wire::MissingValues::DropRow,
    };
    wire::DataSchema {
        features: schema.features().iter().map(feature).collect(),
        target: Some(wire::TargetSpec {
            column: schema.target().column.clone(),
            positive_above: schema.target().positive_above,
        }),
        missing: missing.into(),
    }
}

fn schema_from_wire(schema: wire::DataSchema) -> Result<DataSchema, WireError> {
    use wire::feature_spec::Kind;
    let missing = match schema.missing() {
        wire::MissingValues::Unspecified => {
            return Err(WireError::invalid(
                "spec.data.missing",
                "say MISSING_VALUES_REFUSE or MISSING_VALUES_DROP_ROW",
            ));
        }
        wire::MissingValues::Refuse => MissingValues::Refuse,
        wire::MissingValues::DropRow => MissingValues::DropRow,
    };
    let feature =
        |feature: wire::FeatureSpec| match required(feature.kind, "spec.data.features.kind")? {
            Kind::Numeric(f) => Ok(FeatureSpec::Numeric {
                column: f.column,
                center: f.center,
                scale: f.scale,
                clip: f.clip,
            }),
            Kind::OneHot(f) => Ok(FeatureSpec::OneHot {
                column: f.column,
                levels: f.levels,
            }),
        };
    let features = schema
        .features
        .into_iter()
        .map(feature)
        .collect::<Result<_, WireError>>()?;
    let target = required(schema.target, "spec.data.target")?;
    let target = TargetSpec {
        column: target.column,
        positive_above: target.positive_above,
    };
    DataSchema::new(features, target, missing).map_err(|e| WireError::invalid("spec.data", e))
}

fn algorithm_to_wire(algorithm: &Algorithm) -> wire::job_spec::Algorithm {
    match algorithm {
        Algorithm::DpFedSgd(a) => wire::job_spec::Algorithm::DpFedsgd(wire::DpFedSgd {
            rounds: a.rounds,
            clip: a.clip,
            learning_rate: a.learning_rate,
            momentum: a.momentum,
            divisor: a.divisor,
            loss_weight: a.loss_weight,
            max_records_per_member: a.max_records_per_member,
            server_optimizer: a.server_optimizer.map(optimizer_to_wire),
            schedule: a.schedule.map(schedule_to_wire),
            sampling: a
                .sampling
                .map(|Sampling { rate, max_batch }| wire::Sampling { rate, max_batch }),
        }),
        Algorithm::FedAvg(a) => wire::job_spec::Algorithm::Fedavg(wire::FedAvg {
            rounds: a.rounds,
            local_steps: a.local_steps,
            clip: a.clip,
            local_learning_rate: a.local_learning_rate,
            local_divisor: a.local_divisor,
            loss_weight: a.loss_weight,
            max_records_per_member: a.max_records_per_member,
            update_clip: a.update_clip,
            value_range: a.value_range,
            value_bits: a.value_bits,
            rotation: match a.rotation {
                Rotation::None => wire::Rotation::None,
                Rotation::Hadamard => wire::Rotation::Hadamard,
            }
            .into(),
            learning_rate: a.learning_rate,
            momentum: a.momentum,
            server_optimizer: a.server_optimizer.map(optimizer_to_wire),
            schedule: a.schedule.map(schedule_to_wire),
            local_schedule: a.local_schedule.map(schedule_to_wire),
            proximal: a.proximal,
            scaffold: a.scaffold,
        }),
        Algorithm::Query(Query::Stats(a)) => wire::job_spec::Algorithm::Stats(stats_to_wire(a)),
        Algorithm::Query(Query::Evaluate(a)) => {
            wire::job_spec::Algorithm::Evaluate(evaluate_to_wire(a))
        }
    }
}

fn algorithm_from_wire(algorithm: wire::job_spec::Algorithm) -> Result<Algorithm, WireError> {
    match algorithm {
        wire::job_spec::Algorithm::DpFedsgd(a) => Ok(Algorithm::DpFedSgd(DpFedSgd {
            rounds: a.rounds,
            clip: a.clip,
            learning_rate: a.learning_rate,
            momentum: a.momentum,
            divisor: a.divisor,
            loss_weight: a.loss_weight,
            max_records_per_member: a.max_records_per_member,
            server_optimizer: optimizer_from_wire(a.server_optimizer)?,
            schedule: a.schedule.map(schedule_from_wire),
            sampling: a
                .sampling
                .map(|wire::Sampling { rate, max_batch }| Sampling { rate, max_batch }),
        })),
        wire::job_spec::Algorithm::Fedavg(a) => Ok(Algorithm::FedAvg(FedAvg {
            rounds: a.rounds,
            local_steps: a.local_steps,
            clip: a.clip,
            local_learning_rate: a.local_learning_rate,
            local_divisor: a.local_divisor,
            loss_weight: a.loss_weight,
            max_records_per_member: a.max_records_per_member,
            update_clip: a.update_clip,
            value_range: a.value_range,
            value_bits: a.value_bits,
            rotation: match a.rotation() {
                wire::Rotation::Unspecified => {
                    return Err(WireError::invalid(
                        "spec.fedavg.rotation",
                        "say ROTATION_NONE or ROTATION_HADAMARD",
                    ));
                }
                wire::Rotation::None => Rotation::None,
                wire::Rotation::Hadamard => Rotation::Hadamard,
            },
            learning_rate: a.learning_rate,
            momentum: a.momentum,
            server_optimizer: optimizer_from_wire(a.server_optimizer)?,
            schedule: a.schedule.map(schedule_from_wire),
            local_schedule: a.local_schedule.map(schedule_from_wire),
            proximal: a.proximal,
            scaffold: a.scaffold,
        })),
        wire::job_spec::Algorithm::Stats(a) => {
            Ok(Algorithm::Query(Query::Stats(stats_from_wire(a)?)))
        }
        wire::job_spec::Algorithm::Evaluate(a) => {
            Ok(Algorithm::Query(Query::Evaluate(evaluate_from_wire(a)?)))
        }
    }
}

fn optimizer_to_wire(terms: ServerOptimizerTerms) -> wire::ServerOptimizer {
    use wire::server_optimizer::Kind;
    let constants = |a: AdaptiveTerms| wire::AdaptiveOptimizer {
        beta1: a.beta1,
        beta2: a.beta2,
        tau: a.tau,
    };
    wire::ServerOptimizer {
        kind: Some(match terms {
            ServerOptimizerTerms::Fedadam(terms) => Kind::Fedadam(constants(terms)),
            ServerOptimizerTerms::Fedyogi(terms) => Kind::Fedyogi(constants(terms)),
        }),
    }
}

fn optimizer_from_wire(
    optimizer: Option<wire::ServerOptimizer>,
) -> Result<Option<ServerOptimizerTerms>, WireError> {
    use wire::server_optimizer::Kind;
    let constants = |a: wire::AdaptiveOptimizer| AdaptiveTerms {
        beta1: a.beta1,
        beta2: a.beta2,
        tau: a.tau,
    };
    let Some(optimizer) = optimizer else {
        return Ok(None);
    };
    Ok(Some(
        match required(optimizer.kind, "spec.server_optimizer.kind")? {
            Kind::Fedadam(terms) => ServerOptimizerTerms::Fedadam(constants(terms)),
            Kind::Fedyogi(terms) => ServerOptimizerTerms::Fedyogi(constants(terms)),
        },
    ))
}

fn schedule_to_wire(schedule: Schedule) -> wire::Schedule {
    use wire::schedule::Decay as OnWire;
    wire::Schedule {
        warmup_rounds: schedule.warmup_rounds,
        decay: match schedule.decay {
            Decay::Constant => None,
            Decay::Step(StepDecay { every, factor }) => {
                Some(OnWire::Step(wire::StepDecay { every, factor }))
            }
            Decay::Cosine(CosineDecay { last }) => Some(OnWire::Cosine(wire::CosineDecay { last })),
        },
    }
}

fn schedule_from_wire(schedule: wire::Schedule) -> Schedule {
    use wire::schedule::Decay as OnWire;
    Schedule {
        warmup_rounds: schedule.warmup_rounds,
        decay: match schedule.decay {
            None => Decay::Constant,
            Some(OnWire::Step(step)) => Decay::Step(StepDecay {
                every: step.every,
                factor: step.factor,
            }),
            Some(OnWire::Cosine(cosine)) => Decay::Cosine(CosineDecay { last: cosine.last }),
        },
    }
}

/// To the wire. The table of coalitions costs an accountant's run for each row where batches are sampled: keep what this gives.
pub fn plan_to_wire(job: &Job, plan: &Plan) -> wire::PlanSpec {
    let table = plan.noise().epsilon_table().into_iter();
    wire::PlanSpec {
        epsilon_by_coalition: table.map(|epsilon| epsilon.value()).collect(),
        ..numbers_of(job, plan)
    }
}

/// All of a plan but its table of coalitions.
fn numbers_of(job: &Job, plan: &Plan) -> wire::PlanSpec {
    let thresholds = job.thresholds();
    let noise = plan.noise();
    wire::PlanSpec {
        sigma: noise.noise_multiplier().value(),
        grid_bits: noise.grid().bits().bits().into(),
        member_variance: noise.member_variance().sigma_squared(),
        noise_bound: noise.noise_bound(),
        width_bits: plan.width().bits().into(),
        epsilon: noise.spend().enforced().value(),
        epsilon_by_coalition: Vec::new(),
        epsilon_rdp: noise.spend().rdp().value(),
        cohort: thresholds.cohort(),
        colluders: thresholds.colluders(),
        threshold: thresholds.threshold(),
        minimum: thresholds.minimum(),
        noise_colluders: job.document().privacy.c_noise,
        dropouts: thresholds.dropouts(),
        reach: circle_of(thresholds).0,
        witnesses: circle_of(thresholds).1,
    }
}

/// From the wire: computes the plan again from the job and compares what must be equal on every machine.
///
/// # Errors
/// [`WireError`] names the number that does not follow from the job.
pub fn plan_from_wire(job: &Job, spec: Option<wire::PlanSpec>) -> Result<Plan, WireError> {
    let spec = required(spec, "plan")?;
    let grid_bits =
        u8::try_from(spec.grid_bits).map_err(|e| WireError::invalid("plan.grid_bits", e))?;
    let plan =
        Plan::with_noise(job, spec.sigma, grid_bits).map_err(|e| WireError::invalid("plan", e))?;
    let told = numbers_of(job, &plan);
    let same = [
        (told.sigma.to_bits() == spec.sigma.to_bits(), "plan.sigma"),
        (
            told.member_variance == spec.member_variance,
            "plan.member_variance",
        ),
        (told.noise_bound == spec.noise_bound, "plan.noise_bound"),
        (told.width_bits == spec.width_bits, "plan.width_bits"),
        (told.cohort == spec.cohort, "plan.cohort"),
        (told.colluders == spec.colluders, "plan.colluders"),
        (told.threshold == spec.threshold, "plan.threshold"),
        (told.minimum == spec.minimum, "plan.minimum"),
        (told.dropouts == spec.dropouts, "plan.dropouts"),
        (told.reach == spec.reach, "plan.reach"),
        (told.witnesses == spec.witnesses, "plan.witnesses"),
        (
            told.noise_colluders == spec.noise_colluders,
            "plan.noise_colluders",
        ),
    ];
    match same.into_iter().find(|(holds, _)| !holds) {
        Some((_, field)) => Err(WireError::invalid(field, "it does not follow from the job")),
        None => Ok(plan),
    }
}
