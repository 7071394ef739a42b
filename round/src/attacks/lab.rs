//! The attacker at work: it plays the coordinator without the coordinator's machine, and keeps every message it sees.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Digest, MaskedUpdate, MemberIndex, RoundKeyContext, Seating};
use rand_core::SeedableRng;

use super::cluster::{Cluster, Judge, index, updates};
use super::corrupt::Corrupt;
use super::knowledge::Knowledge;
use crate::messages::{
    Advert, Confirmation, Confirmations, ConfirmedSets, Directive, KeyList, MemberMessage,
    RoundOpen, ShareKeys, SharedSet, SharesDelivery, Survivors, UnmaskShares, UpdateSeal,
    VerifiedAdvert, keys_context, member_set_hash,
};
use crate::participant::Member;
use crate::rejection::Rejection;
use crate::rules::{Rule, off};

/// One key list and what was said under its ctx2.
pub(super) struct World {
    pub(super) adverts: BTreeMap<MemberIndex, VerifiedAdvert>,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Seating,
    pub(super) shares: BTreeMap<MemberIndex, ShareKeys>,
    pub(super) uploads: BTreeMap<MemberIndex, Upload>,
}

pub(super) struct Upload {
    pub(super) u2: BTreeSet<MemberIndex>,
    /// Whom it is masked with: the neighbours whose statements the member was shown.
    pub(super) peers: BTreeSet<MemberIndex>,
    pub(super) masked: MaskedUpdate,
    pub(super) seal: UpdateSeal,
}

impl World {
    /// Adverts as the attacker lists them: it checks nothing.
    pub(super) fn new(open: &RoundOpen, adverts: &BTreeMap<MemberIndex, Advert>) -> Self {
        let believed = |advert: &Advert| {
            off::without(&[Rule::R6b, Rule::R7, Rule::R8a], || {
                advert.clone().verify(open, &Judge).unwrap()
            })
        };
        let adverts: BTreeMap<_, _> = adverts
            .iter()
            .map(|(m, advert)| (*m, believed(advert)))
            .collect();
        let context2 = keys_context(&open.terms.context(), &adverts);
        let graph = open.terms.graph();
        Self {
            seating: graph.seat(&context2, adverts.keys().copied()),
            context2,
            adverts,
            shares: BTreeMap::new(),
            uploads: BTreeMap::new(),
        }
    }

    /// What a member is shown of this list.
    pub(super) fn key_list(&self, to: MemberIndex) -> KeyList {
        self.key_list_with(&self.seating.holders(to))
    }

    /// The list with the evidence of these.
    pub(super) fn key_list_with(&self, near: &BTreeSet<MemberIndex>) -> KeyList {
        let adverts = self.adverts.values().map(VerifiedAdvert::advert);
        let (near, far): (Vec<_>, Vec<_>) =
            adverts.partition(|advert| near.contains(&advert.member));
        KeyList {
            adverts: near.into_iter().cloned().collect(),
            heads: far.into_iter().map(Advert::head).collect(),
        }
    }

    /// The statement of a member as U2 names it; of one that said nothing, something.
    fn said(&self, owner: MemberIndex) -> Digest {
        let shares = self.shares.get(&owner);
        shares.map_or(other(), |shares| shares.statement.digest(&self.context2))
    }

    /// A set of members with what they said.
    pub(super) fn shared_set(&self, members: &BTreeSet<MemberIndex>) -> SharedSet {
        members.iter().map(|m| (*m, self.said(*m))).collect()
    }

    pub(super) fn delivery(&self, to: MemberIndex, u2: &BTreeSet<MemberIndex>) -> SharesDelivery {
        let near = &self.seating.holders(to) & u2;
        self.delivery_with(to, u2, &near)
    }

    /// U2 with the statements and boxes of these, and the others by their digests.
    pub(super) fn delivery_with(
        &self,
        to: MemberIndex,
        u2: &BTreeSet<MemberIndex>,
        near: &BTreeSet<MemberIndex>,
    ) -> SharesDelivery {
        let from =
            |owner: &MemberIndex| Some((*owner, self.shares.get(owner)?.sealed.get(&to)?.clone()));
        SharesDelivery {
            statements: near
                .iter()
                .filter_map(|owner| Some(self.shares.get(owner)?.statement.clone()))
                .collect(),
            others: (u2 - near).into_iter().map(|m| (m, self.said(m))).collect(),
            sealed: near.iter().filter_map(from).collect(),
        }
    }
}

pub(super) struct Lab {
    pub(super) cluster: Cluster,
    /// The announcement in use; the cluster's own is what the members agreed to.
    pub(super) open: RoundOpen,
    pub(super) corrupt: BTreeMap<MemberIndex, Corrupt>,
    pub(super) adverts: BTreeMap<MemberIndex, Advert>,
    pub(super) world: Option<World>,
    pub(super) knowledge: Knowledge,
    pub(super) inputs: BTreeMap<MemberIndex, Vec<i64>>,
}

pub(super) fn set(members: &[u32]) -> BTreeSet<MemberIndex> {
    members.iter().copied().map(index).collect()
}

impl Lab {
    pub(super) fn new(n: u32, c: u32, minimum: Option<u32>, corrupt: &[u32], seed: u64) -> Self {
        let mut cluster = Cluster::new(n, Some(c), minimum, seed);
        let corrupt = corrupt.iter().map(|i| {
            let identity = consort_contract::IdentitySecret::from_seed(
                &cluster.identities[&index(*i)].to_seed(),
            );
            (
                index(*i),
                Corrupt::new(index(*i), identity, &mut cluster.rng),
            )
        });
        let corrupt = corrupt.collect();
        Self {
            open: (*cluster.open).clone(),
            corrupt,
            adverts: BTreeMap::new(),
            world: None,
            knowledge: Knowledge::default(),
            inputs: updates(&cluster.everyone()),
            cluster,
        }
    }

    /// Five members, c = 1, member 5 corrupt.
    pub(super) fn five(seed: u64) -> Self {
        Self::new(5, 1, None, &[5], seed)
    }

    pub(super) fn everyone(&self) -> BTreeSet<MemberIndex> {
        self.open.terms.cohort.keys().copied().collect()
    }

    pub(super) fn honest(&self) -> Vec<MemberIndex> {
        let everyone = self.everyone();
        everyone
            .into_iter()
            .filter(|m| !self.corrupt.contains_key(m))
            .collect()
    }

    pub(super) fn world(&self) -> &World {
        self.world.as_ref().expect("keys are shared")
    }

    /// Asks one honest member.
    pub(super) fn ask(
        &mut self,
        member: MemberIndex,
        directive: &Directive,
    ) -> Result<MemberMessage, Rejection> {
        let update = self.inputs[&member].clone();
        self.cluster.answer(member, directive, &update)
    }

    /// P0 and P1 with everybody.
    pub(super) fn join(&mut self) -> Result<(), Rejection> {
        let open = self.open.clone();
        for (member, corrupt) in &self.corrupt {
            self.adverts.insert(*member, corrupt.advert(&open));
        }
        for member in self.honest() {
            let MemberMessage::Advert(advert) =
                self.ask(member, &Directive::Advertise(open.clone()))?
            else {
                panic!("an advert")
            };
            self.adverts.insert(member, advert);
        }
        Ok(())
    }

    /// P2 and P3 with these members; the corrupt deal as they should.
    pub(super) fn share_among(&mut self, u1: &BTreeSet<MemberIndex>) -> Result<(), Rejection> {
        let listed = self.adverts.iter().filter(|(m, _)| u1.contains(m));
        let listed = listed.map(|(m, advert)| (*m, advert.clone())).collect();
        self.world = Some(World::new(&self.open, &listed));
        for member in self.honest().into_iter().filter(|m| u1.contains(m)) {
            let list = Directive::ShareKeys(self.world().key_list(member));
            let MemberMessage::ShareKeys(shares) = self.ask(member, &list)? else {
                panic!("shares")
            };
            self.world.as_mut().unwrap().shares.insert(member, shares);
        }
        self.corrupt_share();
        Ok(())
    }

    /// The corrupt deal as they should, and open what they were sealed.
    pub(super) fn corrupt_share(&mut self) {
        let world = self.world.as_mut().unwrap();
        let t = self.open.terms.share_threshold();
        for corrupt in self
            .corrupt
            .values()
            .filter(|c| world.seating.holders(c.member).len() >= t as usize)
        {
            let dealing = corrupt.deal(world, (t, t), &mut self.cluster.rng);
            for holder in world.seating.holders(corrupt.member) {
                self.knowledge
                    .learn_pair(corrupt.member, holder, dealing.pair(holder));
            }
            let message = corrupt.share(world, &dealing, |_| {});
            world.shares.insert(corrupt.member, message);
        }
        for corrupt in self.corrupt.values() {
            for (owner, message) in &world.shares {
                if let Some(pair) = corrupt.open(world, message) {
                    self.knowledge.learn_pair(*owner, corrupt.member, pair);
                }
            }
        }
    }

    pub(super) fn share(&mut self) -> Result<(), Rejection> {
        self.share_among(&self.everyone())
    }

    /// P4 with one honest member, which is shown this U2.
    pub(super) fn submit(
        &mut self,
        member: MemberIndex,
        u2: &BTreeSet<MemberIndex>,
    ) -> Result<(), Rejection> {
        let delivery = self.world().delivery(member, u2);
        self.submit_as(member, u2, delivery)
    }

    pub(super) fn submit_as(
        &mut self,
        member: MemberIndex,
        u2: &BTreeSet<MemberIndex>,
        delivery: SharesDelivery,
    ) -> Result<(), Rejection> {
        let shown = delivery.statements.iter().map(|s| s.member);
        let peers = shown.filter(|peer| *peer != member).collect();
        let MemberMessage::Seal(seal) = self.ask(member, &Directive::Submit(delivery))? else {
            panic!("a seal")
        };
        let masked = self.cluster.uploads[&member].clone();
        let upload = Upload {
            u2: u2.clone(),
            peers,
            masked,
            seal,
        };
        self.world.as_mut().unwrap().uploads.insert(member, upload);
        Ok(())
    }

    /// P0 to P4 with everybody and one U2.
    pub(super) fn submitted(&mut self) -> Result<(), Rejection> {
        self.join()?;
        self.share()?;
        let everyone = self.everyone();
        for member in self.honest() {
            self.submit(member, &everyone)?;
        }
        Ok(())
    }

    /// A survivor set that the coordinator signs, whoever is in it.
    pub(super) fn survivors(&self, members: &BTreeSet<MemberIndex>) -> Survivors {
        let seal = |m: &MemberIndex| match self.world().uploads.get(m) {
            Some(upload) => (*m, upload.seal.clone()),
            None => (*m, self.cluster.forged_seal(*m)),
        };
        let seals = members.iter().map(seal).collect();
        Survivors::new(&self.world().context2, &seals, &self.cluster.coordinator)
    }

    pub(super) fn confirm(
        &mut self,
        member: MemberIndex,
        survivors: &Survivors,
    ) -> Result<Confirmation, Rejection> {
        match self.ask(member, &Directive::Confirm(survivors.clone()))? {
            MemberMessage::Confirmation(confirmation) => Ok(confirmation),
            _ => panic!("a confirmation"),
        }
    }

    /// The corrupt sign any set, over the U2 that the attacker showed.
    pub(super) fn corrupt_confirm(
        &self,
        survivors: &Survivors,
        u2: &BTreeSet<MemberIndex>,
    ) -> Vec<Confirmation> {
        let sets = ConfirmedSets {
            u2: self.world().shared_set(u2).root(),
            u3: member_set_hash(&survivors.members),
            inputs_root: survivors.inputs_root,
            log_head: self.open.terms.log_head,
        };
        let signing = self
            .corrupt
            .values()
            .filter(|c| survivors.members.contains(&c.member));
        signing
            .map(|c| sets.sign(&self.world().context2, c.member, &c.identity))
            .collect()
    }

    pub(super) fn unmask(
        &mut self,
        member: MemberIndex,
        confirmations: Vec<Confirmation>,
    ) -> Result<UnmaskShares, Rejection> {
        self.unmask_with(member, confirmations, Vec::new())
    }

    /// The seals that a member of a circle asks for: of its neighbours in U3 that did not confirm.
    pub(super) fn seals_for(
        &self,
        member: MemberIndex,
        u3: &BTreeSet<MemberIndex>,
        confirmations: &[Confirmation],
    ) -> Vec<UpdateSeal> {
        let confirmed = confirmations.iter().map(|c| c.member).collect();
        let world = self.world();
        let silent = world.seating.unconfirmed_neighbours(member, u3, &confirmed);
        let seal = |m: &MemberIndex| match world.uploads.get(m) {
            Some(upload) => upload.seal.clone(),
            None => self.cluster.forged_seal(*m),
        };
        silent.iter().map(seal).collect()
    }

    pub(super) fn unmask_with(
        &mut self,
        member: MemberIndex,
        confirmations: Vec<Confirmation>,
        seals: Vec<UpdateSeal>,
    ) -> Result<UnmaskShares, Rejection> {
        let list = Confirmations {
            confirmations,
            seals,
        };
        match self.ask(member, &Directive::Unmask(list))? {
            MemberMessage::Unmask(answer) => {
                self.knowledge.learn_answer(&answer);
                Ok(answer)
            }
            _ => panic!("shares"),
        }
    }

    /// P5 and P6 on one survivor set, with the honest members in it and this U2.
    pub(super) fn open_set(
        &mut self,
        u2: &BTreeSet<MemberIndex>,
        u3: &BTreeSet<MemberIndex>,
    ) -> Result<(), Rejection> {
        let survivors = self.survivors(u3);
        let mut signed = self.corrupt_confirm(&survivors, u2);
        let asked: Vec<_> = self
            .honest()
            .into_iter()
            .filter(|m| {
                u3.contains(m)
                    && self
                        .world()
                        .uploads
                        .get(m)
                        .is_some_and(|upload| upload.u2 == *u2)
            })
            .collect();
        for member in &asked {
            signed.push(self.confirm(*member, &survivors)?);
        }
        for member in &asked {
            let seals = self.seals_for(*member, u3, &signed);
            self.unmask_with(*member, signed.clone(), seals)?;
        }
        Ok(())
    }

    /// Derives all there is to derive.
    pub(super) fn deduce(&mut self) {
        self.knowledge
            .close(self.world.as_ref().expect("keys are shared"));
    }

    /// The sum over a set, if the attacker can compute it.
    pub(super) fn learned(&mut self, of: &[u32]) -> Option<Vec<i64>> {
        self.deduce();
        self.knowledge
            .sum(self.world(), &set(of), self.open.terms.schema)
    }

    /// What the members put in.
    pub(super) fn truth(&self, of: &[u32]) -> Option<Vec<i64>> {
        Some(super::cluster::plain_sum(&self.inputs, &set(of)))
    }

    /// Gives every honest member's memory back as it is now: what a rolled-back machine would have.
    pub(super) fn snapshot(&self) -> BTreeMap<MemberIndex, Member> {
        let copy = |(m, state): (&MemberIndex, &Member)| {
            let copied = match state {
                Member::Submitted(phase) => Member::Submitted(phase.clone()),
                Member::Confirmed(phase) => Member::Confirmed(phase.clone()),
                other => panic!("{} has secrets that are never copied", other.phase()),
            };
            (*m, copied)
        };
        self.cluster.members.iter().map(copy).collect()
    }

    /// The members after a restart in a new attempt: fresh randomness, what was on disk kept.
    pub(super) fn next_attempt(&mut self, seed: u64) {
        self.cluster.rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        self.cluster.members.clear();
        self.adverts.clear();
        self.world = None;
        self.knowledge = Knowledge::default();
    }
}

/// Something that is not what it should be.
pub(super) fn other() -> Digest {
    Digest::of(b"other")
}
