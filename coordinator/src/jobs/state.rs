//! Where a job stands: a fold over its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{OrganisationId, Vote};
use consort_proto::convert::AttemptKey;
use consort_round::{Attempt, RoundNumber};

use super::{Contract, Ending, JobEvent, Released};

/// Attempts at one round before a job fails: nothing was submitted in them, so they cost no privacy, but members that
/// cannot come together five times need a person.
pub const MAX_ATTEMPTS: u32 = 5;

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for votes.
    Voting,
    /// Rounds are run.
    Running,
    /// Nothing follows.
    Ended(Ending),
}

/// What was accepted in the attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningAttempt {
    /// Which one.
    pub key: AttemptKey,
    /// Who advertised.
    pub advertised: BTreeSet<MemberIndex>,
    /// Who shared.
    pub shared: BTreeSet<MemberIndex>,
    /// Whose update is complete.
    pub sealed: BTreeSet<MemberIndex>,
    /// Who confirmed.
    pub confirmed: BTreeSet<MemberIndex>,
    /// Who departed.
    pub departed: BTreeSet<MemberIndex>,
    /// Who was convicted by its own signatures.
    pub blamed: BTreeSet<MemberIndex>,
}

/// A round that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedRound {
    /// Which round and which attempt ended it.
    pub key: AttemptKey,
    /// Whose updates are in the sum.
    pub survivors: Vec<MemberIndex>,
    /// Mean loss over the divisor, noised.
    pub noised_loss: Option<f64>,
    /// Epsilon spent after this round.
    pub epsilon_spent: f64,
    /// Wall time per phase, milliseconds.
    pub phase_ms: BTreeMap<String, u64>,
    /// Why there was no sum; empty when there was.
    pub aborted: String,
}

/// What a running job without a running attempt does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Open this attempt.
    Open(RoundNumber, Attempt),
    /// All rounds are over: hand over the model.
    Release,
    /// There is nothing to hand over.
    Fail {
        /// Stable code.
        code: &'static str,
        /// For people.
        reason: String,
    },
}

/// The state of a job.
#[derive(Debug, Clone)]
pub struct JobState {
    /// What was agreed.
    pub contract: Contract,
    /// Where it stands.
    pub stage: Stage,
    /// Votes that were cast.
    pub votes: BTreeMap<OrganisationId, Vote>,
    /// The attempt that runs.
    pub attempt: Option<RunningAttempt>,
    /// Rounds that are over, oldest first; shared with who shows them.
    pub rounds: Arc<Vec<EndedRound>>,
    /// The newest attempt that ended before anybody had submitted, if its round is not over.
    pub retried: Option<(RoundNumber, Attempt, String)>,
    /// Rounds in which members submitted.
    pub spent_rounds: u32,
    /// Rounds that each member's updates were counted in.
    pub spent: BTreeMap<OrganisationId, u32>,
    /// Hash of the newest model.
    pub model: Digest,
    /// Bytes of messages and masked updates, by the member that sent them.
    pub sent_bytes: BTreeMap<OrganisationId, u64>,
    /// Of what a member was convicted by its own signatures, last.
    pub convicted: BTreeMap<OrganisationId, &'static str>,
    /// Restarts of the coordinator while the job lived.
    pub restarts: u32,
}

impl JobState {
    /// The state after the proposal.
    pub fn submitted(contract: Contract) -> Self {
        let first = || Digest::new(*contract.job.first_announced().hash().as_bytes());
        let model = contract.job.stated_parameters().unwrap_or_else(first);
        Self {
            contract,
            stage: Stage::Voting,
            votes: BTreeMap::new(),
            attempt: None,
            rounds: Arc::default(),
            retried: None,
            spent_rounds: 0,
            spent: BTreeMap::new(),
            model,
            sent_bytes: BTreeMap::new(),
            convicted: BTreeMap::new(),
            restarts: 0,
        }
    }

    /// Takes an accepted event.
    pub fn apply(&mut self, event: &JobEvent) {
        self.count(event);
        match event {
            JobEvent::Submitted(_) => {}
            JobEvent::Voted(vote) => self.vote(vote),
            JobEvent::RoundOpened(open) => {
                self.attempt = Some(RunningAttempt {
                    key: AttemptKey::of(&open.terms),
                    advertised: BTreeSet::new(),
                    shared: BTreeSet::new(),
                    sealed: BTreeSet::new(),
                    confirmed: BTreeSet::new(),
                    departed: BTreeSet::new(),
                    blamed: BTreeSet::new(),
                });
            }
            JobEvent::Advertised(advert) => {
                self.note(advert.member, |attempt| &mut attempt.advertised)
            }
            JobEvent::Shared(message) => {
                self.note(message.statement.member, |attempt| &mut attempt.shared)
            }
            JobEvent::Sealed { seal, .. } => self.note(seal.member, |attempt| &mut attempt.sealed),
            JobEvent::Confirmed(confirmation) => {
                self.note(confirmation.member, |attempt| &mut attempt.confirmed)
            }
            JobEvent::Departed(member) => self.note(*member, |attempt| &mut attempt.departed),
            JobEvent::Blamed(blamed) => {
                self.note(blamed.member, |attempt| &mut attempt.blamed);
                if let Some(name) = self.contract.name_of(blamed.member).cloned() {
                    self.convicted.insert(name, blamed.record.fault());
                }
            }
            JobEvent::Survivors(_) | JobEvent::Unmasked(_) | JobEvent::PhaseExpired => {}
            JobEvent::Released(released) => self.released(released),
            JobEvent::Aborted { code, reason } => self.aborted(code, reason),
            JobEvent::Restarted => self.restarts += 1,
            JobEvent::Ended(ending) => {
                self.attempt = None;
                self.stage = Stage::Ended(ending.clone());
            }
        }
    }

    /// Counts what a member sent.
    fn count(&mut self, event: &JobEvent) {
        let Some(attempt) = &self.attempt else { return };
        let Some((member, bytes)) = event.sent(&attempt.key) else {
            return;
        };
        if let Some(name) = self.contract.name_of(member).cloned() {
            *self.sent_bytes.entry(name).or_default() += bytes;
        }
    }

    /// What follows when no attempt runs.
    pub fn next_step(&self) -> NextStep {
        if let Some((round, attempt, reason)) = &self.retried {
            if attempt.0 >= MAX_ATTEMPTS {
                let reason = format!("round {} was tried {MAX_ATTEMPTS} times: {reason}", round.0);
                return NextStep::Fail {
                    code: "round_attempts_exhausted",
                    reason,
                };
            }
            return self.open_or_fail(*round, Attempt(attempt.0 + 1));
        }
        let done = self.rounds.last().map_or(0, |round| round.key.round.0);
        if done < self.contract.rounds() {
            return self.open_or_fail(RoundNumber(done + 1), Attempt(1));
        }
        if self.rounds.iter().any(|round| round.aborted.is_empty()) {
            NextStep::Release
        } else {
            let reason = "no round gave a sum; there is no model to hand over".to_owned();
            NextStep::Fail {
                code: "no_round_released",
                reason,
            }
        }
    }

    /// An attempt is opened only if those that were not convicted could give a sum: the others are not asked.
    fn open_or_fail(&self, round: RoundNumber, attempt: Attempt) -> NextStep {
        let members = self.contract.members();
        let left = (members.iter())
            .filter(|name| !self.convicted.contains_key(*name))
            .count();
        let need = self.contract.job.thresholds().fewest_survivors();
        if left >= need as usize {
            return NextStep::Open(round, attempt);
        }
        let convicts = named(
            self.convicted
                .iter()
                .map(|(name, fault)| format!("{name} of a {fault}")),
        );
        let reason = format!(
            "{left} of {} members are left and a sum needs {need}; the log convicts {convicts}. Submit the job again without them",
            members.len()
        );
        NextStep::Fail {
            code: "too_many_convicted",
            reason,
        }
    }

    /// Whether nothing follows.
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    fn note(
        &mut self,
        member: MemberIndex,
        set: impl Fn(&mut RunningAttempt) -> &mut BTreeSet<MemberIndex>,
    ) {
        if let Some(attempt) = &mut self.attempt {
            set(attempt).insert(member);
        }
    }

    fn vote(&mut self, vote: &Vote) {
        self.votes.insert(vote.organisation.clone(), vote.clone());
        let approved =
            |name: &OrganisationId| self.votes.get(name).is_some_and(|vote| vote.approve);
        if self.stage == Stage::Voting && self.contract.members().iter().all(approved) {
            self.stage = Stage::Running;
        }
    }

    fn released(&mut self, released: &Released) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        self.model = released.model;
        self.spend(&attempt);
        let ended = EndedRound {
            survivors: released.result.survivors.iter().copied().collect(),
            noised_loss: released.noised_loss,
            epsilon_spent: self.contract.epsilon_after(self.spent_rounds),
            phase_ms: released.phase_ms.clone(),
            aborted: String::new(),
            key: attempt.key,
        };
        Arc::make_mut(&mut self.rounds).push(ended);
        self.retried = None;
    }

    fn aborted(&mut self, code: &str, reason: &str) {
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        if !is_spent(code) {
            self.retried = Some((attempt.key.round, attempt.key.attempt, reason.to_owned()));
            return;
        }
        self.spend(&attempt);
        let ended = EndedRound {
            survivors: Vec::new(),
            noised_loss: None,
            epsilon_spent: self.contract.epsilon_after(self.spent_rounds),
            phase_ms: BTreeMap::new(),
            aborted: reason.to_owned(),
            key: attempt.key,
        };
        Arc::make_mut(&mut self.rounds).push(ended);
        self.retried = None;
    }

    fn spend(&mut self, attempt: &RunningAttempt) {
        self.spent_rounds += 1;
        for member in &attempt.sealed {
            if let Some(name) = self.contract.name_of(*member).cloned() {
                *self.spent.entry(name).or_default() += 1;
            }
        }
    }
}

/// Bytes of names in a reason, which has 1024 at most on the wire.
const MOST_NAMED_BYTES: usize = 700;

/// What is named one by one as far as there is room, and then counted.
pub(crate) fn named(all: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = String::new();
    let mut left = all.len();
    for one in all {
        if !text.is_empty() && text.len() + one.len() > MOST_NAMED_BYTES {
            return format!("{text} and {left} others");
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&one);
        left -= 1;
    }
    text
}

/// Whether an abort with this code spends its round: only those before anybody is asked for an update do not.
pub(crate) fn is_spent(code: &str) -> bool {
    !matches!(
        code,
        "abort_too_few_joined" | "abort_too_few_shared" | "abort_gap_in_shared"
    )
}
