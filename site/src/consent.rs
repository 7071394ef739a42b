//! What an organisation agrees to, as its file says.

use consort_contract::{JobKind, Label};
use consort_daemon::config::{self, ConfigError};
use consort_privacy::{Cap, Delta, Epsilon, QuantityError};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `consent.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentPolicy {
    /// Purposes a job may have.
    pub purposes: Vec<Label>,
    /// Data sets a job may be trained on.
    pub datasets: Vec<Label>,
    /// What a job may do: `training`, `stats`, `evaluate`. A file that does not say it agreed to training alone.
    #[serde(default = "training_alone")]
    pub kinds: Vec<JobKind>,
    /// Largest epsilon of one job, counted at [`Self::delta`].
    pub max_epsilon_per_job: f64,
    /// Largest epsilon over all jobs on one data set, for ever, counted at [`Self::delta`].
    pub max_epsilon_lifetime: f64,
    /// The delta at which both are counted.
    pub delta: f64,
    /// Fewest members whose sum may be opened: max(t, n_min, c + 2) of a job must reach it.
    pub min_cohort: u32,
    /// Largest model.
    pub max_parameters: u64,
    /// Vote without asking a person.
    pub automatic: bool,
}

impl ConsentPolicy {
    /// Reads and checks a policy from the text of its file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the field.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let policy: Self = config::parse_toml(path, text)?;
        policy
            .check()
            .map_err(|problem| ConfigError::invalid(path, problem))?;
        Ok(policy)
    }

    /// Checks the file's numbers.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        self.job_cap()
            .map_err(|e| format!("max_epsilon_per_job, delta: {e}"))?;
        self.lifetime_cap()
            .map_err(|e| format!("max_epsilon_lifetime, delta: {e}"))?;
        if !self.automatic {
            return Err(
                "automatic = false needs a person's approval, which this version cannot take; set it to true, \
                 or list no purpose to refuse every job"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The cap over the life of a data set, which the ledger enforces.
    ///
    /// # Errors
    /// [`QuantityError`] for a number out of its range.
    pub fn lifetime_cap(&self) -> Result<Cap, QuantityError> {
        self.cap(self.max_epsilon_lifetime)
    }

    /// The cap of one job.
    ///
    /// # Errors
    /// [`QuantityError`] for a number out of its range.
    pub fn job_cap(&self) -> Result<Cap, QuantityError> {
        self.cap(self.max_epsilon_per_job)
    }

    fn cap(&self, epsilon: f64) -> Result<Cap, QuantityError> {
        Ok(Cap {
            epsilon: Epsilon::new(epsilon)?,
            delta: Delta::new(self.delta)?,
        })
    }
}

fn training_alone() -> Vec<JobKind> {
    vec![JobKind::Training]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../participant/consent.sample.toml");

    fn sample() -> ConsentPolicy {
        ConsentPolicy::parse(Path::new("consent.toml"), SAMPLE).unwrap()
    }

    #[test]
    fn the_sample_consent_file_is_read_and_an_unknown_field_is_refused() {
        sample();
        let unknown = format!("{SAMPLE}\ncolour = 1\n");
        let error = ConsentPolicy::parse(Path::new("consent.toml"), &unknown).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn a_consent_file_that_names_no_kind_of_job_allows_training_alone() {
        let line = SAMPLE.lines().find(|line| line.starts_with("kinds"));
        let silent = SAMPLE.replace(line.unwrap(), "");
        let policy = ConsentPolicy::parse(Path::new("consent.toml"), &silent).unwrap();
        assert_eq!(policy.kinds, [JobKind::Training]);
    }

    #[test]
    fn a_policy_that_cannot_be_honoured_is_refused_at_the_start() {
        for policy in [
            ConsentPolicy {
                automatic: false,
                ..sample()
            },
            ConsentPolicy {
                delta: 0.0,
                ..sample()
            },
            ConsentPolicy {
                max_epsilon_per_job: -1.0,
                ..sample()
            },
            ConsentPolicy {
                max_epsilon_lifetime: f64::NAN,
                ..sample()
            },
        ] {
            assert!(policy.check().is_err(), "{policy:?}");
        }
    }
}
