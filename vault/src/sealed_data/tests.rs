//! Sealed data sets, good and bad.

use super::*;
use crate::{DataKey, KeyName};
use consort_contract::Label;

fn name() -> KeyName {
    KeyName {
        key_id: Label::new("records-key").unwrap(),
        version: 3,
        data_set: Label::new("records").unwrap(),
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

fn sealed(key: &DataKey, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    seal(content(bytes).as_slice(), &mut out, key, &name()).unwrap();
    out
}

fn opened(mut file: &[u8], key: &DataKey) -> Result<Vec<u8>, SealedDataError> {
    let header = Header::read(&mut file)?;
    let all = Reader::new(file, &header, key)?.read_all(0)?;
    Ok(all.to_vec())
}

fn header_bytes(file: &[u8]) -> usize {
    4 + usize::try_from(u32::from_be_bytes(file[..4].try_into().unwrap())).unwrap()
}

#[test]
fn content_of_any_length_comes_back() {
    let key = DataKey::random();
    for bytes in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        3 * CHUNK_BYTES,
    ] {
        let file = sealed(&key, bytes);
        assert_eq!(opened(&file, &key).unwrap(), content(bytes), "{bytes}");
    }
}

#[test]
fn the_same_content_is_never_sealed_the_same() {
    let key = DataKey::random();
    let (one, two) = (sealed(&key, 100), sealed(&key, 100));
    let at = header_bytes(&one);
    assert_ne!(one[at..], two[at..]);
}

#[test]
fn a_wrong_key_is_noticed_before_a_chunk_is_opened() {
    let file = sealed(&DataKey::random(), 10);
    let refused = opened(&file, &DataKey::random()).unwrap_err();
    assert_eq!(refused.code(), "sealed_data_wrong_key");
    assert!(refused.to_string().contains("records-key version 3"));
}

#[test]
fn another_data_set_or_key_than_is_expected_is_refused_by_name() {
    let file = sealed(&DataKey::random(), 10);
    let header = Header::read(&mut file.as_slice()).unwrap();
    let label = |text| Label::new(text).unwrap();
    header
        .expect(&label("records-key"), &label("records"))
        .unwrap();
    let refused = header
        .expect(&label("records-key"), &label("others"))
        .unwrap_err();
    assert_eq!(refused.code(), "sealed_data_other_data_set");
    let refused = header
        .expect(&label("other-key"), &label("records"))
        .unwrap_err();
    assert_eq!(refused.code(), "sealed_data_other_key");
}

#[test]
fn a_header_that_was_made_to_name_another_data_set_does_not_open() {
    let key = DataKey::random();
    let file = sealed(&key, 10);
    let mut header = Header::read(&mut file.as_slice()).unwrap();
    header.key.data_set = Label::new("others").unwrap();
    let changed = [header.framed().as_slice(), &file[header_bytes(&file)..]].concat();
    let refused = opened(&changed, &key).unwrap_err();
    assert_eq!(refused.code(), "sealed_data_wrong_key");
}

#[test]
fn any_changed_bit_is_found() {
    let key = DataKey::random();
    let file = sealed(&key, 40);
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[position] ^= 1 << bit;
            assert!(
                opened(&changed, &key).is_err(),
                "byte {position}, bit {bit}"
            );
        }
    }
}

#[test]
fn a_file_cut_anywhere_does_not_open_also_at_the_end_of_a_chunk() {
    let key = DataKey::random();
    let file = sealed(&key, 2 * CHUNK_BYTES + 5);
    let head = header_bytes(&file);
    let chunk = CHUNK_BYTES + TAG_BYTES;
    let cuts = (0..head + 40)
        .chain([head + chunk - 1, head + chunk, head + chunk + 1])
        .chain([head + 2 * chunk, file.len() - 1]);
    for cut in cuts {
        assert!(opened(&file[..cut], &key).is_err(), "cut at {cut}");
    }
    let refused = opened(&file[..head + chunk], &key).unwrap_err();
    assert_eq!(refused.code(), "sealed_data_chunk");
    assert!(refused.to_string().contains("chunk 1"), "{refused}");
}

#[test]
fn chunks_that_were_swapped_repeated_or_left_out_do_not_open() {
    let key = DataKey::random();
    let file = sealed(&key, 3 * CHUNK_BYTES + 5);
    let head = header_bytes(&file);
    let chunk = |i: usize| {
        let start = head + i * (CHUNK_BYTES + TAG_BYTES);
        &file[start..file.len().min(start + CHUNK_BYTES + TAG_BYTES)]
    };
    for order in [
        vec![1, 0, 2, 3],
        vec![0, 0, 1, 2, 3],
        vec![0, 2, 3],
        vec![0, 1, 3],
        vec![3],
        vec![0, 1, 2, 3, 3],
    ] {
        let mut changed = file[..head].to_vec();
        order
            .iter()
            .for_each(|i| changed.extend_from_slice(chunk(*i)));
        let refused = opened(&changed, &key).unwrap_err();
        assert_eq!(refused.code(), "sealed_data_chunk", "{order:?}");
    }
}

#[test]
fn what_is_no_sealed_data_set_is_refused_and_makes_no_room_for_what_it_claims() {
    let key = DataKey::random();
    for bytes in [
        b"age,pain,sick\n50,1,0\n".as_slice(),
        &[],
        &[0, 0, 2],
        &[0, 0, 2, 1],
        &[0xff; 64],
    ] {
        let refused = opened(bytes, &key).unwrap_err();
        assert_eq!(refused.code(), "sealed_data_header", "{bytes:?}");
    }
}

#[test]
fn a_file_said_to_be_larger_than_memory_is_refused_and_ends_no_process() {
    let key = DataKey::random();
    let file = sealed(&key, 10);
    for capacity in [usize::MAX, usize::MAX / 2] {
        let mut file = file.as_slice();
        let header = Header::read(&mut file).unwrap();
        let reader = Reader::new(file, &header, &key).unwrap();
        let refused = reader.read_all(capacity).unwrap_err();
        assert_eq!(refused.code(), "sealed_data_io");
        assert!(refused.to_string().contains("too large"), "{refused}");
    }
}

#[test]
fn a_header_has_one_encoding() {
    let file = sealed(&DataKey::random(), 0);
    let bytes = &file[4..header_bytes(&file)];
    let header = Header::from_bytes(bytes).unwrap();
    assert_eq!(header.to_bytes(), bytes);
    let longer = [bytes, &[0]].concat();
    assert!(Header::from_bytes(&longer).is_err());
}
