//! Differential privacy of a job: how much noise, what it costs, and what is spent. Pure: no clock, disk, thread or
//! random source; randomness comes in.
//!
//! The way of an update: each record is clipped to an integer grid ([`Grid`], [`RecordSum`]), the member's exact
//! discrete Gaussian noise of the job's [`NoisePlan`] is drawn ([`DiscreteGaussian`]), the [`Ledger`] books the round and
//! gives a [`Debit`], and only then is there a [`PrivateUpdate`], which has no wire form either and goes to be masked. With local
//! steps a [`LocalModel`] moves by noised sums alone, and what it moved becomes a [`PrivateModelUpdate`] against a debit of all
//! of them.
//! Three accountants count what a list of [`Mechanism`]s costs together ([`spend()`]).

mod accountant;
mod calibrate;
mod canary;
mod entry;
mod grid;
mod ledger;
mod local;
mod mechanism;
mod noise;
mod plan;
mod poisson;
mod quantity;
mod source;
mod spend;
mod update;

#[cfg(test)]
mod accountant_tests;
#[cfg(test)]
mod known_answers_tests;

pub use accountant::pld::{PldRefused, discrete_gaussian_epsilon};
pub use calibrate::{
    Accountant, CalibrationError, SampledTarget, least_noise_multiplier,
    least_sampled_noise_multiplier,
};
pub use canary::{Canaries, CanaryAudit, CanaryError, MAX_CANARIES};
pub use entry::{Account, DebitKey, Entry, EntryError};
pub use grid::{ClipNorm, Grid, GridBits, GridError, RecordCap, RecordOutcome, RecordSum};
pub use ledger::{Authorization, Cap, Debit, Ledger, LedgerError, Refused};
pub use local::{LocalModel, LocalRule, LocalRuleError, LocalUpdate, PrivateModelUpdate};
pub use mechanism::{Mechanism, Relation, Truncation, Unit};
pub use noise::{DiscreteGaussian, NoiseError, NoiseVariance, NoiseVector};
pub use plan::{GridChoice, NoisePlan, PlanError, PrivacyTarget, UpdateShape};
pub use poisson::PoissonBatches;
pub use quantity::{Delta, Epsilon, NoiseMultiplier, QuantityError, SamplingRate, Steps};
pub use source::NoiseSource;
pub use spend::{AccountError, Spend, spend};
pub use update::{PrivateUpdate, ReleaseError};
