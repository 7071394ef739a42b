//! What releases cost together, by each accountant, and which figure binds.

use std::collections::BTreeMap;

use crate::accountant::gaussian;
use crate::accountant::parts::{parts, sides};
use crate::accountant::pld::{self, PldRefused};
use crate::accountant::rdp::RdpCurve;
use crate::mechanism::{Mechanism, composed_mu};
use crate::quantity::{Delta, Epsilon, Steps};

/// How far the exact accountant may lie above a looser one before one of them must be wrong: rounding only.
const SLACK: f64 = 1e-9;

/// How far the loss distributions may lie above the Rényi figure, relative: what their grid leaves.
const PLD_SLACK: f64 = 1e-3;

/// The same for epsilons near 0.
const PLD_SLACK_NEAR_ZERO: f64 = 1e-6;

/// Most kinds of release in one figure by loss distributions: each has a table of its own, and a figure should take seconds.
const MAX_KINDS: usize = 64;

/// What releases cost together at one delta, by each accountant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    delta: Delta,
    exact: Option<Epsilon>,
    rdp: Epsilon,
    pld: Result<Epsilon, PldRefused>,
}

impl Spend {
    /// The delta at which the epsilons hold.
    pub fn delta(&self) -> Delta {
        self.delta
    }

    /// Epsilon of the exact Gaussian curve; absent if a release samples its batches.
    pub fn exact(&self) -> Option<Epsilon> {
        self.exact
    }

    /// Epsilon by Rényi divergences at the integer orders 2 to 256.
    pub fn rdp(&self) -> Epsilon {
        self.rdp
    }

    /// Epsilon by privacy loss distributions, within a thousandth of the true one and never below it. For full batches the
    /// distribution is known in closed form, and this is the exact curve.
    ///
    /// # Errors
    /// [`PldRefused`] if it is not computed for this delta or these releases.
    pub fn pld(&self) -> Result<Epsilon, PldRefused> {
        self.pld
    }

    /// The epsilon that binds: the smallest of the upper bounds.
    pub fn enforced(&self) -> Epsilon {
        let others = [self.exact, self.pld.ok()];
        let smaller = |least: Epsilon, other: Epsilon| if other < least { other } else { least };
        others.into_iter().flatten().fold(self.rdp, smaller)
    }
}

/// What all these releases on the same records cost together, by all accountants.
///
/// # Errors
/// [`AccountError`] if relations or units are mixed, if there are too many steps, or if the accountants contradict each
/// other.
pub fn spend(mechanisms: &[Mechanism], delta: Delta) -> Result<Spend, AccountError> {
    if let Some((first, rest)) = mechanisms.split_first() {
        if rest
            .iter()
            .any(|mechanism| mechanism.relation() != first.relation())
        {
            return Err(AccountError::MixedRelations);
        }
        if rest
            .iter()
            .any(|mechanism| mechanism.unit() != first.unit())
        {
            return Err(AccountError::MixedUnits);
        }
    }
    let kinds = merged(mechanisms)?;
    let rdp = rdp(&kinds, delta);
    let exact = exact(&kinds, delta);
    let pld = exact.map_or_else(|| pld(&kinds, delta), Ok);
    let spend = Spend {
        delta,
        exact,
        rdp,
        pld,
    };
    if agree(&spend) {
        Ok(spend)
    } else {
        Err(AccountError::AccountantsDisagree)
    }
}

/// Epsilon of the exact curve, if all are full batches.
pub(crate) fn exact(kinds: &[Mechanism], delta: Delta) -> Option<Epsilon> {
    kinds
        .iter()
        .all(Mechanism::is_full_batch)
        .then(|| gaussian::epsilon(composed_mu(kinds.iter()), delta))
}

/// Epsilon by Rényi divergences alone.
pub(crate) fn rdp(kinds: &[Mechanism], delta: Delta) -> Epsilon {
    let curve = kinds.iter().map(RdpCurve::of);
    curve
        .fold(RdpCurve::zero(), |sum, one| sum.add(&one))
        .epsilon(delta)
}

/// Epsilon by privacy loss distributions alone: that of the worse side.
pub(crate) fn pld(kinds: &[Mechanism], delta: Delta) -> Result<Epsilon, PldRefused> {
    let Some(first) = kinds.first() else {
        return Ok(Epsilon::ZERO);
    };
    if kinds.len() > MAX_KINDS {
        return Err(PldRefused::TooManyKinds);
    }
    let mut worst = 0.0;
    for side in sides(first.relation()) {
        let epsilon = pld::epsilon(&parts(kinds, *side), delta, worst)?;
        // What is no number stays, and counts as infinity.
        if epsilon.is_nan() || epsilon > worst {
            worst = epsilon;
        }
    }
    Ok(Epsilon::accounted(worst))
}

/// The tighter accountants lie below the looser one, up to what their arithmetic leaves.
fn agree(spend: &Spend) -> bool {
    let rdp = spend.rdp.value();
    let is_below =
        |epsilon: Epsilon, share: f64, plus: f64| epsilon.value() <= rdp * (1.0 + share) + plus;
    spend
        .exact
        .is_none_or(|exact| is_below(exact, SLACK, SLACK))
        && spend
            .pld
            .ok()
            .is_none_or(|pld| is_below(pld, PLD_SLACK, PLD_SLACK_NEAR_ZERO))
}

/// Releases that cannot be accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Add/remove beside replace-one.
    #[error("the releases name different neighbouring relations: a data set keeps to one")]
    MixedRelations,
    /// Different units of privacy.
    #[error("the releases protect different units: a data set keeps to one")]
    MixedUnits,
    /// More steps than are counted.
    #[error("the releases have too many steps together to be counted")]
    TooManySteps,
    /// A bug of an accountant.
    #[error(
        "a tight accountant lies above the bound of a looser one: do not release, and report this as a bug"
    )]
    AccountantsDisagree,
}

impl AccountError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MixedRelations => "privacy_mixed_relations",
            Self::MixedUnits => "privacy_mixed_units",
            Self::TooManySteps => "privacy_too_many_steps",
            Self::AccountantsDisagree => "privacy_accountants_disagree",
        }
    }
}

/// The same releases with equal ones joined, so that a long ledger costs one curve per kind of release.
fn merged(mechanisms: &[Mechanism]) -> Result<Vec<Mechanism>, AccountError> {
    // Positive floats sort like their bits.
    let kind = |m: &Mechanism| {
        (
            m.noise_multiplier().value().to_bits(),
            m.sampling().value().to_bits(),
            m.truncation(),
        )
    };
    let mut kinds = BTreeMap::<_, Mechanism>::new();
    for mechanism in mechanisms {
        match kinds.entry(kind(mechanism)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(*mechanism);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let both = entry
                    .get()
                    .steps()
                    .count()
                    .checked_add(mechanism.steps().count());
                let both = both
                    .and_then(|steps| Steps::new(steps).ok())
                    .ok_or(AccountError::TooManySteps)?;
                let joined = entry.get().repeated(both);
                entry.insert(joined);
            }
        }
    }
    Ok(kinds.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mechanism::{Relation, Unit};
    use crate::quantity::{NoiseMultiplier, SamplingRate};

    fn delta() -> Delta {
        Delta::new(1e-5).unwrap()
    }

    fn release(sigma: f64, q: f64, steps: u32, relation: Relation) -> Mechanism {
        let (sigma, q) = (
            NoiseMultiplier::new(sigma).unwrap(),
            SamplingRate::new(q).unwrap(),
        );
        Mechanism::new(sigma, q, Steps::new(steps).unwrap(), relation, Unit::Record)
    }

    #[test]
    fn no_release_costs_nothing() {
        let spend = spend(&[], delta()).unwrap();
        assert_eq!(
            (spend.exact(), spend.rdp(), spend.enforced()),
            (Some(Epsilon::ZERO), Epsilon::ZERO, Epsilon::ZERO)
        );
    }

    #[test]
    fn full_batch_rounds_cost_the_same_one_by_one_and_together() {
        let together = spend(&[release(10.0, 1.0, 100, Relation::AddRemove)], delta()).unwrap();
        let apart = spend(
            &vec![release(10.0, 1.0, 1, Relation::AddRemove); 100],
            delta(),
        )
        .unwrap();
        assert!((together.enforced().value() - apart.enforced().value()).abs() < 1e-12);
        assert_eq!(together.rdp(), apart.rdp());
    }

    #[test]
    fn rounds_of_different_noise_compose_by_the_sum_of_inverse_variances() {
        // 1/σ² of 2 and of 2/√3 add up to 1.
        let parts = [
            release(2.0, 1.0, 1, Relation::AddRemove),
            release(2.0 / 3_f64.sqrt(), 1.0, 1, Relation::AddRemove),
        ];
        let exact = spend(&parts, delta()).unwrap().exact().unwrap().value();
        assert!((exact - 4.377_178_095_68).abs() < 1e-10);
    }

    #[test]
    fn the_exact_epsilon_binds_for_full_batches_and_never_exceeds_the_other() {
        for sigma in [0.3, 1.0, 5.0, 80.0] {
            for steps in [1, 20, 1000] {
                let spend =
                    spend(&[release(sigma, 1.0, steps, Relation::AddRemove)], delta()).unwrap();
                assert_eq!(Some(spend.enforced()), spend.exact());
                assert!(spend.exact().unwrap() <= spend.rdp());
            }
        }
    }

    #[test]
    fn a_sampled_release_has_no_exact_epsilon_and_the_loss_distribution_binds() {
        let spend = spend(&[release(1.0, 0.01, 1000, Relation::AddRemove)], delta()).unwrap();
        assert_eq!(spend.exact(), None);
        assert_eq!(Ok(spend.enforced()), spend.pld());
        assert!(spend.enforced() < spend.rdp());
    }

    #[test]
    fn where_the_loss_distribution_is_refused_the_other_binds() {
        let tiny = Delta::new(1e-13).unwrap();
        let spend = spend(&[release(1.0, 0.01, 1000, Relation::AddRemove)], tiny).unwrap();
        assert_eq!(spend.pld(), Err(PldRefused::DeltaTooSmall));
        assert_eq!(spend.enforced(), spend.rdp());
    }

    #[test]
    fn mixed_relations_are_refused() {
        let (added, replaced) = (
            release(1.0, 1.0, 1, Relation::AddRemove),
            release(1.0, 1.0, 1, Relation::ReplaceOne),
        );
        assert_eq!(
            spend(&[added, replaced], delta()),
            Err(AccountError::MixedRelations)
        );
    }
}
