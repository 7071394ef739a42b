//! Members that break a rule are convicted by what they signed, before anybody who has the adverts; honest ones never are.

use std::collections::BTreeMap;

use consort_aggregation::{Digest, MemberIndex, RevealedAgreement, SharePair};

use super::cluster::{Cluster, Judge, index, updates};
use super::corrupt::Dealing;
use super::lab::Lab;
use crate::blame::{Blame, Proceedings, Unproven};
use crate::coordinator::{Input, Round};
use crate::messages::{
    ConfirmedSets, Directive, MemberMessage, ShareKeys, UnmaskShares, UpdateSeal, VerifiedAdvert,
    member_set_hash,
};
use crate::rejection::Rejection;

/// What an auditor does: reads record, announcement and adverts from their bytes and judges.
pub(super) fn verdict(
    blame: &Blame,
    cluster: &Cluster,
    adverts: &BTreeMap<MemberIndex, VerifiedAdvert>,
) -> Result<MemberIndex, Unproven> {
    let read = Blame::decode(&blame.encode())?;
    assert_eq!(&read, blame);
    let heads = adverts
        .iter()
        .map(|(m, advert)| (*m, advert.advert().head()));
    let about = Proceedings::new(&cluster.open.terms, heads.collect());
    let read_about = Proceedings::decode(&about.encode())?;
    assert_eq!(read_about, about);
    assert_eq!(*about.context(), cluster.open.terms.context());
    read.verify(&read_about)
}

pub(super) fn adverts(cluster: &Cluster) -> BTreeMap<MemberIndex, VerifiedAdvert> {
    let adverts = cluster.stored.iter().filter_map(|input| match input {
        Input::Advertise(advert) => Some((advert.advert().member, advert.clone())),
        _ => None,
    });
    adverts.collect()
}

pub(super) fn advanced(phases: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(5, None, None, seed);
    let everyone = cluster.everyone();
    for _ in 0..phases {
        cluster.step(&everyone, &updates(&everyone));
    }
    cluster
}

pub(super) fn answer(cluster: &mut Cluster, member: u32) -> MemberMessage {
    let directive = cluster.round().directive(index(member)).unwrap();
    cluster.answer(index(member), &directive, &[1; 5]).unwrap()
}

/// Gives an input that is refused or already known, and what it proves.
pub(super) fn blamed(cluster: &mut Cluster, input: Input) -> (Option<Blame>, Rejection) {
    let blame = cluster.round().blame(&input);
    (blame, cluster.feed(input).unwrap_err())
}

#[test]
fn a_member_with_two_adverts_is_convicted_by_its_two_signatures() {
    let mut cluster = advanced(0, 81);
    let MemberMessage::Advert(first) = answer(&mut cluster, 2) else {
        panic!("an advert")
    };
    let first = first.verify(&cluster.open, &Judge).unwrap();
    cluster.feed(Input::Advertise(first)).unwrap();
    cluster.members.remove(&index(2));
    cluster.answered.clear();
    let open = Directive::Advertise((*cluster.open).clone());
    let MemberMessage::Advert(second) = cluster.answer(index(2), &open, &[]).unwrap() else {
        panic!("an advert")
    };
    let second = second.verify(&cluster.open, &Judge).unwrap();
    let (blame, refused) = blamed(&mut cluster, Input::Advertise(second));
    assert_eq!(refused, Rejection::Equivocation(index(2)));
    assert_eq!(
        verdict(&blame.unwrap(), &cluster, &BTreeMap::new()),
        Ok(index(2))
    );
}

#[test]
fn a_member_with_two_sealed_updates_is_convicted_and_one_that_was_imitated_is_not() {
    let mut cluster = advanced(2, 82);
    let MemberMessage::Seal(seal) = answer(&mut cluster, 3) else {
        panic!("a seal")
    };
    cluster.feed(Input::Seal(seal.clone())).unwrap();
    // Somebody else's signature under another update: refused, and no evidence against member 3.
    let imitated = UpdateSeal {
        tree_hash: Digest::of(b"other"),
        ..seal
    };
    let (nothing, refused) = blamed(&mut cluster, Input::Seal(imitated));
    assert_eq!(
        (nothing, refused),
        (None, Rejection::Equivocation(index(3)))
    );
    let u2 = cluster.sets().u2;
    let second = UpdateSeal::sign(
        &cluster.context2(),
        &u2,
        index(3),
        Digest::of(b"other"),
        &cluster.identities[&index(3)],
    );
    let (blame, _) = blamed(&mut cluster, Input::Seal(second));
    let adverts = adverts(&cluster);
    assert_eq!(verdict(&blame.unwrap(), &cluster, &adverts), Ok(index(3)));
}

#[test]
fn a_member_that_confirms_two_survivor_sets_is_convicted_by_whoever_saw_both() {
    let lab = {
        let mut lab = Lab::five(83);
        lab.submitted().unwrap();
        lab
    };
    let thief = &lab.corrupt[&index(5)];
    let sets = |root: &[u8]| ConfirmedSets {
        u2: lab.world().shared_set(&lab.everyone()).root(),
        u3: member_set_hash(&lab.everyone()),
        inputs_root: Digest::of(root),
        log_head: lab.open.terms.log_head,
    };
    let context2 = lab.world().context2;
    let signed = |root: &[u8]| {
        let confirmation = sets(root).sign(&context2, thief.member, &thief.identity);
        confirmation.signed(&context2)
    };
    let blame = Blame::Contradiction {
        first: signed(b"one"),
        second: signed(b"two"),
    };
    assert_eq!(
        verdict(&blame, &lab.cluster, &lab.world().adverts),
        Ok(index(5))
    );
    let same = Blame::Contradiction {
        first: signed(b"one"),
        second: signed(b"one"),
    };
    assert_eq!(
        verdict(&same, &lab.cluster, &lab.world().adverts),
        Err(Unproven::NoFault)
    );
}

fn unmask(cluster: &mut Cluster, member: u32) -> UnmaskShares {
    match answer(cluster, member) {
        MemberMessage::Unmask(answer) => answer,
        _ => panic!("shares"),
    }
}

#[test]
fn a_member_that_opens_a_wrong_share_is_convicted_by_the_owners_commitments() {
    let mut cluster = advanced(4, 84);
    let mut wrong = unmask(&mut cluster, 2);
    let honest = Input::Unmask(wrong.clone());
    assert_eq!(cluster.round().blame(&honest), None);
    let of_one = wrong.shares.self_mask[&index(1)].clone();
    wrong.shares.self_mask.insert(index(3), of_one);
    let wrong = cluster.sign_unmask(index(2), wrong);
    let (blame, refused) = blamed(&mut cluster, Input::Unmask(wrong));
    assert!(matches!(refused, Rejection::Share { from, .. } if from == index(2)));
    let adverts = adverts(&cluster);
    let blame = blame.unwrap();
    assert_eq!(verdict(&blame, &cluster, &adverts), Ok(index(2)));
    // With the signature of another it proves nothing.
    let Blame::WrongShare {
        statement,
        mut answer,
        shared,
    } = blame
    else {
        panic!("a wrong share")
    };
    answer.signature = cluster.identities[&index(1)].sign(&answer.bytes);
    let forged = Blame::WrongShare {
        statement,
        answer,
        shared,
    };
    assert_eq!(
        verdict(&forged, &cluster, &adverts),
        Err(Unproven::Signature)
    );
}

#[test]
fn a_member_that_does_not_answer_is_named_as_long_as_it_is_waited_for_and_proves_nothing() {
    let mut cluster = advanced(4, 85);
    for member in [1, 3] {
        let shares = unmask(&mut cluster, member);
        cluster.feed(Input::Unmask(shares)).unwrap();
    }
    assert_eq!(cluster.round().waiting_for(), [2, 4, 5].map(index).into());
    assert_eq!(cluster.round().blame(&Input::Tick), None);
    cluster.expire();
    assert!(matches!(cluster.round(), Round::Aborted(_)));
}

/// Member 5 deals; members 1 to 4 are asked to submit with it, and each that refuses says what it can prove.
fn dealt(
    seed: u64,
    deal: impl FnOnce(&mut Lab, &Dealing) -> ShareKeys,
) -> (Lab, Vec<(u32, Option<Blame>)>) {
    let mut lab = Lab::five(seed);
    lab.join().unwrap();
    lab.share().unwrap();
    let t = lab.open.terms.thresholds.threshold();
    let dealing =
        lab.corrupt[&index(5)].deal(lab.world.as_ref().unwrap(), (t, t), &mut lab.cluster.rng);
    let message = deal(&mut lab, &dealing);
    lab.world.as_mut().unwrap().shares.insert(index(5), message);
    let all = lab.everyone();
    let mut refusals = Vec::new();
    for member in 1..=4 {
        if lab.submit(index(member), &all).is_err() {
            let delivery = lab.world.as_ref().unwrap().delivery(index(member), &all);
            let state = &lab.cluster.members[&index(member)];
            let blame = state.blame(&delivery, index(5), &mut lab.cluster.rng);
            refusals.push((member, blame));
        }
    }
    (lab, refusals)
}

#[test]
fn a_dealer_whose_shares_are_valid_for_some_only_is_convicted_by_each_of_the_others() {
    let (lab, refusals) = dealt(86, |lab, dealing| {
        let world = lab.world.as_ref().unwrap();
        let dealer = &lab.corrupt[&index(5)];
        let wrong: SharePair = dealing.pair(index(3));
        let boxes = [2, 4].map(|to| (index(to), dealer.seal(world, index(to), &wrong)));
        dealer.share(world, dealing, |sealed| sealed.extend(boxes))
    });
    let cheated: Vec<_> = refusals.iter().map(|(member, _)| *member).collect();
    assert_eq!(cheated, [2, 4]);
    for (_, blame) in refusals {
        assert_eq!(
            verdict(&blame.unwrap(), &lab.cluster, &lab.world().adverts),
            Ok(index(5))
        );
    }
}

#[test]
fn a_dealer_whose_box_has_another_length_or_does_not_open_is_convicted() {
    for garbage in [Vec::new(), vec![7; 80], vec![7; 81]] {
        let (lab, refusals) = dealt(87, |lab, dealing| {
            let world = lab.world.as_ref().unwrap();
            let dealer = &lab.corrupt[&index(5)];
            dealer.share(world, dealing, |sealed| {
                drop(sealed.insert(index(1), garbage.clone()))
            })
        });
        let [(1, Some(blame))] = &refusals[..] else {
            panic!("member 1 refuses and can prove it")
        };
        assert_eq!(
            verdict(blame, &lab.cluster, &lab.world().adverts),
            Ok(index(5))
        );
    }
}

#[test]
fn an_honest_dealer_is_not_convicted_by_a_box_that_the_coordinator_changed_nor_by_a_lying_receiver()
{
    let (mut lab, refusals) = dealt(88, |lab, dealing| {
        let world = lab.world.as_ref().unwrap();
        lab.corrupt[&index(5)].share(world, dealing, |_| {})
    });
    assert!(refusals.is_empty());
    // The liar is member 5, the dealer member 1: its box is in order.
    let (world, liar) = (lab.world.as_ref().unwrap(), &lab.corrupt[&index(5)]);
    let message = &world.shares[&index(1)];
    let dealer_key = world.adverts[&index(1)].advert().share_key;
    let statement = message.statement.signed(&world.context2);
    let rng = &mut lab.cluster.rng;
    let agreement = RevealedAgreement::reveal(&liar.share_key, &dealer_key, &world.context2, rng);
    let false_key = RevealedAgreement::reveal(&liar.mask_key, &dealer_key, &world.context2, rng);
    let sealed = message.sealed[&index(5)].clone();
    let record = |sealed: &[u8], agreement: &RevealedAgreement| Blame::WrongBox {
        statement: statement.clone(),
        sealed: sealed.to_vec(),
        to: index(5),
        agreement: agreement.clone(),
    };
    let about = &world.adverts;
    assert_eq!(
        verdict(&record(&sealed, &agreement), &lab.cluster, about),
        Err(Unproven::NoFault)
    );
    assert_eq!(
        verdict(&record(&sealed, &false_key), &lab.cluster, about),
        Err(Unproven::Agreement)
    );
    let changed: Vec<_> = sealed.iter().map(|byte| byte ^ 1).collect();
    assert_eq!(
        verdict(&record(&changed, &agreement), &lab.cluster, about),
        Err(Unproven::Context)
    );
}

#[test]
fn a_record_from_outside_is_read_or_refused_and_never_panics() {
    let (_, refusals) = dealt(89, |lab, dealing| {
        let world = lab.world.as_ref().unwrap();
        let dealer = &lab.corrupt[&index(5)];
        dealer.share(world, dealing, |sealed| {
            drop(sealed.insert(index(1), vec![7; 80]))
        })
    });
    let good = refusals[0].1.as_ref().unwrap().encode();
    for cut in 0..good.len() {
        assert!(Blame::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    let lab = Lab::five(89);
    for place in 0..good.len() {
        let mut changed = good.clone();
        changed[place] ^= 0x80;
        if let Ok(blame) = Blame::decode(&changed) {
            assert!(
                blame
                    .verify(&Proceedings::new(&lab.open.terms, BTreeMap::new()))
                    .is_err()
            );
        }
    }
}

#[test]
fn proceedings_with_a_changed_bit_convict_nobody_and_never_panic() {
    let (lab, refusals) = dealt(90, |lab, dealing| {
        let world = lab.world.as_ref().unwrap();
        let dealer = &lab.corrupt[&index(5)];
        dealer.share(world, dealing, |sealed| {
            drop(sealed.insert(index(1), vec![7; 80]))
        })
    });
    let blame = refusals[0].1.as_ref().unwrap();
    let heads = lab.world().adverts.iter();
    let heads = heads.map(|(m, advert)| (*m, advert.advert().head()));
    let good = Proceedings::new(&lab.open.terms, heads.collect());
    assert_eq!(blame.verify(&good), Ok(index(5)));
    let good = good.encode();
    for cut in 0..good.len() {
        assert!(Proceedings::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    for place in 0..good.len() {
        let mut changed = good.clone();
        changed[place] ^= 0x01;
        let convicted = Proceedings::decode(&changed).and_then(|about| blame.verify(&about));
        assert!(convicted.is_err(), "{place}: {convicted:?}");
    }
}

#[test]
fn proceedings_of_a_circle_are_read_back_as_they_were() {
    let cluster = Cluster::new(300, None, None, 91);
    let about = Proceedings::new(&cluster.open.terms, BTreeMap::new());
    let read = Proceedings::decode(&about.encode()).unwrap();
    assert_eq!(read, about);
    assert_eq!(
        read.member(index(300)),
        cluster.open.terms.cohort.get(&index(300))
    );
}
