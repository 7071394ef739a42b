//! The running sum: one accumulator, whatever the number of members, and what is left when the masks are gone.

use crate::{
    Canonical, Digest, MaskSeed, PackingError, Sign, VectorSchema, decode,
    mask::{CHUNK_BYTES, add_masks},
    pack,
    packing::{Unpacker, check, check_range},
    tree::ChunkTree,
    unpack,
};

/// Adds masked updates modulo 2^w. The order of adding and subtracting changes no bit.
#[derive(Clone)]
pub struct Accumulator {
    elements: Vec<u64>,
    schema: VectorSchema,
}

impl std::fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accumulator({} elements)", self.schema.elements())
    }
}

impl Accumulator {
    /// A sum of nothing.
    #[must_use]
    pub fn new(schema: VectorSchema) -> Self {
        Self {
            elements: vec![0; schema.len()],
            schema,
        }
    }

    /// Adds one whole packed update, or nothing of it.
    ///
    /// # Errors
    /// [`PackingError`] when the bytes are not a vector of the schema; the sum is as before.
    pub fn add_packed(&mut self, packed: &[u8]) -> Result<(), PackingError> {
        check(packed, self.schema.elements(), self.schema.width())?;
        self.add(0, self.elements.len(), packed);
        Ok(())
    }

    /// Adds a range of a packed update that starts at `first_element`, or nothing of it.
    ///
    /// For updates that are read back piece by piece. A range ends at the end of the vector or holds a multiple of eight
    /// elements. Whoever starts an update here adds all of it, or gives the accumulator up.
    ///
    /// # Errors
    /// [`PackingError`] when the bytes are not such a range; the sum is as before.
    pub fn add_packed_range(
        &mut self,
        first_element: u64,
        packed: &[u8],
    ) -> Result<(), PackingError> {
        let count = check_range(packed, first_element, &self.schema)?;
        let range = "check_range keeps a range inside the vector";
        self.add(
            usize::try_from(first_element).expect(range),
            usize::try_from(count).expect(range),
            packed,
        );
        Ok(())
    }

    fn add(&mut self, first: usize, count: usize, packed: &[u8]) {
        let width = self.schema.width();
        let addends = Unpacker::new(packed, width);
        for (element, addend) in self.elements[first..first + count].iter_mut().zip(addends) {
            *element = width.reduce(element.wrapping_add(addend));
        }
    }

    /// Takes away a mask that a member added with `sign`.
    pub fn subtract_mask(&mut self, seed: &MaskSeed, sign: Sign) {
        self.subtract_each(std::iter::once((seed, sign)));
    }

    /// Takes away many masks in one pass over the vector.
    pub fn subtract_masks(&mut self, masks: &[(MaskSeed, Sign)]) {
        self.subtract_each(masks.iter().map(|(seed, sign)| (seed, *sign)));
    }

    fn subtract_each<'a>(&mut self, masks: impl Iterator<Item = (&'a MaskSeed, Sign)>) {
        let opposite = masks.map(|(seed, sign)| (seed, sign.opposite()));
        add_masks(&mut self.elements, opposite, self.schema);
    }

    /// Decodes the sum. It means something once every mask has been taken away.
    #[must_use]
    pub fn finish(self) -> AggregateSum {
        AggregateSum {
            values: decode(&self.elements, self.schema.width()),
            schema: self.schema,
        }
    }
}

/// The sum of the survivors' updates: what a round is for.
#[derive(Clone, PartialEq, Eq)]
pub struct AggregateSum {
    values: Vec<i64>,
    schema: VectorSchema,
}

impl std::fmt::Debug for AggregateSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AggregateSum({} elements)", self.schema.elements())
    }
}

impl AggregateSum {
    /// Reads the wire form of a sum, which a member checks against the digest that was signed.
    ///
    /// # Errors
    /// [`PackingError`] when the bytes are not a vector of the schema.
    pub fn from_packed(packed: &[u8], schema: VectorSchema) -> Result<Self, PackingError> {
        let elements = unpack(packed, schema.elements(), schema.width())?;
        let values = decode(&elements, schema.width());
        Ok(Self { values, schema })
    }

    /// The wire form: the elements packed as those of an update are.
    #[must_use]
    pub fn to_packed(&self) -> Vec<u8> {
        let elements: Vec<u64> = self
            .values
            .iter()
            .map(|value| value.cast_unsigned())
            .collect();
        pack(&elements, self.schema.width())
    }

    /// The sums, one for each element of the schema.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// Gives the sums out.
    #[must_use]
    pub fn into_values(self) -> Vec<i64> {
        self.values
    }

    /// The shape of the vector.
    #[must_use]
    pub fn schema(&self) -> VectorSchema {
        self.schema
    }

    /// The hash of the sum: over the schema and the Merkle hash of the wire form in chunks of [`CHUNK_BYTES`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        let root = ChunkTree::over(&self.to_packed(), CHUNK_BYTES).root();
        Canonical::new("consort/aggregation/sum/v1")
            .bytes(self.schema.hash().as_bytes())
            .bytes(root.as_bytes())
            .hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Width, encode};
    use proptest::prelude::*;

    fn schema(elements: u64, bits: u8) -> VectorSchema {
        VectorSchema::new(elements, Width::new(bits).unwrap()).unwrap()
    }

    fn packed(integers: &[i64], schema: VectorSchema) -> Vec<u8> {
        pack(&encode(integers, schema.width()).unwrap(), schema.width())
    }

    #[test]
    fn the_sum_of_signed_vectors_is_theirs() {
        let schema = schema(3, 7);
        let mut sum = Accumulator::new(schema);
        sum.add_packed(&packed(&[5, -5, -30], schema)).unwrap();
        sum.add_packed(&packed(&[-9, 2, -30], schema)).unwrap();
        assert_eq!(sum.finish().into_values(), [-4, -3, -60]);
    }

    #[test]
    fn a_refused_update_leaves_the_sum_as_it_was() {
        let schema = schema(3, 7);
        let mut sum = Accumulator::new(schema);
        let update = packed(&[1, 2, 3], schema);
        sum.add_packed(&update).unwrap();
        let mut unused_bit = update.clone();
        unused_bit[2] |= 0x80;
        assert_eq!(
            sum.add_packed(&unused_bit).unwrap_err(),
            PackingError::UnusedBits
        );
        assert_eq!(
            sum.add_packed(&update[1..]).unwrap_err().code(),
            "packing_length"
        );
        assert_eq!(
            sum.add_packed_range(1, &update).unwrap_err().code(),
            "packing_range"
        );
        assert_eq!(sum.finish().values(), [1, 2, 3]);
    }

    #[test]
    fn the_digest_covers_values_and_schema() {
        let sum = |values: &[i64], schema| {
            AggregateSum::from_packed(&packed(values, schema), schema).unwrap()
        };
        let expected = sum(&[1, 2], schema(2, 8)).digest();
        assert_ne!(sum(&[2, 1], schema(2, 8)).digest(), expected);
        assert_ne!(sum(&[1, 2], schema(2, 9)).digest(), expected);
        assert_ne!(sum(&[1, 2, 0], schema(3, 8)).digest(), expected);
    }

    proptest! {
        #[test]
        fn ranges_and_order_change_no_bit(
            bits in 8_u8..=64,
            elements in 1_usize..100,
            cut in 0_usize..13,
            seed: u64,
        ) {
            let schema = schema(elements as u64, bits);
            let update = |k: u64| -> Vec<u8> {
                let values: Vec<u64> = (0..elements as u64).map(|i| (seed ^ k).wrapping_mul(2 * i + 1)).collect();
                pack(&values, schema.width())
            };
            let mut whole = Accumulator::new(schema);
            whole.add_packed(&update(1)).unwrap();
            whole.add_packed(&update(2)).unwrap();

            let mut pieces = Accumulator::new(schema);
            let first = (cut * 8).min(elements / 8 * 8);
            let at = first / 8 * usize::from(bits);
            let (one, two) = (update(1), update(2));
            pieces.add_packed_range(first as u64, &two[at..]).unwrap();
            pieces.add_packed(&one).unwrap();
            pieces.add_packed_range(0, &two[..at]).unwrap();

            let sum = whole.finish();
            prop_assert_eq!(pieces.finish(), sum.clone());
            prop_assert_eq!(AggregateSum::from_packed(&sum.to_packed(), schema).unwrap(), sum);
        }

        #[test]
        fn adding_random_bytes_never_panics(bytes: Vec<u8>, first: u64, near in 0_u64..40, bits in 1_u8..=64) {
            let mut sum = Accumulator::new(schema(33, bits));
            let _ = sum.add_packed(&bytes);
            let _ = sum.add_packed_range(first, &bytes);
            let _ = sum.add_packed_range(near, &bytes);
        }
    }
}
