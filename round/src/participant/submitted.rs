//! After P4: the update is out. The member binds itself to one survivor set (P5), opens that set only, once (P6), and forgets.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Digest, MemberIndex, RoundKeyContext, Seating, SharePair};

use super::{Seat, Surroundings};
use crate::messages::{
    Confirmation, Confirmations, ConfirmedSets, SecretShares, Survivors, UnmaskShares, UpdateSeal,
    member_set_hash,
};
use crate::rejection::Rejection;
use crate::rules::Rule;

/// The masked update is sealed.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Submitted {
    pub(super) seat: Seat,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Seating,
    pub(super) u2: BTreeSet<MemberIndex>,
    pub(super) u2_root: Digest,
    pub(super) held: BTreeMap<MemberIndex, SharePair>,
    pub(super) seal: UpdateSeal,
}

impl Submitted {
    /// The shares it holds, for who plays the omniscient.
    #[cfg(test)]
    pub(crate) fn held(&self) -> &BTreeMap<MemberIndex, SharePair> {
        &self.held
    }

    /// Answers P5.
    pub(super) fn confirm(
        self,
        survivors: &Survivors,
        around: &mut Surroundings<'_>,
    ) -> Result<(Confirmed, Confirmation), Box<(Self, Rejection)>> {
        if let Err(rejection) = self.check(survivors, around) {
            return Err(Box::new((self, rejection)));
        }
        let sets = ConfirmedSets {
            u2: self.u2_root,
            u3: member_set_hash(&survivors.members),
            inputs_root: survivors.inputs_root,
            log_head: self.seat.open.terms.log_head,
        };
        let confirmation = sets.sign(&self.context2, self.seat.member, around.identity);
        let confirmed = Confirmed {
            seat: self.seat,
            context2: self.context2,
            seating: self.seating,
            held: self.held,
            sets,
            survivors: survivors.clone(),
            confirmation: confirmation.clone(),
        };
        Ok((confirmed, confirmation))
    }

    /// The rules of P5 (docs/protocol.md, R13 to R15).
    fn check(&self, survivors: &Survivors, around: &Surroundings<'_>) -> Result<(), Rejection> {
        survivors.verify(&self.context2, around.coordinator)?;
        let own = self.seat.member;
        Rule::R14a.require(survivors.members.contains(&own), || {
            Rejection::NotAsked(own)
        })?;
        for survivor in &survivors.members {
            Rule::R14b.require(self.u2.contains(survivor), || {
                Rejection::NotAsked(*survivor)
            })?;
        }
        let thresholds = &self.seat.open.terms.thresholds;
        let (have, need) = (
            u32::try_from(survivors.members.len()).unwrap_or(u32::MAX),
            thresholds.fewest_survivors(),
        );
        Rule::R14c.require(have >= need, || Rejection::TooFew { have, need })?;
        let covered = self.seating.covered_by(&survivors.members);
        Rule::R14d.require(covered, || Rejection::Gap)
    }
}

/// Bound to one survivor set.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Confirmed {
    pub(super) seat: Seat,
    pub(super) context2: RoundKeyContext,
    seating: Seating,
    held: BTreeMap<MemberIndex, SharePair>,
    sets: ConfirmedSets,
    survivors: Survivors,
    confirmation: Confirmation,
}

impl Confirmed {
    pub(super) fn repeat(&self, survivors: &Survivors) -> Result<Confirmation, Rejection> {
        Rule::R15
            .require(*survivors == self.survivors, || {
                Rejection::AnsweredOnce("survivor set")
            })
            .map(|()| self.confirmation.clone())
    }

    /// Answers P6.
    pub(super) fn unmask(
        self,
        list: &Confirmations,
        around: &mut Surroundings<'_>,
    ) -> Result<(Unmasked, UnmaskShares), Box<(Self, Rejection)>> {
        if let Err(rejection) = self.check(list) {
            return Err(Box::new((self, rejection)));
        }
        let mut shares = SecretShares {
            self_mask: BTreeMap::new(),
            mask_key: BTreeMap::new(),
        };
        for (owner, pair) in &self.held {
            let survived = self.survivors.members.contains(owner);
            if Rule::R17a.holds(survived) {
                shares.self_mask.insert(*owner, pair.self_mask.clone());
            }
            if Rule::R17a.holds(!survived) {
                shares.mask_key.insert(*owner, pair.mask_key.clone());
            }
        }
        let answer = UnmaskShares::sign(
            &self.context2,
            &self.sets,
            self.seat.member,
            shares,
            around.identity,
        );
        Ok((
            Unmasked {
                seat: self.seat,
                context2: self.context2,
                answer: answer.clone(),
            },
            answer,
        ))
    }

    /// The rules of P6 (docs/protocol.md, R16 and R17).
    fn check(&self, list: &Confirmations) -> Result<(), Rejection> {
        let terms = &self.seat.open.terms;
        Rule::R16b.require(
            list.confirmations.len() <= self.survivors.members.len(),
            || Rejection::Malformed("more confirmations than survivors"),
        )?;
        let mut signed = BTreeSet::new();
        for confirmation in &list.confirmations {
            let member = confirmation.member;
            Rule::R16a.require(self.survivors.members.contains(&member), || {
                Rejection::NotAsked(member)
            })?;
            let identity = terms.identity(member).ok_or(Rejection::NotAsked(member))?;
            confirmation.verify(&self.context2, &self.sets, identity, Rule::R16a)?;
            let first = signed.insert(member);
            Rule::R16b.require(first, || Rejection::Equivocation(member))?;
        }
        let (have, need) = (
            u32::try_from(list.confirmations.len()).unwrap_or(u32::MAX),
            terms.thresholds.confirmation_quorum(),
        );
        Rule::R16c.require(have >= need, || Rejection::TooFew { have, need })?;
        // Those who confirmed exist, and were told of this U2 and U3: they hold the others together (decision 0006).
        Rule::R16d.require(self.seating.covered_by(&signed), || Rejection::Gap)?;
        self.check_seals(list, &signed)
    }

    /// R16e: a neighbour's self mask is opened only if the neighbour masked against the same U2 (decision 0006).
    fn check_seals(
        &self,
        list: &Confirmations,
        signed: &BTreeSet<MemberIndex>,
    ) -> Result<(), Rejection> {
        let terms = &self.seat.open.terms;
        let (own, survivors) = (self.seat.member, &self.survivors.members);
        let needed = self.seating.unconfirmed_neighbours(own, survivors, signed);
        let complete = list.seals.iter().map(|seal| &seal.member).eq(&needed);
        Rule::R16e.require(complete, || {
            Rejection::Malformed(
                "the seal of each neighbour that did not confirm is needed, in order",
            )
        })?;
        for seal in &list.seals {
            let identity = terms
                .identity(seal.member)
                .ok_or(Rejection::NotAsked(seal.member))?;
            let sealed = seal.verify(&self.context2, &self.sets.u2, identity);
            Rule::R16e.require_ok(sealed, |refusal| refusal)?;
        }
        Ok(())
    }
}

/// All secrets are gone; only the answer that was given remains, for a byte-identical resend (by construction: R17b).
#[derive(Debug)]
pub struct Unmasked {
    pub(super) seat: Seat,
    pub(super) context2: RoundKeyContext,
    pub(super) answer: UnmaskShares,
}
