//! Exact sums of rounded outer products: what the records of a dense layer add to a clipped sum (decision 0017), and of rounded rows: what those
//! of other layers add, whose gradient is no such product and is written down (decision 0024).
//!
//! # What is summed
//! Record i puts a matrix of integers into the sum, q_i[j][k] = round(a_i[j]·d_i[k]), the integer nearest to the exact product of two
//! floats: a_i entered the layer, d_i flowed back to its output and was scaled to grid units. Nothing else is in q_i, so what one
//! record does to the sum does not depend on the others, and neither does the sum on order, chunks, threads or the code below that is taken.
//!
//! # How, without rounding each product by itself
//! A sum starts at 1.5·2^23, and each product is added by a fused multiply-add. As long as the sum stays within 2^23 and 2^24 the
//! floats there are the integers: the sum is one, and the one rounding of the operation rounds sum + a·d to the nearest integer, which is sum + round(a·d).
//! Only a tie could go either way, by whether the sum is even. There is none: the last bit of d is 1 ([`scale_rows_to_odd`]), so d is
//! an odd multiple of some 2^e with |d| ≥ 2^(e+23), and if a·d lies halfway between two integers, its lowest bit is ½ and |a|·2^e ≥ ½, so that |a·d| ≥ 2^22,
//! which the window below does not hold. The window: Σ (|a|·|d| + ½) over the largest entries of each record since the start is at most 2^22 − 2.
//!
//! [`scale_rows_to_odd`]: crate::rows::scale_rows_to_odd

use std::ops::Range;

use crate::kernel::{add_transposed_product, has_fused_multiply_add};
use crate::matrix::Matrix;
use crate::rows::{RowMeasure, add_values, nearest, take_integers};

/// Where a sum starts: in the middle of the floats whose neighbours are the integers beside them.
const ORIGIN: f32 = 12_582_912.0;

/// How far a sum may go from [`ORIGIN`], less room for the rounding of this very bound.
const WINDOW: f64 = 4_194_302.0;

/// Layers with fewer outputs are summed with their inputs side by side.
const FEW_OUTPUTS: usize = crate::matrix::PAD;

/// The running sum of one dense layer's weight.
pub(crate) struct RoundedProducts {
    /// [inputs, outputs], or transposed for few outputs; each starts at [`ORIGIN`].
    sums: Matrix,
    transposed: bool,
    /// What is used of [`WINDOW`].
    used: f64,
    fused: bool,
    /// Whether some of the sum is in the total already.
    spilled: bool,
}

impl RoundedProducts {
    pub(crate) fn new(inputs: usize, outputs: usize) -> Self {
        let transposed = outputs < FEW_OUTPUTS;
        let mut sums = if transposed {
            Matrix::zeros(outputs, inputs)
        } else {
            Matrix::zeros(inputs, outputs)
        };
        sums.padded_values_mut().fill(ORIGIN);
        Self {
            sums,
            transposed,
            used: 0.0,
            fused: has_fused_multiply_add(),
            spilled: false,
        }
    }

    /// Whether [`Self::add`] put something into the total.
    pub(crate) fn has_spilled(&self) -> bool {
        self.spilled
    }

    /// Adds each record's rounded product of its row of `inputs` and its row of `deltas`, whose last bits are 1. `total` is the weight's
    /// part of the sum, [inputs, outputs]; it is complete after [`Self::finish`].
    pub(crate) fn add(
        &mut self,
        inputs: &Matrix,
        deltas: &Matrix,
        measures: impl Iterator<Item = (RowMeasure, RowMeasure)>,
        total: &mut [i64],
    ) {
        let bounds: Vec<f64> = measures
            .map(|(input, delta)| f64::from(input.most) * f64::from(delta.most) + 0.5)
            .collect();
        if !self.fused || bounds.iter().any(|bound| *bound > WINDOW) {
            self.spilled = true;
            add_one_by_one(inputs, deltas, total);
            return;
        }
        let mut from = 0;
        while from < bounds.len() {
            let mut to = from;
            while to < bounds.len() && self.used + bounds[to] <= WINDOW {
                self.used += bounds[to];
                to += 1;
            }
            self.add_records(inputs, deltas, from..to);
            if to < bounds.len() {
                self.spilled = true;
                self.finish(total);
            }
            from = to;
        }
    }

    fn add_records(&mut self, inputs: &Matrix, deltas: &Matrix, records: Range<usize>) {
        if self.transposed {
            add_transposed_product(&mut self.sums, deltas, inputs, records);
        } else {
            add_transposed_product(&mut self.sums, inputs, deltas, records);
        }
    }

    /// Moves what was summed into `total` and starts again.
    pub(crate) fn finish(&mut self, total: &mut [i64]) {
        if self.used == 0.0 {
            return;
        }
        self.used = 0.0;
        if self.transposed {
            let outputs = self.sums.rows();
            let mut taken = vec![0; self.sums.columns()];
            for (output, row) in self.sums.rows_mut().enumerate() {
                take_integers(row, ORIGIN, &mut taken);
                for (input, taken) in taken.iter_mut().enumerate() {
                    total[input * outputs + output] += std::mem::take(taken);
                }
            }
        } else {
            let columns = self.sums.columns();
            for (row, total) in self.sums.rows_mut().zip(total.chunks_exact_mut(columns)) {
                take_integers(row, ORIGIN, total);
            }
        }
    }
}

/// The running sum of rows of numbers, each rounded to the nearest integer by the addition itself: a product with 1, so all of the above holds.
pub(crate) struct RoundedRows {
    /// Each starts at [`ORIGIN`].
    sums: Vec<f32>,
    /// What is used of [`WINDOW`].
    used: f64,
    /// Whether some of the sum is in the total already.
    spilled: bool,
}

impl RoundedRows {
    pub(crate) fn new(elements: usize) -> Self {
        Self {
            sums: vec![ORIGIN; elements],
            used: 0.0,
            spilled: false,
        }
    }

    /// Whether [`Self::add`] put something into the total.
    pub(crate) fn has_spilled(&self) -> bool {
        self.spilled
    }

    /// Adds a record's row, whose last bits are 1; `most` is the magnitude of its largest entry. `total` is complete after [`Self::finish`].
    pub(crate) fn add(&mut self, row: &[f32], most: f32, total: &mut [i64]) {
        let bound = f64::from(most) + 0.5;
        if bound > WINDOW {
            self.spilled = true;
            let pairs = total.iter_mut().zip(row);
            pairs.for_each(|(total, value)| *total += nearest(f64::from(*value)));
            return;
        }
        if self.used + bound > WINDOW {
            self.spilled = true;
            self.finish(total);
        }
        self.used += bound;
        add_values(&mut self.sums, row);
    }

    /// Moves what was summed into `total` and starts again.
    pub(crate) fn finish(&mut self, total: &mut [i64]) {
        if self.used > 0.0 {
            self.used = 0.0;
            take_integers(&mut self.sums, ORIGIN, total);
        }
    }
}

/// The same integers, each product rounded by itself: for products outside the window, and for processors without the instruction.
fn add_one_by_one(inputs: &Matrix, deltas: &Matrix, total: &mut [i64]) {
    for (inputs, deltas) in inputs.iter_rows().zip(deltas.iter_rows()) {
        for (input, total) in inputs.iter().zip(total.chunks_exact_mut(deltas.len())) {
            for (delta, total) in deltas.iter().zip(total) {
                // Two f32 have an exact product in f64.
                *total += nearest(f64::from(*input) * f64::from(*delta));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{measure_rows, scale_rows_to_odd};
    use proptest::prelude::*;

    fn sum(inputs: &Matrix, deltas: &Matrix, fused: bool) -> Vec<i64> {
        let mut total = vec![0; inputs.columns() * deltas.columns()];
        let mut sum = RoundedProducts::new(inputs.columns(), deltas.columns());
        sum.fused &= fused;
        let measures = || measure_rows(inputs).into_iter().zip(measure_rows(deltas));
        sum.add(inputs, deltas, measures(), &mut total);
        sum.finish(&mut total);
        total
    }

    /// Records, inputs, outputs; the two factors, the second of them with magnitudes up to 2^`scale`.
    fn factors() -> impl Strategy<Value = (Matrix, Matrix)> {
        let shape = (0..20_usize, 1..40_usize, 1..40_usize, 0..26_i32);
        shape.prop_flat_map(|(records, inputs, outputs, scale)| {
            let left = prop::collection::vec(-4.0_f32..4.0, records * inputs);
            // Halves and integers among them, from which ties would come.
            let entry = prop_oneof![-1.0_f32..1.0, Just(0.0), Just(0.5), Just(-0.25), Just(1.0)];
            let right = prop::collection::vec(entry, records * outputs);
            (left, right).prop_map(move |(left, right)| {
                let mut deltas = Matrix::from_rows(&right, outputs);
                scale_rows_to_odd(&mut deltas, &vec![2_f64.powi(scale); records]);
                (Matrix::from_rows(&left, inputs), deltas)
            })
        })
    }

    proptest! {
        #[test]
        fn sums_in_the_window_are_the_sums_of_integers_rounded_one_by_one((inputs, deltas) in factors()) {
            prop_assert_eq!(sum(&inputs, &deltas, true), sum(&inputs, &deltas, false));
        }

        #[test]
        fn the_integers_of_a_record_do_not_depend_on_the_other_records((inputs, deltas) in factors()) {
            let mut alone = vec![0; inputs.columns() * deltas.columns()];
            for record in (0..inputs.rows()).rev() {
                let input = Matrix::from_rows(inputs.row(record), inputs.columns());
                let delta = Matrix::from_rows(deltas.row(record), deltas.columns());
                let more = sum(&input, &delta, true);
                alone.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
            prop_assert_eq!(sum(&inputs, &deltas, true), alone);
        }
    }

    proptest! {
        #[test]
        fn sums_of_rows_are_the_sums_of_integers_rounded_one_by_one((_, rows) in factors()) {
            let mut total = vec![0; rows.columns()];
            let mut sum = RoundedRows::new(rows.columns());
            for (row, measure) in rows.iter_rows().zip(measure_rows(&rows)) {
                sum.add(row, measure.most, &mut total);
            }
            sum.finish(&mut total);
            let mut expected = vec![0; rows.columns()];
            for row in rows.iter_rows() {
                let pairs = expected.iter_mut().zip(row);
                pairs.for_each(|(sum, value)| *sum += nearest(f64::from(*value)));
            }
            prop_assert_eq!(total, expected);
        }
    }

    #[test]
    fn products_halfway_between_integers_do_not_follow_the_parity_of_the_sum() {
        if !has_fused_multiply_add() {
            return;
        }
        // 0.5 added to an even sum and to an odd one, as it is and with its last bit set.
        let outcome = |delta: f32| {
            [0.0_f32, 1.0].map(|before| 1.0_f32.mul_add(delta, ORIGIN + before) - ORIGIN - before)
        };
        assert_eq!(outcome(0.5), [0.0, 1.0]);
        assert_eq!(outcome(crate::rows::odd(0.5)), [1.0, 1.0]);
        assert_eq!(outcome(crate::rows::odd(-0.5)), [-1.0, -1.0]);
    }

    #[test]
    fn a_window_that_is_full_starts_again() {
        // Each record adds 2^20: the fourth does not fit.
        let records = 64;
        let inputs = Matrix::from_rows(&vec![1.0; records], 1);
        let mut deltas = Matrix::from_rows(&vec![1.0; records * 17], 17);
        scale_rows_to_odd(&mut deltas, &vec![1_048_576.0; records]);
        assert_eq!(sum(&inputs, &deltas, true), vec![64 << 20; 17]);
    }
}
