//! Tests of the canonical encoding and its strict reader.

use super::*;
use proptest::prelude::*;

const LABEL: &str = "consort/test/v1";

#[test]
fn an_encoding_is_lengths_and_parts() {
    let encoded = Canonical::new("l")
        .bytes(&[7, 8])
        .u64(5)
        .list(1)
        .str("é")
        .finish();
    assert_eq!(
        hex::encode(encoded),
        "000000016c000000020708000000080000000000000005000000080000000000000001\
         00000002c3a9"
    );
}

#[test]
fn what_was_written_is_read() {
    let encoded = Canonical::new(LABEL)
        .bytes(&[1, 2, 3])
        .list(2)
        .str("a")
        .str("b")
        .u64(u64::MAX)
        .finish();
    let mut reader = CanonicalReader::new(&encoded, LABEL).unwrap();
    assert_eq!(reader.array::<3>().unwrap(), [1, 2, 3]);
    assert_eq!(reader.list(2).unwrap(), 2);
    assert_eq!(reader.str(1).unwrap(), "a");
    assert_eq!(reader.bytes(1).unwrap(), b"b");
    assert_eq!(reader.u64().unwrap(), u64::MAX);
    reader.finish().unwrap();
}

#[test]
fn each_deviation_is_refused_by_name() {
    let encoded = Canonical::new(LABEL).bytes(&[9; 5]).finish();
    let reader = || CanonicalReader::new(&encoded, LABEL).unwrap();

    let other = CanonicalReader::new(&encoded, "consort/other/v1").unwrap_err();
    assert_eq!(other.code(), "canonical_wrong_label");
    assert_eq!(
        reader().bytes(4).unwrap_err().code(),
        "canonical_part_too_long"
    );
    assert_eq!(reader().u64().unwrap_err().code(), "canonical_wrong_length");
    assert_eq!(
        reader().finish().unwrap_err().code(),
        "canonical_trailing_bytes"
    );

    let text = Canonical::new(LABEL).bytes(&[0xff]).finish();
    let mut reader = CanonicalReader::new(&text, LABEL).unwrap();
    assert_eq!(reader.str(1).unwrap_err(), CanonicalError::NotText);
}

#[test]
fn a_list_longer_than_its_input_is_refused_before_room_is_made() {
    let encoded = Canonical::new(LABEL).list(1 << 40).finish();
    let mut reader = CanonicalReader::new(&encoded, LABEL).unwrap();
    assert_eq!(
        reader.clone().list(3).unwrap_err().code(),
        "canonical_list_too_long"
    );
    assert_eq!(
        reader.list(usize::MAX).unwrap_err(),
        CanonicalError::Truncated
    );
}

#[test]
fn every_proper_prefix_of_an_encoding_is_truncated() {
    let encoded = Canonical::new(LABEL).bytes(&[1; 40]).finish();
    for length in 0..encoded.len() {
        let read = CanonicalReader::new(&encoded[..length], LABEL)
            .and_then(|mut reader| reader.bytes(40).map(|_| ()));
        assert_eq!(read.unwrap_err(), CanonicalError::Truncated, "{length}");
    }
}

#[test]
fn a_digest_has_one_spelling() {
    // FIPS 180-4 example: SHA-256("abc").
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_string(), text);
    assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    assert!(text.to_uppercase().parse::<Digest>().is_err());
    assert!(text[1..].parse::<Digest>().is_err());
}

proptest! {
    #[test]
    fn the_reader_never_panics_on_random_bytes(bytes: Vec<u8>, first in 0_usize..64) {
        let mut framed = Canonical::new(LABEL).finish();
        framed.extend_from_slice(&bytes);
        let mut reader = CanonicalReader::new(&framed, LABEL).unwrap();
        let _ = CanonicalReader::new(&bytes, LABEL);
        let _ = reader.clone().list(first);
        let _ = reader.clone().u64();
        let _ = reader.clone().str(first);
        while reader.bytes(first).is_ok() {}
        let _ = reader.finish();
    }

    #[test]
    fn two_different_lists_of_parts_never_share_an_encoding(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
        let encode = |parts: &[Vec<u8>]| {
            parts.iter().fold(Canonical::new(LABEL), |encoding, part| encoding.bytes(part)).finish()
        };
        prop_assert_eq!(encode(&a) == encode(&b), a == b);
    }
}
