//! A contract: a job, the plan that follows from it, and who the members are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{
    IdentityKey, Job, JobDocument, JobError, JobId, OrganisationId, Plan, Roster, members_in_roster,
};
use consort_privacy::{Steps, spend};
use consort_proto::convert::plan_to_wire;
use consort_proto::wire::job::v1 as wire;
use consort_round::{CohortMember, Deadlines};

/// A job that may be voted on.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The job's name, given by the coordinator.
    pub id: JobId,
    /// What is to be done.
    pub job: Job,
    /// What follows from it.
    pub plan: Plan,
    /// What is voted on.
    pub hash: Digest,
    /// What was computed of the plan: accountants are asked once, not with every message.
    computed: Arc<Computed>,
}

#[derive(Debug, Default)]
struct Computed {
    plan: OnceLock<wire::PlanSpec>,
    epsilon_after: Mutex<BTreeMap<u32, f64>>,
}

/// Why a proposal is no contract. The fault is its author's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProposalError {
    /// The job itself.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Its noise, grid or width.
    #[error(transparent)]
    Plan(#[from] consort_contract::PlanError),
}

impl ProposalError {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Job(error) => error.code(),
            Self::Plan(error) => error.code(),
        }
    }
}

impl Contract {
    /// Checks a job against the roster and plans it.
    ///
    /// # Errors
    /// [`ProposalError`] names the field that cannot be honoured.
    pub fn propose(
        id: JobId,
        document: JobDocument,
        roster: &Roster,
    ) -> Result<Self, ProposalError> {
        let job = Job::new(document)?;
        members_in_roster(&job, roster)?;
        let plan = Plan::derive(&job)?;
        Ok(Self::of(id, job, plan))
    }

    /// A contract of a plan that is known to follow from its job.
    pub fn of(id: JobId, job: Job, plan: Plan) -> Self {
        let hash = plan.contract_hash(&job);
        Self {
            id,
            job,
            plan,
            hash,
            computed: Arc::default(),
        }
    }

    /// The plan as members and operators are told it.
    pub fn plan_to_wire(&self) -> wire::PlanSpec {
        let told = || plan_to_wire(&self.job, &self.plan);
        self.computed.plan.get_or_init(told).clone()
    }

    /// Members, sorted: the place in this list, from 1, is the member's index.
    pub fn members(&self) -> &[OrganisationId] {
        &self.job.document().members
    }

    /// The member at an index.
    pub fn name_of(&self, member: MemberIndex) -> Option<&OrganisationId> {
        self.members()
            .get(usize::try_from(member.get()).ok()?.checked_sub(1)?)
    }

    /// The index of a member.
    pub fn index_of(&self, organisation: &OrganisationId) -> Option<MemberIndex> {
        self.indexed()
            .find(|(_, name)| *name == organisation)
            .map(|(index, _)| index)
    }

    /// Members with their indices.
    pub fn indexed(&self) -> impl Iterator<Item = (MemberIndex, &OrganisationId)> {
        (1..)
            .zip(self.members())
            .filter_map(|(index, name)| Some((MemberIndex::new(index)?, name)))
    }

    /// The members' identity keys in the roster.
    pub fn identities(&self, roster: &Roster) -> BTreeMap<OrganisationId, IdentityKey> {
        let key = |name: &OrganisationId| Some((name.clone(), roster.member(name)?.identity));
        self.members().iter().filter_map(key).collect()
    }

    /// The cohort that a round announces.
    pub fn cohort(&self, roster: &Roster) -> BTreeMap<MemberIndex, CohortMember> {
        let member = |(index, name): (MemberIndex, &OrganisationId)| {
            let identity = roster.member(name)?.identity;
            Some((
                index,
                CohortMember {
                    organisation: name.clone(),
                    identity,
                },
            ))
        };
        self.indexed().filter_map(member).collect()
    }

    /// How long each phase waits.
    pub fn deadlines(&self) -> Deadlines {
        let d = &self.job.document().deadlines;
        Deadlines {
            joining_ms: d.joining_ms,
            sharing_ms: d.sharing_ms,
            collecting_ms: d.collecting_ms,
            confirming_ms: d.confirming_ms,
            unmasking_ms: d.unmasking_ms,
        }
    }

    /// Rounds of the job.
    pub fn rounds(&self) -> u32 {
        self.job.algorithm().rounds()
    }

    /// Epsilon at the job's delta once this many rounds are spent.
    pub fn epsilon_after(&self, rounds: u32) -> f64 {
        let known = &self.computed.epsilon_after;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        *known
            .entry(rounds)
            .or_insert_with(|| self.accounted_after(rounds))
    }

    fn accounted_after(&self, rounds: u32) -> f64 {
        let noise = self.plan.noise();
        if rounds >= self.rounds() {
            return noise.spend().enforced().value();
        }
        let Ok(rounds) = Steps::new(rounds) else {
            return 0.0;
        };
        // The plan accounted for more rounds of the same mechanism, so this cannot fail; the whole job's epsilon bounds it.
        let spent = noise
            .mechanism_of(rounds)
            .and_then(|all| spend(&[all], noise.target().delta));
        spent.map_or(noise.spend().enforced().value(), |spent| {
            spent.enforced().value()
        })
    }
}
