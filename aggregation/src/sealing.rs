//! The sealed box in which a member sends its shares to one neighbour through the coordinator.

use crate::{
    Canonical, MemberIndex, PublicKey, RevealedAgreement, RoundKeyContext, SecretKey, Share,
    keys::{agreed_key, revealed_key},
    secret::redacted_debug,
};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The HKDF label of the key of one box.
const KEY_LABEL: &str = "consort/aggregation/share-encryption/v1";
/// The label of what a box is bound to.
const BOX_LABEL: &str = "consort/aggregation/share-box/v1";
/// Bytes of the two shares inside a box.
const PAIR_BYTES: usize = 64;
/// Bytes of a sealed box: two shares and the 16-byte tag of RFC 8439.
pub const SEALED_SHARES_BYTES: usize = PAIR_BYTES + 16;

/// The two shares that one member gives to one neighbour, zeroised on drop.
///
/// # Security
/// The neighbour opens at most one of them, ever: the mask key of a member that dropped out, or the self-mask of one that
/// stayed. With both, the coordinator could take the masks off that member's update.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct SharePair {
    /// The share of the owner's mask key σ.
    pub mask_key: Share,
    /// The share of the owner's self-mask secret b.
    pub self_mask: Share,
}

redacted_debug!(SharePair, 64);

/// Seals the shares of member `from` for member `to`, with ChaCha20-Poly1305 (RFC 8439).
///
/// # Security
/// The nonce is zero. The key is derived from share-encryption keys that live for one attempt of one round, from its
/// context and from the direction, so it may seal one message: seal once, keep the bytes, and resend those.
#[must_use]
pub fn seal_shares(
    own: &SecretKey,
    peer: &PublicKey,
    context: &RoundKeyContext,
    from: MemberIndex,
    to: MemberIndex,
    pair: &SharePair,
) -> Vec<u8> {
    let mut plain = Zeroizing::new([0; PAIR_BYTES]);
    plain[..32].copy_from_slice(pair.mask_key.to_bytes().as_ref());
    plain[32..].copy_from_slice(pair.self_mask.to_bytes().as_ref());
    let payload = Payload {
        msg: plain.as_ref(),
        aad: &bound_to(context, from, to),
    };
    cipher(own, peer, context, from, to)
        .encrypt(&Nonce::default(), payload)
        .expect("64 bytes are far below the limit of RFC 8439")
}

/// Opens the shares that member `from` sealed for member `to`.
///
/// # Errors
/// [`OpenError`] names the sender: the box was not sealed by it, for this member, in this round, or holds no shares.
pub fn open_shares(
    own: &SecretKey,
    peer: &PublicKey,
    context: &RoundKeyContext,
    from: MemberIndex,
    to: MemberIndex,
    sealed: &[u8],
) -> Result<SharePair, OpenError> {
    open(
        cipher(own, peer, context, from, to),
        context,
        from,
        to,
        sealed,
    )
}

/// Opens a box between two members of which one revealed what they agreed on. Whoever calls this has verified the agreement.
///
/// # Errors
/// [`OpenError`] as for [`open_shares`]. With a verified agreement it is the sender's fault.
pub fn open_revealed(
    agreement: &RevealedAgreement,
    context: &RoundKeyContext,
    from: MemberIndex,
    to: MemberIndex,
    sealed: &[u8],
) -> Result<SharePair, OpenError> {
    let key = revealed_key(&agreement.point(), context, key_info(from, to));
    let cipher = ChaCha20Poly1305::new((&*key).into());
    open(cipher, context, from, to, sealed)
}

fn open(
    cipher: ChaCha20Poly1305,
    context: &RoundKeyContext,
    from: MemberIndex,
    to: MemberIndex,
    sealed: &[u8],
) -> Result<SharePair, OpenError> {
    if sealed.len() != SEALED_SHARES_BYTES {
        return Err(OpenError::Length {
            from,
            length: sealed.len(),
        });
    }
    let payload = Payload {
        msg: sealed,
        aad: &bound_to(context, from, to),
    };
    let plain = cipher
        .decrypt(&Nonce::default(), payload)
        .map(Zeroizing::new)
        .map_err(|_| OpenError::NotAuthentic { from })?;
    let share = |half: Option<&[u8; 32]>| {
        half.and_then(|bytes| Share::from_bytes(*bytes).ok())
            .ok_or(OpenError::NotShares { from })
    };
    Ok(SharePair {
        mask_key: share(plain.first_chunk())?,
        self_mask: share(plain.last_chunk())?,
    })
}

fn cipher(
    own: &SecretKey,
    peer: &PublicKey,
    context: &RoundKeyContext,
    from: MemberIndex,
    to: MemberIndex,
) -> ChaCha20Poly1305 {
    let key = agreed_key(own, peer, context, key_info(from, to));
    ChaCha20Poly1305::new((&*key).into())
}

fn key_info(from: MemberIndex, to: MemberIndex) -> Canonical {
    Canonical::new(KEY_LABEL)
        .u64(from.get().into())
        .u64(to.get().into())
}

fn bound_to(context: &RoundKeyContext, from: MemberIndex, to: MemberIndex) -> Vec<u8> {
    Canonical::new(BOX_LABEL)
        .bytes(context.digest().as_bytes())
        .u64(from.get().into())
        .u64(to.get().into())
        .finish()
}

/// Why a sealed box gives no shares: the fault of its sender, or of the coordinator that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The box has another length.
    #[error(
        "the sealed shares from member {from} have {length} bytes instead of {SEALED_SHARES_BYTES}"
    )]
    Length {
        /// The member that is said to have sealed it.
        from: MemberIndex,
        /// Bytes received.
        length: usize,
    },
    /// The tag does not hold.
    #[error("the sealed shares from member {from} are not authentic for this member and round")]
    NotAuthentic {
        /// The member that is said to have sealed it.
        from: MemberIndex,
    },
    /// The sender itself sealed something else than two shares.
    #[error("the box sealed by member {from} does not hold two canonical shares")]
    NotShares {
        /// The member that sealed it.
        from: MemberIndex,
    },
}

impl OpenError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "sealed_shares_length",
            Self::NotAuthentic { .. } => "sealed_shares_not_authentic",
            Self::NotShares { .. } => "sealed_shares_not_shares",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    struct Peers {
        a: SecretKey,
        b: SecretKey,
        context: RoundKeyContext,
        pair: SharePair,
    }

    fn peers() -> Peers {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut number = [0; 32];
        let mut share = |first| {
            number[0] = first;
            Share::from_bytes(number).unwrap()
        };
        Peers {
            a: SecretKey::random(&mut rng),
            b: SecretKey::random(&mut rng),
            context: RoundKeyContext::new(&Digest::of(b"round"), &Digest::of(b"adverts")),
            pair: SharePair {
                mask_key: share(1),
                self_mask: share(2),
            },
        }
    }

    fn member(position: u32) -> MemberIndex {
        MemberIndex::new(position).unwrap()
    }

    fn seal(p: &Peers) -> Vec<u8> {
        seal_shares(
            &p.a,
            &p.b.public(),
            &p.context,
            member(1),
            member(2),
            &p.pair,
        )
    }

    #[test]
    fn the_neighbour_opens_what_was_sealed_for_it() {
        let p = peers();
        let sealed = seal(&p);
        assert_eq!(sealed.len(), SEALED_SHARES_BYTES);
        let opened = open_shares(
            &p.b,
            &p.a.public(),
            &p.context,
            member(1),
            member(2),
            &sealed,
        )
        .unwrap();
        assert_eq!(opened, p.pair);
    }

    #[test]
    fn a_box_from_another_round_direction_or_member_is_not_authentic() {
        let p = peers();
        let sealed = seal(&p);
        let other = RoundKeyContext::new(&Digest::of(b"other"), &Digest::of(b"adverts"));
        let public = p.a.public();
        let opened = [
            open_shares(&p.b, &public, &other, member(1), member(2), &sealed),
            open_shares(&p.b, &public, &p.context, member(2), member(1), &sealed),
            open_shares(&p.b, &public, &p.context, member(1), member(3), &sealed),
            open_shares(&p.a, &public, &p.context, member(1), member(2), &sealed),
            // Reflected: the coordinator returns to the sender its own box.
            open_shares(
                &p.a,
                &p.b.public(),
                &p.context,
                member(2),
                member(1),
                &sealed,
            ),
        ];
        for result in opened {
            assert_eq!(result.unwrap_err().code(), "sealed_shares_not_authentic");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let p = peers();
        let sealed = seal(&p);
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let result = open_shares(
                &p.b,
                &p.a.public(),
                &p.context,
                member(1),
                member(2),
                &forged,
            );
            assert_eq!(
                result.unwrap_err(),
                OpenError::NotAuthentic { from: member(1) },
                "{bit}"
            );
        }
    }

    proptest! {
        #[test]
        fn opening_never_panics_on_random_bytes(sealed: Vec<u8>) {
            let p = peers();
            let result = open_shares(&p.b, &p.a.public(), &p.context, member(1), member(2), &sealed);
            prop_assert!(result.is_err());
        }
    }
}
