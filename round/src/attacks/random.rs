//! A coordinator that does anything at all, from a seed: whatever it is answered, it has at most one sum, over enough members.

use std::collections::{BTreeMap, BTreeSet};

use consort_aggregation::{Circle, MemberIndex};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;

use super::circle::withstands;
use super::knowledge::Knowledge;
use super::lab::{Lab, Upload, World};
use crate::messages::{Confirmation, Confirmations, Directive, MemberMessage, Survivors};
use crate::rejection::Rejection;
use crate::terms::small_circle;

type Set = BTreeSet<MemberIndex>;

/// h, m, and with them t' = 3.
const CIRCLE: Circle = Circle {
    reach: 3,
    witnesses: 2,
};

/// What became of a schedule.
#[derive(Default)]
struct Tally {
    released: u32,
    answers: u32,
    refusals: BTreeMap<&'static str, u32>,
}

struct Coordinator {
    lab: Lab,
    /// The survivor sets that it announced, with whoever in them is corrupt left out.
    announced: Vec<Set>,
    /// One for each key list that it shows, with what it learns under it.
    worlds: Vec<(World, Knowledge)>,
    rng: ChaCha20Rng,
    /// How much more seldom than among few it errs: where many must agree, a coordinator that errs everywhere has no answers.
    calm: u32,
    tally: Tally,
}

impl Coordinator {
    fn new(seed: u64, circle: Option<Circle>) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (n, c) = if circle.is_some() {
            (rng.gen_range(12..=16), rng.gen_range(1..=3))
        } else {
            let n = rng.gen_range(3..=7);
            (n, rng.gen_range(1..=n - 2))
        };
        let mut members: Vec<u32> = (1..=n).collect();
        members.shuffle(&mut rng);
        members.truncate(rng.gen_range(0..=c) as usize);
        let lab = Lab::new(n, c, None, &members, seed);
        println!("n={n} c={c} corrupt={members:?}");
        Self {
            lab,
            announced: Vec::new(),
            worlds: Vec::new(),
            calm: circle.map_or(1, |_| *[2, 8, 32].choose(&mut rng).unwrap()),
            rng,
            tally: Tally::default(),
        }
    }

    fn ask(&mut self, member: MemberIndex, directive: &Directive) -> Option<MemberMessage> {
        match self.lab.ask(member, directive) {
            Ok(message) => {
                self.tally.answers += 1;
                Some(message)
            }
            Err(rejection) => {
                *self.tally.refusals.entry(rejection.code()).or_default() += 1;
                None
            }
        }
    }

    /// Once in so many times, or more seldom.
    fn once_in(&mut self, times: u32) -> bool {
        self.rng.gen_ratio(1, times * self.calm)
    }

    fn some_of(&mut self, of: &Set, leave_out: u32) -> Set {
        let mut set = of.clone();
        for _ in 0..self.rng.gen_range(0..=leave_out) {
            let out = set
                .iter()
                .copied()
                .nth(self.rng.gen_range(0..set.len().max(1)));
            out.map(|member| set.remove(&member));
        }
        set
    }

    /// Two key lists, one of them perhaps shorter; each member is asked up to three times with one of them, perhaps tampered.
    fn share(&mut self) {
        self.lab.join().unwrap();
        let everyone = self.lab.everyone();
        for leave_out in [0, 2] {
            let u1 = self.some_of(&everyone, leave_out);
            let listed = self.lab.adverts.iter().filter(|(m, _)| u1.contains(m));
            let listed = listed.map(|(m, advert)| (*m, advert.clone())).collect();
            let world = World::new(&self.lab.open, &listed);
            if self
                .worlds
                .iter()
                .all(|(known, _)| known.context2 != world.context2)
            {
                self.worlds.push((world, Knowledge::default()));
            }
        }
        for member in self.lab.honest() {
            for _ in 0..3 {
                let which = usize::from(self.once_in(8)).min(self.worlds.len() - 1);
                let mut list = self.worlds[which].0.key_list(member);
                if self.once_in(4) && list.adverts.len() > 1 {
                    let (a, b) = (
                        self.rng.gen_range(0..list.adverts.len()),
                        self.rng.gen_range(0..list.adverts.len()),
                    );
                    match self.rng.gen_range(0..3) {
                        0 => list.adverts[a].mask_key = list.adverts[b].share_key,
                        1 => list.adverts[a] = list.adverts[b].clone(),
                        _ => list.adverts[a].evidence = b"no machine".to_vec(),
                    }
                }
                if let Some(MemberMessage::ShareKeys(shares)) =
                    self.ask(member, &Directive::ShareKeys(list))
                {
                    // A list that was tampered with into itself is the list.
                    for (world, _) in &mut self.worlds {
                        let own = shares.verify(
                            &world.context2,
                            &self.lab.open.terms,
                            &world.seating,
                            &world.adverts,
                        );
                        if own.is_ok() {
                            world.shares.insert(member, shares.clone());
                        }
                    }
                }
            }
        }
        for place in 0..self.worlds.len() {
            self.within(place, |lab, _| lab.corrupt_share());
        }
    }

    /// Whether the corrupt are as few in each row as the circle withstands, under each key list.
    fn is_withstood(&self, circle: Circle) -> bool {
        let corrupt = self.lab.corrupt.keys().copied().collect();
        let mut worlds = self.worlds.iter();
        worlds.all(|(world, _)| withstands(world, &corrupt, circle))
    }

    /// Works in one world.
    fn within<T>(&mut self, place: usize, work: impl FnOnce(&mut Lab, &mut ChaCha20Rng) -> T) -> T {
        let (world, knowledge) = self.worlds.remove(place);
        (self.lab.world, self.lab.knowledge) = (Some(world), knowledge);
        let result = work(&mut self.lab, &mut self.rng);
        let back = (
            self.lab.world.take().unwrap(),
            std::mem::take(&mut self.lab.knowledge),
        );
        self.worlds.insert(place, back);
        result
    }

    /// Each member is shown up to three deliveries, of any U2, perhaps tampered.
    fn submit(&mut self) {
        for member in self.lab.honest() {
            for _ in 0..3 {
                let which = usize::from(self.once_in(8)).min(self.worlds.len() - 1);
                let all: Set = self.worlds[which].0.shares.keys().copied().collect();
                let leave_out = if self.once_in(4) { 3 } else { 0 };
                let u2 = self.some_of(&all, leave_out);
                let mut delivery = self.worlds[which].0.delivery(member, &u2);
                if self.once_in(5) && !delivery.statements.is_empty() {
                    let some = self.rng.gen_range(0..delivery.statements.len());
                    let owner = delivery.statements[some].member;
                    match self.rng.gen_range(0..3) {
                        0 => drop(delivery.sealed.remove(&owner)),
                        1 => delivery.statements[some].sealed.clear(),
                        _ => delivery
                            .sealed
                            .values_mut()
                            .take(1)
                            .for_each(|sealed| sealed[3] ^= 1),
                    }
                }
                let shown = delivery.statements.iter().map(|s| s.member);
                let peers = shown.filter(|peer| *peer != member).collect();
                let Some(MemberMessage::Seal(seal)) =
                    self.ask(member, &Directive::Submit(delivery))
                else {
                    continue;
                };
                let masked = self.lab.cluster.uploads[&member].clone();
                self.worlds[which]
                    .0
                    .uploads
                    .entry(member)
                    .or_insert(Upload {
                        u2,
                        peers,
                        masked,
                        seal,
                    });
            }
        }
    }

    /// A few survivor sets, each member asked about several; then any confirmations are shown to anybody, several times.
    fn open(&mut self) {
        for place in 0..self.worlds.len() {
            let uploaded: Set = self.worlds[place].0.uploads.keys().copied().collect();
            let shared: Set = self.worlds[place].0.shares.keys().copied().collect();
            let with_corrupt: Set = uploaded
                .iter()
                .chain(self.lab.corrupt.keys())
                .copied()
                .collect();
            let mut sets = vec![with_corrupt.clone(), with_corrupt.clone(), shared];
            sets.push(self.some_of(&with_corrupt, 1));
            sets.push(self.some_of(&with_corrupt, 3));
            let honest: Set = self.lab.honest().into_iter().collect();
            self.announced.extend(sets.iter().map(|set| set & &honest));
            let survivors: Vec<Survivors> = self.within(place, |lab, _| {
                sets.iter().map(|set| lab.survivors(set)).collect()
            });
            let mut signed: Vec<Vec<Confirmation>> = vec![Vec::new(); sets.len()];
            let u2 = self.worlds[place]
                .0
                .uploads
                .values()
                .next()
                .map(|upload| upload.u2.clone())
                .unwrap_or_default();
            for (which, set) in survivors.iter().enumerate() {
                signed[which] = self.within(place, |lab, _| lab.corrupt_confirm(set, &u2));
            }
            let favourite = self.rng.gen_range(0..sets.len());
            for member in self.lab.honest() {
                for _ in 0..3 {
                    let which = if self.rng.gen_ratio(3, 4) {
                        favourite
                    } else {
                        self.rng.gen_range(0..sets.len())
                    };
                    let asked = Directive::Confirm(survivors[which].clone());
                    if let Some(MemberMessage::Confirmation(c)) = self.ask(member, &asked)
                        && !signed[which].contains(&c)
                    {
                        signed[which].push(c);
                    }
                }
            }
            for member in self.lab.honest() {
                let mut first = None;
                for _ in 0..4 {
                    let mut confirmations = signed[self.rng.gen_range(0..sets.len())].clone();
                    if self.rng.gen_ratio(1, 4) {
                        let more = signed[self.rng.gen_range(0..sets.len())].clone();
                        confirmations.extend(more);
                    }
                    let u3 = &sets[if self.rng.gen_ratio(1, 8) {
                        0
                    } else {
                        favourite
                    }];
                    let seals = if self.rng.gen_ratio(1, 8) {
                        Vec::new()
                    } else {
                        self.within(place, |lab, _| lab.seals_for(member, u3, &confirmations))
                    };
                    let asked = Directive::Unmask(Confirmations {
                        confirmations,
                        seals,
                    });
                    if let Some(MemberMessage::Unmask(answer)) = self.ask(member, &asked) {
                        // One answer, with one kind of share for each owner, however often it is asked.
                        let both = answer
                            .shares
                            .self_mask
                            .keys()
                            .any(|m| answer.shares.mask_key.contains_key(m));
                        assert!(!both, "{member} gave both kinds");
                        assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer);
                        self.worlds[place].1.learn_answer(&answer);
                    }
                }
            }
        }
    }

    /// What it knows in the end.
    fn judge(&mut self) {
        let thresholds = self.lab.open.terms.thresholds;
        let honest = self.lab.honest();
        let mut released: Vec<Set> = Vec::new();
        for place in 0..self.worlds.len() {
            self.within(place, |lab, _| lab.deduce());
            let (world, knowledge) = &self.worlds[place];
            for member in &honest {
                let both = knowledge.self_masks.contains_key(member)
                    && knowledge.mask_keys.contains_key(member);
                assert!(!both, "both secrets of honest member {member} are known");
                // Knowledge closure: a member whose self-mask is open has a mask with an honest member that is not.
                if let (true, Some(upload)) = (
                    knowledge.self_masks.contains_key(member),
                    world.uploads.get(member),
                ) {
                    let hidden =
                        |peer: &&MemberIndex| knowledge.pair_seed(world, *member, **peer).is_none();
                    assert!(
                        upload.peers.iter().any(|peer| hidden(&peer)),
                        "{member} is read"
                    );
                }
            }
            for set in knowledge.open_sets(world) {
                let schema = self.lab.open.terms.schema;
                let sum = knowledge
                    .sum(world, &set, schema)
                    .expect("an open set has a sum");
                assert_eq!(sum, super::cluster::plain_sum(&self.lab.inputs, &set));
                assert!(
                    self.announced.contains(&set),
                    "{set:?} is a part of a survivor set"
                );
                released.push(set);
            }
        }
        assert!(released.len() <= 1, "two sums were released: {released:?}");
        for set in &released {
            let corrupt = self.lab.corrupt.len();
            assert!(
                set.len() + corrupt >= thresholds.fewest_survivors() as usize && set.len() >= 2
            );
        }
        self.tally.released += u32::from(!released.is_empty());
        // A member that lost its memory is asked again: the pair on its disk refuses.
        let open = Directive::Advertise(self.lab.open.clone());
        self.lab.cluster.members.clear();
        for member in honest {
            assert!(matches!(
                self.lab.ask(member, &open),
                Err(Rejection::Stale { .. })
            ));
        }
    }
}

/// Plays these schedules; gives how many were played, and what became of them in all.
fn play(seeds: std::ops::Range<u64>, circle: Option<Circle>) -> (u32, Tally) {
    let (mut played, mut all) = (0, Tally::default());
    for seed in seeds {
        let mut coordinator = Coordinator::new(seed, circle);
        coordinator.share();
        if circle.is_some_and(|circle| !coordinator.is_withstood(circle)) {
            continue;
        }
        coordinator.submit();
        coordinator.open();
        coordinator.judge();
        played += 1;
        all.released += coordinator.tally.released;
        all.answers += coordinator.tally.answers;
        for (code, count) in coordinator.tally.refusals {
            *all.refusals.entry(code).or_default() += count;
        }
    }
    (played, all)
}

/// Obeys R4, R15, R17a, R17b.
#[test]
fn a_coordinator_that_does_anything_has_at_most_one_sum_over_enough_members() {
    let (_, tally) = play(0..300, None);
    let Tally {
        released,
        answers,
        refusals,
    } = tally;
    println!("{released} of 300 schedules release a sum; {answers} answers; refusals {refusals:?}");
    // The schedules are neither all stopped at once nor all harmless.
    assert!(
        released >= 30 && refusals.len() >= 6,
        "{released} {refusals:?}"
    );
}

/// Obeys R14d, R15, R16d, R16e, R17a, R17b.
#[test]
fn on_a_circle_too_a_coordinator_that_does_anything_has_at_most_one_sum_of_all_that_are_honest() {
    let (played, tally) = small_circle::with(CIRCLE, || play(0..100, Some(CIRCLE)));
    let Tally {
        released,
        answers,
        refusals,
    } = tally;
    println!(
        "{released} of {played} schedules release a sum; {answers} answers; refusals {refusals:?}"
    );
    assert!(played >= 50 && released >= 10, "{released} of {played}");
    assert!(refusals.contains_key("round_gap"), "{refusals:?}");
}

/// The same assertions notice a member without its rules: otherwise they would prove nothing.
#[test]
#[should_panic(expected = "gave both kinds")]
fn the_assertions_notice_members_that_give_both_kinds_of_share() {
    crate::rules::off::without(&[crate::rules::Rule::R17a], || {
        for seed in 0..300 {
            let mut coordinator = Coordinator::new(seed, None);
            coordinator.share();
            coordinator.submit();
            coordinator.open();
        }
    });
}
