//! Documents that people and peers write: rosters, jobs, models; and what a participant or coordinator stored.

use crate::{Decoder, Outcome, code, text};
use consort_contract::{DataSchema, Job, JobDocument, OrganisationId, SignedRoster};
use consort_model::{Layer, Loss, ModelSpec, OptimizerState, Parameters};
use consort_privacy::Entry;

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
