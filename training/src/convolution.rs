//! A convolution as a product of matrices: each pixel of the output looks at a patch of the image, and the patches are unfolded into rows,
//! once, for the way forward and for the gradient of the weight.

use consort_model::Shape;

use crate::dense::Dense;
use crate::kernel::add_transposed_product;
use crate::matrix::Matrix;
use crate::place::Place;

/// A convolution with stride 1.
pub(crate) struct Convolution {
    dense: Dense,
    input: Place,
    pub(crate) output: Place,
    /// Rows and columns of the image.
    image: (usize, usize),
    /// Rows and columns of the output.
    positions: (usize, usize),
    kernel: usize,
    padding: usize,
}

impl Convolution {
    /// Takes the weight, [kernel, kernel, channels, outputs] row-major, and the bias.
    pub(crate) fn new(
        (weight, bias): (&[f32], &[f32]),
        (input, output): (Shape, Shape),
        (kernel, padding): (u32, u32),
        input_spread: bool,
        flows_back: bool,
    ) -> Self {
        let sides = |shape: Shape| match shape {
            Shape::Image { height, width, .. } => (height as usize, width as usize),
            Shape::Row(_) => unreachable!("a checked model convolves images"),
        };
        Self {
            dense: Dense::new(weight, bias, flows_back),
            input: Place::new(input, input_spread),
            output: Place::new(output, true),
            image: sides(input),
            positions: sides(output),
            kernel: kernel as usize,
            padding: padding as usize,
        }
    }

    /// Elements of a patch: rows of the weight.
    pub(crate) fn patch(&self) -> usize {
        self.kernel * self.kernel * self.input.channels
    }

    /// Elements of the weight and the bias.
    pub(crate) fn parameters(&self) -> usize {
        (self.patch() + 1) * self.output.channels
    }

    /// Unfolds the images of the records, [records · positions, patch], and multiplies.
    pub(crate) fn forward(
        &self,
        records: usize,
        inputs: &Matrix,
        patches: &mut Matrix,
        outputs: &mut Matrix,
    ) {
        let rows = records * self.output.pixels;
        if self.padding == 0 {
            patches.reset_to_be_written(rows, self.patch());
        } else {
            patches.reset(rows, self.patch());
        }
        let stride = patches.stride() * self.output.pixels;
        for record in 0..records {
            let source = self.input.record(inputs, record);
            let target = &mut patches.padded_values_mut()[record * stride..][..stride];
            self.over_runs(target.len() / self.output.pixels, |from, to, pixels| {
                self.copy_run(source, from, target, to, pixels);
            });
        }
        self.dense.forward(patches, outputs);
    }

    /// Adds what flows back to the image. `scratch` is memory.
    ///
    /// # Panics
    /// If the layer was made as one from which nothing flows back.
    pub(crate) fn backward(
        &self,
        records: usize,
        deltas: &Matrix,
        before: &mut Matrix,
        scratch: &mut Matrix,
    ) {
        let positions = self.output.pixels;
        for record in 0..records {
            scratch.reset(positions, self.patch());
            self.dense
                .backward_rows(deltas, record * positions, scratch);
            let stride = scratch.stride();
            let source = scratch.padded_values();
            let target = self.input.record_mut(before, record);
            let (read, channels) = (self.input.pixel_stride(), self.input.channels);
            self.over_runs(stride, |from, to, pixels| {
                // Pixels that lie side by side in the image do so in the patch.
                let (parts, width) = if read == channels {
                    (1, pixels * channels)
                } else {
                    (pixels, channels)
                };
                for part in 0..parts {
                    let target = &mut target[from + part * read..][..width];
                    let source = &source[to + part * channels..][..width];
                    let pairs = target.iter_mut().zip(source);
                    pairs.for_each(|(target, source)| *target += source);
                }
            });
        }
    }

    /// Adds the gradient of the weight, [patch, outputs], over some rows of the patches.
    pub(crate) fn add_weight_gradient(
        &self,
        patches: &Matrix,
        deltas: &Matrix,
        rows: std::ops::Range<usize>,
        sum: &mut Matrix,
    ) {
        add_transposed_product(sum, patches, deltas, rows);
    }

    /// The gradient of one record, weight and bias, into a row. `scratch` is memory.
    pub(crate) fn write_gradient(
        &self,
        record: usize,
        patches: &Matrix,
        deltas: &Matrix,
        scratch: &mut Matrix,
        row: &mut [f32],
    ) {
        let (positions, outputs) = (self.output.pixels, self.output.channels);
        let rows = record * positions..(record + 1) * positions;
        scratch.reset(self.patch(), outputs);
        self.add_weight_gradient(patches, deltas, rows.clone(), scratch);
        let (weight, bias) = row.split_at_mut(self.patch() * outputs);
        for (target, source) in weight.chunks_exact_mut(outputs).zip(scratch.iter_rows()) {
            target.copy_from_slice(source);
        }
        bias.fill(0.0);
        for position in rows {
            let pairs = bias.iter_mut().zip(deltas.padded_row(position));
            pairs.for_each(|(bias, delta)| *bias += delta);
        }
    }

    /// Goes through the runs of pixels that patches share with the image: where one begins in the record's image, where in its patches, whose rows are
    /// `stride` apart, and how many pixels it has.
    #[inline(always)]
    fn over_runs(&self, stride: usize, mut work: impl FnMut(usize, usize, usize)) {
        let (height, width) = self.image;
        let (rows, columns) = self.positions;
        let (kernel, padding, channels) = (self.kernel, self.padding, self.input.channels);
        let pixel = self.input.pixel_stride();
        for y in 0..rows {
            for x in 0..columns {
                let patch = (y * columns + x) * stride;
                // The kernel's columns that lie on the image.
                let left = padding.saturating_sub(x);
                let right = kernel.min(width + padding - x.min(width + padding));
                if left >= right {
                    continue;
                }
                for ky in 0..kernel {
                    let Some(row) = (y + ky).checked_sub(padding).filter(|row| *row < height)
                    else {
                        continue;
                    };
                    let from = (row * width + x + left - padding) * pixel;
                    let to = patch + (ky * kernel + left) * channels;
                    work(from, to, right - left);
                }
            }
        }
    }

    /// Copies a run of pixels into a patch.
    #[inline(always)]
    fn copy_run(&self, source: &[f32], from: usize, target: &mut [f32], to: usize, pixels: usize) {
        let (read, channels) = (self.input.pixel_stride(), self.input.channels);
        if read != channels {
            for pixel in 0..pixels {
                let source = &source[from + pixel * read..][..channels];
                target[to + pixel * channels..][..channels].copy_from_slice(source);
            }
            return;
        }
        let length = pixels * channels;
        copy_short(&source[from..from + length], &mut target[to..to + length]);
    }
}

/// Copies runs that are often too short for a call of the system's copy.
#[inline(always)]
fn copy_short(source: &[f32], target: &mut [f32]) {
    if source.len() > 32 {
        target.copy_from_slice(source);
        return;
    }
    let (fours, rest) = source.as_chunks::<4>();
    let (target_fours, target_rest) = target.as_chunks_mut::<4>();
    for (target, source) in target_fours.iter_mut().zip(fours) {
        *target = *source;
    }
    if let ([first, ..], [target, ..]) = (rest, &mut *target_rest) {
        *target = *first;
    }
    if let ([_, second, ..], [_, target, ..]) = (rest, &mut *target_rest) {
        *target = *second;
    }
    if let ([_, _, third], [_, _, target]) = (rest, target_rest) {
        *target = *third;
    }
}
