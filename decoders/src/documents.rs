//! Documents that people and peers write: rosters, manifests, jobs, models; and what a participant or coordinator stored.

use crate::{Decoder, Outcome, code, text};
use consort_contract::{
    DataSchema, Job, JobDocument, OrganisationId, Roster, SignedManifest, SignedRoster,
};
use consort_model::{Layer, Loss, ModelSpec, OptimizerState, Parameters};
use consort_privacy::Entry;
use std::sync::OnceLock;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "organisation",
        decode: organisation,
    },
    Decoder {
        name: "roster",
        decode: roster,
    },
    Decoder {
        name: "attestation-manifest",
        decode: manifest,
    },
    Decoder {
        name: "job-document",
        decode: job_document,
    },
    Decoder {
        name: "data-schema",
        decode: data_schema,
    },
    Decoder {
        name: "model-spec",
        decode: model_spec,
    },
    Decoder {
        name: "parameters",
        decode: parameters,
    },
    Decoder {
        name: "optimizer-state",
        decode: optimizer_state,
    },
    Decoder {
        name: "ledger-entry",
        decode: ledger_entry,
    },
];

fn not_json(_: serde_json::Error) -> String {
    "json_malformed".to_owned()
}

fn organisation(bytes: &[u8]) -> Outcome {
    let text = text(bytes)?;
    let name = OrganisationId::new(text).map_err(code!())?;
    assert_eq!(name.as_str(), text);
    Ok(())
}

fn roster(bytes: &[u8]) -> Outcome {
    let roster: SignedRoster = serde_json::from_slice(bytes).map_err(not_json)?;
    roster.verify().map(drop).map_err(code!())
}

/// Genesis of the roster that the seeds have; the file has one layout where it is verified.
fn manifest(bytes: &[u8]) -> Outcome {
    let manifest = SignedManifest::from_json(bytes).map_err(code!())?;
    let again = SignedManifest::from_json(manifest.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&manifest));
    let manifest = manifest.verify(seed_roster(), None).map_err(code!())?;
    assert_eq!(manifest.hash(), manifest.signed().document.hash());
    Ok(())
}

/// The roster of one member that the valid manifest is for.
fn seed_roster() -> &'static Roster {
    static ROSTER: OnceLock<Roster> = OnceLock::new();
    ROSTER.get_or_init(|| {
        let file = include_bytes!("../corpus/roster/valid");
        let roster: SignedRoster = serde_json::from_slice(file).expect("the seed is a roster");
        roster.verify().expect("the seed holds")
    })
}

fn job_document(bytes: &[u8]) -> Outcome {
    let document: JobDocument = serde_json::from_slice(bytes).map_err(not_json)?;
    Job::new(document).map(drop).map_err(code!())
}

fn data_schema(bytes: &[u8]) -> Outcome {
    serde_json::from_slice::<DataSchema>(bytes)
        .map(drop)
        .map_err(not_json)
}

fn model_spec(bytes: &[u8]) -> Outcome {
    let spec: ModelSpec = serde_json::from_slice(bytes).map_err(not_json)?;
    // The layout of any accepted model can be made, and covers its parameters.
    let layout = spec.layout();
    assert_eq!(layout.parameter_count(), spec.parameter_count());
    Ok(())
}

/// Three inputs, one output: four parameters.
pub(crate) fn small_model() -> ModelSpec {
    ModelSpec::new(
        3,
        vec![Layer::Dense { outputs: 1 }],
        Loss::BinaryCrossEntropy,
    )
    .expect("the model is valid")
}

fn parameters(bytes: &[u8]) -> Outcome {
    let parameters = Parameters::from_le_bytes(&small_model(), bytes).map_err(code!())?;
    assert_eq!(parameters.to_le_bytes(), bytes);
    Ok(())
}

fn optimizer_state(bytes: &[u8]) -> Outcome {
    let state = OptimizerState::from_bytes(&small_model(), bytes).map_err(code!())?;
    assert_eq!(state.to_bytes(), bytes);
    Ok(())
}

fn ledger_entry(bytes: &[u8]) -> Outcome {
    let line = text(bytes)?;
    let entry = Entry::from_line(line).map_err(code!())?;
    assert_eq!(entry.to_line(), line);
    Ok(())
}
