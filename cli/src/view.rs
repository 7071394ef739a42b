//! Jobs as people and programs read them: text and JSON views of the wire's messages.

use std::collections::BTreeMap;

use consort_model::Loss;
use consort_proto::wire::job::v1 as wire;
use consort_proto::wire::job::v1::job_spec::Algorithm;
use serde::Serialize;

/// A job, with the field names of the wire.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    id: String,
    name: String,
    purpose: String,
    dataset: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    contract: String,
    round: u32,
    rounds_planned: u32,
    rounds_ended: u32,
    phase: String,
    epsilon: f64,
    epsilon_spent: f64,
    delta: f64,
    members: Vec<MemberView>,
    rounds: Vec<RoundView>,
    coordinator_restarts: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    model: String,
    dangerous_simulated_attestation: bool,
}

#[derive(Debug, Serialize)]
struct MemberView {
    organisation: String,
    connected: bool,
    phase: String,
    sent_bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    convicted_of: String,
    /// Why it is kept out, as a code; empty if it is not.
    quarantined_for: String,
    /// Since when; 0 if it is not.
    quarantined_since_unix_ms: u64,
}

#[derive(Debug, Serialize)]
struct RoundView {
    round: u32,
    attempt: u32,
    survivors: Vec<String>,
    survivor_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    noised_loss: Option<f64>,
    epsilon_spent: f64,
    phase_ms: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    aborted: String,
}

impl From<&wire::Job> for JobView {
    fn from(job: &wire::Job) -> Self {
        let spec = job.spec.clone().unwrap_or_default();
        let plan = job.plan.clone().unwrap_or_default();
        Self {
            id: job.id.clone(),
            name: spec.name.clone(),
            purpose: spec.purpose.clone(),
            dataset: spec.dataset.clone(),
            state: state_name(job.state()),
            reason: job.reason.clone(),
            code: job.code.clone(),
            contract: job.contract.clone(),
            round: job.round,
            rounds_planned: rounds_planned(job),
            rounds_ended: job.rounds_ended,
            phase: job.phase.clone(),
            epsilon: plan.epsilon,
            epsilon_spent: epsilon_spent(job),
            delta: spec.privacy.unwrap_or_default().delta,
            members: job.members.iter().map(member_view).collect(),
            rounds: job.rounds.iter().map(round_view).collect(),
            coordinator_restarts: job.coordinator_restarts,
            model: job.model.clone(),
            dangerous_simulated_attestation: job.dangerous_simulated_attestation,
        }
    }
}

fn member_view(member: &wire::MemberProgress) -> MemberView {
    MemberView {
        organisation: member.organisation.clone(),
        connected: member.connected,
        phase: member.phase.clone(),
        sent_bytes: member.sent_bytes,
        convicted_of: member.convicted_of.clone(),
        quarantined_for: member.quarantined_for.clone(),
        quarantined_since_unix_ms: member.quarantined_since_unix_ms,
    }
}

fn round_view(round: &wire::RoundSummary) -> RoundView {
    RoundView {
        round: round.round,
        attempt: round.attempt,
        survivors: round.survivors.clone(),
        survivor_count: round.survivor_count,
        noised_loss: round.noised_loss,
        epsilon_spent: round.epsilon_spent,
        phase_ms: round.phase_ms.clone().into_iter().collect(),
        aborted: round.aborted.clone(),
    }
}

/// The state as people say it.
pub(crate) fn state_name(state: wire::JobState) -> &'static str {
    match state {
        wire::JobState::Unspecified => "unknown",
        wire::JobState::Voting => "voting",
        wire::JobState::Running => "running",
        wire::JobState::Completed => "completed",
        wire::JobState::Failed => "failed",
        wire::JobState::Cancelled => "cancelled",
    }
}

/// Whether nothing follows.
pub(crate) fn has_ended(job: &wire::Job) -> bool {
    match job.state() {
        wire::JobState::Completed | wire::JobState::Failed | wire::JobState::Cancelled => true,
        wire::JobState::Unspecified | wire::JobState::Voting | wire::JobState::Running => false,
    }
}

/// Rounds the contract asks for.
pub(crate) fn rounds_planned(job: &wire::Job) -> u32 {
    match algorithm(job) {
        Some(Algorithm::DpFedsgd(training)) => training.rounds,
        Some(Algorithm::Fedavg(training)) => training.rounds,
        Some(Algorithm::Stats(_) | Algorithm::Evaluate(_)) => 1,
        None => 0,
    }
}

/// Whether the job asks, and so releases a report and no model.
pub(crate) fn releases_report(job: &wire::Job) -> bool {
    match algorithm(job) {
        Some(Algorithm::Stats(_) | Algorithm::Evaluate(_)) => true,
        Some(Algorithm::DpFedsgd(_) | Algorithm::Fedavg(_)) | None => false,
    }
}

fn algorithm(job: &wire::Job) -> Option<&Algorithm> {
    job.spec.as_ref()?.algorithm.as_ref()
}

/// Epsilon spent after the last round that ended.
pub(crate) fn epsilon_spent(job: &wire::Job) -> f64 {
    job.rounds.last().map_or(0.0, |round| round.epsilon_spent)
}

/// The loss of a round with the standard deviation of its noise: a single round's figure says little without it.
pub(crate) fn loss_text(job: &wire::Job, round: &wire::RoundSummary) -> Option<String> {
    let loss = round.noised_loss?;
    let plan = job.plan.as_ref()?;
    let survivors = f64::from(round.survivor_count);
    let cap = loss_cap(job.spec.as_ref()?.model.as_ref()?)?;
    // The loss takes the share `loss_weight` of C for its cap; sigma is in units of C.
    let deviation = match algorithm(job)? {
        // Of n survivors' noise, the plan's sigma counts that of n_min - c_noise; the sum is divided by the divisor like the gradient.
        Algorithm::DpFedsgd(a) => {
            let counted = f64::from(plan.minimum.saturating_sub(plan.noise_colluders).max(1));
            let sum = plan.sigma * (survivors / counted).sqrt();
            sum * cap / (a.loss_weight * a.divisor)
        }
        // Each survivor's loss has all of sigma, and the mean over them is told.
        Algorithm::Fedavg(a) => {
            plan.sigma * cap / (a.loss_weight * a.local_divisor) / survivors.sqrt()
        }
        Algorithm::Stats(_) | Algorithm::Evaluate(_) => return None,
    };
    Some(format!("loss {loss:.2} ± {deviation:.2}"))
}

/// The most of a record's loss that is counted.
fn loss_cap(model: &wire::ModelSpec) -> Option<f64> {
    use wire::layer::Kind;
    let loss = match model.loss() {
        wire::Loss::Unspecified => return None,
        wire::Loss::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        wire::Loss::CrossEntropy => Loss::CrossEntropy,
        wire::Loss::SquaredError => Loss::SquaredError,
        wire::Loss::Poisson => Loss::Poisson,
    };
    // A model of classes ends in a dense layer with an output for each; the caps of the others know no outputs.
    let outputs = match model.layers.last()?.kind.as_ref()? {
        Kind::Dense(dense) => dense.outputs,
        Kind::Relu(_)
        | Kind::Tanh(_)
        | Kind::Image(_)
        | Kind::Conv2d(_)
        | Kind::MaxPool(_)
        | Kind::Flatten(_)
        | Kind::LayerNorm(_)
        | Kind::Embedding(_)
        | Kind::Residual(_) => 1,
    };
    Some(loss.cap(outputs))
}

/// One line about a job.
pub(crate) fn one_line(job: &wire::Job) -> String {
    let name = job.spec.as_ref().map_or("", |spec| spec.name.as_str());
    let connected = job.members.iter().filter(|member| member.connected).count();
    let mut line = format!(
        "{}  {name}  {}  round {}/{}  {connected}/{} members connected  epsilon {:.4}",
        job.id,
        state_name(job.state()),
        job.round,
        rounds_planned(job),
        job.members.len(),
        epsilon_spent(job),
    );
    if !job.phase.is_empty() && !has_ended(job) {
        line.push_str(&format!("  {}", job.phase));
    }
    for member in &job.members {
        if !member.convicted_of.is_empty() {
            let (name, fault) = (&member.organisation, &member.convicted_of);
            line.push_str(&format!("  {name} convicted of a {fault}"));
        }
        if !member.quarantined_for.is_empty() {
            let (name, code) = (&member.organisation, &member.quarantined_for);
            line.push_str(&format!("  {name} quarantined for {code}"));
        }
    }
    if !job.reason.is_empty() {
        line.push_str(&format!("  {} [{}]", job.reason, job.code));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_with_the_deviation_of_its_noise() {
        let model = |loss: wire::Loss, outputs| wire::ModelSpec {
            layers: vec![wire::Layer {
                kind: Some(wire::layer::Kind::Dense(wire::Dense { outputs })),
            }],
            loss: loss.into(),
            seed: Vec::new(),
        };
        let mut job = wire::Job {
            spec: Some(wire::JobSpec {
                model: Some(model(wire::Loss::BinaryCrossEntropy, 1)),
                algorithm: Some(wire::job_spec::Algorithm::DpFedsgd(wire::DpFedSgd {
                    divisor: 450.0,
                    loss_weight: 0.1,
                    ..wire::DpFedSgd::default()
                })),
                ..wire::JobSpec::default()
            }),
            plan: Some(wire::PlanSpec {
                sigma: 16.0,
                minimum: 4,
                noise_colluders: 1,
                dropouts: None,
                reach: 0,
                witnesses: 0,
                ..wire::PlanSpec::default()
            }),
            ..wire::Job::default()
        };
        let mut round = wire::RoundSummary {
            survivor_count: 3,
            noised_loss: Some(0.5),
            ..wire::RoundSummary::default()
        };
        // 16 · sqrt(3/3) · 2 / (0.1 · 450) = 0.711.
        assert_eq!(loss_text(&job, &round).unwrap(), "loss 0.50 ± 0.71");
        let mut averaged = job.clone();
        let algorithm = Algorithm::Fedavg(wire::FedAvg {
            local_divisor: 90.0,
            loss_weight: 0.1,
            ..wire::FedAvg::default()
        });
        averaged.spec = Some(wire::JobSpec {
            algorithm: Some(algorithm),
            model: Some(model(wire::Loss::BinaryCrossEntropy, 1)),
            ..wire::JobSpec::default()
        });
        // 16 · 2 / (0.1 · 90) / sqrt(3) = 2.053.
        assert_eq!(loss_text(&averaged, &round).unwrap(), "loss 0.50 ± 2.05");
        // Ten classes: the cap is 6.64 in place of 2.
        job.spec.as_mut().unwrap().model = Some(model(wire::Loss::CrossEntropy, 10));
        assert_eq!(loss_text(&job, &round).unwrap(), "loss 0.50 ± 2.36");
        round.noised_loss = None;
        assert_eq!(loss_text(&job, &round), None);
    }

    #[test]
    fn a_job_without_reason_and_model_shows_neither() {
        let job = wire::Job {
            id: "j1".to_owned(),
            ..wire::Job::default()
        };
        let view = serde_json::to_value(JobView::from(&job)).unwrap();
        assert_eq!(view["id"], "j1");
        assert!(view.get("reason").is_none() && view.get("model").is_none());
    }
}
