//! What the demo's files say: each node's machine, the attestation policy, the job.

use std::net::SocketAddr;
use std::path::Path;

use consort_aggregation::Digest;
use consort_attestation::simulated::ROOTS_FILE;
use consort_contract::identity::hex;
use consort_contract::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, EncryptionDocument, ModelDocument,
    PrivacyDocument,
};
use consort_contract::{Algorithm, DpFedSgd, FedAvg, JobDocument, Requirements, Rotation};
use consort_daemon::compute::ComputeConfig;
use consort_daemon::node::{AttesterConfig, NodeConfig, SIMULATED_TCB, SimulatedConfig};

use super::jobs::{DemoJob, LocalSteps};
use super::layout::{COORDINATOR, label, organisation};
use super::options::Plan;
use crate::failure::Failure;

/// What the model of the demo is for.
pub(super) const PURPOSE: &str = "diagnosis-support";

/// Where the demo's data lies encrypted, the job asks that it does, under keys no older than this.
const KEY_ROTATION_DAYS: u32 = 30;

/// On one machine a phase takes milliseconds; a member that was killed is back within seconds.
const PHASE_MS: u64 = 20_000;

/// A restarted coordinator waits for members that back off up to 5 seconds.
const COLLECTING_MS: u64 = 60_000;

/// What every node has, for one of this name.
pub(super) fn node(name: &str, metrics: SocketAddr) -> NodeConfig {
    NodeConfig {
        organisation: name.to_owned(),
        roster: "../roster.json".into(),
        manifest: "../manifest.json".into(),
        roots: vec![Path::new("../simulated").join(ROOTS_FILE)],
        state_dir: "state".into(),
        dangerous_state_key_file: Some("state.key".into()),
        attester: AttesterConfig::Simulated(SimulatedConfig {
            vendor_dir: "../simulated".into(),
            chip_id: chip_id(name),
            measurement: measurement(program_of(name)),
            host_data: hex(Digest::of(format!("host data of {name}").as_bytes()).as_bytes()),
        }),
        compute: ComputeConfig::default(),
        metrics_address: Some(metrics),
        log_json: false,
    }
}

/// What a clinic's broker has: its own machine under its organisation's name. No metrics: the demo looks at its log.
pub(super) fn broker_node(organisation: &str, machine: &str) -> NodeConfig {
    NodeConfig {
        organisation: organisation.to_owned(),
        metrics_address: None,
        attester: AttesterConfig::Simulated(SimulatedConfig {
            vendor_dir: "../simulated".into(),
            chip_id: chip_id(machine),
            measurement: measurement("consort-broker"),
            host_data: hex(Digest::of(format!("host data of {machine}").as_bytes()).as_bytes()),
        }),
        ..node(organisation, SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A chip of its own for each simulated machine.
fn chip_id(name: &str) -> String {
    let half = |part: &str| {
        hex(Digest::of(format!("{part} half of the chip of {name}").as_bytes()).as_bytes())
    };
    half("first") + &half("second")
}

fn program_of(name: &str) -> &'static str {
    if name == COORDINATOR {
        "consort-coordinator"
    } else {
        "consort-participant"
    }
}

/// What a simulated machine declares to run: 48 bytes that stand for a program's launch digest.
fn measurement(program: &str) -> String {
    let declared = Digest::of(format!("simulated measurement of {program}").as_bytes());
    let mut text = hex(declared.as_bytes());
    text.push_str(&"0".repeat(32));
    text
}

/// The policy that accepts this demo's coordinator and participants and nothing else.
pub(super) fn policy(simulated_root: &str) -> String {
    policy_for(
        simulated_root,
        &["consort-coordinator", "consort-participant"],
    )
}

/// The policy that accepts these programs of this demo and nothing else.
pub(super) fn policy_for(simulated_root: &str, programs: &[&str]) -> String {
    let tcb = SIMULATED_TCB;
    let measurements: String = programs
        .iter()
        .map(|program| format!("    \"{}\", # {program}\n", measurement(program)))
        .collect();
    format!(
        "# What evidence must say to be accepted. SIMULATED: the root below is a program's on this machine.\n\
         [trust]\n\
         roots = []\n\
         dangerous_simulated_roots = [\"{simulated_root}\"]\n\
         \n\
         [snp]\n\
         report_versions = [3, 5]\n\
         # The programs, as simulated machines declare them.\n\
         measurements = [\n{measurements}]\n\
         \n\
         [snp.min_tcb.genoa]\n\
         bootloader = {}\n\
         tee = {}\n\
         snp = {}\n\
         microcode = {}\n",
        tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode,
    )
}

fn algorithm(job: &DemoJob, members: usize) -> Algorithm {
    let max_records_per_member = u32::try_from(job.max_records).unwrap_or(u32::MAX);
    match job.local {
        None => Algorithm::DpFedSgd(DpFedSgd {
            rounds: job.rounds,
            clip: job.clip_norm.into(),
            learning_rate: job.learning_rate.into(),
            momentum: job.momentum.into(),
            divisor: job.divisor.into(),
            loss_weight: job.loss_weight,
            max_records_per_member,
            server_optimizer: None,
            schedule: None,
            sampling: None,
        }),
        Some(LocalSteps {
            steps,
            learning_rate,
            update_clip,
            value_bits,
        }) => Algorithm::FedAvg(FedAvg {
            rounds: job.rounds,
            local_steps: steps,
            clip: job.clip_norm.into(),
            local_learning_rate: learning_rate,
            // The guess at all records, divided evenly.
            local_divisor: (f64::from(job.divisor) / members as f64).max(1.0),
            loss_weight: job.loss_weight,
            max_records_per_member,
            update_clip,
            value_range: None,
            value_bits,
            rotation: Rotation::Hadamard,
            learning_rate: 1.0,
            momentum: job.momentum.into(),
            server_optimizer: None,
            schedule: None,
            local_schedule: None,
            proximal: None,
            scaffold: false,
        }),
    }
}

/// The job as its author would write it.
pub(super) fn job_document(job: &DemoJob, plan: &Plan) -> Result<JobDocument, Failure> {
    let model = job.model();
    let members = plan.sites.iter().map(|site| organisation(&site.name));
    let document = JobDocument {
        name: label(job.name)?,
        purpose: label(PURPOSE)?,
        dataset: label(job.name)?,
        members: members.collect::<Result<_, _>>()?,
        data: job.schema(),
        model: ModelDocument {
            layers: model.layers().to_vec(),
            loss: model.loss(),
            seed: [0; 32],
        },
        algorithm: algorithm(job, plan.sites.len()),
        privacy: PrivacyDocument {
            epsilon: job.epsilon,
            delta: job.delta,
            c_noise: job.colluding_noise,
        },
        aggregation: AggregationDocument::default(),
        data_access: DataAccessDocument {
            encryption: plan.sealed_data.then_some(EncryptionDocument {
                key_rotation_days: KEY_ROTATION_DAYS,
            }),
        },
        requirements: Requirements::default(),
        deadlines: DeadlineDocument {
            voting_ms: PHASE_MS,
            joining_ms: PHASE_MS,
            sharing_ms: PHASE_MS,
            collecting_ms: COLLECTING_MS,
            confirming_ms: PHASE_MS,
            unmasking_ms: PHASE_MS,
        },
    };
    crate::job::check(&document)?;
    Ok(document)
}
