//! What a job shows: a view for operators, and what each member is asked or told.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::MemberIndex;
use consort_contract::OrganisationId;
use consort_proto::convert::{
    AttemptKey, attempt_to_wire, directive_to_wire, job_to_wire, plan_to_wire, result_to_wire,
    vote_to_wire,
};
use consort_proto::parts::split;
use consort_proto::wire::consent::v1::{Approval, Proposal};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::{JobClosed, RoundAborted};
use consort_round::RoundResult;

use super::board::Poster;
use super::core::Driver;
use crate::jobs::{self, Stage};

impl Driver {
    /// Puts the job on the board as it is.
    pub(super) fn publish(&mut self) {
        let mut view = jobs::view(&self.state, self.phase().unwrap_or_default());
        view.dangerous_simulated_attestation = self.simulated;
        view.model = self
            .released
            .map(|(model, _)| model.to_string())
            .unwrap_or_default();
        let members: Vec<_> = self
            .state
            .contract
            .indexed()
            .map(|(index, name)| (index, name.clone()))
            .collect();
        let wanted = members
            .iter()
            .map(|(index, name)| (name.clone(), self.wanted(*index, name)))
            .collect();
        self.services.board.put(self.id(), Poster { view, wanted });
    }

    /// Takes a job that ended long ago: members hear no more of it.
    pub(super) fn publish_quietly(&mut self) {
        self.publish();
        let mut view = jobs::view(&self.state, "");
        view.dangerous_simulated_attestation = self.simulated;
        view.model = self
            .released
            .map(|(model, _)| model.to_string())
            .unwrap_or_default();
        self.services.board.put(
            self.id(),
            Poster {
                view,
                wanted: BTreeMap::new(),
            },
        );
    }

    fn wanted(&mut self, index: MemberIndex, name: &OrganisationId) -> Vec<Arc<Event>> {
        match &self.state.stage {
            Stage::Voting if self.state.votes.contains_key(name) => Vec::new(),
            Stage::Voting => vec![self.paper("proposal")],
            Stage::Running => {
                let mut wanted = vec![self.paper("approval")];
                wanted.extend(self.outcome.clone());
                wanted.extend(self.asked(index));
                wanted
            }
            Stage::Ended(_) => self
                .outcome
                .clone()
                .into_iter()
                .chain([self.paper("closed")])
                .collect(),
        }
    }

    /// What the machine asks of a member, a long message in parts. The same wish is the same value, so that a follower can tell
    /// what is new; and a part that two members hear is one value, so that a complete graph's statements are held once.
    fn asked(&mut self, index: MemberIndex) -> Vec<Arc<Event>> {
        let (Some(attempt), Some(round)) = (&self.state.attempt, &self.round) else {
            return Vec::new();
        };
        if !round.asks(index) {
            self.asked.remove(&index);
            return Vec::new();
        }
        let phase = round.phase();
        // What is asked does not change within a phase, and opening an attempt forgets what was asked before.
        if let Some((asked_in, parts)) = self.asked.get(&index)
            && *asked_in == phase
        {
            return parts.clone();
        }
        let Some(directive) = round.directive(index) else {
            return Vec::new();
        };
        if self.newest_parts.0 != phase {
            self.newest_parts = (phase, Vec::new());
        }
        let parts = split(directive_to_wire(&attempt.key, &directive));
        let known = &mut self.newest_parts.1;
        let parts: Vec<_> = (parts.into_iter().enumerate())
            .map(|(place, part)| match known.get(place) {
                Some(same) if **same == part => same.clone(),
                Some(_) | None => Arc::new(part),
            })
            .collect();
        known.clone_from(&parts);
        self.asked.insert(index, (phase, parts.clone()));
        parts
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
                plan: Some(plan_to_wire(&contract.job, &contract.plan)),
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
            reason: reason.to_owned(),
        };
        self.outcome = Some(Arc::new(Event::RoundAborted(aborted)));
    }
}
