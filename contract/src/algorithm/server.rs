//! What the server makes of a round's aggregate, where it is not momentum: FedAdam and FedYogi.

use consort_aggregation::Canonical;
use consort_model::{Adaptive, Momentum, ServerOptimizer, StepError};
use serde::{Deserialize, Serialize};

use super::first_broken;
use crate::job::JobError;
use crate::plan::narrow;

/// An adaptive optimizer of the server, with its constants (Reddi et al., "Adaptive Federated Optimization", ICLR 2021).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerOptimizerTerms {
    /// Steps by the root of a decaying mean of squares.
    Fedadam(AdaptiveTerms),
    /// Steps by the root of a mean of squares that forgets slowly.
    Fedyogi(AdaptiveTerms),
}

/// The constants of an adaptive optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveTerms {
    /// Share of the first moment that is kept; it takes the place of momentum.
    pub beta1: f64,
    /// Share of the second moment that is kept.
    pub beta2: f64,
    /// What is added to the root of the second moment; its square is that moment before the first round.
    pub tau: f64,
}

/// The optimizer of a job that names this momentum and perhaps an adaptive one.
pub(crate) fn optimizer(
    momentum: f64,
    terms: Option<ServerOptimizerTerms>,
) -> Result<ServerOptimizer, StepError> {
    let adaptive =
        |a: AdaptiveTerms| Adaptive::new(narrow(a.beta1), narrow(a.beta2), narrow(a.tau));
    match terms {
        None => Momentum::new(narrow(momentum)).map(ServerOptimizer::Momentum),
        Some(ServerOptimizerTerms::Fedadam(terms)) => adaptive(terms).map(ServerOptimizer::FedAdam),
        Some(ServerOptimizerTerms::Fedyogi(terms)) => adaptive(terms).map(ServerOptimizer::FedYogi),
    }
}

impl ServerOptimizerTerms {
    fn constants(&self) -> &AdaptiveTerms {
        match self {
            Self::Fedadam(terms) | Self::Fedyogi(terms) => terms,
        }
    }

    /// Whether the constants are in range, and no momentum stands beside β₁.
    pub(super) fn check(&self, momentum: f64) -> Result<(), JobError> {
        let terms = self.constants();
        first_broken([
            (
                momentum == 0.0,
                "momentum",
                momentum,
                "0 beside a server_optimizer, whose beta1 takes its place",
            ),
            (
                (0.0..1.0).contains(&terms.beta1),
                "server_optimizer.beta1",
                terms.beta1,
                "at least 0 and below 1 (0.9 is common)",
            ),
            (
                (0.0..1.0).contains(&terms.beta2),
                "server_optimizer.beta2",
                terms.beta2,
                "at least 0 and below 1 (0.99 is common)",
            ),
            (
                (1e-9..=1e9).contains(&terms.tau),
                "server_optimizer.tau",
                terms.tau,
                "1e-9 to 1e9 (0.001 is common)",
            ),
        ])
    }

    pub(super) fn encode(&self, job: Canonical) -> Canonical {
        let name = match self {
            Self::Fedadam(_) => "fedadam",
            Self::Fedyogi(_) => "fedyogi",
        };
        let terms = self.constants();
        job.str("server_optimizer")
            .str(name)
            .u64(terms.beta1.to_bits())
            .u64(terms.beta2.to_bits())
            .u64(terms.tau.to_bits())
    }
}
