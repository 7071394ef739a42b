//! A round whose members have keys, and what convicts one of them.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, Digest, MemberIndex, VectorSchema, Width};
use consort_audit::{Code, Event, Hash, Proof, Record, RoundRef};
use consort_contract::{ConsortiumId, IdentitySecret, OrganisationId, Thresholds};
use consort_round::blame::{Blame, Proceedings, Signed};
use consort_round::{Attempt, CohortMember, RoundNumber, RoundTerms};

use super::{member, of_round};

const NAMES: [&str; 3] = ["a", "b", "c"];

pub(crate) fn identity(name: &str) -> IdentitySecret {
    IdentitySecret::from_seed(Digest::of(name.as_bytes()).as_bytes())
}

fn index(name: &str) -> MemberIndex {
    let place = NAMES.iter().position(|known| *known == name).unwrap();
    MemberIndex::new(u32::try_from(place).unwrap() + 1).unwrap()
}

fn terms(round: RoundRef) -> RoundTerms {
    let member = |name: &str| CohortMember {
        organisation: OrganisationId::new(name).unwrap(),
        identity: identity(name).public(),
    };
    let digest = |name: &str| Digest::of(name.as_bytes());
    RoundTerms {
        consortium: ConsortiumId::new("tests").unwrap(),
        job: consort_contract::JobId::new("job-1").unwrap(),
        round: RoundNumber(u32::try_from(round.number).unwrap()),
        attempt: Attempt(round.attempt),
        cohort: NAMES.map(|name| (index(name), member(name))).into(),
        thresholds: Thresholds::new(3, None, None).unwrap(),
        roster_root: digest("roster"),
        contract: digest("contract"),
        votes: digest("votes"),
        model: digest("model"),
        schema: VectorSchema::new(4, Width::new(40).unwrap()).unwrap(),
        log_head: digest("log head"),
    }
}

pub(crate) fn context(round: RoundRef) -> Hash {
    Hash(*terms(round).context().as_bytes())
}

/// An advert with this content that says it is `name`'s, signed by `signer`.
fn advert(round: RoundRef, name: &str, content: &[u8], signer: &str) -> Signed {
    let bytes = Canonical::new("consort/round/advert/v1")
        .bytes(terms(round).context().as_bytes())
        .u64(index(name).get().into())
        .bytes(content)
        .finish();
    let signature = identity(signer).sign(&bytes);
    Signed { bytes, signature }
}

/// Two adverts of `name` in `about`, the second signed by `signer`.
pub(crate) fn contradiction(about: RoundRef, name: &str, signer: &str) -> Proof {
    let blame = Blame::Contradiction {
        first: advert(about, name, b"one", name),
        second: advert(about, name, b"other", signer),
    };
    Proof::new(blame.encode()).unwrap()
}

/// An entry in `round` that blames `name` of `fault` with a record about another round, perhaps.
pub(crate) fn blame(
    round: RoundRef,
    name: &str,
    fault: &str,
    about: RoundRef,
    record: Proof,
) -> Record {
    let proceedings = Proceedings::new(&terms(about), BTreeMap::new());
    of_round(
        round,
        Event::Blame {
            organisation: member(name),
            fault: Code::new(fault).unwrap(),
            record,
            proceedings: Proof::new(proceedings.encode()).unwrap(),
        },
    )
}
