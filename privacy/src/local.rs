//! Local DP-SGD: a site's own model, which moves by the site's noised sums and by nothing else.
//!
//! The site sees each noised sum before it takes the next step (Abadi et al. 2016, algorithm 1, with full batches), so the
//! noise of each one is complete at this site: other members' noise comes too late for it. What leaves is the way from the
//! global model to the local one; clipping, rotating and rounding it is post-processing and costs no privacy. So is what draws a step
//! towards the global model: it looks at no record.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entry::DebitKey;
use crate::grid::{Grid, RecordSum};
use crate::ledger::Debit;
use crate::noise::NoiseVector;
use crate::plan::NoisePlan;
use crate::source::NoiseSource;
use crate::update::{ReleaseError, check_parts};

/// How a noised sum moves a local model: public constants of the job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalRule {
    learning_rate: f32,
    divisor: f32,
    proximal: f32,
}

impl LocalRule {
    /// A step by −`learning_rate` · sum / `divisor`. The divisor is a public constant, never the number of records.
    ///
    /// # Errors
    /// [`LocalRuleError`] naming the constant that is out of range.
    pub fn new(learning_rate: f32, divisor: f32) -> Result<Self, LocalRuleError> {
        if !(learning_rate.is_finite() && learning_rate > 0.0) {
            return Err(LocalRuleError::LearningRate);
        }
        if !(divisor.is_finite() && divisor >= 1.0) {
            return Err(LocalRuleError::Divisor);
        }
        Ok(Self {
            learning_rate,
            divisor,
            proximal: 0.0,
        })
    }

    /// The same with the proximal term of FedProx: the gradient of μ/2·‖w − global‖² is added to each step's (Li et al., MLSys
    /// 2020, equation 2).
    ///
    /// # Errors
    /// [`LocalRuleError::Proximal`] if μ is negative or not finite.
    pub fn with_proximal(self, proximal: f32) -> Result<Self, LocalRuleError> {
        if proximal.is_finite() && proximal >= 0.0 {
            Ok(Self { proximal, ..self })
        } else {
            Err(LocalRuleError::Proximal)
        }
    }

    /// The same at this share of its learning rate, as a schedule has it for a round.
    #[must_use]
    pub fn scaled(self, share: f32) -> Self {
        Self {
            learning_rate: self.learning_rate * share,
            ..self
        }
    }

    /// The step size.
    pub fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    /// The parameter after one step; one f32 operation after the other.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a noised sum is rounded to the precision of the model"
    )]
    fn moved(self, parameter: f32, drawn: f32, sum: i64, unit: f32) -> f32 {
        let mean = (sum as f32 * unit) / self.divisor;
        parameter - self.learning_rate * (mean + drawn)
    }
}

/// A constant of local training that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalRuleError {
    /// Not a step size.
    #[error("the local learning rate must be above 0 and finite")]
    LearningRate,
    /// Not a divisor.
    #[error("the local divisor must be at least 1 and finite")]
    Divisor,
    /// Not a proximal term.
    #[error("the proximal term must be at least 0 and finite")]
    Proximal,
}

impl LocalRuleError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::LearningRate => "privacy_local_learning_rate",
            Self::Divisor => "privacy_local_divisor",
            Self::Proximal => "privacy_local_proximal",
        }
    }
}

/// A site's model on its way through the steps of a round. No wire form, no readable Debug, wiped on drop.
///
/// # Security
/// It starts at the public global model and [`Self::step`] is the only way to move it, so whatever it shows is made of noised
/// sums. It is not paid for: nothing of it may leave before [`LocalUpdate::release`].
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LocalModel<'a> {
    #[zeroize(skip)]
    global: &'a [f32],
    #[zeroize(skip)]
    correction: &'a [f32],
    #[zeroize(skip)]
    rule: LocalRule,
    #[zeroize(skip)]
    plan: NoisePlan,
    planned: u32,
    taken: u32,
    values: Vec<f32>,
    loss: f64,
}

impl<'a> LocalModel<'a> {
    /// A local model at the global one, for one round of a plan.
    ///
    /// # Errors
    /// [`ReleaseError::OtherSource`] if the plan counts on the noise of others.
    pub fn at(global: &'a [f32], rule: LocalRule, plan: &NoisePlan) -> Result<Self, ReleaseError> {
        Ok(Self {
            global,
            correction: &[],
            rule,
            plan: *plan,
            planned: steps_of(plan)?,
            taken: 0,
            values: global.to_vec(),
            loss: 0.0,
        })
    }

    /// The same with a correction that is added to each step's mean gradient: what SCAFFOLD makes of earlier rounds.
    ///
    /// # Errors
    /// [`ReleaseError::OtherLength`] if it has another length than the model.
    ///
    /// # Security
    /// It must be made of public values and of noised sums that were paid for: the step is paid for, not the correction.
    pub fn corrected_by(self, correction: &'a [f32]) -> Result<Self, ReleaseError> {
        if correction.len() != self.values.len() {
            return Err(ReleaseError::OtherLength);
        }
        let mut corrected = self;
        corrected.correction = correction;
        Ok(corrected)
    }

    /// The parameters now.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Takes one step by a sum (its last coordinate is the loss query, which moves nothing) and fresh noise.
    ///
    /// # Errors
    /// [`ReleaseError`] if sum or noise do not belong to the plan, or all of its steps were taken; both are dropped and the model
    /// stays.
    pub fn step(&mut self, sum: RecordSum, noise: NoiseVector) -> Result<(), ReleaseError> {
        check_parts(&sum, &noise, &self.plan)?;
        if sum.elements() != self.values.len() + 1 {
            return Err(ReleaseError::OtherLength);
        }
        if self.taken >= self.planned {
            return Err(ReleaseError::OtherSteps {
                taken: self.taken.saturating_add(1),
                planned: self.planned,
            });
        }
        let grid = sum.grid();
        let noised = Zeroizing::new(sum.with_noise(noise.values()));
        drop(noise);
        let (loss, gradient) = noised
            .split_last()
            .expect("a sum has the loss coordinate at least");
        let (rule, unit) = (self.rule, unit_of(grid));
        let way = self.global.iter().zip(gradient);
        for (element, (parameter, (global, sum))) in self.values.iter_mut().zip(way).enumerate() {
            let drawn = rule.proximal * (*parameter - global);
            let corrected = self.correction.get(element).copied().unwrap_or(0.0);
            *parameter = rule.moved(*parameter, drawn + corrected, *sum, unit);
        }
        self.loss = in_clip_norms(*loss, grid);
        self.taken += 1;
        Ok(())
    }

    /// What the steps have moved: the local model less the global one it started at.
    ///
    /// # Errors
    /// [`ReleaseError`] if steps of the plan's round are missing.
    pub fn finish(mut self) -> Result<LocalUpdate, ReleaseError> {
        if self.taken != self.planned {
            return Err(ReleaseError::OtherSteps {
                taken: self.taken,
                planned: self.planned,
            });
        }
        for (value, global) in self.values.iter_mut().zip(self.global) {
            *value -= global;
        }
        Ok(LocalUpdate {
            plan: self.plan,
            values: std::mem::take(&mut self.values),
            loss: self.loss,
        })
    }
}

/// Shows the length only.
impl fmt::Debug for LocalModel<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LocalModel({} parameters)", self.values.len())
    }
}

/// What all local steps of a round have moved: noised, and not paid for. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct LocalUpdate {
    #[zeroize(skip)]
    plan: NoisePlan,
    values: Vec<f32>,
    loss: f64,
}

impl LocalUpdate {
    /// Makes it private against a debit of all its steps, which is taken in any case: what was booked stays spent.
    ///
    /// # Errors
    /// [`ReleaseError`] if the steps were noised under another plan, or the debit is not one of its round.
    pub fn release(
        mut self,
        plan: &NoisePlan,
        debit: Debit,
    ) -> Result<PrivateModelUpdate, ReleaseError> {
        if self.plan != *plan {
            return Err(ReleaseError::OtherPlan);
        }
        if *debit.mechanism() != plan.round_mechanism() {
            return Err(ReleaseError::OtherDebit);
        }
        Ok(PrivateModelUpdate {
            key: debit.key().clone(),
            values: std::mem::take(&mut self.values),
            loss: self.loss,
        })
    }
}

/// Shows the length only.
impl fmt::Debug for LocalUpdate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LocalUpdate({} parameters)", self.values.len())
    }
}

/// A model update that is noised and paid for: what may be encoded and masked. The real-valued sibling of
/// [`crate::PrivateUpdate`].
///
/// # Security
/// Private by itself, and still one member's: nobody but the secure sum should see it. So it has no wire form, no Serialize
/// and no readable Debug, and is wiped on drop:
///
/// ```compile_fail,E0599
/// # fn send(update: consort_privacy::PrivateModelUpdate) {
/// let bytes = update.to_bytes();
/// # }
/// ```
/// ```
/// # fn mask(update: consort_privacy::PrivateModelUpdate) {
/// let (values, loss) = update.into_values();
/// # }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateModelUpdate {
    #[zeroize(skip)]
    key: DebitKey,
    values: Vec<f32>,
    loss: f64,
}

impl PrivateModelUpdate {
    /// The attempt that was paid for; the update belongs to no other.
    pub fn key(&self) -> &DebitKey {
        &self.key
    }

    /// The update in the order of the parameters, and the last step's noised loss query in clip norms, for the encoder whose
    /// result is masked.
    pub fn into_values(mut self) -> (Zeroizing<Vec<f32>>, f64) {
        (Zeroizing::new(std::mem::take(&mut self.values)), self.loss)
    }
}

/// Shows what it is for and its length.
impl fmt::Debug for PrivateModelUpdate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "PrivateModelUpdate({}, {} parameters)",
            self.key,
            self.values.len()
        )
    }
}

/// The local steps of a round of the plan.
fn steps_of(plan: &NoisePlan) -> Result<u32, ReleaseError> {
    match plan.target().source {
        NoiseSource::Site { steps } => Ok(steps.count()),
        NoiseSource::Cohort => Err(ReleaseError::OtherSource),
    }
}

/// C / 2^g in f32: a division by a power of two, exact.
fn unit_of(grid: Grid) -> f32 {
    grid.clip().value() / 2_f32.powi(grid.bits().bits().into())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a noised loss has few meaningful digits"
)]
fn in_clip_norms(sum: i64, grid: Grid) -> f64 {
    sum as f64 / grid.bits().units() as f64
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
