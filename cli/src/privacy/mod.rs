//! `consort privacy`: what a promise costs, what keeps it, what is spent, and what it means. Offline: nothing is sent.

mod audit;
mod budget;
mod explain;
mod figures;

#[cfg(test)]
mod tests;

use clap::{Args, Subcommand, ValueEnum};
use consort_privacy::{
    Mechanism, NoiseMultiplier, QuantityError, Relation, SamplingRate, Steps, Truncation, Unit,
};
use serde_json::{Value, json};

use crate::failure::Failure;

/// What can be asked about privacy.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// The epsilon of a number of noised steps
    Epsilon(figures::Epsilon),
    /// The least noise multiplier for an epsilon
    Sigma(figures::Sigma),
    /// What this organisation's data sets have spent, and what a further release would cost
    Budget(budget::Options),
    /// An epsilon from below: canaries are planted in a job that runs in this process, and guessed from its model
    Audit(audit::Options),
    /// What a job promises to whom, what each coalition would learn, and what is not covered
    Explain(explain::Options),
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Epsilon(options) => options.run(),
        Command::Sigma(options) => options.run(),
        Command::Budget(options) => budget::run(&options).await,
        Command::Audit(options) => options.run(),
        Command::Explain(options) => explain::run(&options),
    }
}

/// How steps are taken.
#[derive(Args, Clone, Copy)]
pub(crate) struct Sampled {
    /// Probability of a record to take part in a step: above 0, at most 1; 1 for full batches
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    sampling: f64,
    /// Number of steps
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    steps: i64,
    /// Which data sets count as neighbours
    #[arg(long, value_enum, default_value_t = Neighbours::AddRemove)]
    relation: Neighbours,
    /// Most records of a batch, of those that were drawn
    #[arg(long, value_name = "B", requires = "size")]
    max_batch: Option<u32>,
    /// Records of the data set, if their number is public
    #[arg(long, value_name = "N", requires = "max_batch", group = "size")]
    records: Option<u32>,
    /// Most records of the data set, if their number is secret
    #[arg(long, value_name = "N", requires = "max_batch", group = "size")]
    records_at_most: Option<u32>,
}

/// The relations by the names of the ledger.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Neighbours {
    /// One record more or less
    AddRemove,
    /// One record exchanged for another
    ReplaceOne,
    /// One record made to contribute nothing
    ZeroOut,
}

impl Sampled {
    fn rate(&self) -> Result<SamplingRate, QuantityError> {
        SamplingRate::new(self.sampling)
    }

    fn steps(&self) -> Result<Steps, QuantityError> {
        u32::try_from(self.steps)
            .map_err(|_| QuantityError::Steps)
            .and_then(Steps::new)
    }

    fn relation(&self) -> Relation {
        match self.relation {
            Neighbours::AddRemove => Relation::AddRemove,
            Neighbours::ReplaceOne => Relation::ReplaceOne,
            Neighbours::ZeroOut => Relation::ZeroOut,
        }
    }

    fn truncation(&self) -> Result<Option<Truncation>, QuantityError> {
        let Some(max_batch) = self.max_batch else {
            return Ok(None);
        };
        let known = self
            .records
            .map(|records| Truncation::new(max_batch, records));
        let bound = self
            .records_at_most
            .map(|most| Truncation::of_at_most(max_batch, most));
        known.or(bound).transpose()
    }

    /// Adds what was asked to an answer.
    fn describe(&self, answer: &mut Value) {
        answer["sampling"] = json!(self.sampling);
        answer["steps"] = json!(self.steps);
        answer["relation"] = json!(relation_name(self.relation()));
        if let Some(max_batch) = self.max_batch {
            answer["max_batch"] = json!(max_batch);
        }
        if let Some(records) = self.records {
            answer["records"] = json!(records);
        }
        if let Some(records) = self.records_at_most {
            answer["records_at_most"] = json!(records);
        }
    }

    /// The steps with this noise, as a ledger would store them.
    fn mechanism(&self, sigma: f64) -> Result<Mechanism, QuantityError> {
        let mechanism = Mechanism::new(
            NoiseMultiplier::new(sigma)?,
            self.rate()?,
            self.steps()?,
            self.relation(),
            Unit::Record,
        );
        Ok(match self.truncation()? {
            Some(cap) => mechanism.truncated(cap),
            None => mechanism,
        })
    }
}

/// A relation by its name in options, ledgers and answers.
fn relation_name(relation: Relation) -> &'static str {
    match relation {
        Relation::AddRemove => "add-remove",
        Relation::ReplaceOne => "replace-one",
        Relation::ZeroOut => "zero-out",
    }
}

/// A number on the command line that is no such quantity.
fn unusable(error: QuantityError) -> Failure {
    Failure::usage(error.code(), error)
}
