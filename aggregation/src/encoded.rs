//! An update in the ring before its masks: packed from the first element on, so that masking needs no second vector.

use crate::{
    EncodeError, VectorSchema,
    encoding::first_out_of_range,
    packing::{pack_integers, packed_bytes},
};
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Integers that wait until they fill whole bytes: a multiple of eight.
const STAGED_INTEGERS: usize = 512;

/// An update in the ring, before its masks: zeroised on drop.
///
/// It is held as it will be sent, at w bits per element, and masked in place.
///
/// # Security
/// It has no wire form: nothing gives its elements out, and [`mask_update`](crate::mask_update) consumes it.
///
/// ```compile_fail,E0599
/// fn wire_form(update: &consort_aggregation::EncodedUpdate) -> Vec<u8> {
///     update.chunks().flat_map(|(_, chunk)| chunk.to_vec()).collect()
/// }
/// ```
///
/// The same with a [`MaskedUpdate`](crate::MaskedUpdate) compiles:
///
/// ```
/// fn wire_form(update: &consort_aggregation::MaskedUpdate) -> Vec<u8> {
///     update.chunks().flat_map(|(_, chunk)| chunk.to_vec()).collect()
/// }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EncodedUpdate {
    packed: Vec<u8>,
    #[zeroize(skip)]
    schema: VectorSchema,
}

impl std::fmt::Debug for EncodedUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncodedUpdate({} elements)", self.schema.elements())
    }
}

impl EncodedUpdate {
    /// Encodes an integer vector, which has its noise already.
    ///
    /// # Errors
    /// [`EncodeError`] when the vector has another length than the schema, or one integer does not fit.
    pub fn from_integers(integers: &[i64], schema: VectorSchema) -> Result<Self, EncodeError> {
        let mut builder = UpdateBuilder::new(schema);
        builder.push(integers)?;
        builder.finish()
    }

    /// The shape of the vector.
    #[must_use]
    pub fn schema(&self) -> VectorSchema {
        self.schema
    }

    /// The packed elements, for the masks.
    pub(crate) fn into_packed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.packed)
    }
}

/// An update that is encoded piece by piece, so that its integers need not be in memory at once: zeroised on drop.
///
/// Room for the packed vector is made once, and it never moves: a vector that grew would leave copies of the update behind
/// in freed memory.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct UpdateBuilder {
    packed: Vec<u8>,
    /// The elements that are packed; a multiple of [`STAGED_INTEGERS`] until the vector is complete.
    #[zeroize(skip)]
    filled: usize,
    /// The integers after them, of which `staged_count` count.
    staged: [i64; STAGED_INTEGERS],
    #[zeroize(skip)]
    staged_count: usize,
    #[zeroize(skip)]
    refused: Option<EncodeError>,
    #[zeroize(skip)]
    schema: VectorSchema,
}

impl std::fmt::Debug for UpdateBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (have, all) = (self.elements(), self.schema.elements());
        write!(f, "UpdateBuilder({have} of {all} elements)")
    }
}

impl UpdateBuilder {
    /// An update without elements yet.
    #[must_use]
    pub fn new(schema: VectorSchema) -> Self {
        Self {
            packed: vec![0; packed_bytes(schema.len(), schema.width())],
            filled: 0,
            staged: [0; STAGED_INTEGERS],
            staged_count: 0,
            refused: None,
            schema,
        }
    }

    /// The elements so far.
    #[must_use]
    pub fn elements(&self) -> u64 {
        (self.filled + self.staged_count) as u64
    }

    /// Appends integers.
    ///
    /// # Errors
    /// [`EncodeError`] when there are more than the schema has elements, or names the first one that does not fit. The
    /// builder is of no use then: every later call gives the same error.
    pub fn push(&mut self, integers: &[i64]) -> Result<(), EncodeError> {
        if self.refused.is_none() {
            self.refused = self.append(integers).err();
        }
        self.refused.map_or(Ok(()), Err)
    }

    /// The update, once every element is there.
    ///
    /// # Errors
    /// [`EncodeError::ElementCount`] when elements are missing, and whatever [`Self::push`] refused.
    pub fn finish(mut self) -> Result<EncodedUpdate, EncodeError> {
        let elements = self.filled + self.staged_count;
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if elements != self.schema.len() {
            return Err(EncodeError::ElementCount {
                elements,
                expected: self.schema.elements(),
            });
        }
        self.pack_staged();
        Ok(EncodedUpdate {
            packed: std::mem::take(&mut self.packed),
            schema: self.schema,
        })
    }

    fn append(&mut self, integers: &[i64]) -> Result<(), EncodeError> {
        let have = self.filled + self.staged_count;
        if integers.len() > self.schema.len() - have {
            return Err(EncodeError::ElementCount {
                elements: have.saturating_add(integers.len()),
                expected: self.schema.elements(),
            });
        }
        let mut rest = integers;
        while !rest.is_empty() {
            let room = STAGED_INTEGERS - self.staged_count;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.check(now)?;
            if now.len() == STAGED_INTEGERS {
                self.pack(now);
            } else {
                self.stage(now);
            }
            rest = later;
        }
        Ok(())
    }

    fn check(&self, integers: &[i64]) -> Result<(), EncodeError> {
        let width = self.schema.width();
        first_out_of_range(integers, width).map_or(Ok(()), |place| {
            let element = self.filled + self.staged_count + place;
            Err(EncodeError::OutOfRange { element, width })
        })
    }

    /// Stages integers, of which there are no more than room, and packs a full stage.
    fn stage(&mut self, integers: &[i64]) {
        let end = self.staged_count + integers.len();
        self.staged[self.staged_count..end].copy_from_slice(integers);
        self.staged_count = end;
        if end == STAGED_INTEGERS {
            self.pack_staged();
        }
    }

    fn pack_staged(&mut self) {
        let count = std::mem::take(&mut self.staged_count);
        let packed = &mut self.packed[packed_range(self.filled, count, self.schema)];
        pack_integers(packed, &self.staged[..count], self.schema.width());
        self.filled += count;
    }

    fn pack(&mut self, integers: &[i64]) {
        let packed = &mut self.packed[packed_range(self.filled, integers.len(), self.schema)];
        pack_integers(packed, integers, self.schema.width());
        self.filled += integers.len();
    }
}

/// Where `count` elements after the first `filled` ones lie in the packed vector.
fn packed_range(filled: usize, count: usize, schema: VectorSchema) -> Range<usize> {
    let width = schema.width();
    packed_bytes(filled, width)..packed_bytes(filled + count, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Width, encode, pack};
    use proptest::prelude::*;

    fn schema(elements: u64, bits: u8) -> VectorSchema {
        VectorSchema::new(elements, Width::new(bits).unwrap()).unwrap()
    }

    #[test]
    fn a_vector_that_is_not_of_the_schema_is_refused() {
        let error = EncodedUpdate::from_integers(&[1, 2], schema(3, 8)).unwrap_err();
        assert_eq!(error.code(), "encode_element_count");
        let error = EncodedUpdate::from_integers(&[1, 2, 3, 4], schema(3, 8)).unwrap_err();
        assert_eq!(error.code(), "encode_element_count");
        let error = EncodedUpdate::from_integers(&[1000], schema(1, 8)).unwrap_err();
        assert_eq!(error.code(), "encode_out_of_range");
    }

    #[test]
    fn an_encoded_update_shows_its_length_only() {
        let update = EncodedUpdate::from_integers(&[77, 77], schema(2, 8)).unwrap();
        assert_eq!(format!("{update:?}"), "EncodedUpdate(2 elements)");
        let mut builder = UpdateBuilder::new(schema(2, 8));
        builder.push(&[77]).unwrap();
        assert_eq!(format!("{builder:?}"), "UpdateBuilder(1 of 2 elements)");
    }

    #[test]
    fn a_refused_integer_is_named_by_its_place_in_the_vector_and_spoils_the_builder() {
        let schema = schema(2000, 8);
        let mut builder = UpdateBuilder::new(schema);
        builder.push(&[1; 1000]).unwrap();
        let mut piece = [2; 900];
        piece[700] = 128;
        piece[800] = 300;
        let expected = EncodeError::OutOfRange {
            element: 1700,
            width: schema.width(),
        };
        assert_eq!(builder.push(&piece).unwrap_err(), expected);
        assert_eq!(builder.push(&[1]).unwrap_err(), expected);
        assert_eq!(builder.finish().unwrap_err(), expected);
    }

    #[test]
    fn a_piece_too_many_and_a_piece_too_few_are_refused() {
        let mut builder = UpdateBuilder::new(schema(1003, 8));
        builder.push(&[1; 1000]).unwrap();
        let error = builder.push(&[1; 4]).unwrap_err();
        let expected = EncodeError::ElementCount {
            elements: 1004,
            expected: 1003,
        };
        assert_eq!(error, expected);
        let mut builder = UpdateBuilder::new(schema(1003, 8));
        builder.push(&[1; 1002]).unwrap();
        let error = builder.finish().unwrap_err();
        assert_eq!(error.code(), "encode_element_count");
    }

    #[test]
    fn the_packed_vector_never_moves() {
        let mut builder = UpdateBuilder::new(schema(5000, 22));
        let place = builder.packed.as_ptr();
        for piece in [1, 700, 0, 4299] {
            builder.push(&vec![-5; piece]).unwrap();
        }
        let packed = builder.finish().unwrap().into_packed();
        assert_eq!(packed.as_ptr(), place);
    }

    proptest! {
        #[test]
        fn pieces_change_no_bit(
            bits in 1_u8..=64,
            integers in proptest::collection::vec(any::<i64>(), 1..2500),
            pieces in proptest::collection::vec(1_usize..1200, 1..8),
        ) {
            let fitting: Vec<i64> = integers.iter().map(|integer| integer >> (64 - bits)).collect();
            let schema = schema(fitting.len() as u64, bits);
            let mut builder = UpdateBuilder::new(schema);
            let mut rest = &fitting[..];
            for piece in pieces.into_iter().chain([fitting.len()]) {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                builder.push(now).unwrap();
                rest = later;
            }
            let packed = pack(&encode(&fitting, schema.width()).unwrap(), schema.width());
            prop_assert_eq!(builder.finish().unwrap().into_packed(), packed);
        }
    }
}
