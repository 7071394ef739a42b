//! Planning the ring of a job, and the way of an integer vector into it and back.

use crate::{Canonical, Digest, Width};

/// The most elements of one vector: 2^30, the billion parameters that one coordinator is built to stream.
pub const MAX_ELEMENTS: u64 = 1 << 30;

/// Integers whose range is checked at a time.
const RANGE_BLOCK: usize = 256;

/// The shape of the vectors of a job: how many ring elements, how wide, and what stands for a real number if they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorSchema {
    elements: u64,
    width: Width,
    values: Option<Quantisation>,
}

/// How the elements of a vector stand for real numbers; see [`crate::FixedPoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantisation {
    /// Q: the largest absolute value of one member's element.
    pub quantised: u32,
    /// Whether the real numbers are rotated by the round's public signs.
    pub rotated: bool,
}

impl VectorSchema {
    /// A schema of 1 to [`MAX_ELEMENTS`] elements.
    ///
    /// # Errors
    /// [`PlanError::Elements`] for any other number.
    pub fn new(elements: u64, width: Width) -> Result<Self, PlanError> {
        match elements {
            1..=MAX_ELEMENTS => Ok(Self {
                elements,
                width,
                values: None,
            }),
            _ => Err(PlanError::Elements { elements }),
        }
    }

    /// The same shape for integers that stand for real numbers.
    #[must_use]
    pub fn of_values(self, values: Quantisation) -> Self {
        Self {
            values: Some(values),
            ..self
        }
    }

    /// How elements stand for real numbers; nothing where they are the integers that are summed.
    #[must_use]
    pub fn values(&self) -> Option<Quantisation> {
        self.values
    }

    /// The elements of one vector.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The width of one element.
    #[must_use]
    pub fn width(&self) -> Width {
        self.width
    }

    /// The bytes of one packed vector.
    #[must_use]
    pub fn packed_len(&self) -> u64 {
        self.width.packed_len(self.elements)
    }

    /// The hash that the context of a round carries.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let shape = Canonical::new("consort/aggregation/vector-schema/v1")
            .u64(self.elements)
            .u64(self.width.bits().into());
        match self.values {
            None => shape.hash(),
            Some(Quantisation { quantised, rotated }) => shape
                .str("fixed_point")
                .u64(quantised.into())
                .str(if rotated { "hadamard" } else { "none" })
                .hash(),
        }
    }

    /// The elements as a length in memory.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.elements).expect("MAX_ELEMENTS fits every platform's usize")
    }
}

/// The narrowest ring in which the sum of up to `n_max` updates cannot wrap.
///
/// `q` bounds each integer of one member's vector before noise, `noise_bound` the noise one member adds to it (ν, a tail
/// bound whose tail mass is accounted for elsewhere). The sum lies within ±n_max·(q + ν), and two's complement of w bits
/// holds it if n_max·(q + ν) ≤ 2^(w-1) - 1, hence w = 1 + ⌈log2(n_max·(q + ν) + 1)⌉.
///
/// # Errors
/// [`PlanError`] when there is nothing to add, or when 64 bits are not enough.
pub fn width_for(n_max: u32, q: u64, noise_bound: u64) -> Result<Width, PlanError> {
    // At most 2^32 · 2^65: no overflow.
    let bound = u128::from(n_max) * (u128::from(q) + u128::from(noise_bound));
    if bound == 0 {
        return Err(PlanError::NothingToAdd);
    }
    // For m ≥ 1, ⌈log2(m + 1)⌉ is the bit length of m.
    let bits = 1 + (u128::BITS - bound.leading_zeros());
    u8::try_from(bits)
        .ok()
        .and_then(|bits| Width::new(bits).ok())
        .ok_or(PlanError::TooWide { bits })
}

/// Encodes integers in two's complement of w bits.
///
/// # Errors
/// [`EncodeError::OutOfRange`] names the first element that w bits do not hold; the value is not told.
pub fn encode(integers: &[i64], width: Width) -> Result<Vec<u64>, EncodeError> {
    match first_out_of_range(integers, width) {
        Some(element) => Err(EncodeError::OutOfRange { element, width }),
        None => Ok(integers
            .iter()
            .map(|integer| width.reduce(integer.cast_unsigned()))
            .collect()),
    }
}

/// The place of the first integer that two's complement of w bits does not hold.
pub(crate) fn first_out_of_range(integers: &[i64], width: Width) -> Option<usize> {
    // Shifted up by 2^(w-1), what fits lies in 0..2^w: a block without a bit above w needs no closer look.
    let half = 1 << (width.bits() - 1);
    let above = !width.mask();
    let shifted = |integer: i64| integer.cast_unsigned().wrapping_add(half);
    let fits = |block: &[i64]| {
        let bits = block
            .iter()
            .fold(0, |bits, &integer| bits | shifted(integer));
        bits & above == 0
    };
    let block = integers
        .chunks(RANGE_BLOCK)
        .position(|block| !fits(block))?;
    let first = block * RANGE_BLOCK;
    let outside = |&integer: &i64| shifted(integer) & above != 0;
    integers[first..]
        .iter()
        .position(outside)
        .map(|place| first + place)
}

/// Decodes ring elements by sign extension.
#[must_use]
pub fn decode(elements: &[u64], width: Width) -> Vec<i64> {
    elements
        .iter()
        .map(|&element| width.sign_extend(element))
        .collect()
}

/// Why no ring fits a job. It is told at planning time; nothing wraps later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No members, or only zeros.
    #[error("a sum needs at least one member and a bound above zero")]
    NothingToAdd,
    /// The sum does not fit 64 bits.
    #[error(
        "the sum needs {bits} bits and 64 is the most; use a coarser grid, fewer records per member or less noise"
    )]
    TooWide {
        /// Bits needed.
        bits: u32,
    },
    /// The vector is empty or too long.
    #[error("a vector has 1 to {MAX_ELEMENTS} elements, not {elements}")]
    Elements {
        /// Elements asked for.
        elements: u64,
    },
}

impl PlanError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingToAdd => "plan_nothing_to_add",
            Self::TooWide { .. } => "plan_too_wide",
            Self::Elements { .. } => "plan_elements_out_of_range",
        }
    }
}

/// Why a vector does not fit its schema: a bug of whoever made the vector, or a bound of the plan that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// One integer is out of range.
    #[error("element {element} of the vector does not fit {width}")]
    OutOfRange {
        /// The position of the integer.
        element: usize,
        /// The width of the ring.
        width: Width,
    },
    /// The vector has another length.
    #[error("the vector has {elements} elements and the schema {expected}")]
    ElementCount {
        /// Elements of the vector.
        elements: usize,
        /// Elements of the schema.
        expected: u64,
    },
}

impl EncodeError {
    /// The stable name of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "encode_out_of_range",
            Self::ElementCount { .. } => "encode_element_count",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width(bits: u8) -> Width {
        Width::new(bits).unwrap()
    }

    #[test]
    fn the_width_is_the_smallest_that_holds_the_sum() {
        for (n_max, q, noise, bits) in [
            (1, 1, 0, 2),
            (1, 3, 0, 3),
            (1, 4, 0, 4),
            (2, 3, 1, 5),
            (50, 32_767, 0, 22),
            (1, (1 << 63) - 1, 0, 64),
        ] {
            assert_eq!(
                width_for(n_max, q, noise).unwrap(),
                width(bits),
                "{n_max} {q} {noise}"
            );
        }
    }

    #[test]
    fn a_sum_that_needs_more_than_64_bits_is_refused_when_planning() {
        assert_eq!(
            width_for(1, 1 << 63, 0).unwrap_err(),
            PlanError::TooWide { bits: 65 }
        );
        let largest = width_for(u32::MAX, u64::MAX, u64::MAX).unwrap_err();
        assert_eq!(largest.code(), "plan_too_wide");
        assert_eq!(width_for(0, 1, 1).unwrap_err(), PlanError::NothingToAdd);
    }

    #[test]
    fn a_schema_of_no_or_too_many_elements_is_refused() {
        assert!(VectorSchema::new(MAX_ELEMENTS, width(1)).is_ok());
        for elements in [0, MAX_ELEMENTS + 1, u64::MAX] {
            let error = VectorSchema::new(elements, width(1)).unwrap_err();
            assert_eq!(error.code(), "plan_elements_out_of_range");
        }
    }

    #[test]
    fn different_schemas_have_different_hashes() {
        let hash = |elements, bits| VectorSchema::new(elements, width(bits)).unwrap().hash();
        assert_ne!(hash(2, 3), hash(3, 2));
        assert_ne!(hash(2, 3), hash(2, 4));
    }

    #[test]
    fn an_integer_outside_the_ring_is_named_by_position_only() {
        let error = encode(&[0, 127, 128], width(8)).unwrap_err();
        assert_eq!(
            error,
            EncodeError::OutOfRange {
                element: 2,
                width: width(8)
            }
        );
        assert!(!error.to_string().contains("128"));
        assert!(encode(&[-128], width(8)).is_ok());
        assert!(encode(&[-129], width(8)).is_err());
    }

    proptest! {
        #[test]
        fn exactly_what_does_not_come_back_is_out_of_range(
            bits in 1_u8..=64,
            integers in proptest::collection::vec(any::<i64>(), 0..600),
            kept in 0_u8..64,
        ) {
            let width = width(bits);
            // Most of them fit in most widths, so that the first one that does not is found at any place.
            let integers: Vec<i64> = integers.iter().map(|integer| integer >> kept).collect();
            let comes_back =
                |integer: &i64| width.sign_extend(width.reduce(integer.cast_unsigned())) == *integer;
            let expected = integers.iter().position(|integer| !comes_back(integer));
            prop_assert_eq!(first_out_of_range(&integers, width), expected);
        }

        #[test]
        fn what_is_encoded_is_decoded(bits in 1_u8..=64, integers: Vec<i64>) {
            let fitting: Vec<i64> = integers.iter().map(|integer| integer >> (64 - bits)).collect();
            let encoded = encode(&fitting, width(bits)).unwrap();
            prop_assert!(encoded.iter().all(|&element| width(bits).reduce(element) == element));
            prop_assert_eq!(decode(&encoded, width(bits)), fitting);
        }

        #[test]
        fn sums_at_the_bound_do_not_wrap(n_max in 1_u32..1000, q in 1_u64..1 << 40, noise in 0_u64..1 << 40) {
            let width = width_for(n_max, q, noise).unwrap();
            let extreme = (q + noise).cast_signed();
            for value in [extreme, -extreme] {
                let element = encode(&[value], width).unwrap()[0];
                let sum = width.reduce(element.wrapping_mul(n_max.into()));
                prop_assert_eq!(decode(&[sum], width)[0], value * i64::from(n_max));
            }
        }
    }
}
