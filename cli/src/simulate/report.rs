//! What a simulated round cost.

use std::fmt;

use serde::Serialize;

use super::options::Plan;
use crate::failure::Failure;

/// The figures of one simulated round.
#[derive(Serialize)]
pub(crate) struct Report {
    members: u32,
    lost: usize,
    survivors: usize,
    elements: u64,
    width_bits: u8,
    bytes_per_element: f64,
    colluders: u32,
    neighbours: u32,
    share_threshold: u32,
    workers: usize,
    phases: Vec<PhaseTime>,
    exact: bool,
    seed: u64,
}

/// Wall time of one phase over the whole cohort.
#[derive(Serialize)]
struct PhaseTime {
    phase: &'static str,
    seconds: f64,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "a quotient for people to read")]
    pub(crate) fn new(
        plan: &Plan,
        survivors: usize,
        exact: bool,
        seconds: Vec<(&'static str, f64)>,
    ) -> Self {
        let phase_time = |(phase, seconds)| PhaseTime { phase, seconds };
        Self {
            members: plan.members,
            lost: plan.lost.len(),
            survivors,
            elements: plan.schema.elements(),
            width_bits: plan.schema.width().bits(),
            bytes_per_element: plan.schema.packed_len() as f64 / plan.schema.elements() as f64,
            colluders: plan.thresholds.colluders(),
            neighbours: plan
                .thresholds
                .circle()
                .map_or(plan.members - 1, |circle| 2 * circle.reach),
            share_threshold: plan.thresholds.share_threshold(),
            workers: plan.workers.get(),
            phases: seconds.into_iter().map(phase_time).collect(),
            exact,
            seed: plan.seed,
        }
    }

    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            let text = serde_json::to_string(self)
                .map_err(|error| Failure::failed("simulate_json", error))?;
            println!("{text}");
        } else {
            println!("{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} survivors of {} members; {} neighbours each, {} shares open a secret, at most {} colluders",
            self.survivors, self.members, self.neighbours, self.share_threshold, self.colluders
        )?;
        writeln!(
            f,
            "{} elements of {} bits: {:.2} bytes each on the wire",
            self.elements, self.width_bits, self.bytes_per_element
        )?;
        for PhaseTime { phase, seconds } in &self.phases {
            writeln!(f, "  {phase:<11} {seconds:>9.3} s over the cohort")?;
        }
        let exact = if self.exact {
            "exact, bit for bit"
        } else {
            "NOT EXACT"
        };
        write!(
            f,
            "the opened sum is {exact}; seed {}; {} threads; nothing was attested or sent",
            self.seed, self.workers
        )
    }
}
