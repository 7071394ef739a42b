//! P4, Collecting: members upload masked updates; a completed one is named by its seal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{Digest, MemberIndex, RoundKeyContext, Seating};
use consort_contract::IdentitySecret;

use super::{
    Accepted, Briefing, Common, Confirming, Input, Round, Transition, repeated, wrong_phase,
};
use crate::messages::{ShareKeys, SharedSet, Survivors, UpdateSeal, VerifiedAdvert};
use crate::rejection::{AbortReason, Rejection};
use crate::rules::Rule;
use crate::terms::Millis;

/// Waiting for masked updates of U2. The vectors themselves are the driver's: it stores every chunk before it passes the seal.
#[derive(Debug, Clone)]
pub struct Collecting {
    pub(super) common: Common,
    pub(super) adverts: Arc<BTreeMap<MemberIndex, VerifiedAdvert>>,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Arc<Seating>,
    pub(super) shared: Arc<BTreeMap<MemberIndex, ShareKeys>>,
    /// U2 with the digests of its statements.
    pub(super) u2: Arc<SharedSet>,
    /// S(U2).
    pub(super) u2_root: Digest,
    pub(super) seals: BTreeMap<MemberIndex, UpdateSeal>,
    expired: bool,
}

impl Collecting {
    pub(super) fn new(
        common: Common,
        adverts: Arc<BTreeMap<MemberIndex, VerifiedAdvert>>,
        context2: RoundKeyContext,
        seating: Arc<Seating>,
        shared: BTreeMap<MemberIndex, ShareKeys>,
    ) -> Self {
        let u2 = shared_set(&shared, &context2);
        Self {
            u2_root: u2.root(),
            u2: Arc::new(u2),
            common,
            adverts,
            context2,
            seating,
            shared: Arc::new(shared),
            seals: BTreeMap::new(),
            expired: false,
        }
    }

    pub(super) fn handle(mut self, input: Input, now: Millis) -> Transition {
        let outcome = match input {
            Input::Seal(seal) => self.seal(seal),
            Input::AnnounceSurvivors(survivors) => return self.announce_survivors(survivors, now),
            Input::ShareKeys(message) => match self.shared.get(&message.statement.member) {
                Some(known) if *known == message => Ok(Accepted::Repeat),
                _ => Err(wrong_phase(&Input::ShareKeys(message), "collecting")),
            },
            Input::Depart(member) => Ok(self.common.depart(member)),
            Input::Tick if now >= self.common.phase_ends && !self.expired => {
                self.expired = true;
                Ok(Accepted::New)
            }
            Input::Tick => Ok(Accepted::Idle),
            other @ (Input::Advertise(_) | Input::Confirm(_) | Input::Unmask(_)) => {
                Err(wrong_phase(&other, "collecting"))
            }
        };
        let over = matches!(outcome, Ok(Accepted::New)) && self.complete();
        match self.common.enough(self.seals.len()) {
            Err((have, need)) if over => {
                let round = Round::Aborted(AbortReason::TooFewSurvivors { have, need });
                return Transition { round, outcome };
            }
            Ok(()) if over && !self.covered() => {
                let round = Round::Aborted(AbortReason::GapInSurvivors);
                return Transition { round, outcome };
            }
            Ok(()) | Err(_) => {}
        }
        Transition {
            round: Round::Collecting(self),
            outcome,
        }
    }

    fn seal(&mut self, seal: UpdateSeal) -> Result<Accepted, Rejection> {
        self.admits(seal.member)?;
        if let Some(known) = self.seals.get(&seal.member) {
            return repeated(seal.member, *known == seal);
        }
        let terms = &self.common.open.terms;
        let identity = terms
            .identity(seal.member)
            .ok_or(Rejection::NotAsked(seal.member))?;
        seal.verify(&self.context2, &self.u2_root, identity)?;
        self.seals.insert(seal.member, seal);
        Ok(Accepted::New)
    }

    /// Whether an upload by this member may begin or end now.
    ///
    /// # Errors
    /// [`Rejection::NotAsked`] for a member outside U2 or departed; [`Rejection::WrongPhase`] once collecting is over.
    pub fn admits(&self, member: MemberIndex) -> Result<(), Rejection> {
        self.common
            .asks(member, self.shared.contains_key(&member))?;
        if self.complete() && !self.seals.contains_key(&member) {
            return Err(Rejection::WrongPhase {
                message: "update-seal",
                phase: "confirming",
            });
        }
        Ok(())
    }

    /// Whether nobody is waited for any more.
    pub(super) fn complete(&self) -> bool {
        let departed = &self.common.departed;
        self.expired
            || self
                .shared
                .keys()
                .filter(|m| !departed.contains(*m))
                .all(|m| self.seals.contains_key(m))
    }

    fn covered(&self) -> bool {
        let sealed = self.seals.keys().copied().collect();
        self.seating.covered_by(&sealed)
    }

    /// Signs the survivor set: exactly the members whose update is complete.
    pub fn announce(&self, coordinator: &IdentitySecret) -> Survivors {
        Survivors::new(&self.context2, &self.seals, coordinator)
    }

    fn announce_survivors(self, survivors: Survivors, now: Millis) -> Transition {
        let sealed: BTreeSet<_> = self.seals.keys().copied().collect();
        let exact = Rule::C7.require(self.complete() && survivors.members == sealed, || {
            Rejection::Malformed("the survivor set must be the members whose update is complete")
        });
        if let Err(rejection) = exact {
            return Transition {
                round: Round::Collecting(self),
                outcome: Err(rejection),
            };
        }
        let round = Round::Confirming(Confirming::new(self, survivors, now));
        Transition {
            round,
            outcome: Ok(Accepted::New),
        }
    }

    pub(super) fn asks(&self, member: MemberIndex) -> bool {
        self.shared.contains_key(&member) && !self.seals.contains_key(&member) && !self.complete()
    }

    pub(super) fn briefing(&self) -> Briefing {
        Briefing::Submit {
            shared: self.shared.clone(),
            u2: self.u2.clone(),
            seating: self.seating.clone(),
        }
    }
}

fn shared_set(shared: &BTreeMap<MemberIndex, ShareKeys>, context2: &RoundKeyContext) -> SharedSet {
    let statement =
        |(member, shares): (&MemberIndex, &ShareKeys)| (*member, shares.statement.digest(context2));
    shared.iter().map(statement).collect()
}
