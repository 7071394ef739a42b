//! Stories of members that break the protocol over their own signature: the log names them, and proves it.

use consort_audit::ENTRIES_FILE;
use consort_proto::convert::{AttemptKey, directive_from_wire};
use consort_round::{Advert, MemberMessage};

use super::cluster::Cluster;
use crate::jobs;
use crate::testing::organisation;

/// So many adverts of clinic-2 for one attempt, each with fresh keys, the last one those its process goes on with.
fn adverts(cluster: &mut Cluster, count: usize) -> (AttemptKey, Vec<Advert>) {
    let link = cluster.processes[&2].link;
    let board = &cluster.driver().services.board;
    let wanted = board.wanted(&organisation(2), &link).unwrap();
    let (key, directive) = wanted
        .iter()
        .find_map(|event| directive_from_wire((**event).clone()).unwrap())
        .unwrap();
    let advert = |_| {
        // It forgets that it answered: what the rules forbid it (R4), and nobody else can stop it from.
        cluster.newest.remove(&2);
        match cluster.reply(2, &key, &directive) {
            Some(MemberMessage::Advert(advert)) => advert,
            other => panic!("an advert is due, not {other:?}"),
        }
    };
    let adverts = (0..count).map(advert).collect();
    (key, adverts)
}

fn say(cluster: &mut Cluster, key: &AttemptKey, advert: &Advert) -> Result<(), &'static str> {
    let message = MemberMessage::Advert(advert.clone());
    let said = cluster.say(organisation(2), key, message);
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
    let (key, adverts) = adverts(&mut cluster, 3);
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
fn a_member_that_says_the_same_again_or_is_imitated_is_not_convicted() {
    let mut cluster = Cluster::new(1);
    cluster.settle_until("joining");
    let (key, adverts) = adverts(&mut cluster, 2);
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
