//! What a plan makes of the numbers of a sum.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::collections::BTreeSet;

use consort_contract::features::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use consort_contract::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, EncryptionDocument, ModelDocument,
    PrivacyDocument,
};
use consort_contract::{
    Algorithm, DpFedSgd, Job, JobDocument, Label, OrganisationId, Plan, Requirements,
};
use consort_model::{Layer, Loss};

const DIVISOR: f64 = 100.0;

fn job(loss_weight: f64) -> Job {
    let label = |text: &str| Label::new(text).unwrap();
    let feature = FeatureSpec::Numeric {
        column: "a".to_owned(),
        center: 0.0,
        scale: 1.0,
        clip: 5.0,
    };
    let target = TargetSpec::binary("ill", 0.5);
    let members = (1..=5).map(|i| OrganisationId::new(&format!("clinic-{i}")).unwrap());
    let document = JobDocument {
        name: label("small"),
        purpose: label("tests"),
        dataset: label("records"),
        members: members.collect(),
        data: DataSchema::new(vec![feature], target, MissingValues::Refuse).unwrap(),
        model: ModelDocument {
            layers: vec![Layer::Dense { outputs: 1 }],
            loss: Loss::BinaryCrossEntropy,
            seed: [0; 32],
        },
        algorithm: Algorithm::DpFedSgd(DpFedSgd {
            rounds: 3,
            clip: 0.5,
            learning_rate: 0.5,
            momentum: 0.9,
            divisor: DIVISOR,
            loss_weight,
            max_records_per_member: 1000,
            server_optimizer: None,
            schedule: None,
            sampling: None,
        }),
        privacy: PrivacyDocument {
            epsilon: 1.0,
            delta: 1e-5,
            c_noise: 1,
        },
        aggregation: AggregationDocument::default(),
        deadlines: DeadlineDocument::default(),
        data_access: DataAccessDocument::default(),
        requirements: Requirements::default(),
    };
    Job::new(document).unwrap()
}

#[test]
fn the_last_element_of_a_sum_tells_the_mean_loss() {
    let job = job(0.25);
    let plan = Plan::derive(&job).unwrap();
    // A record with three quarters of the largest loss fills 3/4 of w = 1/4 of the clip norm, which is 2^bits units.
    let one = (1_i64 << plan.noise().grid().bits().bits()) * 3 / 16;
    let mean = plan.noised_loss(&job, 40 * one, 5).unwrap();
    let expected = 40.0 * 0.75 * job.model().loss_cap() / DIVISOR;
    // The mean is an f32: 24 bits.
    assert!((mean - expected).abs() < 1e-6 * expected, "{mean}");
    assert!(
        plan.noised_loss(&job, -one, 5).unwrap() < 0.0,
        "noise may do that"
    );
}

#[test]
fn a_job_without_a_loss_query_tells_no_loss() {
    let job = job(0.0);
    let plan = Plan::derive(&job).unwrap();
    assert_eq!(plan.noised_loss(&job, 5, 5), None);
}

#[test]
fn what_a_job_asks_of_its_data_is_part_of_its_hash_only_where_it_asks() {
    let plain = job(0.25);
    let asking = |days| {
        let mut document = plain.document().clone();
        document.data_access.encryption = Some(EncryptionDocument {
            key_rotation_days: days,
        });
        Job::new(document)
    };
    let (thirty, sixty) = (asking(30).unwrap().hash(), asking(60).unwrap().hash());
    assert!(plain.hash() != thirty && plain.hash() != sixty && thirty != sixty);
    for days in [0, 3661] {
        assert_eq!(asking(days).unwrap_err().code(), "job_number_out_of_range");
    }
    let text = serde_json::to_string(plain.document()).unwrap();
    assert!(!text.contains("data_access"), "{text}");
}

#[test]
fn what_a_job_asks_of_machines_is_part_of_its_hash_only_where_it_asks() {
    let plain = job(0.25);
    let asking = |requirements| {
        let mut document = plain.document().clone();
        document.requirements = requirements;
        Job::new(document)
    };
    let none = Requirements::default();
    assert_eq!(asking(none).unwrap().hash(), plain.hash());
    let some = [
        Requirements {
            memory_bytes: Some(1),
            ..none
        },
        Requirements {
            storage_bytes: Some(1),
            ..none
        },
        Requirements {
            network_bits_per_second: Some(1),
            ..none
        },
        Requirements {
            genuine_hardware: true,
            ..none
        },
        Requirements {
            metrics: true,
            ..none
        },
        Requirements {
            memory_bytes: Some(2),
            metrics: true,
            ..none
        },
    ];
    let hashes: BTreeSet<String> = some
        .iter()
        .map(|asked| asking(*asked).unwrap().hash().to_string())
        .chain([plain.hash().to_string()])
        .collect();
    assert_eq!(hashes.len(), some.len() + 1);
    for asked in some {
        let text = serde_json::to_string(asking(asked).unwrap().document()).unwrap();
        let again: JobDocument = serde_json::from_str(&text).unwrap();
        assert_eq!(again.requirements, asked, "{text}");
    }
    let zero = Requirements {
        memory_bytes: Some(0),
        ..none
    };
    let error = asking(zero).unwrap_err();
    assert!(
        error.to_string().contains("training_job.compute.memory"),
        "{error}"
    );
}
