//! The demo's options, checked before anything is started: bad input costs nothing.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::clinics::{self, MAX_CLINICS, MIN_CLINICS};
use super::hospitals;
use super::jobs::{BREAST_CANCER, BREAST_CANCER_FEDAVG, DemoJob, HEART};
use super::site::Site;
use crate::failure::Failure;

/// Clinics, unless others are asked for.
const DEFAULT_CLINICS: usize = 5;

/// Where the model goes when the rest is not kept.
pub(crate) const DEFAULT_DIR: &str = "consort-demo";

/// `consort demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Participants, 3 to 50 [default: 5; the four hospitals of --dataset heart]
    #[arg(long, value_name = "N")]
    pub(crate) members: Option<usize>,
    /// How the model is trained
    #[arg(long, value_enum, default_value_t = AlgorithmName::DpFedsgd)]
    pub(crate) algorithm: AlgorithmName,
    /// Rounds of training [default: 20; 10 of --algorithm fedavg]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u32>,
    /// Epsilon of the whole job, at delta 1e-5 [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) epsilon: Option<f64>,
    /// This participant dies in this round after it shared its keys, and is restarted; may be given more than once
    #[arg(long, value_name = "NAME@ROUND")]
    pub(crate) drop: Vec<String>,
    /// The coordinator dies in the middle of collecting this round, and is restarted
    #[arg(long, value_name = "ROUND")]
    pub(crate) crash_coordinator: Option<u32>,
    /// Which public data the members hold
    #[arg(long, value_enum, default_value_t = Dataset::BreastCancer)]
    pub(crate) dataset: Dataset,
    /// Folder with the UCI heart-disease files, for --dataset heart
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The members' records lie encrypted, and a key broker of each member releases the key
    #[arg(long)]
    pub(crate) sealed_data: bool,
    /// Keep everything in this new folder; without it only the model is kept, in ./consort-demo
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Public data for the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dataset {
    /// Wisconsin diagnostic breast cancer, divided among made-up clinics (comes with this program)
    BreastCancer,
    /// UCI heart disease of four hospitals (you download it)
    Heart,
}

/// How the model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmName {
    /// One sum of clipped gradients a round; the members' noise adds up
    DpFedsgd,
    /// Two noised steps a round at each member, averaged; each member's own noise alone counts
    Fedavg,
}

/// A participant that is to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drop {
    pub(crate) name: String,
    pub(crate) round: u32,
}

/// What the demo is going to do.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) job: DemoJob,
    pub(crate) sites: Vec<Site>,
    pub(crate) drops: Vec<Drop>,
    pub(crate) crash_coordinator: Option<u32>,
    pub(crate) sealed_data: bool,
}

impl Options {
    /// Checks the options and reads the data.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and what it may be.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let mut job = match (self.dataset, self.algorithm) {
            (Dataset::BreastCancer, AlgorithmName::DpFedsgd) => BREAST_CANCER,
            (Dataset::BreastCancer, AlgorithmName::Fedavg) => BREAST_CANCER_FEDAVG,
            (Dataset::Heart, AlgorithmName::DpFedsgd) => HEART,
            (Dataset::Heart, AlgorithmName::Fedavg) => {
                let what = "--algorithm fedavg goes with --dataset breast-cancer; leave one of the two out";
                return Err(Failure::usage("demo_algorithm", what));
            }
        };
        job.rounds = self.rounds.unwrap_or(job.rounds);
        job.epsilon = self.epsilon.unwrap_or(job.epsilon);
        if job.rounds == 0 || job.rounds > consort_contract::job::MAX_ROUNDS {
            let most = consort_contract::job::MAX_ROUNDS;
            return Err(Failure::usage(
                "demo_rounds",
                format!(
                    "--rounds {} is outside its range; it must be 1 to {most}",
                    job.rounds
                ),
            ));
        }
        if !(job.epsilon.is_finite() && job.epsilon > 0.0) {
            return Err(Failure::usage(
                "demo_epsilon",
                format!(
                    "--epsilon {} is outside its range; it must be above 0 (smaller is more private; 1 is common)",
                    job.epsilon
                ),
            ));
        }
        let sites = self.sites()?;
        let drops = self.drops(&sites, job.rounds)?;
        if let Some(round) = self.crash_coordinator {
            check_round("--crash-coordinator", round, job.rounds)?;
        }
        Ok(Plan {
            job,
            sites,
            drops,
            crash_coordinator: self.crash_coordinator,
            sealed_data: self.sealed_data,
        })
    }

    fn sites(&self) -> Result<Vec<Site>, Failure> {
        match self.dataset {
            Dataset::BreastCancer => {
                if self.data.is_some() {
                    let what = "--data goes with --dataset heart; the breast-cancer data comes with this program";
                    return Err(Failure::usage("demo_data", what));
                }
                let count = self.members.unwrap_or(DEFAULT_CLINICS);
                clinics::clinics(count).map_err(|_| {
                    Failure::usage(
                        "demo_members",
                        format!("--members {count} is outside its range; it must be {MIN_CLINICS} to {MAX_CLINICS}"),
                    )
                })
            }
            Dataset::Heart => {
                let count = hospitals::HOSPITALS.len();
                if self.members.is_some_and(|members| members != count) {
                    let what = format!(
                        "--dataset heart has {count} members, its hospitals; leave --members out"
                    );
                    return Err(Failure::usage("demo_members", what));
                }
                let folder = self.data.as_deref().ok_or_else(|| {
                    let what = "--dataset heart needs --data DIR, a folder with the processed files of \
                                https://archive.ics.uci.edu/dataset/45/heart+disease";
                    Failure::usage("demo_data", what)
                })?;
                hospitals::hospitals(folder).map_err(|error| Failure::usage("demo_data", error))
            }
        }
    }

    fn drops(&self, sites: &[Site], rounds: u32) -> Result<Vec<Drop>, Failure> {
        let drops: Vec<Drop> = self
            .drop
            .iter()
            .map(|text| parse_drop(text, sites, rounds))
            .collect::<Result<_, _>>()?;
        let twice = |at: usize| drops[..at].iter().any(|other| other.name == drops[at].name);
        match (0..drops.len()).find(|at| twice(*at)) {
            Some(at) => Err(Failure::usage(
                "demo_drop",
                format!(
                    "--drop names {} twice; a participant dies once in a demo",
                    drops[at].name
                ),
            )),
            None => Ok(drops),
        }
    }
}

fn parse_drop(text: &str, sites: &[Site], rounds: u32) -> Result<Drop, Failure> {
    let form = || {
        let what = format!(
            "--drop {text:?} is no NAME@ROUND; write for instance {}@4",
            sites[0].name
        );
        Failure::usage("demo_drop", what)
    };
    let (name, round) = text.split_once('@').ok_or_else(form)?;
    let round: u32 = round.parse().map_err(|_| form())?;
    if !sites.iter().any(|site| site.name == name) {
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        return Err(Failure::usage(
            "demo_drop",
            format!(
                "--drop names {name:?}, who is no member; the members are {}",
                names.join(", ")
            ),
        ));
    }
    check_round("--drop", round, rounds)?;
    Ok(Drop {
        name: name.to_owned(),
        round,
    })
}

fn check_round(option: &str, round: u32, rounds: u32) -> Result<(), Failure> {
    if (1..=rounds).contains(&round) {
        return Ok(());
    }
    let what = format!("{option} names round {round}; this demo has rounds 1 to {rounds}");
    Err(Failure::usage("demo_round", what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        options: Options,
    }

    fn plan(arguments: &[&str]) -> Result<Plan, Failure> {
        let arguments = std::iter::once("demo").chain(arguments.iter().copied());
        Only::try_parse_from(arguments).unwrap().options.plan()
    }

    fn refused(arguments: &[&str]) -> (String, String) {
        let failure = plan(arguments).err().unwrap();
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
        (failure.code, failure.message)
    }

    #[test]
    fn the_defaults_are_five_clinics_twenty_rounds_and_epsilon_one() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.sites.len(), plan.job.rounds), (5, 20));
        assert!((plan.job.epsilon - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn an_epsilon_that_is_not_above_zero_is_refused_with_its_range() {
        for bad in ["0", "-1", "NaN", "inf"] {
            let (code, message) = refused(&["--epsilon", bad]);
            assert_eq!(code, "demo_epsilon");
            assert!(message.contains("above 0"), "{message}");
        }
    }

    #[test]
    fn members_out_of_range_are_refused_with_the_range() {
        for bad in ["2", "51", "0"] {
            let (code, message) = refused(&["--members", bad]);
            assert_eq!(code, "demo_members");
            assert!(message.contains("3 to 50"), "{message}");
        }
    }

    #[test]
    fn a_drop_that_is_no_name_and_round_is_refused_with_an_example() {
        for bad in ["clinic-3", "clinic-3@", "clinic-3@x", "@", "clinic-3@-1"] {
            let (code, message) = refused(&["--drop", bad]);
            assert_eq!(code, "demo_drop");
            assert!(message.contains("clinic-1@4"), "{message}");
        }
    }

    #[test]
    fn a_drop_of_a_stranger_or_in_no_round_or_twice_is_refused() {
        assert!(refused(&["--drop", "clinic-9@4"]).1.contains("clinic-5"));
        for bad in ["clinic-3@0", "clinic-3@21"] {
            assert!(refused(&["--drop", bad]).1.contains("1 to 20"));
        }
        let twice = refused(&["--drop", "clinic-3@4", "--drop", "clinic-3@5"]);
        assert!(twice.1.contains("twice"));
    }

    #[test]
    fn a_crash_after_the_last_round_and_no_rounds_at_all_are_refused() {
        assert_eq!(refused(&["--crash-coordinator", "21"]).0, "demo_round");
        assert_eq!(refused(&["--rounds", "0"]).0, "demo_rounds");
    }

    #[test]
    fn fedavg_has_rounds_of_its_own_and_goes_with_the_data_it_was_tried_on() {
        let plan = plan(&["--algorithm", "fedavg"]).unwrap();
        assert_eq!(plan.job.rounds, 10);
        assert!(plan.job.local.is_some());
        let (code, message) = refused(&["--algorithm", "fedavg", "--dataset", "heart"]);
        assert_eq!(code, "demo_algorithm");
        assert!(message.contains("breast-cancer"), "{message}");
    }

    #[test]
    fn heart_needs_its_files_and_has_four_members() {
        assert_eq!(refused(&["--dataset", "heart"]).0, "demo_data");
        assert_eq!(
            refused(&["--dataset", "heart", "--members", "5"]).0,
            "demo_members"
        );
    }
}
