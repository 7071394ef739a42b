//! Planning the noise of a job: from a target and a grid to the one integer variance that each member draws.
//!
//! # What is promised to whom
//! Each of at least `n_min` members adds noise of variance σ_i² = ⌈σ²·2^(2g)/(n_min − c_noise)⌉ in squared grid units.
//! An outsider sees at least σ² of it; so does a coalition of up to `c_noise` members, who can subtract their own. A
//! larger coalition sees less noise: [`NoisePlan::epsilon_against`] says what then holds. The noise that is accounted is
//! always that of n_min − c_noise members, never that of the actual survivors.
//!
//! Where each site noises its own local steps ([`NoiseSource::Site`]), σ_i² = ⌈σ²·2^(2g)⌉ and neither other members' noise nor
//! c_noise counts.

use crate::accountant::gaussian;
use crate::calibrate::{
    Accountant, CalibrationError, SampledTarget, least_noise_multiplier,
    least_sampled_noise_multiplier,
};
use crate::grid::{ClipNorm, Grid, GridBits, RecordCap};
use crate::mechanism::{Mechanism, Relation, Unit};
use crate::noise::{MAX_VARIANCE, NoiseVariance};
use crate::poisson::PoissonBatches;
use crate::quantity::{Delta, Epsilon, NoiseMultiplier, SamplingRate, Steps};
use crate::source::NoiseSource;
use crate::spend::{AccountError, Spend, rdp, spend};

/// Least σ_i², (2^20)²: from here on sums of discrete Gaussians are Gaussian up to 1e-38, and the accountant of the
/// continuous mechanism applies.
const MIN_VARIANCE: u64 = 1 << 40;

/// Most members of a job; ten times the largest cohort the protocol is meant for, so that products stay small.
const MAX_MEMBERS: u32 = 1 << 20;

/// Most coordinates of an update: a thousand times the largest declared model.
const MAX_ELEMENTS: u64 = 1 << 34;

/// By how much less than its epsilon a job of sampled batches is planned to cost, relative: members compute the figure again, and the
/// last digits of a Fourier transform are not the same on every machine.
const SAMPLED_MARGIN: f64 = 1e-6;

/// How often the noise of sampled batches is raised by a ten-thousandth, when the figure on another grid asks for it.
const LIFTS: u64 = 20;

/// ln 2^40: noise leaves its bound anywhere in a job with probability at most 2^-40.
const LN_WRAP: f64 = 40.0 * std::f64::consts::LN_2;

/// What a job asks for, as its contract states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrivacyTarget {
    /// Epsilon of the whole job.
    pub epsilon: Epsilon,
    /// Delta of the whole job.
    pub delta: Delta,
    /// Submissions of the job; a submitted round counts whether or not it opens.
    pub rounds: Steps,
    /// Which data sets count as neighbours.
    pub relation: Relation,
    /// Members of the job.
    pub members: u32,
    /// Fewest contributors of a round that is opened.
    pub n_min: u32,
    /// Members whose noise is not counted on, at least 1: each member knows its own.
    pub c_noise: u32,
    /// What a round releases, and whose noise covers it.
    pub source: NoiseSource,
    /// How each release takes its batch; all records of every member if none.
    pub batches: Option<PoissonBatches>,
}

impl PrivacyTarget {
    /// Releases of this many rounds.
    ///
    /// # Errors
    /// [`AccountError::TooManySteps`] if they are more than are counted.
    fn steps_of(&self, rounds: Steps) -> Result<Steps, AccountError> {
        let each = self.source.steps_per_round().count();
        let all = rounds.count().checked_mul(each);
        all.and_then(|count| Steps::new(count).ok())
            .ok_or(AccountError::TooManySteps)
    }

    /// So many releases with this noise, as accountants read them.
    fn mechanism(&self, noise: NoiseMultiplier, steps: Steps) -> Mechanism {
        let of = |rate| Mechanism::new(noise, rate, steps, self.relation, Unit::Record);
        match self.batches {
            None => of(SamplingRate::FULL_BATCH),
            Some(batches) => of(batches.rate()).truncated(batches.truncation()),
        }
    }
}

/// What an update looks like, as the contract states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateShape {
    /// Coordinates of the update: the gradient and the loss query.
    pub elements: u64,
    /// Most records of one member.
    pub record_cap: RecordCap,
    /// L2 norm to which each record's vector is clipped.
    pub clip: ClipNorm,
    /// The integer grid.
    pub grid: GridChoice,
}

/// Which integer grid a plan uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridChoice {
    /// The coarsest grid on which the noise is large enough: fewest bytes on the wire.
    Coarsest,
    /// This one; refused if the noise on it is out of the sampler's range.
    Bits(GridBits),
}

/// The noise of a job. Equal targets and shapes give equal plans, so that each member checks what it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisePlan {
    target: PrivacyTarget,
    elements: u64,
    record_cap: RecordCap,
    noise_multiplier: NoiseMultiplier,
    grid: Grid,
    variance: NoiseVariance,
    noise_bound: u64,
    spend: Spend,
}

impl NoisePlan {
    /// Plans with the least noise that meets the target.
    ///
    /// # Errors
    /// [`PlanError`] naming what in the target or shape cannot be met.
    pub fn new(target: PrivacyTarget, shape: UpdateShape) -> Result<Self, PlanError> {
        let steps = target.steps_of(target.rounds)?;
        match target.batches {
            None => {
                let (epsilon, delta) = (target.epsilon, target.delta);
                let noise = least_noise_multiplier(epsilon, delta, steps, target.relation)?;
                Self::with_noise_multiplier(target, shape, noise)
            }
            Some(batches) => Self::sampled(target, shape, batches, steps),
        }
    }

    /// The least noise by privacy loss distributions; by Rényi divergences where those are not computed.
    fn sampled(
        target: PrivacyTarget,
        shape: UpdateShape,
        batches: PoissonBatches,
        steps: Steps,
    ) -> Result<Self, PlanError> {
        let aim = Epsilon::new(target.epsilon.value() * (1.0 - SAMPLED_MARGIN))
            .map_err(|_| CalibrationError::OutOfReach)?;
        let sampled = SampledTarget {
            epsilon: aim,
            delta: target.delta,
            sampling: batches.rate(),
            steps,
            relation: target.relation,
            truncation: Some(batches.truncation()),
        };
        let by = |accountant| least_sampled_noise_multiplier(&sampled, accountant);
        let least = match by(Accountant::Pld) {
            Err(CalibrationError::Pld(_)) => by(Accountant::Rdp)?,
            found => found?,
        };
        let least = least.ten_thousandths_up();
        for lift in 0..LIFTS {
            let count = least + (least / 10_000 + 1) * lift;
            let noise = NoiseMultiplier::from_ten_thousandths(count)
                .map_err(|_| CalibrationError::OutOfReach)?;
            match Self::with_noise_multiplier(target, shape, noise) {
                Ok(plan) if plan.spend.enforced() <= aim => return Ok(plan),
                Ok(_) | Err(PlanError::TooLittleNoise { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Err(CalibrationError::OutOfReach.into())
    }

    /// Plans with a stated noise multiplier, rounded up to 1/10 000; what a member does with a contract.
    ///
    /// # Errors
    /// [`PlanError`] if it does not meet the target, or naming what else cannot be met.
    pub fn with_noise_multiplier(
        target: PrivacyTarget,
        shape: UpdateShape,
        noise: NoiseMultiplier,
    ) -> Result<Self, PlanError> {
        check_members(&target)?;
        if !(1..=MAX_ELEMENTS).contains(&shape.elements) {
            return Err(PlanError::Elements);
        }
        let count = noise.ten_thousandths_up();
        let noise_multiplier =
            NoiseMultiplier::from_ten_thousandths(count).map_err(|_| PlanError::NoGrid)?;
        let job = target.mechanism(noise_multiplier, target.steps_of(target.rounds)?);
        let spend = spend(&[job], target.delta)?;
        if spend.enforced() > target.epsilon {
            return Err(PlanError::TooLittleNoise {
                planned: spend.enforced(),
                target: target.epsilon,
            });
        }
        let contributors = target.source.contributors(target.n_min, target.c_noise);
        let (bits, variance) = choose_grid(count, contributors, shape.grid)?;
        Ok(Self {
            target,
            elements: shape.elements,
            record_cap: shape.record_cap,
            noise_multiplier,
            grid: Grid::new(shape.clip, bits),
            variance,
            noise_bound: noise_bound(variance, &target, shape.elements),
            spend,
        })
    }

    /// What the job asks for.
    pub fn target(&self) -> &PrivacyTarget {
        &self.target
    }

    /// Coordinates of an update.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Most records of one member.
    pub fn record_cap(&self) -> RecordCap {
        self.record_cap
    }

    /// Standard deviation of the accounted noise on the sum, in clip norms.
    pub fn noise_multiplier(&self) -> NoiseMultiplier {
        self.noise_multiplier
    }

    /// The grid of the records.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The variance σ_i² that each member draws per coordinate, in squared grid units.
    pub fn member_variance(&self) -> NoiseVariance {
        self.variance
    }

    /// Q: bound on one coordinate of a member's sum before noise, in grid units.
    pub fn value_bound(&self) -> u64 {
        u64::from(self.record_cap.records()) * self.grid.bits().units()
    }

    /// ν: one member's noise stays within ±ν in each coordinate of each round of the job, for all members together,
    /// except with probability 2^-40. Past it a sum may wrap; privacy does not depend on it. 0 where each site noises its own
    /// steps: what it sends is limited afterwards.
    pub fn noise_bound(&self) -> u64 {
        self.noise_bound
    }

    /// One round of the job, as a ledger debits it.
    pub fn round_mechanism(&self) -> Mechanism {
        self.mechanism(self.target.source.steps_per_round())
    }

    /// This many rounds of the job as one release.
    ///
    /// # Errors
    /// [`AccountError::TooManySteps`] if they are more than are counted.
    pub fn mechanism_of(&self, rounds: Steps) -> Result<Mechanism, AccountError> {
        Ok(self.mechanism(self.target.steps_of(rounds)?))
    }

    fn mechanism(&self, steps: Steps) -> Mechanism {
        self.target.mechanism(self.noise_multiplier, steps)
    }

    /// What the whole job costs, by both accountants.
    pub fn spend(&self) -> Spend {
        self.spend
    }

    /// Epsilon of the whole job at its delta, against a coalition of this many members who pool what they know.
    /// Nothing from n_min on: then no member outside the coalition need be left. For sampled batches it is the Rényi figure, or, where
    /// it is smaller and holds, that of [`Self::spend`].
    pub fn epsilon_against(&self, colluding: u32) -> Option<Epsilon> {
        let honest = self
            .target
            .n_min
            .checked_sub(colluding)
            .filter(|honest| *honest > 0)?;
        let counted = self.target.source.contributors(honest, 0);
        let deviation = (f64::from(counted) * self.variance.sigma_squared() as f64).sqrt();
        let sensitivity = self.target.relation.sensitivity() * self.grid.bits().units() as f64;
        let steps = self.target.steps_of(self.target.rounds).ok()?;
        if self.target.batches.is_some() {
            let noise = NoiseMultiplier::new(deviation / self.grid.bits().units() as f64).ok()?;
            let loose = rdp(&[self.target.mechanism(noise, steps)], self.target.delta);
            let planned = (self.target.source).contributors(self.target.n_min, self.target.c_noise);
            let tight = (counted >= planned).then(|| self.spend.enforced());
            return Some(tight.filter(|tight| *tight < loose).unwrap_or(loose));
        }
        let mu = f64::from(steps.count()).sqrt() * sensitivity / deviation;
        Some(gaussian::epsilon(mu, self.target.delta))
    }

    /// [`Self::epsilon_against`] for 0, 1, … n_min − 1 colluding members, in this order.
    pub fn epsilon_table(&self) -> Vec<Epsilon> {
        (0..self.target.n_min)
            .filter_map(|colluding| self.epsilon_against(colluding))
            .collect()
    }
}

/// A target or shape that cannot be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No noise in range meets the target.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The accountants refused.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No member's noise is left out of account.
    #[error("c_noise is 0: set it to at least 1, because each member can subtract its own noise")]
    NoColluder,
    /// Too few contributors.
    #[error(
        "n_min is {n_min} and c_noise {c_noise}: n_min must be larger, so that somebody's noise is counted on"
    )]
    TooFewContributors {
        /// Fewest contributors of a round.
        n_min: u32,
        /// Members whose noise is not counted on.
        c_noise: u32,
    },
    /// Fewer members than contributors, or too many.
    #[error(
        "the job has {members} members: it needs at least n_min ({n_min}) and at most {MAX_MEMBERS}"
    )]
    Members {
        /// Members of the job.
        members: u32,
        /// Fewest contributors of a round.
        n_min: u32,
    },
    /// An update of no or too many coordinates.
    #[error("an update must have 1 to {MAX_ELEMENTS} coordinates")]
    Elements,
    /// A stated multiplier that misses the target.
    #[error(
        "the stated noise gives epsilon {planned} and the job's target is {target}: raise the noise multiplier"
    )]
    TooLittleNoise {
        /// Epsilon of the stated noise.
        planned: Epsilon,
        /// Epsilon of the contract.
        target: Epsilon,
    },
    /// The noise does not fit the chosen grid.
    #[error(
        "on a grid of {bits} bits a member's noise is outside the sampler's range of 2^20 to 2^27 units: choose another grid"
    )]
    GridOutOfRange {
        /// The chosen grid.
        bits: u8,
    },
    /// The noise fits no grid.
    #[error(
        "no grid brings a member's noise into the sampler's range of 2^20 to 2^27 units: change epsilon or n_min"
    )]
    NoGrid,
}

impl PlanError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Calibration(error) => error.code(),
            Self::Account(error) => error.code(),
            Self::NoColluder => "privacy_plan_no_colluder",
            Self::TooFewContributors { .. } => "privacy_plan_too_few_contributors",
            Self::Members { .. } => "privacy_plan_members_out_of_range",
            Self::Elements => "privacy_plan_elements_out_of_range",
            Self::TooLittleNoise { .. } => "privacy_plan_too_little_noise",
            Self::GridOutOfRange { .. } | Self::NoGrid => "privacy_plan_grid_out_of_range",
        }
    }
}

fn check_members(target: &PrivacyTarget) -> Result<(), PlanError> {
    let PrivacyTarget {
        members,
        n_min,
        c_noise,
        ..
    } = *target;
    if c_noise == 0 {
        return Err(PlanError::NoColluder);
    }
    if n_min <= c_noise {
        return Err(PlanError::TooFewContributors { n_min, c_noise });
    }
    if !(n_min..=MAX_MEMBERS).contains(&members) {
        return Err(PlanError::Members { members, n_min });
    }
    Ok(())
}

fn choose_grid(
    noise: u64,
    contributors: u32,
    choice: GridChoice,
) -> Result<(GridBits, NoiseVariance), PlanError> {
    match choice {
        GridChoice::Bits(bits) => member_variance(noise, contributors, bits)
            .map(|variance| (bits, variance))
            .ok_or(PlanError::GridOutOfRange { bits: bits.bits() }),
        GridChoice::Coarsest => GridBits::all()
            .find_map(|bits| {
                member_variance(noise, contributors, bits).map(|variance| (bits, variance))
            })
            .ok_or(PlanError::NoGrid),
    }
}

/// ⌈σ²·2^(2g)/contributors⌉ for σ = noise/10 000, exactly; nothing outside the sampler's range.
fn member_variance(noise: u64, contributors: u32, bits: GridBits) -> Option<NoiseVariance> {
    let numerator = u128::from(noise)
        .pow(2)
        .checked_mul(u128::from(bits.units()).pow(2))?;
    let variance = numerator.div_ceil(100_000_000 * u128::from(contributors));
    let variance = u64::try_from(variance)
        .ok()
        .filter(|variance| (MIN_VARIANCE..=MAX_VARIANCE).contains(variance))?;
    NoiseVariance::new(variance).ok()
}

/// ν = k·σ_i with 2·e^(−k²/2)·N ≤ 2^-40 over the N = members·elements·rounds draws of the job.
///
/// The discrete Gaussian is sub-Gaussian with parameter σ_i, so P(|X| ≥ kσ_i) ≤ 2·e^(−k²/2) (Canonne, Kamath and Steinke
/// 2020, corollary 17), and the union bound over N draws gives k = √(2·ln(2N·2^40)).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "k is below 15 and σ_i at most 2^27, so the bound lies below 2^31"
)]
fn noise_bound(variance: NoiseVariance, target: &PrivacyTarget, elements: u64) -> u64 {
    match target.source {
        NoiseSource::Cohort => {}
        NoiseSource::Site { .. } => return 0,
    }
    let draws = f64::from(target.members) * elements as f64 * f64::from(target.rounds.count());
    let k = (2.0 * ((2.0 * draws).ln() + LN_WRAP)).sqrt();
    // One unit more than the ceiling absorbs the rounding of the product.
    (k * (variance.sigma_squared() as f64).sqrt()).ceil() as u64 + 1
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
