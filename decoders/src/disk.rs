//! What daemons read from disk: configuration, the data file, stored events and records, spools, sealed state, and the model that
//! is handed over.

use crate::{Decoder, Outcome, code, documents, head, text};
use consort_aggregation::Digest;
use consort_contract::{DataSchema, IdentitySecret, JobDocument, JobId, MissingValues, Report};
use consort_coordinator::{jobs::Stamped, model_file, verify_manifest};
use consort_daemon::config::{self, DaemonConfig};
use consort_site::consent::ConsentPolicy;
use consort_site::state::SiteState;
use consort_storage::{MemoryStore, RecordKey, RecordStore, spooled_frames};
use consort_vault::StateKey;
use std::path::Path;
use std::sync::{Arc, LazyLock};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "coordinator-config",
        decode: daemon_config::<consort_coordinator::Config>,
    },
    Decoder {
        name: "participant-config",
        decode: daemon_config::<consort_site::config::Config>,
    },
    Decoder {
        name: "consent-policy",
        decode: consent_policy,
    },
    Decoder {
        name: "data-file",
        decode: data_file,
    },
    Decoder {
        name: "stored-event",
        decode: stored_event,
    },
    Decoder {
        name: "stored-state",
        decode: stored_state,
    },
    Decoder {
        name: "stored-spool",
        decode: stored_spool,
    },
    Decoder {
        name: "state-key",
        decode: state_key,
    },
    Decoder {
        name: "sealed-state",
        decode: sealed_state,
    },
    Decoder {
        name: "model-file",
        decode: model,
    },
    Decoder {
        name: "model-manifest",
        decode: manifest,
    },
    Decoder {
        name: "report",
        decode: report,
    },
];

fn daemon_config<T: DaemonConfig>(bytes: &[u8]) -> Outcome {
    config::parse::<T>(Path::new("config.toml"), text(bytes)?)
        .map(drop)
        .map_err(code!())
}

fn consent_policy(bytes: &[u8]) -> Outcome {
    ConsentPolicy::parse(Path::new("consent.toml"), text(bytes)?)
        .map(drop)
        .map_err(code!())
}

/// The corpus' job's schema, and the same where rows with missing values are dropped.
static SCHEMAS: LazyLock<[DataSchema; 2]> = LazyLock::new(|| {
    let document: JobDocument =
        serde_json::from_slice(include_bytes!("../corpus/job-document/valid"))
            .expect("the corpus has a job");
    let schema = document.data;
    let dropping = DataSchema::new(
        schema.features().to_vec(),
        schema.target().clone(),
        MissingValues::DropRow,
    )
    .expect("it differs in a choice");
    [schema, dropping]
});

/// As many records as the fuzzer's inputs can hold.
const MAX_RECORDS: usize = 1 << 16;

fn data_file(bytes: &[u8]) -> Outcome {
    let read =
        |schema| consort_site::data::parse(Path::new("data.csv"), bytes, schema, MAX_RECORDS);
    let [refusing, dropping] = &*SCHEMAS;
    let outcome = read(refusing);
    if let Ok(data) = &outcome {
        assert_eq!(data.features().len(), data.records() * data.inputs());
        assert!(data.features().iter().all(|value| value.is_finite()));
        // Nothing is missing, so nothing is dropped.
        assert_eq!(read(dropping).as_ref().ok(), Some(data));
    } else if let Ok(kept) = read(dropping) {
        assert!(kept.dropped() > 0);
    }
    outcome.map(drop).map_err(code!())
}

fn stored_event(bytes: &[u8]) -> Outcome {
    Stamped::decode(bytes).map(drop).map_err(code!())
}

/// The first byte says which record of a job is replaced by the rest; then a participant starts with it.
fn stored_state(bytes: &[u8]) -> Outcome {
    let ([which], record) = head::<1>(bytes)?;
    let collections = ["answered", "proposals", "votes", "approvals"];
    let collection = collections[usize::from(which) % collections.len()];
    let job = JobId::new("job-1").map_err(code!())?;
    let store = Arc::new(MemoryStore::new());
    let mut state = SiteState::open(store.clone()).map_err(code!())?;
    state
        .pin(&job, &Default::default(), &Default::default())
        .map_err(code!())?;
    state.approve(&job, &Default::default()).map_err(code!())?;
    state.answer(&job, 1, 1).map_err(code!())?;
    let key = RecordKey::new(collection, job.as_str()).map_err(code!())?;
    let before = store.get(&key).map_err(code!())?;
    assert!(before.is_some(), "the state has no {collection}");
    store.put(&key, record).map_err(code!())?;
    let state = SiteState::open(store).map_err(code!())?;
    state.job(&job).map(drop).map_err(code!())
}

/// The length of the file of records (2 bytes, big-endian), that file, and the frames. What is torn is cut off, which is no error
/// of the store; here it is one.
fn stored_spool(bytes: &[u8]) -> Outcome {
    let (length, rest) = head::<2>(bytes)?;
    let length = usize::from(u16::from_be_bytes(length));
    let (records, data) = rest
        .split_at_checked(length)
        .ok_or_else(|| "too_short".to_owned())?;
    let mark = |frame: &[u8]| *Digest::of(frame).as_bytes();
    let (frames, whole) = spooled_frames(records, data, mark).map_err(|_| "spool_unreadable")?;
    // Each record has 4 bytes of length and 32 of its mark.
    assert!(36 * frames <= records.len() && whole <= data.len() as u64);
    if frames > 0 && 36 * frames == records.len() && whole == data.len() as u64 {
        Ok(())
    } else {
        Err("spool_torn".to_owned())
    }
}

fn state_key(bytes: &[u8]) -> Outcome {
    StateKey::parse(text(bytes)?)
        .map(drop)
        .ok_or_else(|| "vault_key_malformed".to_owned())
}

/// The key of the corpus' sealed object.
static STATE_KEY: LazyLock<StateKey> =
    LazyLock::new(|| StateKey::parse(&"5a".repeat(32)).expect("64 hexadecimal characters"));

/// Seals an object as the one key that `sealed-state` knows, for the corpus.
#[must_use]
pub fn seal_state(plain: &[u8]) -> Vec<u8> {
    STATE_KEY.seal("identity", "clinic-1", plain)
}

fn sealed_state(bytes: &[u8]) -> Outcome {
    STATE_KEY
        .open("identity", "clinic-1", bytes)
        .map(drop)
        .map_err(code!())
}

fn model(bytes: &[u8]) -> Outcome {
    model_file::read(&documents::small_model(), bytes)
        .map(drop)
        .map_err(code!())
}

fn report(bytes: &[u8]) -> Outcome {
    Report::from_json(bytes).map(drop).map_err(code!())
}

/// Who signs the corpus' manifest, which is about these bytes.
pub const MODEL: &[u8] = b"a model";

/// The key of the corpus' coordinator.
#[must_use]
pub fn coordinator() -> IdentitySecret {
    IdentitySecret::from_seed(&[0xC0; 32])
}

static COORDINATOR: LazyLock<consort_contract::IdentityKey> =
    LazyLock::new(|| coordinator().public());

fn manifest(bytes: &[u8]) -> Outcome {
    verify_manifest(bytes, MODEL, &COORDINATOR)
        .map(drop)
        .map_err(code!())
}
