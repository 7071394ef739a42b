//! A small log that keeps every rule, and the pieces to break it with.

pub(crate) mod blame;

use std::path::Path;

use consort_audit::{
    AuditLog, Code, Epsilon, Event, Fact, Hash, JobId, JobState, NoteSigner, Organisation, Phase,
    Record, RoundRef, Text,
};
use ed25519_dalek::SigningKey;

pub(crate) const ORIGIN: &str = "consort.example/audit";
pub(crate) const FIRST: RoundRef = RoundRef {
    number: 1,
    attempt: 1,
};

pub(crate) fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

pub(crate) fn write(folder: &Path, records: &[Record]) -> AuditLog {
    let mut log = AuditLog::open(folder, signer(1)).unwrap();
    log.append_all(records).unwrap();
    log
}

pub(crate) fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

fn fingerprint(name: &str) -> Hash {
    Hash(*blame::identity(name).public().fingerprint().as_bytes())
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub(crate) fn member(name: &str) -> Organisation {
    Organisation::new(name).unwrap()
}

pub(crate) fn members(names: &[&str]) -> Vec<Organisation> {
    names.iter().map(|name| member(name)).collect()
}

pub(crate) fn job() -> JobId {
    JobId::new("job-1").unwrap()
}

pub(crate) fn of_consortium(event: Event) -> Record {
    Fact::of_consortium(event).at(1_000)
}

pub(crate) fn of_job(event: Event) -> Record {
    Fact::of_job(job(), event).at(2_000)
}

pub(crate) fn of_round(round: RoundRef, event: Event) -> Record {
    Fact::of_round(job(), round, event).at(3_000)
}

pub(crate) fn started() -> Record {
    of_consortium(Event::Started {
        build: text("consort 0.1.0"),
        dangerous: vec![text("dangerous_simulated_roots")],
    })
}

pub(crate) fn restarted(log_size: u64) -> Record {
    of_consortium(Event::CoordinatorRestarted {
        build: text("consort 0.1.0"),
        log_size,
        dangerous: Vec::new(),
    })
}

pub(crate) fn manifest(version: u64, content: u8) -> Record {
    of_consortium(Event::ManifestInForce {
        version,
        manifest: hash(content),
    })
}

pub(crate) fn verdict(name: &str, accepted: bool) -> Record {
    let code = Code::new(if accepted { "accepted" } else { "tcb_floor" }).unwrap();
    let organisation = member(name);
    of_consortium(Event::EvidenceVerdict {
        organisation,
        accepted,
        code,
        simulated: true,
        report: hash(9),
    })
}

pub(crate) fn vote(name: &str, contract: Hash, approve: bool) -> Record {
    of_job(Event::Vote {
        organisation: member(name),
        contract,
        approve,
    })
}

pub(crate) fn state(state: JobState) -> Record {
    of_job(Event::JobState { state })
}

pub(crate) fn opened(round: RoundRef, cohort: &[&str]) -> Record {
    let (context, model) = (blame::context(round), hash(2));
    of_round(
        round,
        Event::RoundOpened {
            context,
            model,
            cohort: members(cohort),
            n_min: 2,
            threshold: 2,
        },
    )
}

pub(crate) fn phase(round: RoundRef, phase: Phase) -> Record {
    of_round(
        round,
        Event::PhaseChanged {
            phase,
            deadline_unix_ms: 9_000,
        },
    )
}

pub(crate) fn advert(round: RoundRef, name: &str) -> Record {
    of_round(
        round,
        Event::Advert {
            organisation: member(name),
            advert: hash(3),
        },
    )
}

pub(crate) fn update(round: RoundRef, name: &str, tree: u8) -> Record {
    of_round(
        round,
        Event::UpdateAcknowledged {
            organisation: member(name),
            tree: hash(tree),
        },
    )
}

pub(crate) fn survivors(round: RoundRef, names: &[&str]) -> Record {
    of_round(
        round,
        Event::Survivors {
            members: members(names),
            root: hash(5),
        },
    )
}

pub(crate) fn spend(name: &str, epsilon: f64) -> Record {
    of_job(Event::Spend {
        by: member(name),
        epsilon: Epsilon::new(epsilon).unwrap(),
    })
}

pub(crate) fn released(round: RoundRef) -> Record {
    of_round(round, Event::RoundReleased { aggregate: hash(6) })
}

pub(crate) fn aborted(round: RoundRef) -> Record {
    of_round(
        round,
        Event::RoundAborted {
            code: Code::new("too_few_survivors").unwrap(),
        },
    )
}

pub(crate) fn model() -> Record {
    of_job(Event::ModelReleased {
        model: hash(7),
        manifest: hash(8),
    })
}

/// A broker's release of a data key under a nonce.
pub(crate) fn key_released(name: &str, nonce: u8) -> Record {
    of_job(Event::KeyReleased {
        organisation: member(name),
        key: Code::new("records").unwrap(),
        version: 1,
        data_set: text("records"),
        contract: hash(4),
        nonce: hash(nonce),
        sealed_to: hash(9),
        report: hash(3),
        simulated: true,
    })
}

/// A broker's release of a state key under a nonce.
pub(crate) fn state_key_released(name: &str, nonce: u8) -> Record {
    of_consortium(Event::StateKeyReleased {
        organisation: member(name),
        key: Code::new("state").unwrap(),
        version: 1,
        nonce: hash(nonce),
        sealed_to: hash(9),
        report: hash(3),
        simulated: true,
    })
}

/// A broker that kept a data key.
pub(crate) fn key_refused(name: &str) -> Record {
    of_job(Event::KeyRefused {
        organisation: member(name),
        key: text("records"),
        code: Code::new("key_nonce").unwrap(),
        correlation: Code::new("00ff").unwrap(),
    })
}

/// Start to an approved, running job of the members a, b and c.
pub(crate) fn running_job() -> Vec<Record> {
    let mut records = vec![started()];
    for name in ["a", "b", "c"] {
        records.push(of_consortium(Event::Enrolment {
            organisation: member(name),
            identity: fingerprint(name),
            roster: hash(2),
        }));
        records.push(verdict(name, true));
    }
    records.push(of_job(Event::JobSubmitted {
        contract: hash(4),
        by: text("ada"),
    }));
    records.push(state(JobState::Voting));
    records.extend(["a", "b", "c"].map(|name| vote(name, hash(4), true)));
    records.push(state(JobState::Running));
    records
}

/// An opened round in which a, b and c have acknowledged updates.
pub(crate) fn collected(round: RoundRef) -> Vec<Record> {
    let mut records = vec![
        opened(round, &["a", "b", "c"]),
        phase(round, Phase::Joining),
    ];
    records.extend(["a", "b", "c"].map(|name| advert(round, name)));
    records.push(phase(round, Phase::Sharing));
    let shares = |name| {
        of_round(
            round,
            Event::Shares {
                organisation: member(name),
                shares: hash(4),
            },
        )
    };
    records.extend(["a", "b", "c"].map(shares));
    records.push(phase(round, Phase::Collecting));
    records.extend(["a", "b", "c"].map(|name| spend(name, 0.5)));
    records.extend(["a", "b", "c"].map(|name| update(round, name, 5)));
    records
}

/// A log that keeps every rule: a released round, an aborted one, a restart, a released model.
pub(crate) fn whole_story() -> Vec<Record> {
    let second = RoundRef {
        number: 2,
        attempt: 1,
    };
    let mut records = running_job();
    records.push(manifest(1, 1));
    records.extend(collected(FIRST));
    let proof = blame::contradiction(FIRST, "c", "c");
    records.push(blame::blame(FIRST, "c", "contradiction", FIRST, proof));
    records.push(phase(FIRST, Phase::Confirming));
    records.push(survivors(FIRST, &["a", "b"]));
    records.push(phase(FIRST, Phase::Unmasking));
    records.push(released(FIRST));
    records.push(opened(second, &["a", "b"]));
    records.push(restarted(records.len() as u64));
    records.push(manifest(2, 2));
    records.push(aborted(second));
    records.push(model());
    records.extend([key_released("a", 1), key_refused("a"), key_released("a", 2)]);
    records.push(state_key_released("a", 3));
    records.push(state(JobState::Completed));
    records
}
