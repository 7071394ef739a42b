//! What a phase says to its members, held once for all of them: what one member is told is cut out of it when it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_aggregation::{MemberIndex, Seating};

use crate::messages::{
    Advert, Confirmation, Confirmations, Directive, KeyList, RoundOpen, ShareKeys, SharedSet,
    SharesDelivery, Survivors, UpdateSeal, VerifiedAdvert,
};

/// What a phase says. It does not change while the phase lasts, and a copy of it shares what it holds.
#[derive(Debug, Clone)]
pub enum Briefing {
    /// P0.
    Advertise(Arc<RoundOpen>),
    /// P2: adverts in full to neighbours, without their evidence to the others.
    ShareKeys {
        /// U1.
        adverts: Arc<BTreeMap<MemberIndex, VerifiedAdvert>>,
        /// Who is whose neighbour.
        seating: Arc<Seating>,
    },
    /// P4: statements in full to neighbours, their digests to the others, and boxes to whom they are for.
    Submit {
        /// U2.
        shared: Arc<BTreeMap<MemberIndex, ShareKeys>>,
        /// The digests of the statements.
        u2: Arc<SharedSet>,
        /// Who is whose neighbour.
        seating: Arc<Seating>,
    },
    /// P5.
    Confirm(Arc<Survivors>),
    /// P6: the confirmations to all, and the seals of those that did not confirm to their neighbours.
    Unmask {
        /// By whom they are.
        confirmations: Arc<BTreeMap<MemberIndex, Confirmation>>,
        /// Seals of the survivors that did not confirm.
        silent: Arc<BTreeMap<MemberIndex, UpdateSeal>>,
        /// U3.
        survivors: Arc<Survivors>,
        /// Who is whose neighbour.
        seating: Arc<Seating>,
    },
}

impl Briefing {
    /// What a member is told in full, itself included: of the others it hears by a digest, or nothing.
    pub fn near(&self, member: MemberIndex) -> BTreeSet<MemberIndex> {
        match self {
            Self::ShareKeys { seating, .. } | Self::Submit { seating, .. } => {
                seating.holders(member)
            }
            Self::Unmask {
                confirmations,
                survivors,
                seating,
                ..
            } => {
                let confirmed = confirmations.keys().copied().collect();
                seating.unconfirmed_neighbours(member, &survivors.members, &confirmed)
            }
            Self::Advertise(_) | Self::Confirm(_) => BTreeSet::new(),
        }
    }

    /// Everything that a member is told, copied.
    pub fn directive(&self, member: MemberIndex) -> Directive {
        let near = self.near(member);
        match self {
            Self::Advertise(open) => Directive::Advertise((**open).clone()),
            Self::ShareKeys { adverts, .. } => {
                let (near, far): (Vec<_>, Vec<_>) = adverts
                    .values()
                    .map(VerifiedAdvert::advert)
                    .partition(|advert| near.contains(&advert.member));
                Directive::ShareKeys(KeyList {
                    adverts: near.into_iter().cloned().collect(),
                    heads: far.into_iter().map(Advert::head).collect(),
                })
            }
            Self::Submit { shared, u2, .. } => {
                let statements = (shared.iter())
                    .filter(|(owner, _)| near.contains(owner))
                    .map(|(_, shares)| shares.statement.clone());
                let others = u2.iter().filter(|(owner, _)| !near.contains(owner));
                Directive::Submit(SharesDelivery {
                    statements: statements.collect(),
                    others: others.map(|(owner, digest)| (*owner, *digest)).collect(),
                    sealed: boxes_for(shared, member)
                        .map(|(sender, sealed)| (sender, sealed.to_vec()))
                        .collect(),
                })
            }
            Self::Confirm(survivors) => Directive::Confirm((**survivors).clone()),
            Self::Unmask {
                confirmations,
                silent,
                ..
            } => Directive::Unmask(Confirmations {
                confirmations: confirmations.values().cloned().collect(),
                seals: (near.iter())
                    .filter_map(|owner| silent.get(owner).cloned())
                    .collect(),
            }),
        }
    }
}

/// The boxes for a member, each with its sender.
pub fn boxes_for(
    shared: &BTreeMap<MemberIndex, ShareKeys>,
    member: MemberIndex,
) -> impl Iterator<Item = (MemberIndex, &[u8])> {
    shared
        .iter()
        .filter_map(move |(sender, shares)| Some((*sender, shares.sealed.get(&member)?.as_slice())))
}
