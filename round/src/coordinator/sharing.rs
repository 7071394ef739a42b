//! P2 and P3, Sharing: members see all adverts and send sealed shares of their secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::{MemberIndex, RoundKeyContext, Seating};

use super::{
    Accepted, Briefing, Collecting, Common, Input, Round, Transition, repeated, wrong_phase,
};
use crate::messages::{ShareKeys, ShareStatement, VerifiedAdvert, keys_context};
use crate::rejection::{AbortReason, Rejection};
use crate::terms::Millis;

/// Waiting for shares of U1.
#[derive(Debug, Clone)]
pub struct Sharing {
    pub(super) common: Common,
    adverts: Arc<BTreeMap<MemberIndex, VerifiedAdvert>>,
    context2: RoundKeyContext,
    seating: Arc<Seating>,
    shared: BTreeMap<MemberIndex, ShareKeys>,
}

impl Sharing {
    pub(super) fn new(common: Common, adverts: BTreeMap<MemberIndex, VerifiedAdvert>) -> Self {
        let context2 = keys_context(&common.open.terms.context(), &adverts);
        let graph = common.open.terms.graph();
        let seating = graph.seat(&context2, adverts.keys().copied());
        Self {
            common,
            adverts: Arc::new(adverts),
            context2,
            seating: Arc::new(seating),
            shared: BTreeMap::new(),
        }
    }

    pub(super) fn handle(mut self, input: Input, now: Millis) -> Transition {
        let outcome = match input {
            Input::ShareKeys(message) => self.share(message),
            Input::Advertise(advert) => match self.adverts.get(&advert.advert().member) {
                Some(known) if *known == advert => Ok(Accepted::Repeat),
                _ => Err(wrong_phase(&Input::Advertise(advert), "sharing")),
            },
            Input::Depart(member) => Ok(self.common.depart(member)),
            Input::Tick if now >= self.common.phase_ends => return self.close(now),
            Input::Tick => Ok(Accepted::Idle),
            other @ (Input::Seal(_)
            | Input::AnnounceSurvivors(_)
            | Input::Confirm(_)
            | Input::Unmask(_)) => Err(wrong_phase(&other, "sharing")),
        };
        match outcome {
            Ok(Accepted::New) if self.complete() => self.close(now),
            outcome => Transition {
                round: Round::Sharing(self),
                outcome,
            },
        }
    }

    pub(super) fn context2(&self) -> &RoundKeyContext {
        &self.context2
    }

    pub(super) fn adverts(&self) -> &BTreeMap<MemberIndex, VerifiedAdvert> {
        &self.adverts
    }

    pub(super) fn statement(&self, member: MemberIndex) -> Option<&ShareStatement> {
        self.shared.get(&member).map(|message| &message.statement)
    }

    fn share(&mut self, message: ShareKeys) -> Result<Accepted, Rejection> {
        let member = message.statement.member;
        self.common
            .asks(member, self.adverts.contains_key(&member))?;
        if let Some(known) = self.shared.get(&member) {
            return repeated(member, *known == message);
        }
        let terms = &self.common.open.terms;
        message.verify(&self.context2, terms, &self.seating, &self.adverts)?;
        self.shared.insert(member, message);
        Ok(Accepted::New)
    }

    fn complete(&self) -> bool {
        self.adverts
            .keys()
            .filter(|member| !self.common.departed.contains(*member))
            .all(|member| self.shared.contains_key(member))
    }

    /// U2 is who shared. A member that departed after sharing stays in U2: the others may have masked with it.
    fn close(self, now: Millis) -> Transition {
        let covered = self
            .seating
            .covered_by(&self.shared.keys().copied().collect());
        let round = match self.common.enough(self.shared.len()) {
            Ok(()) if !covered => Round::Aborted(AbortReason::GapInShared),
            Ok(()) => {
                let common = self.common.enter(now, |d| d.collecting_ms);
                Round::Collecting(Collecting::new(
                    common,
                    self.adverts,
                    self.context2,
                    self.seating,
                    self.shared,
                ))
            }
            Err((have, need)) => Round::Aborted(AbortReason::TooFewShared { have, need }),
        };
        Transition {
            round,
            outcome: Ok(Accepted::New),
        }
    }

    pub(super) fn asks(&self, member: MemberIndex) -> bool {
        self.adverts.contains_key(&member) && !self.shared.contains_key(&member)
    }

    pub(super) fn briefing(&self) -> Briefing {
        Briefing::ShareKeys {
            adverts: self.adverts.clone(),
            seating: self.seating.clone(),
        }
    }
}
