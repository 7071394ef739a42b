//! P1, Joining: members advertise fresh keys for this attempt.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::MemberIndex;

use super::{Accepted, Briefing, Common, Input, Round, Sharing, Transition, wrong_phase};
use crate::messages::{Advert, VerifiedAdvert};
use crate::rejection::{AbortReason, Rejection};
use crate::rules::Rule;
use crate::terms::Millis;

/// Waiting for adverts of the announced cohort.
#[derive(Debug, Clone)]
pub struct Joining {
    pub(super) common: Common,
    adverts: BTreeMap<MemberIndex, VerifiedAdvert>,
}

impl Joining {
    pub(super) fn new(common: Common) -> Self {
        Self {
            common,
            adverts: BTreeMap::new(),
        }
    }

    pub(super) fn handle(mut self, input: Input, now: Millis) -> Transition {
        let outcome = match input {
            Input::Advertise(advert) => self.advertise(advert),
            Input::Depart(member) => Ok(self.common.depart(member)),
            Input::Tick if now >= self.common.phase_ends => return self.close(now),
            Input::Tick => Ok(Accepted::Idle),
            other @ (Input::ShareKeys(_)
            | Input::Seal(_)
            | Input::AnnounceSurvivors(_)
            | Input::Confirm(_)
            | Input::Unmask(_)) => Err(wrong_phase(&other, "joining")),
        };
        match outcome {
            Ok(Accepted::New) if self.complete() => self.close(now),
            outcome => Transition {
                round: Round::Joining(self),
                outcome,
            },
        }
    }

    pub(super) fn advert(&self, member: MemberIndex) -> Option<&Advert> {
        self.adverts.get(&member).map(VerifiedAdvert::advert)
    }

    fn advertise(&mut self, advert: VerifiedAdvert) -> Result<Accepted, Rejection> {
        let member = advert.advert().member;
        self.common.asks(member, true)?;
        if let Some(known) = self.adverts.get(&member) {
            return repeated(member, *known == advert);
        }
        self.adverts.insert(member, advert);
        Ok(Accepted::New)
    }

    fn complete(&self) -> bool {
        let cohort: BTreeSet<_> = self.common.open.terms.cohort.keys().copied().collect();
        cohort
            .difference(&self.common.departed)
            .all(|member| self.adverts.contains_key(member))
    }

    /// U1 is what advertised and has not departed since.
    fn close(mut self, now: Millis) -> Transition {
        let departed = &self.common.departed;
        self.adverts.retain(|member, _| !departed.contains(member));
        let round = match self.common.enough(self.adverts.len()) {
            Ok(()) => Round::Sharing(Sharing::new(
                self.common.enter(now, |d| d.sharing_ms),
                self.adverts,
            )),
            Err((have, need)) => Round::Aborted(AbortReason::TooFewJoined { have, need }),
        };
        Transition {
            round,
            outcome: Ok(Accepted::New),
        }
    }

    pub(super) fn asks(&self, member: MemberIndex) -> bool {
        self.common.open.terms.cohort.contains_key(&member) && !self.adverts.contains_key(&member)
    }

    pub(super) fn briefing(&self) -> Briefing {
        Briefing::Advertise(self.common.open.clone())
    }
}

/// The answer to a second message by one member: the same is a repeat, another one an equivocation.
pub(super) fn repeated(member: MemberIndex, same: bool) -> Result<Accepted, Rejection> {
    Rule::C3
        .require(same, || Rejection::Equivocation(member))
        .map(|()| Accepted::Repeat)
}

impl Common {
    /// Notes that a member will not answer any more.
    pub(super) fn depart(&mut self, member: MemberIndex) -> Accepted {
        if self.open.terms.cohort.contains_key(&member) && self.departed.insert(member) {
            Accepted::New
        } else {
            Accepted::Idle
        }
    }

    /// Whether this many members suffice to go on: max(t, n_min, c + 2).
    pub(super) fn enough(&self, have: usize) -> Result<(), (u32, u32)> {
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        let need = self.open.terms.thresholds.fewest_survivors();
        if Rule::C13.holds(have >= need) {
            Ok(())
        } else {
            Err((have, need))
        }
    }

    /// Refuses a sender that this phase does not ask, or that departed.
    pub(super) fn asks(&self, member: MemberIndex, in_phase: bool) -> Result<(), Rejection> {
        Rule::C2.require(in_phase && !self.departed.contains(&member), || {
            Rejection::NotAsked(member)
        })
    }

    /// Starts the next phase's clock.
    pub(super) fn enter(
        mut self,
        now: Millis,
        span: impl Fn(&crate::terms::Deadlines) -> u64,
    ) -> Self {
        self.phase_ends = now.after(span(&self.deadlines));
        self
    }
}
