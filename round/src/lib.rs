//! The rules of a round of secure aggregation, both sides, without any input or output of their own.
//!
//! Start with [`messages`] (what is said), then [`coordinator::Round`] and [`participant::Member`] (who answers what, when).
//! The phases are those of docs/protocol.md, P0 to P7. Time, randomness and messages come in; messages go out.
//!
//! # Security
//! A coordinator that breaks any rule gets refusals, and learns from the messages it did get no more than the sum over one
//! survivor set of at least max(t, n_min, c+2) members. Every rule has its number in [`rules`] and stands as one check in [`participant`] or [`coordinator`].

/// The version of the protocol that docs/protocol.md describes; part of every session's context.
pub const PROTOCOL_VERSION: u64 = 2;

pub mod blame;
pub mod coordinator;
pub mod messages;
pub mod participant;
mod proceedings;
pub mod rejection;
pub mod rules;
pub mod split_view;
pub mod terms;

pub use messages::{
    Advert, AdvertHead, Confirmation, Confirmations, ConfirmedSets, Directive, KeyList,
    MemberMessage, RoundOpen, RoundResult, SecretShares, ShareKeys, ShareStatement, SharedSet,
    SharesDelivery, Survivors, UnmaskShares, UpdateSeal,
};
pub use rejection::{AbortReason, Rejection};
pub use rules::Rule;
pub use split_view::SplitView;
pub use terms::{Attempt, CohortMember, Deadlines, Millis, RoundNumber, RoundTerms};

// The attacks share their harness with tests/rules, which knows this crate by its name.
#[cfg(test)]
extern crate self as consort_round;

#[cfg(test)]
mod attacks;
