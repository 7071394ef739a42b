//! Long messages come in parts that fit, and what is put together is what was split; parts that break a bound are refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use consort_proto::bounds::decode;
use consort_proto::parts::{Assembly, PartsError, split};
use consort_proto::wire::consent::v1::{Approval, Vote};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::{
    Advert, AdvertHead, AttemptId, CohortMember, Confirmation, Confirmations, FollowResponse,
    Heartbeat, KeyList, MemberDigest, RoundOpen, RoundResult, SealedShare, SecretShare,
    ShareKeysRequest, ShareStatement, SharesDelivery, Survivors, UnmaskRequest, UpdateSeal,
};
use prost::Message;
use prost::bytes::Bytes;

/// What the daemons read, bytes.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

fn id() -> Option<AttemptId> {
    Some(AttemptId {
        job: "job-1".to_owned(),
        round: 1,
        attempt: 1,
    })
}

/// The statement of a member of `n` with as many commitments as open a secret in a complete graph with a third colluding.
fn statement(member: u32, n: u32, threshold: usize) -> ShareStatement {
    let digest = |member| MemberDigest {
        member,
        digest: vec![2; 32],
    };
    ShareStatement {
        member,
        mask_key_commitments: vec![3; 32 * threshold],
        self_mask_commitments: vec![4; 32 * threshold],
        sealed: (1..=n).map(digest).collect(),
        signature: vec![5; 64],
    }
}

/// The delivery to one member of a complete graph: its boxes begin with its own byte.
fn delivery(to: u8, n: u32, threshold: usize) -> Event {
    let statements = (1..=n).map(|member| statement(member, n, threshold));
    delivery_of(to, statements.collect())
}

fn delivery_of(to: u8, statements: Vec<ShareStatement>) -> Event {
    let sealed = |statement: &ShareStatement| SealedShare {
        member: statement.member,
        sealed: vec![to; 80],
    };
    Event::SharesDelivery(SharesDelivery {
        id: id(),
        sealed: statements.iter().map(sealed).collect(),
        statements: statements.iter().map(encoded).collect(),
        others: [1000, 1001].map(|member| encoded(&other(member))).to_vec(),
        ..SharesDelivery::default()
    })
}

/// Lists of many long items hold them encoded.
fn encoded(item: &impl Message) -> Bytes {
    item.encode_to_vec().into()
}

fn other(member: u32) -> MemberDigest {
    MemberDigest {
        member,
        digest: vec![6; 32],
    }
}

fn key_list(n: u32, evidence: usize) -> Event {
    let advert = |member| Advert {
        member,
        mask_key: vec![1; 32],
        share_key: vec![2; 32],
        evidence: vec![3; evidence],
        ledger_sequence: 7,
        signature: vec![4; 64],
    };
    let head = |member| AdvertHead {
        member,
        mask_key: vec![1; 32],
        share_key: vec![2; 32],
        evidence: vec![3; 32],
        ledger_sequence: 7,
        signature: vec![4; 64],
    };
    Event::KeyList(KeyList {
        id: id(),
        adverts: (1..=n).map(|member| encoded(&advert(member))).collect(),
        heads: (n + 1..=1024)
            .map(|member| encoded(&head(member)))
            .collect(),
        ..KeyList::default()
    })
}

/// Each part over the wire, with its bounds.
fn carried(event: Event) -> Event {
    let bytes = FollowResponse { event: Some(event) }.encode_to_vec();
    assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{} bytes", bytes.len());
    decode::<FollowResponse>(&bytes).unwrap().event.unwrap()
}

fn assembled(parts: Vec<Event>, members: usize) -> Result<Option<Event>, PartsError> {
    let mut assembly = Assembly::default();
    let mut whole = None;
    for part in parts {
        assert_eq!(whole, None, "whole before its last part");
        whole = assembly.take(carried(part), members)?;
    }
    Ok(whole)
}

#[test]
fn the_longest_messages_of_any_cohort_fit_in_parts_and_come_back_whole() {
    // The longest statements that the bounds allow; more of them make more parts and no longer ones.
    let longest = (1..=40).map(|member| statement(member, 1024, 256));
    for (event, at_least) in [
        (delivery(1, 5, 4), 1),
        (delivery(1, 120, 80), 2),
        (delivery(1, 256, 171), 10),
        (delivery_of(1, longest.collect()), 4),
        (key_list(5, 2_700), 1),
        (key_list(256, 2_700), 2),
        (key_list(1024, 16_384), 30),
    ] {
        let parts = split(event.clone());
        assert!(parts.len() >= at_least, "{} parts", parts.len());
        assert_eq!(assembled(parts, 1024).unwrap(), Some(event));
    }
    let beat = Event::Heartbeat(Heartbeat {});
    assert_eq!(split(beat.clone()), std::slice::from_ref(&beat));
    assert_eq!(Assembly::default().take(beat.clone(), 3), Ok(Some(beat)));
}

#[test]
fn no_part_is_longer_than_its_longest_item_and_64_kib() {
    let longest = (1..=40).map(|member| statement(member, 1024, 256));
    for event in [delivery_of(1, longest.collect()), key_list(1024, 16_384)] {
        for part in split(event) {
            let bytes = FollowResponse { event: Some(part) }.encoded_len();
            assert!(bytes <= 64 * 1024 + 100, "{bytes} bytes");
        }
    }
}

#[test]
fn a_part_that_does_not_follow_is_refused_and_the_first_begins_anew() {
    let parts = split(delivery(1, 200, 134));
    assert!(parts.len() > 3);
    let mut other_attempt = parts.clone();
    if let Event::SharesDelivery(delivery) = &mut other_attempt[1] {
        delivery.id.as_mut().unwrap().attempt = 2;
    }
    let mut other_count = parts.clone();
    if let Event::SharesDelivery(delivery) = &mut other_count[1] {
        delivery.parts += 1;
    }
    let keys = split(key_list(1024, 16_384));
    for second in [
        &parts[2],
        &parts[parts.len() - 1],
        &other_attempt[1],
        &other_count[1],
        &keys[1],
    ] {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(parts[0].clone(), 1024), Ok(None));
        let refused = assembly.take(second.clone(), 1024);
        assert_eq!(refused, Err(PartsError::Order));
        assert_eq!(PartsError::Order.code(), "parts_order");
        // What was held is gone.
        let refused = assembly.take(parts[1].clone(), 1024);
        assert_eq!(refused, Err(PartsError::Order));
        // A new stream says all again, also in the middle of another message.
        assert_eq!(assembly.take(keys[0].clone(), 1024), Ok(None));
        let whole = parts.iter().map(|part| assembly.take(part.clone(), 1024));
        assert_eq!(whole.last(), Some(Ok(Some(delivery(1, 200, 134)))));
    }
    for stray in &parts[1..] {
        let refused = Assembly::default().take(stray.clone(), 1024);
        assert_eq!(refused, Err(PartsError::Order));
    }
}

#[test]
fn parts_hold_no_more_than_the_cohort_has() {
    let parts = split(delivery(1, 120, 80));
    assert!(assembled(parts.clone(), 120).unwrap().is_some());
    let refused = assembled(parts, 119).unwrap_err();
    assert_eq!(refused.code(), "parts_too_many");
    // One that comes whole is held to it too.
    let refused = assembled(split(key_list(3, 10)), 1020).unwrap_err();
    assert_eq!(refused, PartsError::TooMany);
    // The same part again and again, under new numbers.
    let mut assembly = Assembly::default();
    let taken = (0..40).map(|part| {
        let mut again = delivery(1, 5, 4);
        if let Event::SharesDelivery(delivery) = &mut again {
            (delivery.part, delivery.parts) = (part, 1000);
        }
        assembly.take(again, 100)
    });
    let refused = taken.collect::<Result<Vec<_>, _>>().unwrap_err();
    assert_eq!(refused, PartsError::TooMany);
}

#[test]
fn a_part_without_items_is_refused() {
    let empty = Event::KeyList(KeyList {
        id: id(),
        part: 0,
        parts: 2,
        ..KeyList::default()
    });
    let refused = Assembly::default().take(empty, 1024).unwrap_err();
    assert_eq!(refused.code(), "parts_empty");
}

#[test]
fn numbers_at_the_ends_of_their_range_are_refused_or_waited_for_and_never_panic() {
    for (part, parts) in [
        (u32::MAX, u32::MAX),
        (u32::MAX, 0),
        (1, 0),
        (0, u32::MAX),
        (5, 2),
    ] {
        let mut event = key_list(1, 1);
        if let Event::KeyList(list) = &mut event {
            (list.part, list.parts) = (part, parts);
        }
        let taken = Assembly::default().take(event, 1024);
        let expected = if part == 0 {
            Ok(None)
        } else {
            Err(PartsError::Order)
        };
        assert_eq!(taken, expected, "{part} of {parts}");
    }
}

#[test]
fn every_other_message_of_1024_members_fits_one_message() {
    let all = || 1..=1024_u32;
    let cohort = all().map(|index| CohortMember {
        index,
        organisation: "m".repeat(64),
        identity: vec![1; 32],
    });
    let votes = all().map(|_| Vote {
        organisation: "m".repeat(64),
        contract: vec![1; 32],
        approve: true,
        // A yes has no reason.
        reason: String::new(),
        signature: vec![2; 64],
    });
    let confirmations = all().map(|member| Confirmation {
        member,
        signature: vec![3; 64],
        u2: vec![4; 32],
        u3: vec![5; 32],
        inputs_root: vec![6; 32],
        log_head: vec![7; 32],
    });
    let seals = all().map(|member| UpdateSeal {
        member,
        tree_hash: vec![4; 32],
        signature: vec![5; 64],
    });
    for event in [
        Event::RoundOpen(RoundOpen {
            id: id(),
            cohort: cohort.collect(),
            ..RoundOpen::default()
        }),
        Event::Approval(Approval {
            job: "job-1".to_owned(),
            votes: votes.collect(),
        }),
        Event::Survivors(Survivors {
            members: all().collect(),
            ..Survivors::default()
        }),
        Event::Confirmations(Confirmations {
            id: id(),
            confirmations: confirmations.map(|c| encoded(&c)).collect(),
            seals: seals.collect(),
        }),
        Event::RoundResult(RoundResult {
            survivors: all().collect(),
            ..RoundResult::default()
        }),
    ] {
        assert_eq!(carried(event.clone()), event);
        assert_eq!(split(event.clone()), [event]);
    }
    let shares = || {
        all().map(|owner| SecretShare {
            owner,
            share: vec![6; 32],
        })
    };
    let unmask = UnmaskRequest {
        self_mask: shares().collect(),
        mask_key: shares().collect(),
        ..UnmaskRequest::default()
    };
    assert!(unmask.encoded_len() < MAX_MESSAGE_BYTES);
    let sealed = all().map(|member| SealedShare {
        member,
        sealed: vec![7; 80],
    });
    let share_keys = ShareKeysRequest {
        id: id(),
        statement: Some(statement(1, 1024, 256)),
        sealed: sealed.collect(),
    };
    assert!(share_keys.encoded_len() < MAX_MESSAGE_BYTES);
}
