//! The largest of each 2 × 2 pixels, channel by channel, and back.

use consort_model::Shape;

use crate::matrix::Matrix;
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
            let source = self.input.record(inputs, record);
            let target = self.output.record_mut(outputs, record);
            self.over_pixels(|corners, pixel| {
                let channels = self.output.channels;
                let [a, b, c, d] = corners.map(|from| &source[from..][..channels]);
                let target = &mut target[pixel..][..channels];
                for (channel, target) in target.iter_mut().enumerate() {
                    *target = larger(
                        larger(a[channel], b[channel]),
                        larger(c[channel], d[channel]),
                    );
                }
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
            let source = self.input.record(inputs, record);
            let largest = self.output.record(outputs, record);
            let deltas = self.output.record(deltas, record);
            let before = self.input.record_mut(before, record);
            self.over_pixels(|corners, pixel| {
                let channels = self.output.channels;
                let (largest, deltas) =
                    (&largest[pixel..][..channels], &deltas[pixel..][..channels]);
                let mut left = [0.0; 64];
                for from in (0..channels).step_by(left.len()) {
                    let part = left.len().min(channels - from);
                    let left = &mut left[..part];
                    left.copy_from_slice(&deltas[from..][..part]);
                    for corner in corners {
                        let source = &source[corner + from..][..part];
                        let before = &mut before[corner + from..][..part];
                        for channel in 0..part {
                            let taken = source[channel] == largest[from + channel];
                            before[channel] += if taken { left[channel] } else { 0.0 };
                            left[channel] = if taken { 0.0 } else { left[channel] };
                        }
                    }
                }
            });
        }
    }

    /// Calls with where the four pixels and the one of the output begin.
    fn over_pixels(&self, mut work: impl FnMut([usize; 4], usize)) {
        let (read, write) = (self.input.pixel_stride(), self.output.pixel_stride());
        let (height, width) = self.halves;
        for y in 0..height {
            for x in 0..width {
                let upper = (2 * y * self.width + 2 * x) * read;
                let lower = upper + self.width * read;
                let corners = [upper, upper + read, lower, lower + read];
                work(corners, (y * width + x) * write);
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
