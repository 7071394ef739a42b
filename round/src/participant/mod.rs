//! The member's side of a round: one file per phase, in the order in which they happen, and in each the rules by which the
//! member refuses a coordinator that would learn more than the sum.
//!
//! All round secrets live in these values, in memory only: a member that restarts has none and counts as a dropout.

mod advertised;
mod ready;
mod shared;
mod submitted;

use std::num::NonZeroUsize;

use consort_aggregation::{EncodedUpdate, MaskedUpdate, MemberIndex, RoundKeyContext};
use consort_contract::{IdentityKey, IdentitySecret};
use rand_core::CryptoRngCore;

pub use advertised::{Advertised, Expectations};
pub use ready::Ready;
pub use shared::Shared;
pub use submitted::{Confirmed, Submitted, Unmasked};

use crate::blame::{Blame, Complaint};
use crate::messages::{
    Advert, Directive, MemberMessage, RoundKeyJudge, RoundKeys, RoundOpen, SharesDelivery,
    UpdateSeal,
};
use crate::rejection::Rejection;

/// What a member needs around it to answer.
pub struct Surroundings<'a> {
    /// Its own identity key.
    pub identity: &'a IdentitySecret,
    /// The coordinator's identity key, from the roster.
    pub coordinator: &'a IdentityKey,
    /// Judges its peers' evidence.
    pub judge: &'a dyn RoundKeyJudge,
    /// Secret randomness of the operating system.
    pub rng: &'a mut dyn CryptoRngCore,
}

/// Where a member stands in one attempt. Each state holds what its next answer needs and nothing else, so that no step can be
/// skipped or gone back to (by construction: R18).
#[derive(Debug)]
pub enum Member {
    /// P1 answered.
    Advertised(Advertised),
    /// P3 answered.
    Shared(Shared),
    /// U2 and all shares are known; the update may be submitted.
    Ready(Ready),
    /// P4 answered.
    Submitted(Submitted),
    /// P5 answered: bound to one survivor set.
    Confirmed(Confirmed),
    /// P6 answered, secrets gone.
    Unmasked(Unmasked),
}

/// What follows from a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this.
    Send(MemberMessage),
    /// Train, pay, then [`Member::submit`].
    Submit,
}

/// A member after a directive, and what to do.
#[derive(Debug)]
pub struct MemberTransition {
    /// The member; unchanged when the directive was refused.
    pub member: Member,
    /// What to send, or why the coordinator is refused.
    pub outcome: Result<Answer, Rejection>,
}

impl Member {
    /// Answers P0: checks the terms, draws keys, binds them to evidence.
    ///
    /// # Errors
    /// [`Rejection`] names the rule that the announcement breaks. Nothing was said then.
    pub fn join(
        open: &RoundOpen,
        expected: &Expectations,
        attest: &mut dyn FnMut(&RoundKeys) -> Result<Vec<u8>, String>,
        around: &mut Surroundings<'_>,
    ) -> Result<(Self, Advert), Rejection> {
        let (phase, advert) = Advertised::join(open, expected, attest, around)?;
        Ok((Self::Advertised(phase), advert))
    }

    /// Handles what the coordinator asks. A repeated directive gets the same bytes again; a refused one changes nothing.
    pub fn handle(self, directive: &Directive, around: &mut Surroundings<'_>) -> MemberTransition {
        if let Some(answer) = self.repeat(directive) {
            return MemberTransition {
                outcome: answer,
                member: self,
            };
        }
        match (self, directive) {
            (Self::Advertised(phase), Directive::ShareKeys(list)) => {
                match phase.share(list, around) {
                    Ok((next, message)) => {
                        sent(Self::Shared(next), MemberMessage::ShareKeys(message))
                    }
                    Err(refused) => refuse(Self::Advertised(refused.0), refused.1),
                }
            }
            (Self::Shared(phase), Directive::Submit(delivery)) => match phase.receive(delivery) {
                Ok(next) => MemberTransition {
                    member: Self::Ready(next),
                    outcome: Ok(Answer::Submit),
                },
                Err(refused) => refuse(Self::Shared(refused.0), refused.1),
            },
            (Self::Submitted(phase), Directive::Confirm(survivors)) => {
                match phase.confirm(survivors, around) {
                    Ok((next, message)) => {
                        sent(Self::Confirmed(next), MemberMessage::Confirmation(message))
                    }
                    Err(refused) => refuse(Self::Submitted(refused.0), refused.1),
                }
            }
            (Self::Confirmed(phase), Directive::Unmask(list)) => match phase.unmask(list, around) {
                Ok((next, message)) => sent(Self::Unmasked(next), MemberMessage::Unmask(message)),
                Err(refused) => refuse(Self::Confirmed(refused.0), refused.1),
            },
            (member, directive) => {
                let rejection = Rejection::WrongPhase {
                    message: directive_name(directive),
                    phase: member.phase(),
                };
                refuse(member, rejection)
            }
        }
    }

    /// Masks the update and seals it. From here on the update is frozen: resends are byte-identical.
    ///
    /// # Errors
    /// [`Rejection::WrongPhase`] unless the member is [`Member::Ready`], [`Rejection::Malformed`] when the update has another
    /// schema than the terms. The member is given back unchanged.
    pub fn submit(
        self,
        update: EncodedUpdate,
        identity: &IdentitySecret,
    ) -> Result<(Self, MaskedUpdate, UpdateSeal), Box<(Self, Rejection)>> {
        self.submit_with(update, identity, NonZeroUsize::MIN)
    }

    /// [`Self::submit`] by so many threads, which changes no bit of the update.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_with(
        self,
        update: EncodedUpdate,
        identity: &IdentitySecret,
        workers: NonZeroUsize,
    ) -> Result<(Self, MaskedUpdate, UpdateSeal), Box<(Self, Rejection)>> {
        match self {
            Self::Ready(phase) => match phase.submit(update, identity, workers) {
                Ok((next, masked, seal)) => Ok((Self::Submitted(next), masked, seal)),
                Err(refused) => Err(Box::new((Self::Ready(refused.0), refused.1))),
            },
            member @ (Self::Advertised(_)
            | Self::Shared(_)
            | Self::Submitted(_)
            | Self::Confirmed(_)
            | Self::Unmasked(_)) => {
                let rejection = Rejection::WrongPhase {
                    message: "submit",
                    phase: member.phase(),
                };
                Err(Box::new((member, rejection)))
            }
        }
    }

    /// What a refused delivery proves against a dealer ([`Shared::blame`]); `None` in another phase.
    pub fn blame(
        &self,
        delivery: &SharesDelivery,
        owner: MemberIndex,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Blame> {
        match self {
            Self::Shared(phase) => phase.blame(delivery, owner, rng),
            Self::Advertised(_)
            | Self::Ready(_)
            | Self::Submitted(_)
            | Self::Confirmed(_)
            | Self::Unmasked(_) => None,
        }
    }

    /// What to tell the coordinator of a delivery that was refused for a wrong box; `None` when nothing convicts a dealer.
    pub fn complaint(
        &self,
        delivery: &SharesDelivery,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Complaint> {
        delivery.sealed.keys().find_map(|dealer| {
            match self.blame(delivery, *dealer, &mut *rng)? {
                Blame::WrongBox { agreement, .. } => Some(Complaint {
                    dealer: *dealer,
                    agreement,
                }),
                Blame::Contradiction { .. } | Blame::WrongShare { .. } => None,
            }
        })
    }

    /// The phase's name.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Advertised(_) => "advertised",
            Self::Shared(_) => "shared",
            Self::Ready(_) => "ready",
            Self::Submitted(_) => "submitted",
            Self::Confirmed(_) => "confirmed",
            Self::Unmasked(_) => "unmasked",
        }
    }

    /// ctx2, once the key list is known.
    pub fn context2(&self) -> Option<&RoundKeyContext> {
        match self {
            Self::Advertised(_) => None,
            Self::Shared(phase) => Some(&phase.peers.context2),
            Self::Ready(phase) => Some(&phase.context2),
            Self::Submitted(phase) => Some(&phase.context2),
            Self::Confirmed(phase) => Some(&phase.context2),
            Self::Unmasked(phase) => Some(&phase.context2),
        }
    }

    /// The announcement this member answered.
    pub fn open(&self) -> &RoundOpen {
        match self {
            Self::Advertised(phase) => &phase.seat.open,
            Self::Shared(phase) => &phase.seat.open,
            Self::Ready(phase) => &phase.seat.open,
            Self::Submitted(phase) => &phase.seat.open,
            Self::Confirmed(phase) => &phase.seat.open,
            Self::Unmasked(phase) => &phase.seat.open,
        }
    }

    /// The stored answer to a directive that was answered before, or the refusal of one that differs from it.
    fn repeat(&self, directive: &Directive) -> Option<Result<Answer, Rejection>> {
        let send = |message: MemberMessage| Some(Ok(Answer::Send(message)));
        match (self, directive) {
            (Self::Advertised(phase), Directive::Advertise(open)) if *open == phase.seat.open => {
                send(MemberMessage::Advert(phase.advert.clone()))
            }
            (Self::Shared(phase), Directive::ShareKeys(list)) => phase
                .repeat(list)
                .map(|m| m.map(|m| Answer::Send(MemberMessage::ShareKeys(m)))),
            (Self::Ready(_), Directive::Submit(_)) => Some(Ok(Answer::Submit)),
            (Self::Submitted(phase), Directive::Submit(_)) => {
                send(MemberMessage::Seal(phase.seal.clone()))
            }
            (Self::Confirmed(phase), Directive::Confirm(survivors)) => Some(
                phase
                    .repeat(survivors)
                    .map(|m| Answer::Send(MemberMessage::Confirmation(m))),
            ),
            (Self::Unmasked(phase), Directive::Unmask(_)) => {
                send(MemberMessage::Unmask(phase.answer.clone()))
            }
            _ => None,
        }
    }
}

fn sent(member: Member, message: MemberMessage) -> MemberTransition {
    MemberTransition {
        member,
        outcome: Ok(Answer::Send(message)),
    }
}

fn refuse(member: Member, rejection: Rejection) -> MemberTransition {
    MemberTransition {
        member,
        outcome: Err(rejection),
    }
}

fn directive_name(directive: &Directive) -> &'static str {
    match directive {
        Directive::Advertise(_) => "round-open",
        Directive::ShareKeys(_) => "key-list",
        Directive::Submit(_) => "shares-delivery",
        Directive::Confirm(_) => "survivors",
        Directive::Unmask(_) => "confirmations",
    }
}

/// The member's place in an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) open: RoundOpen,
    pub(crate) member: MemberIndex,
}
