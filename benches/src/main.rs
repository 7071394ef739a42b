//! Measures the arithmetic of masked sums: CPU time, memory and bytes, phase by phase.
//!
//! Each case runs in a process of its own, so that no case pays for the memory of another. Figures are CPU time of all
//! threads; pin the program to one core (`taskset -c 0`) to compare it with programs on one core.

mod case;
mod cohort;
mod meter;
mod report;
mod values;

use anyhow::{Context, ensure};
use case::{Case, Outcome};
use clap::Parser;
use std::process::{Command, Stdio};

/// Measures the arithmetic of masked sums.
#[derive(Parser)]
struct Options {
    /// Members; repeat it or separate by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 100])]
    n: Vec<u32>,
    /// Elements of a vector.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000])]
    d: Vec<u64>,
    /// The largest absolute integer of an update.
    #[arg(long, default_value_t = 32_767)]
    q: u32,
    /// Neighbours of a member, an even number; the complete graph without it.
    #[arg(long)]
    degree: Option<u32>,
    /// Shares that open a secret; without it ⌊(m+c)/2⌋+1 for m holders and c = max(1, ⌊(m-1)/3⌋), the protocol's rule.
    #[arg(long)]
    threshold: Option<u32>,
    /// Percent of the members that are lost after they shared their keys, in the second unmasking.
    #[arg(long, default_value_t = 10)]
    dropped_percent: u32,
    /// The seed of keys and shares.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Run this one case and print its outcome; the program calls itself with it.
    #[arg(long, hide = true)]
    one: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(case) = &options.one {
        let outcome = serde_json::from_str::<Case>(case)?.run()?;
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    let mut outcomes = Vec::new();
    for &d in &options.d {
        for &n in &options.n {
            let outcome = in_own_process(&options.case(n, d)?)?;
            if !options.json {
                print!("{}", report::table(&outcome));
            }
            outcomes.push(outcome);
        }
    }
    if options.json {
        println!("{}", report::json(&outcomes)?);
    }
    Ok(())
}

impl Options {
    fn case(&self, n: u32, d: u64) -> anyhow::Result<Case> {
        ensure!(n >= 3, "a cohort has at least 3 members");
        ensure!(self.dropped_percent < 100, "somebody must survive");
        let degree = self.degree.map_or(n - 1, |degree| degree.min(n - 1));
        let holders = degree + 1;
        let colluding = ((holders - 1) / 3).max(1);
        Ok(Case {
            n,
            d,
            q: self.q,
            degree,
            threshold: self.threshold.unwrap_or((holders + colluding) / 2 + 1),
            dropped: n * self.dropped_percent / 100,
            seed: self.seed,
        })
    }
}

fn in_own_process(case: &Case) -> anyhow::Result<Outcome> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--one", &serde_json::to_string(case)?])
        .stderr(Stdio::inherit())
        .output()
        .context("the program cannot start itself")?;
    ensure!(output.status.success(), "the case {case:?} failed");
    serde_json::from_slice(&output.stdout).context("a case printed something else than its outcome")
}
