//! What exceeds a bound of the schema is refused before it is decoded.

use consort_proto::bounds::{BoundsError, decode};
use consort_proto::wire::round::v1::{
    FollowResponse, RoundOpen, SealedShare, ShareKeysRequest, Survivors,
};
use prost::Message;

fn share_keys(boxes: usize) -> ShareKeysRequest {
    let sealed = SealedShare {
        member: 1,
        sealed: vec![4; 80],
    };
    ShareKeysRequest {
        id: None,
        statement: None,
        sealed: vec![sealed; boxes],
    }
}

#[test]
fn a_message_at_its_bounds_is_what_was_encoded() {
    let message = share_keys(1024);
    assert_eq!(
        decode::<ShareKeysRequest>(&message.encode_to_vec()),
        Ok(message)
    );
    let survivors = Survivors {
        members: (1..=1024).collect(),
        ..Survivors::default()
    };
    assert_eq!(
        decode::<Survivors>(&survivors.encode_to_vec()),
        Ok(survivors)
    );
}

#[test]
fn one_item_too_many_is_refused_by_name() {
    let error = decode::<ShareKeysRequest>(&share_keys(1025).encode_to_vec()).unwrap_err();
    let expected = BoundsError::TooManyItems {
        message: "consort.round.v1.ShareKeysRequest",
        field: "sealed",
        most: 1024,
    };
    assert_eq!(error, expected);
}

#[test]
fn numbers_in_a_packed_list_and_one_by_one_are_counted() {
    let packed = Survivors {
        members: (1..=1025).collect(),
        ..Survivors::default()
    };
    let error = decode::<Survivors>(&packed.encode_to_vec()).unwrap_err();
    assert_eq!(error.code(), "message_too_many_items");
    // Field 2, a varint each.
    let one_by_one = [0x10, 0x01].repeat(1025);
    assert_eq!(decode::<Survivors>(&one_by_one), Err(error));
}

#[test]
fn bytes_and_text_over_their_bound_are_refused_also_deep_inside() {
    let mut message = share_keys(1);
    message.sealed[0].sealed.push(0);
    let error = decode::<ShareKeysRequest>(&message.encode_to_vec()).unwrap_err();
    assert_eq!(error.code(), "message_too_many_bytes");
    let open = RoundOpen {
        consortium: "c".repeat(65),
        ..RoundOpen::default()
    };
    let error = decode::<RoundOpen>(&open.encode_to_vec()).unwrap_err();
    assert_eq!(error.code(), "message_too_many_bytes");
}

#[test]
fn a_single_field_that_stands_twice_is_refused() {
    // Decoders merge the two, and so would let a list in it grow past its bound.
    let statement = [0x12, 0x02, 0x08, 0x01].repeat(2);
    let error = decode::<ShareKeysRequest>(&statement).unwrap_err();
    assert_eq!(error.code(), "message_too_many_items");
}

#[test]
fn what_is_no_encoding_is_malformed_and_an_unknown_field_is_passed_over() {
    for bytes in [
        &[0x0a, 0xff][..],
        &[0x0b],
        &[0x08, 0x80],
        &[0x08, 0x01],
        &[0xff; 16],
    ] {
        let refused = decode::<ShareKeysRequest>(bytes);
        assert_eq!(refused, Err(BoundsError::Malformed), "{bytes:02x?}");
    }
    assert_eq!(
        decode::<FollowResponse>(&[0xfa, 0x7f, 0x01, 0x00]),
        Ok(FollowResponse::default())
    );
}
