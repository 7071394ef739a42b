//! What a job shows: a view for operators, and what each member is asked or told.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::MemberIndex;
use consort_contract::OrganisationId;
use consort_proto::convert::{
    AttemptKey, attempt_to_wire, job_to_wire, result_to_wire, vote_to_wire,
};
use consort_proto::handout::Handout;
use consort_proto::wire::consent::v1::{Approval, Proposal};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::{JobClosed, RoundAborted};
use consort_round::RoundResult;

use super::board::{Poster, Wish};
use super::core::Driver;
use crate::jobs::{self, Stage};

impl Driver {
    /// Puts the job on the board as it is.
    pub(super) fn publish(&mut self) {
        self.prepare_handout();
        let wanted = (self.members.clone().iter())
            .zip(1..)
            .filter_map(|(name, index)| {
                let index = MemberIndex::new(index)?;
                Some((name.clone(), self.wanted(index, name)))
            })
            .collect();
        let phase = self.phase().unwrap_or_default();
        self.put(phase, wanted);
    }

    /// Takes a job that ended long ago: members hear no more of it.
    pub(super) fn publish_quietly(&mut self) {
        self.publish();
        self.put("", BTreeMap::new());
    }

    fn put(&self, phase: &str, wanted: BTreeMap<OrganisationId, Vec<Wish>>) {
        let mut view = jobs::view(&self.state, phase);
        view.dangerous_simulated_attestation = self.simulated;
        view.model = self
            .released
            .map(|(model, _)| model.to_string())
            .unwrap_or_default();
        let poster = Poster {
            view,
            rounds: self.state.rounds.clone(),
            members: self.members.clone(),
            wanted,
        };
        self.services.board.put(self.id(), poster);
    }

    fn wanted(&mut self, index: MemberIndex, name: &OrganisationId) -> Vec<Wish> {
        match &self.state.stage {
            Stage::Voting if self.state.votes.contains_key(name) => Vec::new(),
            Stage::Voting => vec![Wish::Paper(self.paper("proposal"))],
            Stage::Running => {
                let mut wanted = vec![Wish::Paper(self.paper("approval"))];
                wanted.extend(self.outcome.clone().map(Wish::Paper));
                wanted.extend(self.asked(index));
                wanted
            }
            Stage::Ended(_) => self
                .outcome
                .clone()
                .into_iter()
                .chain([self.paper("closed")])
                .map(Wish::Paper)
                .collect(),
        }
    }

    /// What the machine asks of a member.
    fn asked(&self, index: MemberIndex) -> Option<Wish> {
        let handout = self.handout.as_ref().map(|(_, handout)| handout)?;
        let asks = self.round.as_ref().is_some_and(|round| round.asks(index));
        asks.then(|| Wish::Handed(handout.clone(), index))
    }

    /// Has what the phase says at hand, and nothing of an earlier one. What is asked does not change within a phase, and opening
    /// an attempt forgets what was asked before.
    fn prepare_handout(&mut self) {
        let phase = self.phase();
        if self.handout.as_ref().map(|(of, _)| *of) == phase {
            return;
        }
        self.handout = None;
        let attempt = self.state.attempt.as_ref();
        let briefing = self.round.as_ref().and_then(|round| round.briefing());
        if let (Some(phase), Some(attempt), Some(briefing)) = (phase, attempt, briefing) {
            self.handout = Some((phase, Arc::new(Handout::new(&attempt.key, briefing))));
        }
    }

    fn paper(&mut self, which: &'static str) -> Arc<Event> {
        if let Some(paper) = self.papers.get(which) {
            return paper.clone();
        }
        let contract = &self.state.contract;
        let job = contract.id.to_string();
        let paper = match (which, &self.state.stage) {
            ("proposal", _) => Event::Proposal(Proposal {
                job,
                spec: Some(job_to_wire(contract.job.document())),
                plan: Some(contract.plan_to_wire()),
            }),
            ("closed", Stage::Ended(ending)) => Event::JobClosed(JobClosed {
                job,
                state: ending.state.name().to_owned(),
            }),
            _ => Event::Approval(Approval {
                job,
                votes: self.state.votes.values().map(vote_to_wire).collect(),
            }),
        };
        let paper = Arc::new(paper);
        self.papers.insert(which, paper.clone());
        paper
    }

    /// The newest attempt gave a sum.
    pub(super) fn tell_released(&mut self, key: &AttemptKey, result: &RoundResult) {
        self.outcome = Some(Arc::new(Event::RoundResult(result_to_wire(key, result))));
    }

    /// The newest attempt gave none.
    pub(super) fn tell_aborted(&mut self, key: &AttemptKey, code: &str, reason: &str) {
        let aborted = RoundAborted {
            id: Some(attempt_to_wire(key)),
            code: code.to_owned(),
            reason: jobs::clipped(reason),
        };
        self.outcome = Some(Arc::new(Event::RoundAborted(aborted)));
    }
}
