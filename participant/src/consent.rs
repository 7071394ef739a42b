//! What this organisation's own policy, read from its own file, says to a job: it decides its vote.

use consort_contract::{Job, JobKind, Label, OrganisationId, Plan};
use consort_privacy::{AccountError, Epsilon, QuantityError, Refused, Steps, spend};
pub use consort_site::consent::ConsentPolicy;
use consort_site::premises::Unmet;

use crate::data::DataError;
use crate::ledger::PrivacyLedger;

/// Whether an organisation takes part in a job, as far as its policy and its ledger are concerned.
///
/// # Errors
/// [`ConsentRefused`] names the first rule that says no.
pub fn decide(
    policy: &ConsentPolicy,
    organisation: &OrganisationId,
    job: &Job,
    plan: &Plan,
    ledger: &PrivacyLedger,
) -> Result<(), ConsentRefused> {
    let document = job.document();
    if !document.members.contains(organisation) {
        return Err(ConsentRefused::NotAMember);
    }
    if !policy.purposes.contains(&document.purpose) {
        return Err(ConsentRefused::Purpose(document.purpose.clone()));
    }
    if !policy.datasets.contains(&document.dataset) {
        return Err(ConsentRefused::Dataset(document.dataset.clone()));
    }
    let kind = job.algorithm().kind();
    if !policy.kinds.contains(&kind) {
        return Err(ConsentRefused::Kind(kind));
    }
    let opened = job.thresholds().fewest_survivors();
    if opened < policy.min_cohort {
        return Err(ConsentRefused::Cohort {
            opened,
            least: policy.min_cohort,
        });
    }
    let parameters = job.model().parameter_count() as u64;
    if parameters > policy.max_parameters {
        return Err(ConsentRefused::Parameters {
            parameters,
            most: policy.max_parameters,
        });
    }
    let rounds = Steps::new(job.algorithm().rounds())?;
    let whole_job = plan.noise().mechanism_of(rounds)?;
    let cap = policy.job_cap()?;
    let cost = spend(&[whole_job], cap.delta)?.enforced();
    if cost > cap.epsilon {
        return Err(ConsentRefused::EpsilonPerJob {
            asked: cost,
            most: cap.epsilon,
        });
    }
    ledger.what_if(&document.dataset, &whole_job)?;
    Ok(())
}

/// Why this organisation votes no. The text goes to the other members and to the log; it holds no value of a record.
#[derive(Debug, thiserror::Error)]
pub enum ConsentRefused {
    /// The job does not name this organisation.
    #[error("this organisation is not a member of the job")]
    NotAMember,
    /// The purpose is not allowed.
    #[error("the purpose {0} is not among those this organisation allows")]
    Purpose(Label),
    /// The data set is not allowed.
    #[error("the data set {0} is not among those this organisation offers")]
    Dataset(Label),
    /// The kind of job is not allowed.
    #[error("a {0} job is not among the kinds this organisation allows")]
    Kind(JobKind),
    /// The data set is allowed and not configured.
    #[error("the data set {0} has no file in this organisation's configuration")]
    NoFile(Label),
    /// The data set lies encrypted and its key is not held.
    #[error(
        "the data set {0} lies encrypted and this organisation's broker has not released its key"
    )]
    NoKey(Label),
    /// The job wants its data encrypted and the data set lies plain.
    #[error("the job asks for encrypted data and the data set {0} lies plain here")]
    NotEncrypted(Label),
    /// Too few members.
    #[error(
        "a sum of {opened} members could be opened and this organisation asks for at least {least}"
    )]
    Cohort {
        /// Fewest members whose sum may be opened.
        opened: u32,
        /// What the policy asks for.
        least: u32,
    },
    /// The model is too large.
    #[error("the model has {parameters} parameters and this organisation allows {most}")]
    Parameters {
        /// Of the job's model.
        parameters: u64,
        /// What the policy allows.
        most: u64,
    },
    /// The job costs too much.
    #[error("the job costs epsilon {asked} and this organisation allows {most} for one job")]
    EpsilonPerJob {
        /// What the job costs at the policy's delta.
        asked: Epsilon,
        /// What the policy allows.
        most: Epsilon,
    },
    /// The ledger of the data set does not cover the job.
    #[error(transparent)]
    Ledger(#[from] Refused),
    /// The job cannot be accounted.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A number of the job or the policy is out of range.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// This machine does not have what the job asks for.
    #[error(transparent)]
    Unmet(#[from] Unmet),
    /// The data does not fit the job.
    #[error("{0}")]
    Data(#[from] DataError),
}

impl ConsentRefused {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAMember => "consent_not_a_member",
            Self::Purpose(_) => "consent_purpose",
            Self::Dataset(_) => "consent_dataset",
            Self::Kind(_) => "consent_kind",
            Self::NoFile(_) => "consent_no_file",
            Self::NoKey(_) => "consent_no_key",
            Self::NotEncrypted(_) => "consent_not_encrypted",
            Self::Cohort { .. } => "consent_cohort",
            Self::Parameters { .. } => "consent_parameters",
            Self::EpsilonPerJob { .. } => "consent_epsilon_per_job",
            Self::Ledger(error) => error.code(),
            Self::Account(error) => error.code(),
            Self::Quantity(error) => error.code(),
            Self::Unmet(_) => "consent_requirements",
            Self::Data(error) => error.code(),
        }
    }
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
