//! Tests of the sharing: RFC 9591, thresholds, commitments and hostile bytes.

use super::*;
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

fn members(positions: impl IntoIterator<Item = u32>) -> Vec<MemberIndex> {
    positions
        .into_iter()
        .map(|x| MemberIndex::new(x).unwrap())
        .collect()
}

fn bytes(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn secret(seed: u64) -> ShareSecret {
    ShareSecret(Scalar::random(&mut ChaCha20Rng::seed_from_u64(seed)))
}

/// RFC 9591 appendix E.3, FROST(ristretto255, SHA-512): a 2-of-3 sharing.
mod rfc_9591 {
    pub(super) const SECRET: &str =
        "1b25a55e463cfd15cf14a5d3acc3d15053f08da49c8afcf3ab265f2ebc4f970b";
    pub(super) const PUBLIC: &str =
        "e2a62f39eede11269e3bd5a7d97554f5ca384f9f6d3dd9c3c0d05083c7254f57";
    pub(super) const COEFFICIENT: &str =
        "410f8b744b19325891d73736923525a4f596c805d060dfb9c98009d34e3fec02";
    pub(super) const SHARES: [&str; 3] = [
        "5c3430d391552f6e60ecdc093ff9f6f4488756aa6cebdbad75a768010b8f830e",
        "b06fc5eac20b4f6e1b271d9df2343d843e1e1fb03c4cbb673f2872d459ce6f01",
        "f17e505f0e2581c6acfe54d3846a622834b5e7b50cad9a2109a97ba7a80d5c04",
    ];
}

#[test]
fn the_polynomial_and_its_interpolation_are_those_of_rfc_9591() {
    let scalar = |text| Share::from_bytes(bytes(text)).unwrap().0;
    let coefficients = [scalar(rfc_9591::SECRET), scalar(rfc_9591::COEFFICIENT)];
    let commitments = Commitments(coefficients.iter().map(PublicKey::of).collect());
    assert_eq!(commitments.constant().to_bytes(), bytes(rfc_9591::PUBLIC));

    let shares: BTreeMap<_, _> = members(1..=3)
        .into_iter()
        .zip(rfc_9591::SHARES.map(|text| Share::from_bytes(bytes(text)).unwrap()))
        .collect();
    for (&x, share) in &shares {
        assert_eq!(evaluate(&coefficients, x), share.0, "{x}");
        assert!(commitments.verify(x, share), "{x}");
    }
    for pair in [[1, 2], [1, 3], [2, 3]] {
        let recovered = Interpolation::new(2, &members(pair))
            .unwrap()
            .reconstruct(&shares)
            .unwrap();
        assert_eq!(recovered.0, coefficients[0], "{pair:?}");
    }
}

#[test]
fn one_share_less_than_the_threshold_is_refused_and_fits_every_secret() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let secret = secret(4);
    let (_, mut shares) = split(&secret, 4, &members(1..=5), &mut rng).unwrap();
    shares.pop_last();
    shares.pop_last();
    let error = reconstruct(4, &shares).err().unwrap();
    assert_eq!(
        error,
        ShareError::TooFew {
            present: 3,
            threshold: 4
        }
    );

    // For any other secret there is a polynomial of degree 3 through it and the three shares: interpolating them with that
    // secret's missing fourth share gives that secret, so the three shares tell nothing.
    let interpolation = Interpolation::new(4, &members(1..=4)).unwrap();
    let missing = members([4])[0];
    shares.insert(missing, Share(Scalar::ZERO));
    let partial = interpolation.reconstruct(&shares).unwrap();
    let other = Scalar::from(42_u64);
    let fitting = (other - partial.0) * interpolation.weights[&missing].invert();
    shares.insert(missing, Share(fitting));
    assert_eq!(interpolation.reconstruct(&shares).unwrap().0, other);
    assert_ne!(other, secret.0);
}

#[test]
fn a_tampered_or_misdelivered_share_is_found_by_the_commitments() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let xs = members(1..=5);
    let (commitments, shares) = split(&secret(6), 3, &xs, &mut rng).unwrap();
    assert_eq!(commitments.threshold(), 3);
    for (&x, share) in &shares {
        assert!(commitments.verify(x, share));
        assert!(!commitments.verify(x, &Share(share.0 + Scalar::ONE)), "{x}");
        let neighbour = MemberIndex::new(x.get() + 1).unwrap();
        assert!(!commitments.verify(neighbour, share), "{x}");
    }
}

#[test]
fn a_multiple_of_a_point_is_the_product_with_the_number() {
    let point = RistrettoPoint::mul_base(&Scalar::from(5_u64));
    for n in (1..=260).chain([u32::MAX - 1, u32::MAX, 1 << 31]) {
        assert_eq!(times(&point, n), point * Scalar::from(n), "{n}");
    }
}

#[test]
fn thresholds_that_cannot_be_met_are_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for (threshold, xs) in [
        (0, members(1..=3)),
        (4, members(1..=3)),
        (2, members([1, 1])),
        (257, members(1..=300)),
    ] {
        let error = split(&secret(8), threshold, &xs, &mut rng).unwrap_err();
        assert_eq!(error.code(), "shares_threshold_out_of_range", "{threshold}");
    }
    assert_eq!(
        Interpolation::new(0, &members([1])).unwrap_err().code(),
        "shares_too_few"
    );
}

#[test]
fn a_missing_share_names_its_holder() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let (_, mut shares) = split(&secret(10), 2, &members(1..=3), &mut rng).unwrap();
    let interpolation = Interpolation::new(2, &members([3, 2])).unwrap();
    let holder = members([3])[0];
    shares.remove(&holder);
    assert_eq!(
        interpolation.reconstruct(&shares).err(),
        Some(ShareError::Missing { holder })
    );
}

#[test]
fn commitments_of_a_wrong_length_or_with_a_bad_point_are_refused() {
    let point = PublicKey::of(&Scalar::ONE).to_bytes();
    assert_eq!(
        Commitments::from_bytes(&[]).unwrap_err().code(),
        "commitments_length"
    );
    assert_eq!(
        Commitments::from_bytes(&point[1..]).unwrap_err().code(),
        "commitments_length"
    );
    assert_eq!(
        Commitments::from_bytes(&point.repeat(257))
            .unwrap_err()
            .code(),
        "commitments_length"
    );
    let with_identity = [point, [0; 32]].concat();
    assert_eq!(
        Commitments::from_bytes(&with_identity).unwrap_err().code(),
        "commitments_point"
    );
}

#[test]
fn a_share_that_is_not_reduced_is_refused() {
    // ℓ itself, RFC 9496 section 4.
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    assert_eq!(
        Share::from_bytes(order).unwrap_err().code(),
        "share_not_canonical"
    );
    assert!(Share::from_bytes([0xff; 32]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_threshold_of_the_holders_reconstruct(
        seed: u64,
        positions in proptest::collection::btree_set(1_u32.., 1..12),
        part in 0.0..1.0_f64,
        order in proptest::collection::vec(any::<usize>(), 12),
    ) {
        let xs = members(positions);
        let n = u32::try_from(xs.len()).unwrap();
        let threshold = (1..=n).find(|&t| f64::from(t) >= part * f64::from(n)).unwrap();
        let secret = secret(seed);
        let mut rng = ChaCha20Rng::seed_from_u64(!seed);
        let (commitments, mut shares) = split(&secret, threshold, &xs, &mut rng).unwrap();
        for index in order {
            if shares.len() > threshold as usize {
                let dropped = *shares.keys().nth(index % shares.len()).unwrap();
                shares.remove(&dropped);
            }
        }
        prop_assert!(shares.iter().all(|(&x, share)| commitments.verify(x, share)));
        prop_assert_eq!(reconstruct(threshold, &shares).unwrap().0, secret.0);
        prop_assert_eq!(Commitments::from_bytes(&commitments.to_bytes()).unwrap(), commitments);
    }

    #[test]
    fn commitments_never_panic_on_random_bytes(bytes: Vec<u8>) {
        let _ = Commitments::from_bytes(&bytes);
    }
}
