//! The attack that the circle's rule stops, computed: a coordinator that tears two holes into the circle reads the sum over
//! the arc between them from nothing but what honest members would send it.

use crate::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const REACH: u32 = 3;
const WITNESSES: u32 = 2;

struct Member {
    mask_key: SecretKey,
    self_mask: SelfMaskSecret,
    value: i64,
}

struct World {
    context: RoundKeyContext,
    seating: Seating,
    members: BTreeMap<MemberIndex, Member>,
    schema: VectorSchema,
}

impl World {
    fn new(n: u32) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let context = RoundKeyContext::new(&Digest::of(b"context"), &Digest::of(b"adverts"));
        let index = |position| MemberIndex::new(position).unwrap();
        let members: BTreeMap<_, _> = (1..=n)
            .map(|position| {
                let member = Member {
                    mask_key: SecretKey::random(&mut rng),
                    self_mask: SelfMaskSecret::random(&mut rng),
                    value: 1000 + i64::from(position),
                };
                (index(position), member)
            })
            .collect();
        let graph = Graph::Harary(Circle {
            reach: REACH,
            witnesses: WITNESSES,
        });
        Self {
            seating: graph.seat(&context, members.keys().copied()),
            schema: VectorSchema::new(1, Width::new(40).unwrap()).unwrap(),
            context,
            members,
        }
    }

    fn pair(&self, own: MemberIndex, peer: MemberIndex) -> MaskSeed {
        let public = self.members[&peer].mask_key.public();
        pair_mask_seed(
            &self.members[&own].mask_key,
            &public,
            &self.context,
            own,
            peer,
        )
    }

    /// P4 of one member: masked with its neighbours in the U2 that it was told.
    fn upload(&self, own: MemberIndex, u2: &BTreeSet<MemberIndex>) -> Vec<u8> {
        let member = &self.members[&own];
        let near = &self.seating.neighbours(own) & u2;
        let pairs: Vec<_> = near
            .into_iter()
            .map(|peer| (self.pair(own, peer), pair_sign(own, peer)))
            .collect();
        let update = EncodedUpdate::from_integers(&[member.value], self.schema).unwrap();
        let seed = self_mask_seed(&member.self_mask, &self.context, own);
        let masked = mask_update(update, &seed, &pairs).unwrap();
        masked
            .chunks()
            .flat_map(|(_, chunk)| chunk.to_vec())
            .collect()
    }

    /// What a coordinator gets for `arc` when the members answer P6 for all but `missing`: it takes away the self masks of
    /// the arc and the masks with the missing, which are all the masks it can know.
    fn read(&self, arc: &BTreeSet<MemberIndex>, missing: &BTreeSet<MemberIndex>) -> i64 {
        self.read_told(arc, missing, &self.members.keys().copied().collect())
    }

    /// The same, of members that were told of this U2.
    fn read_told(
        &self,
        arc: &BTreeSet<MemberIndex>,
        missing: &BTreeSet<MemberIndex>,
        u2: &BTreeSet<MemberIndex>,
    ) -> i64 {
        let known = missing & u2;
        let mut sum = Accumulator::new(self.schema);
        for own in arc {
            sum.add_packed(&self.upload(*own, u2)).unwrap();
            let seed = self_mask_seed(&self.members[own].self_mask, &self.context, *own);
            sum.subtract_mask(&seed, Sign::Plus);
            for gone in self.seating.neighbours(*own).intersection(&known) {
                sum.subtract_mask(&self.pair(*gone, *own), pair_sign(*own, *gone));
            }
        }
        sum.finish().values()[0]
    }

    fn plain(&self, members: &BTreeSet<MemberIndex>) -> i64 {
        members.iter().map(|m| self.members[m].value).sum()
    }

    fn seats(&self, places: impl IntoIterator<Item = usize>) -> BTreeSet<MemberIndex> {
        places
            .into_iter()
            .map(|place| self.seating.seats()[place])
            .collect()
    }

    fn covered_without(&self, missing: &BTreeSet<MemberIndex>) -> bool {
        let all: BTreeSet<_> = self.members.keys().copied().collect();
        self.seating.covered_by(&(&all - missing))
    }
}

#[test]
fn between_two_holes_of_h_seats_one_member_is_read_and_the_circle_is_not_covered() {
    let world = World::new(24);
    let holes = world.seats((0..3).chain(4..7));
    let victim = world.seats([3]);
    assert_eq!(world.read(&victim, &holes), world.plain(&victim));
    assert!(!world.covered_without(&holes));
}

#[test]
fn an_arc_between_two_holes_is_summed_apart_and_the_circle_is_not_covered() {
    let world = World::new(24);
    let holes = world.seats((0..3).chain(10..13));
    let arc = world.seats(3..10);
    assert_eq!(world.read(&arc, &holes), world.plain(&arc));
    assert!(!world.covered_without(&holes));
}

#[test]
fn with_one_honest_survivor_in_a_hole_the_arc_stays_masked() {
    let world = World::new(24);
    // m = 2: one member of each row may be corrupt and open all its masks, the other is the honest witness.
    let holes = world.seats([0, 10]);
    let corrupt = world.seats([1, 11]);
    let arc = world.seats(3..10);
    assert!(world.covered_without(&holes));
    assert_ne!(world.read(&arc, &(&holes | &corrupt)), world.plain(&arc));
    let honest = world.seats((2..10).chain(12..24));
    assert_eq!(
        world.read(&honest, &(&holes | &corrupt)),
        world.plain(&honest)
    );
}

#[test]
fn a_member_that_was_told_of_few_neighbours_is_read_alone_though_the_circle_is_covered() {
    let world = World::new(24);
    // Of each row beside the victim (seat 4) one member drops out and one is corrupt; it is told of no third one.
    let (missing, corrupt, untold) = (
        world.seats([1, 5]),
        world.seats([2, 6]),
        world.seats([3, 7]),
    );
    assert!(world.covered_without(&missing));
    let everyone: BTreeSet<_> = world.members.keys().copied().collect();
    let told = &everyone - &untold;
    assert!(
        world.covered_without(&untold),
        "so what it was told is covered too"
    );
    let victim = world.seats([4]);
    let known = &missing | &corrupt;
    assert_eq!(
        world.read_told(&victim, &known, &told),
        world.plain(&victim)
    );
    // The seal over H(U2) gives the lie away: told of everybody, it cannot be read.
    assert_ne!(
        world.read_told(&victim, &known, &everyone),
        world.plain(&victim)
    );
}
