//! The clipped sum of a round: each record's gradient and loss, clipped together, added on the integer grid.

use std::num::NonZeroUsize;
use std::{panic, thread};

use consort_model::{ModelSpec, Parameters};
use consort_privacy::{GridError, RecordCap, RecordOutcome, RecordSum};

use crate::loss::{cross_entropy, logit_delta};
use crate::network::{DenseGradient, Network, to_host};
use crate::{Batch, Clipping, TrainingError};

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
/// One row of [`sum_elements`] floats is in memory per thread, never a gradient per record, so that memory does not
/// grow with the batch. Records are spread over the machine's cores; as the sum is one of integers, the number of
/// threads changes no bit of it.
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
    let empty = || ClippedSum {
        sum: RecordSum::new(clipping.grid(), cap, sum_elements(spec)),
        clipped: 0,
        zeroed: 0,
    };
    let work = |chunks: &[Batch<'_>]| {
        let mut part = empty();
        let mut row = vec![0.0; sum_elements(spec)];
        for chunk in chunks {
            add_chunk(&network, chunk, clipping, &mut row, &mut part)?;
        }
        Ok(part)
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if cores == 1 || chunks.len() < 2 {
        return work(&chunks);
    }
    let share = chunks.len().div_ceil(cores);
    let parts: Vec<_> = thread::scope(|scope| {
        let spawn = |chunks| scope.spawn(move || work(chunks));
        let threads: Vec<_> = chunks.chunks(share).map(spawn).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut total = empty();
    for part in parts {
        total.merge(&part?)?;
    }
    Ok(total)
}

impl ClippedSum {
    fn merge(&mut self, part: &Self) -> Result<(), TrainingError> {
        self.sum.merge(&part.sum)?;
        self.clipped += part.clipped;
        self.zeroed += part.zeroed;
        Ok(())
    }
}

fn add_chunk(
    network: &Network,
    chunk: &Batch<'_>,
    clipping: &Clipping,
    row: &mut [f32],
    part: &mut ClippedSum,
) -> Result<(), TrainingError> {
    let trace = network.forward(chunk);
    let logits = trace.logits()?;
    let pairs = || logits.iter().zip(chunk.labels());
    let deltas = pairs().map(|(z, y)| logit_delta(*z, *y)).collect();
    let losses: Vec<_> = pairs()
        .map(|(z, y)| f64::from(cross_entropy(*z, *y)))
        .collect();
    let layers = network
        .backward(trace, deltas)
        .into_iter()
        .map(Factors::read)
        .collect::<Result<Vec<_>, _>>()?;
    for (record, loss) in losses.into_iter().enumerate() {
        let length = layers
            .iter()
            .map(|layer| layer.square(record))
            .sum::<f64>()
            .sqrt();
        let clipped = length > clipping.gradient_norm();
        // Activations can turn a damaged feature into an ordinary number, so the features are asked themselves.
        let sound = chunk.is_finite(record) && length.is_finite() && loss.is_finite();
        if sound {
            let scale = if clipped {
                clipping.gradient_norm() / length
            } else {
                1.0
            };
            let (gradient, last) = row.split_at_mut(row.len() - 1);
            write_gradient(&layers, record, narrow(scale), gradient);
            last[0] = narrow(clipping.loss_coordinate(loss));
        } else {
            row.fill(f32::NAN);
        }
        match part.sum.add_record(row)? {
            RecordOutcome::Zeroed => part.zeroed += 1,
            RecordOutcome::Kept | RecordOutcome::Clipped => part.clipped += usize::from(clipped),
        }
    }
    Ok(())
}

/// The two factors of a dense layer's gradients on the host, for each record of a chunk.
struct Factors {
    /// [records, inputs], row-major.
    inputs: Vec<f32>,
    /// [records, outputs], row-major.
    deltas: Vec<f32>,
    /// [inputs, outputs].
    shape: [usize; 2],
}

impl Factors {
    fn read(gradient: DenseGradient) -> Result<Self, TrainingError> {
        let [_, inputs] = gradient.inputs.dims();
        let [_, outputs] = gradient.deltas.dims();
        Ok(Self {
            inputs: to_host(gradient.inputs)?,
            deltas: to_host(gradient.deltas)?,
            shape: [inputs, outputs],
        })
    }

    /// The layer's inputs and deltas of one record.
    fn of(&self, record: usize) -> (&[f32], &[f32]) {
        let [inputs, outputs] = self.shape;
        (
            &self.inputs[record * inputs..][..inputs],
            &self.deltas[record * outputs..][..outputs],
        )
    }

    /// Squared L2 norm of one record's gradient: ‖a ⊗ δ‖² + ‖δ‖² = (‖a‖² + 1)·‖δ‖² (Goodfellow 2015).
    fn square(&self, record: usize) -> f64 {
        let (inputs, deltas) = self.of(record);
        (square(inputs) + 1.0) * square(deltas)
    }
}

/// Writes a record's scaled gradient in the order of the layout: for each dense layer the weight [inputs, outputs]
/// row-major, then the bias `[outputs]`.
fn write_gradient(layers: &[Factors], record: usize, scale: f32, mut row: &mut [f32]) {
    for layer in layers {
        let (inputs, deltas) = layer.of(record);
        // The bias is a weight whose input is 1.
        for input in inputs.iter().chain(&[1.0]) {
            let (target, rest) = row.split_at_mut(deltas.len());
            for (target, delta) in target.iter_mut().zip(deltas) {
                *target = input * (delta * scale);
            }
            row = rest;
        }
    }
}

fn square(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|value| f64::from(*value) * f64::from(*value))
        .sum()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scales and coordinates are rounded to f32; the grid bounds what comes of it exactly"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
