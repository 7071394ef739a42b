//! `consort job`: what a data scientist does, over gRPC on the operators' port.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consort_contract::{Job, JobDocument};
use consort_proto::convert::job_to_wire;
use consort_proto::wire::job::v1 as wire;
use rand_core::{OsRng, RngCore};

use crate::client::{Access, Operators};
use crate::failure::{Exit, Failure};
use crate::view::{JobView, has_ended, one_line};

/// What can be done with jobs.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check a job file, without asking anybody
    Check(Check),
    /// Propose a job to its members
    Submit(Submit),
    /// All jobs, newest last
    List(List),
    /// One job with its rounds
    Show(Named),
    /// A job's progress until it ends
    Watch(Named),
    /// The report of a completed stats or evaluate job
    Report(crate::report::Asked),
    /// End a job that has not ended
    Cancel(Named),
}

/// A job file to check.
#[derive(Args)]
pub(crate) struct Check {
    /// The job file (YAML or JSON)
    #[arg(value_name = "FILE")]
    job: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A job to submit.
#[derive(Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    access: Access,
    /// The job file (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
    /// A retry with the same key makes no second job; drawn at random if absent
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All jobs.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    access: Access,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// One job.
#[derive(Args)]
pub(crate) struct Named {
    #[command(flatten)]
    access: Access,
    /// The job's id
    id: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(options) => {
            let job = crate::job_file::load(&options.job)?;
            let (name, hash) = (job.document().name.as_str(), job.hash().to_string());
            if options.json {
                println!("{}", serde_json::json!({ "name": name, "hash": hash }));
            } else {
                println!("{}: {name} is a valid job, {hash}", options.job.display());
            }
        }
        Command::Submit(submit) => {
            // Checked here first: a document that cannot be a job costs nobody a call.
            let job = crate::job_file::load(&submit.job)?;
            let key = submit.idempotency_key.unwrap_or_else(random_key);
            let mut operators = submit.access.connect().await?;
            let sent = send(&mut operators, job.document(), key.clone()).await;
            let job = sent.map_err(|failure| unsure(failure, &key))?;
            show(&job, submit.json);
        }
        Command::List(list) => {
            let mut operators = list.access.connect().await?;
            let mut after = String::new();
            loop {
                let request = wire::ListJobsRequest { after };
                let page = operators.jobs.list_jobs(request).await?.into_inner();
                page.jobs.iter().for_each(|job| show(job, list.json));
                match page.jobs.last().filter(|_| page.more) {
                    Some(last) => after = last.id.clone(),
                    None => break,
                }
            }
        }
        Command::Show(named) => {
            let mut operators = named.access.connect().await?;
            let mut job = shown(&mut operators, &named.id).await?;
            if named.json {
                job.rounds = all_rounds(&mut operators, &job.id).await?;
            }
            show(&job, named.json);
        }
        Command::Watch(named) => watch(named).await?,
        Command::Report(asked) => crate::report::run(asked).await?,
        Command::Cancel(named) => {
            let mut operators = named.access.connect().await?;
            let request = wire::CancelJobRequest { id: named.id };
            let job = required(operators.jobs.cancel_job(request).await?.into_inner().job)?;
            show(&job, named.json);
        }
    }
    Ok(())
}

/// Checks a job document as the coordinator and every member will.
pub(crate) fn check(document: &JobDocument) -> Result<Job, Failure> {
    Job::new(document.clone()).map_err(|error| Failure::usage(error.code(), error))
}

/// Submits a job under an idempotency key.
pub(crate) async fn send(
    operators: &mut Operators,
    document: &JobDocument,
    idempotency_key: String,
) -> Result<wire::Job, Failure> {
    let request = wire::SubmitJobRequest {
        spec: Some(job_to_wire(document)),
        job_json: String::new(),
        idempotency_key,
    };
    required(operators.jobs.submit_job(request).await?.into_inner().job)
}

/// One job as the coordinator shows it.
pub(crate) async fn shown(operators: &mut Operators, id: &str) -> Result<wire::Job, Failure> {
    let request = wire::ShowJobRequest { id: id.to_owned() };
    required(operators.jobs.show_job(request).await?.into_inner().job)
}

/// What became of every round, with all survivors' names.
pub(crate) async fn all_rounds(
    operators: &mut Operators,
    id: &str,
) -> Result<Vec<wire::RoundSummary>, Failure> {
    let mut rounds: Vec<wire::RoundSummary> = Vec::new();
    loop {
        let request = wire::ListRoundsRequest {
            id: id.to_owned(),
            after_round: rounds.last().map_or(0, |round| round.round),
        };
        let page = operators.jobs.list_rounds(request).await?.into_inner();
        let more = page.more && !page.rounds.is_empty();
        rounds.extend(page.rounds);
        if !more {
            return Ok(rounds);
        }
    }
}

/// Whether the job was taken is not known when the way to the coordinator failed: the same key finds out.
fn unsure(mut failure: Failure, key: &str) -> Failure {
    if failure.exit == Exit::Failed {
        failure.message.push_str(&format!(
            "; whether the job was taken is not known: submit it again with --idempotency-key {key}, which makes no second job"
        ));
    }
    failure
}

/// A key that no other submission has.
pub(crate) fn random_key() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    consort_contract::identity::hex(&bytes)
}

/// The failure of a job that ended without a model.
pub(crate) fn ended_without_model(job: &wire::Job) -> Failure {
    let code = if job.code.is_empty() {
        "job_ended"
    } else {
        &job.code
    };
    let what = format!(
        "job {} ended without a model: {}",
        job.id,
        if job.reason.is_empty() {
            "no reason was given"
        } else {
            &job.reason
        }
    );
    Failure::refused(code, what)
}

async fn watch(named: Named) -> Result<(), Failure> {
    let mut operators = named.access.connect().await?;
    let request = wire::WatchJobRequest { id: named.id };
    let mut updates = operators.jobs.watch_job(request).await?.into_inner();
    while let Some(update) = updates.message().await? {
        let job = required(update.job)?;
        show(&job, named.json);
        if has_ended(&job) {
            return match job.state() {
                wire::JobState::Completed => Ok(()),
                wire::JobState::Unspecified
                | wire::JobState::Voting
                | wire::JobState::Running
                | wire::JobState::Failed
                | wire::JobState::Cancelled => Err(ended_without_model(&job)),
            };
        }
    }
    Err(Failure::failed(
        "watch_ended",
        "the coordinator ended the stream before the job ended; watch it again",
    ))
}

fn show(job: &wire::Job, json: bool) {
    if json {
        match serde_json::to_string(&JobView::from(job)) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("job {} cannot be shown as JSON: {error}", job.id),
        }
    } else {
        println!("{}", one_line(job));
    }
}

pub(crate) fn required(job: Option<wire::Job>) -> Result<wire::Job, Failure> {
    job.ok_or_else(|| {
        Failure::failed(
            "answer_without_job",
            "the coordinator answered without a job; its version does not fit this program's",
        )
    })
}
