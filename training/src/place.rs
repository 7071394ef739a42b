//! How the records of a chunk lie in a matrix: a row each, or, behind a convolution, a row for each pixel.

use consort_model::Shape;

use crate::matrix::{Matrix, padded};

/// Where the pixels of records are. A row of elements is a record of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pixels: usize,
    /// Elements of a pixel, side by side.
    pub(crate) channels: usize,
    /// Whether each pixel has a row of the matrix to itself; else each record has one.
    pub(crate) spread: bool,
}

impl Place {
    /// A shape of a checked model, whose sizes fit memory.
    pub(crate) fn new(shape: Shape, spread: bool) -> Self {
        let (pixels, channels) = shape.pixels();
        Self {
            pixels: usize::try_from(pixels).expect("a checked shape"),
            channels: channels as usize,
            spread: spread && matches!(shape, Shape::Image { .. }),
        }
    }

    /// Elements of a record.
    pub(crate) fn elements(self) -> usize {
        self.pixels * self.channels
    }

    /// Rows of the matrix that a record takes.
    pub(crate) fn rows(self) -> usize {
        if self.spread { self.pixels } else { 1 }
    }

    /// Columns of the matrix.
    pub(crate) fn columns(self) -> usize {
        self.elements() / self.rows()
    }

    /// Floats from one pixel to the next.
    pub(crate) fn pixel_stride(self) -> usize {
        if self.spread {
            padded(self.channels)
        } else {
            self.channels
        }
    }

    /// Floats from one record to the next.
    pub(crate) fn record_stride(self) -> usize {
        self.rows() * padded(self.columns())
    }

    /// Makes room for records, all zero.
    pub(crate) fn reset(self, matrix: &mut Matrix, records: usize) {
        matrix.reset(records * self.rows(), self.columns());
    }

    /// Makes room for records, for whoever writes every element.
    pub(crate) fn reset_to_be_written(self, matrix: &mut Matrix, records: usize) {
        matrix.reset_to_be_written(records * self.rows(), self.columns());
    }

    /// The floats of one record, padding included.
    pub(crate) fn record(self, matrix: &Matrix, record: usize) -> &[f32] {
        &matrix.padded_values()[record * self.record_stride()..][..self.record_stride()]
    }

    /// The floats of one record, padding included. Who writes leaves zeros in the padding.
    pub(crate) fn record_mut(self, matrix: &mut Matrix, record: usize) -> &mut [f32] {
        let stride = self.record_stride();
        &mut matrix.padded_values_mut()[record * stride..][..stride]
    }
}

/// Goes through two records of the same elements, part by part that lie side by side in both.
pub(crate) fn over_parts(
    (from, source): (Place, &[f32]),
    (to, target): (Place, &mut [f32]),
    mut work: impl FnMut(&[f32], &mut [f32]),
) {
    // Of two shapes with the same elements the image has the pixels; a row has the stride of what lies side by side.
    let shape = if from.pixels > to.pixels { from } else { to };
    let stride = |place: Place| {
        if place.spread {
            place.pixel_stride()
        } else {
            shape.channels
        }
    };
    let (read, write) = (stride(from), stride(to));
    if read == shape.channels && write == shape.channels {
        work(&source[..shape.elements()], &mut target[..shape.elements()]);
        return;
    }
    for pixel in 0..shape.pixels {
        let source = &source[pixel * read..][..shape.channels];
        work(source, &mut target[pixel * write..][..shape.channels]);
    }
}

/// The elements of a record side by side, in `buffer` if they do not lie so.
pub(crate) fn side_by_side<'a>(
    place: Place,
    record: &'a [f32],
    buffer: &'a mut Vec<f32>,
) -> &'a [f32] {
    if place.pixel_stride() == place.channels {
        return &record[..place.elements()];
    }
    buffer.clear();
    let pixels = record.chunks_exact(place.pixel_stride());
    pixels.for_each(|pixel| buffer.extend_from_slice(&pixel[..place.channels]));
    buffer
}
