//! `consort simulate`: one masked round of a large cohort in this process, on the state machines that the daemons run.
//!
//! Nothing here travels, trains or attests: it shows what the protocol itself costs and that its sum is exact.

mod cohort;
mod options;
mod report;

pub(crate) use options::Options;

use std::time::Instant;

use consort_round::AbortReason;
use consort_round::coordinator::Round;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use cohort::{Cohort, Phase};
use report::Report;

/// Runs the round and prints what it cost.
///
/// # Errors
/// A [`Failure`] when the options fit no round, when the round is aborted, or when a sum is not exact.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let plan = options.plan()?;
    if !options.json {
        eprintln!(
            "{} members, {} of them lost after they shared keys, {} elements of {}; seed {}",
            plan.members,
            plan.lost.len(),
            plan.schema.elements(),
            plan.schema.width(),
            plan.seed
        );
    }
    let bar = progress(&plan, options.json);
    let mut cohort = Cohort::new(&plan);
    let mut seconds = Vec::new();
    for phase in Phase::ALL {
        bar.set_message(phase.name());
        let started = Instant::now();
        cohort.run(phase, &bar)?;
        seconds.push((phase.name(), started.elapsed().as_secs_f64()));
    }
    bar.set_message("opening");
    let started = Instant::now();
    let exact = match cohort.round() {
        Round::Opened(_) => cohort.open()?,
        Round::Aborted(reason) => return Err(aborted(*reason)),
        other @ (Round::Joining(_)
        | Round::Sharing(_)
        | Round::Collecting(_)
        | Round::Confirming(_)
        | Round::Unmasking(_)) => {
            let message = format!("the round stopped while {}", other.phase());
            return Err(Failure::failed("simulate_stuck", message));
        }
    };
    seconds.push(("opening", started.elapsed().as_secs_f64()));
    bar.finish_and_clear();
    Report::new(&plan, cohort.survivors().len(), exact, seconds).print(options.json)?;
    if exact {
        Ok(())
    } else {
        let message = format!(
            "the opened sum is not the survivors' sum; seed {}",
            plan.seed
        );
        Err(Failure::failed("simulate_not_exact", message))
    }
}

fn aborted(reason: AbortReason) -> Failure {
    Failure::failed(reason.code(), format!("the round was aborted: {reason}"))
}

fn progress(plan: &options::Plan, hidden: bool) -> ProgressBar {
    let answers = u64::from(plan.members) * Phase::ALL.len() as u64;
    let bar = ProgressBar::new(answers);
    if hidden {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} answers  {elapsed}  {msg}");
    bar.with_style(style.expect("the template is a constant"))
}
