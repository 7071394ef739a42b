//! Whose noise keeps the promise of a job: that of the members together, or that of each site alone.

use crate::quantity::Steps;

/// What a round releases, and whose noise is counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseSource {
    /// One release a round, of the sum over the members: their noise adds up, and that of n_min − c_noise of them is counted.
    Cohort,
    /// So many releases a round within each site, before anything leaves it. A record of the site passes through the site's own
    /// trajectory, so that nobody else's noise covers it: each release has all of its noise from the site alone, and the promise
    /// is the same against every coalition.
    Site {
        /// Noised local steps of one round.
        steps: Steps,
    },
}

impl NoiseSource {
    /// Releases of one round.
    pub fn steps_per_round(self) -> Steps {
        match self {
            Self::Cohort => Steps::ONE,
            Self::Site { steps } => steps,
        }
    }

    /// Members whose noise is counted in one release.
    pub(crate) fn contributors(self, n_min: u32, c_noise: u32) -> u32 {
        match self {
            Self::Cohort => n_min - c_noise,
            Self::Site { .. } => 1,
        }
    }
}
