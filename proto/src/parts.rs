//! Long messages in parts: what a member is told of its whole neighbourhood grows with it, and a message is bounded.
//!
//! A part is a message of the same kind with some of the items of its lists, in order. All parts together are the message;
//! what they may hold is bounded by the cohort, not by their number.

use prost::Message;

use crate::wire::round::v1::follow_response::Event;
use crate::wire::round::v1::{AttemptId, KeyList, SharesDelivery};

/// Bytes of items that one part is filled with: a coordinator may have one on the way to each of 1024 members, 64 MiB, and the
/// longest item, a statement for 1024 members of 55 KiB, fits.
const PART_BYTES: usize = 64 * 1024;

/// What an item costs beside its own bytes: key and length of its field.
const ITEM_OVERHEAD_BYTES: usize = 8;

/// A message that a stream carries, as one or, where it is long, in parts.
#[must_use]
pub fn split(event: Event) -> Vec<Event> {
    match event {
        Event::KeyList(list) => split_key_list(list)
            .into_iter()
            .map(Event::KeyList)
            .collect(),
        Event::SharesDelivery(delivery) => split_delivery(delivery)
            .into_iter()
            .map(Event::SharesDelivery)
            .collect(),
        // They grow by at most 220 bytes for each of 1024 members.
        whole @ (Event::Proposal(_)
        | Event::Approval(_)
        | Event::RoundOpen(_)
        | Event::Survivors(_)
        | Event::Confirmations(_)
        | Event::RoundResult(_)
        | Event::RoundAborted(_)
        | Event::JobClosed(_)
        | Event::Heartbeat(_)) => vec![whole],
    }
}

fn split_key_list(list: KeyList) -> Vec<KeyList> {
    let mut filling = Filling::new(KeyList {
        id: list.id,
        ..KeyList::default()
    });
    for advert in list.adverts {
        filling.part_for(advert.len()).adverts.push(advert);
    }
    for head in list.heads {
        filling.part_for(head.len()).heads.push(head);
    }
    filling.finish(|list, part, parts| (list.part, list.parts) = (part, parts))
}

fn split_delivery(delivery: SharesDelivery) -> Vec<SharesDelivery> {
    let mut filling = Filling::new(SharesDelivery {
        id: delivery.id,
        ..SharesDelivery::default()
    });
    for statement in delivery.statements {
        filling.part_for(statement.len()).statements.push(statement);
    }
    for sealed in delivery.sealed {
        filling.part_for(sealed.encoded_len()).sealed.push(sealed);
    }
    for other in delivery.others {
        filling.part_for(other.len()).others.push(other);
    }
    filling.finish(|delivery, part, parts| (delivery.part, delivery.parts) = (part, parts))
}

/// Parts that are filled one after the other.
struct Filling<M> {
    blank: M,
    parts: Vec<M>,
    bytes: usize,
}

impl<M: Clone> Filling<M> {
    fn new(blank: M) -> Self {
        Self {
            parts: vec![blank.clone()],
            blank,
            bytes: 0,
        }
    }

    fn begin(&mut self) {
        self.parts.push(self.blank.clone());
        self.bytes = 0;
    }

    fn last(&mut self) -> &mut M {
        self.parts.last_mut().expect("there is one from the start")
    }

    /// The part that has room for an item of so many bytes.
    fn part_for(&mut self, item_bytes: usize) -> &mut M {
        let bytes = item_bytes + ITEM_OVERHEAD_BYTES;
        if self.bytes > 0 && self.bytes + bytes > PART_BYTES {
            self.begin();
        }
        self.bytes += bytes;
        self.last()
    }

    /// Numbers the parts, if there is more than one.
    fn finish(mut self, number: impl Fn(&mut M, u32, u32)) -> Vec<M> {
        if self.parts.len() > 1 {
            let parts = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
            for (part, place) in self.parts.iter_mut().zip(0..) {
                number(part, place, parts);
            }
        }
        self.parts
    }
}

/// What has come of a message in parts.
#[derive(Debug, Default)]
pub struct Assembly {
    held: Option<(Event, Place)>,
}

/// Which part of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    part: u32,
    parts: u32,
}

/// Why a part is not taken: the fault of whoever sent it. What was held is dropped, and the first part begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// It does not follow the part before it.
    #[error("a part came that does not follow the one before it")]
    Order,
    /// There is nothing in it, so that parts could come for ever.
    #[error("a part has no items")]
    Empty,
    /// The parts have more items than the cohort has members.
    #[error("the parts have more items than the cohort has members")]
    TooMany,
}

impl PartsError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Order => "parts_order",
            Self::Empty => "parts_empty",
            Self::TooMany => "parts_too_many",
        }
    }
}

impl Assembly {
    /// Takes what came; gives the message when it is whole. A first part drops what was held: on a new stream all is said again.
    ///
    /// Each list of a message has at most one item for each of `members`, and an item is bounded by the schema: so is what is held.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn take(&mut self, event: Event, members: usize) -> Result<Option<Event>, PartsError> {
        let Some((place, lists)) = place_and_lists(&event) else {
            return Ok(Some(event));
        };
        let held = self.held.take();
        if place.parts > 1 && lists.iter().all(|items| *items == 0) {
            return Err(PartsError::Empty);
        }
        let event = match held {
            _ if place.part == 0 => event,
            Some((held, last))
                if (last.part.checked_add(1), last.parts) == (Some(place.part), place.parts) =>
            {
                joined(held, event).ok_or(PartsError::Order)?
            }
            Some(_) | None => return Err(PartsError::Order),
        };
        let whole = place_and_lists(&event).map(|(_, lists)| lists);
        if whole.is_some_and(|lists| lists.iter().any(|items| *items > members)) {
            return Err(PartsError::TooMany);
        }
        // `part` is below `parts` here: it was 0, or follows one that was not the last.
        if place.part + 1 == place.parts {
            return Ok(Some(unnumbered(event)));
        }
        self.held = Some((event, place));
        Ok(None)
    }
}

/// Which part a message is and how many items its lists have; nothing for messages that come whole.
fn place_and_lists(event: &Event) -> Option<(Place, [usize; 3])> {
    let (part, parts, lists) = match event {
        Event::KeyList(list) => (
            list.part,
            list.parts,
            [list.adverts.len(), list.heads.len(), 0],
        ),
        Event::SharesDelivery(delivery) => (
            delivery.part,
            delivery.parts,
            [
                delivery.statements.len(),
                delivery.sealed.len(),
                delivery.others.len(),
            ],
        ),
        Event::Proposal(_)
        | Event::Approval(_)
        | Event::RoundOpen(_)
        | Event::Survivors(_)
        | Event::Confirmations(_)
        | Event::RoundResult(_)
        | Event::RoundAborted(_)
        | Event::JobClosed(_)
        | Event::Heartbeat(_) => return None,
    };
    let parts = parts.max(1);
    Some((Place { part, parts }, lists))
}

/// One part with the next behind it; nothing when they are of two messages.
fn joined(held: Event, next: Event) -> Option<Event> {
    let same = |one: &Option<AttemptId>, other: &Option<AttemptId>| one == other;
    match (held, next) {
        (Event::KeyList(mut held), Event::KeyList(next)) if same(&held.id, &next.id) => {
            held.adverts.extend(next.adverts);
            held.heads.extend(next.heads);
            Some(Event::KeyList(held))
        }
        (Event::SharesDelivery(mut held), Event::SharesDelivery(next))
            if same(&held.id, &next.id) =>
        {
            held.statements.extend(next.statements);
            held.sealed.extend(next.sealed);
            held.others.extend(next.others);
            Some(Event::SharesDelivery(held))
        }
        _ => None,
    }
}

fn unnumbered(mut event: Event) -> Event {
    if let Event::KeyList(list) = &mut event {
        (list.part, list.parts) = (0, 0);
    }
    if let Event::SharesDelivery(delivery) = &mut event {
        (delivery.part, delivery.parts) = (0, 0);
    }
    event
}
