//! What members and coordinator say, and the canonical bytes that each of them signs. One file for each step of a round.

mod keys;
mod open;
mod result;
mod shares;
mod survivors;
mod unmask;
mod update;

use std::collections::BTreeSet;

use consort_aggregation::{Canonical, Digest, MemberIndex};

pub(crate) use keys::context_of_heads;
pub use keys::{
    Advert, AdvertHead, KeyList, MAX_EVIDENCE_BYTES, RoundKeyJudge, RoundKeys, VerifiedAdvert,
    keys_context,
};
pub(crate) use open::OPEN;
pub use open::RoundOpen;
pub use result::RoundResult;
pub use shares::{ShareKeys, ShareStatement, SharedSet, SharesDelivery};
pub(crate) use survivors::SURVIVORS;
pub use survivors::{Confirmation, ConfirmedSets, Survivors};
pub use unmask::{Confirmations, SecretShares, UnmaskShares};
pub use update::UpdateSeal;

/// What a member is asked to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// P0 → answer with an [`Advert`].
    Advertise(RoundOpen),
    /// P2 → answer with [`ShareKeys`].
    ShareKeys(KeyList),
    /// P4 → answer with the masked chunks and an [`UpdateSeal`].
    Submit(SharesDelivery),
    /// P5 → answer with a [`Confirmation`].
    Confirm(Survivors),
    /// P6 → answer with [`UnmaskShares`].
    Unmask(Confirmations),
}

/// What a member answers (the masked chunks travel beside it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberMessage {
    /// P1.
    Advert(Advert),
    /// P3.
    ShareKeys(ShareKeys),
    /// P4.
    Seal(UpdateSeal),
    /// P5.
    Confirmation(Confirmation),
    /// P6.
    Unmask(UnmaskShares),
}

/// H(U): the hash of a set of members, in order.
pub fn member_set_hash(members: &BTreeSet<MemberIndex>) -> Digest {
    let mut canonical = Canonical::new("consort/round/member-set/v1").list(members.len());
    for member in members {
        canonical = canonical.u64(member.get().into());
    }
    canonical.hash()
}
