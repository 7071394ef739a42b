//! The products of matrices on which training spends its time, in the vector instructions that this processor has.
//!
//! All three are sums of outer products, `out[i][j] ← out[i][j] + left(k, i)·right[k][j]` for k in rising order, each with one
//! fused multiply-add that rounds once. Nothing is summed beside `out` and added later: decision 0017 rests on this.

use std::array::from_fn;
use std::ops::Range;

use bytemuck::{bytes_of, cast_slice, cast_slice_mut, pod_read_unaligned};
use macerator::{AutoArch, Scalar, Simd, VFma, Vector, WithSimd};

use crate::matrix::{Matrix, PAD};

/// Steps over k between a load and a store of `out`, so that a panel of the right factor stays in the first cache: 256 × 32 floats.
const DEPTH: usize = 256;

/// Whether a fused multiply-add is one instruction here; where it is not, it is a slow function.
pub(crate) fn has_fused_multiply_add() -> bool {
    struct Ask;
    impl WithSimd for Ask {
        type Output = bool;
        #[inline(always)]
        fn with_simd<S: Simd>(self) -> bool {
            <f32 as VFma>::is_accelerated::<S>()
        }
    }
    AutoArch::new().dispatch(Ask)
}

/// `out[i][j] += Σ_k left[k][i]·right[k][j]`: what some records (k) of a chunk add to the gradient of a weight.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn add_transposed_product(
    out: &mut Matrix,
    left: &Matrix,
    right: &Matrix,
    records: Range<usize>,
) {
    assert_eq!(left.rows(), right.rows(), "one row for each record");
    assert_eq!(
        (out.rows(), out.columns()),
        (left.columns(), right.columns())
    );
    multiply(out, right, Transposed(left), records);
}

/// `out[i][j] += Σ_k left[i][k]·right[k][j]`: what leaves a layer for each record (i).
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn add_product(out: &mut Matrix, left: &Matrix, right: &Matrix) {
    assert_eq!(left.columns(), right.rows());
    assert_eq!((out.rows(), out.columns()), (left.rows(), right.columns()));
    multiply(out, right, Straight(left, 0), 0..right.rows());
}

/// The same for as many rows of `left` as `out` has, from `first` on.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn add_product_of_rows(out: &mut Matrix, left: &Matrix, first: usize, right: &Matrix) {
    assert_eq!(left.columns(), right.rows());
    assert_eq!(out.columns(), right.columns());
    assert!(first + out.rows() <= left.rows());
    multiply(out, right, Straight(left, first), 0..right.rows());
}

/// `out[i][j] += Σ_k left[i][k]·right[j][k]`, for few j: each is a product of two rows.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn add_row_products(out: &mut Matrix, left: &Matrix, right: &Matrix) {
    assert_eq!(left.columns(), right.columns());
    assert_eq!((out.rows(), out.columns()), (left.rows(), right.rows()));
    AutoArch::new().dispatch(RowProducts { out, left, right });
}

/// The left factor, as rows of `out` are walked.
///
/// The sums of a tile of `out` stay in registers: 12 rows × 2 vectors or 6 × 4 fill the 32 registers of AVX-512, 6 × 2 the 16 of AVX2.
trait Left: Copy {
    /// Whether tiles are wide and low: each row of the factor needs a pointer of its own, and of those there are 16.
    const WIDE: bool;
    /// What is taken of it for `R` rows of `out`, k in `from..from + depth`.
    type Rows<'a, const R: usize>
    where
        Self: 'a;
    fn rows<const R: usize>(&self, first: usize, from: usize, depth: usize) -> Self::Rows<'_, R>;
    fn entries<const R: usize>(rows: &Self::Rows<'_, R>, k: usize) -> [f32; R];
}

#[derive(Clone, Copy)]
struct Transposed<'m>(&'m Matrix);

impl<'m> Left for Transposed<'m> {
    const WIDE: bool = false;
    type Rows<'a, const R: usize>
        = (&'a [f32], usize)
    where
        Self: 'a;

    #[inline(always)]
    fn rows<const R: usize>(&self, first: usize, from: usize, _depth: usize) -> (&[f32], usize) {
        let stride = self.0.stride();
        (&self.0.padded_values()[from * stride + first..], stride)
    }

    #[inline(always)]
    fn entries<const R: usize>(rows: &(&[f32], usize), k: usize) -> [f32; R] {
        *rows.0[k * rows.1..]
            .first_chunk()
            .expect("rows of `out` are columns of the left factor")
    }
}

/// From a row on.
#[derive(Clone, Copy)]
struct Straight<'m>(&'m Matrix, usize);

impl<'m> Left for Straight<'m> {
    const WIDE: bool = true;
    type Rows<'a, const R: usize>
        = [&'a [f32]; R]
    where
        Self: 'a;

    #[inline(always)]
    fn rows<const R: usize>(&self, first: usize, from: usize, depth: usize) -> [&[f32]; R] {
        from_fn(|row| &self.0.padded_row(self.1 + first + row)[from..][..depth])
    }

    #[inline(always)]
    fn entries<const R: usize>(rows: &[&[f32]; R], k: usize) -> [f32; R] {
        from_fn(|row| rows[row][k])
    }
}

fn multiply(out: &mut Matrix, right: &Matrix, left: impl Left, steps: Range<usize>) {
    let mut panel = vec![0.0; steps.len().min(DEPTH) * 4 * PAD];
    AutoArch::new().dispatch(Multiply {
        out,
        right,
        left,
        steps,
        panel: &mut panel,
    });
}

struct Multiply<'a, L> {
    out: &'a mut Matrix,
    right: &'a Matrix,
    left: L,
    /// Over which k is summed.
    steps: Range<usize>,
    panel: &'a mut [f32],
}

impl<L: Left> WithSimd for Multiply<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self) {
        let steps = self.steps.clone();
        for from in steps.clone().step_by(DEPTH) {
            let depth = DEPTH.min(steps.end - from);
            let (mut column, stride) = (0, self.out.stride());
            while column < stride {
                let lanes = f32::lanes::<S>();
                // A row is padded to a multiple of `PAD`, and PAD to one of the lanes.
                if L::WIDE && lanes == PAD && column + 4 * lanes <= stride {
                    self.columns::<S, 4>(from, depth, column);
                    column += 4 * lanes;
                } else if column + 2 * lanes <= stride {
                    self.columns::<S, 2>(from, depth, column);
                    column += 2 * lanes;
                } else {
                    self.columns::<S, 1>(from, depth, column);
                    column += lanes;
                }
            }
        }
    }
}

impl<L: Left> Multiply<'_, L> {
    /// `V` vectors of columns, all rows of `out`.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, from: usize, depth: usize, column: usize) {
        let (width, stride) = (V * f32::lanes::<S>(), self.right.stride());
        let panel = &mut self.panel[..depth * width];
        let source = self.right.padded_values()[from * stride..].chunks_exact(stride);
        for (target, row) in panel.chunks_exact_mut(width).zip(source) {
            target.copy_from_slice(&row[column..][..width]);
        }
        let rows = self.out.rows();
        let mut row = 0;
        while row < rows {
            row += match rows - row {
                12.. if !L::WIDE && f32::lanes::<S>() == PAD => {
                    self.tile::<S, 12, V>(from, depth, row, column)
                }
                6.. => self.tile::<S, 6, V>(from, depth, row, column),
                4.. => self.tile::<S, 4, V>(from, depth, row, column),
                2.. => self.tile::<S, 2, V>(from, depth, row, column),
                _ => self.tile::<S, 1, V>(from, depth, row, column),
            };
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        from: usize,
        depth: usize,
        row: usize,
        column: usize,
    ) -> usize {
        let lanes = f32::lanes::<S>();
        let stride = self.out.stride();
        let out = &mut self.out.padded_values_mut()[row * stride + column..];
        let left = self.left.rows::<R>(row, from, depth);
        let mut sums: [[Vector<S, f32>; V]; R] =
            from_fn(|r| from_fn(|v| load(&out[r * stride + v * lanes..])));
        for (k, right) in self.panel[..depth * V * lanes]
            .chunks_exact(V * lanes)
            .enumerate()
        {
            let right: [Vector<S, f32>; V] = from_fn(|v| load(&right[v * lanes..]));
            let entries = L::entries::<R>(&left, k);
            for r in 0..R {
                let entry: Vector<S, f32> = entries[r].splat();
                for v in 0..V {
                    sums[r][v] = entry.fma(right[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                store(&mut out[r * stride + v * lanes..], sums[r][v]);
            }
        }
        R
    }
}

struct RowProducts<'a> {
    out: &'a mut Matrix,
    left: &'a Matrix,
    right: &'a Matrix,
}

impl WithSimd for RowProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let lanes = f32::lanes::<S>();
        for row in 0..self.left.rows() {
            let left = self.left.padded_row(row);
            for column in 0..self.right.rows() {
                let right = self.right.padded_row(column);
                let mut sum: Vector<S, f32> = 0.0_f32.splat();
                for (left, right) in left.chunks_exact(lanes).zip(right.chunks_exact(lanes)) {
                    sum = load::<S>(left).mul_add(load(right), sum);
                }
                let parts: &[f32] = cast_slice(std::slice::from_ref(&sum));
                self.out.row_mut(row)[column] += parts.iter().sum::<f32>();
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(values: &[f32]) -> Vector<S, f32> {
    pod_read_unaligned(cast_slice(&values[..f32::lanes::<S>()]))
}

#[inline(always)]
fn store<S: Simd>(values: &mut [f32], vector: Vector<S, f32>) {
    cast_slice_mut(&mut values[..f32::lanes::<S>()]).copy_from_slice(bytes_of(&vector));
}
