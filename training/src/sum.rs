//! The clipped sum of a round: each record's gradient and loss, clipped together, added on the integer grid.

use consort_model::{ModelSpec, Parameters};
use consort_privacy::{GridError, RecordCap, RecordSum};

use crate::kernel::{RowMeasure, add_nearest, measure_rows, scale_rows_to_odd};
use crate::matrix::Matrix;
use crate::network::{Network, Trace};
use crate::rounded::RoundedProducts;
use crate::threads::over_chunks;
use crate::{Batch, Clipping, TrainingError};

/// What a gradient is shortened by below the bound that it is held to, so that what becomes of its factor never carries it past: rounded to
/// f32 it grows by at most 2^-24 of itself, and by 2^-23 as its last bit is set.
const SHORTENING: f64 = 1.0 - 1.0 / 4_194_304.0;

/// A site's contribution to a round before noise, with what became of its records.
///
/// # Security
/// All of it is raw data. The sum leaves only as a private update; the counts are for the site's own eyes.
#[derive(Debug)]
pub struct ClippedSum {
    /// Σ over records of (gradient, loss coordinate) on the grid, [`sum_elements`] coordinates.
    pub sum: RecordSum,
    /// Records whose gradient was longer than its bound and was scaled down.
    pub clipped: usize,
    /// Records that were not finite and count as zero.
    pub zeroed: usize,
}

/// Coordinates of a model's sum: its parameters in the order of the layout, then the loss coordinate, which is there
/// even if no loss is asked.
pub fn sum_elements(spec: &ModelSpec) -> usize {
    spec.parameter_count() + 1
}

/// Sums the clipped vectors of all records of a batch (Abadi et al. 2016, algorithm 1, without its noise). An empty
/// batch gives zeros.
///
/// The gradient of a record is never written down: its length follows from what entered each layer and what flowed back
/// (Goodfellow 2015), and the layers' sums are products of matrices whose every term is rounded to the grid (decision 0017).
/// Memory does not grow with the batch. Records are spread over the machine's cores; as the sum is one of integers, neither the
/// number of threads nor the size of chunks changes a bit of it.
///
/// # Errors
/// [`TrainingError`] if parameters or records do not fit the model, or the records pass the cap.
pub fn clipped_sum(
    spec: &ModelSpec,
    parameters: &Parameters,
    batch: &Batch<'_>,
    clipping: &Clipping,
    cap: RecordCap,
) -> Result<ClippedSum, TrainingError> {
    if batch.records() > cap.records() as usize {
        return Err(TrainingError::Grid(GridError::TooManyRecords {
            cap: cap.records(),
        }));
    }
    let network = Network::new(spec, parameters)?;
    let chunks: Vec<_> = network.chunks(batch)?.collect();
    let parts = over_chunks(&chunks, |chunks| {
        let mut part = Part::new(&network, clipping, sum_elements(spec));
        let mut trace = Trace::default();
        for chunk in chunks {
            part.add_chunk(chunk, &mut trace);
        }
        part
    });
    let mut parts = parts.into_iter();
    let mut whole = parts.next().expect("at least one thread works").finish();
    parts.for_each(|part| whole.take_in(part));
    Ok(ClippedSum {
        sum: RecordSum::of_rounded(clipping.grid(), cap, whole.total, whole.records)?,
        clipped: whole.clipped,
        zeroed: whole.zeroed,
    })
}

/// What one thread adds up.
struct Part<'n> {
    network: &'n Network,
    clipping: &'n Clipping,
    /// Longest gradient that is added, in grid units and before it is rounded to integers.
    bound: f64,
    total: Vec<i64>,
    /// One for each dense layer.
    weights: Vec<RoundedProducts>,
    records: u32,
    clipped: usize,
    zeroed: usize,
}

impl<'n> Part<'n> {
    fn new(network: &'n Network, clipping: &'n Clipping, elements: usize) -> Self {
        let weights = network.trained().map(|stage| {
            let (inputs, outputs) = network.shape(stage);
            RoundedProducts::new(inputs, outputs)
        });
        Self {
            network,
            clipping,
            bound: clipping.longest_gradient(elements - 1),
            total: vec![0; elements],
            weights: weights.collect(),
            records: 0,
            clipped: 0,
            zeroed: 0,
        }
    }

    fn add_chunk(&mut self, chunk: &Batch<'_>, trace: &mut Trace) {
        let network = self.network;
        network.forward(chunk, trace);
        network.judge(chunk, trace);
        network.backward(trace);
        let measured = |values: &[Matrix], first: usize| -> Vec<Vec<RowMeasure>> {
            let stages = network.trained();
            stages
                .map(|stage| measure_rows(&values[stage + first]))
                .collect()
        };
        let mut inputs = measured(&trace.values, 0);
        let unscaled = lengths(&inputs, &measured(&trace.deltas, 1));
        let factors = self.factors(chunk, &trace.losses, &unscaled);
        for stage in network.trained() {
            scale_rows_to_odd(&mut trace.deltas[stage + 1], &factors);
        }
        let mut deltas = measured(&trace.deltas, 1);
        let scaled = lengths(&inputs, &deltas);
        for (record, (factor, length)) in factors.iter().zip(scaled).enumerate() {
            // What the promise rests on: the vectors as they will be added, whatever came before.
            if *factor > 0.0 && length <= self.bound {
                let loss = f64::from(trace.losses[record]);
                *self.total.last_mut().expect("a sum has a loss coordinate") +=
                    self.clipping.loss_units(loss, self.network.loss_cap());
                continue;
            }
            self.zeroed += 1;
            trace.forget(record);
            let measures = inputs.iter_mut().chain(&mut deltas);
            measures.for_each(|layer| layer[record] = RowMeasure::default());
        }
        self.add_products(trace, &inputs, &deltas);
        self.records += u32::try_from(chunk.records()).expect("a chunk is small");
    }

    /// What each record's gradient is multiplied by: from its own units to those of the grid, and down to the bound. 0 if the record is
    /// to count as zero.
    fn factors(&mut self, chunk: &Batch<'_>, losses: &[f32], lengths: &[f64]) -> Vec<f64> {
        let unit = self.clipping.grid().unit();
        let most = self.bound * SHORTENING * unit;
        let judged = lengths.iter().zip(losses).enumerate();
        let factor = |(record, (length, loss)): (usize, (&f64, &f32))| {
            // Activations can turn a damaged feature into an ordinary number, so the features are asked themselves.
            let sound = chunk.is_finite(record) && length.is_finite() && loss.is_finite();
            let clipped = sound && *length > most;
            self.clipped += usize::from(clipped);
            match (sound, clipped) {
                (false, _) => 0.0,
                (true, false) => unit.recip(),
                (true, true) => most / length / unit,
            }
        };
        judged.map(factor).collect()
    }

    /// Adds the records' rounded gradients, layer by layer in the order of the layout.
    fn add_products(
        &mut self,
        trace: &Trace,
        inputs: &[Vec<RowMeasure>],
        deltas: &[Vec<RowMeasure>],
    ) {
        let measures = inputs.iter().zip(deltas);
        let layers = self.network.trained().zip(&mut self.weights).zip(measures);
        let mut total = self.total.as_mut_slice();
        for ((stage, products), (inputs, deltas)) in layers {
            let (weight, bias, rest) = parts_of(total, self.network.shape(stage));
            total = rest;
            let measures = inputs.iter().copied().zip(deltas.iter().copied());
            let (values, deltas) = (&trace.values[stage], &trace.deltas[stage + 1]);
            products.add(values, deltas, measures, weight);
            add_nearest(bias, deltas);
        }
    }

    /// Completes the total.
    fn finish(mut self) -> Self {
        let mut total = self.total.as_mut_slice();
        for (stage, products) in self.network.trained().zip(&mut self.weights) {
            let (weight, _, rest) = parts_of(total, self.network.shape(stage));
            products.finish(weight);
            total = rest;
        }
        self
    }

    /// Adds what another thread added up. What its weights did not need of its total has never been touched, and is not now: with many
    /// parameters and few records that is nearly all of it.
    fn take_in(&mut self, mut other: Self) {
        let (mut total, mut more) = (self.total.as_mut_slice(), other.total.as_slice());
        for (stage, products) in other.network.trained().zip(&mut other.weights) {
            let shape = other.network.shape(stage);
            let (weight, bias, rest) = parts_of(total, shape);
            let (other_weight, after) = more.split_at(weight.len());
            let (other_bias, after) = after.split_at(bias.len());
            (total, more) = (rest, after);
            if products.has_spilled() {
                add(weight, other_weight);
            }
            products.finish(weight);
            add(bias, other_bias);
        }
        add(total, more);
        self.records += other.records;
        self.clipped += other.clipped;
        self.zeroed += other.zeroed;
    }
}

/// A dense layer's weight and bias at the front of a flat vector, and the rest.
fn parts_of<T>(
    flat: &mut [T],
    (inputs, outputs): (usize, usize),
) -> (&mut [T], &mut [T], &mut [T]) {
    let (weight, rest) = flat.split_at_mut(inputs * outputs);
    let (bias, rest) = rest.split_at_mut(outputs);
    (weight, bias, rest)
}

fn add(sums: &mut [i64], more: &[i64]) {
    sums.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
}

/// The L2 norm of each record's gradient, from the squares of both factors of each layer.
fn lengths(inputs: &[Vec<RowMeasure>], deltas: &[Vec<RowMeasure>]) -> Vec<f64> {
    let records = inputs.first().map_or(0, Vec::len);
    let square = |record: usize| -> f64 {
        let layers = inputs.iter().zip(deltas);
        // ‖a ⊗ δ‖² + ‖δ‖²: the bias is a weight whose input is 1.
        layers
            .map(|(inputs, deltas)| (inputs[record].square + 1.0) * deltas[record].square)
            .sum()
    };
    (0..records).map(|record| square(record).sqrt()).collect()
}

#[cfg(test)]
mod tests;
