//! Both machines against the published vectors: members that draw the reference's scalars say, byte for byte, what the
//! reference says, and the coordinator that hears them comes to the reference's sum.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]
#![allow(missing_docs, unreachable_pub, reason = "tests")]

#[path = "../../../vectors/rust/answers.rs"]
mod answers;
mod circle;
mod complete;
#[path = "../../../vectors/rust/replay.rs"]
mod replay;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use answers::{array, at, bytes, digest, list, number, small, text};
use consort_aggregation::{MemberIndex, VectorSchema, Width};
use consort_contract::{
    ConsortiumId, IdentityKey, IdentitySecret, JobId, OrganisationId, Signature, Thresholds,
};
use consort_round::{Attempt, CohortMember, RoundNumber, RoundOpen, RoundTerms};
use serde_json::Value;

fn member(value: &Value, place: &str) -> MemberIndex {
    MemberIndex::new(small(value, place)).unwrap()
}

fn members(value: &Value, place: &str) -> BTreeSet<MemberIndex> {
    list(value, place).iter().map(|m| member(m, "")).collect()
}

/// The entry of a list that is about this member, if there is one.
fn about<'a>(value: &'a Value, place: &str, member: MemberIndex) -> Option<&'a Value> {
    let mut entries = list(value, place).iter();
    entries.find(|entry| number(entry, "/member") == u64::from(member.get()))
}

/// The members of whom a list has an entry.
fn listed(value: &Value, place: &str) -> BTreeSet<MemberIndex> {
    let entries = list(value, place).iter();
    entries.map(|entry| member(entry, "/member")).collect()
}

fn signature(value: &Value, place: &str) -> Signature {
    Signature(array(value, place))
}

/// A map from members to hexadecimal text, as both sides can be compared.
fn by_member<B: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (MemberIndex, B)>,
) -> BTreeMap<MemberIndex, Vec<u8>> {
    let entries = entries.into_iter();
    entries.map(|(m, b)| (m, b.as_ref().to_vec())).collect()
}

fn read_by_member(value: &Value, place: &str) -> BTreeMap<MemberIndex, Vec<u8>> {
    let entries = at(value, place).as_object().unwrap().iter();
    by_member(entries.map(|(name, entry)| {
        let member = MemberIndex::new(name.parse().unwrap()).unwrap();
        (member, bytes(entry, ""))
    }))
}

fn terms(opened: &Value) -> RoundTerms {
    let terms = at(opened, "/terms");
    let asked = |name: &str| small(terms, &format!("/thresholds/{name}"));
    let cohort = list(terms, "/cohort").iter().map(|entry| {
        let organisation = OrganisationId::new(text(entry, "/organisation")).unwrap();
        let identity = IdentityKey::from_slice(&bytes(entry, "/identity")).unwrap();
        let cohort_member = CohortMember {
            organisation,
            identity,
        };
        (member(entry, "/index"), cohort_member)
    });
    let width = Width::new(small(terms, "/width")).unwrap();
    RoundTerms {
        consortium: ConsortiumId::new(text(terms, "/consortium")).unwrap(),
        job: JobId::new(text(terms, "/job")).unwrap(),
        round: RoundNumber(small(terms, "/round")),
        attempt: Attempt(small(terms, "/attempt")),
        cohort: cohort.collect(),
        thresholds: Thresholds::new(asked("n"), Some(asked("c")), Some(asked("n_min"))).unwrap(),
        roster_root: digest(terms, "/roster_root"),
        contract: digest(terms, "/contract"),
        votes: digest(terms, "/votes"),
        model: digest(terms, "/model"),
        schema: VectorSchema::new(number(terms, "/elements"), width).unwrap(),
        log_head: digest(terms, "/log_head"),
    }
}

fn announced(opened: &Value) -> RoundOpen {
    let coordinator = IdentitySecret::from_seed(&array(opened, "/coordinator_seed"));
    RoundOpen::new(terms(opened), &coordinator)
}
