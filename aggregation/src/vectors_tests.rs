//! The crate against the published vectors (`vectors/secure-aggregation`), byte for byte.

#[path = "../../vectors/rust/answers.rs"]
mod answers;
#[path = "../../vectors/rust/replay.rs"]
mod replay;

use crate::*;
use answers::{array, at, bytes, digest, list, number, read, small, text};
use replay::Replay;
use serde_json::Value;
use std::collections::BTreeMap;

fn encoding() -> Value {
    read(include_str!(
        "../../vectors/secure-aggregation/encoding.json"
    ))
}

fn keys() -> Value {
    read(include_str!("../../vectors/secure-aggregation/keys.json"))
}

fn sharing() -> Value {
    read(include_str!(
        "../../vectors/secure-aggregation/sharing.json"
    ))
}

fn member(value: &Value, place: &str) -> MemberIndex {
    MemberIndex::new(small(value, place)).unwrap()
}

fn index(name: &str) -> MemberIndex {
    MemberIndex::new(name.parse().unwrap()).unwrap()
}

fn integers(value: &Value, place: &str) -> Vec<i64> {
    serde_json::from_value(at(value, place).clone()).unwrap()
}

fn secret(value: &Value, place: &str) -> ShareSecret {
    let share = Share::from_bytes(array(value, place)).unwrap();
    // The share of a sharing with threshold one is the secret.
    let one = MemberIndex::new(1).unwrap();
    reconstruct(1, &BTreeMap::from([(one, share)])).unwrap()
}

fn key(value: &Value, place: &str) -> SecretKey {
    SecretKey::from_share_secret(&secret(value, place))
}

fn public(value: &Value, place: &str) -> PublicKey {
    PublicKey::from_bytes(array(value, place)).unwrap()
}

fn context(keys: &Value) -> RoundKeyContext {
    RoundKeyContext::new(&digest(keys, "/ctx"), &digest(keys, "/advert_root"))
}

/// The attempt among ten members, and what is shown of the one on a circle: keys, and sharing.
fn attempts() -> [(Value, Value); 2] {
    let circle = read(include_str!("../../vectors/secure-aggregation/circle.json"));
    let on_a_circle = ["/keys", "/sharing"].map(|name| at(&circle, name).clone());
    [(keys(), sharing()), on_a_circle.into()]
}

fn about<'a>(keys: &'a Value, place: &str, member: MemberIndex) -> Option<&'a Value> {
    let mut said = list(keys, place).iter();
    said.find(|said| number(said, "/member") == u64::from(member.get()))
}

/// What is shown of a member with its secrets.
fn advert(keys: &Value, member: MemberIndex) -> Option<&Value> {
    about(keys, "/adverts", member)
}

/// Where a member's public keys stand.
fn peer_of(keys: &Value, member: MemberIndex) -> &Value {
    advert(keys, member).unwrap_or_else(|| about(keys, "/peers", member).unwrap())
}

/// The parts of an example, appended as their kinds demand.
fn append(canonical: Canonical, parts: &[Value]) -> Canonical {
    parts.iter().fold(canonical, |canonical, part| {
        let (kind, value) = part.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "integer" => canonical.u64(value.as_u64().unwrap()),
            "text" => canonical.str(value.as_str().unwrap()),
            "bytes" => canonical.bytes(&bytes(value, "")),
            "list" => {
                let items = value.as_array().unwrap();
                append(canonical.list(items.len()), items)
            }
            other => panic!("no part is a {other}"),
        }
    })
}

#[test]
fn canonical_encodings_are_those_of_the_reference() {
    for case in list(&encoding(), "/canonical") {
        let canonical = append(Canonical::new(text(case, "/label")), list(case, "/parts"));
        assert_eq!(canonical.clone().finish(), bytes(case, "/encoded"));
        assert_eq!(canonical.hash(), digest(case, "/hash"));
    }
}

#[test]
fn tree_hashes_are_those_of_the_reference() {
    for case in list(&encoding(), "/trees") {
        let mut tree = ChunkTree::new();
        for leaf in list(case, "/leaves") {
            tree.push(&bytes(leaf, ""));
        }
        assert_eq!(tree.root(), digest(case, "/root"));
    }
}

#[test]
fn packed_vectors_and_their_digests_are_those_of_the_reference() {
    for case in list(&encoding(), "/packed") {
        let values = integers(case, "/integers");
        let width = Width::new(small(case, "/width")).unwrap();
        let schema = VectorSchema::new(values.len() as u64, width).unwrap();
        assert_eq!(schema.hash(), digest(case, "/schema_hash"));
        let packed = pack(&encode(&values, width).unwrap(), width);
        assert_eq!(packed, bytes(case, "/packed"));
        let sum = AggregateSum::from_packed(&packed, schema).unwrap();
        assert_eq!(sum.values(), values);
        assert_eq!(sum.digest(), digest(case, "/sum_digest"));
    }
}

#[test]
fn a_vector_of_several_chunks_is_cut_and_hashed_as_by_the_reference() {
    for case in list(&encoding(), "/long") {
        let width = Width::new(small(case, "/width")).unwrap();
        let (elements, multiplier) = (number(case, "/elements"), number(case, "/multiplier"));
        let schema = VectorSchema::new(elements, width).unwrap();
        let values: Vec<u64> = (0..elements)
            .map(|i| width.reduce(i.wrapping_mul(multiplier)))
            .collect();
        let packed = pack(&values, width);
        let mut tree = ChunkTree::new();
        let (mut lengths, mut hashes) = (Vec::new(), Vec::new());
        for chunk in packed.chunks(CHUNK_BYTES) {
            tree.push(chunk);
            lengths.push(chunk.len());
            hashes.push(Digest::of(chunk).to_string());
        }
        let lengths = serde_json::to_value(lengths).unwrap();
        assert_eq!(lengths, *at(case, "/chunk_lengths"));
        let hashes = serde_json::to_value(hashes).unwrap();
        assert_eq!(hashes, *at(case, "/chunk_hashes"));
        assert_eq!(tree.root(), digest(case, "/tree_hash"));
        let sum = AggregateSum::from_packed(&packed, schema).unwrap();
        assert_eq!(sum.digest(), digest(case, "/sum_digest"));
    }
}

#[test]
fn masks_are_those_of_the_reference_at_every_place_and_on_every_tier() {
    let file = read(include_str!("../../vectors/secure-aggregation/masks.json"));
    for case in list(&file, "/masks") {
        let width = Width::new(small(case, "/width")).unwrap();
        let seed = MaskSeed::new(array(case, "/seed"));
        let first = number(case, "/first_element");
        let expected: Vec<u64> = serde_json::from_value(at(case, "/elements").clone()).unwrap();
        let mut elements = vec![0; expected.len()];
        add_mask(&mut elements, &seed, first, width, Sign::Plus);
        assert_eq!(elements, expected, "{case}");
        for tier in Tier::available() {
            let stream = [(MaskStream::of_tier(&seed, tier).unwrap(), Sign::Plus)];
            let found: Vec<u64> = if width.word_bits() == 32 {
                let mut words = vec![0_u32; expected.len()];
                add_masks(&mut words, &stream, first, width);
                words.into_iter().map(u64::from).collect()
            } else {
                let mut words = vec![0_u64; expected.len()];
                add_masks(&mut words, &stream, first, width);
                words
            };
            let found: Vec<_> = found.into_iter().map(|word| width.reduce(word)).collect();
            assert_eq!(found, expected, "{tier}: {case}");
        }
    }
}

#[test]
fn seats_are_those_of_the_reference() {
    let file = read(include_str!("../../vectors/secure-aggregation/seats.json"));
    let graph = Graph::Harary(Circle {
        reach: 2,
        witnesses: 1,
    });
    for case in list(&file, "/circles") {
        let context = context(case);
        assert_eq!(*context.digest(), digest(case, "/ctx2"));
        let members = list(case, "/members").iter().map(|m| member(m, ""));
        let seats: Vec<_> = list(case, "/seats").iter().map(|m| member(m, "")).collect();
        assert_eq!(graph.seat(&context, members).seats(), seats);
    }
}

#[test]
fn public_keys_and_seeds_are_those_of_the_reference() {
    for (keys, _) in attempts() {
        public_keys_and_seeds_are_those_of(&keys);
    }
}

fn public_keys_and_seeds_are_those_of(keys: &Value) {
    let context = context(keys);
    assert_eq!(*context.digest(), digest(keys, "/ctx2"));
    for said in list(keys, "/adverts") {
        let mask_key = key(said, "/mask_secret").public();
        assert_eq!(mask_key, public(said, "/mask_key"));
        let share_key = key(said, "/share_secret").public();
        assert_eq!(share_key, public(said, "/share_key"));
    }
    for said in list(keys, "/pair_mask_seeds") {
        let (u, v) = (member(said, "/members/0"), member(said, "/members/1"));
        let seed = MaskSeed::new(array(said, "/seed"));
        // Of a circle one side at least is shown with its secret.
        let sides = [(u, v), (v, u)].map(|(own, peer)| Some((own, peer, advert(keys, own)?)));
        assert!(sides.iter().any(Option::is_some));
        for (own, peer, said) in sides.into_iter().flatten() {
            let found = pair_mask_seed(
                &key(said, "/mask_secret"),
                &public(peer_of(keys, peer), "/mask_key"),
                &context,
                own,
                peer,
            );
            assert_eq!(found, seed);
        }
    }
    for said in list(keys, "/self_mask_seeds") {
        let b = SelfMaskSecret::from_share_secret(&secret(said, "/secret"));
        let found = self_mask_seed(&b, &context, member(said, "/member"));
        assert_eq!(found, MaskSeed::new(array(said, "/seed")));
    }
}

#[test]
fn shares_commitments_and_boxes_are_those_of_the_reference() {
    for (keys, sharing) in attempts() {
        shares_commitments_and_boxes_are_those_of(&keys, &sharing);
    }
}

fn shares_commitments_and_boxes_are_those_of(keys: &Value, sharing: &Value) {
    let context = context(keys);
    let threshold: u32 = small(sharing, "/threshold");
    for statement in list(sharing, "/statements") {
        let from = member(statement, "/member");
        let mut dealt = Vec::new();
        for name in ["mask_key", "self_mask"] {
            let coefficients = list(statement, &format!("/{name}_coefficients"));
            let mut rng = Replay::new(coefficients[1..].iter().map(|a| array(a, "")));
            let expected = at(statement, &format!("/{name}_shares"))
                .as_object()
                .unwrap();
            let holders: Vec<_> = expected.keys().map(|name| index(name)).collect();
            let (commitments, shares) =
                split(&secret(&coefficients[0], ""), threshold, &holders, &mut rng).unwrap();
            assert!(rng.is_used_up());
            assert_eq!(
                commitments.to_bytes(),
                bytes(statement, &format!("/{name}_commitments"))
            );
            for (holder, share) in expected {
                let (holder, share) = (index(holder), array(share, ""));
                assert_eq!(*shares[&holder].to_bytes(), share);
            }
            dealt.push(shares);
        }
        for (to, sealed) in at(statement, "/boxes").as_object().unwrap() {
            let to = index(to);
            let pair = SharePair {
                mask_key: dealt[0][&to].clone(),
                self_mask: dealt[1][&to].clone(),
            };
            let own = key(advert(keys, from).unwrap(), "/share_secret");
            let peer = public(peer_of(keys, to), "/share_key");
            let found = seal_shares(&own, &peer, &context, from, to, &pair);
            assert_eq!(found.to_vec(), bytes(sealed, ""), "{from} to {to}");
        }
    }
}

#[test]
fn a_masked_vector_of_words_of_3_bytes_is_that_of_the_reference() {
    let keys = keys();
    let updates = read(include_str!(
        "../../vectors/secure-aggregation/updates.json"
    ));
    let narrow = at(&updates, "/narrow");
    let (own, values) = (member(narrow, "/member"), integers(narrow, "/integers"));
    let width = Width::new(small(narrow, "/width")).unwrap();
    assert_eq!(width.mask_bytes(), 3);
    let schema = VectorSchema::new(values.len() as u64, width).unwrap();
    let u2 = list(&updates, "/u2").iter().map(|m| member(m, ""));
    let pairs: Vec<_> = u2
        .filter(|peer| *peer != own)
        .map(|peer| {
            let mut seeds = list(&keys, "/pair_mask_seeds").iter();
            let both = [own.min(peer), own.max(peer)];
            let seed = seeds
                .find(|seed| [member(seed, "/members/0"), member(seed, "/members/1")] == both)
                .unwrap();
            (MaskSeed::new(array(seed, "/seed")), pair_sign(own, peer))
        })
        .collect();
    let mut selfs = list(&keys, "/self_mask_seeds").iter();
    let own_seed = selfs.find(|seed| member(seed, "/member") == own).unwrap();
    let update = EncodedUpdate::from_integers(&values, schema).unwrap();
    let masked = mask_update(update, &MaskSeed::new(array(own_seed, "/seed")), &pairs).unwrap();
    let wire: Vec<u8> = masked.chunks().flat_map(|(_, c)| c.to_vec()).collect();
    assert_eq!(wire, bytes(narrow, "/masked"));
}

#[test]
fn a_revealed_agreement_is_that_of_the_reference() {
    let (keys, blame) = (
        keys(),
        read(include_str!("../../vectors/secure-aggregation/blame.json")),
    );
    let said = at(&blame, "/agreement");
    let own = key(advert(&keys, member(said, "/by")).unwrap(), "/share_secret");
    let peer = public(peer_of(&keys, member(said, "/peer")), "/share_key");
    let mut nonce = Replay::new([array(said, "/nonce")]);
    let revealed = RevealedAgreement::reveal(&own, &peer, &context(&keys), &mut nonce);
    assert_eq!(revealed.to_bytes().to_vec(), bytes(said, "/agreement"));
}

#[test]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a number of 16 significant bits is exact in f32"
)]
fn a_real_valued_update_becomes_the_integers_of_the_reference() {
    let fedavg = read(include_str!("../../vectors/secure-aggregation/fedavg.json"));
    let real = |place: &str| at(&fedavg, place).as_f64().unwrap();
    let seed = RotationSeed::of_round(
        text(&fedavg, "/rotation_seed/job"),
        small(&fedavg, "/rotation_seed/round"),
    );
    let bits = small::<u8>(&fedavg, "/job/fedavg/value_bits");
    let width = Width::new(bits).unwrap();
    let fixed = FixedPoint::new(
        real("/job/fedavg/update_clip"),
        real("/job/fedavg/value_range"),
        (1 << (bits - 1)) - 1,
        Some(seed),
    )
    .unwrap();
    for example in list(&fedavg, "/updates") {
        let elements = small::<u32>(example, "/update/elements");
        let multiplier = small::<u32>(example, "/update/multiplier");
        let scale = at(example, "/update/scale").as_f64().unwrap();
        let value = |i: u32| {
            let place = i64::from(i.wrapping_mul(multiplier) & 0xffff) - 32_768;
            (place as f64 * scale / 32_768.0) as f32
        };
        let mut values: Vec<f32> = (0..elements).map(value).collect();
        let layers = [Layer {
            name: "all",
            elements: values.len(),
        }];
        let mut found = Vec::new();
        let mut rng = Seed(array(example, "/rounding_seed"));
        fixed
            .encode(&mut values, &layers, &mut rng, |piece| {
                found.extend_from_slice(piece);
            })
            .unwrap();
        let found = pack(&encode(&found, width).unwrap(), width);
        assert_eq!(found, bytes(example, "/packed"), "{elements}");
    }
}

/// The one seed that an encoder draws.
struct Seed([u8; 32]);

impl rand_core::RngCore for Seed {
    fn next_u32(&mut self) -> u32 {
        panic!("a seed is drawn, nothing else")
    }

    fn next_u64(&mut self) -> u64 {
        panic!("a seed is drawn, nothing else")
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl rand_core::CryptoRng for Seed {}
