//! `consort privacy budget`: the ledger of a participant, read where it lies while the participant is stopped.

use std::path::PathBuf;

use clap::Args;
use consort_contract::Label;
use consort_participant::Config;
use consort_participant::ledger::PrivacyLedger;
use consort_privacy::{Mechanism, QuantityError, Refused};
use serde_json::{Value, json};

use super::figures::{figures, figures_text};
use super::{Neighbours, Sampled, unusable};
use crate::failure::Failure;

/// What is asked about a ledger.
#[derive(Args)]
pub(crate) struct Options {
    /// The participant's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only this data set
    #[arg(long, value_name = "NAME")]
    dataset: Option<Label>,
    #[command(flatten)]
    planned: Planned,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A further release, of which is asked what it would bring a data set to.
#[derive(Args)]
struct Planned {
    /// Ask what a further release with this noise multiplier would bring a data set to
    #[arg(long, value_name = "S", allow_negative_numbers = true, requires_all = ["dataset", "sampling", "steps"])]
    sigma: Option<f64>,
    /// Its probability of a record to take part in a step; 1 for full batches
    #[arg(
        long,
        value_name = "Q",
        allow_negative_numbers = true,
        requires = "sigma"
    )]
    sampling: Option<f64>,
    /// Its number of steps
    #[arg(
        long,
        value_name = "T",
        allow_negative_numbers = true,
        requires = "sigma"
    )]
    steps: Option<i64>,
    /// Which data sets count as neighbours
    #[arg(long, value_enum, default_value_t = Neighbours::AddRemove)]
    relation: Neighbours,
}

impl Planned {
    fn mechanism(&self) -> Result<Option<Mechanism>, QuantityError> {
        let (Some(sigma), Some(sampling), Some(steps)) = (self.sigma, self.sampling, self.steps)
        else {
            return Ok(None);
        };
        let sampled = Sampled {
            sampling,
            steps,
            relation: self.relation,
            max_batch: None,
            records: None,
            records_at_most: None,
        };
        sampled.mechanism(sigma).map(Some)
    }
}

/// Runs the command.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let planned = options.planned.mechanism().map_err(unusable)?;
    let config = Config::load(&options.config)?;
    let ledger = consort_participant::open_ledger(&config)
        .await
        .map_err(|error| Failure::failed(error.code(), error))?;
    let mut names = ledger.data_sets();
    // A data set from which nothing was released has its whole cap.
    names.extend(config.datasets.keys().cloned());
    if let Some(only) = &options.dataset {
        if !names.contains(only) {
            let what = format!(
                "the configuration names no data set {only} and nothing was released from one"
            );
            return Err(Failure::usage("privacy_dataset_unknown", what));
        }
        names.retain(|name| name == only);
    }
    let mut all = Vec::new();
    for name in &names {
        all.push(account(&ledger, name, planned.as_ref(), options.json)?);
    }
    if options.json {
        println!("{}", json!({ "datasets": all }));
    }
    Ok(())
}

/// One data set: printed for people, returned for programs.
fn account(
    ledger: &PrivacyLedger,
    name: &Label,
    planned: Option<&Mechanism>,
    is_quiet: bool,
) -> Result<Value, Failure> {
    let cap = ledger.cap();
    let (entries, spent) = ledger
        .account(name)
        .map_err(|error| Failure::failed(error.code(), error))?;
    let remaining = (cap.epsilon.value() - spent.enforced().value()).max(0.0);
    let mut answer = json!({
        "dataset": name.as_str(),
        "cap": cap.epsilon.value(),
        "delta": cap.delta.value(),
        "releases": entries,
        "spent": figures(&spent),
        "remaining": remaining,
    });
    if !is_quiet {
        println!(
            "{name}: {entries} releases, cap {} at delta {}",
            cap.epsilon, cap.delta
        );
        print!("{}", figures_text(&spent));
        println!("  {remaining:.6} of the cap is left");
    }
    if let Some(planned) = planned {
        let (after, fits, text) = match ledger.what_if(name, planned) {
            Ok(after) => (Some(after.enforced()), true, "fits".to_owned()),
            Err(refused @ Refused::OverCap { after, .. }) => {
                (Some(after), false, refused.to_string())
            }
            Err(
                refused @ (Refused::AlreadyDebited { .. }
                | Refused::Stale { .. }
                | Refused::Account(_)),
            ) => return Err(Failure::refused(refused.code(), refused)),
        };
        let after = after.map(|epsilon| epsilon.value());
        answer["what_if"] = json!({ "after": after, "fits": fits });
        if !is_quiet {
            println!(
                "  after the planned release: epsilon {:.6}; {text}",
                after.unwrap_or(f64::NAN)
            );
        }
    }
    Ok(answer)
}
