//! `consort demo`: a consortium on one machine, on public data. Every daemon is a process of its own with its own folder,
//! keys and evidence; the demo itself is an ordinary client.

pub(crate) mod brokers;
pub(crate) mod clinics;
pub(crate) mod compare;
pub(crate) mod documents;
pub(crate) mod flamby;
pub(crate) mod folders;
pub(crate) mod hospitals;
pub(crate) mod jobs;
pub(crate) mod layout;
pub(crate) mod options;
pub(crate) mod ports;
pub(crate) mod processes;
pub(crate) mod progress;
pub(crate) mod site;
pub(crate) mod summary;

#[cfg(test)]
mod crowd;
#[cfg(test)]
mod digits;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod seeds_fedavg;
#[cfg(test)]
mod seeds_utility;

use std::time::{Duration, Instant};

use consort_contract::SignedRoster;
use consort_daemon::config;
use consort_proto::wire::job::v1 as wire;

use crate::client::Operators;
use crate::failure::{Exit, Failure};
use crate::job::{all_rounds, ended_without_model, random_key, required, send};
use crate::model::{self, Fetched, MANIFEST_FILE, MODEL_FILE};
use crate::view::has_ended;
use folders::Folders;
use layout::{COORDINATOR, Layout};
use options::{Options, Plan};
use processes::{Daemon, Processes};
use progress::Progress;
use summary::{Findings, Summary};

/// A coordinator on a busy laptop listens within a second or two.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two attempts to reach a coordinator that is starting.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Runs the demo and prints its summary.
///
/// # Errors
/// A [`Failure`] with what went wrong; every process is ended by then.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let plan = options.plan()?;
    let folders = Folders::new(options)?;
    let mut progress = Progress::new(options.json);
    progress.say(&format!(
        "{} members, {} rounds, epsilon {}, delta {:e}; SIMULATED attestation",
        plan.sites.len(),
        plan.job.rounds,
        plan.job.epsilon,
        plan.job.delta
    ));
    if plan.sealed_data {
        progress.say("every clinic's records lie encrypted; its own key broker releases the key once all have approved the job");
    }
    let layout = Layout::write(&folders.work, &plan).await?;
    layout.encrypt(&plan).await?;
    let mut processes = Processes::new();
    let trained = tokio::select! {
        trained = train(&layout, &plan, &mut processes, &mut progress) => trained,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted", "the demo was interrupted")),
    };
    progress.finish();
    processes.stop().await;
    let outcome = trained.and_then(|trained| conclude(&layout, &plan, &folders, trained));
    let summary = match outcome {
        Ok(summary) => summary,
        Err(failure) => return Err(folders.keep_after(failure)),
    };
    if options.json {
        let text = serde_json::to_string(&summary);
        println!(
            "{}",
            text.map_err(|error| Failure::failed("summary_json", error))?
        );
    } else {
        println!("{summary}");
    }
    Ok(())
}

/// A completed job as it was watched and fetched.
struct Trained {
    job: wire::Job,
    model: Fetched,
    seconds: f64,
}

/// Starts the daemons, submits the job and waits for its model; a daemon's unexpected end ends it.
async fn train(
    layout: &Layout,
    plan: &Plan,
    processes: &mut Processes,
    progress: &mut Progress,
) -> Result<Trained, Failure> {
    let brokers = brokers::daemons(layout, plan);
    for daemon in brokers.into_iter().chain(daemons(layout, plan)) {
        processes.start(daemon)?;
    }
    let work = async {
        let mut operators = reach(layout).await?;
        let started = Instant::now();
        let job = send(&mut operators, &layout.document, random_key()).await?;
        let job = follow(layout, operators, job, progress).await?;
        let seconds = started.elapsed().as_secs_f64();
        let model = model::fetch(&mut reach(layout).await?, &job.id).await?;
        Ok(Trained {
            job,
            model,
            seconds,
        })
    };
    tokio::select! {
        trained = work => trained,
        failure = processes.unexpected_end() => Err(failure),
    }
}

fn daemons(layout: &Layout, plan: &Plan) -> Vec<Daemon> {
    let coordinator = Daemon {
        program: "coordinator",
        name: COORDINATOR.to_owned(),
        config: layout.config(COORDINATOR),
        crash_at: plan
            .crash_coordinator
            .map(|round| format!("mid-collecting@{round}")),
    };
    let participant = |site: &site::Site| Daemon {
        program: "participant",
        name: site.name.clone(),
        config: layout.config(&site.name),
        crash_at: plan
            .drops
            .iter()
            .find(|drop| drop.name == site.name)
            .map(|drop| format!("mid-upload@{}", drop.round)),
    };
    std::iter::once(coordinator)
        .chain(plan.sites.iter().map(participant))
        .collect()
}

/// Connects to the coordinator as soon as it listens.
async fn reach(layout: &Layout) -> Result<Operators, Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match layout.access().connect().await {
            Ok(operators) => return Ok(operators),
            Err(failure) if failure.exit != Exit::Failed || Instant::now() > deadline => {
                return Err(failure);
            }
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// Watches a job until it completed, through restarts of the coordinator.
async fn follow(
    layout: &Layout,
    mut operators: Operators,
    mut job: wire::Job,
    progress: &mut Progress,
) -> Result<wire::Job, Failure> {
    loop {
        let request = wire::WatchJobRequest { id: job.id.clone() };
        if let Ok(answer) = operators.jobs.watch_job(request).await {
            let mut updates = answer.into_inner();
            while let Ok(Some(update)) = updates.message().await {
                job = required(update.job)?;
                progress.update(&job);
                if has_ended(&job) {
                    return match job.state() {
                        wire::JobState::Completed => {
                            job.rounds = all_rounds(&mut operators, &job.id).await?;
                            Ok(job)
                        }
                        wire::JobState::Unspecified
                        | wire::JobState::Voting
                        | wire::JobState::Running
                        | wire::JobState::Failed
                        | wire::JobState::Cancelled => Err(ended_without_model(&job)),
                    };
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        operators = reach(layout).await?;
    }
}

/// Verifies what was left behind, compares, and writes the model.
fn conclude(
    layout: &Layout,
    plan: &Plan,
    folders: &Folders,
    trained: Trained,
) -> Result<Summary, Failure> {
    let audit = layout.audit();
    let report = consort_audit::verify(&audit, None)
        .map_err(|error| crate::audit::broken(&audit, &error))?;
    let roster: SignedRoster = config::load_json(&folders.work.join("roster.json"))?;
    consort_coordinator::verify_manifest(
        &trained.model.manifest,
        &trained.model.model,
        &roster.document.coordinator.identity,
    )
    .map_err(|error| Failure::refused(error.code(), error))?;
    trained.model.write(&folders.model)?;
    let audit = folders.keep_audit(&audit)?;
    let accuracies = compare::accuracies(layout, plan, &trained.model.model)?;
    let key_releases = if plan.sealed_data {
        Some(brokers::releases(layout, plan)?)
    } else {
        None
    };
    let findings = Findings {
        key_releases,
        names: plan.sites.iter().map(|site| site.name.clone()).collect(),
        accuracies,
        seconds: trained.seconds,
        audit_entries: report.checkpoint.size,
        audit_path: audit.display().to_string(),
        model_path: folders.model.join(MODEL_FILE).display().to_string(),
        manifest_path: folders.model.join(MANIFEST_FILE).display().to_string(),
    };
    Ok(Summary::new(&trained.job, findings))
}
