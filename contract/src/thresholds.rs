//! How many members must stand, may collude and may drop out (design: secure-aggregation, "Threshold").

use consort_aggregation::{Canonical, Circle, Graph};

use crate::reach::{self, Assurance, Population};

/// The numbers that P0 announces and nothing recomputes afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    cohort: u32,
    colluders: u32,
    threshold: u32,
    minimum: u32,
    sparse: Option<Sparse>,
}

/// What a cohort above [`MAX_COMPLETE_COHORT`] has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sparse {
    dropouts: u32,
    circle: Circle,
}

/// Most members a complete graph carries: each shares with each, and MAX_THRESHOLD commitments are the most there can be.
pub const MAX_COMPLETE_COHORT: u32 = 256;

/// Most members of a job: above, the list of all adverts that each member gets must become a proof of its neighbours'.
pub const MAX_COHORT: u32 = 1024;

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
    /// d outside its bounds.
    #[error(
        "d = {dropouts} dropouts must lie in 0..={most}: n - d members have to reach n_min and the threshold t"
    )]
    Dropouts {
        /// The d that was asked for.
        dropouts: u32,
        /// The largest d for this cohort, c and n_min.
        most: u32,
    },
    /// d was given where nothing follows from it.
    #[error(
        "d is for jobs above {MAX_COMPLETE_COHORT} members; with fewer, all but n_min may drop out: leave aggregation.dropouts out"
    )]
    DropoutsOfComplete,
    /// No sparse graph protects so many members from so many.
    #[error(
        "no sparse graph of {cohort} members withstands c = {colluders} colluders and d = {dropouts} dropouts; lower either"
    )]
    NoGraph {
        /// Members of the job.
        cohort: u32,
        /// c.
        colluders: u32,
        /// d.
        dropouts: u32,
    },
}

impl ThresholdsError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cohort(_) => "cohort_size",
            Self::Colluders { .. } => "colluders_range",
            Self::Minimum { .. } => "n_min_range",
            Self::Dropouts { .. } => "dropouts_range",
            Self::DropoutsOfComplete => "dropouts_of_complete_graph",
            Self::NoGraph { .. } => "graph_too_dense",
        }
    }
}

impl Thresholds {
    /// Derives t and the defaults of c and n_min for a cohort of n members, with the default of d.
    ///
    /// # Errors
    /// As [`Self::with_dropouts`].
    pub fn new(
        cohort: u32,
        colluders: Option<u32>,
        minimum: Option<u32>,
    ) -> Result<Self, ThresholdsError> {
        Self::with_dropouts(cohort, colluders, minimum, None)
    }

    /// Derives t, the graph and the defaults for a cohort of n members.
    ///
    /// c defaults to max(1, ⌊(n−1)/3⌋), t = ⌊(n+c)/2⌋+1, n_min defaults to max(3, t). Above [`MAX_COMPLETE_COHORT`]
    /// members, d defaults to ⌊n/20⌋ (or what n_min leaves), n_min to max(t, n − d), and the graph follows from n, c, d
    /// and n_min.
    ///
    /// # Errors
    /// [`ThresholdsError`] names the number that cannot be honoured and its bounds.
    pub fn with_dropouts(
        cohort: u32,
        colluders: Option<u32>,
        minimum: Option<u32>,
        dropouts: Option<u32>,
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
        let complete = cohort <= MAX_COMPLETE_COHORT;
        if complete && dropouts.is_some() {
            return Err(ThresholdsError::DropoutsOfComplete);
        }
        let spared = if complete {
            cohort - least
        } else {
            spared(cohort, least, minimum, dropouts)?
        };
        let minimum = minimum.unwrap_or(cohort - spared);
        if !(least..=cohort).contains(&minimum) {
            return Err(ThresholdsError::Minimum {
                minimum,
                least,
                cohort,
            });
        }
        let mut thresholds = Self {
            cohort,
            colluders,
            threshold,
            minimum,
            sparse: None,
        };
        if !complete {
            thresholds.sparse = Some(thresholds.sparse(spared)?);
        }
        Ok(thresholds)
    }

    fn sparse(&self, dropouts: u32) -> Result<Sparse, ThresholdsError> {
        let population = Population {
            cohort: self.cohort,
            fewest: self.fewest_survivors(),
            colluders: self.colluders,
            dropouts,
        };
        let circle = reach::circle(population, Assurance::STANDARD);
        let circle = circle.ok_or(ThresholdsError::NoGraph {
            cohort: self.cohort,
            colluders: self.colluders,
            dropouts,
        })?;
        Ok(Sparse { dropouts, circle })
    }

    /// n: members the job announces.
    pub fn cohort(&self) -> u32 {
        self.cohort
    }

    /// c: members that may collude with the coordinator.
    pub fn colluders(&self) -> u32 {
        self.colluders
    }

    /// t: members that must stand, and in a complete graph the shares that open a secret. 2t > n + c, so no coalition gets
    /// both secrets of one member.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Who is whose neighbour.
    pub fn graph(&self) -> Graph {
        self.sparse
            .map_or(Graph::Complete, |sparse| Graph::Harary(sparse.circle))
    }

    /// h and m of a sparse graph; `None` for a complete one.
    pub fn circle(&self) -> Option<Circle> {
        self.sparse.map(|sparse| sparse.circle)
    }

    /// Shares that open a secret: t among all members, 2m − 1 among the neighbours of a sparse graph.
    pub fn share_threshold(&self) -> u32 {
        self.sparse.map_or(self.threshold, |sparse| {
            reach::share_threshold(sparse.circle)
        })
    }

    /// d: members that may drop out of a round in a sparse graph; `None` in a complete one, where all but n_min may.
    pub fn dropouts(&self) -> Option<u32> {
        self.sparse.map(|sparse| sparse.dropouts)
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

    /// Adds the numbers to an encoding: n, c, t, n_min, and above [`MAX_COMPLETE_COHORT`] members d, h and m. Which of the
    /// two it is follows from n, so that no encoding is one of the other kind.
    pub fn encode(&self, canonical: Canonical) -> Canonical {
        let canonical = canonical
            .u64(self.cohort.into())
            .u64(self.colluders.into())
            .u64(self.threshold.into())
            .u64(self.minimum.into());
        match self.sparse {
            None => canonical,
            Some(Sparse { dropouts, circle }) => canonical
                .str("harary")
                .u64(dropouts.into())
                .u64(circle.reach.into())
                .u64(circle.witnesses.into()),
        }
    }
}

/// d of a sparse graph: what was asked for, or ⌊n/20⌋ and no more than n_min (or t) leaves.
fn spared(
    cohort: u32,
    least: u32,
    minimum: Option<u32>,
    dropouts: Option<u32>,
) -> Result<u32, ThresholdsError> {
    let most = cohort.saturating_sub(minimum.unwrap_or(least).max(least));
    let dropouts = dropouts.unwrap_or((cohort / 20).min(most));
    if dropouts > most {
        return Err(ThresholdsError::Dropouts { dropouts, most });
    }
    Ok(dropouts)
}

#[cfg(test)]
#[path = "thresholds_tests.rs"]
mod tests;
