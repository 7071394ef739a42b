//! A job as operators see it.

use consort_aggregation::MemberIndex;
use consort_contract::OrganisationId;
use consort_proto::convert::job_to_wire;
use consort_proto::wire::job::v1 as wire;
use prost::Message;

use super::{EndedRound, JobState, Stage};

/// Rounds that a view tells of, the newest ones: some 200 bytes each.
const MOST_ROUNDS: usize = 1000;

/// Survivors that a view names, those of the newest rounds: 66 bytes each at most. With this, with 1000 rounds and with the longest
/// job that can be submitted, 1 MiB, a view stays far below the 4 MiB that clients of gRPC read.
const MOST_NAMES: usize = 8192;

/// Bytes of a reason on the wire. It may hold what a member wrote, and a job with a longer one could not be read by anybody.
const MOST_REASON_BYTES: usize = 1024;

/// Bytes that a page is filled with, but for its last item: a round of 1024 survivors has 68 KB.
const PAGE_BYTES: usize = 1024 * 1024;

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
        plan: Some(contract.plan_to_wire()),
        contract: contract.hash.to_string(),
        state: wire_state.into(),
        reason: clipped(reason),
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
        rounds: newest(&state.rounds, contract.members()),
        rounds_ended: u32::try_from(state.rounds.len()).unwrap_or(u32::MAX),
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

/// The newest rounds, oldest first, with as many names as there is room for.
fn newest(rounds: &[EndedRound], members: &[OrganisationId]) -> Vec<wire::RoundSummary> {
    let mut names = 0;
    let mut newest: Vec<_> = (rounds.iter().rev().take(MOST_ROUNDS))
        .map(|round| {
            names += round.survivors.len();
            let members = if names <= MOST_NAMES { members } else { &[] };
            summary(round, members)
        })
        .collect();
    newest.reverse();
    newest
}

/// A round's summary; survivors that `members` does not name are counted only.
fn summary(round: &EndedRound, members: &[OrganisationId]) -> wire::RoundSummary {
    let name = |member: &MemberIndex| {
        let place = usize::try_from(member.get()).ok()?.checked_sub(1)?;
        members.get(place).map(OrganisationId::to_string)
    };
    wire::RoundSummary {
        round: round.key.round.0,
        attempt: round.key.attempt.0,
        survivors: round.survivors.iter().filter_map(name).collect(),
        survivor_count: u32::try_from(round.survivors.len()).unwrap_or(u32::MAX),
        noised_loss: round.noised_loss,
        epsilon_spent: round.epsilon_spent,
        phase_ms: round.phase_ms.clone().into_iter().collect(),
        aborted: clipped(&round.aborted),
    }
}

/// A reason as far as it fits on the wire.
pub fn clipped(reason: &str) -> String {
    if reason.len() <= MOST_REASON_BYTES {
        return reason.to_owned();
    }
    let end = reason.floor_char_boundary(MOST_REASON_BYTES - "…".len());
    format!("{}…", &reason[..end])
}

/// A page of rounds behind one, all survivors named.
pub fn rounds_after(
    rounds: &[EndedRound],
    members: &[OrganisationId],
    after_round: u32,
) -> wire::ListRoundsResponse {
    let first = rounds.partition_point(|round| round.key.round.0 <= after_round);
    let left = rounds[first..].iter().map(|round| summary(round, members));
    let (rounds, more) = page(left);
    wire::ListRoundsResponse { rounds, more }
}

/// A job as it stands in a list: with its newest round, and no survivor named.
pub fn brief(view: &wire::Job) -> wire::Job {
    let newest = view.rounds.last().map(|round| wire::RoundSummary {
        survivors: Vec::new(),
        ..round.clone()
    });
    wire::Job {
        rounds: newest.into_iter().collect(),
        ..view.clone()
    }
}

/// As many as fill a page, one at least, and whether there are more.
pub fn page<T: Message>(all: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for item in all {
        if bytes >= PAGE_BYTES {
            return (taken, true);
        }
        bytes += item.encoded_len();
        taken.push(item);
    }
    (taken, false)
}
