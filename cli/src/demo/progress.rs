//! Shows a running job on standard error: bars on a terminal, one line per round elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};

use consort_proto::wire::job::v1 as wire;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::view::{epsilon_spent, loss_text, rounds_planned, state_name};

/// More members than this are counted by phase instead of shown one by one: a screen has some 24 lines.
const MAX_MEMBER_LINES: usize = 12;

/// The display of one job.
pub(crate) struct Progress {
    display: Display,
    /// The newest round that was told already.
    told: u32,
    restarts: u32,
}

enum Display {
    Bars {
        all: MultiProgress,
        rounds: ProgressBar,
        members: BTreeMap<String, ProgressBar>,
    },
    Lines,
}

impl Progress {
    /// Bars if standard error is a terminal and the caller is a person.
    pub(crate) fn new(json: bool) -> Self {
        let display = if stderr().is_terminal() && !json {
            let all = MultiProgress::new();
            let rounds = all.add(ProgressBar::new(1));
            rounds.set_style(style("{bar:32} {pos}/{len} rounds  {elapsed}  {msg}"));
            Display::Bars {
                all,
                rounds,
                members: BTreeMap::new(),
            }
        } else {
            Display::Lines
        };
        Self {
            display,
            told: 0,
            restarts: 0,
        }
    }

    /// A step of the demo that is no round.
    pub(crate) fn say(&self, text: &str) {
        match &self.display {
            // A line that cannot be written to a terminal is nobody's loss.
            Display::Bars { all, .. } => drop(all.println(text)),
            Display::Lines => eprintln!("{text}"),
        }
    }

    /// Shows where the job stands.
    pub(crate) fn update(&mut self, job: &wire::Job) {
        if job.coordinator_restarts > self.restarts {
            self.restarts = job.coordinator_restarts;
            self.say("the coordinator was restarted and goes on");
        }
        let new: Vec<String> = job
            .rounds
            .iter()
            .filter(|round| round.round > self.told)
            .map(|round| round_line(job, round))
            .collect();
        self.told = job.rounds.last().map_or(self.told, |round| round.round);
        match &mut self.display {
            Display::Bars {
                all,
                rounds,
                members,
            } => {
                rounds.set_length(rounds_planned(job).into());
                rounds.set_position(self.told.into());
                rounds.set_message(headline(job));
                if job.members.len() <= MAX_MEMBER_LINES {
                    for member in &job.members {
                        let line =
                            members
                                .entry(member.organisation.clone())
                                .or_insert_with(|| {
                                    let line = all.add(ProgressBar::new_spinner());
                                    line.set_style(style("  {msg}"));
                                    line
                                });
                        line.set_message(member_line(member));
                    }
                }
            }
            Display::Lines => new.iter().for_each(|line| eprintln!("{line}")),
        }
    }

    /// Ends the display.
    pub(crate) fn finish(&self) {
        if let Display::Bars {
            rounds, members, ..
        } = &self.display
        {
            members.values().for_each(ProgressBar::finish_and_clear);
            rounds.finish();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn headline(job: &wire::Job) -> String {
    let mut latest = job.rounds.iter().rev();
    let loss = latest.find_map(|round| loss_text(job, round));
    let loss = loss.map_or(String::new(), |loss| format!("  {loss}"));
    let phases = if job.members.len() > MAX_MEMBER_LINES {
        format!("  {}", counts_by_phase(job))
    } else {
        String::new()
    };
    format!(
        "{} {}{loss}  epsilon {:.3}{phases}",
        state_name(job.state()),
        job.phase,
        epsilon_spent(job),
    )
}

fn counts_by_phase(job: &wire::Job) -> String {
    let mut counts = BTreeMap::<&str, u32>::new();
    for member in &job.members {
        *counts.entry(member.phase.as_str()).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(phase, count)| format!("{count} {phase}"))
        .collect();
    counts.join(", ")
}

fn member_line(member: &wire::MemberProgress) -> String {
    let link = if member.connected {
        ""
    } else {
        "  (not connected)"
    };
    format!(
        "{:<14} {:<14} {:>9} bytes sent{link}",
        member.organisation, member.phase, member.sent_bytes
    )
}

fn round_line(job: &wire::Job, round: &wire::RoundSummary) -> String {
    let head = format!("round {:>3}/{}", round.round, rounds_planned(job));
    if !round.aborted.is_empty() {
        return format!("{head}  no sum: {}", round.aborted);
    }
    let loss = loss_text(job, round).map_or(String::new(), |loss| format!("  {loss}"));
    let total: u64 = round.phase_ms.values().sum();
    format!(
        "{head}  {}/{} members{loss}  epsilon {:.4}  {total} ms",
        round.survivor_count,
        job.members.len(),
        round.epsilon_spent,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> wire::Job {
        let round = wire::RoundSummary {
            round: 1,
            survivor_count: 3,
            noised_loss: Some(0.693),
            epsilon_spent: 0.25,
            ..wire::RoundSummary::default()
        };
        wire::Job {
            rounds: vec![round],
            members: vec![wire::MemberProgress::default(); 4],
            spec: Some(wire::JobSpec {
                model: Some(wire::ModelSpec {
                    layers: vec![wire::Layer {
                        kind: Some(wire::layer::Kind::Dense(wire::Dense { outputs: 1 })),
                    }],
                    loss: wire::Loss::BinaryCrossEntropy.into(),
                    seed: Vec::new(),
                }),
                algorithm: Some(wire::job_spec::Algorithm::DpFedsgd(wire::DpFedSgd {
                    divisor: 450.0,
                    loss_weight: 0.1,
                    ..wire::DpFedSgd::default()
                })),
                ..wire::JobSpec::default()
            }),
            plan: Some(wire::PlanSpec::default()),
            ..wire::Job::default()
        }
    }

    #[test]
    fn a_round_is_told_with_survivors_loss_and_epsilon() {
        let job = job();
        let line = round_line(&job, &job.rounds[0]);
        assert!(
            line.contains("3/4 members") && line.contains("loss 0.69") && line.contains("0.2500"),
            "{line}"
        );
    }

    #[test]
    fn a_round_without_a_sum_says_why() {
        let mut job = job();
        job.rounds[0].aborted = "too few members".to_owned();
        assert!(round_line(&job, &job.rounds[0]).contains("too few members"));
    }
}
