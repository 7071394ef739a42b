//! The report of a query job: what was asked, the estimates, their standard errors, and what they cost.

use serde::{Deserialize, Serialize};

use super::answers::Answer;
use super::estimate::{Estimate, Noised};
use crate::job::Job;
use crate::organisation::JobId;
use crate::plan::Plan;

/// The version of this form.
pub const REPORT_VERSION: u32 = 1;

/// What a query job releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// The job that asked.
    pub job: String,
    /// Hash of its contract, hexadecimal.
    pub contract: String,
    /// What it is for.
    pub purpose: String,
    /// The data set at every member.
    pub dataset: String,
    /// Members whose records are in it.
    pub members: u32,
    /// Hash of the evaluated parameters, hexadecimal; nothing in a stats job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
    /// What it cost each record's privacy, against the coordinator with c_noise colluders.
    pub epsilon: f64,
    /// Delta.
    pub delta: f64,
    /// Standard deviation of the noise in the sum, in units of the largest influence of a record.
    pub noise: f64,
    /// What the standard errors are of: the noise alone. The records are not taken as a sample of others.
    pub standard_errors: NoiseAlone,
    /// How many records there are.
    pub records: Estimate,
    /// The answers.
    pub answers: Answer,
}

/// What a report's standard errors are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseAlone {
    /// The noise, and nothing else.
    OfTheNoiseAlone,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The job trains.
    #[error("the job trains a model; it has no report")]
    NoQuery,
    /// Not a report.
    #[error("the report cannot be read: {0}")]
    Form(String),
    /// Another number of sums than coordinates.
    #[error("the sum has {found} elements and the query {expected}")]
    Length {
        /// Coordinates of the query.
        expected: usize,
        /// Elements of the sum.
        found: usize,
    },
}

impl ReportError {
    /// Stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoQuery => "report_no_query",
            Self::Form(_) => "report_form",
            Self::Length { .. } => "report_wrong_length",
        }
    }
}

impl Report {
    /// Reads a report's file. That it is the one that was released, its manifest says.
    ///
    /// # Errors
    /// [`ReportError::Form`].
    pub fn from_json(text: &[u8]) -> Result<Self, ReportError> {
        serde_json::from_slice(text).map_err(|error| ReportError::Form(error.to_string()))
    }

    /// What the noised sum over this many survivors says.
    ///
    /// # Errors
    /// [`ReportError`] when the sum is not that of the job's query.
    pub fn of(
        id: &JobId,
        job: &Job,
        plan: &Plan,
        sum: &[i64],
        survivors: u32,
    ) -> Result<Self, ReportError> {
        let query = job.query().ok_or(ReportError::NoQuery)?;
        if sum.len() != query.elements() {
            return Err(ReportError::Length {
                expected: query.elements(),
                found: sum.len(),
            });
        }
        let noise = plan.noise();
        let unit = noise.grid().unit();
        // Every survivor's noise is in the sum, also of those that are not counted on.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a standard deviation needs no 53 bits"
        )]
        let variance = f64::from(survivors) * noise.member_variance().sigma_squared() as f64;
        let deviation = variance.sqrt() * unit;
        let (records, answers) = query.answer(&Noised::new(sum, unit, deviation));
        let document = job.document();
        Ok(Self {
            version: REPORT_VERSION,
            job: id.to_string(),
            contract: plan.contract_hash(job).to_string(),
            purpose: document.purpose.to_string(),
            dataset: document.dataset.to_string(),
            members: survivors,
            parameters: job
                .stated_parameters()
                .map(|parameters| parameters.to_string()),
            epsilon: noise.spend().enforced().value(),
            delta: document.privacy.delta,
            noise: deviation,
            standard_errors: NoiseAlone::OfTheNoiseAlone,
            records,
            answers,
        })
    }
}
