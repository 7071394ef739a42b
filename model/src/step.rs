//! The server's step by the aggregated gradient, bit for bit the same at every site.
//!
//! The step is post-processing of the noised sum, so it costs no privacy. Every operation is one IEEE 754 f32
//! operation per element in a fixed order: no fused multiply-add, no reduction across elements, no transcendental.

use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroUsize;

use crate::encoding::{ModelHash, hash_encoding, put_labelled_floats, split_part};
use crate::optimizer::{Direction, ServerOptimizer};
use crate::parameters::{Parameters, ParametersError};
use crate::spec::ModelSpec;

/// A state of two parts: parameters and velocity.
const STATE_LABEL: &str = "consort/model/state/v1";

/// A state of three parts: parameters, first moment, second moment.
const ADAPTIVE_STATE_LABEL: &str = "consort/model/state/v2";

/// Finest grid the step accepts: 2^-62 and any clip norm in range stay normal f32 numbers.
const MAX_GRID_BITS: u8 = 62;

/// The public constants of a job's step: learning rate, optimizer, and how a grid sum becomes a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRule {
    learning_rate: f32,
    optimizer: ServerOptimizer,
    unit: f32,
    divisor: f32,
}

impl StepRule {
    /// A step with gradient = sum · (`clip_norm` / 2^`grid_bits`) / `divisor`.
    ///
    /// The divisor is a public constant of the job (the expected number of records, say), never the size of a batch
    /// or of a data set: that size would leave the site without noise.
    ///
    /// # Errors
    /// [`StepError::RuleOutOfRange`] naming the constant that is out of range.
    pub fn new(
        learning_rate: f32,
        optimizer: ServerOptimizer,
        clip_norm: f32,
        grid_bits: u8,
        divisor: f32,
    ) -> Result<Self, StepError> {
        let learning_rate = rate(learning_rate)?;
        if !(1e-9..=1e9).contains(&clip_norm) {
            return Err(out_of_range("clip_norm", "1e-9 to 1e9"));
        }
        if !(1..=MAX_GRID_BITS).contains(&grid_bits) {
            return Err(out_of_range("grid_bits", "1 to 62"));
        }
        if !(divisor.is_finite() && divisor >= 1.0) {
            return Err(out_of_range("divisor", "at least 1 and finite"));
        }
        // A division by a power of two is exact.
        let unit = clip_norm / 2.0_f32.powi(grid_bits.into());
        Ok(Self {
            learning_rate,
            optimizer,
            unit,
            divisor,
        })
    }

    /// The same step at this share of its learning rate, as a schedule has it for a round.
    #[must_use]
    pub fn scaled(self, share: f32) -> Self {
        Self {
            learning_rate: self.learning_rate * share,
            ..self
        }
    }

    /// One coordinate of the aggregate in the units of the gradient (or of the loss query), divided by the divisor.
    #[expect(
        clippy::cast_precision_loss,
        reason = "i64 to f32 rounds to nearest even, the same on every machine"
    )]
    pub fn mean(&self, sum: i64) -> f32 {
        (sum as f32 * self.unit) / self.divisor
    }
}

/// A learning rate, if it is one.
pub(crate) fn rate(learning_rate: f32) -> Result<f32, StepError> {
    if learning_rate.is_finite() && learning_rate > 0.0 {
        Ok(learning_rate)
    } else {
        Err(out_of_range("learning_rate", "above 0 and finite"))
    }
}

pub(crate) fn out_of_range(constant: &'static str, range: &'static str) -> StepError {
    StepError::RuleOutOfRange { constant, range }
}

/// What a job carries from round to round, each in the model's layout: parameters, velocity (the first moment of an adaptive
/// optimizer), and, once an adaptive one has stepped, the second moment, or SCAFFOLD's control.
#[derive(Clone, PartialEq)]
pub struct OptimizerState {
    parameters: Parameters,
    velocity: Parameters,
    second: Option<Parameters>,
}

impl OptimizerState {
    /// The state before the first round: the given parameters, at rest.
    pub fn initial(parameters: Parameters) -> Self {
        let rest = vec![0.0; parameters.as_slice().len()];
        let velocity = Parameters::finite(rest).expect("zeros are finite");
        Self {
            parameters,
            velocity,
            second: None,
        }
    }

    /// The state after one aggregate: the optimizer's step against the mean gradient. With momentum `velocity =
    /// momentum·velocity + gradient`, `parameters −= learning_rate·velocity` (Sutskever et al. 2013, section 2, with the learning
    /// rate outside the velocity).
    ///
    /// # Errors
    /// [`StepError::WrongLength`] if the sum has another length than the model (a loss coordinate is not part of it);
    /// [`StepError::Diverged`] if an element leaves the finite numbers. The old state stays valid.
    pub fn step(&self, rule: &StepRule, gradient_sum: &[i64]) -> Result<Self, StepError> {
        self.check_length(gradient_sum.len())?;
        let mean = gradient_sum.iter().map(|sum| rule.mean(*sum)).collect();
        let direction = Direction::Against;
        self.moved(
            &rule.optimizer,
            direction.of(rule.learning_rate),
            mean,
            NonZeroUsize::MIN,
        )
    }

    /// The state of these values, of which the caller has seen that they are finite or not, and as many as the model has.
    pub(crate) fn of(
        parameters: Vec<f32>,
        velocity: Vec<f32>,
        second: Option<Vec<f32>>,
        finite: bool,
    ) -> Result<Self, StepError> {
        let read = |values| {
            if finite {
                Ok(Parameters::seen_finite(values))
            } else {
                Parameters::finite(values).map_err(StepError::Diverged)
            }
        };
        Ok(Self {
            velocity: read(velocity)?,
            parameters: read(parameters)?,
            second: second.map(read).transpose()?,
        })
    }

    pub(crate) fn check_length(&self, found: usize) -> Result<(), StepError> {
        let expected = self.parameters.as_slice().len();
        if found == expected {
            Ok(())
        } else {
            Err(StepError::WrongLength { expected, found })
        }
    }

    pub(crate) fn velocity(&self) -> &[f32] {
        self.velocity.as_slice()
    }

    pub(crate) fn second(&self) -> Option<&[f32]> {
        self.second.as_ref().map(Parameters::as_slice)
    }

    /// The model's parameters and behind them SCAFFOLD's control, zeros before its first step: what members begin a round with.
    pub fn with_control(&self) -> Parameters {
        let parameters = self.parameters.as_slice();
        let mut both = Vec::with_capacity(2 * parameters.len());
        both.extend_from_slice(parameters);
        both.extend_from_slice(self.second().unwrap_or_default());
        both.resize(2 * parameters.len(), 0.0);
        Parameters::seen_finite(both)
    }

    /// The model's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Puts the state in the canonical encoding piece by piece: label, parameters, velocity, and the second moment if there is one,
    /// under a label that says so.
    ///
    /// # Errors
    /// The first that `put` returns.
    pub fn encode<E>(&self, put: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (parameters, velocity) = (self.parameters.as_slice(), self.velocity.as_slice());
        match self.second() {
            None => put_labelled_floats(STATE_LABEL, &[parameters, velocity], put),
            Some(second) => {
                put_labelled_floats(ADAPTIVE_STATE_LABEL, &[parameters, velocity, second], put)
            }
        }
    }

    /// The state in the canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(()) = self.encode::<Infallible>(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote, for this model, and nothing else.
    ///
    /// # Errors
    /// [`StepError::NotAState`] if the bytes are no state; [`StepError::Parameters`] if they are one of another model.
    pub fn from_bytes(spec: &ModelSpec, bytes: &[u8]) -> Result<Self, StepError> {
        let mut rest = bytes;
        let mut part = || {
            let (part, more) = split_part(rest).ok_or(StepError::NotAState)?;
            rest = more;
            Ok(part)
        };
        let label = part()?;
        let adaptive = label == ADAPTIVE_STATE_LABEL.as_bytes();
        if !adaptive && label != STATE_LABEL.as_bytes() {
            return Err(StepError::NotAState);
        }
        let (parameters, velocity) = (part()?, part()?);
        let second = adaptive.then(part).transpose()?;
        if !rest.is_empty() {
            return Err(StepError::NotAState);
        }
        let read = |bytes| Parameters::from_le_bytes(spec, bytes).map_err(StepError::Parameters);
        Ok(Self {
            parameters: read(parameters)?,
            velocity: read(velocity)?,
            second: second.map(read).transpose()?,
        })
    }

    /// SHA-256 over [`Self::to_bytes`].
    pub fn hash(&self) -> ModelHash {
        hash_encoding(|put| self.encode(put))
    }
}

/// Shows the length only.
impl fmt::Debug for OptimizerState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "OptimizerState({} elements)",
            self.parameters.as_slice().len()
        )
    }
}

/// A step or a stored state was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A constant of the job is out of range.
    #[error("{constant} of the job is out of range: it must be {range}")]
    RuleOutOfRange {
        /// Name of the constant.
        constant: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// The aggregate has another length than the model.
    #[error("the aggregate has {found} gradient coordinates and the model {expected} parameters")]
    WrongLength {
        /// Elements of the model.
        expected: usize,
        /// Elements of the aggregate.
        found: usize,
    },
    /// A parameter or a moment is no longer finite.
    #[error("the step diverged: lower the learning rate of the job")]
    Diverged(#[source] ParametersError),
    /// Bytes that are no optimizer state.
    #[error("the bytes are no optimizer state: the file is damaged or of another kind")]
    NotAState,
    /// A state of another model.
    #[error("the stored state does not fit the model")]
    Parameters(#[source] ParametersError),
}

impl StepError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RuleOutOfRange { .. } => "model_step_rule_out_of_range",
            Self::WrongLength { .. } => "model_step_wrong_length",
            Self::Diverged(_) => "model_step_diverged",
            Self::NotAState => "model_state_malformed",
            Self::Parameters(_) => "model_state_of_another_model",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Adaptive, Momentum};
    use crate::spec::{Layer, Loss};
    use proptest::prelude::*;

    fn pair() -> ModelSpec {
        ModelSpec::new(
            1,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap()
    }

    fn start() -> OptimizerState {
        OptimizerState::initial(Parameters::new(&pair(), vec![1.0, -2.0]).unwrap())
    }

    fn momentum(share: f32) -> ServerOptimizer {
        ServerOptimizer::Momentum(Momentum::new(share).unwrap())
    }

    #[test]
    fn two_steps_follow_the_rule_by_hand() {
        // clip 2, grid 2^3, divisor 4: one unit is 2/8/4 = 1/16.
        let rule = StepRule::new(0.5, momentum(0.5), 2.0, 3, 4.0).unwrap();
        let first = start().step(&rule, &[16, -32]).unwrap();
        assert_eq!(first.velocity.as_slice(), [1.0, -2.0]);
        assert_eq!(first.parameters().as_slice(), [0.5, -1.0]);
        let second = first.step(&rule, &[0, 16]).unwrap();
        assert_eq!(second.velocity.as_slice(), [0.5, 0.0]);
        assert_eq!(second.parameters().as_slice(), [0.25, -1.0]);
    }

    #[test]
    fn a_sum_of_another_length_is_refused() {
        let rule = StepRule::new(0.5, momentum(0.0), 1.0, 20, 4.0).unwrap();
        assert_eq!(
            start().step(&rule, &[1, 2, 3]),
            Err(StepError::WrongLength {
                expected: 2,
                found: 3
            })
        );
    }

    #[test]
    fn a_step_that_leaves_the_finite_numbers_is_refused() {
        let rule = StepRule::new(f32::MAX, momentum(0.0), 1e9, 1, 1.0).unwrap();
        assert_eq!(
            start().step(&rule, &[i64::MAX, 0]).unwrap_err().code(),
            "model_step_diverged"
        );
    }

    #[test]
    fn constants_out_of_range_are_refused_by_name() {
        let constant = |rule: Result<StepRule, StepError>| {
            let Err(StepError::RuleOutOfRange { constant, .. }) = rule else {
                panic!("{rule:?} is no refusal of a constant")
            };
            constant
        };
        assert_eq!(
            constant(StepRule::new(f32::NAN, momentum(0.0), 1.0, 20, 1.0)),
            "learning_rate"
        );
        let refused = Momentum::new(1.0).unwrap_err();
        assert!(refused.to_string().starts_with("momentum"), "{refused}");
        assert_eq!(
            constant(StepRule::new(0.1, momentum(0.9), 0.0, 20, 1.0)),
            "clip_norm"
        );
        assert_eq!(
            constant(StepRule::new(0.1, momentum(0.9), 1.0, 63, 1.0)),
            "grid_bits"
        );
        assert_eq!(
            constant(StepRule::new(0.1, momentum(0.9), 1.0, 20, 0.0)),
            "divisor"
        );
    }

    #[test]
    fn five_steps_give_the_bytes_of_the_independent_reference() {
        // vectors/known_answers.py
        let rule = StepRule::new(0.1, momentum(0.9), 1.3, 22, 569.0).unwrap();
        let state = (0..5).fold(start(), |state, round| {
            state.step(&rule, &[1_234_567 * round, -7_654_321]).unwrap()
        });
        assert_eq!(
            state.hash().to_string(),
            "33fc67e72da3a4c9df88b99a5b19e88caecaf41924e95c436665483f781c49b4"
        );
    }

    proptest! {
        #[test]
        fn a_state_survives_its_bytes(first in -1e6_f32..1e6, second in -1e6_f32..1e6, sum in any::<i32>()) {
            let rule = StepRule::new(0.25, momentum(0.9), 1.0, 20, 100.0).unwrap();
            let begin = OptimizerState::initial(Parameters::new(&pair(), vec![first, second]).unwrap());
            let state = begin.step(&rule, &[sum.into(), 1]).unwrap();
            prop_assert_eq!(&OptimizerState::from_bytes(&pair(), &state.to_bytes()).unwrap(), &state);
            let adaptive = ServerOptimizer::FedYogi(Adaptive::new(0.9, 0.99, 1e-3).unwrap());
            let rule = StepRule::new(0.25, adaptive, 1.0, 20, 100.0).unwrap();
            let state = begin.step(&rule, &[sum.into(), 1]).unwrap();
            prop_assert!(state.second().is_some());
            prop_assert_eq!(OptimizerState::from_bytes(&pair(), &state.to_bytes()).unwrap(), state);
        }

        #[test]
        fn damaged_bytes_are_refused_and_never_panic(cut in 0..46_usize, flip in 0..30_usize) {
            let bytes = start().to_bytes();
            prop_assert!(OptimizerState::from_bytes(&pair(), &bytes[..cut.min(bytes.len() - 1)]).is_err());
            let mut changed = bytes;
            changed[flip] ^= 0x40;
            prop_assert!(OptimizerState::from_bytes(&pair(), &changed).is_err());
        }
    }
}
