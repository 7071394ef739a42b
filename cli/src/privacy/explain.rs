//! `consort privacy explain`: what a job's contract promises, in plain words and with its figures.

use std::path::PathBuf;

use clap::Args;
use consort_contract::{Job, Plan};
use consort_privacy::{NoisePlan, NoiseSource, Relation};
use serde_json::{Value, json};

use super::figures::{figures, figures_text};
use super::relation_name;
use crate::failure::Failure;

/// What the promise does not cover, for every job.
const NOT_COVERED: [&str; 7] = [
    "that an organisation takes part, and the job itself: its members, model, public ranges and caps are known to all",
    "what anybody could learn about a person without that person's record, from what is true of many",
    "a person with several records: k records of one person count k times, and at a far larger delta",
    "what a member does with its own data before training: scales or features taken from the data are not accounted",
    "other releases from the same data outside of this consortium",
    "an organisation's figures against its own staff: the promise is about what leaves it",
    "when messages are sent and how long they are: deadlines and sizes are the contract's, the network is seen",
];

/// A job to explain.
#[derive(Args)]
pub(crate) struct Options {
    /// The job file (YAML or JSON)
    #[arg(value_name = "JOB")]
    job: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let job = crate::job_file::load(&options.job)?;
    let plan = Plan::derive(&job).map_err(|error| Failure::refused(error.code(), error))?;
    if options.json {
        println!("{}", to_json(&job, plan.noise()));
    } else {
        print!("{}", to_text(&job, plan.noise()));
    }
    Ok(())
}

pub(super) fn to_json(job: &Job, noise: &NoisePlan) -> Value {
    let target = noise.target();
    let coalitions = coalitions(noise).map(|(colluding, epsilon, is_promised)| {
        json!({ "colluding": colluding, "epsilon": epsilon, "promised": is_promised })
    });
    json!({
        "job": job.document().name.as_str(),
        "dataset": job.document().dataset.as_str(),
        "purpose": job.document().purpose.as_str(),
        "promise": {
            "epsilon": target.epsilon.value(),
            "delta": target.delta.value(),
            "relation": relation_name(target.relation),
            "unit": "record",
            "rounds": target.rounds.count(),
            "steps_per_round": target.source.steps_per_round().count(),
        },
        "noise": {
            "source": match target.source {
                NoiseSource::Cohort => "cohort",
                NoiseSource::Site { .. } => "site",
            },
            "sigma": noise.noise_multiplier().value(),
            "members": target.members,
            "n_min": target.n_min,
            "c_noise": target.c_noise,
        },
        "batches": target.batches.map(|batches| json!({
            "sampling": batches.rate().value(),
            "max_batch": batches.truncation().max_batch(),
            "records_at_most": batches.truncation().records(),
        })),
        "spend": figures(&noise.spend()),
        "coalitions": coalitions.collect::<Vec<_>>(),
        "secure_sum": {
            "colluders": job.thresholds().colluders(),
            "fewest_survivors": job.thresholds().fewest_survivors(),
        },
        "not_covered": NOT_COVERED,
    })
}

/// (colluding members, epsilon against them, whether the contract promises it). Where each site's own noise covers its records,
/// the promise is the same against all.
fn coalitions(noise: &NoisePlan) -> impl Iterator<Item = (u32, f64, bool)> {
    let promised = match noise.target().source {
        NoiseSource::Cohort => noise.target().c_noise,
        NoiseSource::Site { .. } => u32::MAX,
    };
    (0..)
        .zip(noise.epsilon_table())
        .map(move |(colluding, epsilon)| (colluding, epsilon.value(), colluding <= promised))
}

pub(super) fn to_text(job: &Job, noise: &NoisePlan) -> String {
    let target = noise.target();
    let document = job.document();
    let (epsilon, delta) = (target.epsilon, target.delta);
    let neighbours = match target.relation {
        Relation::AddRemove => "been added or removed",
        Relation::ReplaceOne => "been exchanged for any other",
        Relation::ZeroOut => "contributed nothing",
    };
    let mut text = format!(
        "Job {} on data set {} for {}\n\n\
         Promised\n\
         Whoever sees all that the {} rounds of this job release (every sum, every model, every reported loss) can tell whether\n\
         one record of one member was used no better than epsilon {epsilon} and delta {delta} allow: had the record {neighbours},\n\
         no outcome would be more than e^{epsilon} = {:.2} times as likely, except with probability {delta}.\n\n",
        document.name,
        document.dataset,
        document.purpose,
        target.rounds.count(),
        epsilon.value().exp(),
    );
    text += &to_whom(noise);
    text += &format!("{:>9}  {:>10}  {:>8}\n", "colluding", "epsilon", "promised");
    for (colluding, epsilon, is_promised) in coalitions(noise) {
        let mark = if is_promised { "yes" } else { "no" };
        text += &format!("{colluding:>9}  {epsilon:>10.4}  {mark:>8}\n");
    }
    text += &format!(
        "{:>9}  {:>10}  {:>8}\n\n\
         One member's own sum stays hidden in that of at least {} from the coordinator and up to {} colluding members.\n\n\
         How it is counted\n\
         Noise multiplier {}, {}, {} of a record, {} noised sums in all; a submitted round counts whether or not it opens.\n{}\n\
         Not covered\n",
        format!("{}+", target.n_min),
        "no bound",
        "no",
        job.thresholds().fewest_survivors(),
        job.thresholds().colluders(),
        noise.noise_multiplier(),
        batches_text(noise),
        relation_name(target.relation),
        u64::from(target.rounds.count()) * u64::from(target.source.steps_per_round().count()),
        figures_text(&noise.spend()),
    );
    for line in NOT_COVERED {
        text += &format!("- {line}\n");
    }
    text
}

/// Which records are in a sum.
fn batches_text(noise: &NoisePlan) -> String {
    match noise.target().batches {
        None => "full batches".to_owned(),
        Some(batches) => format!(
            "batches in which each record takes part with probability {} by a secret coin,\n\
             at most {} of a member's in a round, from at most {} records of a member,",
            batches.rate().value(),
            batches.truncation().max_batch(),
            batches.truncation().records(),
        ),
    }
}

/// Whose noise keeps the promise, and against whom.
fn to_whom(noise: &NoisePlan) -> String {
    let target = noise.target();
    match target.source {
        NoiseSource::Cohort => format!(
            "To whom\n\
             To everybody outside, to the coordinator, and to every coalition of up to {} members with it. Each of at least {} members\n\
             adds noise; what {} of them know and can subtract is not counted. A larger coalition sees less noise:\n\n",
            target.c_noise, target.n_min, target.c_noise,
        ),
        NoiseSource::Site { steps } => format!(
            "To whom\n\
             To everybody outside of the organisation that holds the record, whoever works together: each organisation puts all of the\n\
             noise on each of its {} local steps of a round itself, and counts on nobody else's:\n\n",
            steps.count(),
        ),
    }
}
