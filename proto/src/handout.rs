//! What a phase hands to its members: each item that many of them get is encoded once and shared, and a member's own message is
//! put together when there is room for it on its stream. What is held between is one encoding of everything that was said.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::MemberIndex;
use consort_round::coordinator::{Briefing, boxes_for};
use consort_round::messages::{ShareKeys, VerifiedAdvert};
use prost::bytes::Bytes;

use crate::convert::{
    AttemptKey, advert_to_wire, attempt_to_wire, box_to_wire, confirmation_to_wire, encoded,
    head_to_wire, member_digest_to_wire, round_open_to_wire, seal_to_wire, statement_to_wire,
    survivors_to_wire,
};
use crate::wire::round::v1 as wire;
use wire::follow_response::Event;

/// What one phase of an attempt hands out.
#[derive(Debug)]
pub struct Handout {
    id: wire::AttemptId,
    briefing: Briefing,
    items: Items,
}

/// The encodings that messages share.
#[derive(Debug)]
enum Items {
    /// P0 and P5: everybody hears the same.
    Whole(Event),
    /// P2.
    Adverts {
        full: BTreeMap<MemberIndex, Bytes>,
        heads: BTreeMap<MemberIndex, Bytes>,
    },
    /// P4.
    Statements {
        full: BTreeMap<MemberIndex, Bytes>,
        digests: BTreeMap<MemberIndex, Bytes>,
        shared: Arc<BTreeMap<MemberIndex, ShareKeys>>,
    },
    /// P6.
    Confirmations {
        confirmations: Vec<Bytes>,
        seals: BTreeMap<MemberIndex, wire::UpdateSeal>,
    },
}

impl Handout {
    /// Encodes what a phase says.
    #[must_use]
    pub fn new(key: &AttemptKey, briefing: Briefing) -> Self {
        let items = match &briefing {
            Briefing::Advertise(open) => Items::Whole(Event::RoundOpen(round_open_to_wire(open))),
            Briefing::ShareKeys { adverts, .. } => {
                let adverts = || (adverts.iter()).map(|(m, advert)| (*m, advert));
                let full = |advert: &VerifiedAdvert| encoded(&advert_to_wire(advert.advert()));
                let head =
                    |advert: &VerifiedAdvert| encoded(&head_to_wire(&advert.advert().head()));
                Items::Adverts {
                    full: adverts().map(|(m, advert)| (m, full(advert))).collect(),
                    heads: adverts().map(|(m, advert)| (m, head(advert))).collect(),
                }
            }
            Briefing::Submit { shared, u2, .. } => {
                let statement = |shares: &ShareKeys| encoded(&statement_to_wire(&shares.statement));
                let full = shared.iter().map(|(m, shares)| (*m, statement(shares)));
                let digests = u2.iter();
                let digests = digests.map(|(m, d)| (*m, encoded(&member_digest_to_wire(*m, d))));
                Items::Statements {
                    full: full.collect(),
                    digests: digests.collect(),
                    shared: shared.clone(),
                }
            }
            Briefing::Confirm(survivors) => {
                Items::Whole(Event::Survivors(survivors_to_wire(key, survivors)))
            }
            Briefing::Unmask {
                confirmations,
                silent,
                ..
            } => {
                let confirmations = confirmations.values().map(confirmation_to_wire);
                let seals = silent.iter().map(|(m, seal)| (*m, seal_to_wire(seal)));
                Items::Confirmations {
                    confirmations: confirmations.map(|c| encoded(&c)).collect(),
                    seals: seals.collect(),
                }
            }
        };
        Self {
            id: attempt_to_wire(key),
            briefing,
            items,
        }
    }

    /// A member's own message, whole. It shares what other members' messages have too.
    #[must_use]
    pub fn event(&self, to: MemberIndex) -> Event {
        let (id, near) = (Some(self.id.clone()), self.briefing.near(to));
        let those_near = |items: &BTreeMap<MemberIndex, Bytes>| {
            let near = near.iter().filter_map(|owner| items.get(owner).cloned());
            near.collect()
        };
        let those_far = |items: &BTreeMap<MemberIndex, Bytes>| {
            let far = items.iter().filter(|(owner, _)| !near.contains(owner));
            far.map(|(_, item)| item.clone()).collect()
        };
        match &self.items {
            Items::Whole(event) => event.clone(),
            Items::Adverts { full, heads } => Event::KeyList(wire::KeyList {
                id,
                adverts: those_near(full),
                heads: those_far(heads),
                ..wire::KeyList::default()
            }),
            Items::Statements {
                full,
                digests,
                shared,
            } => Event::SharesDelivery(wire::SharesDelivery {
                id,
                statements: those_near(full),
                sealed: boxes_for(shared, to)
                    .map(|(sender, sealed)| box_to_wire(sender, sealed))
                    .collect(),
                others: those_far(digests),
                ..wire::SharesDelivery::default()
            }),
            Items::Confirmations {
                confirmations,
                seals,
            } => Event::Confirmations(wire::Confirmations {
                id,
                confirmations: confirmations.clone(),
                seals: (near.iter())
                    .filter_map(|owner| seals.get(owner).cloned())
                    .collect(),
            }),
        }
    }
}
