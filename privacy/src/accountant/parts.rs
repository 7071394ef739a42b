//! From mechanisms to the dominating pairs of the loss distributions.

use super::pld::pair::{Pair, Side};
use super::pld::table::{Shape, Source};
use super::pld::{Overflow, Part};
use crate::mechanism::{Mechanism, Relation, composed_mu};

/// The sides whose composed losses both must satisfy delta: neighbours differ in the same direction in every step.
pub(crate) fn sides(relation: Relation) -> &'static [Side] {
    match relation {
        Relation::AddRemove | Relation::ZeroOut => &[Side::Remove, Side::Add],
        Relation::ReplaceOne => &[Side::Replace],
    }
}

/// The parts of a list in which equal mechanisms are joined. All full batches together are one Gaussian release.
pub(crate) fn parts(mechanisms: &[Mechanism], side: Side) -> Vec<Part> {
    let (full, sampled): (Vec<&Mechanism>, Vec<&Mechanism>) = mechanisms
        .iter()
        .partition(|mechanism| mechanism.is_full_batch());
    let mu = composed_mu(full.into_iter());
    let one = (mu > 0.0).then(|| Part {
        source: Source::one(Shape::Pair(Pair::new(Side::Remove, 1.0, mu))),
        steps: 1,
    });
    let sampled = sampled.into_iter().map(|mechanism| Part {
        source: source(mechanism, side),
        steps: mechanism.steps().count(),
    });
    one.into_iter().chain(sampled).collect()
}

/// One sampled step.
fn source(mechanism: &Mechanism, side: Side) -> Source {
    let (rate, shift) = (
        mechanism.sampling().value(),
        1.0 / mechanism.noise_multiplier().value(),
    );
    let plain = Shape::Pair(Pair::new(side, rate, shift));
    let Some(overflow) = overflow(mechanism) else {
        return Source::one(plain);
    };
    // In a full batch the record may take the place of another: it moves the sum by two. The replace pair of that shift
    // dominates it for every relation.
    let full = Shape::Pair(Pair::new(Side::Replace, overflow.rate, 2.0 * shift));
    Source::either(overflow.probability, full, plain)
}

/// What the cap on the batch does, if it can be reached.
pub(crate) fn overflow(mechanism: &Mechanism) -> Option<Overflow> {
    let truncation = mechanism.truncation()?;
    let rate = mechanism.sampling().value();
    let of = if truncation.is_bound() {
        Overflow::of_at_most
    } else {
        Overflow::new
    };
    let overflow = of(truncation.records(), rate, truncation.max_batch());
    (overflow.probability > 0.0 && overflow.rate > 0.0).then_some(overflow)
}
