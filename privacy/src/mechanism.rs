//! What a release is, for the accountants, and what releases cost together.

use std::collections::BTreeMap;

use crate::accountant::gaussian;
use crate::accountant::rdp::RdpCurve;
use crate::quantity::{Delta, Epsilon, NoiseMultiplier, SamplingRate, Steps};

/// How far the exact accountant may lie above the looser one before one of them must be wrong: rounding only.
const SLACK: f64 = 1e-9;

/// Which data sets count as neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// One record more or less.
    AddRemove,
    /// One record exchanged for another; roughly twice the epsilon of the same noise.
    ReplaceOne,
}

impl Relation {
    /// Sensitivity of a sum of clipped records, in clip norms.
    pub(crate) fn sensitivity(self) -> f64 {
        match self {
            Self::AddRemove => 1.0,
            Self::ReplaceOne => 2.0,
        }
    }
}

/// What is protected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// One record.
    Record,
}

/// A Gaussian release of a sum of clipped records, repeated: what a ledger stores and an accountant reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mechanism {
    noise_multiplier: NoiseMultiplier,
    sampling: SamplingRate,
    steps: Steps,
    relation: Relation,
    unit: Unit,
}

impl Mechanism {
    /// `steps` releases, each of a batch drawn at rate `sampling`, with noise of `noise_multiplier` clip norms.
    pub fn new(
        noise_multiplier: NoiseMultiplier,
        sampling: SamplingRate,
        steps: Steps,
        relation: Relation,
        unit: Unit,
    ) -> Self {
        Self {
            noise_multiplier,
            sampling,
            steps,
            relation,
            unit,
        }
    }

    /// Standard deviation of the noise, in clip norms.
    pub fn noise_multiplier(&self) -> NoiseMultiplier {
        self.noise_multiplier
    }

    /// Probability of a record to take part in a step.
    pub fn sampling(&self) -> SamplingRate {
        self.sampling
    }

    /// Number of releases.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Which data sets count as neighbours.
    pub fn relation(&self) -> Relation {
        self.relation
    }

    /// What is protected as a whole.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// What releases cost together at one delta, by each accountant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    delta: Delta,
    exact: Option<Epsilon>,
    rdp: Epsilon,
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

    /// The epsilon that binds: the smaller of two upper bounds.
    pub fn enforced(&self) -> Epsilon {
        match self.exact {
            Some(exact) if exact < self.rdp => exact,
            Some(_) | None => self.rdp,
        }
    }
}

/// What all these releases on the same records cost together, by both accountants.
///
/// # Errors
/// [`AccountError`] if relations or units are mixed, if no accountant covers a release, or if the two contradict
/// each other.
pub fn spend(mechanisms: &[Mechanism], delta: Delta) -> Result<Spend, AccountError> {
    if let Some((first, rest)) = mechanisms.split_first() {
        if rest
            .iter()
            .any(|mechanism| mechanism.relation != first.relation)
        {
            return Err(AccountError::MixedRelations);
        }
        if rest.iter().any(|mechanism| mechanism.unit != first.unit) {
            return Err(AccountError::MixedUnits);
        }
    }
    let mut curve = RdpCurve::zero();
    for mechanism in merged(mechanisms)? {
        curve = curve.add(&RdpCurve::of(&mechanism).ok_or(AccountError::SampledReplaceOne)?);
    }
    let rdp = curve.epsilon(delta);
    let exact = mechanisms
        .iter()
        .all(|mechanism| mechanism.sampling.is_full_batch())
        .then(|| gaussian::epsilon(composed_mu(mechanisms), delta));
    match exact {
        Some(exact) if exact.value() > rdp.value() * (1.0 + SLACK) + SLACK => {
            Err(AccountError::AccountantsDisagree)
        }
        Some(_) | None => Ok(Spend { delta, exact, rdp }),
    }
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
    /// Sampled batches under replace-one.
    #[error("sampled batches are not accounted under replace-one: use add/remove, or full batches")]
    SampledReplaceOne,
    /// More steps than are counted.
    #[error("the releases have too many steps together to be counted")]
    TooManySteps,
    /// A bug of an accountant.
    #[error(
        "the exact accountant lies above the bound of the other: do not release, and report this as a bug"
    )]
    AccountantsDisagree,
}

impl AccountError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MixedRelations => "privacy_mixed_relations",
            Self::MixedUnits => "privacy_mixed_units",
            Self::SampledReplaceOne => "privacy_sampled_replace_one",
            Self::TooManySteps => "privacy_too_many_steps",
            Self::AccountantsDisagree => "privacy_accountants_disagree",
        }
    }
}

/// μ of full-batch releases together: μ² = Σ steps·(sensitivity/σ)².
pub(crate) fn composed_mu(mechanisms: &[Mechanism]) -> f64 {
    let square = |mechanism: &Mechanism| {
        let mu = mechanism.relation.sensitivity() / mechanism.noise_multiplier.value();
        f64::from(mechanism.steps.count()) * mu * mu
    };
    mechanisms.iter().map(square).sum::<f64>().sqrt()
}

/// The same releases with equal ones joined, so that a long ledger costs one curve per kind of release.
fn merged(mechanisms: &[Mechanism]) -> Result<Vec<Mechanism>, AccountError> {
    // Positive floats sort like their bits.
    let kind = |m: &Mechanism| {
        (
            m.noise_multiplier.value().to_bits(),
            m.sampling.value().to_bits(),
        )
    };
    let mut kinds = BTreeMap::<_, Mechanism>::new();
    for mechanism in mechanisms {
        match kinds.entry(kind(mechanism)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(*mechanism);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let steps = entry
                    .get()
                    .steps
                    .count()
                    .checked_add(mechanism.steps.count());
                entry.get_mut().steps = steps
                    .and_then(|steps| Steps::new(steps).ok())
                    .ok_or(AccountError::TooManySteps)?;
            }
        }
    }
    Ok(kinds.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_sampled_release_has_no_exact_epsilon() {
        let spend = spend(&[release(1.0, 0.01, 1000, Relation::AddRemove)], delta()).unwrap();
        assert_eq!((spend.exact(), spend.enforced()), (None, spend.rdp()));
    }

    #[test]
    fn mixed_relations_and_sampled_replace_one_are_refused() {
        let (added, replaced) = (
            release(1.0, 1.0, 1, Relation::AddRemove),
            release(1.0, 1.0, 1, Relation::ReplaceOne),
        );
        assert_eq!(
            spend(&[added, replaced], delta()),
            Err(AccountError::MixedRelations)
        );
        let sampled = release(1.0, 0.5, 1, Relation::ReplaceOne);
        assert_eq!(
            spend(&[sampled], delta()),
            Err(AccountError::SampledReplaceOne)
        );
    }
}
