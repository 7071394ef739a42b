//! A privacy loss as a record states it.

use serde::{Deserialize, Serialize};

/// A privacy loss: finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Epsilon(f64);

impl Epsilon {
    /// Accepts what is finite and not negative.
    ///
    /// # Errors
    /// [`InvalidEpsilon`] otherwise.
    pub fn new(epsilon: f64) -> Result<Self, InvalidEpsilon> {
        // -0 would be a second spelling of 0.
        if epsilon.is_finite() && epsilon.is_sign_positive() {
            Ok(Self(epsilon))
        } else {
            Err(InvalidEpsilon)
        }
    }

    /// As a number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Epsilon {
    type Error = InvalidEpsilon;

    fn try_from(epsilon: f64) -> Result<Self, InvalidEpsilon> {
        Self::new(epsilon)
    }
}

impl From<Epsilon> for f64 {
    fn from(epsilon: Epsilon) -> Self {
        epsilon.0
    }
}

/// An epsilon that is negative, infinite or no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epsilon is finite and not negative")]
pub struct InvalidEpsilon;

impl InvalidEpsilon {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        "invalid_epsilon"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epsilon_is_finite_and_not_negative() {
        for refused in [-1.0, -0.0, f64::NAN, f64::INFINITY] {
            assert!(Epsilon::new(refused).is_err());
        }
        assert!(Epsilon::new(0.0).is_ok());
    }
}
