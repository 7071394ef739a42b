//! What a release is, for the accountants.

use crate::quantity::{NoiseMultiplier, QuantityError, SamplingRate, Steps};

/// Which data sets count as neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// One record more or less.
    AddRemove,
    /// One record exchanged for another; roughly twice the epsilon of the same noise.
    ReplaceOne,
    /// One record made to contribute nothing; the same figures as [`Self::AddRemove`].
    ZeroOut,
}

impl Relation {
    /// Sensitivity of a sum of clipped records, in clip norms.
    pub(crate) fn sensitivity(self) -> f64 {
        match self {
            Self::AddRemove | Self::ZeroOut => 1.0,
            Self::ReplaceOne => 2.0,
        }
    }
}

/// What is protected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// One record.
    Record,
}

/// A cap on sampled batches: of those drawn at most so many are taken, at random.
///
/// With a known number of records the accountants count with exactly that, as dp-accounting does with its `dataset_size`. Fewer
/// records may cost more, since each is kept more often when the cap bites; where only a bound on their number is public, they count
/// with the worst of all numbers up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truncation {
    max_batch: u32,
    records: u32,
    is_bound: bool,
}

impl Truncation {
    /// At most `max_batch` of a data set of `records`, public numbers both.
    ///
    /// # Errors
    /// [`QuantityError::Truncation`] if one of them is 0.
    pub fn new(max_batch: u32, records: u32) -> Result<Self, QuantityError> {
        if max_batch == 0 || records == 0 {
            return Err(QuantityError::Truncation);
        }
        Ok(Self {
            max_batch,
            records,
            is_bound: false,
        })
    }

    /// At most `max_batch` of a data set whose size is secret and not above `most_records`.
    ///
    /// # Errors
    /// [`QuantityError::Truncation`] if one of them is 0.
    pub fn of_at_most(max_batch: u32, most_records: u32) -> Result<Self, QuantityError> {
        let of_all = Self::new(max_batch, most_records)?;
        Ok(Self {
            is_bound: true,
            ..of_all
        })
    }

    /// Most records of a batch.
    pub fn max_batch(self) -> u32 {
        self.max_batch
    }

    /// Records of the data set, or the bound on them.
    pub fn records(self) -> u32 {
        self.records
    }

    /// Whether [`Self::records`] is a bound, and the number itself secret.
    pub fn is_bound(self) -> bool {
        self.is_bound
    }
}

/// A Gaussian release of a sum of clipped records, repeated: what a ledger stores and an accountant reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mechanism {
    noise_multiplier: NoiseMultiplier,
    sampling: SamplingRate,
    steps: Steps,
    relation: Relation,
    unit: Unit,
    truncation: Option<Truncation>,
}

impl Mechanism {
    /// `steps` releases, each of a batch drawn at rate `sampling`, with noise of `noise_multiplier` clip norms.
    pub fn new(
        noise_multiplier: NoiseMultiplier,
        sampling: SamplingRate,
        steps: Steps,
        relation: Relation,
        unit: Unit,
    ) -> Self {
        Self {
            noise_multiplier,
            sampling,
            steps,
            relation,
            unit,
            truncation: None,
        }
    }

    /// The same with a cap on its batches.
    #[must_use]
    pub fn truncated(self, truncation: Truncation) -> Self {
        let truncation = Some(truncation);
        Self { truncation, ..self }
    }

    /// The same, repeated so many times.
    #[must_use]
    pub fn repeated(self, steps: Steps) -> Self {
        Self { steps, ..self }
    }

    /// Standard deviation of the noise, in clip norms.
    pub fn noise_multiplier(&self) -> NoiseMultiplier {
        self.noise_multiplier
    }

    /// Probability of a record to take part in a step.
    pub fn sampling(&self) -> SamplingRate {
        self.sampling
    }

    /// Number of releases.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Which data sets count as neighbours.
    pub fn relation(&self) -> Relation {
        self.relation
    }

    /// What is protected as a whole.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The cap on its batches, if they have one.
    pub fn truncation(&self) -> Option<Truncation> {
        self.truncation
    }

    /// Whether each record takes part in each step.
    pub(crate) fn is_full_batch(&self) -> bool {
        let is_uncapped = |cap: Truncation| cap.max_batch >= cap.records;
        self.sampling.is_full_batch() && self.truncation.is_none_or(is_uncapped)
    }
}

/// μ of full-batch releases together: μ² = Σ steps·(sensitivity/σ)².
pub(crate) fn composed_mu<'a>(mechanisms: impl Iterator<Item = &'a Mechanism>) -> f64 {
    let square = |mechanism: &Mechanism| {
        let mu = mechanism.relation.sensitivity() / mechanism.noise_multiplier.value();
        f64::from(mechanism.steps.count()) * mu * mu
    };
    mechanisms.map(square).sum::<f64>().sqrt()
}
