//! Stories of members that break the protocol over their own signature: the log names them, and proves it.

use consort_aggregation::{Canonical, ChunkTree, Digest, RoundKeyContext};
use consort_audit::ENTRIES_FILE;
use consort_proto::convert::{AttemptKey, directive_from_wire};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_round::Millis;
use consort_round::blame::Complaint;
use consort_round::{
    Advert, ConfirmedSets, Directive, KeyList, MemberMessage, ShareKeys, SharedSet, SharesDelivery,
    UpdateSeal,
};

use super::cluster::{Cluster, index};
use crate::driver::{Command, Wish};
use crate::error::{Refusal, RefusalKind};
use crate::jobs::{self, Final, Stage};
use crate::testing::{organisation, secret};

/// What a member is asked.
fn asked(cluster: &Cluster, i: u8) -> (AttemptKey, Directive) {
    let link = cluster.processes[&i].link;
    let board = &cluster.driver().services.board;
    let wanted = board.wanted(&organisation(i), &link).unwrap();
    let directive = |wish: &Wish| directive_from_wire(wish.event()).unwrap();
    wanted.iter().find_map(directive).unwrap()
}

/// So many adverts of a member for one attempt, each with fresh keys, the last one those its process goes on with.
fn adverts(cluster: &mut Cluster, i: u8, count: usize) -> (AttemptKey, Vec<Advert>) {
    let (key, directive) = asked(cluster, i);
    let advert = |_| {
        // It forgets that it answered: what the rules forbid it (R4), and nobody else can stop it from.
        cluster.newest.remove(&i);
        match cluster.reply(i, &key, &directive) {
            Some(MemberMessage::Advert(advert)) => advert,
            other => panic!("an advert is due, not {other:?}"),
        }
    };
    let adverts = (0..count).map(advert).collect();
    (key, adverts)
}

fn say(cluster: &mut Cluster, key: &AttemptKey, advert: &Advert) -> Result<(), &'static str> {
    let message = MemberMessage::Advert(advert.clone());
    let from = organisation(u8::try_from(advert.member.get()).unwrap());
    let said = cluster.say(from, key, message);
    said.map(drop).map_err(|refusal| refusal.code)
}

fn log(cluster: &Cluster) -> String {
    let folder = cluster.folder.path().join("audit");
    std::fs::read_to_string(folder.join(ENTRIES_FILE)).unwrap()
}

fn convicted_of(cluster: &Cluster) -> Vec<String> {
    let view = jobs::view(cluster.driver().state(), "");
    let members = view.members.into_iter();
    members.map(|member| member.convicted_of).collect()
}

#[test]
fn a_member_that_signs_two_adverts_is_convicted_in_the_log_once_and_over_a_restart() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("joining");
    let (key, adverts) = adverts(&mut cluster, 2, 3);
    let [third, second, first] = &adverts[..] else {
        panic!("three adverts")
    };
    say(&mut cluster, &key, first).unwrap();
    assert_eq!(convicted_of(&cluster), [""; 5]);
    for other in [second, third, second] {
        let refused = say(&mut cluster, &key, other);
        assert_eq!(refused, Err("round_equivocation"));
    }
    let expected = ["", "contradiction", "", "", ""];
    assert_eq!(convicted_of(&cluster), expected);
    cluster.restart_coordinator();
    assert_eq!(convicted_of(&cluster), expected);
    let refused = say(&mut cluster, &key, third);
    assert_eq!(refused, Err("round_equivocation"));
    cluster.settle();
    assert!(cluster.driver().state().has_ended());

    assert_eq!(log(&cluster).matches(r#""blame":"#).count(), 1);
    let report = cluster.verify_audit();
    let verified = report
        .checked
        .iter()
        .find(|line| line.what.contains("blame"));
    assert_eq!(verified.unwrap().count, 1);
    let named = "clinic-2 is convicted of a contradiction in round 1 attempt 1 of job job-1";
    assert!(report.remarks.iter().any(|remark| remark == named));
    let unenrolled = report
        .remarks
        .iter()
        .any(|remark| remark.contains("did not enrol"));
    assert!(!unenrolled, "the log enrolled clinic-2's key");
}

#[test]
fn who_was_convicted_is_asked_in_no_later_attempt_also_after_a_restart_and_the_job_goes_on_without_it()
 {
    let mut cluster = Cluster::new(3);
    cluster.settle_until("joining");
    let (key, adverts) = adverts(&mut cluster, 2, 2);
    let [second, first] = &adverts[..] else {
        panic!("two adverts")
    };
    say(&mut cluster, &key, first).unwrap();
    say(&mut cluster, &key, second).unwrap_err();
    // The attempt in which it was convicted goes on with it.
    cluster.settle_until("unmasking");
    cluster.settle_until("joining");
    cluster.restart_coordinator();
    cluster.settle();
    assert!(cluster.driver().state().has_ended());
    assert_eq!(cluster.survivors(), [5, 4, 4]);
    cluster.verify_audit();
}

#[test]
fn a_job_with_too_few_members_left_to_give_a_sum_ends_at_once_and_names_the_convicts() {
    let mut cluster = Cluster::new(3);
    cluster.settle_until("joining");
    for i in [2, 4] {
        let (key, adverts) = adverts(&mut cluster, i, 2);
        say(&mut cluster, &key, &adverts[1]).unwrap();
        say(&mut cluster, &key, &adverts[0]).unwrap_err();
    }
    // The attempt in which they were convicted gives its sum; three members are left then, and four are needed.
    cluster.settle();
    assert_eq!(cluster.survivors(), [5]);
    let stage = cluster.driver().state().stage.clone();
    let Stage::Ended(ending) = &stage else {
        panic!("the job ended, and is not {stage:?}")
    };
    let told = (ending.state, ending.code.as_str(), ending.reason.as_str());
    let reason = "3 of 5 members are left and a sum needs 4; the log convicts clinic-2 of a contradiction, clinic-4 of a contradiction. Submit the job again without them";
    assert_eq!(told, (Final::Failed, "too_many_convicted", reason));
    // No attempt was opened in vain, also not after a restart.
    cluster.restart_coordinator();
    assert_eq!(cluster.driver().state().stage, stage);
    assert_eq!(log(&cluster).matches(r#""round_opened":"#).count(), 1);
    assert_eq!(log(&cluster).matches(r#""blame":"#).count(), 2);
    assert!(log(&cluster).contains(r#""job_state":{"state":"failed"}"#));
    cluster.verify_audit();
}

#[test]
fn a_member_that_says_the_same_again_or_is_imitated_is_not_convicted() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("joining");
    let (key, adverts) = adverts(&mut cluster, 2, 2);
    let [other, said] = &adverts[..] else {
        panic!("two adverts")
    };
    say(&mut cluster, &key, said).unwrap();
    say(&mut cluster, &key, said).unwrap();
    let imitated = Advert {
        signature: said.signature,
        ..other.clone()
    };
    let refused = say(&mut cluster, &key, &imitated);
    assert_eq!(refused, Err("round_signature"));
    cluster.settle();
    assert_eq!(convicted_of(&cluster), [""; 5]);
    assert_eq!(log(&cluster).matches(r#""blame":"#).count(), 0);
    cluster.verify_audit();
}

/// ctx2, from the key list by docs/protocol.md ("Context").
fn context2(cluster: &Cluster, keys: &KeyList) -> RoundKeyContext {
    let context = cluster.driver().open.as_ref().unwrap().terms.context();
    let mut tree = ChunkTree::new();
    let mut adverts: Vec<_> = keys.adverts.iter().collect();
    adverts.sort_by_key(|advert| advert.member);
    for advert in adverts {
        let mut leaf = Canonical::new("consort/round/advert/v1")
            .bytes(context.as_bytes())
            .u64(advert.member.get().into())
            .bytes(&advert.mask_key.to_bytes())
            .bytes(&advert.share_key.to_bytes())
            .bytes(Digest::of(&advert.evidence).as_bytes())
            .u64(advert.ledger_sequence)
            .finish();
        leaf.extend_from_slice(&advert.signature.0);
        tree.push(&leaf);
    }
    RoundKeyContext::new(&context, &tree.root())
}

/// ctx2 of the attempt that runs, from what the log's reader would have: the stored adverts.
fn context2_of(cluster: &Cluster) -> RoundKeyContext {
    let round = cluster.driver().round.as_ref().unwrap();
    *round.proceedings().unwrap().context2()
}

/// An honest message of clinic-5 with another box for clinic-1, which the dealer signs for.
fn with_a_wrong_box(mut message: ShareKeys, context2: &RoundKeyContext) -> ShareKeys {
    let garbage = vec![7; 80];
    let statement = &mut message.statement;
    statement.sealed.insert(index(1), Digest::of(&garbage));
    message.sealed.insert(index(1), garbage);
    let mut signed = Canonical::new("consort/round/shares/v1")
        .bytes(context2.digest().as_bytes())
        .u64(statement.member.get().into())
        .bytes(&statement.mask_key.to_bytes())
        .bytes(&statement.self_mask.to_bytes())
        .list(statement.sealed.len());
    for (to, digest) in &statement.sealed {
        signed = signed.u64(to.get().into()).bytes(digest.as_bytes());
    }
    statement.signature = secret(5).sign(&signed.finish());
    message
}

/// A round that collects, in which clinic-5 dealt clinic-1 a wrong box: the attempt, and what clinic-1 was delivered.
fn cheated() -> (Cluster, AttemptKey, SharesDelivery) {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("sharing");
    let (key, directive) = asked(&cluster, 5);
    let Directive::ShareKeys(keys) = &directive else {
        panic!("shares are due")
    };
    let context2 = context2(&cluster, keys);
    let Some(MemberMessage::ShareKeys(honest)) = cluster.reply(5, &key, &directive) else {
        panic!("shares are given")
    };
    let wrong = MemberMessage::ShareKeys(with_a_wrong_box(honest, &context2));
    cluster.say(organisation(5), &key, wrong).unwrap();
    cluster.settle_until("collecting");
    let (_, directive) = asked(&cluster, 1);
    let Directive::Submit(delivery) = directive else {
        panic!("a delivery is due")
    };
    (cluster, key, delivery)
}

fn complain(
    cluster: &mut Cluster,
    by: u8,
    key: &AttemptKey,
    complaint: &Complaint,
) -> Result<(), &'static str> {
    let said = cluster.ask(Command::Complaint {
        from: organisation(by),
        key: key.clone(),
        complaint: Box::new(complaint.clone()),
    });
    said.map(drop).map_err(|refusal| refusal.code)
}

#[test]
fn a_dealer_of_a_wrong_box_is_convicted_by_whom_it_cheated_and_the_round_goes_on() {
    let (mut cluster, key, delivery) = cheated();
    let complaint = cluster.complaint(1, &delivery).unwrap();
    assert_eq!(complaint.dealer, index(5));
    complain(&mut cluster, 1, &key, &complaint).unwrap();
    complain(&mut cluster, 1, &key, &complaint).unwrap();
    let expected = ["", "", "", "", "wrong-box"];
    assert_eq!(convicted_of(&cluster), expected);
    cluster.restart_coordinator();
    assert_eq!(convicted_of(&cluster), expected);

    // Clinic-1 complained and clinic-5 starts again: both are gone, and when the others have sealed nobody is waited for. Three
    // are too few to open, and that is said without the deadline.
    cluster.start(5);
    let process = cluster.processes.get_mut(&5).unwrap();
    process.silent_in.push("collecting");
    cluster.settle();
    assert_eq!(cluster.now.mono, Millis(0));
    assert!(cluster.driver().state().has_ended());
    assert!(log(&cluster).contains("abort_too_few_survivors"));
    assert_eq!(log(&cluster).matches(r#""blame":"#).count(), 1);
    let report = cluster.verify_audit();
    let named = "clinic-5 is convicted of a wrong-box in round 1 attempt 1 of job job-1";
    assert!(report.remarks.iter().any(|remark| remark == named));
}

#[test]
fn a_complaint_of_a_right_box_or_with_anothers_agreement_is_refused_and_convicts_nobody() {
    let (mut cluster, key, delivery) = cheated();
    let complaint = cluster.complaint(1, &delivery).unwrap();
    let of_an_honest_dealer = Complaint {
        dealer: index(4),
        ..complaint.clone()
    };
    let refused = complain(&mut cluster, 1, &key, &of_an_honest_dealer);
    assert_eq!(refused, Err("blame_unproven"));
    let refused = complain(&mut cluster, 2, &key, &complaint);
    assert_eq!(refused, Err("blame_unproven"));
    let (_, directive) = asked(&cluster, 2);
    let Directive::Submit(delivery) = directive else {
        panic!("a delivery is due")
    };
    assert_eq!(cluster.complaint(2, &delivery), None);
    assert_eq!(convicted_of(&cluster), [""; 5]);
    assert_eq!(log(&cluster).matches(r#""blame":"#).count(), 0);
    cluster.verify_audit();
}

#[test]
fn who_complained_is_asked_no_more_and_holds_up_nobody_also_after_a_restart_of_the_coordinator() {
    let (mut cluster, key, delivery) = cheated();
    let complaint = cluster.complaint(1, &delivery).unwrap();
    complain(&mut cluster, 1, &key, &complaint).unwrap();
    cluster.restart_coordinator();
    let attempt = cluster.driver().state().attempt.as_ref().unwrap();
    assert!(attempt.departed.contains(&index(1)));
    let link = cluster.processes[&1].link;
    let wanted = cluster
        .driver()
        .services
        .board
        .wanted(&organisation(1), &link);
    let delivered = |wish: &Wish| matches!(wish.event(), Event::SharesDelivery(_));
    assert!(!wanted.unwrap().iter().any(delivered));
    let upload = Command::Upload {
        from: organisation(1),
        key: key.clone(),
    };
    assert_eq!(cluster.ask(upload).unwrap_err().code, "round_not_asked");
    // A complaint that convicts nobody drops nobody.
    let of_nothing = Complaint {
        dealer: index(3),
        ..complaint
    };
    complain(&mut cluster, 2, &key, &of_nothing).unwrap_err();
    let attempt = cluster.driver().state().attempt.as_ref().unwrap();
    assert!(!attempt.departed.contains(&index(2)));
}

#[test]
fn a_second_seal_convicts_its_signer_although_its_update_does_not_hash_to_it() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("collecting");
    let (key, masked, seal) = cluster.mask(2);
    cluster.upload_all(2, &key, &masked);
    cluster
        .say(organisation(2), &key, MemberMessage::Seal(seal.clone()))
        .unwrap();
    let Directive::Submit(delivery) = asked(&cluster, 1).1 else {
        panic!("a delivery is due")
    };
    // What is signed is over ctx2 and S(U2); both stand in any honest seal's bytes, and are made again here.
    let context2 = context2_of(&cluster);
    let u2: SharedSet = delivery
        .statements
        .iter()
        .map(|statement| (statement.member, statement.digest(&context2)))
        .collect();
    let tree_hash = Digest::of(b"another update");
    let bytes = Canonical::new("consort/round/update/v2")
        .bytes(context2.digest().as_bytes())
        .bytes(u2.root().as_bytes())
        .u64(2)
        .bytes(tree_hash.as_bytes())
        .finish();
    let second = |signature| UpdateSeal {
        member: index(2),
        tree_hash,
        signature,
    };
    let refused = |cluster: &mut Cluster, seal| {
        let command = Command::UploadRefused {
            from: organisation(2),
            key: key.clone(),
            refusal: Refusal::new(RefusalKind::Invalid, "update_tree_hash", "why"),
            seal: Some(Box::new(seal)),
        };
        assert_eq!(cluster.ask(command).unwrap_err().code, "update_tree_hash");
    };
    refused(&mut cluster, second(seal.signature));
    assert_eq!(convicted_of(&cluster), [""; 5]);
    refused(&mut cluster, second(secret(2).sign(&bytes)));
    assert_eq!(convicted_of(&cluster), ["", "contradiction", "", "", ""]);
    cluster.settle();
    assert!(cluster.driver().state().has_ended());
    cluster.verify_audit();
}

#[test]
fn a_second_confirmation_convicts_its_signer_and_the_round_goes_on() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("confirming");
    let (key, directive) = asked(&cluster, 3);
    let context2 = context2_of(&cluster);
    let Some(MemberMessage::Confirmation(first)) = cluster.reply(3, &key, &directive) else {
        panic!("a confirmation is given")
    };
    let message = MemberMessage::Confirmation(first.clone());
    cluster.say(organisation(3), &key, message).unwrap();
    let other = ConfirmedSets {
        u3: Digest::of(b"other survivors"),
        ..first.sets
    };
    let second = other.sign(&context2, index(3), &secret(3));
    let refused = cluster.say(organisation(3), &key, MemberMessage::Confirmation(second));
    assert_eq!(refused.unwrap_err().code, "round_equivocation");
    assert_eq!(convicted_of(&cluster), ["", "", "contradiction", "", ""]);
    cluster.settle();
    assert!(cluster.driver().state().has_ended());
    cluster.verify_audit();
}
