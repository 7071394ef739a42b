//! After P3: shares are sealed. Next comes U2 with what the others sealed for this member (P4).

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{
    Digest, MemberIndex, RevealedAgreement, SecretKey, SelfMaskSecret, SharePair, open_shares,
    pair_mask_seed, pair_sign, self_mask_seed,
};
use rand_core::CryptoRngCore;

use super::Seat;
use super::advertised::Peers;
use super::ready::Ready;
use crate::blame::{Blame, Proceedings};
use crate::messages::{KeyList, ShareKeys, SharedSet, SharesDelivery};
use crate::rejection::Rejection;
use crate::rules::Rule;

/// Shares are sent.
#[derive(Debug)]
pub struct Shared {
    pub(super) seat: Seat,
    pub(super) peers: Peers,
    pub(super) mask_key: SecretKey,
    pub(super) share_key: SecretKey,
    pub(super) self_mask: SelfMaskSecret,
    pub(super) own_shares: SharePair,
    pub(super) message: ShareKeys,
}

impl Shared {
    /// The same key list gets the same bytes; another one is refused, or two contexts would share one set of secrets.
    pub(super) fn repeat(&self, list: &KeyList) -> Option<Result<ShareKeys, Rejection>> {
        let same = list.by_member().as_ref() == Ok(&self.peers.heads);
        let once = Rule::R9b.require(same, || Rejection::AnsweredOnce("key list"));
        Some(once.map(|()| self.message.clone()))
    }

    /// Answers P4's first half: opens the shares of every neighbour in U2 and derives the masks with them.
    pub(super) fn receive(
        self,
        delivery: &SharesDelivery,
    ) -> Result<Ready, Box<(Self, Rejection)>> {
        let (held, u2) = match self.opened(delivery) {
            Ok(opened) => opened,
            Err(rejection) => return Err(Box::new((self, rejection))),
        };
        let own = self.seat.member;
        let context2 = self.peers.context2;
        let pairs = held.keys().filter(|peer| **peer != own).map(|peer| {
            let peer_key = &self.peers.adverts[peer].advert().mask_key;
            (
                pair_mask_seed(&self.mask_key, peer_key, &context2, own, *peer),
                pair_sign(own, *peer),
            )
        });
        let pairs = pairs.collect();
        Ok(Ready {
            u2_root: u2.root(),
            u2: u2.iter().map(|(member, _)| *member).collect(),
            self_seed: self_mask_seed(&self.self_mask, &context2, own),
            pairs,
            held,
            context2,
            seating: self.peers.seating,
            seat: self.seat,
        })
    }

    /// The rules of P4 (docs/protocol.md, R10 to R12): what the neighbours in U2 shared, and U2.
    fn opened(
        &self,
        delivery: &SharesDelivery,
    ) -> Result<(BTreeMap<MemberIndex, SharePair>, SharedSet), Rejection> {
        let terms = &self.seat.open.terms;
        let own = self.seat.member;
        let Peers {
            adverts,
            context2,
            seating,
            ..
        } = &self.peers;
        Rule::R12c.require(delivery.statements.len() <= adverts.len(), || {
            Rejection::Malformed("more share statements than adverts")
        })?;
        let (mut held, mut shared) = (BTreeMap::new(), BTreeMap::new());
        for statement in &delivery.statements {
            let owner = statement.member;
            statement.verify(context2, terms, seating, adverts)?;
            let pair = if owner == own {
                Rule::R12b.require(*statement == self.message.statement, || {
                    Rejection::Malformed("the delivery changes this member's own share statement")
                })?;
                self.own_shares.clone()
            } else {
                self.open_from(owner, statement, delivery)?
            };
            let again = held.insert(owner, pair).is_some();
            shared.insert(owner, statement.digest(context2));
            Rule::R12c.require(!again, || Rejection::Equivocation(owner))?;
        }
        Rule::R12b.require(held.contains_key(&own), || {
            Rejection::Malformed("the delivery lacks this member's own share statement")
        })?;
        for (other, statement) in &delivery.others {
            let far = seating.contains(*other) && !adverts.contains_key(other);
            Rule::R12d.require(far, || Rejection::NotAsked(*other))?;
            shared.insert(*other, *statement);
        }
        let u2: BTreeSet<_> = shared.keys().copied().collect();
        let have = u32::try_from(u2.len()).unwrap_or(u32::MAX);
        let need = terms.thresholds.fewest_survivors();
        Rule::R12a.require(have >= need, || Rejection::TooFew { have, need })?;
        // Before the update is paid for: no survivors among these could be opened.
        Rule::R12e.require(seating.covered_by(&u2), || Rejection::Gap)?;
        Ok((held, shared.into_iter().collect()))
    }

    /// What a refused delivery proves against the dealer `owner`: its own signed statement, the box that it names, and what
    /// the two agreed on, so that anybody can open it. `None` when the box is in order, or is not the one that was signed for.
    ///
    /// # Security
    /// The revealed agreement opens both boxes between the two. The dealer of a wrong box knows them anyway; for a dealer that
    /// dealt rightly there is no record, and nothing is revealed.
    pub fn blame(
        &self,
        delivery: &SharesDelivery,
        owner: MemberIndex,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Blame> {
        let advert = self.peers.adverts.get(&owner)?.advert();
        let (to, context2) = (self.seat.member, &self.peers.context2);
        let statement = delivery.statements.iter().find(|s| s.member == owner)?;
        let sealed = delivery.sealed.get(&owner)?;
        match self.open_from(owner, statement, delivery) {
            Err(Rejection::Share { .. } | Rejection::Material { .. }) => {}
            Ok(_) | Err(_) => return None,
        }
        let agreement =
            RevealedAgreement::reveal(&self.share_key, &advert.share_key, context2, &mut { rng });
        let blame = Blame::WrongBox {
            statement: statement.signed(context2),
            sealed: sealed.clone(),
            to,
            agreement,
        };
        let proceedings = Proceedings::new(&self.seat.open.terms, self.peers.heads.clone());
        (blame.verify(&proceedings) == Ok(owner)).then_some(blame)
    }

    fn open_from(
        &self,
        owner: MemberIndex,
        statement: &crate::messages::ShareStatement,
        delivery: &SharesDelivery,
    ) -> Result<SharePair, Rejection> {
        let own = self.seat.member;
        let sealed = delivery
            .sealed
            .get(&owner)
            .ok_or(Rejection::Malformed("a sealed share is missing"))?;
        let named = statement.sealed.get(&own) == Some(&Digest::of(sealed));
        Rule::R11a.require(named, || {
            Rejection::Malformed("a sealed share is not the one its statement names")
        })?;
        let peer_key = &self.peers.adverts[&owner].advert().share_key;
        let pair = open_shares(
            &self.share_key,
            peer_key,
            &self.peers.context2,
            owner,
            own,
            sealed,
        )
        .map_err(|_| Rejection::Material {
            member: owner,
            what: "its sealed share does not open",
        })?;
        let committed = statement.mask_key.verify(own, &pair.mask_key)
            && statement.self_mask.verify(own, &pair.self_mask);
        Rule::R11b.require(committed, || Rejection::Share { from: owner, owner })?;
        Ok(pair)
    }
}
