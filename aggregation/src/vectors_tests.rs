//! The crate against its independent reference, `vectors/reference.py`, byte for byte.

use crate::*;
use std::collections::BTreeMap;

/// The answers of the reference, by name.
struct Answers(BTreeMap<&'static str, Vec<u8>>);

impl Answers {
    fn read() -> Self {
        let lines = include_str!("../vectors/round.txt").lines();
        Self(
            lines
                .map(|line| line.split_once(" = ").unwrap())
                .map(|(name, value)| (name, hex::decode(value).unwrap()))
                .collect(),
        )
    }

    fn bytes(&self, name: &str) -> &[u8] {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the reference has no {name}"))
    }

    fn array(&self, name: &str) -> [u8; 32] {
        self.bytes(name).try_into().unwrap()
    }

    fn digest(&self, name: &str) -> Digest {
        Digest::new(self.array(name))
    }

    fn scalar(&self, name: &str) -> ShareSecret {
        let share = Share::from_bytes(self.array(name)).unwrap();
        // The share of a sharing with threshold one is the secret.
        reconstruct(1, &BTreeMap::from([(member(1), share)])).unwrap()
    }

    fn key(&self, name: &str) -> SecretKey {
        SecretKey::from_share_secret(&self.scalar(name))
    }

    fn public(&self, name: &str) -> PublicKey {
        PublicKey::from_bytes(self.array(name)).unwrap()
    }

    fn context(&self) -> RoundKeyContext {
        RoundKeyContext::new(&self.digest("context"), &self.digest("advert_root"))
    }

    fn pair_seed(&self, peer: u32) -> MaskSeed {
        let peer_key = self.public(&format!("mask_public_{peer}"));
        pair_mask_seed(
            &self.key("mask_key_2"),
            &peer_key,
            &self.context(),
            member(2),
            member(peer),
        )
    }

    fn self_seed(&self) -> MaskSeed {
        let secret = SelfMaskSecret::from_share_secret(&self.scalar("self_mask_2"));
        self_mask_seed(&secret, &self.context(), member(2))
    }
}

fn member(position: u32) -> MemberIndex {
    MemberIndex::new(position).unwrap()
}

#[test]
fn keys_and_seeds_are_those_of_the_reference() {
    let answers = Answers::read();
    assert_eq!(
        *answers.context().digest(),
        answers.digest("round_key_context")
    );
    for name in [
        "mask_{}_1",
        "mask_{}_2",
        "mask_{}_3",
        "share_{}_1",
        "share_{}_2",
    ] {
        let key = answers.key(&name.replace("{}", "key"));
        assert_eq!(
            key.public(),
            answers.public(&name.replace("{}", "public")),
            "{name}"
        );
    }
    assert_eq!(
        answers.pair_seed(1),
        MaskSeed::new(answers.array("pair_seed_2_1"))
    );
    assert_eq!(
        answers.pair_seed(3),
        MaskSeed::new(answers.array("pair_seed_2_3"))
    );
    assert_eq!(
        answers.self_seed(),
        MaskSeed::new(answers.array("self_seed_2"))
    );
}

#[test]
fn shares_commitments_and_the_sealed_box_are_those_of_the_reference() {
    let answers = Answers::read();
    let commitments = Commitments::from_bytes(answers.bytes("commitments")).unwrap();
    let shares: BTreeMap<MemberIndex, Share> = (1..=3)
        .map(|x| {
            (
                member(x),
                Share::from_bytes(answers.array(&format!("share_{x}"))).unwrap(),
            )
        })
        .collect();
    assert_eq!(faulty_holders(&commitments, &shares), []);
    let interpolation = Interpolation::new(2, &[member(3), member(2)]).unwrap();
    let public = answers.public("mask_public_1");
    recover_mask_key(member(1), &interpolation, &shares, &public).unwrap();

    let pair = SharePair {
        mask_key: shares[&member(2)].clone(),
        self_mask: Share::from_bytes(answers.array("share_of_self_mask")).unwrap(),
    };
    let (own, peer) = (answers.key("share_key_1"), answers.public("share_public_2"));
    let sealed = seal_shares(&own, &peer, &answers.context(), member(1), member(2), &pair);
    assert_eq!(
        hex::encode(sealed),
        hex::encode(answers.bytes("sealed_1_2"))
    );
}

#[test]
fn masked_updates_and_sums_are_those_of_the_reference() {
    let answers = Answers::read();
    let integers: Vec<i64> = (-18..=18).collect();
    for bits in [21, 45] {
        let schema = VectorSchema::new(37, Width::new(bits).unwrap()).unwrap();
        assert_eq!(
            schema.hash(),
            answers.digest(&format!("schema_hash_{bits}"))
        );

        let update = EncodedUpdate::from_integers(&integers, schema).unwrap();
        let pairs =
            [1, 3].map(|peer| (answers.pair_seed(peer), pair_sign(member(2), member(peer))));
        let masked = mask_update(update, &answers.self_seed(), &pairs).unwrap();
        let wire: Vec<u8> = masked
            .chunks()
            .flat_map(|(_, chunk)| chunk.to_vec())
            .collect();
        assert_eq!(
            hex::encode(&wire),
            hex::encode(answers.bytes(&format!("masked_{bits}")))
        );
        assert_eq!(
            masked.tree_hash(),
            answers.digest(&format!("masked_tree_hash_{bits}"))
        );

        let mut sum = Accumulator::new(schema);
        sum.add_packed(&wire).unwrap();
        sum.subtract_mask(&answers.self_seed(), Sign::Plus);
        sum.subtract_masks(&pairs);
        let sum = sum.finish();
        assert_eq!(sum.values(), integers);
        assert_eq!(sum.digest(), answers.digest(&format!("sum_digest_{bits}")));
    }
}

#[test]
fn the_seats_of_a_sparse_graph_are_those_of_the_reference() {
    let answers = Answers::read();
    let graph = Graph::Harary(Circle {
        reach: 2,
        witnesses: 1,
    });
    let seating = graph.seat(&answers.context(), (1..=12).map(member));
    let seats: Vec<_> = answers
        .bytes("seats")
        .iter()
        .map(|&i| member(i.into()))
        .collect();
    assert_eq!(seating.seats(), seats);
}
