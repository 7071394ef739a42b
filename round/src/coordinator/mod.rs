//! The coordinator's side of a round: one file per phase, in the order in which they happen.
//!
//! The machine is driven by accepted inputs only: whoever stores each accepted input and feeds the stored ones to
//! [`Round::handle`] again has the same round back. That is how a restarted coordinator continues an attempt.

mod briefing;
mod collecting;
mod confirming;
mod joining;
mod sharing;
mod unmasking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{MemberIndex, RoundKeyContext};

pub use briefing::{Briefing, boxes_for};
pub use collecting::Collecting;
pub use confirming::Confirming;
pub use joining::Joining;
use joining::repeated;
pub use sharing::Sharing;
pub use unmasking::{Opening, Unmasking};

use crate::blame::{Blame, Complaint, Proceedings, Signed};
use crate::messages::{
    Advert, Confirmation, Directive, RoundOpen, ShareKeys, ShareStatement, Survivors, UnmaskShares,
    UpdateSeal, VerifiedAdvert,
};
use crate::rejection::{AbortReason, Rejection};
use crate::terms::{Deadlines, Millis};

/// What can happen to a round.
#[derive(Debug, Clone)]
pub enum Input {
    /// P1 arrived and was verified.
    Advertise(VerifiedAdvert),
    /// P3 arrived.
    ShareKeys(ShareKeys),
    /// P4 is complete: every chunk is stored and hashes to the seal.
    Seal(UpdateSeal),
    /// The survivor set was signed; given by the driver as soon as the machine reports [`Round::survivors_wanted`].
    AnnounceSurvivors(Survivors),
    /// P5 arrived.
    Confirm(Confirmation),
    /// P6 arrived.
    Unmask(UnmaskShares),
    /// This member restarted or was excluded: it will not answer any more in this attempt.
    Depart(MemberIndex),
    /// Time has passed.
    Tick,
}

impl Input {
    /// The member that said it; nobody when it comes of the coordinator itself.
    pub fn sender(&self) -> Option<MemberIndex> {
        match self {
            Self::Advertise(advert) => Some(advert.advert().member),
            Self::ShareKeys(message) => Some(message.statement.member),
            Self::Seal(seal) => Some(seal.member),
            Self::Confirm(confirmation) => Some(confirmation.member),
            Self::Unmask(answer) => Some(answer.member),
            Self::AnnounceSurvivors(_) | Self::Depart(_) | Self::Tick => None,
        }
    }
}

/// Where a round stands.
#[derive(Debug)]
pub enum Round {
    /// P1: waiting for adverts.
    Joining(Joining),
    /// P3: waiting for shares.
    Sharing(Sharing),
    /// P4: waiting for masked updates.
    Collecting(Collecting),
    /// P5: waiting for signatures on the survivor set.
    Confirming(Confirming),
    /// P6: waiting for shares of secrets.
    Unmasking(Unmasking),
    /// Enough shares are here: the sum can be opened.
    Opened(Opening),
    /// The attempt ended without a sum.
    Aborted(AbortReason),
}

/// The answer to an input that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The state changed: the input must be stored before anything is answered.
    New,
    /// The same message was accepted before: the same answer goes out, nothing changes.
    Repeat,
    /// Nothing happened (a tick before its deadline).
    Idle,
}

/// A round after an input, and what to tell the sender.
#[derive(Debug)]
pub struct Transition {
    /// The round; unchanged when the input was refused.
    pub round: Round,
    /// What became of the input.
    pub outcome: Result<Accepted, Rejection>,
}

/// What every phase carries along.
#[derive(Debug, Clone)]
pub struct Common {
    /// The signed terms.
    pub open: Arc<RoundOpen>,
    /// Waiting times.
    pub deadlines: Deadlines,
    /// Members that will not answer any more.
    pub departed: BTreeSet<MemberIndex>,
    /// When the current phase ends.
    pub phase_ends: Millis,
}

impl Round {
    /// Opens an attempt.
    pub fn open(open: Arc<RoundOpen>, deadlines: Deadlines, now: Millis) -> Self {
        let phase_ends = now.after(deadlines.joining_ms);
        Self::Joining(Joining::new(Common {
            open,
            deadlines,
            departed: BTreeSet::new(),
            phase_ends,
        }))
    }

    /// What an input proves against its sender, whether or not it is accepted: asked before [`Round::handle`], for a record
    /// that others can verify ([`Blame::verify`]). Only what the sender itself signed counts; an input whose signature does
    /// not hold proves nothing.
    pub fn blame(&self, input: &Input) -> Option<Blame> {
        let contradicts = |first: Option<Signed>, second: Signed| {
            let first = first.filter(|first| first.bytes != second.bytes)?;
            Some(Blame::Contradiction { first, second })
        };
        let terms = &self.common()?.open.terms;
        let found = match input {
            Input::Advertise(advert) => {
                let context = terms.context();
                let known = self.advert(advert.advert().member);
                contradicts(
                    known.map(|known| known.head().signed(&context)),
                    advert.advert().head().signed(&context),
                )
            }
            Input::ShareKeys(message) => {
                let context2 = self.context2()?;
                let known = self.statement(message.statement.member);
                contradicts(
                    known.map(|known| known.signed(context2)),
                    message.statement.signed(context2),
                )
            }
            Input::Seal(seal) => {
                let phase = self.collected()?;
                let known = phase.seals.get(&seal.member);
                contradicts(
                    known.map(|known| known.signed(&phase.context2, &phase.u2_root)),
                    seal.signed(&phase.context2, &phase.u2_root),
                )
            }
            Input::Confirm(confirmation) => {
                let context2 = self.context2()?;
                let known = self.confirmation(confirmation.member);
                contradicts(
                    known.map(|known| known.signed(context2)),
                    confirmation.signed(context2),
                )
            }
            Input::Unmask(answer) => match self {
                Self::Unmasking(phase) => phase.blame(answer),
                Self::Joining(_)
                | Self::Sharing(_)
                | Self::Collecting(_)
                | Self::Confirming(_)
                | Self::Opened(_)
                | Self::Aborted(_) => None,
            },
            Input::AnnounceSurvivors(_) | Input::Depart(_) | Input::Tick => None,
        }?;
        found.verify(&self.proceedings()?).is_ok().then_some(found)
    }

    /// The record that a member's complaint makes with the dealer's statement and box; `None` unless it convicts the dealer.
    /// Complaints belong to P4: who refuses its delivery does so before it submits, and the phase waits for it.
    pub fn complaint(&self, by: MemberIndex, complaint: &Complaint) -> Option<Blame> {
        let Self::Collecting(phase) = self else {
            return None;
        };
        let dealt = phase.shared.get(&complaint.dealer)?;
        let record = Blame::WrongBox {
            statement: dealt.statement.signed(&phase.context2),
            sealed: dealt.sealed.get(&by)?.clone(),
            to: by,
            agreement: complaint.agreement.clone(),
        };
        let convicted = record.verify(&self.proceedings()?).ok()?;
        (convicted == complaint.dealer).then_some(record)
    }

    /// What the records of [`Self::blame`] are verified on; `None` when the attempt is over.
    pub fn proceedings(&self) -> Option<Proceedings> {
        // In the joining phase there is no key list yet; a contradiction of adverts is in ctx alone.
        let none = BTreeMap::new();
        let adverts = match self {
            Self::Sharing(phase) => phase.adverts(),
            Self::Collecting(_) | Self::Confirming(_) | Self::Unmasking(_) => {
                &self.collected()?.adverts
            }
            Self::Joining(_) | Self::Opened(_) | Self::Aborted(_) => &none,
        };
        let heads = adverts.iter().map(|(m, a)| (*m, a.advert().head()));
        let terms = &self.common()?.open.terms;
        Some(Proceedings::new(terms, heads.collect()))
    }

    /// Handles one input. A refused input leaves the round as it was.
    pub fn handle(self, input: Input, now: Millis) -> Transition {
        match self {
            Self::Joining(phase) => phase.handle(input, now),
            Self::Sharing(phase) => phase.handle(input, now),
            Self::Collecting(phase) => phase.handle(input, now),
            Self::Confirming(phase) => phase.handle(input, now),
            Self::Unmasking(phase) => phase.handle(input, now),
            closed @ (Self::Opened(_) | Self::Aborted(_)) => {
                let outcome = match input {
                    Input::Tick | Input::Depart(_) => Ok(Accepted::Idle),
                    other @ (Input::Advertise(_)
                    | Input::ShareKeys(_)
                    | Input::Seal(_)
                    | Input::AnnounceSurvivors(_)
                    | Input::Confirm(_)
                    | Input::Unmask(_)) => Err(wrong_phase(&other, closed.phase())),
                };
                Transition {
                    round: closed,
                    outcome,
                }
            }
        }
    }

    /// The phase's name.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Joining(_) => "joining",
            Self::Sharing(_) => "sharing",
            Self::Collecting(_) => "collecting",
            Self::Confirming(_) => "confirming",
            Self::Unmasking(_) => "unmasking",
            Self::Opened(_) => "opened",
            Self::Aborted(_) => "aborted",
        }
    }

    /// When to send a [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.common().map(|common| common.phase_ends)
    }

    /// Re-arms the phase's deadline after a restart, when the old clock is gone.
    pub fn rearm(&mut self, now: Millis) {
        let span = |d: &Deadlines| match self {
            Self::Joining(_) => d.joining_ms,
            Self::Sharing(_) => d.sharing_ms,
            Self::Collecting(_) => d.collecting_ms,
            Self::Confirming(_) => d.confirming_ms,
            Self::Unmasking(_) => d.unmasking_ms,
            Self::Opened(_) | Self::Aborted(_) => 0,
        };
        let Some(ends) = self
            .common()
            .map(|common| now.after(span(&common.deadlines)))
        else {
            return;
        };
        match self {
            Self::Joining(phase) => phase.common.phase_ends = ends,
            Self::Sharing(phase) => phase.common.phase_ends = ends,
            Self::Collecting(phase) => phase.common.phase_ends = ends,
            Self::Confirming(phase) => phase.common.phase_ends = ends,
            Self::Unmasking(phase) => phase.common.phase_ends = ends,
            Self::Opened(_) | Self::Aborted(_) => {}
        }
    }

    /// What this member is asked to do now; `None` when it has answered, is not asked or has departed.
    ///
    /// It is a copy of what a whole neighbourhood said: [`Self::asks`] tells for nothing whether there is any, and
    /// [`Self::briefing`] holds it once for all.
    pub fn directive(&self, member: MemberIndex) -> Option<Directive> {
        let briefing = self.briefing().filter(|_| self.asks(member))?;
        Some(briefing.directive(member))
    }

    /// What this phase says to whom it asks; `None` when the attempt is over.
    pub fn briefing(&self) -> Option<Briefing> {
        Some(match self {
            Self::Joining(phase) => phase.briefing(),
            Self::Sharing(phase) => phase.briefing(),
            Self::Collecting(phase) => phase.briefing(),
            Self::Confirming(phase) => phase.briefing(),
            Self::Unmasking(phase) => phase.briefing(),
            Self::Opened(_) | Self::Aborted(_) => return None,
        })
    }

    /// Whether this member is asked for anything now.
    pub fn asks(&self, member: MemberIndex) -> bool {
        let asked = match self {
            Self::Joining(phase) => phase.asks(member),
            Self::Sharing(phase) => phase.asks(member),
            Self::Collecting(phase) => phase.asks(member),
            Self::Confirming(phase) => phase.asks(member),
            Self::Unmasking(phase) => phase.asks(member),
            Self::Opened(_) | Self::Aborted(_) => false,
        };
        asked && !self.has_departed(member)
    }

    fn has_departed(&self, member: MemberIndex) -> bool {
        self.common()
            .is_some_and(|common| common.departed.contains(&member))
    }

    /// Whether collecting is over and the driver must sign the survivor set ([`Collecting::announce`]).
    pub fn survivors_wanted(&self) -> Option<&Collecting> {
        match self {
            Self::Collecting(phase) if phase.complete() => Some(phase),
            Self::Collecting(_)
            | Self::Joining(_)
            | Self::Sharing(_)
            | Self::Confirming(_)
            | Self::Unmasking(_)
            | Self::Opened(_)
            | Self::Aborted(_) => None,
        }
    }

    /// The members this phase still waits for.
    pub fn waiting_for(&self) -> BTreeSet<MemberIndex> {
        let Some(common) = self.common() else {
            return BTreeSet::new();
        };
        let members = common.open.terms.cohort.keys().copied();
        members.filter(|member| self.asks(*member)).collect()
    }

    /// The advert that was accepted of a member.
    fn advert(&self, member: MemberIndex) -> Option<&Advert> {
        let verified = match self {
            Self::Joining(phase) => return phase.advert(member),
            Self::Sharing(phase) => phase.adverts().get(&member),
            Self::Collecting(_) | Self::Confirming(_) | Self::Unmasking(_) => {
                self.collected()?.adverts.get(&member)
            }
            Self::Opened(_) | Self::Aborted(_) => None,
        };
        verified.map(VerifiedAdvert::advert)
    }

    fn context2(&self) -> Option<&RoundKeyContext> {
        match self {
            Self::Sharing(phase) => Some(phase.context2()),
            Self::Joining(_)
            | Self::Collecting(_)
            | Self::Confirming(_)
            | Self::Unmasking(_)
            | Self::Opened(_)
            | Self::Aborted(_) => Some(&self.collected()?.context2),
        }
    }

    /// The statement that was accepted of a member.
    fn statement(&self, member: MemberIndex) -> Option<&ShareStatement> {
        if let Self::Sharing(phase) = self {
            return phase.statement(member);
        }
        let shared = self.collected()?.shared.get(&member)?;
        Some(&shared.statement)
    }

    /// The confirmation that was accepted of a member.
    fn confirmation(&self, member: MemberIndex) -> Option<&Confirmation> {
        match self {
            Self::Confirming(phase) => phase.confirmations.get(&member),
            Self::Unmasking(phase) => phase.confirmation(member),
            Self::Joining(_)
            | Self::Sharing(_)
            | Self::Collecting(_)
            | Self::Opened(_)
            | Self::Aborted(_) => None,
        }
    }

    /// What is known from P4 on.
    fn collected(&self) -> Option<&Collecting> {
        match self {
            Self::Collecting(phase) => Some(phase),
            Self::Confirming(phase) => Some(&phase.collected),
            Self::Unmasking(phase) => Some(phase.collected()),
            Self::Joining(_) | Self::Sharing(_) | Self::Opened(_) | Self::Aborted(_) => None,
        }
    }

    fn common(&self) -> Option<&Common> {
        match self {
            Self::Joining(phase) => Some(&phase.common),
            Self::Sharing(phase) => Some(&phase.common),
            Self::Collecting(phase) => Some(&phase.common),
            Self::Confirming(phase) => Some(&phase.common),
            Self::Unmasking(phase) => Some(&phase.common),
            Self::Opened(_) | Self::Aborted(_) => None,
        }
    }
}

/// The refusal of an input that belongs to another phase: no phase has a place for it (by construction: C12).
pub(crate) fn wrong_phase(input: &Input, phase: &'static str) -> Rejection {
    let message = match input {
        Input::Advertise(_) => "advert",
        Input::ShareKeys(_) => "share-keys",
        Input::Seal(_) => "update-seal",
        Input::AnnounceSurvivors(_) => "survivors",
        Input::Confirm(_) => "confirmation",
        Input::Unmask(_) => "unmask-shares",
        Input::Depart(_) => "depart",
        Input::Tick => "tick",
    };
    Rejection::WrongPhase { message, phase }
}
