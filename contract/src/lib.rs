//! What the members agree to before a round runs: who they are (roster), by what evidence is judged (manifest), what is to be
//! done (job), what follows from it (plan), and that they said yes (votes). Pure: no clock, disk, network or randomness of its
//! own.

pub mod algorithm;
mod embedded;
pub mod features;
pub mod identity;
pub mod job;
pub mod job_text;
pub mod manifest;
pub mod organisation;
pub mod plan;
pub mod quantity;
pub mod query;
pub mod reach;
pub mod requirements;
pub mod roster;
pub mod target_fit;
pub mod thresholds;
pub mod vote;

pub use algorithm::{
    AdaptiveTerms, Algorithm, Averaging, CosineDecay, Decay, DpFedSgd, FedAvg, JobKind, Rotation,
    Sampling, Schedule, ServerOptimizerTerms, StepDecay,
};
pub use embedded::EmbeddingError;
pub use features::{DataSchema, FeatureSpec, MissingValues, SchemaError, TargetKind, TargetSpec};
pub use identity::{IdentityKey, IdentitySecret, Signature};
pub use job::{Job, JobDocument, JobError, members_in_roster};
pub use job_text::JobTextError;
pub use manifest::{
    Manifest, ManifestDocument, ManifestError, RevocationListBytes, SignedManifest,
};
pub use organisation::{ConsortiumId, JobId, Label, NameError, OrganisationId};
pub use plan::{Plan, PlanError, ServerStep};
pub use query::{Evaluate, EvaluateWeights, Query, QueryVector, Report, Stats, StatsQuery};
pub use requirements::Requirements;
pub use roster::{COORDINATOR, Roster, RosterDocument, RosterEntry, RosterError, SignedRoster};
pub use thresholds::{MAX_COMPLETE_COHORT, Thresholds, ThresholdsError};
pub use vote::{ApprovedVotes, MAX_REASON_BYTES, Vote, VoteError};
