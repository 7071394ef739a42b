//! State keys against a broker on real files and simulated machines: released once for a nonce, to this organisation's machine alone.

use consort_attestation::Attester;
use consort_attestation::simulated::{SimulatedAttester, SimulatedMachine};
use consort_attestation::{ChipId, HostData, Measurement};
use consort_audit::{ENTRIES_FILE, Record};
use consort_contract::Label;
use consort_vault::StateKey;
use consort_vault::release::ReleaseKeyPair;

use super::*;
use crate::rule::CoarseRefusal;
use crate::test_world::{SESSION, World, attester, machine, name, roster};

const KEY: &str = "clinic-1-state";

fn releases(world: &World, broker: &Broker) -> Arc<StateReleases> {
    let config = &world.config;
    let key = config.state_key.clone().unwrap();
    let node = world.node();
    let crash = CrashPoints::default();
    let releases = StateReleases::open(config, &key, &node, broker, crash).unwrap();
    // The gate's verdict comes before every release in a real log.
    let verdict = Event::EvidenceVerdict {
        organisation: record::organisation(name(1).as_str()),
        accepted: true,
        code: record::code("accepted"),
        simulated: true,
        report: Hash([1; 32]),
    };
    let fact = Fact::of_consortium(verdict);
    releases.journal.append(fact).unwrap();
    Arc::new(releases)
}

/// What a machine asks for under a nonce, all in order, for this job and bound to this.
fn request_about(
    attester: &SimulatedAttester,
    nonce: [u8; 32],
    pair: &ReleaseKeyPair,
    key_id: &str,
    job: &[u8],
    bound_to: &[u8; 32],
) -> StateReleaseRequest {
    let statement = key_release(&KeyRelease {
        nonce: &nonce,
        hpke_key: pair.public(),
        key_id,
        job,
        manifest_hash: bound_to,
    });
    StateReleaseRequest {
        nonce: nonce.to_vec(),
        hpke_key: pair.public().to_vec(),
        key_id: key_id.to_owned(),
        evidence: attester.attest(statement.report_data()).unwrap().to_bytes(),
    }
}

fn bound_to() -> [u8; 32] {
    starting::instead_of_a_manifest(&roster().verify().unwrap())
}

fn request(
    attester: &SimulatedAttester,
    nonce: [u8; 32],
    pair: &ReleaseKeyPair,
) -> StateReleaseRequest {
    request_about(attester, nonce, pair, KEY, b"", &bound_to())
}

fn log(world: &World) -> Vec<Event> {
    let folder = world.config.log_dir();
    consort_audit::verify(&folder, None).unwrap();
    let text = std::fs::read_to_string(folder.join(ENTRIES_FILE)).unwrap();
    text.lines()
        .map(|line| Record::from_line(line.as_bytes()).unwrap().event)
        .collect()
}

/// The log's code and the coarse reason of a refusal.
fn refused(world: &World, answer: Result<SealedKey, NotReleased>) -> (String, CoarseRefusal) {
    let Err(NotReleased::Refused { coarse, .. }) = answer else {
        panic!("it was not refused: {answer:?}");
    };
    let Some(Event::KeyRefused { code, .. }) = log(world).pop() else {
        panic!("the log does not end with a refusal");
    };
    (code.to_string(), coarse)
}

async fn state_key(releases: &Arc<StateReleases>) -> StateKey {
    let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
    let asked = request(&attester(machine(1)), nonce, &pair);
    let sealed = releases.release(SESSION, asked).await.unwrap();
    let terms = StateTerms {
        nonce,
        key_id: Label::new(KEY).unwrap(),
        version: 1,
        organisation: name(1),
    };
    StateKey::from_released(&pair.open(&sealed, &terms).unwrap())
}

#[tokio::test]
async fn the_same_state_key_is_released_at_every_start_and_each_release_stands_in_the_log() {
    let world = World::new().await;
    let broker = world.broker();
    let first = state_key(&releases(&world, &broker)).await;
    drop(broker);
    let broker = world.broker();
    let again = state_key(&releases(&world, &broker)).await;
    assert_eq!(first.fingerprint(), again.fingerprint());
    let released: Vec<_> = log(&world)
        .into_iter()
        .filter_map(|event| {
            if let Event::StateKeyReleased {
                key,
                version,
                simulated,
                nonce,
                ..
            } = event
            {
                Some((key.to_string(), version, simulated, nonce))
            } else {
                None
            }
        })
        .collect();
    let [one, other] = &released[..] else {
        panic!("two releases are logged, not {}", released.len());
    };
    assert_eq!((one.0.as_str(), one.1, one.2), (KEY, 1, true));
    assert_ne!(one.3, other.3);
}

#[tokio::test]
async fn a_nonce_is_good_for_one_release_in_its_session() {
    let world = World::new().await;
    let broker = world.broker();
    let releases = releases(&world, &broker);
    let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
    let asked = request(&attester(machine(1)), nonce, &pair);
    releases.release(SESSION, asked.clone()).await.unwrap();
    let refusal = ("key_nonce".to_owned(), CoarseRefusal::Nonce);
    let again = releases.release(SESSION, asked).await;
    assert_eq!(refused(&world, again), refusal);
    let nonce = releases.challenge(SESSION);
    let asked = request(&attester(machine(1)), nonce, &pair);
    let elsewhere = releases.release([8; 32], asked.clone()).await;
    assert_eq!(refused(&world, elsewhere), refusal);
    let spent = releases.release(SESSION, asked).await;
    assert_eq!(refused(&world, spent), refusal);
    // A nonce of the port for data keys is none here.
    let nonce = broker.challenge(SESSION);
    let asked = request(&attester(machine(1)), nonce, &pair);
    let other_port = releases.release(SESSION, asked).await;
    assert_eq!(refused(&world, other_port), refusal);
}

#[tokio::test]
async fn another_machine_program_statement_or_key_gets_nothing() {
    let world = World::new().await;
    let broker = world.broker();
    let releases = releases(&world, &broker);
    let own = machine(1);
    let machines: [(SimulatedMachine, &str); 3] = [
        (
            SimulatedMachine {
                measurement: Measurement::new([0x4E; 48]),
                ..own
            },
            "attest.measurement",
        ),
        (
            SimulatedMachine {
                chip_id: ChipId::new([9; 64]),
                ..own
            },
            "attest.chip-id",
        ),
        (
            SimulatedMachine {
                host_data: HostData::new([9; 32]),
                ..own
            },
            "attest.host-data",
        ),
    ];
    for (machine, code) in machines {
        let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
        let asked = request(&attester(machine), nonce, &pair);
        let answer = releases.release(SESSION, asked).await;
        let (found, coarse) = refused(&world, answer);
        assert_eq!((found.as_str(), coarse), (code, CoarseRefusal::Evidence));
    }
    let manifest = world.manifest;
    let about: [(&str, &[u8], [u8; 32], &str); 4] = [
        (KEY, b"job-1", bound_to(), "attest.report-data"),
        (KEY, b"", *manifest.as_bytes(), "attest.report-data"),
        ("breast-cancer-key", b"", bound_to(), "key_unknown"),
        ("nobodys-key", b"", bound_to(), "key_unknown"),
    ];
    for (key_id, job, bound_to, code) in about {
        let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
        let attester = attester(machine(1));
        let asked = request_about(&attester, nonce, &pair, key_id, job, &bound_to);
        let answer = releases.release(SESSION, asked).await;
        assert_eq!(refused(&world, answer).0, code, "{key_id}");
    }
    let nonce = releases.challenge(SESSION);
    let mut asked = request(&attester(machine(1)), nonce, &ReleaseKeyPair::generate());
    asked.hpke_key[0] ^= 1;
    let answer = releases.release(SESSION, asked).await;
    assert_eq!(refused(&world, answer).0, "attest.report-data");
    assert!(
        !log(&world)
            .iter()
            .any(|event| matches!(event, Event::StateKeyReleased { .. }))
    );
}

#[tokio::test]
async fn a_simulated_machine_gets_no_state_key_unless_it_is_said() {
    let world = World::with(|config| config.dangerous_release_to_simulated = false).await;
    let broker = world.broker();
    let releases = releases(&world, &broker);
    let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
    let asked = request(&attester(machine(1)), nonce, &pair);
    let answer = releases.release(SESSION, asked).await;
    let refusal = ("key_simulated_machine".to_owned(), CoarseRefusal::Evidence);
    assert_eq!(refused(&world, answer), refusal);
}

#[tokio::test]
async fn the_state_key_is_no_data_key_and_is_not_rotated() {
    let world = World::new().await;
    let id = Label::new(KEY).unwrap();
    let sealed_under = crate::init::newest_key(&world.config, &id).await;
    assert_eq!(sealed_under.err().unwrap().code(), "key_unknown");
    let rotated = crate::init::rotate(&world.config, &id).await;
    assert_eq!(rotated.unwrap_err().code(), "key_of_state_stays");
    // Nor is a data key given away where a configuration names it as the state's.
    let mut config = world.config.clone();
    let mut key = config.state_key.clone().unwrap();
    key.key_id = Label::new("breast-cancer-key").unwrap();
    config.state_key = Some(key.clone());
    let broker = world.broker();
    let node = world.node();
    let releases =
        StateReleases::open(&config, &key, &node, &broker, CrashPoints::default()).unwrap();
    let releases = Arc::new(releases);
    let (nonce, pair) = (releases.challenge(SESSION), ReleaseKeyPair::generate());
    let own = attester(machine(1));
    let asked = request_about(&own, nonce, &pair, "breast-cancer-key", b"", &bound_to());
    let answer = releases.release(SESSION, asked).await;
    assert_eq!(refused(&world, answer).0, "key_unknown");
}
