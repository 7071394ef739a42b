//! What the coordinator holds to hand out P4 is each statement once, however many members hear it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod briefing;

use briefing::{Crowd, key};
use consort_proto::convert::directive_to_wire;
use consort_proto::handout::Handout;
use consort_proto::parts::split;
use consort_proto::wire::round::v1::FollowResponse;
use peak_alloc::PeakAlloc;
use prost::Message;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// As `consort simulate --members 300 --colluders 30` has it.
const CROWD: Crowd = Crowd {
    members: 300,
    reach: 43,
    threshold: 61,
};

/// What is held while `held` lives, and at most while it was made, bytes.
fn cost<T>(make: impl FnOnce() -> T) -> (T, usize, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let held = make();
    let now = HEAP.current_usage().saturating_sub(before);
    (held, now, HEAP.peak_usage().saturating_sub(before))
}

// One test alone in its process: the allocator counts for all threads.
#[test]
fn three_hundred_deliveries_are_held_as_three_hundred_statements_and_one_is_made_at_a_time() {
    let briefing = CROWD.briefing();
    let (handout, held, _) = cost(|| Handout::new(&key(), briefing.clone()));
    let mut on_the_way = 0;
    let mut sent = 0;
    for member in CROWD.indices() {
        let (bytes, _, peak) = cost(|| {
            let parts = split(handout.event(member)).into_iter();
            let said = parts.map(|event| FollowResponse { event: Some(event) }.encode_to_vec());
            said.map(|part| part.len()).sum::<usize>()
        });
        on_the_way = on_the_way.max(peak);
        sent += bytes;
    }
    // Ten of three hundred, all parts of each at once: what every member's delivery costs that is held whole.
    let (_, whole, _) = cost(|| {
        let directives = CROWD.indices().take(10).map(|m| briefing.directive(m));
        let events = directives.map(|directive| split(directive_to_wire(&key(), &directive)));
        events.collect::<Vec<_>>()
    });
    let kib = 1024;
    println!(
        "{} KiB held for {} KiB that are sent; {} KiB more while one delivery is made; held whole they are {} KiB",
        held / kib,
        sent / kib,
        on_the_way / kib,
        30 * whole / kib
    );
    assert!(held < 4 * kib * kib, "{held} bytes");
    assert!(on_the_way < 256 * kib, "{on_the_way} bytes");
    assert!(sent > 150 * kib * kib, "{sent} bytes");
    assert!(30 * whole > 40 * held, "{whole} bytes for ten");
}
