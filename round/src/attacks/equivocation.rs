//! Members that sign two things are convicted by both, also when the second comes late; and a dealer that signs two statements
//! turns the blame on nobody but itself.

use consort_aggregation::{Canonical, Digest, MemberIndex};

use super::blame::{advanced, adverts, answer, blamed, verdict};
use super::cluster::{Cluster, index};
use crate::blame::{Blame, Signed, Unproven};
use crate::coordinator::Input;
use crate::messages::{
    ConfirmedSets, MemberMessage, ShareKeys, ShareStatement, SharedSet, UnmaskShares, UpdateSeal,
};
use crate::rejection::Rejection;

fn convicted(cluster: &Cluster, blame: &Blame) -> Result<MemberIndex, Unproven> {
    verdict(blame, cluster, &adverts(cluster))
}

/// Another statement of a member, with its own signature: the same secrets, and another box for member 1.
fn second_statement(cluster: &Cluster, message: &ShareKeys) -> ShareStatement {
    let (statement, mut sealed) = (&message.statement, message.sealed.clone());
    sealed.insert(index(1), vec![7; 80]);
    ShareStatement::sign(
        &cluster.context2(),
        statement.member,
        (statement.mask_key.clone(), statement.self_mask.clone()),
        &sealed,
        &cluster.identities[&statement.member],
    )
}

fn shared(cluster: &Cluster, member: u32) -> ShareKeys {
    let said = cluster.stored.iter().find_map(|input| match input {
        Input::ShareKeys(message) if message.statement.member == index(member) => Some(message),
        _ => None,
    });
    said.unwrap().clone()
}

fn confirmed(cluster: &mut Cluster, member: u32) -> crate::messages::Confirmation {
    match answer(cluster, member) {
        MemberMessage::Confirmation(confirmation) => confirmation,
        _ => panic!("a confirmation"),
    }
}

#[test]
fn a_member_that_confirms_a_second_survivor_set_is_convicted_and_one_that_was_imitated_is_not() {
    let mut cluster = advanced(3, 101);
    let first = confirmed(&mut cluster, 3);
    cluster.feed(Input::Confirm(first.clone())).unwrap();
    let other = ConfirmedSets {
        u3: Digest::of(b"other survivors"),
        ..first.sets
    };
    let imitated = crate::messages::Confirmation {
        sets: other,
        ..first.clone()
    };
    let (nothing, refused) = blamed(&mut cluster, Input::Confirm(imitated));
    assert_eq!(
        (nothing, refused),
        (None, Rejection::Equivocation(index(3)))
    );
    let second = other.sign(
        &cluster.context2(),
        index(3),
        &cluster.identities[&index(3)],
    );
    let (blame, refused) = blamed(&mut cluster, Input::Confirm(second.clone()));
    assert_eq!(refused, Rejection::Equivocation(index(3)));
    assert_eq!(convicted(&cluster, &blame.unwrap()), Ok(index(3)));
    // Late, when the others have confirmed: refused as late, and convicted all the same.
    for member in [1, 2, 4, 5] {
        let confirmation = confirmed(&mut cluster, member);
        cluster.feed(Input::Confirm(confirmation)).unwrap();
    }
    assert_eq!(cluster.round().phase(), "unmasking");
    let (blame, refused) = blamed(&mut cluster, Input::Confirm(second));
    assert_eq!(refused.code(), "round_wrong_phase");
    assert_eq!(convicted(&cluster, &blame.unwrap()), Ok(index(3)));
}

#[test]
fn a_confirmation_of_other_sets_than_were_announced_is_refused_and_is_no_contradiction_by_itself() {
    let mut cluster = advanced(3, 102);
    let honest = confirmed(&mut cluster, 2);
    let other = ConfirmedSets {
        inputs_root: Digest::of(b"other inputs"),
        ..honest.sets
    };
    let wrong = other.sign(
        &cluster.context2(),
        index(2),
        &cluster.identities[&index(2)],
    );
    let (nothing, refused) = blamed(&mut cluster, Input::Confirm(wrong));
    assert_eq!((nothing, refused), (None, Rejection::Signature(index(2))));
}

#[test]
fn a_second_statement_or_seal_convicts_its_signer_in_every_later_phase() {
    for phases in [2, 3, 4] {
        let mut cluster = advanced(phases, 103);
        let message = shared(&cluster, 2);
        let statement = second_statement(&cluster, &message);
        let second = ShareKeys {
            statement,
            ..message.clone()
        };
        let (blame, refused) = blamed(&mut cluster, Input::ShareKeys(second));
        assert_eq!(refused.code(), "round_wrong_phase");
        assert_eq!(convicted(&cluster, &blame.unwrap()), Ok(index(2)));
        assert_eq!(cluster.round().blame(&Input::ShareKeys(message)), None);
    }
    for phases in [3, 4] {
        let mut cluster = advanced(phases, 104);
        let second = UpdateSeal::sign(
            &cluster.context2(),
            &cluster.sets().u2,
            index(4),
            Digest::of(b"another update"),
            &cluster.identities[&index(4)],
        );
        let (blame, refused) = blamed(&mut cluster, Input::Seal(second));
        assert_eq!(refused.code(), "round_wrong_phase");
        assert_eq!(convicted(&cluster, &blame.unwrap()), Ok(index(4)));
    }
}

/// Member 5 dealt, and signed another polynomial besides; member 2 opens, honestly, a share of the first.
struct Framed {
    cluster: Cluster,
    dealt: Signed,
    other: Signed,
    answer: UnmaskShares,
    u2: SharedSet,
}

fn framed(seed: u64) -> Framed {
    let mut cluster = advanced(4, seed);
    let context2 = cluster.context2();
    let message = shared(&cluster, 5);
    let dealt = &message.statement;
    // Its two polynomials the other way round: no share lies where it was dealt.
    let other = ShareStatement::sign(
        &context2,
        index(5),
        (dealt.self_mask.clone(), dealt.mask_key.clone()),
        &message.sealed,
        &cluster.identities[&index(5)],
    );
    let MemberMessage::Unmask(answer) = answer(&mut cluster, 2) else {
        panic!("shares")
    };
    let said = |member: u32| {
        (
            index(member),
            shared(&cluster, member).statement.digest(&context2),
        )
    };
    Framed {
        u2: (1..=5).map(said).collect(),
        dealt: dealt.signed(&context2),
        other: other.signed(&context2),
        answer,
        cluster,
    }
}

#[test]
fn a_dealer_with_two_statements_cannot_have_an_honest_holder_convicted_and_convicts_itself() {
    let framed = framed(105);
    let cluster = &framed.cluster;
    let answer = framed.answer.signed(&cluster.context2(), &cluster.sets());
    let record = |statement: &Signed, shared: Option<SharedSet>| Blame::WrongShare {
        statement: statement.clone(),
        answer: answer.clone(),
        shared,
    };
    // By the statement that it was shown, the holder's share is right.
    let shown = record(&framed.dealt, Some(framed.u2.clone()));
    assert_eq!(convicted(cluster, &shown), Err(Unproven::NoFault));
    // By the other it would be wrong; but the holder answered under a U2 that has the first.
    let turned = |(member, digest): (&MemberIndex, &Digest)| {
        let other = Digest::of(&framed.other.bytes);
        (*member, if *member == index(5) { other } else { *digest })
    };
    let forged: SharedSet = framed.u2.iter().map(turned).collect();
    for shared in [Some(framed.u2.clone()), Some(forged), None] {
        let turned = record(&framed.other, shared);
        assert_eq!(convicted(cluster, &turned), Err(Unproven::Statement));
    }
    let both = Blame::Contradiction {
        first: framed.dealt,
        second: framed.other,
    };
    assert_eq!(convicted(cluster, &both), Ok(index(5)));
}

/// The shares of an answer, as they were signed before answers named U2.
fn answer_of_version_1(cluster: &Cluster, answer: &UnmaskShares) -> Signed {
    let mut canonical = Canonical::new("consort/round/unmask/v1")
        .bytes(cluster.context2().digest().as_bytes())
        .bytes(cluster.sets().u3.as_bytes())
        .u64(answer.member.get().into());
    for shares in [&answer.shares.self_mask, &answer.shares.mask_key] {
        canonical = canonical.list(shares.len());
        for (owner, share) in shares {
            canonical = canonical
                .u64(owner.get().into())
                .bytes(share.to_bytes().as_ref());
        }
    }
    let bytes = canonical.finish();
    let signature = cluster.identities[&answer.member].sign(&bytes);
    Signed { bytes, signature }
}

/// What binding the answer to U2 is for: the same record without it convicts the honest holder. Such records are in older logs.
#[test]
fn a_record_of_the_first_version_is_read_and_rests_on_whatever_statement_the_dealer_signed() {
    let framed = framed(106);
    let answer = answer_of_version_1(&framed.cluster, &framed.answer);
    let record = |statement: &Signed, shared| Blame::WrongShare {
        statement: statement.clone(),
        answer: answer.clone(),
        shared,
    };
    let old = record(&framed.other, None);
    assert_eq!(convicted(&framed.cluster, &old), Ok(index(2)));
    let right = record(&framed.dealt, None);
    assert_eq!(convicted(&framed.cluster, &right), Err(Unproven::NoFault));
    let mixed = record(&framed.other, Some(framed.u2.clone()));
    assert_eq!(convicted(&framed.cluster, &mixed), Err(Unproven::Statement));
}
