//! What the demo tells at its end: a table for a person, or one object for a program.

use std::collections::BTreeMap;
use std::fmt;

use consort_proto::wire::job::v1 as wire;
use serde::Serialize;

use super::compare::Accuracies;

/// How evidence from machines of software is marked, everywhere and in capitals.
const SIMULATED: &str = "SIMULATED";

/// The result of a demo. The names are the fields of `--json`, which other programs read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) job_id: String,
    pub(crate) members: usize,
    pub(crate) rounds: u32,
    /// One number per round; 0 for a round that gave no sum.
    pub(crate) survivors: Vec<u32>,
    /// Against the coordinator with `c_noise` colluding members.
    pub(crate) epsilon: f64,
    /// Against the coordinator with k colluding members, k from 0.
    pub(crate) epsilon_by_coalition: Vec<f64>,
    pub(crate) n_min: u32,
    pub(crate) c: u32,
    pub(crate) c_noise: u32,
    pub(crate) delta: f64,
    /// Accuracies are means over the members' held-out parts.
    pub(crate) test_accuracy: f64,
    pub(crate) pooled_accuracy: f64,
    pub(crate) local_accuracy: Vec<f64>,
    /// Bytes of masked updates, mean over the members.
    pub(crate) bytes_sent_per_member: u64,
    /// Wall time from submission to release.
    pub(crate) seconds: f64,
    pub(crate) attestation: &'static str,
    pub(crate) audit_verified: bool,
    pub(crate) model_path: String,
    pub(crate) coordinator_restarts: u32,
    /// Data keys that the members' brokers released, with `--sealed-data` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_releases: Option<u64>,
    /// Mean milliseconds of each phase of a round; for people only.
    #[serde(skip)]
    pub(crate) phase_ms: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(crate) names: Vec<String>,
    #[serde(skip)]
    pub(crate) manifest_path: String,
    #[serde(skip)]
    pub(crate) audit_entries: u64,
    #[serde(skip)]
    pub(crate) audit_path: String,
}

/// What was learned beside the job itself.
pub(crate) struct Findings {
    pub(crate) key_releases: Option<u64>,
    pub(crate) names: Vec<String>,
    pub(crate) accuracies: Accuracies,
    pub(crate) seconds: f64,
    pub(crate) audit_entries: u64,
    pub(crate) audit_path: String,
    pub(crate) model_path: String,
    pub(crate) manifest_path: String,
}

impl Summary {
    /// Puts a completed job and the findings together.
    pub(crate) fn new(job: &wire::Job, findings: Findings) -> Self {
        let plan = job.plan.clone().unwrap_or_default();
        let privacy = job
            .spec
            .as_ref()
            .and_then(|spec| spec.privacy)
            .unwrap_or_default();
        let released = job.rounds.iter().filter(|round| round.aborted.is_empty());
        let sent: u64 = job.members.iter().map(|member| member.sent_bytes).sum();
        Self {
            job_id: job.id.clone(),
            members: job.members.len(),
            rounds: crate::view::rounds_planned(job),
            survivors: job
                .rounds
                .iter()
                .map(|round| round.survivor_count)
                .collect(),
            epsilon: plan.epsilon,
            epsilon_by_coalition: plan.epsilon_by_coalition,
            n_min: plan.minimum,
            c: plan.colluders,
            c_noise: plan.noise_colluders,
            delta: privacy.delta,
            test_accuracy: findings.accuracies.federated,
            pooled_accuracy: findings.accuracies.pooled,
            local_accuracy: findings.accuracies.local,
            bytes_sent_per_member: sent / (job.members.len().max(1) as u64),
            seconds: findings.seconds,
            attestation: if job.dangerous_simulated_attestation {
                SIMULATED
            } else {
                "hardware"
            },
            audit_verified: true,
            model_path: findings.model_path,
            coordinator_restarts: job.coordinator_restarts,
            key_releases: findings.key_releases,
            phase_ms: mean_phases(released),
            names: findings.names,
            manifest_path: findings.manifest_path,
            audit_entries: findings.audit_entries,
            audit_path: findings.audit_path,
        }
    }
}

fn mean_phases<'a>(rounds: impl Iterator<Item = &'a wire::RoundSummary>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::<String, u64>::new();
    let mut count = 0;
    for round in rounds {
        count += 1;
        for (phase, ms) in &round.phase_ms {
            *sums.entry(phase.clone()).or_default() += ms;
        }
    }
    sums.values_mut().for_each(|sum| *sum /= count.max(1));
    sums
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:5.1} %", 100.0 * share);
        writeln!(f, "\nAccuracy (mean over the members' held-out records)")?;
        writeln!(
            f,
            "  {:<26} {}",
            "federated, private",
            percent(self.test_accuracy)
        )?;
        writeln!(
            f,
            "  {:<26} {}",
            "pooled, without noise",
            percent(self.pooled_accuracy)
        )?;
        for (name, accuracy) in self.names.iter().zip(&self.local_accuracy) {
            writeln!(
                f,
                "  {:<26} {}",
                format!("{name} alone"),
                percent(*accuracy)
            )?;
        }
        writeln!(f, "\nPrivacy of one record")?;
        writeln!(
            f,
            "  epsilon {:.4} at delta {:e}, against the coordinator with {} colluding member(s)",
            self.epsilon, self.delta, self.c_noise
        )?;
        let table: Vec<String> = self
            .epsilon_by_coalition
            .iter()
            .map(|epsilon| format!("{epsilon:.3}"))
            .collect();
        writeln!(
            f,
            "  with 0, 1, 2... colluding members: {}",
            table.join("  ")
        )?;
        writeln!(
            f,
            "  n_min {} of {} members, c {}, c_noise {}",
            self.n_min, self.members, self.c, self.c_noise
        )?;
        writeln!(f, "\nRounds")?;
        let survivors: Vec<String> = self.survivors.iter().map(u32::to_string).collect();
        writeln!(f, "  survivors per round        {}", survivors.join(" "))?;
        writeln!(
            f,
            "  sent per member            {} bytes in {} rounds",
            self.bytes_sent_per_member, self.rounds
        )?;
        writeln!(f, "  submission to release      {:.1} s", self.seconds)?;
        let phases: Vec<String> = self
            .phase_ms
            .iter()
            .map(|(phase, ms)| format!("{phase} {ms}"))
            .collect();
        writeln!(f, "  mean milliseconds          {}", phases.join(", "))?;
        writeln!(
            f,
            "  coordinator restarts       {}",
            self.coordinator_restarts
        )?;
        writeln!(f, "\nTrust")?;
        let attestation = if self.attestation == SIMULATED {
            "SIMULATED: this evidence proves nothing about hardware"
        } else {
            self.attestation
        };
        writeln!(f, "  attestation  {attestation}")?;
        writeln!(
            f,
            "  audit log    {} (verified offline, {} entries)",
            self.audit_path, self.audit_entries
        )?;
        if let Some(releases) = self.key_releases {
            writeln!(
                f,
                "  data keys    {releases} released by the members' own brokers (logs verified offline); the records lie encrypted"
            )?;
        }
        writeln!(f, "  model        {}", self.model_path)?;
        write!(
            f,
            "  manifest     {} (signature verified)",
            self.manifest_path
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let job = wire::Job {
            id: "job-1".to_owned(),
            members: vec![
                wire::MemberProgress {
                    sent_bytes: 10,
                    ..Default::default()
                };
                5
            ],
            rounds: vec![
                wire::RoundSummary {
                    survivor_count: 4,
                    phase_ms: [("collecting".to_owned(), 30)].into(),
                    ..Default::default()
                },
                wire::RoundSummary {
                    aborted: "too few".to_owned(),
                    ..Default::default()
                },
            ],
            dangerous_simulated_attestation: true,
            ..wire::Job::default()
        };
        let findings = Findings {
            key_releases: None,
            names: vec!["clinic-1".to_owned()],
            accuracies: Accuracies {
                federated: 0.96,
                pooled: 0.97,
                local: vec![0.9],
            },
            seconds: 1.5,
            audit_entries: 7,
            audit_path: "a".to_owned(),
            model_path: "m".to_owned(),
            manifest_path: "n".to_owned(),
        };
        Summary::new(&job, findings)
    }

    #[test]
    fn the_json_object_has_exactly_the_documented_fields() {
        let value = serde_json::to_value(summary()).unwrap();
        let mut found: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        found.sort_unstable();
        let mut documented = [
            "job_id",
            "members",
            "rounds",
            "survivors",
            "epsilon",
            "epsilon_by_coalition",
            "n_min",
            "c",
            "c_noise",
            "delta",
            "test_accuracy",
            "pooled_accuracy",
            "local_accuracy",
            "bytes_sent_per_member",
            "seconds",
            "attestation",
            "audit_verified",
            "model_path",
            "coordinator_restarts",
        ];
        documented.sort_unstable();
        assert_eq!(found, documented);
    }

    #[test]
    fn each_round_has_its_number_of_survivors_and_bytes_are_a_mean() {
        let summary = summary();
        assert_eq!(
            (summary.survivors.as_slice(), summary.bytes_sent_per_member),
            ([4, 0].as_slice(), 10)
        );
        assert_eq!(summary.phase_ms["collecting"], 30);
    }

    #[test]
    fn the_table_marks_simulated_attestation_plainly() {
        assert!(summary().to_string().contains("SIMULATED"));
    }
}
