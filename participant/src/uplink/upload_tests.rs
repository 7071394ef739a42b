use consort_aggregation::{
    CHUNK_BYTES, EncodedUpdate, MaskSeed, Sign, VectorSchema, Width, mask_update,
};

use super::*;

/// An update of three chunks, the last one of 24 bytes.
fn update() -> Arc<MaskedUpdate> {
    let elements = 2 * CHUNK_BYTES / 8 + 3;
    let schema = VectorSchema::new(elements as u64, Width::new(64).unwrap()).unwrap();
    let update = EncodedUpdate::from_integers(&vec![7; elements], schema).unwrap();
    let pair = [(MaskSeed::new([2; 32]), Sign::Plus)];
    Arc::new(mask_update(update, &MaskSeed::new([1; 32]), &pair).unwrap())
}

#[test]
fn an_upload_goes_on_with_the_chunk_that_is_wanted_and_sends_the_same_bytes() {
    let update = update();
    let whole: Vec<_> = update
        .chunks()
        .map(|(index, chunk)| (u32::try_from(index).unwrap(), chunk.to_vec()))
        .collect();
    for first in 0..=4 {
        let sent: Vec<_> = chunks_from(&update, first)
            .map(|(index, data)| (index, data.to_vec()))
            .collect();
        let rest = usize::try_from(first).unwrap().min(whole.len());
        assert_eq!(sent, whole[rest..]);
    }
}

#[test]
fn chunks_are_sent_from_where_the_update_lies() {
    let update = update();
    for (index, data) in chunks_from(&update, 0) {
        let chunk = update.chunk(usize::try_from(index).unwrap()).unwrap();
        assert_eq!(data.as_ptr(), chunk.as_ptr());
    }
}
