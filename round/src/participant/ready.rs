//! Between P4's two halves: all masks are known. The update, once trained and paid for, is masked and sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use consort_aggregation::{
    Digest, EncodedUpdate, MaskSeed, MaskedUpdate, MemberIndex, RoundKeyContext, Seating,
    SharePair, Sign, mask_update_with,
};
use consort_contract::IdentitySecret;

use super::Seat;
use super::submitted::Submitted;
use crate::messages::UpdateSeal;
use crate::rejection::Rejection;

/// Masks are derived.
#[derive(Debug)]
pub struct Ready {
    pub(super) seat: Seat,
    pub(super) context2: RoundKeyContext,
    pub(super) seating: Seating,
    pub(super) u2: BTreeSet<MemberIndex>,
    pub(super) u2_root: Digest,
    pub(super) self_seed: MaskSeed,
    pub(super) pairs: Vec<(MaskSeed, Sign)>,
    pub(super) held: BTreeMap<MemberIndex, SharePair>,
}

impl Ready {
    pub(super) fn submit(
        self,
        update: EncodedUpdate,
        identity: &IdentitySecret,
        workers: NonZeroUsize,
    ) -> Result<(Submitted, MaskedUpdate, UpdateSeal), Box<(Self, Rejection)>> {
        if update.schema() != self.seat.open.terms.schema {
            let rejection = Rejection::Malformed("the update has another schema than the terms");
            return Err(Box::new((self, rejection)));
        }
        let masked = mask_update_with(update, &self.self_seed, &self.pairs, workers)
            .expect("some neighbour of each member is in U2, or U2 would be refused");
        let seal = UpdateSeal::sign(
            &self.context2,
            &self.u2_root,
            self.seat.member,
            masked.tree_hash(),
            identity,
        );
        let submitted = Submitted {
            seat: self.seat,
            context2: self.context2,
            seating: self.seating,
            u2: self.u2,
            u2_root: self.u2_root,
            held: self.held,
            seal: seal.clone(),
        };
        Ok((submitted, masked, seal))
    }
}
