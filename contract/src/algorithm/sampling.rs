//! Sampled batches: each record takes part in a round by a secret coin of its own member.

use consort_aggregation::Canonical;
use consort_privacy::{PoissonBatches, QuantityError, SamplingRate};
use serde::{Deserialize, Serialize};

use super::first_broken;
use crate::job::JobError;

/// How a round takes its batch at every member.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Probability of a record to take part in a round: above 0 and below 1.
    pub rate: f64,
    /// Most records of one member in a round; of more that were drawn a random choice takes part.
    pub max_batch: u32,
}

impl Sampling {
    pub(super) fn check(&self, most_records: u32) -> Result<(), JobError> {
        first_broken([
            (
                self.rate.is_normal() && self.rate > 0.0 && self.rate < 1.0,
                "dp_fedsgd.sampling.rate",
                self.rate,
                "above 0 and below 1 (leave sampling out for full batches)",
            ),
            (
                (1..=most_records).contains(&self.max_batch),
                "dp_fedsgd.sampling.max_batch",
                self.max_batch.into(),
                "1 to max_records_per_member (the mean batch and six standard deviations cost nothing)",
            ),
        ])
    }

    /// What the accountants count with, from data sets of at most so many records.
    pub(super) fn batches(&self, most_records: u32) -> Result<PoissonBatches, QuantityError> {
        PoissonBatches::new(SamplingRate::new(self.rate)?, self.max_batch, most_records)
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        job.str("sampling")
            .u64(self.rate.to_bits())
            .u64(self.max_batch.into())
    }
}
