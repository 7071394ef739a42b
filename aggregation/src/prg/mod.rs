//! Masks: a seed expanded with AES-256 in counter mode and added to a vector of ring elements.
//!
//! The stream is that of NIST SP 800-38A section 6.5 with an initial counter block of zero, counted as one 128-bit
//! big-endian integer. It is read as little-endian words of [`Width::mask_bytes`] bytes, each reduced to w bits by masking;
//! element i of a vector uses word i, so that any range can be masked alone.
//!
//! Words of 4 and 8 bytes are added as they come. All others go through sums of their bytes, one of each byte for all streams
//! together: see `sums`.

mod position;
mod safe;
mod sums;
mod tier;
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the processor's AES instructions have no other way in"
)]
mod vector;
mod word;

pub(crate) use sums::PIECES_ELEMENTS;
pub use tier::{Tier, TierError, force_tier};
pub use word::Word;

use crate::{Width, secret::redacted_debug};
use position::Position;
use safe::{Buffers, SafeKeystream};
use subtle::ConstantTimeEq;
use sums::{ByteSums, MOST_STREAMS, Span, piece_elements};
use zeroize::{Zeroize, ZeroizeOnDrop};

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
/// and for known answers: a whole vector is masked by [`add_masks`], in words of half the size where the width allows.
pub fn add_mask(acc: &mut [u64], seed: &MaskSeed, first_element: u64, width: Width, sign: Sign) {
    add_masks(acc, &[(MaskStream::new(seed), sign)], first_element, width);
    for element in acc {
        *element = width.reduce(*element);
    }
}

/// Adds or subtracts the masks of the elements `first_element..first_element + words.len()` of every stream.
///
/// The arithmetic is modulo 2^32 or 2^64, the size of the words, and NOT reduced to w bits: 2^w divides both, so one
/// reduction at the end is arithmetic modulo 2^w. (In words smaller than w the lowest bits of the masks are added.) A vector
/// of any length is walked in pieces that stay in a first-level cache while all streams pass over them; one that starts and
/// ends at multiples of 4096 elements is walked fastest.
pub fn add_masks<W: Word>(
    words: &mut [W],
    streams: &[(MaskStream, Sign)],
    first_element: u64,
    width: Width,
) {
    add_masks_with(
        words,
        streams,
        first_element,
        width,
        &mut Workspace::default(),
    );
}

/// [`add_masks`] for many calls with one workspace.
pub(crate) fn add_masks_with<W: Word>(
    words: &mut [W],
    streams: &[(MaskStream, Sign)],
    first_element: u64,
    width: Width,
    workspace: &mut Workspace,
) {
    let word_bytes = width.mask_bytes();
    let in_piece = piece_elements(word_bytes);
    let mut position = Position::of(first_element, word_bytes);
    let mut rest = words;
    while !rest.is_empty() {
        let first = position.bytes_into(in_piece * word_bytes) / word_bytes;
        let elements = (in_piece - first).min(rest.len());
        let (piece, next) = rest.split_at_mut(elements);
        if word_bytes == W::BYTES {
            for (stream, sign) in streams {
                stream.add_to_words(piece, position, *sign, &mut workspace.buffers);
            }
        } else {
            let span = Span {
                word_bytes,
                first,
                elements,
            };
            let sums = workspace.sums.get_or_insert_with(ByteSums::new);
            for streams in streams.chunks(MOST_STREAMS) {
                for (stream, sign) in streams {
                    let block = position.of_its_block();
                    stream.add_to_sums(sums.planes(span), block, *sign, &mut workspace.buffers);
                }
                // The same bits whichever stream's instructions do it.
                if let Some((stream, _)) = streams.first() {
                    stream.settle(sums, piece, span);
                }
            }
        }
        position = position.forward(elements * word_bytes);
        rest = next;
    }
}

/// What masks are made in: whatever is first needed, kept for the next call, and zeroised on drop.
#[derive(Default)]
pub(crate) struct Workspace {
    buffers: Option<Buffers>,
    sums: Option<Box<ByteSums>>,
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

    /// Adds or subtracts words of their own size; `buffers` are made by the first stream that needs them.
    fn add_to_words<W: Word>(
        &self,
        words: &mut [W],
        position: Position,
        sign: Sign,
        buffers: &mut Option<Buffers>,
    ) {
        match &self.0 {
            Keystream::Safe(keystream) => {
                let buffers = buffers.get_or_insert_with(Buffers::new);
                keystream.add_to_words(words, position, sign, buffers);
            }
            #[cfg(target_arch = "x86_64")]
            Keystream::Vector(keystream) => keystream.add_to_words(words, position, sign),
        }
    }

    /// Adds or subtracts whole blocks in the planes of [`ByteSums`].
    fn add_to_sums(
        &self,
        planes: [&mut [u8]; 2],
        position: Position,
        sign: Sign,
        buffers: &mut Option<Buffers>,
    ) {
        match &self.0 {
            Keystream::Safe(keystream) => {
                let buffers = buffers.get_or_insert_with(Buffers::new);
                keystream.add_to_sums(planes, position, sign, buffers);
            }
            #[cfg(target_arch = "x86_64")]
            Keystream::Vector(keystream) => keystream.add_to_sums(planes, position, sign),
        }
    }

    /// Adds the words that the sums make to `words`.
    fn settle<W: Word>(&self, sums: &mut ByteSums, words: &mut [W], span: Span) {
        match &self.0 {
            Keystream::Safe(_) => sums.settle(words, span),
            #[cfg(target_arch = "x86_64")]
            Keystream::Vector(keystream) => keystream.settle(sums, words, span),
        }
    }
}

#[cfg(test)]
mod tests;
