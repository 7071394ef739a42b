//! After P4: the update is out. The member binds itself to one survivor set (P5), opens that set only, once (P6), and forgets.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Digest, MemberIndex, RoundKeyContext, Seating, SharePair};

use super::{Seat, Surroundings};
use crate::messages::{
    Confirmation, Confirmations, ConfirmedSets, SecretShares, Survivors, UnmaskShares, UpdateSeal,
    member_set_hash,
};
use crate::rejection::Rejection;

/// The masked update is sealed.
#[derive(Debug)]
pub struct Submitted {
    pub(super) seat: Seat,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Seating,
    pub(super) u2: BTreeSet<MemberIndex>,
    pub(super) u2_hash: Digest,
    pub(super) held: BTreeMap<MemberIndex, SharePair>,
    pub(super) seal: UpdateSeal,
}

impl Submitted {
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
            context2: self.context2,
            u2: self.u2_hash,
            u3: member_set_hash(&survivors.members),
            inputs_root: survivors.inputs_root,
            log_head: self.seat.open.terms.log_head,
        };
        let confirmation = sets.sign(self.seat.member, around.identity);
        let confirmed = Confirmed {
            seat: self.seat,
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
        if !survivors.members.contains(&self.seat.member) {
            return Err(Rejection::NotAsked(self.seat.member));
        }
        if let Some(stranger) = survivors
            .members
            .iter()
            .find(|member| !self.u2.contains(*member))
        {
            return Err(Rejection::NotAsked(*stranger));
        }
        let thresholds = &self.seat.open.terms.thresholds;
        let (have, need) = (
            u32::try_from(survivors.members.len()).unwrap_or(u32::MAX),
            thresholds.fewest_survivors(),
        );
        if have < need {
            return Err(Rejection::TooFew { have, need });
        }
        if !self.seating.covered_by(&survivors.members) {
            return Err(Rejection::Gap);
        }
        Ok(())
    }
}

/// Bound to one survivor set.
#[derive(Debug)]
pub struct Confirmed {
    pub(super) seat: Seat,
    seating: Seating,
    held: BTreeMap<MemberIndex, SharePair>,
    sets: ConfirmedSets,
    survivors: Survivors,
    confirmation: Confirmation,
}

impl Confirmed {
    pub(super) fn repeat(&self, survivors: &Survivors) -> Result<Confirmation, Rejection> {
        if *survivors == self.survivors {
            Ok(self.confirmation.clone())
        } else {
            Err(Rejection::AnsweredOnce("survivor set"))
        }
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
            if self.survivors.members.contains(owner) {
                shares.self_mask.insert(*owner, pair.self_mask.clone());
            } else {
                shares.mask_key.insert(*owner, pair.mask_key.clone());
            }
        }
        let answer = UnmaskShares::sign(
            &self.sets.context2,
            &self.sets.u3,
            self.seat.member,
            shares,
            around.identity,
        );
        Ok((
            Unmasked {
                seat: self.seat,
                answer: answer.clone(),
            },
            answer,
        ))
    }

    /// The rules of P6 (docs/protocol.md, R16, R18 and R19).
    fn check(&self, list: &Confirmations) -> Result<(), Rejection> {
        let terms = &self.seat.open.terms;
        if list.confirmations.len() > self.survivors.members.len() {
            return Err(Rejection::Malformed("more confirmations than survivors"));
        }
        let mut signed = BTreeSet::new();
        for confirmation in &list.confirmations {
            let member = confirmation.member;
            if !self.survivors.members.contains(&member) {
                return Err(Rejection::NotAsked(member));
            }
            let identity = terms.identity(member).ok_or(Rejection::NotAsked(member))?;
            self.sets.verify(confirmation, identity)?;
            if !signed.insert(member) {
                return Err(Rejection::Equivocation(member));
            }
        }
        let (have, need) = (
            u32::try_from(signed.len()).unwrap_or(u32::MAX),
            terms.thresholds.confirmation_quorum(),
        );
        if have < need {
            return Err(Rejection::TooFew { have, need });
        }
        // Those who confirmed exist, and were told of this U2 and U3: they hold the others together (decision 0006).
        if !self.seating.covered_by(&signed) {
            return Err(Rejection::Gap);
        }
        self.check_seals(list, &signed)
    }

    /// A neighbour's self mask is opened only if the neighbour masked against the same U2 (decision 0006).
    fn check_seals(
        &self,
        list: &Confirmations,
        signed: &BTreeSet<MemberIndex>,
    ) -> Result<(), Rejection> {
        let terms = &self.seat.open.terms;
        let needed =
            self.seating
                .unconfirmed_neighbours(self.seat.member, &self.survivors.members, signed);
        if !list.seals.iter().map(|seal| &seal.member).eq(&needed) {
            return Err(Rejection::Malformed(
                "the seal of each neighbour that did not confirm is needed, in order",
            ));
        }
        for seal in &list.seals {
            let identity = terms
                .identity(seal.member)
                .ok_or(Rejection::NotAsked(seal.member))?;
            seal.verify(&self.sets.context2, &self.sets.u2, identity)?;
        }
        Ok(())
    }
}

/// All secrets are gone; only the answer that was given remains, for a byte-identical resend.
#[derive(Debug)]
pub struct Unmasked {
    pub(super) seat: Seat,
    pub(super) answer: UnmaskShares,
}
