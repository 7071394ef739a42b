//! Which members share a mask and hold shares of each other's secrets: the edges along which masks cancel.
//!
//! In a complete graph everybody is everybody's neighbour (Bonawitz et al., CCS 2017). In a Harary graph the members sit on
//! a circle, in an order that nobody chose, and each is joined to the `reach` seats on either side (Bell et al., CCS 2020).
//! Why the second one is safe, and with which numbers: docs/decisions/0006-sparse-graph.md.

use crate::{Canonical, Digest, MemberIndex, RoundKeyContext};
use std::collections::{BTreeMap, BTreeSet};

/// The label under which a member's place on the circle is drawn.
const SEAT_LABEL: &str = "consort/aggregation/seat/v1";

/// The rule by which a cohort's neighbours are chosen, fixed in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// Everybody is everybody's neighbour.
    Complete,
    /// A circle on which each member is joined to the nearest seats on either side.
    Harary(Circle),
}

/// The two numbers of a Harary graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circle {
    /// h: seats on either side to which a member is joined; its degree is 2h.
    pub reach: u32,
    /// m: members that any h seats in a row must have left for a sum to be opened. One more than the corrupt among them.
    pub witnesses: u32,
}

impl Graph {
    /// Seats the members of U1.
    ///
    /// The order on the circle is that of SHA-256 over the canonical encoding of `consort/aggregation/seat/v1`, ctx2 and
    /// the index: it is fixed when the last advert is.
    pub fn seat(
        self,
        context: &RoundKeyContext,
        members: impl IntoIterator<Item = MemberIndex>,
    ) -> Seating {
        let draws: BTreeSet<(Digest, MemberIndex)> = members
            .into_iter()
            .map(|member| (draw(context, member), member))
            .collect();
        let seats: Vec<MemberIndex> = draws.into_iter().map(|(_, member)| member).collect();
        let places = (0..).zip(&seats).map(|(place, m)| (*m, place)).collect();
        Seating {
            graph: self,
            seats,
            places,
        }
    }
}

fn draw(context: &RoundKeyContext, member: MemberIndex) -> Digest {
    Canonical::new(SEAT_LABEL)
        .bytes(context.digest().as_bytes())
        .u64(member.get().into())
        .hash()
}

/// The members of U1 in their seats: who is whose neighbour in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seating {
    graph: Graph,
    seats: Vec<MemberIndex>,
    places: BTreeMap<MemberIndex, usize>,
}

impl Seating {
    /// Whether this member has a seat.
    #[must_use]
    pub fn contains(&self, member: MemberIndex) -> bool {
        self.places.contains_key(&member)
    }

    /// U1 in the order of the seats; the last one sits beside the first.
    #[must_use]
    pub fn seats(&self) -> &[MemberIndex] {
        &self.seats
    }

    /// The members that share a mask with this one; none for who has no seat.
    #[must_use]
    pub fn neighbours(&self, member: MemberIndex) -> BTreeSet<MemberIndex> {
        let mut near = self.holders(member);
        near.remove(&member);
        near
    }

    /// The members that hold shares of this one's secrets: its neighbours and itself; none for who has no seat.
    #[must_use]
    pub fn holders(&self, member: MemberIndex) -> BTreeSet<MemberIndex> {
        let Some(&place) = self.places.get(&member) else {
            return BTreeSet::new();
        };
        match self.graph {
            Graph::Complete => self.places.keys().copied().collect(),
            Graph::Harary(circle) => {
                let reach = (circle.reach as usize).min(self.seats.len());
                let first = place + self.seats.len() - reach;
                self.row(first, 2 * reach + 1).collect()
            }
        }
    }

    /// Whether each h seats in a row have at least m of these members.
    ///
    /// # Security
    /// If at most m − 1 of any h seats in a row are corrupt, then each such row has an honest member that is present: two
    /// that follow each other are at most h seats apart, therefore neighbours, and so the honest ones that are present
    /// hang together, **whoever** is missing. In a complete graph they do so by themselves.
    #[must_use]
    pub fn covered_by(&self, present: &BTreeSet<MemberIndex>) -> bool {
        match self.graph {
            Graph::Complete => true,
            Graph::Harary(circle) => self.thinnest(circle, present) >= circle.witnesses,
        }
    }

    /// The neighbours in U3 that did not confirm it: a member must see their seals before it opens a self mask of theirs.
    ///
    /// # Security
    /// A survivor that was told of other members in U2 may lack the masks with its honest neighbours; its seal says of
    /// whom it was told. In a complete graph, whoever was told of t members has an honest survivor among them (2t > n + c).
    #[must_use]
    pub fn unconfirmed_neighbours(
        &self,
        member: MemberIndex,
        survivors: &BTreeSet<MemberIndex>,
        confirmed: &BTreeSet<MemberIndex>,
    ) -> BTreeSet<MemberIndex> {
        match self.graph {
            Graph::Complete => BTreeSet::new(),
            Graph::Harary(_) => self
                .neighbours(member)
                .into_iter()
                .filter(|near| survivors.contains(near) && !confirmed.contains(near))
                .collect(),
        }
    }

    /// The fewest of these members in any h seats in a row, around the end of the circle too.
    fn thinnest(&self, circle: Circle, present: &BTreeSet<MemberIndex>) -> u32 {
        let row = |first| self.row(first, circle.reach as usize);
        let count = |first| {
            let there = row(first).filter(|member| present.contains(member)).count();
            u32::try_from(there).unwrap_or(u32::MAX)
        };
        (0..self.seats.len()).map(count).min().unwrap_or(0)
    }

    /// This many seats in a row, at most once around the circle.
    fn row(&self, first: usize, length: usize) -> impl Iterator<Item = MemberIndex> + '_ {
        let n = self.seats.len();
        (first..first + length.min(n)).map(move |place| self.seats[place % n])
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
