//! Named crash points: a daemon kills itself where a test or the demo wants it dead, since a kill from outside would miss
//! windows of milliseconds.

use std::str::FromStr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `POINT@ROUND`: where to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashAt {
    point: String,
    round: u32,
}

/// Why a text names no crash point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrashError {
    /// Not of the form.
    #[error("{0:?} is no crash point; write POINT@ROUND, for instance after-shares@4")]
    Form(String),
    /// This daemon has no such point.
    #[error("there is no crash point {point:?}; this daemon has {known}")]
    Unknown {
        /// What was asked for.
        point: String,
        /// What there is.
        known: String,
    },
}

impl FromStr for CrashAt {
    type Err = CrashError;

    fn from_str(text: &str) -> Result<Self, CrashError> {
        let form = || CrashError::Form(text.to_owned());
        let (point, round) = text.split_once('@').ok_or_else(form)?;
        let round = round
            .parse()
            .ok()
            .filter(|round| *round >= 1)
            .ok_or_else(form)?;
        if point.is_empty() {
            return Err(form());
        }
        Ok(Self {
            point: point.to_owned(),
            round,
        })
    }
}

impl std::fmt::Display for CrashAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.point, self.round)
    }
}

/// The crash points that are armed in this process; usually none.
#[derive(Debug, Clone, Default)]
pub struct CrashPoints(Vec<CrashAt>);

impl CrashPoints {
    /// Arms crash points, of those a daemon has.
    ///
    /// # Errors
    /// [`CrashError::Unknown`] lists the points there are.
    pub fn new(armed: Vec<CrashAt>, known: &[&str]) -> Result<Self, CrashError> {
        match armed.iter().find(|at| !known.contains(&at.point.as_str())) {
            Some(at) => Err(CrashError::Unknown {
                point: at.point.clone(),
                known: known.join(", "),
            }),
            None => Ok(Self(armed)),
        }
    }

    /// What is armed, for the log and the audit trail.
    pub fn armed(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|at| format!("dangerous_crash_at {at}"))
    }

    /// Dies by SIGKILL if this point is armed for this round: nothing is flushed, no destructor runs.
    pub fn reached(&self, point: &str, round: u32) {
        if self
            .0
            .iter()
            .any(|at| at.point == point && at.round == round)
        {
            tracing::error!(
                point,
                round,
                "dangerous crash point reached, this process kills itself"
            );
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_and_a_round_are_read_and_anything_else_is_refused() {
        let at: CrashAt = "after-shares@4".parse().unwrap();
        assert_eq!(at.to_string(), "after-shares@4");
        for bad in ["after-shares", "@4", "x@0", "x@-1", "x@y", ""] {
            assert!(bad.parse::<CrashAt>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_point_is_refused_with_the_known_ones() {
        let error = CrashPoints::new(vec!["nowhere@1".parse().unwrap()], &["here"]).unwrap_err();
        assert!(error.to_string().contains("here"));
    }
}
