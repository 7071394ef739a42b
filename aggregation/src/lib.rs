//! The arithmetic of masked sums: canonical encoding, the ring, keys, masks, shares and the sum.
//!
//! This crate is pure: no clock, no disk, no socket, and randomness only through an argument. Threads live only inside one
//! call, as many as its caller asks for, and change no bit of the result. It is the arithmetic of Bonawitz et al.,
//! "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017), and holds none of the rules of a
//! round: who may say what, and when, is decided elsewhere.
//!
//! One update takes this path: [`EncodedUpdate`] (no wire form) → [`mask_update`] → [`MaskedUpdate`] (the only update
//! with a wire form) → [`Accumulator`] → [`AggregateSum`].

mod agreement;
mod canonical;
mod chunk_sum;
mod encoded;
mod encoding;
mod fixed;
mod graph;
mod keys;
mod mask;
mod member;
mod packing;
mod parallel;
mod prg;
mod ring;
mod sealing;
mod secret;
mod shares;
mod sum;
mod tree;
mod unmask;

// The reader of the vectors is shared with other crates, which know this one by its name.
#[cfg(test)]
extern crate self as consort_aggregation;

#[cfg(test)]
mod arc_tests;
#[cfg(test)]
mod flow_tests;
#[cfg(test)]
mod vectors_tests;

pub use agreement::{AGREEMENT_BYTES, RevealedAgreement};
pub use canonical::{Canonical, CanonicalError, CanonicalReader, Digest, DigestError};
pub use chunk_sum::ChunkSum;
pub use encoded::{EncodedUpdate, UpdateBuilder};
pub use encoding::{
    EncodeError, MAX_ELEMENTS, PlanError, Quantisation, VectorSchema, decode, encode, width_for,
};
pub use fixed::{FixedPoint, FixedPointError, Layer, ROTATION_BLOCK, RotationSeed};
pub use graph::{Circle, Graph, Seating};
pub use keys::{
    KeyError, PublicKey, RoundKeyContext, SecretKey, SelfMaskSecret, pair_mask_seed, self_mask_seed,
};
pub use mask::{CHUNK_BYTES, MaskError, MaskedUpdate, mask_update, mask_update_with, pair_sign};
pub use member::MemberIndex;
pub use packing::{PackingError, pack, unpack};
pub use prg::{MaskSeed, MaskStream, Sign, Tier, TierError, Word, add_mask, add_masks, force_tier};
pub use ring::{Width, WidthError};
pub use sealing::{
    OpenError, SEALED_SHARES_BYTES, SharePair, open_revealed, open_shares, seal_shares,
};
pub use shares::{
    Commitments, CommitmentsError, Interpolation, MAX_THRESHOLD, Share, ShareError, ShareSecret,
    SharingError, reconstruct, split,
};
pub use sum::{Accumulator, AccumulatorPart, AggregateSum};
pub use tree::ChunkTree;
pub use unmask::{UnmaskError, faulty_holders, recover_mask_key, recover_self_mask};
