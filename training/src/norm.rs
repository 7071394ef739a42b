//! Layer normalisation (Ba, Kiros and Hinton 2016): each record is brought to mean 0 and variance 1 over its own elements, then given a gain
//! and a bias for each. No record sees another's mean, as it would in batch normalisation, which privacy does not allow.

use crate::matrix::{Matrix, PAD};
use crate::place::{Place, over_parts, side_by_side};

/// What is added to the variance, so that a constant record has a quotient.
const EPSILON: f64 = 1e-5;

/// Gain and bias for each element of a record.
pub(crate) struct LayerNorm {
    place: Place,
    gain: Vec<f32>,
    bias: Vec<f32>,
}

/// Memory for one record.
#[derive(Default)]
pub(crate) struct Scratch {
    gathered: Vec<f32>,
    deltas: Vec<f32>,
    normal: Vec<f32>,
}

impl LayerNorm {
    pub(crate) fn new(place: Place, gain: &[f32], bias: &[f32]) -> Self {
        Self {
            place,
            gain: gain.to_vec(),
            bias: bias.to_vec(),
        }
    }

    /// Elements of gain and bias.
    pub(crate) fn parameters(&self) -> usize {
        2 * self.gain.len()
    }

    pub(crate) fn forward(&self, records: usize, inputs: &Matrix, outputs: &mut Matrix) {
        let mut scratch = Scratch::default();
        for record in 0..records {
            self.normalise(self.place.record(inputs, record), &mut scratch);
            let factors = self.gain.iter().zip(&self.bias);
            for (value, (gain, bias)) in scratch.normal.iter_mut().zip(factors) {
                *value = *value * gain + bias;
            }
            self.scatter(
                &scratch.normal,
                self.place.record_mut(outputs, record),
                |to, from| {
                    *to = from;
                },
            );
        }
    }

    /// Adds what flows back: with h = gain·delta and the normal record n it is (h − mean(h) − n·mean(h·n)) over the deviation.
    pub(crate) fn backward(
        &self,
        records: usize,
        inputs: &Matrix,
        deltas: &Matrix,
        before: &mut Matrix,
    ) {
        let mut scratch = Scratch::default();
        for record in 0..records {
            let deviation = self.normalise(self.place.record(inputs, record), &mut scratch);
            let Scratch {
                gathered,
                deltas: back,
                normal,
            } = &mut scratch;
            let delta = side_by_side(self.place, self.place.record(deltas, record), gathered);
            back.clear();
            back.extend(
                delta
                    .iter()
                    .zip(&self.gain)
                    .map(|(delta, gain)| delta * gain),
            );
            let mean = mean_of(back.len(), |index| f64::from(back[index]));
            let along = mean_of(back.len(), |index| {
                f64::from(back[index]) * f64::from(normal[index])
            });
            for (back, normal) in back.iter_mut().zip(normal.iter()) {
                let value = f64::from(*back) - mean - f64::from(*normal) * along;
                *back = narrow(value / deviation);
            }
            self.scatter(back, self.place.record_mut(before, record), |to, from| {
                *to += from;
            });
        }
    }

    /// The gradient of one record, gain and bias, into a row.
    pub(crate) fn write_gradient(
        &self,
        record: usize,
        inputs: &Matrix,
        deltas: &Matrix,
        scratch: &mut Scratch,
        row: &mut [f32],
    ) {
        self.normalise(self.place.record(inputs, record), scratch);
        let delta = side_by_side(
            self.place,
            self.place.record(deltas, record),
            &mut scratch.gathered,
        );
        let (gain, bias) = row.split_at_mut(self.gain.len());
        bias.copy_from_slice(delta);
        for ((gain, delta), normal) in gain.iter_mut().zip(delta).zip(&scratch.normal) {
            *gain = delta * normal;
        }
    }

    /// Leaves the record with mean 0 and variance 1 in `scratch.normal`; gives its deviation.
    fn normalise(&self, record: &[f32], scratch: &mut Scratch) -> f64 {
        let values = side_by_side(self.place, record, &mut scratch.gathered);
        let mean = mean_of(values.len(), |index| f64::from(values[index]));
        let variance = mean_of(values.len(), |index| {
            let distance = f64::from(values[index]) - mean;
            distance * distance
        });
        let deviation = (variance + EPSILON).sqrt();
        let normal = |value: &f32| narrow((f64::from(*value) - mean) / deviation);
        scratch.normal.clear();
        scratch.normal.extend(values.iter().map(normal));
        deviation
    }

    fn scatter(&self, values: &[f32], record: &mut [f32], set: impl Fn(&mut f32, f32)) {
        let together = Place {
            spread: false,
            ..self.place
        };
        over_parts((together, values), (self.place, record), |from, to| {
            let pairs = to.iter_mut().zip(from);
            pairs.for_each(|(to, from)| set(to, *from));
        });
    }
}

/// The mean of values, added in 16 running sums, so that its order is the same on every processor.
#[expect(
    clippy::cast_precision_loss,
    reason = "a record has at most 2^26 elements"
)]
fn mean_of(count: usize, value: impl Fn(usize) -> f64) -> f64 {
    let mut sums = [0.0; PAD];
    let whole = count - count % PAD;
    for from in (0..whole).step_by(PAD) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += value(from + lane);
        }
    }
    for (index, sum) in (whole..count).zip(&mut sums) {
        *sum += value(index);
    }
    sums.iter().sum::<f64>() / count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded to the nearest f32"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
