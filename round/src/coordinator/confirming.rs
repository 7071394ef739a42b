//! P5, Confirming: the survivors sign the set that will be opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::MemberIndex;

use super::{
    Accepted, Briefing, Collecting, Common, Input, Round, Transition, Unmasking, repeated,
    wrong_phase,
};
use crate::messages::{Confirmation, ConfirmedSets, Survivors, member_set_hash};
use crate::rejection::{AbortReason, Rejection};
use crate::rules::Rule;
use crate::terms::Millis;

/// Waiting for signatures of U3 on U3.
#[derive(Debug, Clone)]
pub struct Confirming {
    pub(super) common: Common,
    pub(super) collected: Collecting,
    pub(super) survivors: Arc<Survivors>,
    pub(super) confirmations: BTreeMap<MemberIndex, Confirmation>,
}

impl Confirming {
    pub(super) fn new(collected: Collecting, survivors: Survivors, now: Millis) -> Self {
        let common = collected.common.clone().enter(now, |d| d.confirming_ms);
        Self {
            common,
            collected,
            survivors: Arc::new(survivors),
            confirmations: BTreeMap::new(),
        }
    }

    pub(super) fn handle(mut self, input: Input, now: Millis) -> Transition {
        let outcome = match input {
            Input::Confirm(confirmation) => self.confirm(confirmation),
            Input::Seal(seal) => match self.collected.seals.get(&seal.member) {
                Some(known) if *known == seal => Ok(Accepted::Repeat),
                _ => Err(wrong_phase(&Input::Seal(seal), "confirming")),
            },
            Input::Depart(member) => Ok(self.common.depart(member)),
            Input::Tick if now >= self.common.phase_ends => return self.close(now),
            Input::Tick => Ok(Accepted::Idle),
            other @ (Input::Advertise(_)
            | Input::ShareKeys(_)
            | Input::AnnounceSurvivors(_)
            | Input::Unmask(_)) => Err(wrong_phase(&other, "confirming")),
        };
        match outcome {
            Ok(Accepted::New) if self.complete() => self.close(now),
            outcome => Transition {
                round: Round::Confirming(self),
                outcome,
            },
        }
    }

    fn confirm(&mut self, confirmation: Confirmation) -> Result<Accepted, Rejection> {
        let member = confirmation.member;
        self.common
            .asks(member, self.survivors.members.contains(&member))?;
        if let Some(known) = self.confirmations.get(&member) {
            return repeated(member, *known == confirmation);
        }
        let identity = self
            .common
            .open
            .terms
            .identity(member)
            .ok_or(Rejection::NotAsked(member))?;
        confirmation.verify(&self.collected.context2, &self.sets(), identity, Rule::C8)?;
        self.confirmations.insert(member, confirmation);
        Ok(Accepted::New)
    }

    /// What the confirmations are over.
    pub(super) fn sets(&self) -> ConfirmedSets {
        ConfirmedSets {
            u2: self.collected.u2_root,
            u3: member_set_hash(&self.survivors.members),
            inputs_root: self.survivors.inputs_root,
            log_head: self.common.open.terms.log_head,
        }
    }

    fn complete(&self) -> bool {
        let waiting = |m: &&MemberIndex| !self.common.departed.contains(*m);
        self.survivors
            .members
            .iter()
            .filter(waiting)
            .all(|m| self.confirmations.contains_key(m))
    }

    fn close(self, now: Millis) -> Transition {
        let have = u32::try_from(self.confirmations.len()).unwrap_or(u32::MAX);
        let need = self.common.open.terms.thresholds.confirmation_quorum();
        let confirmed = self.confirmations.keys().copied().collect();
        let covered = self.collected.seating.covered_by(&confirmed);
        let round = if have >= need && !Rule::C13.holds(covered) {
            Round::Aborted(AbortReason::GapInSurvivors)
        } else if Rule::C13.holds(have >= need) {
            Round::Unmasking(Unmasking::new(self, now))
        } else {
            Round::Aborted(AbortReason::TooFewConfirmed { have, need })
        };
        Transition {
            round,
            outcome: Ok(Accepted::New),
        }
    }

    pub(super) fn asks(&self, member: MemberIndex) -> bool {
        self.survivors.members.contains(&member) && !self.confirmations.contains_key(&member)
    }

    pub(super) fn briefing(&self) -> Briefing {
        Briefing::Confirm(self.survivors.clone())
    }
}
