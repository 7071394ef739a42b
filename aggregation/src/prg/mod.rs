//! Masks: a seed expanded with AES-256 in counter mode and added to a vector of ring elements.
//!
//! The stream is that of NIST SP 800-38A section 6.5 with an initial counter block of zero, counted as one 128-bit
//! big-endian integer. It is read as little-endian words of [`Width::word_bits`] bits, each reduced to w bits by masking;
//! element i of a vector uses word i, so that any range can be masked alone.

mod position;
mod safe;
mod tier;
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the processor's AES instructions have no other way in"
)]
mod vector;
mod word;

pub use tier::{Tier, TierError, force_tier};
pub use word::Word;

use crate::{Width, secret::redacted_debug};
use position::Position;
use safe::{Buffers, SafeKeystream};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The bytes of words over which all streams pass before the next are touched: they stay in a first-level cache, which
/// holds 32 KiB or more on the machines we know, and the vector tiers take them in one step.
const PIECE_BYTES: usize = 32 * 1024;

/// The seed of one mask, zeroised on drop.
///
/// # Security
/// A seed masks one vector in one attempt of one round: two vectors under one seed expose their difference.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MaskSeed([u8; 32]);

redacted_debug!(MaskSeed, 32);

impl MaskSeed {
    /// A seed from the output of a key derivation.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for MaskSeed {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for MaskSeed {}

/// Whether a mask is added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The mask is added.
    Plus,
    /// The mask is subtracted.
    Minus,
}

impl Sign {
    /// The other sign.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Adds the mask of `seed` to the elements `first_element..first_element + acc.len()` of a vector.
///
/// `acc` holds those elements, reduced modulo 2^w, and holds the reduced results afterwards. It is meant for few elements
/// and for known answers: a whole vector is masked by [`add_masks`], in words of the size of the keystream's.
pub fn add_mask(acc: &mut [u64], seed: &MaskSeed, first_element: u64, width: Width, sign: Sign) {
    add_masks_to_wide(acc, &[(MaskStream::new(seed), sign)], first_element, width);
}

/// [`add_masks`] for elements that are held in 64 bits whatever their width, reduced before and after.
pub(crate) fn add_masks_to_wide(
    elements: &mut [u64],
    streams: &[(MaskStream, Sign)],
    first_element: u64,
    width: Width,
) {
    if width.word_bits() == 32 {
        let mut words = [0_u32; PIECE_BYTES / 4];
        let mut first_element = first_element;
        for elements in elements.chunks_mut(words.len()) {
            let words = &mut words[..elements.len()];
            for (word, element) in words.iter_mut().zip(&*elements) {
                *word = u32::from_low_bits(*element);
            }
            add_masks(words, streams, first_element);
            for (word, element) in words.iter().zip(&mut *elements) {
                *element = width.reduce(u64::from(*word));
            }
            first_element = first_element.wrapping_add(elements.len() as u64);
        }
        words.zeroize();
    } else {
        add_masks(elements, streams, first_element);
        for element in elements {
            *element = width.reduce(*element);
        }
    }
}

/// Adds or subtracts the keystream words `first_element..first_element + block.len()` of every stream.
///
/// The arithmetic is modulo 2^32 or 2^64, NOT reduced to w bits: 2^w divides both, so one reduction at the end is
/// arithmetic modulo 2^w. A `block` of any length is walked in pieces that stay in a first-level cache while all streams
/// pass over them; one that starts and ends at multiples of 32 KiB of keystream is walked fastest.
pub fn add_masks<W: Word>(block: &mut [W], streams: &[(MaskStream, Sign)], first_element: u64) {
    let piece_words = PIECE_BYTES / W::BYTES;
    let mut position = Position::of::<W>(first_element);
    let mut rest = block;
    let mut buffers = None;
    while !rest.is_empty() {
        // Pieces end where pieces of the keystream end, so that only the first and the last can be uneven.
        let in_piece = position.bytes_into(PIECE_BYTES) / W::BYTES;
        let length = (piece_words - in_piece).min(rest.len());
        let (piece, next) = rest.split_at_mut(length);
        for (stream, sign) in streams {
            stream.add(piece, position, *sign, &mut buffers);
        }
        position = position.forward(length * W::BYTES);
        rest = next;
    }
}

/// Adds the first of the packed elements to words, wrapping and not reduced, as many as the vectors of `tier` take, and says how
/// many. The rest, perhaps all, begins with a byte and is the portable loop's.
pub(crate) fn add_packed_vectors<W: Word>(
    words: &mut [W],
    packed: &[u8],
    width: Width,
    tier: Tier,
) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        vector::unpack::add(words, packed, width, tier)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (words, packed, width, tier);
        0
    }
}

/// One expanded seed, for masking a vector block by block without repeating the key schedule.
///
/// # Security
/// Constant time in the seed and the elements: the processor's AES instructions, or the bit-sliced implementation of
/// `aes`. The key schedule is zeroised on drop, buffers of keystream are zeroised after use.
pub struct MaskStream(Keystream);

enum Keystream {
    Safe(SafeKeystream),
    #[cfg(target_arch = "x86_64")]
    Vector(vector::VectorKeystream),
}

impl std::fmt::Debug for MaskStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskStream")
    }
}

impl MaskStream {
    /// Expands the key of a seed for [`Tier::current`].
    #[must_use]
    pub fn new(seed: &MaskSeed) -> Self {
        Self::of_tier(seed, Tier::current())
            .unwrap_or_else(|_| Self(Keystream::Safe(SafeKeystream::new(&seed.0))))
    }

    /// Expands the key of a seed for one tier.
    ///
    /// # Errors
    /// [`TierError::Unavailable`] when this processor lacks the instructions.
    pub fn of_tier(seed: &MaskSeed, tier: Tier) -> Result<Self, TierError> {
        match tier {
            Tier::Portable => Ok(Self(Keystream::Safe(SafeKeystream::new(&seed.0)))),
            #[cfg(target_arch = "x86_64")]
            Tier::AesNi | Tier::Vaes256 | Tier::Vaes512 => {
                let keystream = vector::VectorKeystream::new(&seed.0, tier);
                keystream
                    .map(|keystream| Self(Keystream::Vector(keystream)))
                    .ok_or(TierError::Unavailable { tier })
            }
            #[cfg(not(target_arch = "x86_64"))]
            Tier::AesNi | Tier::Vaes256 | Tier::Vaes512 => Err(TierError::Unavailable { tier }),
        }
    }

    /// `buffers` are made by the first stream that needs them.
    fn add<W: Word>(
        &self,
        piece: &mut [W],
        position: Position,
        sign: Sign,
        buffers: &mut Option<Buffers>,
    ) {
        match &self.0 {
            Keystream::Safe(keystream) => {
                let buffers = buffers.get_or_insert_with(Buffers::new);
                keystream.add(piece, position, sign, buffers);
            }
            #[cfg(target_arch = "x86_64")]
            Keystream::Vector(keystream) => keystream.add(piece, position, sign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(width: u8, first_element: u64, elements: usize) -> Vec<u64> {
        let mut acc = vec![0; elements];
        add_mask(
            &mut acc,
            &MaskSeed([7; 32]),
            first_element,
            Width::new(width).unwrap(),
            Sign::Plus,
        );
        acc
    }

    #[test]
    fn the_mask_of_a_zero_seed_is_aes_of_the_counter_in_every_tier() {
        // A 256-bit zero key and the blocks 0, 1, 2: the hash key and the first two outputs of test cases 13 and 14 of
        // McGrew and Viega, "The Galois/Counter Mode of Operation", 2005.
        let keystream = hex::decode(
            "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738bcea7403d4d606b6e074ec5d3baf39d18",
        )
        .unwrap();
        for tier in Tier::available() {
            let stream = || MaskStream::of_tier(&MaskSeed([0; 32]), tier).unwrap();
            let mut acc = [0_u64; 6];
            add_masks(&mut acc, &[(stream(), Sign::Plus)], 0);
            assert!(<u64 as Word>::from_le(&keystream).eq(acc), "{tier}");
            let mut acc = [0_u32; 12];
            add_masks(&mut acc, &[(stream(), Sign::Plus)], 0);
            assert!(<u32 as Word>::from_le(&keystream).eq(acc), "{tier}");
        }
        let mut acc = [0; 2];
        add_mask(&mut acc, &MaskSeed([0; 32]), 0, Width::MAX, Sign::Plus);
        assert_eq!(acc, [0x8989_40a2_78c0_95dc, 0x8720_8492_14a2_48ad]);
    }

    #[test]
    fn a_narrower_mask_is_the_wider_one_reduced() {
        for width in 1..=32 {
            let reduced = mask(32, 3, 9)
                .into_iter()
                .map(|word| Width::new(width).unwrap().reduce(word));
            assert!(reduced.eq(mask(width, 3, 9)), "{width}");
        }
        for width in 33..=64 {
            let reduced = mask(64, 3, 9)
                .into_iter()
                .map(|word| Width::new(width).unwrap().reduce(word));
            assert!(reduced.eq(mask(width, 3, 9)), "{width}");
        }
    }

    #[test]
    fn the_last_elements_of_the_longest_vector_have_a_mask() {
        assert_eq!(mask(64, u64::MAX - 1, 2)[1], mask(64, u64::MAX, 1)[0]);
    }

    /// The same words under the same masks through one tier.
    fn masked<W: Word>(tier: Tier, words: &[W], signs: &[bool], first_element: u64) -> Vec<W> {
        let streams: Vec<_> = (1..)
            .zip(signs)
            .map(|(seed, plus)| {
                let stream = MaskStream::of_tier(&MaskSeed([seed; 32]), tier).unwrap();
                (stream, if *plus { Sign::Plus } else { Sign::Minus })
            })
            .collect();
        let mut words = words.to_vec();
        add_masks(&mut words, &streams, first_element);
        words
    }

    /// Elements in the middle of nowhere, and those around which a byte of the counter, 32 bits, 40 bits or the numbers
    /// of elements end.
    fn first_element() -> impl Strategy<Value = u64> {
        let around = |middle: u64| (0..40_000_u64).prop_map(move |off| middle.saturating_add(off));
        prop_oneof![
            0..40_000_u64,
            any::<u64>(),
            around((1 << 33) - 20_000),
            around((1 << 34) - 20_000),
            around((1 << 41) - 20_000),
            around((1 << 42) - 20_000),
            around(u64::MAX - 20_000),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_tier_adds_the_same_bits(
            first in first_element(),
            length in prop_oneof![0_usize..200, 0_usize..30_000],
            signs in prop::collection::vec(any::<bool>(), 0..4),
            value: u64,
        ) {
            let wide: Vec<u64> = (0..length as u64).map(|i| i.wrapping_mul(value)).collect();
            let narrow: Vec<u32> = wide.iter().map(|word| u32::from_low_bits(*word)).collect();
            let expected = (
                masked(Tier::Portable, &narrow, &signs, first),
                masked(Tier::Portable, &wide, &signs, first),
            );
            for tier in Tier::available() {
                prop_assert!(masked(tier, &narrow, &signs, first) == expected.0, "{} 32", tier);
                prop_assert!(masked(tier, &wide, &signs, first) == expected.1, "{} 64", tier);
            }
        }
    }

    #[test]
    fn every_tier_adds_the_same_bits_to_whole_pieces_at_the_ends_of_counter_bytes() {
        // Pieces are where two rounds are shared; each of these begins one and crosses the end of a byte of the counter.
        for bits in [16, 24, 32, 40, 48, 56, 62] {
            let pieces = (PIECE_BYTES / 16) as u64;
            let first_block = (1_u64 << bits) - pieces;
            let words = vec![5_u32; 3 * PIECE_BYTES / 4];
            let expected = masked(Tier::Portable, &words, &[true, false], first_block * 4);
            for tier in Tier::available() {
                let masked = masked(tier, &words, &[true, false], first_block * 4);
                assert!(masked == expected, "{tier}, {bits} bits");
            }
        }
    }

    proptest! {
        #[test]
        fn a_range_is_masked_as_it_is_within_the_whole(width in 1_u8..=64, first in 0_usize..3000, length in 0_usize..1500) {
            let whole = mask(width, 0, first + length);
            prop_assert_eq!(&whole[first..], mask(width, first as u64, length));
        }

        #[test]
        fn what_is_added_is_taken_away_again(width in 1_u8..=64, values: Vec<u64>, first: u32) {
            let width = Width::new(width).unwrap();
            let values: Vec<u64> = values.into_iter().map(|value| width.reduce(value)).collect();
            let mut acc = values.clone();
            add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Plus);
            add_mask(&mut acc, &MaskSeed([9; 32]), first.into(), width, Sign::Minus);
            prop_assert_eq!(acc, values);
        }
    }
}
