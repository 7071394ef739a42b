//! The running sum: one accumulator, whatever the number of members, and what is left when the masks are gone.

use crate::{
    Canonical, Digest, MaskSeed, MaskStream, PackingError, Sign, Tier, VectorSchema, Width, Word,
    mask::{CHUNK_BYTES, expand},
    packing::{add_packed, check, check_range, pack_integers, packed_bytes, unpack_each},
    parallel::{on_each, part_elements},
    prg::add_masks,
    tree::ChunkTree,
};
use std::{num::NonZeroUsize, ops::Range};

/// Adds masked updates modulo 2^w: one word for each element, of 32 bits up to w = 32 and of 64 bits above.
///
/// The order of adding and subtracting changes no bit.
#[derive(Clone)]
pub struct Accumulator {
    words: Words,
    schema: VectorSchema,
}

/// Words of which the w lowest bits count. What adding leaves above them is cut off when the sum is decoded.
#[derive(Clone)]
pub(crate) enum Words {
    /// Of elements of up to 32 bits.
    Narrow(Vec<u32>),
    /// Of wider ones.
    Wide(Vec<u64>),
}

impl Words {
    pub(crate) fn zero(width: Width, elements: usize) -> Self {
        match width.word_bits() {
            32 => Self::Narrow(vec![0; elements]),
            _ => Self::Wide(vec![0; elements]),
        }
    }

    pub(crate) fn fill_with_zeros(&mut self) {
        match self {
            Self::Narrow(words) => words.fill(0),
            Self::Wide(words) => words.fill(0),
        }
    }

    /// Adds the first `count` words of another sum to those from `first` on.
    ///
    /// # Panics
    /// When the other's words are of another size.
    pub(crate) fn add(&mut self, first: usize, other: &Self, count: usize) {
        fn add<W: Word>(words: &mut [W], others: &[W]) {
            for (word, other) in words.iter_mut().zip(others) {
                *word = word.plus(*other);
            }
        }
        let range = first..first + count;
        match (self, other) {
            (Self::Narrow(words), Self::Narrow(others)) => add(&mut words[range], others),
            (Self::Wide(words), Self::Wide(others)) => add(&mut words[range], others),
            (Self::Narrow(_), Self::Wide(_)) | (Self::Wide(_), Self::Narrow(_)) => {
                panic!("words of two sizes")
            }
        }
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = match self {
            Self::Narrow(words) => words.len(),
            Self::Wide(words) => words.len(),
        };
        write!(f, "Words({count})")
    }
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
        let words = Words::zero(schema.width(), schema.len());
        Self { words, schema }
    }

    /// [`Self::new`], its memory touched by so many threads at once: adding reads before it writes, and a page that is read first
    /// costs two faults.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    #[must_use]
    pub fn new_with(schema: VectorSchema, workers: NonZeroUsize) -> Self {
        let mut sum = Self::new(schema);
        on_each(sum.parts(workers), |part| match part.words {
            WordsOfPart::Narrow(words) => words.fill(0),
            WordsOfPart::Wide(words) => words.fill(0),
        });
        sum
    }

    /// The shape of the vectors that are added.
    #[must_use]
    pub fn schema(&self) -> VectorSchema {
        self.schema
    }

    /// Adds one whole packed update, or nothing of it.
    ///
    /// # Errors
    /// [`PackingError`] when the bytes are not a vector of the schema; the sum is as before.
    pub fn add_packed(&mut self, packed: &[u8]) -> Result<(), PackingError> {
        check(packed, self.schema.elements(), self.schema.width())?;
        let count = self.schema.len();
        self.whole().add(0, count, packed);
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
        self.whole().add_packed_range(first_element, packed)
    }

    /// Takes away a mask that a member added with `sign`.
    pub fn subtract_mask(&mut self, seed: &MaskSeed, sign: Sign) {
        let stream = (MaskStream::new(seed), sign.opposite());
        self.whole().add_streams(&[stream]);
    }

    /// Takes away many masks in one pass over the vector.
    pub fn subtract_masks(&mut self, masks: &[(MaskSeed, Sign)]) {
        self.whole().add_streams(&opposite(masks));
    }

    /// [`Self::subtract_masks`] by so many threads, which changes no bit of the result.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    pub fn subtract_masks_with(&mut self, masks: &[(MaskSeed, Sign)], workers: NonZeroUsize) {
        let streams = opposite(masks);
        on_each(self.parts(workers), |mut part| part.add_streams(&streams));
    }

    /// Divides the sum into at most so many disjoint parts, on which threads can work at the same time.
    ///
    /// Every part but the last holds a multiple of eight elements, so that its packed bytes are whole.
    pub fn parts(&mut self, parts: NonZeroUsize) -> Vec<AccumulatorPart<'_>> {
        let schema = self.schema;
        let elements = part_elements(schema.len(), parts);
        let part = |(index, words)| AccumulatorPart {
            words,
            first: index * elements,
            schema,
        };
        match &mut self.words {
            Words::Narrow(words) => words
                .chunks_mut(elements)
                .map(WordsOfPart::Narrow)
                .enumerate()
                .map(part)
                .collect(),
            Words::Wide(words) => words
                .chunks_mut(elements)
                .map(WordsOfPart::Wide)
                .enumerate()
                .map(part)
                .collect(),
        }
    }

    pub(crate) fn words_mut(&mut self) -> &mut Words {
        &mut self.words
    }

    fn whole(&mut self) -> AccumulatorPart<'_> {
        AccumulatorPart {
            words: match &mut self.words {
                Words::Narrow(words) => WordsOfPart::Narrow(words),
                Words::Wide(words) => WordsOfPart::Wide(words),
            },
            first: 0,
            schema: self.schema,
        }
    }

    /// Decodes the sum. It means something once every mask has been taken away.
    #[must_use]
    pub fn finish(self) -> AggregateSum {
        self.finish_with(NonZeroUsize::MIN)
    }

    /// [`Self::finish`] by so many threads, which changes no bit of the result.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    #[must_use]
    pub fn finish_with(self, workers: NonZeroUsize) -> AggregateSum {
        fn decode<W: Word>(words: &[W], values: &mut [i64], width: Width, workers: NonZeroUsize) {
            let part = part_elements(words.len(), workers);
            let parts = words.chunks(part).zip(values.chunks_mut(part));
            on_each(parts, |(words, values)| {
                for (value, word) in values.iter_mut().zip(words) {
                    *value = width.sign_extend(word.to_u64());
                }
            });
        }
        let schema = self.schema;
        let mut values = vec![0; schema.len()];
        match &self.words {
            Words::Narrow(words) => decode(words, &mut values, schema.width(), workers),
            Words::Wide(words) => decode(words, &mut values, schema.width(), workers),
        }
        AggregateSum { values, schema }
    }
}

/// The masks with the signs that take them away.
fn opposite(masks: &[(MaskSeed, Sign)]) -> Vec<(MaskStream, Sign)> {
    expand(masks.iter().map(|(seed, sign)| (seed, sign.opposite())))
}

/// A part of an [`Accumulator`] that no other part overlaps.
pub struct AccumulatorPart<'a> {
    words: WordsOfPart<'a>,
    first: usize,
    schema: VectorSchema,
}

enum WordsOfPart<'a> {
    Narrow(&'a mut [u32]),
    Wide(&'a mut [u64]),
}

impl std::fmt::Debug for AccumulatorPart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccumulatorPart(elements {:?})", self.elements())
    }
}

impl AccumulatorPart<'_> {
    /// The elements of the vector that this part holds.
    #[must_use]
    pub fn elements(&self) -> Range<u64> {
        let first = self.first as u64;
        first..first + self.len() as u64
    }

    /// Where their bytes lie in a packed vector.
    #[must_use]
    pub fn packed_bytes(&self) -> Range<u64> {
        let Range { start, end } = self.elements();
        let width = self.schema.width();
        width.packed_len(start)..width.packed_len(end)
    }

    /// Adds a range of a packed update that starts at `first_element` of the whole vector, or nothing of it: as
    /// [`Accumulator::add_packed_range`], and within this part.
    ///
    /// # Errors
    /// [`PackingError`] when the bytes are not such a range; the sum is as before.
    pub fn add_packed_range(
        &mut self,
        first_element: u64,
        packed: &[u8],
    ) -> Result<(), PackingError> {
        let count = check_range(packed, first_element, &self.schema)?;
        let Range { start, end } = self.elements();
        if first_element < start || first_element + count > end {
            return Err(PackingError::Range {
                first_element,
                length: packed.len(),
            });
        }
        let inside = "the range is inside the part";
        self.add(
            usize::try_from(first_element - start).expect(inside),
            usize::try_from(count).expect(inside),
            packed,
        );
        Ok(())
    }

    /// Takes the masks of many members away from this part.
    pub fn subtract_masks(&mut self, masks: &[(MaskSeed, Sign)]) {
        self.add_streams(&opposite(masks));
    }

    fn len(&self) -> usize {
        match &self.words {
            WordsOfPart::Narrow(words) => words.len(),
            WordsOfPart::Wide(words) => words.len(),
        }
    }

    /// Adds what was checked to `count` elements from `first` of this part on.
    fn add(&mut self, first: usize, count: usize, packed: &[u8]) {
        let (width, tier) = (self.schema.width(), Tier::current());
        let range = first..first + count;
        match &mut self.words {
            WordsOfPart::Narrow(words) => add_packed(&mut words[range], packed, width, tier),
            WordsOfPart::Wide(words) => add_packed(&mut words[range], packed, width, tier),
        }
    }

    fn add_streams(&mut self, streams: &[(MaskStream, Sign)]) {
        let (first, width) = (self.first as u64, self.schema.width());
        match &mut self.words {
            WordsOfPart::Narrow(words) => add_masks(words, streams, first, width),
            WordsOfPart::Wide(words) => add_masks(words, streams, first, width),
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
        let width = schema.width();
        check(packed, schema.elements(), width)?;
        let mut values = Vec::with_capacity(schema.len());
        unpack_each(packed, schema.len(), width, |element| {
            values.push(width.sign_extend(element));
        });
        Ok(Self { values, schema })
    }

    /// The wire form: the elements packed as those of an update are.
    #[must_use]
    pub fn to_packed(&self) -> Vec<u8> {
        let width = self.schema.width();
        let mut packed = vec![0; packed_bytes(self.values.len(), width)];
        pack_integers(&mut packed, &self.values, width);
        packed
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
        self.digest_with(NonZeroUsize::MIN)
    }

    /// [`Self::digest`] by so many threads, which changes no bit of the result.
    ///
    /// # Panics
    /// When the operating system has no thread to give.
    #[must_use]
    pub fn digest_with(&self, workers: NonZeroUsize) -> Digest {
        let root = self.tree_hash(workers);
        Canonical::new("consort/aggregation/sum/v1")
            .bytes(self.schema.hash().as_bytes())
            .bytes(root.as_bytes())
            .hash()
    }

    /// The Merkle hash of the wire form, of which each thread has little more than a chunk in memory at a time.
    fn tree_hash(&self, workers: NonZeroUsize) -> Digest {
        let chunks = packed_bytes(self.values.len(), self.schema.width()).div_ceil(CHUNK_BYTES);
        let mut leaves = vec![Digest::of(&[]); chunks];
        let part = chunks.div_ceil(workers.get()).max(1);
        let parts = leaves.chunks_mut(part).enumerate();
        on_each(parts, |(index, leaves)| {
            self.hash_chunks(index * part, leaves);
        });
        let mut tree = ChunkTree::new();
        leaves.into_iter().for_each(|leaf| tree.push_leaf(leaf));
        tree.root()
    }

    /// The leaves of the chunks from `first` on.
    fn hash_chunks(&self, first: usize, leaves: &mut [Digest]) {
        let width = self.schema.width();
        // A group of eight elements of w bits is w bytes; the first one may begin in the chunk before.
        let bits = usize::from(width.bits());
        let group = first * CHUNK_BYTES / bits;
        let mut before = first * CHUNK_BYTES % bits;
        let mut rest = self.values[group * 8..].chunks(HASHED_ELEMENTS);
        let mut packed = Vec::with_capacity(CHUNK_BYTES + packed_bytes(HASHED_ELEMENTS, width));
        for leaf in leaves {
            while packed.len() < CHUNK_BYTES {
                let Some(values) = rest.next() else {
                    break;
                };
                let filled = packed.len();
                packed.resize(filled + packed_bytes(values.len(), width), 0);
                pack_integers(&mut packed[filled..], values, width);
                packed.drain(..std::mem::take(&mut before));
            }
            let chunk = packed.len().min(CHUNK_BYTES);
            *leaf = ChunkTree::leaf(&packed[..chunk]);
            packed.drain(..chunk);
        }
    }
}

/// Elements of a sum that are packed and hashed at a time: whole bytes, and always less than a chunk.
const HASHED_ELEMENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Width, encode, pack};
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
    fn every_width_adds_modulo_its_ring() {
        for bits in 1..=64 {
            let width = Width::new(bits).unwrap();
            for elements in [1, 7, 8, 63, 64, 65, 131] {
                let schema = schema(elements, bits);
                // Both addends have all bits busy, so that most sums wrap.
                let update = |k: u64| -> Vec<u64> {
                    (0..elements)
                        .map(|i| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(3 * i + k))
                        .collect()
                };
                let (one, two) = (update(1), update(5));
                let mut sum = Accumulator::new(schema);
                sum.add_packed(&pack(&one, width)).unwrap();
                sum.add_packed(&pack(&two, width)).unwrap();
                let expected: Vec<i64> = one
                    .iter()
                    .zip(&two)
                    .map(|(a, b)| width.sign_extend(width.reduce(a.wrapping_add(*b))))
                    .collect();
                assert_eq!(sum.finish().values(), expected, "{bits} {elements}");
            }
        }
    }

    #[test]
    fn a_part_refuses_what_lies_outside_it() {
        let schema = schema(9000, 22);
        let mut sum = Accumulator::new(schema);
        let update = vec![0; 9000 * 22 / 8];
        let mut parts = sum.parts(NonZeroUsize::new(2).unwrap());
        assert_eq!(parts[0].elements(), 0..8192);
        assert_eq!(parts[1].packed_bytes(), 8192 * 22 / 8..9000 * 22 / 8);
        for (part, first, bytes) in [(0, 0, 9000), (0, 8192, 808), (1, 8184, 816), (1, 0, 8)] {
            let packed = &update[..bytes * 22 / 8];
            let error = parts[part].add_packed_range(first, packed).unwrap_err();
            assert_eq!(error.code(), "packing_range", "{part} {first} {bytes}");
        }
        assert!(parts[1].add_packed_range(8192, &update[..22]).is_ok());
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
        fn parts_hold_the_vector_once_and_change_no_bit(bits in 1_u8..=64, elements in 1_u64..30_000, parts in 1_usize..9, seed: u64) {
            let schema = schema(elements, bits);
            let parts = NonZeroUsize::new(parts).unwrap();
            let values: Vec<u64> = (0..elements).map(|i| seed.wrapping_mul(2 * i + 1)).collect();
            let update = pack(&values, schema.width());
            let masks = [(MaskSeed::new([4; 32]), Sign::Plus), (MaskSeed::new([5; 32]), Sign::Minus)];

            let mut whole = Accumulator::new(schema);
            whole.add_packed(&update).unwrap();
            whole.subtract_masks(&masks);
            let mut threads = Accumulator::new(schema);
            threads.add_packed(&update).unwrap();
            threads.subtract_masks_with(&masks, parts);

            let mut divided = Accumulator::new(schema);
            let mut next = 0;
            for mut part in divided.parts(parts) {
                let range = part.elements();
                prop_assert_eq!(range.start, next);
                next = range.end;
                let bytes = part.packed_bytes();
                let bytes = usize::try_from(bytes.start).unwrap()..usize::try_from(bytes.end).unwrap();
                part.subtract_masks(&masks);
                part.add_packed_range(range.start, &update[bytes]).unwrap();
            }
            prop_assert_eq!(next, elements);
            let sum = whole.finish();
            prop_assert_eq!(threads.finish_with(parts), sum.clone());
            prop_assert_eq!(divided.finish(), sum);
        }

        #[test]
        fn the_digest_is_over_the_chunks_of_the_wire_form(bits in 1_u8..=64, elements in 1_u64..200_000) {
            let schema = schema(elements, bits);
            let values = (0..).map(|i: i64| schema.width().sign_extend(schema.width().reduce((i * 0x9e37).cast_unsigned())));
            let values = values.take(schema.len()).collect();
            let sum = AggregateSum { values, schema };
            let expected = ChunkTree::over(&sum.to_packed(), CHUNK_BYTES).root();
            for workers in [1, 2, 3, 7] {
                let workers = NonZeroUsize::new(workers).unwrap();
                prop_assert_eq!(sum.tree_hash(workers), expected);
            }
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
