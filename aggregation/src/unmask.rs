//! Opening one mask of one member: its secret from shares, checked against what the member committed to.
//!
//! The self-mask secret is opened for a member whose update is in the sum, the mask key for one that dropped out after
//! sharing. Never both for one member: the holders of the shares see to that, not this file.

use crate::{
    Commitments, Interpolation, MemberIndex, PublicKey, SecretKey, SelfMaskSecret, Share,
    ShareError,
};
use std::collections::BTreeMap;

/// Recovers the mask key σ of `owner` and checks it against the public key M that the owner advertised.
///
/// # Errors
/// [`UnmaskError`] names the owner whose key did not check; [`faulty_holders`] then says whose shares are to blame.
pub fn recover_mask_key(
    owner: MemberIndex,
    interpolation: &Interpolation,
    shares: &BTreeMap<MemberIndex, Share>,
    advertised: &PublicKey,
) -> Result<SecretKey, UnmaskError> {
    let secret = interpolation
        .reconstruct(shares)
        .map_err(|source| UnmaskError::Shares { owner, source })?;
    let key = SecretKey::from_share_secret(&secret);
    if key.public() != *advertised {
        return Err(UnmaskError::Mismatch { owner });
    }
    Ok(key)
}

/// Recovers the self-mask secret b of `owner` and checks it against the constant of the owner's commitments.
///
/// # Errors
/// [`UnmaskError`] names the owner whose secret did not check; [`faulty_holders`] then says whose shares are to blame.
pub fn recover_self_mask(
    owner: MemberIndex,
    interpolation: &Interpolation,
    shares: &BTreeMap<MemberIndex, Share>,
    commitments: &Commitments,
) -> Result<SelfMaskSecret, UnmaskError> {
    let secret = interpolation
        .reconstruct(shares)
        .map_err(|source| UnmaskError::Shares { owner, source })?;
    let secret = SelfMaskSecret::from_share_secret(&secret);
    if secret.public() != commitments.constant() {
        return Err(UnmaskError::Mismatch { owner });
    }
    Ok(secret)
}

/// The holders whose shares contradict the commitments: they, and not the owner, are at fault.
#[must_use]
pub fn faulty_holders(
    commitments: &Commitments,
    shares: &BTreeMap<MemberIndex, Share>,
) -> Vec<MemberIndex> {
    shares
        .iter()
        .filter(|(holder, share)| !commitments.verify(**holder, share))
        .map(|(holder, _)| *holder)
        .collect()
}

/// Why a member's mask could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnmaskError {
    /// The shares do not suffice.
    #[error("the secret of member {owner} cannot be reconstructed")]
    Shares {
        /// The member whose secret was wanted.
        owner: MemberIndex,
        /// What is missing.
        source: ShareError,
    },
    /// The shares give another secret than the one that was committed to.
    #[error(
        "the shares of member {owner} give another secret than it committed to; check each share"
    )]
    Mismatch {
        /// The member whose secret did not check.
        owner: MemberIndex,
    },
}

impl UnmaskError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Shares { .. } => "unmask_shares",
            Self::Mismatch { .. } => "unmask_mismatch",
        }
    }

    /// The member whose secret could not be opened.
    #[must_use]
    pub fn owner(&self) -> MemberIndex {
        match self {
            Self::Shares { owner, .. } | Self::Mismatch { owner } => *owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn members(n: u32) -> Vec<MemberIndex> {
        (1..=n).map(|x| MemberIndex::new(x).unwrap()).collect()
    }

    #[test]
    fn a_recovered_key_is_the_one_that_was_advertised() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let xs = members(4);
        let interpolation = Interpolation::new(3, &xs).unwrap();

        let key = SecretKey::random(&mut rng);
        let (_, shares) = split(&key.to_share_secret(), 3, &xs, &mut rng).unwrap();
        let recovered = recover_mask_key(xs[0], &interpolation, &shares, &key.public()).unwrap();
        assert_eq!(recovered.public(), key.public());

        let secret = SelfMaskSecret::random(&mut rng);
        let (commitments, shares) = split(&secret.to_share_secret(), 3, &xs, &mut rng).unwrap();
        let recovered = recover_self_mask(xs[0], &interpolation, &shares, &commitments).unwrap();
        assert_eq!(recovered.public(), secret.public());
    }

    #[test]
    fn a_wrong_share_is_noticed_and_its_holder_is_named() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let xs = members(4);
        let key = SecretKey::random(&mut rng);
        let (commitments, mut shares) = split(&key.to_share_secret(), 3, &xs, &mut rng).unwrap();
        let swapped = shares[&xs[3]].clone();
        shares.insert(xs[1], swapped);

        let interpolation = Interpolation::new(3, &xs).unwrap();
        let owner = xs[2];
        let error = recover_mask_key(owner, &interpolation, &shares, &key.public()).unwrap_err();
        assert_eq!(error, UnmaskError::Mismatch { owner });
        let error = recover_self_mask(owner, &interpolation, &shares, &commitments).unwrap_err();
        assert_eq!(error.owner(), owner);
        assert_eq!(faulty_holders(&commitments, &shares), [xs[1]]);
    }

    #[test]
    fn a_missing_share_is_told_with_its_owner_and_its_holder() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let xs = members(3);
        let key = SecretKey::random(&mut rng);
        let (_, mut shares) = split(&key.to_share_secret(), 2, &xs, &mut rng).unwrap();
        let interpolation = Interpolation::new(2, &xs).unwrap();
        shares.remove(&xs[0]);
        let error = recover_mask_key(xs[2], &interpolation, &shares, &key.public()).unwrap_err();
        let source = ShareError::Missing { holder: xs[0] };
        assert_eq!(
            error,
            UnmaskError::Shares {
                owner: xs[2],
                source
            }
        );
    }
}
