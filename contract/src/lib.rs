//! What the members agree to before a round runs: who they are (roster), what is to be done (job), what follows from it
//! (plan), and that they said yes (votes). Pure: no clock, disk, network or randomness of its own.

pub mod features;
pub mod identity;
pub mod organisation;
pub mod roster;
pub mod thresholds;

pub use features::{DataSchema, FeatureSpec, MissingValues, SchemaError, TargetSpec};
pub use identity::{IdentityKey, IdentitySecret, Signature};
pub use organisation::{ConsortiumId, JobId, NameError, OrganisationId};
pub use roster::{Roster, RosterDocument, RosterEntry, RosterError, SignedRoster};
pub use thresholds::{Thresholds, ThresholdsError};
