//! P6, Unmasking: survivors send shares of their neighbours' secrets; enough of them open the self masks of the survivors
//! and the pair masks of the dropouts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{
    Commitments, Digest, Interpolation, MaskSeed, MemberIndex, Share, Sign, pair_mask_seed,
    pair_sign, recover_mask_key, recover_self_mask, self_mask_seed,
};

use super::{
    Accepted, Briefing, Collecting, Common, Confirming, Input, Round, Transition, repeated,
    wrong_phase,
};
use crate::blame::Blame;
use crate::messages::{Confirmation, ConfirmedSets, Survivors, UnmaskShares, UpdateSeal};
use crate::rejection::{AbortReason, Rejection};
use crate::rules::Rule;
use crate::terms::Millis;

/// Waiting until there are shares enough of every secret.
#[derive(Debug, Clone)]
pub struct Unmasking {
    pub(super) common: Common,
    collected: Collecting,
    survivors: Arc<Survivors>,
    sets: ConfirmedSets,
    confirmations: Arc<BTreeMap<MemberIndex, Confirmation>>,
    /// Seals of the survivors that did not confirm.
    silent: Arc<BTreeMap<MemberIndex, UpdateSeal>>,
    answers: BTreeMap<MemberIndex, UnmaskShares>,
    /// Shares of each member of U2 that are here.
    present: BTreeMap<MemberIndex, u32>,
}

impl Unmasking {
    pub(super) fn new(confirmed: Confirming, now: Millis) -> Self {
        let sets = confirmed.sets();
        let common = confirmed.common.enter(now, |d| d.unmasking_ms);
        let owners = confirmed.collected.shared.keys();
        let present = owners.map(|owner| (*owner, 0)).collect();
        let seals = confirmed.collected.seals.iter();
        let silent = seals.filter(|(member, _)| !confirmed.confirmations.contains_key(member));
        let silent = silent
            .map(|(member, seal)| (*member, seal.clone()))
            .collect();
        Self {
            common,
            collected: confirmed.collected,
            survivors: confirmed.survivors,
            sets,
            confirmations: Arc::new(confirmed.confirmations),
            silent: Arc::new(silent),
            answers: BTreeMap::new(),
            present,
        }
    }

    pub(super) fn handle(mut self, input: Input, now: Millis) -> Transition {
        let outcome = match input {
            Input::Unmask(answer) => self.answer(answer),
            Input::Confirm(confirmation) => match self.confirmations.get(&confirmation.member) {
                Some(known) if *known == confirmation => Ok(Accepted::Repeat),
                _ => Err(wrong_phase(&Input::Confirm(confirmation), "unmasking")),
            },
            Input::Depart(member) => Ok(self.common.depart(member)),
            Input::Tick if now >= self.common.phase_ends => return self.close(),
            Input::Tick => Ok(Accepted::Idle),
            other @ (Input::Advertise(_)
            | Input::ShareKeys(_)
            | Input::Seal(_)
            | Input::AnnounceSurvivors(_)) => Err(wrong_phase(&other, "unmasking")),
        };
        let enough = self.fewest_shares() >= self.share_threshold();
        match outcome {
            Ok(Accepted::New) if enough || self.nobody_left() => self.close(),
            outcome => Transition {
                round: Round::Unmasking(self),
                outcome,
            },
        }
    }

    fn nobody_left(&self) -> bool {
        let left =
            |m: &MemberIndex| !self.common.departed.contains(m) && !self.answers.contains_key(m);
        !self.survivors.members.iter().any(left)
    }

    fn answer(&mut self, answer: UnmaskShares) -> Result<Accepted, Rejection> {
        let member = answer.member;
        self.common
            .asks(member, self.survivors.members.contains(&member))?;
        if let Some(known) = self.answers.get(&member) {
            return repeated(member, *known == answer);
        }
        let identity = self
            .common
            .open
            .terms
            .identity(member)
            .ok_or(Rejection::NotAsked(member))?;
        answer.verify(&self.collected.context2, &self.sets, identity)?;
        self.check_shares(&answer)?;
        let shares = &answer.shares;
        for owner in shares.self_mask.keys().chain(shares.mask_key.keys()) {
            *self.present.entry(*owner).or_default() += 1;
        }
        self.answers.insert(member, answer);
        Ok(Accepted::New)
    }

    /// What was collected and confirmed before.
    pub(super) fn collected(&self) -> &Collecting {
        &self.collected
    }

    /// What a member confirmed.
    pub(super) fn confirmation(&self, member: MemberIndex) -> Option<&Confirmation> {
        self.confirmations.get(&member)
    }

    /// The second of two answers, or the first share that is not on its owner's polynomial.
    pub(super) fn blame(&self, answer: &UnmaskShares) -> Option<Blame> {
        let context2 = &self.collected.context2;
        let said = answer.signed(context2, &self.sets);
        if let Some(known) = self.answers.get(&answer.member) {
            let first = known.signed(context2, &self.sets);
            return (first.bytes != said.bytes).then_some(Blame::Contradiction {
                first,
                second: said,
            });
        }
        let committed = |owner: &MemberIndex| Some(&self.collected.shared.get(owner)?.statement);
        let of_self_mask = answer.shares.self_mask.iter().find(|(owner, share)| {
            committed(owner).is_some_and(|s| !s.self_mask.verify(answer.member, share))
        });
        let of_mask_key = || {
            answer.shares.mask_key.iter().find(|(owner, share)| {
                committed(owner).is_some_and(|s| !s.mask_key.verify(answer.member, share))
            })
        };
        let (owner, _) = of_self_mask.or_else(of_mask_key)?;
        Some(Blame::WrongShare {
            statement: committed(owner)?.signed(context2),
            answer: said,
            shared: Some((*self.collected.u2).clone()),
        })
    }

    fn check_shares(&self, answer: &UnmaskShares) -> Result<(), Rejection> {
        let shares = &answer.shares;
        let held = self.collected.seating.holders(answer.member);
        let survivors = self.survivors.members.intersection(&held);
        let dropouts = self.dropouts().filter(|owner| held.contains(owner));
        let asked =
            shares.self_mask.keys().eq(survivors) && shares.mask_key.keys().copied().eq(dropouts);
        Rule::C10.require(asked, || {
            Rejection::Malformed(
                "a self-mask share per survivor and a mask-key share per dropout of the neighbourhood are needed",
            )
        })?;
        let wrong =
            |owner: &MemberIndex, share: &Share, of: &dyn Fn(MemberIndex) -> Commitments| {
                !of(*owner).verify(answer.member, share)
            };
        let self_mask =
            |owner: MemberIndex| self.collected.shared[&owner].statement.self_mask.clone();
        let mask_key =
            |owner: MemberIndex| self.collected.shared[&owner].statement.mask_key.clone();
        let bad = shares
            .self_mask
            .iter()
            .find(|(owner, share)| wrong(owner, share, &self_mask));
        let bad = bad.or_else(|| {
            shares
                .mask_key
                .iter()
                .find(|(owner, share)| wrong(owner, share, &mask_key))
        });
        let from = answer.member;
        let committed = bad.map_or(Ok(()), |(owner, _)| Err(*owner));
        Rule::C11.require_ok(committed, |owner| Rejection::Share { from, owner })
    }

    /// U2∖U3.
    fn dropouts(&self) -> impl Iterator<Item = MemberIndex> + '_ {
        self.collected
            .shared
            .keys()
            .copied()
            .filter(|member| !self.survivors.members.contains(member))
    }

    fn close(self) -> Transition {
        let (have, need) = (self.fewest_shares(), self.share_threshold());
        let round = if have < need {
            Round::Aborted(AbortReason::TooFewUnmasked { have, need })
        } else {
            match self.opening() {
                Ok(opening) => Round::Opened(opening),
                Err(member) => Round::Aborted(AbortReason::BadSecret(member)),
            }
        };
        Transition {
            round,
            outcome: Ok(Accepted::New),
        }
    }

    /// Reconstructs the secrets, each of which is what its owner published (by construction: C14), and lists what has to be
    /// subtracted from the masked sum.
    fn opening(&self) -> Result<Opening, MemberIndex> {
        let mut weights = Weights::new(self.share_threshold());
        let context2 = &self.collected.context2;
        let mut masks = Vec::new();
        for owner in &self.survivors.members {
            let shares = self.shares_of(*owner, |answer| answer.shares.self_mask.get(owner));
            let statement = &self.collected.shared[owner].statement;
            let weights = weights.of(&shares);
            let secret = recover_self_mask(*owner, weights, &shares, &statement.self_mask)
                .map_err(|_| *owner)?;
            masks.push((self_mask_seed(&secret, context2, *owner), Sign::Plus));
        }
        for owner in self.dropouts() {
            let shares = self.shares_of(owner, |answer| answer.shares.mask_key.get(&owner));
            let public = &self.collected.adverts[&owner].advert().mask_key;
            let weights = weights.of(&shares);
            let secret = recover_mask_key(owner, weights, &shares, public).map_err(|_| owner)?;
            let near = self.collected.seating.neighbours(owner);
            for peer in near.intersection(&self.survivors.members) {
                let peer_key = &self.collected.adverts[peer].advert().mask_key;
                let seed = pair_mask_seed(&secret, peer_key, context2, *peer, owner);
                masks.push((seed, pair_sign(*peer, owner)));
            }
        }
        let tree_hashes = self
            .collected
            .seals
            .iter()
            .map(|(m, seal)| (*m, seal.tree_hash))
            .collect();
        Ok(Opening {
            context: self.common.open.terms.context(),
            survivors: self.survivors.members.clone(),
            tree_hashes,
            masks,
        })
    }

    fn shares_of<'a>(
        &'a self,
        owner: MemberIndex,
        pick: impl Fn(&'a UnmaskShares) -> Option<&'a Share>,
    ) -> BTreeMap<MemberIndex, Share> {
        let holders = self.collected.seating.holders(owner);
        holders
            .into_iter()
            .filter_map(|holder| Some((holder, pick(self.answers.get(&holder)?)?.clone())))
            .collect()
    }

    /// Shares that are here of the secret of which there are fewest.
    fn fewest_shares(&self) -> u32 {
        self.present.values().copied().min().unwrap_or(0)
    }

    fn share_threshold(&self) -> u32 {
        self.common.open.terms.share_threshold()
    }

    pub(super) fn asks(&self, member: MemberIndex) -> bool {
        self.survivors.members.contains(&member) && !self.answers.contains_key(&member)
    }

    pub(super) fn briefing(&self) -> Briefing {
        Briefing::Unmask {
            confirmations: self.confirmations.clone(),
            silent: self.silent.clone(),
            survivors: self.survivors.clone(),
            seating: self.collected.seating.clone(),
        }
    }

    /// U3.
    pub fn survivors(&self) -> &BTreeSet<MemberIndex> {
        &self.survivors.members
    }
}

/// Lagrange weights by the members whose shares are used: in a complete graph those of all owners are the same.
struct Weights {
    threshold: u32,
    by_holders: BTreeMap<Vec<MemberIndex>, Interpolation>,
}

impl Weights {
    fn new(threshold: u32) -> Self {
        Self {
            threshold,
            by_holders: BTreeMap::new(),
        }
    }

    fn of(&mut self, shares: &BTreeMap<MemberIndex, Share>) -> &Interpolation {
        let used = shares.keys().copied().take(self.threshold as usize);
        let holders: Vec<_> = used.collect();
        self.by_holders
            .entry(holders)
            .or_insert_with_key(|holders| {
                Interpolation::new(self.threshold, holders).expect("close() saw shares enough")
            })
    }
}

/// What turns the masked sum over U3 into the sum over U3.
pub struct Opening {
    /// ctx of the attempt.
    pub context: Digest,
    /// U3.
    pub survivors: BTreeSet<MemberIndex>,
    /// The tree hash of each survivor's masked update, which must be what was added up.
    pub tree_hashes: BTreeMap<MemberIndex, Digest>,
    /// Masks still in the sum, with the sign with which a member added them.
    pub masks: Vec<(MaskSeed, Sign)>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Opening({} survivors, {} masks)",
            self.survivors.len(),
            self.masks.len()
        )
    }
}
