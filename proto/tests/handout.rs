//! On a circle a member is handed its neighbours' statements, the digests of the others, and its own boxes: the same message as
//! the machine's directive, with one encoding of each statement for all members.
#![expect(clippy::unwrap_used, reason = "tests")]

mod briefing;

use std::collections::BTreeMap;

use briefing::{Crowd, key};
use consort_proto::convert::directive_to_wire;
use consort_proto::handout::Handout;
use consort_proto::wire::round::v1::follow_response::Event;

const CROWD: Crowd = Crowd {
    members: 12,
    reach: 2,
    threshold: 1,
};

#[test]
fn a_delivery_on_a_circle_is_the_members_own_and_shares_its_statements_with_the_others() {
    let briefing = CROWD.briefing();
    let handout = Handout::new(&key(), briefing.clone());
    let mut encodings = BTreeMap::new();
    for member in CROWD.indices() {
        let handed = handout.event(member);
        let directive = briefing.directive(member);
        assert_eq!(handed, directive_to_wire(&key(), &directive));
        let Event::SharesDelivery(delivery) = handed else {
            panic!("a delivery is due")
        };
        let counts = (
            delivery.statements.len(),
            delivery.others.len(),
            delivery.sealed.len(),
        );
        assert_eq!(counts, (5, 7, 4));
        for statement in delivery.statements {
            // Each statement lies in one place, whoever is handed it.
            let place = statement.as_ptr();
            assert_eq!(*encodings.entry(statement).or_insert(place), place);
        }
    }
    assert_eq!(encodings.len(), 12);
}
