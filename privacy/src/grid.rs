//! Records on an integer grid: each is clipped so that its squared norm is at most 2^(2g), exactly.
//!
//! # Sensitivity
//! A record enters a [`RecordSum`] as a vector x of integers with Σx² ≤ 2^(2g), checked in u128 after all rounding, or
//! as zero. Adding or removing one record therefore moves the sum by at most 2^g in L2 norm, which is the clip norm C in
//! the units of the grid; replacing one moves it by at most 2·2^g. No float takes part in this statement, the order of
//! the records does not matter, and nothing is clipped, rotated or rounded after the sum.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Finest grid: with [`RecordCap`] it keeps each sum below 2^62. Plans need about 20 to 30 bits.
const MAX_GRID_BITS: u8 = 40;

/// Most records of one member in one sum, so that cap · 2^40 stays below 2^62.
const MAX_RECORDS: u32 = 1 << 22;

/// What a scaled record is shortened by, so that the rounding of a norm over up to 2^27 elements never carries it over the bound and
/// makes it count as zero: eight running sums of 2^24 squares each have a relative error below 2^-29 in f64, and its root half of it.
const SHORTENING: f64 = 1.0 - 1.0 / 536_870_912.0;

/// The L2 norm C to which each record's vector is clipped, in the units of the gradient.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct ClipNorm(f32);

impl ClipNorm {
    /// A norm of 1e-9 to 1e9.
    ///
    /// # Errors
    /// [`GridError::ClipNorm`] for anything else.
    pub fn new(value: f32) -> Result<Self, GridError> {
        if (1e-9..=1e9).contains(&value) {
            Ok(Self(value))
        } else {
            Err(GridError::ClipNorm)
        }
    }

    /// The number.
    pub fn value(self) -> f32 {
        self.0
    }
}

/// The binary logarithm g of the clip norm in grid units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GridBits(u8);

impl GridBits {
    /// 1 to 40 bits.
    ///
    /// # Errors
    /// [`GridError::Bits`] for anything else.
    pub fn new(bits: u8) -> Result<Self, GridError> {
        if (1..=MAX_GRID_BITS).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(GridError::Bits)
        }
    }

    /// All grids, from the coarsest to the finest.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=MAX_GRID_BITS).map(Self)
    }

    /// The number g.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The clip norm in grid units, 2^g.
    pub fn units(self) -> u64 {
        1 << self.0
    }
}

/// The public cap on the records that one member may put into one sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordCap(u32);

impl RecordCap {
    /// 1 to 4 194 304 records.
    ///
    /// # Errors
    /// [`GridError::RecordCap`] for anything else.
    pub fn new(records: u32) -> Result<Self, GridError> {
        if (1..=MAX_RECORDS).contains(&records) {
            Ok(Self(records))
        } else {
            Err(GridError::RecordCap)
        }
    }

    /// The number.
    pub fn records(self) -> u32 {
        self.0
    }
}

/// A clip norm and the grid it is mapped to: C becomes 2^g.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    clip: ClipNorm,
    bits: GridBits,
}

impl Grid {
    /// The grid on which `clip` is 2^`bits` units long.
    pub fn new(clip: ClipNorm, bits: GridBits) -> Self {
        Self { clip, bits }
    }

    /// The clip norm C.
    pub fn clip(&self) -> ClipNorm {
        self.clip
    }

    /// The binary logarithm g of the clip norm in grid units.
    pub fn bits(&self) -> GridBits {
        self.bits
    }

    /// The value of one grid unit, C / 2^g, in the units of the gradient.
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^g is a power of two and exact"
    )]
    pub fn unit(&self) -> f64 {
        f64::from(self.clip.0) / self.bits.units() as f64
    }

    /// Clips one record's vector and writes its grid integers; zeros if it is not finite or fails the exact check.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn clip_record(&self, record: &[f32], integers: &mut [i64]) -> RecordOutcome {
        assert_eq!(
            record.len(),
            integers.len(),
            "a record and its integers have one length"
        );
        let norm = norm(record);
        if !norm.is_finite() {
            integers.fill(0);
            return RecordOutcome::Zeroed;
        }
        let clipped = norm > f64::from(self.clip.0);
        let factor = if clipped {
            self.unit_length() / norm * SHORTENING
        } else {
            1.0 / self.unit()
        };
        for (integer, value) in integers.iter_mut().zip(record) {
            *integer = truncate(f64::from(*value) * factor);
        }
        if !self.holds(integers) {
            integers.fill(0);
            return RecordOutcome::Zeroed;
        }
        if clipped {
            RecordOutcome::Clipped
        } else {
            RecordOutcome::Kept
        }
    }

    /// Whether Σx² ≤ 2^(2g), in integers.
    fn holds(&self, integers: &[i64]) -> bool {
        let bound = 1_u128 << (2 * self.bits.0);
        let square = |integer: &i64| u128::from(integer.unsigned_abs()).pow(2);
        integers
            .iter()
            .map(square)
            .try_fold(0_u128, |sum, square| {
                sum.checked_add(square).filter(|sum| *sum <= bound)
            })
            .is_some()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "2^g is a power of two and exact"
    )]
    fn unit_length(&self) -> f64 {
        self.bits.units() as f64
    }
}

/// The L2 norm, by eight running sums: a fixed order whatever the processor, and no chain of additions that waits for itself.
fn norm(record: &[f32]) -> f64 {
    let square = |value: f32| f64::from(value) * f64::from(value);
    let mut sums = [0.0_f64; 8];
    let (eights, rest) = record.as_chunks::<8>();
    for eight in eights {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += square(*value);
        }
    }
    let rest: f64 = rest.iter().map(|value| square(*value)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// What became of a record. It depends on the data: it may be shown to its owner and never leaves the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Within the clip norm; only truncated to the grid.
    Kept,
    /// Scaled down to the clip norm.
    Clipped,
    /// Not finite; it counts as zero.
    Zeroed,
}

/// A running sum of clipped records. It is raw data: it has no wire form and no readable Debug, and is wiped on drop.
///
/// # Security
/// The way out is [`crate::PrivateUpdate::release`], which adds noise and takes a debit.
/// [`Self::dangerous_into_integers`] is for comparisons and for jobs whose contract says `dangerous_` itself.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RecordSum {
    #[zeroize(skip)]
    grid: Grid,
    #[zeroize(skip)]
    cap: RecordCap,
    records: u32,
    values: Vec<i64>,
    scratch: Vec<i64>,
}

impl RecordSum {
    /// The empty sum over vectors of `elements` coordinates.
    pub fn new(grid: Grid, cap: RecordCap, elements: usize) -> Self {
        Self {
            grid,
            cap,
            records: 0,
            values: vec![0; elements],
            scratch: Vec::new(),
        }
    }

    /// Clips one record's vector to the grid and adds it.
    ///
    /// # Errors
    /// [`GridError`] if the vector has another length or the cap is reached; the sum is unchanged.
    pub fn add_record(&mut self, record: &[f32]) -> Result<RecordOutcome, GridError> {
        if record.len() != self.values.len() {
            return Err(GridError::Length {
                expected: self.values.len(),
                found: record.len(),
            });
        }
        let records = self.room_for(1)?;
        self.scratch.resize(self.values.len(), 0);
        let outcome = self.grid.clip_record(record, &mut self.scratch);
        add(&mut self.values, &self.scratch);
        self.records = records;
        Ok(outcome)
    }

    /// Adds a record that is the whole clip norm on one coordinate, up or down.
    ///
    /// # Errors
    /// [`GridError`] if there is no such coordinate or the cap is reached; the sum is unchanged.
    pub(crate) fn add_on_axis(&mut self, coordinate: usize, up: bool) -> Result<(), GridError> {
        let found = self.values.len();
        let records = self.room_for(1)?;
        let value = self.values.get_mut(coordinate);
        let value = value.ok_or(GridError::Length {
            expected: coordinate + 1,
            found,
        })?;
        let units = i64::try_from(self.grid.bits.units()).expect("at most 2^40");
        let sum = if up {
            value.checked_add(units)
        } else {
            value.checked_sub(units)
        };
        *value = sum.expect("caps on records and grid keep each coordinate below 2^63");
        self.records = records;
        Ok(())
    }

    /// The sum of records that were clipped and rounded elsewhere.
    ///
    /// # Errors
    /// [`GridError::TooManyRecords`] if the records pass the cap.
    ///
    /// # Security
    /// The caller vouches for what [`Self::add_record`] sees to: that `sum` is the exact sum of one vector of integers for each record, that
    /// each has Σx² ≤ 2^(2g), and that none depends on another record. `consort-training` has the proof for its sums beside its code
    /// (docs/decisions/0017-rounded-products.md).
    pub fn of_rounded(
        grid: Grid,
        cap: RecordCap,
        sum: Vec<i64>,
        records: u32,
    ) -> Result<Self, GridError> {
        let mut whole = Self {
            grid,
            cap,
            records: 0,
            values: sum,
            scratch: Vec::new(),
        };
        whole.records = whole.room_for(records)?;
        Ok(whole)
    }

    /// Adds the sum of other records of the same member, on the same grid and under the same cap.
    ///
    /// # Errors
    /// [`GridError`] if grid, cap or length differ or the records together pass the cap; the sum is unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), GridError> {
        if self.grid != other.grid || self.cap != other.cap {
            return Err(GridError::OtherGrid);
        }
        if self.values.len() != other.values.len() {
            return Err(GridError::Length {
                expected: self.values.len(),
                found: other.values.len(),
            });
        }
        let records = self.room_for(other.records)?;
        add(&mut self.values, &other.values);
        self.records = records;
        Ok(())
    }

    /// The grid of the records.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The cap on the records.
    pub fn cap(&self) -> RecordCap {
        self.cap
    }

    /// Number of coordinates.
    pub fn elements(&self) -> usize {
        self.values.len()
    }

    /// The sum as it is, without noise and without a debit.
    ///
    /// # Security
    /// Releasing it, even masked, spends unlimited privacy.
    pub fn dangerous_into_integers(mut self) -> Vec<i64> {
        std::mem::take(&mut self.values)
    }

    /// Adds noise of the same length to the sum, in place, and hands out the vector.
    pub(crate) fn with_noise(mut self, noise: &[i64]) -> Vec<i64> {
        add(&mut self.values, noise);
        std::mem::take(&mut self.values)
    }

    fn room_for(&self, more: u32) -> Result<u32, GridError> {
        let records = self
            .records
            .checked_add(more)
            .filter(|records| *records <= self.cap.0);
        records.ok_or(GridError::TooManyRecords { cap: self.cap.0 })
    }
}

/// Shows the length only.
impl fmt::Debug for RecordSum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordSum({} elements)", self.values.len())
    }
}

/// A record or a constant of the grid was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Not a clip norm.
    #[error("the clip norm must lie between 1e-9 and 1e9")]
    ClipNorm,
    /// Not a grid.
    #[error("the grid must have 1 to {MAX_GRID_BITS} bits")]
    Bits,
    /// Not a cap.
    #[error("the cap on records must lie between 1 and {MAX_RECORDS}")]
    RecordCap,
    /// A vector of another length.
    #[error("the vector has {found} coordinates and the sum {expected}")]
    Length {
        /// Coordinates of the sum.
        expected: usize,
        /// Coordinates given.
        found: usize,
    },
    /// More records than the public cap.
    #[error(
        "the member has more records than the job's public cap of {cap}: raise the cap in the contract, or leave records out"
    )]
    TooManyRecords {
        /// The cap.
        cap: u32,
    },
    /// Two sums that cannot be added.
    #[error("the two sums have different grids or caps")]
    OtherGrid,
}

impl GridError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClipNorm => "privacy_clip_norm_out_of_range",
            Self::Bits => "privacy_grid_bits_out_of_range",
            Self::RecordCap => "privacy_record_cap_out_of_range",
            Self::Length { .. } => "privacy_vector_wrong_length",
            Self::TooManyRecords { .. } => "privacy_too_many_records",
            Self::OtherGrid => "privacy_sum_of_another_grid",
        }
    }
}

/// Adds vectors of one length. A sum stays below cap · 2^g ≤ 2^62, and noise below 2^37 is added once.
///
/// # Panics
/// If a coordinate leaves i64 all the same.
fn add(sum: &mut [i64], more: &[i64]) {
    let mut overflows = 0_i64;
    for (sum, more) in sum.iter_mut().zip(more) {
        let before = *sum;
        *sum = before.wrapping_add(*more);
        // Its sign is set where both terms have one sign and their sum the other. Asked once for all, so that the loop is vector code.
        overflows |= (before ^ *sum) & (more ^ *sum);
    }
    assert!(
        overflows >= 0,
        "caps on records, grid and noise keep each coordinate below 2^63"
    );
}

/// Truncation towards zero. A value that i64 cannot hold saturates and then fails the exact check.
#[expect(
    clippy::cast_possible_truncation,
    reason = "float to integer saturates by definition, and NaN gives 0"
)]
fn truncate(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(clip: f32, bits: u8) -> Grid {
        Grid::new(ClipNorm::new(clip).unwrap(), GridBits::new(bits).unwrap())
    }

    fn clip(grid: Grid, record: &[f32]) -> (RecordOutcome, Vec<i64>) {
        let mut integers = vec![0; record.len()];
        (grid.clip_record(record, &mut integers), integers)
    }

    #[test]
    fn a_record_within_the_norm_is_truncated_towards_zero() {
        // One unit is 2/16 = 0.125.
        let (outcome, integers) = clip(grid(2.0, 4), &[0.99, -0.99, 0.124, 0.25]);
        assert_eq!(outcome, RecordOutcome::Kept);
        assert_eq!(integers, [7, -7, 0, 2]);
    }

    #[test]
    fn a_record_at_the_norm_reaches_the_whole_grid() {
        assert_eq!(
            clip(grid(2.0, 20), &[0.0, -2.0]),
            (RecordOutcome::Kept, vec![0, -(1 << 20)])
        );
    }

    #[test]
    fn a_long_record_is_scaled_to_the_norm() {
        let (outcome, integers) = clip(grid(1.0, 20), &[300.0, 400.0]);
        assert_eq!(outcome, RecordOutcome::Clipped);
        // 0.6·2^20 and 0.8·2^20, less truncation and the shortening of 2^-29.
        assert_eq!(integers, [629_145, 838_860]);
    }

    #[test]
    fn a_record_that_is_not_finite_counts_as_zero() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                clip(grid(1.0, 20), &[0.5, value]),
                (RecordOutcome::Zeroed, vec![0, 0])
            );
        }
    }

    #[test]
    fn the_largest_floats_are_clipped_like_any_other_record() {
        let (outcome, integers) = clip(grid(1e-9, 40), &[f32::MAX; 64]);
        assert_eq!(outcome, RecordOutcome::Clipped);
        assert!(
            integers
                .iter()
                .all(|integer| (integer - (1 << 37)).abs() <= 512)
        );
    }

    #[test]
    fn a_record_beyond_the_cap_is_refused_and_changes_nothing() {
        let mut sum = RecordSum::new(grid(1.0, 4), RecordCap::new(1).unwrap(), 1);
        sum.add_record(&[0.5]).unwrap();
        assert_eq!(
            sum.add_record(&[0.5]),
            Err(GridError::TooManyRecords { cap: 1 })
        );
        assert_eq!(sum.dangerous_into_integers(), [8]);
    }

    #[test]
    fn sums_of_other_grids_or_past_the_cap_are_not_merged() {
        let cap = RecordCap::new(1).unwrap();
        let mut sum = RecordSum::new(grid(1.0, 4), cap, 1);
        assert_eq!(
            sum.merge(&RecordSum::new(grid(1.0, 5), cap, 1)),
            Err(GridError::OtherGrid)
        );
        let mut other = RecordSum::new(grid(1.0, 4), cap, 1);
        other.add_record(&[1.0]).unwrap();
        sum.merge(&other).unwrap();
        assert_eq!(sum.merge(&other), Err(GridError::TooManyRecords { cap: 1 }));
        assert_eq!(sum.dangerous_into_integers(), [16]);
    }

    #[test]
    fn records_rounded_elsewhere_count_against_the_cap() {
        let sum_of = |records| {
            let cap = RecordCap::new(3).unwrap();
            RecordSum::of_rounded(grid(1.0, 4), cap, vec![-7, 20], records)
        };
        assert_eq!(
            sum_of(4).map(|_| ()),
            Err(GridError::TooManyRecords { cap: 3 })
        );
        let mut sum = sum_of(3).unwrap();
        assert_eq!(
            sum.add_record(&[0.0, 0.0]),
            Err(GridError::TooManyRecords { cap: 3 })
        );
        assert_eq!(sum.dangerous_into_integers(), [-7, 20]);
    }

    #[test]
    #[should_panic(expected = "below 2^63")]
    fn a_coordinate_that_leaves_i64_stops_the_round() {
        add(&mut [0, i64::MIN, 0], &[1, -1, 1]);
    }

    #[test]
    fn debug_output_of_a_sum_shows_no_value() {
        let sum = RecordSum::new(grid(1.0, 4), RecordCap::new(1).unwrap(), 3);
        assert_eq!(format!("{sum:?}"), "RecordSum(3 elements)");
    }

    proptest! {
        #[test]
        fn no_record_is_ever_longer_than_the_grid(
            record in prop::collection::vec(any::<f32>(), 0..40),
            norm in 1e-9_f32..1e9,
            bits in 1..=40_u8,
        ) {
            let (_, integers) = clip(grid(norm, bits), &record);
            let square: u128 = integers.iter().map(|integer| u128::from(integer.unsigned_abs()).pow(2)).sum();
            prop_assert!(square <= 1 << (2 * bits));
        }

        #[test]
        fn a_finite_record_is_never_lost_to_rounding(
            record in prop::collection::vec(-1e3_f32..1e3, 1..40),
            norm in 1e-3_f32..1e4,
            bits in 10..=40_u8,
        ) {
            prop_assert_ne!(clip(grid(norm, bits), &record).0, RecordOutcome::Zeroed);
        }

        #[test]
        fn the_order_of_records_changes_no_bit(records in prop::collection::vec(prop::array::uniform3(-5_f32..5.0), 0..12)) {
            let sum = |records: &mut dyn Iterator<Item = &[f32; 3]>| {
                let mut sum = RecordSum::new(grid(1.0, 30), RecordCap::new(12).unwrap(), 3);
                records.for_each(|record| { sum.add_record(record).unwrap(); });
                sum.dangerous_into_integers()
            };
            prop_assert_eq!(sum(&mut records.iter()), sum(&mut records.iter().rev()));
        }
    }
}
