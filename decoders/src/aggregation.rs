//! Canonical encodings, packed vectors, keys, shares and boxes.

use crate::{Decoder, Outcome, code, head, text};
use consort_aggregation::{
    Accumulator, AggregateSum, CanonicalReader, Commitments, Digest, MemberIndex, PublicKey,
    RoundKeyContext, SecretKey, Share, SharePair, VectorSchema, Width, open_shares, pack,
    seal_shares, unpack,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::sync::LazyLock;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "canonical",
        decode: canonical,
    },
    Decoder {
        name: "digest",
        decode: digest,
    },
    Decoder {
        name: "packed-vector",
        decode: packed_vector,
    },
    Decoder {
        name: "packed-range",
        decode: packed_range,
    },
    Decoder {
        name: "aggregate-sum",
        decode: aggregate_sum,
    },
    Decoder {
        name: "public-key",
        decode: public_key,
    },
    Decoder {
        name: "share",
        decode: share,
    },
    Decoder {
        name: "commitments",
        decode: commitments,
    },
    Decoder {
        name: "sealed-shares",
        decode: sealed_shares,
    },
];

/// Reads under a script: the first 16 bytes say what is asked for, the rest is the encoding.
fn canonical(bytes: &[u8]) -> Outcome {
    let (script, encoded) = head::<16>(bytes)?;
    let mut reader = CanonicalReader::new(encoded, "consort/fuzz/v1").map_err(code!())?;
    for step in script {
        match step % 8 {
            0 => break,
            1 => reader.u64().map(drop),
            2 => reader.array::<32>().map(drop),
            3 => reader.array::<64>().map(drop),
            4 => reader.bytes(1024).map(drop),
            5 => reader.str(64).map(drop),
            // A caller may reserve room for the count it gets.
            6 => reader.list(1 << 20).map(|count| {
                assert!(count <= encoded.len());
            }),
            _ => reader.bytes(usize::MAX).map(drop),
        }
        .map_err(code!())?;
    }
    reader.finish().map_err(code!())
}

fn digest(bytes: &[u8]) -> Outcome {
    let text = text(bytes)?;
    let digest: Digest = text.parse().map_err(|_| "digest_malformed".to_owned())?;
    assert_eq!(digest.to_string(), text);
    Ok(())
}

/// Width, number of elements (8 bytes, big-endian) and the packed elements.
fn packed_vector(bytes: &[u8]) -> Outcome {
    let ([bits, count @ ..], packed) = head::<9>(bytes)?;
    let width = Width::new(bits).map_err(code!())?;
    let elements = unpack(packed, u64::from_be_bytes(count), width).map_err(code!())?;
    assert_eq!(pack(&elements, width), packed);
    Ok(())
}

/// Width, elements of the vector, first element of the range and the packed range.
fn packed_range(bytes: &[u8]) -> Outcome {
    let ([bits, elements, first @ ..], packed) = head::<10>(bytes)?;
    let width = Width::new(bits).map_err(code!())?;
    let schema = VectorSchema::new(u64::from(elements), width).map_err(code!())?;
    let mut sum = Accumulator::new(schema);
    let before = sum.clone().finish();
    let added = sum.add_packed_range(u64::from_be_bytes(first), packed);
    if added.is_err() {
        assert!(sum.finish() == before, "what is refused changed the sum");
    }
    added.map_err(code!())
}

/// Width, elements and the packed sum.
fn aggregate_sum(bytes: &[u8]) -> Outcome {
    let ([bits, elements @ ..], packed) = head::<9>(bytes)?;
    let width = Width::new(bits).map_err(code!())?;
    let schema = VectorSchema::new(u64::from_be_bytes(elements), width).map_err(code!())?;
    let sum = AggregateSum::from_packed(packed, schema).map_err(code!())?;
    assert_eq!(sum.to_packed(), packed);
    Ok(())
}

fn public_key(bytes: &[u8]) -> Outcome {
    let (encoded, _) = head::<32>(bytes)?;
    let key = PublicKey::from_bytes(encoded).map_err(code!())?;
    assert_eq!(key.to_bytes(), encoded);
    Ok(())
}

fn share(bytes: &[u8]) -> Outcome {
    let (encoded, _) = head::<32>(bytes)?;
    let share = Share::from_bytes(encoded).map_err(code!())?;
    assert_eq!(*share.to_bytes(), encoded);
    Ok(())
}

/// A share that is checked against the commitments, 32 bytes, and the commitments.
fn commitments(bytes: &[u8]) -> Outcome {
    let (share, rest) = head::<32>(bytes)?;
    let commitments = Commitments::from_bytes(rest).map_err(code!())?;
    assert_eq!(commitments.to_bytes(), rest);
    let share = Share::from_bytes(share).map_err(code!())?;
    let holder = MemberIndex::new(2).expect("2 is a position");
    if commitments.verify(holder, &share) {
        Ok(())
    } else {
        Err("share_not_committed".to_owned())
    }
}

/// What the box of the corpus was sealed with.
struct BoxKeys {
    dealer: SecretKey,
    holder: SecretKey,
    context: RoundKeyContext,
}

static BOX_KEYS: LazyLock<BoxKeys> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    BoxKeys {
        dealer: SecretKey::random(&mut rng),
        holder: SecretKey::random(&mut rng),
        context: RoundKeyContext::new(&Digest::of(b"context"), &Digest::of(b"adverts")),
    }
});

/// Seals shares as the one dealer that `sealed_shares` knows, for the corpus.
#[must_use]
pub fn seal(pair: &SharePair) -> Vec<u8> {
    let keys = &*BOX_KEYS;
    let [from, to] = box_ends();
    seal_shares(
        &keys.dealer,
        &keys.holder.public(),
        &keys.context,
        from,
        to,
        pair,
    )
}

fn box_ends() -> [MemberIndex; 2] {
    [1, 2].map(|position| MemberIndex::new(position).expect("above zero"))
}

fn sealed_shares(bytes: &[u8]) -> Outcome {
    let keys = &*BOX_KEYS;
    let [from, to] = box_ends();
    let dealer = keys.dealer.public();
    open_shares(&keys.holder, &dealer, &keys.context, from, to, bytes)
        .map(drop)
        .map_err(code!())
}
