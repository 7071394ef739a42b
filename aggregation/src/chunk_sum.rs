//! One chunk of many updates added up while it stays in a cache: what the sum is made of when updates are read back.
//!
//! Chunks are cut by bytes, so that the group of eight elements at a cut lies in two of them. Adding is linear in the bits:
//! what a chunk has of such a group is added as the group with zeros for the rest, and both chunks' sums together are the
//! sum. So chunks are added in any order, by any number of threads, and each byte is read once.

use crate::{
    Accumulator, PackingError, Tier, VectorSchema,
    mask::CHUNK_BYTES,
    packing::{add_packed, check_unused_bits, packed_bytes},
    sum::Words,
};
use std::ops::Range;

/// The sum of one chunk of many updates: room for its words and for the chunk that is added next, whatever their number.
#[derive(Debug)]
pub struct ChunkSum {
    schema: VectorSchema,
    words: Words,
    /// The first element of `words`, and how many count.
    first_element: usize,
    elements: usize,
    /// A chunk between the zeros that fill its first and its last group of eight elements.
    padded: Vec<u8>,
    chunk: Range<usize>,
    is_last: bool,
}

impl ChunkSum {
    /// Room for any one chunk of a vector; it sums nothing before [`Self::begin`].
    #[must_use]
    pub fn new(schema: VectorSchema) -> Self {
        let bits = usize::from(schema.width().bits());
        // A chunk touches at most one group more than it fills, and its last byte may begin one.
        let groups = CHUNK_BYTES.div_ceil(bits) + 1;
        let groups = groups.min(schema.len().div_ceil(8));
        Self {
            schema,
            words: Words::zero(schema.width(), groups * 8),
            first_element: 0,
            elements: 0,
            padded: vec![0; groups * bits],
            chunk: 0..0,
            is_last: false,
        }
    }

    /// Begins a sum of chunks of this index; false when the vector has none.
    pub fn begin(&mut self, index: u64) -> bool {
        let packed = packed_bytes(self.schema.len(), self.schema.width());
        let first = usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(CHUNK_BYTES));
        let Some(first) = first.filter(|first| *first < packed) else {
            return false;
        };
        let end = packed.min(first + CHUNK_BYTES);
        // A group of eight elements of w bits is w bytes.
        let bits = usize::from(self.schema.width().bits());
        let groups = first / bits..end.div_ceil(bits);
        let start = groups.start * bits;
        self.first_element = groups.start * 8;
        self.elements = self.schema.len().min(groups.end * 8) - self.first_element;
        self.chunk = first - start..end - start;
        self.is_last = end == packed;
        self.padded.fill(0);
        self.words.fill_with_zeros();
        true
    }

    /// Where the chunk lies in a packed vector.
    #[must_use]
    pub fn first_byte(&self) -> u64 {
        let width = self.schema.width();
        width.packed_len(self.first_element as u64) + self.chunk.start as u64
    }

    /// The bytes of the chunk that [`Self::add`] adds: to be filled before, and as they were added afterwards.
    pub fn chunk(&mut self) -> &mut [u8] {
        &mut self.padded[self.chunk.clone()]
    }

    /// Adds the chunk that was filled in.
    ///
    /// # Errors
    /// [`PackingError::UnusedBits`] when the last chunk has bits after the last element; the sum is as before.
    pub fn add(&mut self) -> Result<(), PackingError> {
        if self.is_last {
            let chunk = &self.padded[self.chunk.clone()];
            check_unused_bits(chunk, self.schema.elements(), self.schema.width())?;
        }
        let (width, tier) = (self.schema.width(), Tier::current());
        // Whole groups, of which those beyond the vector stay zero.
        let elements = self.elements.next_multiple_of(8);
        let packed = &self.padded[..packed_bytes(elements, width)];
        match &mut self.words {
            Words::Narrow(words) => add_packed(&mut words[..elements], packed, width, tier),
            Words::Wide(words) => add_packed(&mut words[..elements], packed, width, tier),
        }
        Ok(())
    }

    /// The words of the sum, and the first element that they belong to.
    pub(crate) fn words(&self) -> (usize, &Words, usize) {
        (self.first_element, &self.words, self.elements)
    }
}

impl Accumulator {
    /// Adds the sum of one chunk of many updates.
    ///
    /// Whoever adds one chunk's sum adds those of all chunks of the same updates, in any order, or gives the accumulator up.
    ///
    /// # Panics
    /// When the chunks are of another schema.
    pub fn add_chunk_sum(&mut self, sum: &ChunkSum) {
        assert_eq!(self.schema(), sum.schema, "the sum of another schema");
        let (first, words, elements) = sum.words();
        self.words_mut().add(first, words, elements);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkTree, Width, pack};

    fn schema(elements: u64, bits: u8) -> VectorSchema {
        VectorSchema::new(elements, Width::new(bits).unwrap()).unwrap()
    }

    fn update(schema: VectorSchema, k: u64) -> Vec<u8> {
        let mixed = |i: u64| (i ^ k << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let elements: Vec<u64> = (1..=schema.elements()).map(mixed).collect();
        pack(&elements, schema.width())
    }

    fn chunk_sum(sum: &mut ChunkSum, index: usize, updates: &[Vec<u8>]) {
        assert!(sum.begin(index as u64));
        assert_eq!(sum.first_byte(), (index * CHUNK_BYTES) as u64);
        for update in updates {
            let chunk = update.chunks(CHUNK_BYTES).nth(index).unwrap();
            sum.chunk().copy_from_slice(chunk);
            sum.add().unwrap();
            assert_eq!(ChunkTree::leaf(sum.chunk()), ChunkTree::leaf(chunk));
        }
    }

    #[test]
    fn chunks_in_any_order_are_the_sum_at_every_width() {
        for bits in 1..=64_u8 {
            // Some bytes more than two chunks, and fewer than eight elements at the end.
            let elements = (2 * 8 * CHUNK_BYTES as u64 + 40_000) / u64::from(bits) / 8 * 8 + 3;
            let schema = schema(elements, bits);
            let updates = [update(schema, 1), update(schema, 2), update(schema, 3)];
            let mut expected = Accumulator::new(schema);
            for update in &updates {
                expected.add_packed(update).unwrap();
            }
            let mut whole = Accumulator::new(schema);
            let mut sum = ChunkSum::new(schema);
            for index in [2, 0, 1] {
                chunk_sum(&mut sum, index, &updates);
                whole.add_chunk_sum(&sum);
            }
            assert!(!sum.begin(3), "{bits}");
            assert!(whole.finish() == expected.finish(), "{bits}");
        }
    }

    #[test]
    fn a_vector_of_a_few_elements_is_one_chunk() {
        for (elements, bits) in [(1, 1), (3, 7), (8, 64), (9, 22), (100, 45)] {
            let schema = schema(elements, bits);
            let updates = [update(schema, 4), update(schema, 5)];
            let mut expected = Accumulator::new(schema);
            for update in &updates {
                expected.add_packed(update).unwrap();
            }
            let mut whole = Accumulator::new(schema);
            let mut sum = ChunkSum::new(schema);
            chunk_sum(&mut sum, 0, &updates);
            whole.add_chunk_sum(&sum);
            assert!(!sum.begin(1) && !sum.begin(u64::MAX));
            assert!(whole.finish() == expected.finish(), "{elements} {bits}");
        }
    }

    #[test]
    fn unused_bits_of_the_last_chunk_are_refused_and_leave_the_sum_as_it_was() {
        let schema = schema(3, 7);
        let good = update(schema, 6);
        let mut sum = ChunkSum::new(schema);
        chunk_sum(&mut sum, 0, std::slice::from_ref(&good));
        sum.chunk()[2] |= 0x80;
        assert_eq!(sum.add(), Err(PackingError::UnusedBits));
        let (mut whole, mut expected) = (Accumulator::new(schema), Accumulator::new(schema));
        whole.add_chunk_sum(&sum);
        expected.add_packed(&good).unwrap();
        assert_eq!(whole.finish(), expected.finish());
    }
}
