//! On a circle a member is handed its neighbours' statements, the digests of the others, and its own boxes: the same message as
//! the machine's directive, with one encoding of each statement for all members.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::{Circle, Commitments, Digest, Graph, MemberIndex, RoundKeyContext};
use consort_contract::{JobId, Signature};
use consort_proto::convert::{AttemptKey, directive_to_wire};
use consort_proto::handout::Handout;
use consort_proto::wire::round::v1::follow_response::Event;
use consort_round::coordinator::Briefing;
use consort_round::messages::{ShareKeys, ShareStatement, SharedSet};
use consort_round::{Attempt, RoundNumber};

const MEMBERS: u32 = 12;
const REACH: u32 = 2;

/// The base point (RFC 9496, A.1).
const BASE: &str = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";

fn members() -> impl Iterator<Item = MemberIndex> {
    (1..=MEMBERS).map(|index| MemberIndex::new(index).unwrap())
}

fn briefing() -> Briefing {
    let context2 = RoundKeyContext::new(&Digest::new([1; 32]), &Digest::new([2; 32]));
    let circle = Circle {
        reach: REACH,
        witnesses: 2,
    };
    let seating = Graph::Harary(circle).seat(&context2, members());
    let base: Vec<u8> = (0..BASE.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&BASE[at..at + 2], 16).unwrap())
        .collect();
    let commitments = || Commitments::from_bytes(&base).unwrap();
    let shared: BTreeMap<_, _> = members()
        .map(|member| {
            let sealed: BTreeMap<_, _> = (seating.neighbours(member).into_iter())
                .map(|to| (to, vec![u8::try_from(member.get()).unwrap(); 80]))
                .collect();
            let statement = ShareStatement {
                member,
                mask_key: commitments(),
                self_mask: commitments(),
                sealed: (sealed.iter())
                    .map(|(to, bytes)| (*to, Digest::of(bytes)))
                    .collect(),
                signature: Signature([7; 64]),
            };
            (member, ShareKeys { statement, sealed })
        })
        .collect();
    let digests = shared
        .iter()
        .map(|(m, s)| (*m, s.statement.digest(&context2)));
    Briefing::Submit {
        u2: Arc::new(digests.collect::<SharedSet>()),
        shared: Arc::new(shared),
        seating: Arc::new(seating),
    }
}

#[test]
fn a_delivery_on_a_circle_is_the_members_own_and_shares_its_statements_with_the_others() {
    let key = AttemptKey {
        job: JobId::new("job-1").unwrap(),
        round: RoundNumber(1),
        attempt: Attempt(1),
    };
    let briefing = briefing();
    let handout = Handout::new(&key, briefing.clone());
    let mut encodings = BTreeMap::new();
    for member in members() {
        let handed = handout.event(member);
        assert_eq!(handed, directive_to_wire(&key, &briefing.directive(member)));
        let Event::SharesDelivery(delivery) = handed else {
            panic!("a delivery is due")
        };
        let (near, far) = (2 * REACH as usize + 1, (MEMBERS - 2 * REACH - 1) as usize);
        assert_eq!(
            (
                delivery.statements.len(),
                delivery.others.len(),
                delivery.sealed.len()
            ),
            (near, far, near - 1)
        );
        for statement in delivery.statements {
            // Each statement lies in one place, whoever is handed it.
            let place = encodings
                .entry(statement.clone())
                .or_insert(statement.as_ptr());
            assert_eq!(*place, statement.as_ptr());
        }
    }
    assert_eq!(encodings.len(), MEMBERS as usize);
}
