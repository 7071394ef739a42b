//! What is done with rows of numbers, element by element, in the vector instructions that this processor has: measured, scaled, added, taken as integers.

use macerator::{AutoArch, Simd, WithSimd};

use crate::matrix::{Matrix, PAD};

/// What a row of a matrix weighs: its squared L2 norm, and its largest entry's magnitude. NaN and infinity show in the square.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowMeasure {
    pub(crate) square: f64,
    pub(crate) most: f32,
}

/// Measures each row. The order of the additions is the same on every processor: 16 running sums.
pub(crate) fn measure_rows(matrix: &Matrix) -> Vec<RowMeasure> {
    AutoArch::new().dispatch(MeasureRows { matrix })
}

struct MeasureRows<'a> {
    matrix: &'a Matrix,
}

impl WithSimd for MeasureRows<'_> {
    type Output = Vec<RowMeasure>;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Vec<RowMeasure> {
        // A loop, not an iterator of a closure: what is not inlined here is compiled for the least of all processors.
        let mut measures = Vec::with_capacity(self.matrix.rows());
        for row in 0..self.matrix.rows() {
            measures.push(measure(self.matrix.padded_row(row)));
        }
        measures
    }
}

#[inline(always)]
fn measure(row: &[f32]) -> RowMeasure {
    let (mut squares, mut most) = ([0.0_f64; PAD], [0.0_f32; PAD]);
    for part in row.as_chunks::<PAD>().0 {
        for lane in 0..PAD {
            let value = f64::from(part[lane]);
            squares[lane] += value * value;
            most[lane] = most[lane].max(part[lane].abs());
        }
    }
    RowMeasure {
        square: squares.iter().sum(),
        most: most.into_iter().fold(0.0, f32::max),
    }
}

/// Measures some numbers without padding.
pub(crate) fn measure_part(part: &[f32]) -> RowMeasure {
    let (whole, rest) = part.as_chunks::<PAD>();
    let mut last = [0.0; PAD];
    last[..rest.len()].copy_from_slice(rest);
    let (whole, last) = (measure(whole.as_flattened()), measure(&last));
    RowMeasure {
        square: whole.square + last.square,
        most: whole.most.max(last.most),
    }
}

/// Multiplies each row by its factor, in f64 and then rounded, and makes the last bit of every float 1; what is below the normal
/// floats becomes 0. Why the bit: see `crate::rounded`.
///
/// # Panics
/// If there is not one factor for each row.
pub(crate) fn scale_rows_to_odd(matrix: &mut Matrix, factors: &[f64]) {
    assert_eq!(matrix.rows(), factors.len(), "one factor for each row");
    AutoArch::new().dispatch(ScaleRows { matrix, factors });
}

struct ScaleRows<'a> {
    matrix: &'a mut Matrix,
    factors: &'a [f64],
}

impl WithSimd for ScaleRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for (row, factor) in self.matrix.rows_mut().zip(self.factors) {
            for value in row {
                *value = odd(narrow(f64::from(*value) * factor));
            }
        }
    }
}

/// Adds a row of numbers to sums.
///
/// # Panics
/// If the slices differ in length.
pub(crate) fn add_values(sums: &mut [f32], row: &[f32]) {
    assert_eq!(sums.len(), row.len(), "one sum for each number");
    AutoArch::new().dispatch(AddValues { sums, row });
}

struct AddValues<'a> {
    sums: &'a mut [f32],
    row: &'a [f32],
}

impl WithSimd for AddValues<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for (sum, value) in self.sums.iter_mut().zip(self.row) {
            *sum += value;
        }
    }
}

/// The integer nearest to a number of magnitude below 2^51.
#[inline(always)]
pub(crate) fn nearest(value: f64) -> i64 {
    // Between 2^52 and 2^53 the doubles are the integers, so that their difference is that of their bits.
    const MIDDLE: f64 = 6_755_399_441_055_744.0;
    let sum = (value + MIDDLE).to_bits().cast_signed();
    sum - MIDDLE.to_bits().cast_signed()
}

/// Moves sums of integers into `totals`: each sum is an integer away from `origin` and starts there again.
///
/// Both are floats from 2^23 to 2^24, where neighbours are one apart: their difference is that of their bits.
///
/// # Panics
/// If the slices differ in length.
pub(crate) fn take_integers(sums: &mut [f32], origin: f32, totals: &mut [i64]) {
    assert_eq!(sums.len(), totals.len(), "one total for each sum");
    AutoArch::new().dispatch(TakeIntegers {
        sums,
        origin,
        totals,
    });
}

struct TakeIntegers<'a> {
    sums: &'a mut [f32],
    origin: f32,
    totals: &'a mut [i64],
}

impl WithSimd for TakeIntegers<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let origin = self.origin.to_bits().cast_signed();
        for (sum, total) in self.sums.iter_mut().zip(self.totals) {
            *total += i64::from(sum.to_bits().cast_signed().wrapping_sub(origin));
            *sum = self.origin;
        }
    }
}

/// The float with its last bit set, or zero if it is not a normal number.
#[inline(always)]
pub(crate) fn odd(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE {
        0.0
    } else {
        f32::from_bits(value.to_bits() | 1)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded to the nearest f32"
)]
#[inline(always)]
fn narrow(value: f64) -> f32 {
    value as f32
}
