//! A job as operators see it.

use consort_aggregation::MemberIndex;
use consort_contract::OrganisationId;
use consort_proto::convert::{job_to_wire, plan_to_wire};
use consort_proto::wire::job::v1 as wire;

use super::{EndedRound, JobState, Stage};

/// The wire form of a job's state. Who is connected is filled in by whoever knows.
pub fn view(state: &JobState, phase: &str) -> wire::Job {
    let contract = &state.contract;
    let (wire_state, code, reason) = match &state.stage {
        Stage::Voting => (wire::JobState::Voting, "", ""),
        Stage::Running => (wire::JobState::Running, "", ""),
        Stage::Ended(ending) => (
            ending.state.to_wire(),
            ending.code.as_str(),
            ending.reason.as_str(),
        ),
    };
    let over = state.rounds.last().map_or(0, |round| round.key.round.0);
    wire::Job {
        id: contract.id.to_string(),
        spec: Some(job_to_wire(contract.job.document())),
        plan: Some(plan_to_wire(&contract.job, &contract.plan)),
        contract: contract.hash.to_string(),
        state: wire_state.into(),
        reason: reason.to_owned(),
        code: code.to_owned(),
        round: state
            .attempt
            .as_ref()
            .map_or(over, |attempt| attempt.key.round.0),
        phase: phase.to_owned(),
        members: contract
            .indexed()
            .map(|(index, name)| member(state, index, name, phase))
            .collect(),
        rounds: state.rounds.iter().map(round).collect(),
        coordinator_restarts: state.restarts,
        model: String::new(),
        dangerous_simulated_attestation: false,
    }
}

fn member(
    state: &JobState,
    index: MemberIndex,
    name: &OrganisationId,
    phase: &str,
) -> wire::MemberProgress {
    wire::MemberProgress {
        organisation: name.to_string(),
        connected: false,
        phase: member_phase(state, index, name, phase).to_owned(),
        sent_bytes: state.sent_bytes.get(name).copied().unwrap_or_default(),
        convicted_of: state
            .convicted
            .get(name)
            .copied()
            .unwrap_or_default()
            .to_owned(),
        // Known of the member, not of the job: the board fills it in.
        quarantined_for: String::new(),
        quarantined_since_unix_ms: 0,
    }
}

fn member_phase(
    state: &JobState,
    index: MemberIndex,
    name: &OrganisationId,
    phase: &str,
) -> &'static str {
    let vote = state.votes.get(name);
    match (&state.stage, vote) {
        (Stage::Ended(_), _) => return "done",
        (Stage::Voting, None) => return "voting",
        (Stage::Voting, Some(vote)) => return if vote.approve { "approved" } else { "refused" },
        (Stage::Running, _) => {}
    }
    let Some(attempt) = &state.attempt else {
        return "waiting";
    };
    let in_phase = [
        (attempt.departed.contains(&index), "departed"),
        (attempt.confirmed.contains(&index), "confirmed"),
        (attempt.sealed.contains(&index), "submitted"),
        (
            attempt.shared.contains(&index) && phase == "collecting",
            "training",
        ),
        (attempt.shared.contains(&index), "shared"),
        (attempt.advertised.contains(&index), "advertised"),
    ];
    in_phase
        .iter()
        .find(|(holds, _)| *holds)
        .map_or("waited for", |(_, name)| name)
}

fn round(round: &EndedRound) -> wire::RoundSummary {
    wire::RoundSummary {
        round: round.key.round.0,
        attempt: round.key.attempt.0,
        survivors: round
            .survivors
            .iter()
            .map(OrganisationId::to_string)
            .collect(),
        noised_loss: round.noised_loss,
        epsilon_spent: round.epsilon_spent,
        phase_ms: round.phase_ms.clone().into_iter().collect(),
        aborted: round.aborted.clone(),
    }
}
