//! What the tests of this crate share: five organisations, a small job, and contracts of it.

use std::collections::BTreeMap;

use consort_aggregation::Digest;
use consort_contract::features::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use consort_contract::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, ModelDocument, PrivacyDocument,
};
use consort_contract::{
    AdaptiveTerms, Algorithm, ConsortiumId, CosineDecay, Decay, DpFedSgd, FedAvg, IdentitySecret,
    JobDocument, JobId, Label, OrganisationId, Requirements, Roster, RosterDocument, RosterEntry,
    Rotation, Schedule, ServerOptimizerTerms, SignedRoster,
};
use consort_model::{Layer, Loss};

use crate::jobs::Contract;

/// The phases' deadline in these tests, milliseconds.
pub(crate) const DEADLINE_MS: u64 = 1_000;

pub(crate) fn organisation(i: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{i}")).unwrap()
}

/// The identity of a clinic; 0 is the coordinator.
pub(crate) fn secret(i: u8) -> IdentitySecret {
    IdentitySecret::from_seed(Digest::of(&[i]).as_bytes())
}

pub(crate) fn roster() -> Roster {
    let entry = |i: u8| RosterEntry {
        identity: secret(i).public(),
        chip_id: [i; 64],
        host_data: [i; 32],
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new("tests").unwrap(),
        version: 1,
        coordinator: entry(0),
        members: (1..=5).map(|i| (organisation(i), entry(i))).collect(),
    };
    let signatures: BTreeMap<_, _> = (1..=5)
        .map(|i| (organisation(i), document.sign(&secret(i))))
        .collect();
    SignedRoster::assemble(document, &signatures)
        .verify()
        .unwrap()
}

/// A logistic model on two features: three parameters and the loss query.
pub(crate) fn document(rounds: u32) -> JobDocument {
    let feature = |column: &str| FeatureSpec::Numeric {
        column: column.to_owned(),
        center: 0.0,
        scale: 1.0,
        clip: 5.0,
    };
    let target = TargetSpec {
        column: "ill".to_owned(),
        positive_above: 0.5,
    };
    let label = |text: &str| Label::new(text).unwrap();
    JobDocument {
        name: label("small"),
        purpose: label("tests"),
        dataset: label("records"),
        members: (1..=5).map(organisation).collect(),
        data: DataSchema::new(
            vec![feature("a"), feature("b")],
            target,
            MissingValues::Refuse,
        )
        .unwrap(),
        model: ModelDocument {
            layers: vec![Layer::Dense { outputs: 1 }],
            loss: Loss::BinaryCrossEntropy,
            seed: [0; 32],
        },
        algorithm: Algorithm::DpFedSgd(DpFedSgd {
            rounds,
            clip: 1.0,
            learning_rate: 0.5,
            momentum: 0.9,
            divisor: 100.0,
            loss_weight: 0.25,
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
        data_access: DataAccessDocument::default(),
        requirements: Requirements::default(),
        deadlines: DeadlineDocument {
            voting_ms: DEADLINE_MS,
            joining_ms: DEADLINE_MS,
            sharing_ms: DEADLINE_MS,
            collecting_ms: DEADLINE_MS,
            confirming_ms: DEADLINE_MS,
            unmasking_ms: DEADLINE_MS,
        },
    }
}

pub(crate) fn contract(rounds: u32) -> Contract {
    contract_of(document(rounds))
}

/// The same job with a model of 400 001 parameters, whose update has several chunks.
pub(crate) fn large_contract(rounds: u32) -> Contract {
    let mut document = document(rounds);
    let hidden = Layer::Dense { outputs: 100_000 };
    document.model.layers = vec![hidden, Layer::Tanh, Layer::Dense { outputs: 1 }];
    contract_of(document)
}

/// The same job with FedYogi at the server, at a rate that rises and then falls along a cosine.
pub(crate) fn adaptive_contract(rounds: u32) -> Contract {
    let mut document = document(rounds);
    let Algorithm::DpFedSgd(terms) = &mut document.algorithm else {
        panic!("the document says dp_fedsgd")
    };
    terms.momentum = 0.0;
    terms.server_optimizer = Some(ServerOptimizerTerms::Fedyogi(AdaptiveTerms {
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    }));
    terms.schedule = Some(Schedule {
        warmup_rounds: 1,
        decay: Decay::Cosine(CosineDecay { last: 0.125 }),
    });
    contract_of(document)
}

/// The same job by federated averaging with SCAFFOLD; its values have room for the members' chosen integers.
pub(crate) fn scaffold_contract(rounds: u32) -> Contract {
    let mut document = document(rounds);
    document.algorithm = Algorithm::FedAvg(FedAvg {
        rounds,
        local_steps: 2,
        clip: 1.0,
        local_learning_rate: 0.5,
        local_divisor: 100.0,
        loss_weight: 0.25,
        max_records_per_member: 1000,
        update_clip: 2.0,
        value_range: None,
        value_bits: 24,
        rotation: Rotation::None,
        learning_rate: 1.0,
        momentum: 0.0,
        server_optimizer: None,
        schedule: None,
        local_schedule: None,
        proximal: None,
        scaffold: true,
    });
    contract_of(document)
}

fn contract_of(document: JobDocument) -> Contract {
    Contract::propose(JobId::new("job-1").unwrap(), document, &roster()).unwrap()
}
