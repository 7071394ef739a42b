//! What P0 announces: everything a round is bound to.

use std::collections::BTreeMap;

use consort_aggregation::{Canonical, Digest, Graph, MemberIndex, VectorSchema};
use consort_contract::{ConsortiumId, IdentityKey, JobId, OrganisationId, Thresholds};

/// Milliseconds on a monotonic clock of the machine's driver; the zero is the driver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus a span, saturating.
    pub fn after(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }
}

/// A round of a job, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoundNumber(pub u32);

/// An attempt at a round, from 1. A new attempt has fresh keys and is made only while nobody has submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u32);

/// How long each phase waits for the members, in milliseconds. An input to the coordinator's machine only; members act when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For adverts (P1).
    pub joining_ms: u64,
    /// For shares (P3).
    pub sharing_ms: u64,
    /// For masked updates (P4); includes local training.
    pub collecting_ms: u64,
    /// For signatures on the survivor set (P5).
    pub confirming_ms: u64,
    /// For shares of the survivors' and the dropouts' secrets (P6).
    pub unmasking_ms: u64,
}

/// One member of the announced cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortMember {
    /// Its name in the roster.
    pub organisation: OrganisationId,
    /// Its identity key in the roster.
    pub identity: IdentityKey,
}

/// The terms of one attempt at one round. Equal terms have equal contexts, and every key and signature hangs on the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTerms {
    /// The consortium.
    pub consortium: ConsortiumId,
    /// The job.
    pub job: JobId,
    /// The round of the job.
    pub round: RoundNumber,
    /// The attempt at the round.
    pub attempt: Attempt,
    /// Members by index; the index is the 1-based place in the job's sorted member list and the Shamir x-coordinate.
    pub cohort: BTreeMap<MemberIndex, CohortMember>,
    /// n, c, t and n_min.
    pub thresholds: Thresholds,
    /// Root of the roster all members signed.
    pub roster_root: Digest,
    /// Hash of the contract: the job document and the plan that follows from it (task, clip, privacy parameters).
    pub contract: Digest,
    /// Hash over the votes on the contract, in the order of the members.
    pub votes: Digest,
    /// Hash of the global model that is trained on.
    pub model: Digest,
    /// Elements and width of the vector that is summed.
    pub schema: VectorSchema,
    /// Newest audit log head (hash of the signed checkpoint) when the attempt was opened.
    pub log_head: Digest,
}

/// The label of what ctx is the hash of.
pub(crate) const CONTEXT: &str = "consort/round/context/v1";

impl RoundTerms {
    /// ctx: the hash that binds everything said in this attempt (docs/protocol.md, "Context").
    pub fn context(&self) -> Digest {
        self.canonical().hash()
    }

    /// What ctx is the hash of.
    pub(crate) fn canonical(&self) -> Canonical {
        let head = Canonical::new(CONTEXT)
            .str(self.consortium.as_str())
            .str(self.job.as_str())
            .u64(self.round.0.into())
            .u64(self.attempt.0.into())
            .bytes(self.roster_root.as_bytes());
        let mut canonical = self.thresholds.encode(head).list(self.cohort.len());
        for (index, member) in &self.cohort {
            canonical = canonical
                .u64(index.get().into())
                .str(member.organisation.as_str())
                .bytes(member.identity.as_bytes());
        }
        canonical
            .bytes(self.contract.as_bytes())
            .bytes(self.votes.as_bytes())
            .bytes(self.model.as_bytes())
            .bytes(self.schema.hash().as_bytes())
            .bytes(self.log_head.as_bytes())
    }

    /// Who is whose neighbour.
    pub fn graph(&self) -> Graph {
        #[cfg(test)]
        if let Some(circle) = small_circle::of_this_test() {
            return Graph::Harary(circle);
        }
        self.thresholds.graph()
    }

    /// Shares that open a secret.
    pub fn share_threshold(&self) -> u32 {
        #[cfg(test)]
        if let Some(circle) = small_circle::of_this_test() {
            return 2 * circle.witnesses - 1;
        }
        self.thresholds.share_threshold()
    }

    /// The identity key of a member of the cohort.
    pub fn identity(&self, member: MemberIndex) -> Option<&IdentityKey> {
        self.cohort.get(&member).map(|m| &m.identity)
    }

    /// The index of an organisation in the cohort.
    pub fn index_of(&self, organisation: &OrganisationId) -> Option<MemberIndex> {
        self.cohort
            .iter()
            .find(|(_, m)| &m.organisation == organisation)
            .map(|(index, _)| *index)
    }
}

/// A circle of a few members, which no contract has: [`Thresholds`] draws one above 256 members only, too many for thousands of
/// schedules.
///
/// # Security
/// Compiled under `cfg(test)` of this crate alone, as the rules' switch is: no other build can have a circle that is not of
/// the terms.
#[cfg(test)]
pub(crate) mod small_circle {
    use consort_aggregation::Circle;
    use std::cell::Cell;

    std::thread_local! {
        static CIRCLE: Cell<Option<Circle>> = const { Cell::new(None) };
    }

    pub(super) fn of_this_test() -> Option<Circle> {
        CIRCLE.get()
    }

    /// Runs on this thread with every cohort on this circle; t' = 2m - 1, as `contract` has it.
    pub(crate) fn with<T>(circle: Circle, run: impl FnOnce() -> T) -> T {
        struct Restore(Option<Circle>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CIRCLE.set(self.0);
            }
        }
        let _restore = Restore(CIRCLE.replace(Some(circle)));
        run()
    }
}
