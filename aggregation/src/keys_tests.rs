//! Tests of the round keys: RFC 9496, RFC 5869 and the agreement of mask seeds.

use super::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

fn member(position: u32) -> MemberIndex {
    MemberIndex::new(position).unwrap()
}

fn context(round: u8) -> RoundKeyContext {
    RoundKeyContext::new(&Digest::of(&[round]), &Digest::of(b"adverts"))
}

fn bytes(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn public_keys_are_the_small_multiples_of_rfc_9496_a_1() {
    let multiples = [
        "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
        "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
        "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
        "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
        "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
        "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
        "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
        "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
        "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
        "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
        "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
        "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
        "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
        "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
    ];
    for (secret, multiple) in (1_u64..).zip(multiples) {
        let public = SecretKey(Scalar::from(secret)).public();
        assert_eq!(hex::encode(public.to_bytes()), multiple, "{secret}");
        assert_eq!(PublicKey::from_bytes(bytes(multiple)).unwrap(), public);
    }
}

#[test]
fn the_identity_is_no_public_key() {
    assert_eq!(
        PublicKey::from_bytes([0; 32]).unwrap_err(),
        KeyError::Identity
    );
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    // One of each kind: the field prime itself, 2^255 - 1, an unreduced one, a negative one and a non-square.
    let bad = [
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    ];
    for text in bad {
        let error = PublicKey::from_bytes(bytes(text)).unwrap_err();
        assert_eq!(error.code(), "key_not_canonical", "{text}");
    }
}

#[test]
fn the_key_derivation_is_that_of_rfc_5869_a_1() {
    let input = [0x0b; 22];
    let salt = hex::decode("000102030405060708090a0b0c").unwrap();
    let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
    let mut output = [0; 42];
    Hkdf::<Sha256>::new(Some(&salt), &input)
        .expand(&info, &mut output)
        .unwrap();
    assert_eq!(
        hex::encode(output),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    );
}

#[test]
fn both_ends_of_a_pair_derive_one_seed_and_every_other_input_changes_it() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (a, b, c) = (
        SecretKey::random(&mut rng),
        SecretKey::random(&mut rng),
        SecretKey::random(&mut rng),
    );
    let seed = |own: &SecretKey, peer: &SecretKey, round, from, to| {
        pair_mask_seed(
            own,
            &peer.public(),
            &context(round),
            member(from),
            member(to),
        )
    };
    let expected = seed(&a, &b, 1, 1, 2);
    assert_eq!(seed(&b, &a, 1, 2, 1), expected);
    assert_ne!(seed(&a, &c, 1, 1, 2), expected);
    assert_ne!(seed(&a, &b, 2, 1, 2), expected);
    assert_ne!(seed(&a, &b, 1, 1, 3), expected);
}

#[test]
fn a_self_mask_is_bound_to_its_secret_its_owner_and_its_round() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let (b, other) = (
        SelfMaskSecret::random(&mut rng),
        SelfMaskSecret::random(&mut rng),
    );
    let expected = self_mask_seed(&b, &context(1), member(1));
    assert_eq!(self_mask_seed(&b, &context(1), member(1)), expected);
    assert_ne!(self_mask_seed(&other, &context(1), member(1)), expected);
    assert_ne!(self_mask_seed(&b, &context(1), member(2)), expected);
    assert_ne!(self_mask_seed(&b, &context(2), member(1)), expected);
}

#[test]
fn a_secret_shows_its_type_and_length_only() {
    let secret = SecretKey(Scalar::from(7_u64));
    assert_eq!(format!("{secret:?}"), "SecretKey(32 bytes)");
    assert_eq!(
        format!("{:?}", secret.to_share_secret()),
        "ShareSecret(32 bytes)"
    );
}
