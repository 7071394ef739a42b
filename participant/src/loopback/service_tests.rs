use super::*;
use crate::test_world::{Trusting, coordinator, job, job_id, name, roster, secret};
use consort_aggregation::{Digest, MemberIndex, SecretKey};
use consort_contract::ConsortiumId;
use consort_proto::convert::round_open_to_wire;
use consort_round::{Attempt, RoundNumber, RoundTerms};
use consort_storage::{MemoryStore, RecordStore};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Vouches for clinic 1 over these records, with evidence that shows the statement.
fn vouching(records: &Arc<dyn RecordStore>) -> Vouching {
    Vouching {
        organisation: name(1),
        identity: secret(1).public(),
        simulated: true,
        roster: roster(),
        judge: Box::new(Trusting),
        attest: Mutex::new(Box::new(|keys| {
            let announced = keys.announcement.as_bytes();
            Ok([keys.organisation.as_str().as_bytes(), announced].concat())
        })),
        state: Mutex::new(SiteState::open(Arc::clone(records)).unwrap()),
    }
}

fn records() -> Arc<dyn RecordStore> {
    Arc::new(MemoryStore::new())
}

fn terms(round: u32, attempt: u32) -> RoundTerms {
    let (job, plan) = job();
    let cohort = (1..=4).map(|i: u8| {
        let member = CohortMember {
            organisation: name(i),
            identity: secret(i).public(),
        };
        (MemberIndex::new(i.into()).unwrap(), member)
    });
    RoundTerms {
        consortium: roster().consortium().clone(),
        job: job_id(),
        round: RoundNumber(round),
        attempt: Attempt(attempt),
        cohort: cohort.collect(),
        thresholds: *job.thresholds(),
        roster_root: roster().root(),
        contract: plan.contract_hash(&job),
        votes: Digest::of(b"votes"),
        model: Digest::of(b"model"),
        schema: plan.schema(),
        log_head: Digest::of(b"log"),
    }
}

fn announced(round: u32, attempt: u32) -> RoundOpen {
    RoundOpen::new(terms(round, attempt), &coordinator())
}

fn asked(open: &RoundOpen) -> wire::RoundKeyEvidenceRequest {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let mut key = || SecretKey::random(&mut rng).public().to_bytes().to_vec();
    wire::RoundKeyEvidenceRequest {
        open: Some(round_open_to_wire(open)),
        mask_key: key(),
        share_key: key(),
    }
}

fn refused(vouching: &Vouching, request: wire::RoundKeyEvidenceRequest) -> String {
    vouching.vouch(request).unwrap_err().code().to_owned()
}

#[test]
fn an_announced_attempt_gets_evidence_over_its_announcement() {
    let open = announced(1, 1);
    let evidence = vouching(&records()).vouch(asked(&open)).unwrap();
    let expected = [b"clinic-1".as_slice(), open.announcement().as_bytes()].concat();
    assert_eq!(evidence, expected);
}

#[test]
fn an_attempt_gets_evidence_once_also_after_a_restart() {
    let records = records();
    let first = vouching(&records);
    first.vouch(asked(&announced(2, 1))).unwrap();
    let restarted = vouching(&records);
    for vouching in [&first, &restarted] {
        for (round, attempt) in [(2, 1), (1, 1), (1, 9)] {
            let again = asked(&announced(round, attempt));
            let error = vouching.vouch(again).unwrap_err();
            assert_eq!(error.code(), "state_not_newer");
            assert_eq!(error.status().code(), Code::AlreadyExists);
        }
    }
    assert!(restarted.vouch(asked(&announced(2, 2))).is_ok());
}

#[test]
fn what_the_coordinator_did_not_announce_to_this_roster_gets_no_evidence_and_spends_nothing() {
    let vouching = vouching(&records());
    let forged = RoundOpen::new(terms(1, 1), &secret(2));
    assert_eq!(
        refused(&vouching, asked(&forged)),
        "round_coordinator_signature"
    );
    let changed = |change: fn(&mut RoundTerms)| {
        let mut terms = terms(1, 1);
        change(&mut terms);
        asked(&RoundOpen::new(terms, &coordinator()))
    };
    for request in [
        changed(|terms| terms.consortium = ConsortiumId::new("another").unwrap()),
        changed(|terms| terms.roster_root = Digest::of(b"another")),
        changed(|terms| {
            let last = MemberIndex::new(4).unwrap();
            terms.cohort.get_mut(&last).unwrap().identity = secret(5).public();
        }),
        changed(|terms| {
            let first = MemberIndex::new(1).unwrap();
            let twin = terms.cohort[&MemberIndex::new(2).unwrap()].clone();
            terms.cohort.insert(first, twin);
        }),
    ] {
        assert_eq!(refused(&vouching, request), "round_terms");
    }
    assert!(vouching.vouch(asked(&announced(1, 1))).is_ok());
}

#[test]
fn keys_that_are_no_two_elements_get_no_evidence_and_spend_nothing() {
    let vouching = vouching(&records());
    let good = asked(&announced(1, 1));
    for spoil in [
        |request: &mut wire::RoundKeyEvidenceRequest| request.share_key = request.mask_key.clone(),
        |request: &mut wire::RoundKeyEvidenceRequest| request.mask_key = vec![0; 32],
        |request: &mut wire::RoundKeyEvidenceRequest| request.mask_key = vec![0xff; 32],
        |request: &mut wire::RoundKeyEvidenceRequest| request.share_key.truncate(31),
    ] {
        let mut request = good.clone();
        spoil(&mut request);
        assert_eq!(refused(&vouching, request), "uplink_round_keys");
    }
    assert_eq!(
        refused(&vouching, wire::RoundKeyEvidenceRequest::default()),
        "wire_field_missing"
    );
    assert!(vouching.vouch(good).is_ok());
}

#[test]
fn a_verdict_says_which_check_a_peers_evidence_failed() {
    let vouching = vouching(&records());
    let keys = asked(&announced(1, 1));
    let judged = |member: u32, evidence: &[u8]| {
        vouching.judged(wire::JudgeEvidenceRequest {
            open: keys.open.clone(),
            advert: Some(round::Advert {
                member,
                mask_key: keys.mask_key.clone(),
                share_key: keys.share_key.clone(),
                evidence: evidence.to_vec(),
                ledger_sequence: 0,
                signature: vec![0; 64],
            }),
        })
    };
    assert_eq!(judged(2, b"evidence").unwrap(), Ok(()));
    assert_eq!(judged(2, b"else").unwrap(), Err("not_evidence".to_owned()));
    let long = vec![0; MAX_EVIDENCE_BYTES + 1];
    assert_eq!(judged(2, &long).unwrap(), Err("round_malformed".to_owned()));
    assert_eq!(
        judged(5, b"evidence").unwrap_err().code(),
        "uplink_stranger"
    );
}
