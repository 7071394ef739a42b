//! `fedavg`: each site takes noised steps on its own model; what they moved is clipped, rounded, summed and averaged.
//!
//! McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (AISTATS 2017), algorithm 1, with
//! full-batch DP-SGD (Abadi et al. 2016, algorithm 1) in place of its local steps, the server's momentum of Hsu, Qi and
//! Brown (2019) or an adaptive optimizer, and, if asked for, the proximal term of FedProx. All the noise of a record is its own site's, so that more sites do not make it cheaper.

use consort_aggregation::{Canonical, Quantisation};
use serde::{Deserialize, Serialize};

use super::{Rate, Schedule, ServerOptimizerTerms, first_broken, positive, scaffold};
use crate::job::{JobError, MAX_RECORDS_PER_MEMBER, MAX_ROUNDS};

/// Most local steps of a round: each costs privacy like a round of `dp_fedsgd`, and with [`MAX_ROUNDS`] they stay countable.
pub const MAX_LOCAL_STEPS: u32 = 1_000;

/// Fewest bits of a value: its sign and one more.
pub const MIN_VALUE_BITS: u32 = 2;

/// Most bits of a value: the 24 significant bits of an f32.
pub const MAX_VALUE_BITS: u32 = 24;

/// Least and greatest norm that an update may be clipped to: those of a record's.
const UPDATE_CLIP: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Federated averaging with local DP-SGD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedAvg {
    /// Rounds.
    pub rounds: u32,
    /// K: noised local steps of a round, each over all records of the site.
    pub local_steps: u32,
    /// C: largest L2 norm of one record's contribution to one local step.
    pub clip: f64,
    /// Step size of the local steps.
    pub local_learning_rate: f64,
    /// What a site's noised sum is divided by: a public constant.
    pub local_divisor: f64,
    /// Share of a record's norm that the loss query may take; 0 means that no loss is reported.
    #[serde(default)]
    pub loss_weight: f64,
    /// Most records of one member.
    pub max_records_per_member: u32,
    /// Largest L2 norm of one member's update, local model less global model.
    pub update_clip: f64,
    /// Largest magnitude of one element that is carried; what is beyond is cut. At most, and by default, `update_clip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_range: Option<f64>,
    /// Bits of one member's element, sign included.
    pub value_bits: u32,
    /// Whether updates are rotated before they are rounded.
    #[serde(default)]
    pub rotation: Rotation,
    /// Step size of the server; 1 takes the average as it is.
    pub learning_rate: f64,
    /// Momentum of the server; 0 beside a `server_optimizer`.
    pub momentum: f64,
    /// The server's optimizer, if it is not momentum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_optimizer: Option<ServerOptimizerTerms>,
    /// The server's learning rate over the rounds; the same in all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The local learning rate over the rounds; the same in all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_schedule: Option<Schedule>,
    /// μ of FedProx (Li et al., MLSys 2020, equation 2): how strongly each local step is drawn to the global model; not at all if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proximal: Option<f64>,
    /// SCAFFOLD: each site's steps are corrected by what tells its gradients from those of all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scaffold: bool,
}

/// What is done to an update so that its elements are of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Nothing.
    #[default]
    None,
    /// The round's public signs, then a Walsh-Hadamard transform of each 4096 elements.
    Hadamard,
}

impl FedAvg {
    /// The largest magnitude of one element that is carried.
    pub fn value_range(&self) -> f64 {
        self.value_range.unwrap_or(self.update_clip)
    }

    /// Q = 2^(value_bits − 1) − 1, and whether updates are rotated.
    pub fn quantisation(&self) -> Quantisation {
        let bits = self.value_bits.clamp(MIN_VALUE_BITS, MAX_VALUE_BITS);
        Quantisation {
            quantised: (1 << (bits - 1)) - 1,
            rotated: match self.rotation {
                Rotation::None => false,
                Rotation::Hadamard => true,
            },
        }
    }

    pub(super) fn check(&self) -> Result<(), JobError> {
        first_broken([
            (
                (1..=MAX_ROUNDS).contains(&self.rounds),
                "fedavg.rounds",
                f64::from(self.rounds),
                "1 to 10000",
            ),
            (
                (1..=MAX_LOCAL_STEPS).contains(&self.local_steps),
                "fedavg.local_steps",
                f64::from(self.local_steps),
                "1 to 1000",
            ),
            (positive(self.clip), "fedavg.clip", self.clip, "above 0"),
            (
                positive(self.local_learning_rate),
                "fedavg.local_learning_rate",
                self.local_learning_rate,
                "above 0",
            ),
            (
                self.local_divisor.is_finite() && self.local_divisor >= 1.0,
                "fedavg.local_divisor",
                self.local_divisor,
                "at least 1",
            ),
            (
                (0.0..1.0).contains(&self.loss_weight),
                "fedavg.loss_weight",
                self.loss_weight,
                "at least 0 and below 1",
            ),
            (
                (1..=MAX_RECORDS_PER_MEMBER).contains(&self.max_records_per_member),
                "fedavg.max_records_per_member",
                f64::from(self.max_records_per_member),
                "1 to 4194304",
            ),
        ])?;
        self.check_update()?;
        self.check_options()
    }

    fn check_options(&self) -> Result<(), JobError> {
        if let Some(optimizer) = self.server_optimizer {
            optimizer.check(self.momentum)?;
        }
        if let Some(schedule) = self.schedule {
            schedule.check(Rate::Server, self.rounds)?;
        }
        if let Some(schedule) = self.local_schedule {
            schedule.check(Rate::Local, self.rounds)?;
        }
        if self.scaffold {
            scaffold::check(self)?;
        }
        self.proximal.map_or(Ok(()), |proximal| {
            first_broken([(
                proximal > 0.0 && proximal * self.local_learning_rate <= 1.0,
                "fedavg.proximal",
                proximal,
                "above 0 and at most 1 / local_learning_rate: past it a step overshoots the global model",
            )])
        })
    }

    fn check_update(&self) -> Result<(), JobError> {
        let range = self.value_range();
        first_broken([
            (
                UPDATE_CLIP.contains(&self.update_clip),
                "fedavg.update_clip",
                self.update_clip,
                "1e-9 to 1e9",
            ),
            (
                *UPDATE_CLIP.start() <= range && range <= self.update_clip,
                "fedavg.value_range",
                range,
                "at least 1e-9 and at most update_clip",
            ),
            (
                (MIN_VALUE_BITS..=MAX_VALUE_BITS).contains(&self.value_bits),
                "fedavg.value_bits",
                f64::from(self.value_bits),
                "2 to 24",
            ),
            (
                positive(self.learning_rate),
                "fedavg.learning_rate",
                self.learning_rate,
                "above 0",
            ),
            (
                (0.0..1.0).contains(&self.momentum),
                "fedavg.momentum",
                self.momentum,
                "at least 0 and below 1",
            ),
        ])
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        let rotation = match self.rotation {
            Rotation::None => "none",
            Rotation::Hadamard => "hadamard",
        };
        job.str("fedavg")
            .u64(self.rounds.into())
            .u64(self.local_steps.into())
            .u64(self.clip.to_bits())
            .u64(self.local_learning_rate.to_bits())
            .u64(self.local_divisor.to_bits())
            .u64(self.loss_weight.to_bits())
            .u64(self.max_records_per_member.into())
            .u64(self.update_clip.to_bits())
            .u64(self.value_range().to_bits())
            .u64(self.value_bits.into())
            .str(rotation)
            .u64(self.learning_rate.to_bits())
            .u64(self.momentum.to_bits())
    }
    /// What a job has at the end of its encoding when it asks for it.
    pub(super) fn encode_options(&self, mut job: Canonical) -> Canonical {
        if let Some(optimizer) = self.server_optimizer {
            job = optimizer.encode(job);
        }
        if let Some(schedule) = self.schedule {
            job = schedule.encode(Rate::Server, job);
        }
        if let Some(schedule) = self.local_schedule {
            job = schedule.encode(Rate::Local, job);
        }
        if let Some(proximal) = self.proximal {
            job = job.str("proximal").u64(proximal.to_bits());
        }
        if self.scaffold {
            job = job.str("scaffold");
        }
        job
    }
}
