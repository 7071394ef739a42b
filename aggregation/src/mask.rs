//! Masking: from the one update that must not leave to the one that may.
//!
//! y_u = Enc(x_u) + PRG(b_u) + Σ_{v > u} PRG(s_uv) - Σ_{v < u} PRG(s_uv): round 2 (MaskedInputCollection) of Bonawitz et
//! al. 2017. Which of two neighbours adds and which subtracts is a convention; ours is [`pair_sign`].

use crate::{
    Digest, EncodedUpdate, MaskSeed, MaskStream, MemberIndex, Sign, VectorSchema,
    packing::{Packable, packed_bytes},
    parallel::{on_each, part_elements},
    prg::{PIECES_ELEMENTS, Workspace, add_masks_with},
    tree::ChunkTree,
};
use std::num::NonZeroUsize;
use zeroize::Zeroize;

/// Bytes of one chunk of a masked update, the last one excepted.
///
/// A message of this size is far below the 4 MiB that gRPC libraries accept by default, costs 32 bytes of hash, and is
/// quickly sent again after a broken connection.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// An update under its masks: the only update with a wire form, and made by [`mask_update`] alone.
///
/// # Security
/// To who lacks the self-mask or one pair mask it is uniformly random. It is frozen: a resend carries the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedUpdate {
    packed: Vec<u8>,
    schema: VectorSchema,
    tree_hash: Digest,
}

impl std::fmt::Debug for MaskedUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bytes, root) = (self.packed.len(), &self.tree_hash);
        write!(f, "MaskedUpdate({bytes} bytes, {root})")
    }
}

impl MaskedUpdate {
    /// The chunks with their positions: [`CHUNK_BYTES`] each, the last one shorter.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        self.packed
            .chunks(CHUNK_BYTES)
            .enumerate()
            .map(|(index, chunk)| (index as u64, chunk))
    }

    /// One chunk, for an upload that goes on after a broken connection.
    #[must_use]
    pub fn chunk(&self, index: usize) -> Option<&[u8]> {
        let first = index.checked_mul(CHUNK_BYTES)?;
        let rest = self.packed.get(first..)?;
        rest.chunks(CHUNK_BYTES).next()
    }

    /// The Merkle hash over the chunks, which the member signs.
    #[must_use]
    pub fn tree_hash(&self) -> Digest {
        self.tree_hash
    }

    /// The shape of the vector.
    #[must_use]
    pub fn schema(&self) -> VectorSchema {
        self.schema
    }
}

/// Masks an update with the member's own mask and with one mask for each neighbour.
///
/// # Errors
/// [`MaskError::NoNeighbours`] when there is no pair mask.
///
/// # Security
/// The coordinator opens the self-mask of every member in the sum, so what protects the update then is the pair masks of
/// honest neighbours. Whether there are enough of them is the rule of the round; none at all is refused here.
pub fn mask_update(
    update: EncodedUpdate,
    self_seed: &MaskSeed,
    pairs: &[(MaskSeed, Sign)],
) -> Result<MaskedUpdate, MaskError> {
    mask_update_with(update, self_seed, pairs, NonZeroUsize::MIN)
}

/// [`mask_update`] by so many threads, which changes no bit of the result.
///
/// # Errors
/// [`MaskError::NoNeighbours`] when there is no pair mask.
///
/// # Panics
/// When the operating system has no thread to give.
pub fn mask_update_with(
    update: EncodedUpdate,
    self_seed: &MaskSeed,
    pairs: &[(MaskSeed, Sign)],
    workers: NonZeroUsize,
) -> Result<MaskedUpdate, MaskError> {
    if pairs.is_empty() {
        return Err(MaskError::NoNeighbours);
    }
    let schema = update.schema();
    let own = std::iter::once((self_seed, Sign::Plus));
    let streams = expand(own.chain(pairs.iter().map(|(seed, sign)| (seed, *sign))));

    let mut packed = update.into_packed();
    let part = part_elements(schema.len(), workers);
    let parts = packed.chunks_mut(packed_bytes(part, schema.width()));
    on_each(parts.enumerate(), |(index, packed)| {
        let first = index * part;
        let elements = part.min(schema.len() - first);
        match schema.width().word_bits() {
            32 => mask_packed::<u32>(packed, elements, first, &streams, schema),
            _ => mask_packed::<u64>(packed, elements, first, &streams, schema),
        }
    });
    let tree_hash = ChunkTree::over_with(&packed, CHUNK_BYTES, workers).root();
    Ok(MaskedUpdate {
        packed,
        schema,
        tree_hash,
    })
}

/// Expands the keys of seeds.
pub(crate) fn expand<'a>(
    masks: impl Iterator<Item = (&'a MaskSeed, Sign)>,
) -> Vec<(MaskStream, Sign)> {
    masks
        .map(|(seed, sign)| (MaskStream::new(seed), sign))
        .collect()
}

/// Masks a part of a packed vector in place, piece by piece, all masks per piece: 16 or 32 KiB of words, and no second vector.
fn mask_packed<W: Packable>(
    packed: &mut [u8],
    elements: usize,
    first_element: usize,
    streams: &[(MaskStream, Sign)],
    schema: VectorSchema,
) {
    let codec = W::codec(schema.width());
    let mut words = [W::default(); PIECES_ELEMENTS];
    let mut workspace = Workspace::default();
    let pieces = packed.chunks_mut(packed_bytes(PIECES_ELEMENTS, schema.width()));
    for (index, packed) in pieces.enumerate() {
        let done = index * PIECES_ELEMENTS;
        let words = &mut words[..PIECES_ELEMENTS.min(elements - done)];
        (codec.unpack)(words, packed);
        let first = (first_element + done) as u64;
        add_masks_with(words, streams, first, schema.width(), &mut workspace);
        // Packing keeps the w lowest bits: that is the reduction modulo 2^w.
        (codec.pack)(packed, words);
    }
    words.zeroize();
}

/// The sign with which member `own` adds the mask it shares with `peer`: plus for the lower position, minus for the higher.
///
/// A member is not its own neighbour.
#[must_use]
pub fn pair_sign(own: MemberIndex, peer: MemberIndex) -> Sign {
    if own < peer { Sign::Plus } else { Sign::Minus }
}

/// Why an update is not masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// There is no neighbour, and the self-mask alone protects nothing.
    #[error("an update without a pair mask is not sent: the member has no neighbour in this round")]
    NoNeighbours,
}

impl MaskError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoNeighbours => "mask_no_neighbours",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Width, encode, unpack};
    use proptest::prelude::*;

    fn schema(elements: u64, bits: u8) -> VectorSchema {
        VectorSchema::new(elements, Width::new(bits).unwrap()).unwrap()
    }

    fn masked(integers: &[i64], schema: VectorSchema) -> MaskedUpdate {
        let update = EncodedUpdate::from_integers(integers, schema).unwrap();
        let pairs = [
            (MaskSeed::new([2; 32]), Sign::Plus),
            (MaskSeed::new([3; 32]), Sign::Minus),
        ];
        mask_update(update, &MaskSeed::new([1; 32]), &pairs).unwrap()
    }

    #[test]
    fn the_masks_are_the_sum_of_the_streams_and_the_update() {
        let schema = schema(5000, 45);
        let integers: Vec<i64> = (-2500..2500).collect();
        let update = masked(&integers, schema);

        let mut expected = encode(&integers, schema.width()).unwrap();
        for (seed, sign) in [(1, Sign::Plus), (2, Sign::Plus), (3, Sign::Minus)] {
            crate::add_mask(
                &mut expected,
                &MaskSeed::new([seed; 32]),
                0,
                schema.width(),
                sign,
            );
        }
        let wire: Vec<u8> = update
            .chunks()
            .flat_map(|(_, chunk)| chunk.to_vec())
            .collect();
        assert_eq!(unpack(&wire, 5000, schema.width()).unwrap(), expected);
        assert_ne!(decode_first(&expected, schema), integers[0]);
    }

    fn decode_first(elements: &[u64], schema: VectorSchema) -> i64 {
        crate::decode(&elements[..1], schema.width())[0]
    }

    #[test]
    fn chunks_are_numbered_and_hash_to_the_tree_hash() {
        let schema = schema(70_000, 32);
        let update = masked(&vec![0; 70_000], schema);
        let mut tree = ChunkTree::new();
        let mut lengths = Vec::new();
        for (position, (index, chunk)) in (0..).zip(update.chunks()) {
            assert_eq!(index, position);
            lengths.push(chunk.len());
            tree.push(chunk);
        }
        assert_eq!(lengths, [CHUNK_BYTES, 280_000 - CHUNK_BYTES]);
        let by_index: Vec<_> = (0..3).map(|index| update.chunk(index)).collect();
        let in_order: Vec<_> = update.chunks().map(|(_, chunk)| Some(chunk)).collect();
        assert_eq!(by_index, [in_order[0], in_order[1], None]);
        assert_eq!(update.chunk(usize::MAX), None);
        assert_eq!(tree.root(), update.tree_hash());
    }

    #[test]
    fn an_update_without_neighbours_is_not_masked() {
        let update = EncodedUpdate::from_integers(&[1], schema(1, 8)).unwrap();
        let error = mask_update(update, &MaskSeed::new([1; 32]), &[]).unwrap_err();
        assert_eq!(error.code(), "mask_no_neighbours");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_number_of_workers_changes_no_bit(bits in 1_u8..=64, elements in 1_u64..30_000, workers in 2_usize..9) {
            let schema = schema(elements, bits);
            let integers = vec![-1; schema.len()];
            let update = || EncodedUpdate::from_integers(&integers, schema).unwrap();
            let pairs = [(MaskSeed::new([2; 32]), Sign::Minus)];
            let seed = MaskSeed::new([1; 32]);
            let one = mask_update(update(), &seed, &pairs).unwrap();
            let workers = NonZeroUsize::new(workers).unwrap();
            prop_assert_eq!(mask_update_with(update(), &seed, &pairs, workers).unwrap(), one);
        }
    }
}
