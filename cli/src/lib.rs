//! The `consort` program as a library, so that the project's stories run the very same code.
//!
//! Exit status: as the help says (`EXIT_STATUS`).

mod attest;
mod audit;
mod broker;
mod client;
mod completions;
mod coordinator;
mod data;
mod demo;
mod failure;
mod job;
mod job_file;
mod manifest;
mod model;
mod participant;
mod privacy;
mod report;
mod roster;
mod said;
mod serve;
mod simulate;
mod simulated;
mod top;
mod uplink;
mod view;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Exit, Failure};

/// What a command's exit status says; with `--json` the same is said by the code of the object on standard output.
const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  failed on the way: the coordinator cannot be reached, a disk is full; trying again may help
  2  the command line, or a file on it, cannot be used: the message says what and where
  3  refused: by a rule, a policy, or because a job ended without a model; trying again will not help

Commands that ask the coordinator read CONSORT_COORDINATOR, CONSORT_CA and CONSORT_TOKEN_FILE where --coordinator, --ca and
--token-file are not given. With --json an error is one object with its text and stable code.";

/// Train one model on data that stays where it is.
#[derive(Parser)]
#[command(name = "consort", version, about, long_about = None, after_long_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole consortium on this machine, on public data
    Demo(demo::options::Options),
    /// The consortium's coordinator
    #[command(subcommand)]
    Coordinator(coordinator::Command),
    /// An organisation's participant
    #[command(subcommand)]
    Participant(participant::Command),
    /// An organisation's key broker, which keeps the keys of encrypted data sets
    #[command(subcommand)]
    Broker(broker::Command),
    /// Encrypted data sets
    #[command(subcommand)]
    Data(data::Command),
    /// The attested channel for a participant in another language, in plain text on loopback
    Uplink(uplink::Options),
    /// Simulated machines, for laptops and tests
    #[command(subcommand)]
    Simulated(simulated::Command),
    /// One masked round of a large cohort in this process, to measure the protocol
    Simulate(simulate::Options),
    /// Who the consortium is
    #[command(subcommand)]
    Roster(roster::Command),
    /// By what evidence is judged: the policy that the organisations signed
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Submit and watch jobs
    #[command(subcommand)]
    Job(job::Command),
    /// Jobs, rounds, members, attestation and epsilon in the terminal, as they change
    Top(top::Options),
    /// Released models
    #[command(subcommand)]
    Model(model::Command),
    /// What privacy costs, what keeps it, what is spent and what it means
    #[command(subcommand)]
    Privacy(privacy::Command),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Evidence of confidential machines: look at it, judge it, compute what an image's will say
    #[command(subcommand)]
    Attest(attest::Command),
    /// Prints what makes a shell complete this program's commands and options
    Completions(completions::Options),
}

/// Runs the program with these arguments, the first being its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if json && error.use_stderr() => {
            return report(&Failure::usage("usage", error.render()), true);
        }
        Err(error) => {
            // Nothing can be done where not even a message can be written.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, json),
    }
}

fn execute(command: Command) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Failure::failed("runtime", error))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(options) => demo::run(&options).await,
            Command::Coordinator(command) => coordinator::run(command).await,
            Command::Participant(command) => participant::run(command).await,
            Command::Broker(command) => broker::run(command).await,
            Command::Data(command) => data::run(command).await,
            Command::Uplink(options) => uplink::run(options).await,
            Command::Simulate(options) => simulate::run(&options),
            Command::Simulated(command) => simulated::run(command),
            Command::Roster(command) => roster::run(command),
            Command::Manifest(command) => manifest::run(command).await,
            Command::Job(command) => job::run(command).await,
            Command::Top(options) => top::run(options).await,
            Command::Model(command) => model::run(command).await,
            Command::Privacy(command) => privacy::run(command).await,
            Command::Audit(command) => audit::run(command),
            Command::Attest(command) => attest::run(command),
            Command::Completions(options) => completions::run(&options),
        }
    });
    // A daemon that was told to stop does not wait for the training or the disk of a thread: what is on disk is whole at any moment.
    runtime.shutdown_background();
    outcome
}

/// Says why: with `--json` as one object on standard output, otherwise as a line on standard error.
fn report(failure: &Failure, json: bool) -> ExitCode {
    if failure.told {
        return failure.exit.into();
    }
    if json {
        let object = serde_json::json!({ "error": failure.message, "code": failure.code });
        println!("{object}");
    } else {
        eprintln!("error: {failure}");
    }
    failure.exit.into()
}
