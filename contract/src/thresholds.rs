//! How many members must stand, may collude and may drop out (design: secure-aggregation, "Threshold").

use consort_aggregation::Canonical;

/// The numbers that P0 announces and nothing recomputes afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    cohort: u32,
    colluders: u32,
    threshold: u32,
    minimum: u32,
}

/// Most members a complete graph carries; above, the sparse graph is needed.
pub const MAX_COHORT: u32 = 256;

/// Why the numbers do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdsError {
    /// Fewer than three members: with two, each would learn the other's update from the sum.
    #[error(
        "a job needs 3 to {MAX_COHORT} members, not {0}; name more members of the roster in the job"
    )]
    Cohort(u32),
    /// c leaves no threshold that both protects and can be reached.
    #[error(
        "c = {colluders} colluders among {cohort} members cannot be tolerated; c must lie in 1..={most}"
    )]
    Colluders {
        /// The c that was asked for.
        colluders: u32,
        /// Members of the job.
        cohort: u32,
        /// The largest c for this cohort.
        most: u32,
    },
    /// n_min outside its bounds.
    #[error(
        "n_min = {minimum} must lie in {least}..={cohort} (at least 3 and at least the threshold t)"
    )]
    Minimum {
        /// The n_min that was asked for.
        minimum: u32,
        /// The smallest n_min for this cohort.
        least: u32,
        /// Members of the job.
        cohort: u32,
    },
}

impl ThresholdsError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cohort(_) => "cohort_size",
            Self::Colluders { .. } => "colluders_range",
            Self::Minimum { .. } => "n_min_range",
        }
    }
}

impl Thresholds {
    /// Derives t and the defaults of c and n_min for a cohort of n members.
    ///
    /// c defaults to max(1, ⌊(n−1)/3⌋), t = ⌊(n+c)/2⌋+1, n_min defaults to max(3, t).
    ///
    /// # Errors
    /// [`ThresholdsError`] names the number that cannot be honoured and its bounds.
    pub fn new(
        cohort: u32,
        colluders: Option<u32>,
        minimum: Option<u32>,
    ) -> Result<Self, ThresholdsError> {
        if !(3..=MAX_COHORT).contains(&cohort) {
            return Err(ThresholdsError::Cohort(cohort));
        }
        // t ≤ n must hold: ⌊(n+c)/2⌋ + 1 ≤ n, so c ≤ n − 2 (n − 1 gives t = n for no n).
        let most = cohort - 2;
        let colluders = colluders.unwrap_or(((cohort - 1) / 3).max(1));
        if !(1..=most).contains(&colluders) {
            return Err(ThresholdsError::Colluders {
                colluders,
                cohort,
                most,
            });
        }
        let threshold = (cohort + colluders) / 2 + 1;
        let least = threshold.max(3);
        let minimum = minimum.unwrap_or(least);
        if !(least..=cohort).contains(&minimum) {
            return Err(ThresholdsError::Minimum {
                minimum,
                least,
                cohort,
            });
        }
        Ok(Self {
            cohort,
            colluders,
            threshold,
            minimum,
        })
    }

    /// n: members the job announces.
    pub fn cohort(&self) -> u32 {
        self.cohort
    }

    /// c: members that may collude with the coordinator.
    pub fn colluders(&self) -> u32 {
        self.colluders
    }

    /// t: shares that open a secret. 2t > n + c, so no coalition gets both secrets of one member.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// n_min: fewest contributors the noise is sized for.
    pub fn minimum(&self) -> u32 {
        self.minimum
    }

    /// Signatures on one survivor set before a member opens anything: ⌊(n+c)/2⌋ + 1.
    pub fn confirmation_quorum(&self) -> u32 {
        (self.cohort + self.colluders) / 2 + 1
    }

    /// Fewest survivors that may be opened: max(t, n_min, c + 2).
    pub fn fewest_survivors(&self) -> u32 {
        self.threshold.max(self.minimum).max(self.colluders + 2)
    }

    /// Adds the four numbers to an encoding, in the order n, c, t, n_min.
    pub fn encode(&self, canonical: Canonical) -> Canonical {
        canonical
            .u64(self.cohort.into())
            .u64(self.colluders.into())
            .u64(self.threshold.into())
            .u64(self.minimum.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_members_tolerate_no_dropout_and_five_tolerate_one() {
        let three = Thresholds::new(3, None, None).unwrap();
        assert_eq!(
            (
                three.colluders(),
                three.threshold(),
                three.fewest_survivors()
            ),
            (1, 3, 3)
        );
        let five = Thresholds::new(5, None, None).unwrap();
        assert_eq!(
            (five.colluders(), five.threshold(), five.fewest_survivors()),
            (1, 4, 4)
        );
    }

    #[test]
    fn no_coalition_reaches_both_secrets_for_any_legal_choice() {
        for n in 3..=MAX_COHORT {
            for c in 1..=n - 2 {
                let terms = Thresholds::new(n, Some(c), None).unwrap();
                assert!(
                    2 * terms.threshold() > n + c && terms.threshold() <= n,
                    "n={n} c={c}"
                );
            }
        }
    }

    #[test]
    fn a_minimum_below_the_threshold_is_refused() {
        let error = Thresholds::new(5, None, Some(3)).unwrap_err();
        assert_eq!(
            error,
            ThresholdsError::Minimum {
                minimum: 3,
                least: 4,
                cohort: 5
            }
        );
        assert!(Thresholds::new(2, None, None).is_err());
        assert!(Thresholds::new(5, Some(4), None).is_err());
    }
}
