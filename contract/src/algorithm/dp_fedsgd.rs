//! `dp_fedsgd`: one clipped-gradient sum per round over full or sampled batches, noise shared by the members, an optimizer at the server.

use consort_aggregation::Canonical;
use serde::{Deserialize, Serialize};

use super::{Rate, Sampling, Schedule, ServerOptimizerTerms, first_broken, positive};
use crate::job::{JobError, MAX_RECORDS_PER_MEMBER, MAX_ROUNDS};

/// One clipped-gradient sum per round over full or sampled batches, noise shared by the members, an optimizer at the server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpFedSgd {
    /// Rounds.
    pub rounds: u32,
    /// C: largest L2 norm of one record's contribution.
    pub clip: f64,
    /// Step size of the server.
    pub learning_rate: f64,
    /// Momentum of the server; 0 beside a `server_optimizer`.
    pub momentum: f64,
    /// What the noised sum is divided by: a public constant.
    pub divisor: f64,
    /// Share of a record's norm that the loss query may take; 0 means that no loss is reported.
    #[serde(default)]
    pub loss_weight: f64,
    /// Most records of one member.
    pub max_records_per_member: u32,
    /// The server's optimizer, if it is not momentum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_optimizer: Option<ServerOptimizerTerms>,
    /// The server's learning rate over the rounds; the same in all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How a round takes its batch; all records if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

impl DpFedSgd {
    pub(super) fn check(&self) -> Result<(), JobError> {
        first_broken([
            (
                (1..=MAX_ROUNDS).contains(&self.rounds),
                "dp_fedsgd.rounds",
                f64::from(self.rounds),
                "1 to 10000",
            ),
            (positive(self.clip), "dp_fedsgd.clip", self.clip, "above 0"),
            (
                positive(self.learning_rate),
                "dp_fedsgd.learning_rate",
                self.learning_rate,
                "above 0",
            ),
            (
                (0.0..1.0).contains(&self.momentum),
                "dp_fedsgd.momentum",
                self.momentum,
                "at least 0 and below 1",
            ),
            (
                self.divisor.is_finite() && self.divisor >= 1.0,
                "dp_fedsgd.divisor",
                self.divisor,
                "at least 1",
            ),
            (
                (0.0..1.0).contains(&self.loss_weight),
                "dp_fedsgd.loss_weight",
                self.loss_weight,
                "at least 0 and below 1",
            ),
            (
                (1..=MAX_RECORDS_PER_MEMBER).contains(&self.max_records_per_member),
                "dp_fedsgd.max_records_per_member",
                f64::from(self.max_records_per_member),
                "1 to 4194304",
            ),
        ])?;
        if let Some(optimizer) = self.server_optimizer {
            optimizer.check(self.momentum)?;
        }
        if let Some(sampling) = self.sampling {
            sampling.check(self.max_records_per_member)?;
        }
        self.schedule
            .map_or(Ok(()), |schedule| schedule.check(Rate::Server, self.rounds))
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        job.u64(self.rounds.into())
            .u64(self.clip.to_bits())
            .u64(self.learning_rate.to_bits())
            .u64(self.momentum.to_bits())
            .u64(self.divisor.to_bits())
            .u64(self.loss_weight.to_bits())
            .u64(self.max_records_per_member.into())
    }
    /// What a job has at the end of its encoding when it asks for it.
    pub(super) fn encode_options(&self, mut job: Canonical) -> Canonical {
        if let Some(optimizer) = self.server_optimizer {
            job = optimizer.encode(job);
        }
        if let Some(schedule) = self.schedule {
            job = schedule.encode(Rate::Server, job);
        }
        if let Some(sampling) = self.sampling {
            job = sampling.encode(job);
        }
        job
    }
}
