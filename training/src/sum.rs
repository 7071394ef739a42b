//! The clipped sum of a round: each record's gradient and loss, clipped together, added on the integer grid.

use consort_model::{ModelSpec, Parameters};
use consort_privacy::{GridError, RecordCap, RecordSum};

use crate::contribution::Contribution;
use crate::network::{Network, Trace};
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
/// The gradient of a record by a dense layer is never written down: its length follows from what entered the layer and what flowed back
/// (Goodfellow 2015), and the sum is a product of matrices whose every term is rounded to the grid (decision 0017). Those of other layers are, for a few records at a time (decision 0024).
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
    /// One for each trained stage.
    contributions: Vec<Contribution<'n>>,
    records: u32,
    clipped: usize,
    zeroed: usize,
}

impl<'n> Part<'n> {
    fn new(network: &'n Network, clipping: &'n Clipping, elements: usize) -> Self {
        Self {
            network,
            clipping,
            bound: clipping.longest_gradient(elements - 1),
            total: vec![0; elements],
            contributions: Contribution::of(network),
            records: 0,
            clipped: 0,
            zeroed: 0,
        }
    }

    fn add_chunk(&mut self, chunk: &Batch<'_>, trace: &mut Trace) {
        self.network.forward(chunk, trace);
        self.network.judge(chunk, trace);
        self.network.backward(trace);
        self.network.write_gradients(trace);
        for contribution in &mut self.contributions {
            contribution.measure(trace);
        }
        let unscaled = self.lengths(chunk.records());
        let factors = self.factors(chunk, &trace.losses, &unscaled);
        for contribution in &mut self.contributions {
            contribution.scale(trace, &factors);
        }
        let scaled = self.lengths(chunk.records());
        for (record, (factor, length)) in factors.iter().zip(scaled).enumerate() {
            // What the promise rests on: the vectors as they will be added, whatever came before.
            if *factor > 0.0 && length <= self.bound {
                let loss = f64::from(trace.losses[record]);
                *self.total.last_mut().expect("a sum has a loss coordinate") +=
                    self.clipping.loss_units(loss, self.network.loss_cap());
                continue;
            }
            self.zeroed += 1;
            let all = self.contributions.iter_mut();
            all.for_each(|contribution| contribution.forget(trace, record));
        }
        let mut total = self.total.as_mut_slice();
        for contribution in &mut self.contributions {
            let (part, rest) = total.split_at_mut(contribution.elements());
            contribution.add(trace, part);
            total = rest;
        }
        self.records += u32::try_from(chunk.records()).expect("a chunk is small");
    }

    /// The L2 norm of each record's gradient, from the squares of all its parts.
    fn lengths(&self, records: usize) -> Vec<f64> {
        let square = |record: usize| -> f64 {
            let parts = self.contributions.iter();
            parts.map(|part| part.square(record)).sum()
        };
        (0..records).map(|record| square(record).sqrt()).collect()
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

    /// Completes the total.
    fn finish(mut self) -> Self {
        let mut total = self.total.as_mut_slice();
        for contribution in &mut self.contributions {
            let (part, rest) = total.split_at_mut(contribution.elements());
            contribution.finish(part);
            total = rest;
        }
        self
    }

    /// Adds what another thread added up.
    fn take_in(&mut self, mut other: Self) {
        let (mut total, mut more) = (self.total.as_mut_slice(), other.total.as_slice());
        for contribution in &mut other.contributions {
            let (part, rest) = total.split_at_mut(contribution.elements());
            let (other_part, after) = more.split_at(contribution.elements());
            contribution.finish_into(part, other_part);
            (total, more) = (rest, after);
        }
        let pairs = total.iter_mut().zip(more);
        pairs.for_each(|(loss, more)| *loss += more);
        self.records += other.records;
        self.clipped += other.clipped;
        self.zeroed += other.zeroed;
    }
}

#[cfg(test)]
mod tests;
