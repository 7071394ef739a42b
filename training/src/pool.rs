//! The largest of each 2 × 2 pixels, channel by channel, and back.

use consort_model::Shape;

use macerator::{AutoArch, Simd, WithSimd};

use crate::matrix::{Matrix, PAD};
use crate::place::Place;

/// Halves an image.
pub(crate) struct MaxPool {
    input: Place,
    output: Place,
    /// Pixels of a row of the image.
    width: usize,
    /// Rows and columns of the output.
    halves: (usize, usize),
}

impl MaxPool {
    pub(crate) fn new(image: Shape, input: Place, output: Place) -> Self {
        let Shape::Image { height, width, .. } = image else {
            unreachable!("a checked model pools images");
        };
        let (height, width) = (height as usize, width as usize);
        Self {
            input,
            output,
            width,
            halves: (height / 2, width / 2),
        }
    }

    pub(crate) fn forward(&self, records: usize, inputs: &Matrix, outputs: &mut Matrix) {
        for record in 0..records {
            AutoArch::new().dispatch(Forward {
                pool: self,
                source: self.input.record(inputs, record),
                target: self.output.record_mut(outputs, record),
            });
        }
    }

    /// Adds what flows back to the first of the largest.
    pub(crate) fn backward(
        &self,
        records: usize,
        (inputs, outputs): (&Matrix, &Matrix),
        deltas: &Matrix,
        before: &mut Matrix,
    ) {
        for record in 0..records {
            AutoArch::new().dispatch(Backward {
                pool: self,
                source: self.input.record(inputs, record),
                largest: self.output.record(outputs, record),
                deltas: self.output.record(deltas, record),
                before: self.input.record_mut(before, record),
            });
        }
    }

    /// Floats of a pixel that are gone through: padding too where both sides have it, for all of it is 0.
    #[inline(always)]
    fn floats(&self) -> usize {
        if self.input.spread {
            self.input.pixel_stride()
        } else {
            self.input.channels
        }
    }

    /// Where the four pixels begin that a pixel of the output is made of.
    #[inline(always)]
    fn corners(&self, y: usize, x: usize) -> [usize; 4] {
        let read = self.input.pixel_stride();
        let upper = (2 * y * self.width + 2 * x) * read;
        let lower = upper + self.width * read;
        [upper, upper + read, lower, lower + read]
    }
}

struct Forward<'a> {
    pool: &'a MaxPool,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (height, width) = self.pool.halves;
        let (floats, write) = (self.pool.floats(), self.pool.output.pixel_stride());
        for y in 0..height {
            for x in 0..width {
                let [a, b, c, d] = self.pool.corners(y, x);
                let a = &self.source[a..][..floats];
                let b = &self.source[b..][..floats];
                let c = &self.source[c..][..floats];
                let d = &self.source[d..][..floats];
                let target = &mut self.target[(y * width + x) * write..][..floats];
                for i in 0..floats {
                    target[i] = larger(larger(a[i], b[i]), larger(c[i], d[i]));
                }
            }
        }
    }
}

struct Backward<'a> {
    pool: &'a MaxPool,
    source: &'a [f32],
    largest: &'a [f32],
    deltas: &'a [f32],
    before: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (height, width) = self.pool.halves;
        let (floats, write) = (self.pool.floats(), self.pool.output.pixel_stride());
        for y in 0..height {
            for x in 0..width {
                let pixel = (y * width + x) * write;
                let largest = &self.largest[pixel..][..floats];
                let deltas = &self.deltas[pixel..][..floats];
                let corners = self.pool.corners(y, x);
                let mut from = 0;
                while from < floats {
                    let part = PAD.min(floats - from);
                    // What no corner has taken so far; loops of a known length become vectors.
                    let mut left = [0.0; PAD];
                    let mut most = [0.0; PAD];
                    left[..part].copy_from_slice(&deltas[from..][..part]);
                    most[..part].copy_from_slice(&largest[from..][..part]);
                    for corner in corners {
                        let mut values = [0.0; PAD];
                        values[..part].copy_from_slice(&self.source[corner + from..][..part]);
                        let mut given = [0.0; PAD];
                        for lane in 0..PAD {
                            let taken = values[lane] == most[lane];
                            given[lane] = if taken { left[lane] } else { 0.0 };
                            left[lane] = if taken { 0.0 } else { left[lane] };
                        }
                        let before = &mut self.before[corner + from..][..part];
                        for lane in 0..part {
                            before[lane] += given[lane];
                        }
                    }
                    from += PAD;
                }
            }
        }
    }
}

/// f32::max would pass over NaN and hide a damaged record.
#[inline(always)]
#[expect(clippy::eq_op, reason = "only NaN is not itself")]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b != b { b } else { a }
}
