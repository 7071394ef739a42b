//! The circle: what each of its rules is for, through the machines, on a circle of 24 seats with h = 4 and m = 2.
//!
//! The corrupt members sit where the attacker wants them: it draws their keys again until the seats fall so, which is the
//! grinding that decision 0006 allows it. Never are m of h seats in a row corrupt: where they are, nothing is promised.

use std::collections::BTreeSet;

use consort_aggregation::{Circle, MemberIndex, SecretKey, SelfMaskSecret};

use super::lab::{Lab, World};
use super::only;
use crate::messages::Directive;
use crate::rejection::Rejection;
use crate::rules::{Rule, off};
use crate::terms::small_circle;

/// h, m, and with them t' = 3.
pub(super) const CIRCLE: Circle = Circle {
    reach: 4,
    witnesses: 2,
};

const N: u32 = 24;

/// On a circle the rule, and no other, stands between the attacker and its gain.
fn only_on_the_circle(rule: Rule, refused: &str, attack: impl Fn() -> Result<(), Rejection>) {
    small_circle::with(CIRCLE, || only(rule, refused, attack));
}

/// Whether no h seats in a row have m corrupt members: what the circle's rules rest on.
pub(super) fn withstands(world: &World, corrupt: &BTreeSet<MemberIndex>, circle: Circle) -> bool {
    let seats = world.seating.seats();
    let corrupt_in = |first: usize| {
        let row = (first..first + circle.reach as usize).map(|place| seats[place % seats.len()]);
        row.filter(|member| corrupt.contains(member)).count()
    };
    (0..seats.len()).all(|first| corrupt_in(first) < circle.witnesses as usize)
}

/// A lab on the circle after P1, and the seats from an honest member on, which sits at 0; `wanted` are the places of corrupt
/// members around it, counted around the circle, and there are no others.
struct Seated {
    lab: Lab,
    around: Vec<MemberIndex>,
}

impl Seated {
    fn new(wanted: &[i32], seed: u64) -> Result<Self, Rejection> {
        // Those who are corrupt are so before there are seats; c = 4 gives t = 15 of 24.
        let corrupt: Vec<u32> = (1..).take(wanted.len()).collect();
        let mut lab = Lab::new(N, 4, None, &corrupt, seed);
        lab.join()?;
        loop {
            let world = World::new(&lab.open, &lab.adverts);
            if let Some(around) = Self::victim(&lab, &world, wanted) {
                return Ok(Self { lab, around });
            }
            Self::draw_again(&mut lab);
        }
    }

    /// The seats from the first honest member on that has the corrupt members where they are wanted.
    fn victim(lab: &Lab, world: &World, wanted: &[i32]) -> Option<Vec<MemberIndex>> {
        let seats = world.seating.seats();
        assert_eq!(seats.len(), N as usize);
        let corrupt: BTreeSet<_> = lab.corrupt.keys().copied().collect();
        let from = |first: usize| -> Vec<MemberIndex> {
            seats[first..]
                .iter()
                .chain(&seats[..first])
                .copied()
                .collect()
        };
        let fits = |around: &Vec<MemberIndex>| {
            let there: BTreeSet<_> = wanted.iter().map(|at| at_seat(around, *at)).collect();
            there == corrupt
        };
        let found = (0..seats.len()).map(from).find(fits)?;
        assert!(withstands(world, &corrupt, CIRCLE));
        Some(found)
    }

    fn draw_again(lab: &mut Lab) {
        let open = lab.open.clone();
        let rng = &mut lab.cluster.rng;
        for corrupt in lab.corrupt.values_mut() {
            (corrupt.mask_key, corrupt.share_key) =
                (SecretKey::random(rng), SecretKey::random(rng));
            let advert = corrupt.advert(&open);
            lab.adverts.insert(corrupt.member, advert);
        }
    }

    fn at(&self, seat: i32) -> MemberIndex {
        at_seat(&self.around, seat)
    }

    fn seats(&self, seats: &[i32]) -> BTreeSet<MemberIndex> {
        seats.iter().map(|seat| self.at(*seat)).collect()
    }

    /// Everybody but those in these seats.
    fn without(&self, seats: &[i32]) -> BTreeSet<MemberIndex> {
        &self.lab.everyone() - &self.seats(seats)
    }

    /// P4 with everybody and one U2.
    fn submit_all(&mut self) -> Result<(), Rejection> {
        let everyone = self.lab.everyone();
        for member in self.lab.honest() {
            self.lab.submit(member, &everyone)?;
        }
        Ok(())
    }

    fn victim_is_read(&mut self) {
        let victim = [self.at(0).get()];
        assert!(self.lab.learned(&victim).is_some(), "a mask is left");
        assert_eq!(self.lab.learned(&victim), self.lab.truth(&victim));
    }
}

fn at_seat(around: &[MemberIndex], seat: i32) -> MemberIndex {
    let place = usize::try_from(seat.rem_euclid(i32::try_from(around.len()).unwrap()));
    around[place.unwrap()]
}

/// Corrupt members two seats to either side of the victim: four seats apart, so never two of four in a row.
const BESIDE: [i32; 2] = [-2, 2];

/// Obeys R8c, R12d, R12e, R14d, R16d, R16e.
#[test]
fn on_a_circle_one_survivor_set_gives_the_sum_of_all_its_honest_members_and_nothing_else() {
    small_circle::with(CIRCLE, || {
        let mut seated = Seated::new(&BESIDE, 201).unwrap();
        seated.lab.share().unwrap();
        seated.submit_all().unwrap();
        // One in four dropped out, the corrupt ones beside the victim are there, and one that survived did not confirm.
        let u3 = seated.without(&[1, 5, 9, -3, -7]);
        let silent = seated.at(11);
        let lab = &mut seated.lab;
        let all = &lab.everyone();
        let survivors = lab.survivors(&u3);
        let mut signed = lab.corrupt_confirm(&survivors, all);
        let asked: Vec<_> = lab
            .honest()
            .into_iter()
            .filter(|m| u3.contains(m))
            .collect();
        for member in asked.iter().filter(|m| **m != silent) {
            signed.push(lab.confirm(*member, &survivors).unwrap());
        }
        for member in asked.iter().filter(|m| **m != silent) {
            let seals = lab.seals_for(*member, &u3, &signed);
            lab.unmask_with(*member, signed.clone(), seals).unwrap();
        }
        let honest: BTreeSet<_> = asked.iter().copied().collect();
        let names: Vec<u32> = honest.iter().map(|m| m.get()).collect();
        assert_eq!(lab.learned(&names), lab.truth(&names));
        assert_eq!(lab.knowledge.open_sets(lab.world()), [honest]);
    });
}

/// Breaks R8c.
#[test]
fn without_the_neighbours_evidence_four_strangers_that_collude_hold_both_secrets() {
    only_on_the_circle(Rule::R8c, "round_malformed", || {
        // The corrupt have the evidence of good machines and sit all around the circle, none of them near the victim but one.
        let mut seated = Seated::new(&[4, 9, 14, 19], 202)?;
        let victim = seated.at(0);
        let lab = &mut seated.lab;
        let mut world = World::new(&lab.open, &lab.adverts);
        let mut shown: BTreeSet<_> = lab.corrupt.keys().copied().collect();
        shown.insert(victim);
        let list = world.key_list_with(&shown);
        let answer = lab.ask(victim, &Directive::ShareKeys(list))?;
        let crate::messages::MemberMessage::ShareKeys(shares) = answer else {
            panic!("shares")
        };
        world.shares.insert(victim, shares.clone());
        for corrupt in lab.corrupt.values() {
            let pair = corrupt.open(&world, &shares).expect("a box for it");
            lab.knowledge.learn_pair(victim, corrupt.member, pair);
        }
        lab.world = Some(world);
        lab.deduce();
        let public = lab.knowledge.mask_keys.get(&victim).map(SecretKey::public);
        assert_eq!(public, Some(lab.adverts[&victim].mask_key));
        let public = lab.knowledge.self_masks.get(&victim);
        let committed = shares.statement.self_mask.constant();
        assert_eq!(public.map(SelfMaskSecret::public), Some(committed));
        Ok(())
    });
}

/// Breaks R12d.
#[test]
fn without_strangers_only_among_the_others_a_member_masks_with_colluders_alone_and_is_read() {
    only_on_the_circle(Rule::R12d, "round_not_asked", || {
        let mut seated = Seated::new(&BESIDE, 203)?;
        seated.lab.share()?;
        let (victim, everyone) = (seated.at(0), seated.lab.everyone());
        // The victim's honest neighbours are named, by what they said, and not shown: it hashes the U2 that everybody hashes.
        let shown = seated.seats(&[-2, 0, 2]);
        let delivery = seated.lab.world().delivery_with(victim, &everyone, &shown);
        seated.lab.submit_as(victim, &everyone, delivery)?;
        for member in seated.lab.honest().into_iter().filter(|m| *m != victim) {
            seated.lab.submit(member, &everyone)?;
        }
        seated.lab.open_set(&everyone, &everyone)?;
        seated.victim_is_read();
        Ok(())
    });
}

/// Breaks R12e.
#[test]
fn without_every_row_in_u2_members_pay_for_a_round_that_none_of_them_will_open() {
    only_on_the_circle(Rule::R12e, "round_gap", || {
        let mut seated = Seated::new(&BESIDE, 204)?;
        seated.lab.share()?;
        let u2 = seated.without(&[5, 6, 7, 8]);
        let honest = seated.lab.honest().into_iter();
        let submitting: Vec<_> = honest.filter(|m| u2.contains(m)).collect();
        for member in &submitting {
            seated.lab.submit(*member, &u2)?;
        }
        // Their updates are out; no survivor set of theirs has all rows.
        let survivors = seated.lab.survivors(&u2);
        for member in submitting {
            let refused = seated.lab.confirm(member, &survivors);
            assert_eq!(refused, Err(Rejection::Gap));
        }
        Ok(())
    });
}

/// The victim's honest neighbours are said to have dropped out; with the shares of the corrupt beside it its self-mask is
/// opened, and so are their mask keys.
fn torn_out(seed: u64) -> Result<(), Rejection> {
    let mut seated = Seated::new(&BESIDE, seed)?;
    seated.lab.share()?;
    seated.submit_all()?;
    let u3 = seated.without(&[-4, -3, -1, 1, 3, 4]);
    seated.lab.open_set(&seated.lab.everyone(), &u3)?;
    seated.victim_is_read();
    Ok(())
}

#[test]
fn a_member_torn_out_of_the_circle_is_read_without_both_rules_on_rows_and_either_of_them_prevents_it()
 {
    small_circle::with(CIRCLE, || {
        assert_eq!(torn_out(205), Err(Rejection::Gap));
        for one in [Rule::R14d, Rule::R16d] {
            let refused = off::without(&[one], || torn_out(205));
            assert_eq!(refused, Err(Rejection::Gap), "without {}", one.number());
        }
        assert_eq!(
            off::without(&[Rule::R14d, Rule::R16d], || torn_out(205)),
            Ok(())
        );
    });
}

/// Breaks R14d.
#[test]
fn without_every_row_in_u3_members_bind_themselves_to_a_set_that_they_will_not_open() {
    only_on_the_circle(Rule::R14d, "round_gap", || {
        let mut seated = Seated::new(&BESIDE, 206)?;
        seated.lab.share()?;
        seated.submit_all()?;
        let everyone = seated.lab.everyone();
        let (torn, whole) = (
            seated.without(&[5, 6, 7, 8]),
            seated.lab.survivors(&everyone),
        );
        let survivors = seated.lab.survivors(&torn);
        let mut signed = seated.lab.corrupt_confirm(&survivors, &everyone);
        let honest = seated.lab.honest().into_iter();
        let bound: Vec<_> = honest.filter(|m| torn.contains(m)).collect();
        for member in &bound {
            signed.push(seated.lab.confirm(*member, &survivors)?);
        }
        for member in bound {
            let other = seated.lab.confirm(member, &whole).unwrap_err();
            assert_eq!(other.code(), "round_answered_once");
            let seals = seated.lab.seals_for(member, &torn, &signed);
            let refused = seated.lab.unmask_with(member, signed.clone(), seals);
            assert_eq!(refused.unwrap_err(), Rejection::Gap);
        }
        Ok(())
    });
}

/// Breaks R16d.
#[test]
fn without_signers_in_every_row_self_masks_are_opened_for_survivors_that_were_never_there() {
    only_on_the_circle(Rule::R16d, "round_gap", || {
        let mut seated = Seated::new(&BESIDE, 207)?;
        seated.lab.share()?;
        let everyone = seated.lab.everyone();
        // Four in a row share their keys and are never heard of again; the coordinator counts them as survivors.
        let ghosts = seated.seats(&[9, 10, 11, 12]);
        let honest = seated.lab.honest().into_iter();
        let there: Vec<_> = honest.filter(|m| !ghosts.contains(m)).collect();
        for member in &there {
            seated.lab.submit(*member, &everyone)?;
        }
        let survivors = seated.lab.survivors(&everyone);
        let mut signed = seated.lab.corrupt_confirm(&survivors, &everyone);
        for member in &there {
            signed.push(seated.lab.confirm(*member, &survivors)?);
        }
        // Who has a ghost for a neighbour asks for its seal (R16e); the others see nothing.
        let far: Vec<_> = there
            .iter()
            .filter(|m| {
                seated
                    .lab
                    .world()
                    .seating
                    .neighbours(**m)
                    .is_disjoint(&ghosts)
            })
            .copied()
            .collect();
        for member in far {
            seated.lab.unmask_with(member, signed.clone(), Vec::new())?;
        }
        let ask = seated.at(8);
        let seals = seated.lab.seals_for(ask, &everyone, &signed);
        let refused = seated.lab.unmask_with(ask, signed, seals).unwrap_err();
        assert_eq!(refused.code(), "round_signature");
        // Half of what protects these updates is gone, for a sum that nobody can open.
        seated.lab.deduce();
        assert!(seated.lab.knowledge.self_masks.contains_key(&seated.at(0)));
        assert_eq!(seated.lab.knowledge.open_sets(seated.lab.world()), []);
        Ok(())
    });
}

/// Breaks R16e.
#[test]
fn without_the_seals_a_member_that_was_told_of_colluders_and_dropouts_only_is_read() {
    only_on_the_circle(Rule::R16e, "round_signature", || {
        let mut seated = Seated::new(&BESIDE, 208)?;
        seated.lab.share()?;
        let (victim, everyone) = (seated.at(0), seated.lab.everyone());
        // The victim is not told of three neighbours that will survive, and masks with three that will not.
        let (hidden, dropped) = ([-3, 1, 4], [-4, -1, 3]);
        let told = seated.without(&hidden);
        seated.lab.submit(victim, &told)?;
        let u3 = seated.without(&dropped);
        for member in seated.lab.honest() {
            if member != victim && u3.contains(&member) {
                seated.lab.submit(member, &everyone)?;
            }
        }
        // It is not asked to confirm: the others do, under the U2 that they know, and open its self-mask in good faith.
        seated.lab.open_set(&everyone, &u3)?;
        seated.victim_is_read();
        Ok(())
    });
}
