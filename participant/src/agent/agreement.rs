//! How a job becomes a contract for this organisation: it computes the plan again, asks its own policy, its own ledger and
//! its own data, votes, and believes in the others' votes only by their signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use consort_aggregation::{Digest, MemberIndex};
use consort_contract::{
    ApprovedVotes, IdentityKey, Job, JobId, MAX_REASON_BYTES, OrganisationId, Plan, Requirements,
    Vote, members_in_roster,
};
use consort_model::Parameters;
use consort_proto::convert::{
    approval_from_wire, job_from_wire, plan_from_wire, vote_from_wire, vote_to_wire,
};
use consort_proto::wire::consent::v1 as wire;
use consort_round::CohortMember;
use consort_round::participant::Expectations;
use consort_vault::{DataKey, KeyName};

use super::{Agent, AgentFault, Effect, Site, model_digest};
use crate::config::DatasetConfig;
use crate::consent::{self, ConsentRefused};
use crate::data::{self, DataSet};
use crate::keys::KeyWanted;
use crate::state::StoredJob;

/// A job that this organisation voted on.
pub(super) struct Agreement {
    /// The job and the plan that follows from it.
    pub(super) agreed: Arc<(Job, Plan)>,
    contract: Digest,
    vote: Vote,
    votes: Option<ApprovedVotes>,
    /// The records, read when they are first needed.
    data: Option<Arc<DataSet>>,
    /// Whether the broker is being asked for the key of the records.
    key_asked: bool,
    /// The newest model, and its hash; made or fetched when a round first needs it, so that a job that is refused for its size
    /// costs no memory of that size.
    model: Option<(Digest, Arc<Parameters>)>,
}

impl Agreement {
    fn new(agreed: Arc<(Job, Plan)>, vote: Vote) -> Self {
        let (job, plan) = &*agreed;
        Self {
            contract: plan.contract_hash(job),
            vote,
            votes: None,
            data: None,
            key_asked: false,
            model: None,
            agreed,
        }
    }

    /// Whether a round's model must have been fetched: that of the first round follows from the contract, unless the contract only
    /// names it by its hash.
    pub(super) fn fetches(&self, round: u32) -> bool {
        round != 1 || self.agreed.0.stated_parameters().is_some()
    }

    /// Whether this is the newest model that is held.
    pub(super) fn holds(&self, model: Digest) -> bool {
        self.model.as_ref().is_some_and(|(held, _)| *held == model)
    }

    /// Takes a model that was fetched.
    pub(super) fn take_model(&mut self, model: Digest, parameters: Parameters) {
        self.model = Some((model, Arc::new(parameters)));
    }

    /// The newest model: the one that follows from the contract as long as none was fetched.
    pub(super) fn model(&mut self) -> (Digest, Arc<Parameters>) {
        let job = &self.agreed.0;
        let initial = || {
            let initial = job.first_announced();
            (model_digest(&initial), Arc::new(initial))
        };
        let (model, parameters) = self.model.get_or_insert_with(initial);
        (*model, Arc::clone(parameters))
    }

    /// Reads a stored agreement; everything is checked as it was at first.
    pub(super) fn restore(job: &JobId, stored: &StoredJob, site: &Site) -> Result<Self, String> {
        let parsed = parse(&stored.proposal, site)?;
        let vote = vote_from_wire(Some(stored.vote.clone())).map_err(|error| error.to_string())?;
        let mut agreement = Self::new(Arc::new(parsed), vote);
        if let Some(approval) = &stored.approval {
            agreement.accept(job, approval.clone(), site)?;
        }
        Ok(agreement)
    }

    /// Verifies the votes of all members.
    fn accept(&mut self, job: &JobId, approval: wire::Approval, site: &Site) -> Result<(), String> {
        let (named, votes) = approval_from_wire(approval).map_err(|error| error.to_string())?;
        if named != *job {
            return Err("the approval is about another job".to_owned());
        }
        let members = self.members(site);
        let votes = ApprovedVotes::verify(job, &self.contract, &members, votes)
            .map_err(|error| error.to_string())?;
        self.votes = Some(votes);
        Ok(())
    }

    /// Whether every member said yes to this contract.
    pub(super) fn approved(&self) -> bool {
        self.votes.is_some()
    }

    fn members(&self, site: &Site) -> BTreeMap<OrganisationId, IdentityKey> {
        let names = &self.agreed.0.document().members;
        names
            .iter()
            .filter_map(|name| Some((name.clone(), site.roster.member(name)?.identity)))
            .collect()
    }

    /// What this organisation expects of every announcement of this job's rounds; nothing before all votes are verified.
    pub(super) fn expectations(
        &self,
        job: &JobId,
        site: &Site,
        newest_answered: Option<(u32, u32)>,
        ledger_sequence: u64,
        model: Digest,
    ) -> Option<Expectations> {
        let (agreed, plan) = &*self.agreed;
        let cohort = self.members(site).into_iter().zip(1..).filter_map(
            |((organisation, identity), index)| {
                let member = CohortMember {
                    organisation,
                    identity,
                };
                Some((MemberIndex::new(index)?, member))
            },
        );
        Some(Expectations {
            consortium: site.roster.consortium().clone(),
            job: job.clone(),
            organisation: site.organisation.clone(),
            contract: self.contract,
            votes: self.votes.as_ref()?.hash(),
            roster_root: site.roster.root(),
            cohort: cohort.collect(),
            thresholds: *agreed.thresholds(),
            schema: plan.schema(),
            rounds: agreed.algorithm().rounds(),
            newest_answered,
            ledger_sequence,
            model,
        })
    }

    /// The records that the job is trained on.
    pub(super) fn data(&mut self, site: &Site) -> Result<Arc<DataSet>, ConsentRefused> {
        if let Some(data) = &self.data {
            return Ok(Arc::clone(data));
        }
        let data = match read_data(&self.agreed.0, site)? {
            Records::Read(data) => Arc::new(data),
            Records::Encrypted(name) => return Err(ConsentRefused::NoKey(name.data_set)),
        };
        self.data = Some(Arc::clone(&data));
        Ok(data)
    }

    /// Whether the records lie encrypted and were not opened.
    pub(super) fn lacks_key(&self, site: &Site) -> bool {
        let dataset = site.datasets.get(&self.agreed.0.document().dataset);
        self.data.is_none() && dataset.is_some_and(|dataset| dataset.key_id.is_some())
    }
}

impl Agent {
    /// A job is proposed: it is voted on once, and the same proposal gets the same vote again.
    pub(super) fn proposed(&mut self, proposal: wire::Proposal) -> Result<Vec<Effect>, AgentFault> {
        let Ok(id) = JobId::new(&proposal.job) else {
            tracing::warn!("a proposal has no valid name");
            return Ok(Vec::new());
        };
        if let Some(known) = self.state.job(&id)? {
            return Ok(self.proposed_again(id, &known, &proposal));
        }
        let agreed = match parse(&proposal, &self.site) {
            Ok(agreed) => agreed,
            Err(problem) => {
                // Without a job and its plan there is no contract that a signed no could name.
                tracing::error!(job = %id, %problem, "a proposal is not valid and gets no vote");
                return Ok(Vec::new());
            }
        };
        let decision = self.decide(&agreed);
        let contract = agreed.1.contract_hash(&agreed.0);
        let answer = match &decision {
            Ok(_) => Ok(()),
            Err(refused) => Err(shortened(refused.to_string())),
        };
        let site = &self.site;
        let vote = Vote::cast(&id, &site.organisation, contract, answer, &site.identity);
        self.state.pin(&id, &proposal, &vote_to_wire(&vote))?;
        let mut agreement = Agreement::new(Arc::new(agreed), vote.clone());
        match decision {
            Ok(Records::Read(data)) => {
                tracing::info!(job = %id, %contract, records = data.records(), "this organisation votes yes");
                agreement.data = Some(Arc::new(data));
            }
            Ok(Records::Encrypted(key)) => {
                tracing::info!(job = %id, %contract, %key, "this organisation votes yes; its records are opened once all have");
            }
            Err(refused) => {
                let (code, reason) = (refused.code(), refused.to_string());
                tracing::warn!(job = %id, %contract, code, reason, "this organisation votes no");
                metrics::counter!("consort_participant_votes_refused_total", "code" => code)
                    .increment(1);
            }
        }
        self.agreements.insert(id.clone(), agreement);
        Ok(vec![Effect::Vote { job: id, vote }])
    }

    fn proposed_again(
        &self,
        job: JobId,
        known: &StoredJob,
        proposal: &wire::Proposal,
    ) -> Vec<Effect> {
        if known.proposal != *proposal {
            tracing::error!(%job, "another contract is proposed under the name of a job that was voted on; it gets no vote");
            return Vec::new();
        }
        let vote = self
            .agreements
            .get(&job)
            .map(|agreement| agreement.vote.clone());
        vote.map(|vote| Effect::Vote { job, vote })
            .into_iter()
            .collect()
    }

    fn decide(&self, agreed: &(Job, Plan)) -> Result<Records, ConsentRefused> {
        let (job, plan) = agreed;
        let site = &self.site;
        consent::decide(&site.consent, &site.organisation, job, plan, &self.ledger)?;
        // How old the key may be is its broker's to judge.
        let document = job.document();
        if document.data_access.encryption.is_some() && dataset(job, site)?.key_id.is_none() {
            return Err(ConsentRefused::NotEncrypted(document.dataset.clone()));
        }
        if document.requirements != Requirements::default() {
            (site.premises)().meet(&document.requirements)?;
        }
        read_data(job, site)
    }

    /// All members voted yes, says the coordinator; each vote is verified here.
    pub(super) fn approved(&mut self, approval: wire::Approval) -> Result<Vec<Effect>, AgentFault> {
        let agreement = JobId::new(&approval.job)
            .ok()
            .and_then(|job| Some((self.agreements.get_mut(&job)?, job)));
        let Some((agreement, job)) = agreement else {
            tracing::warn!(job = %approval.job, "an approval is about no job that was voted on");
            return Ok(Vec::new());
        };
        if agreement.approved() {
            return Ok(Vec::new());
        }
        match agreement.accept(&job, approval.clone(), &self.site) {
            Ok(()) => {
                self.state.approve(&job, &approval)?;
                // Made now, so that the first round need not wait for it.
                if !agreement.fetches(1) {
                    agreement.model();
                }
                tracing::info!(%job, "every member's yes is verified");
                Ok(self.want_key(&job)?.into_iter().collect())
            }
            Err(problem) => {
                tracing::error!(%job, %problem, "an approval is refused");
                Ok(Vec::new())
            }
        }
    }

    /// The request for the key of a job's records, unless they are open, lie plain, or the broker is being asked.
    pub(super) fn want_key(&mut self, job: &JobId) -> Result<Option<Effect>, AgentFault> {
        let Some(agreement) = self.agreements.get_mut(job) else {
            return Ok(None);
        };
        if agreement.key_asked || !agreement.lacks_key(&self.site) {
            return Ok(None);
        }
        let name = match read_data(&agreement.agreed.0, &self.site) {
            Ok(Records::Encrypted(name)) => name,
            Ok(Records::Read(_)) => return Ok(None),
            Err(refused) => {
                tracing::error!(%job, code = refused.code(), %refused, "the data cannot be read any more");
                return Ok(None);
            }
        };
        let stored = self.state.job(job)?;
        let wanted = stored.and_then(|stored| {
            Some(KeyWanted {
                job: job.clone(),
                name,
                contract: agreement.contract,
                proposal: stored.proposal,
                approval: stored.approval?,
            })
        });
        agreement.key_asked = wanted.is_some();
        Ok(wanted.map(|wanted| Effect::FetchKey(Box::new(wanted))))
    }

    /// A key came, or did not. It is zeroised when this returns.
    pub(super) fn keyed(
        &mut self,
        job: &JobId,
        name: &KeyName,
        key: Result<DataKey, String>,
    ) -> Result<Vec<Effect>, AgentFault> {
        let Some(agreement) = self.agreements.get_mut(job) else {
            return Ok(Vec::new());
        };
        agreement.key_asked = false;
        let key = match key {
            Ok(key) => key,
            Err(problem) => {
                tracing::error!(%job, key = %name, problem, "the data key was not released; it is asked for again in the next round");
                return Ok(Vec::new());
            }
        };
        match open_data(&agreement.agreed.0, &self.site, name, &key) {
            Ok(data) => {
                tracing::info!(%job, key = %name, records = data.records(), "the encrypted records are open");
                agreement.data = Some(Arc::new(data));
            }
            Err(refused) => {
                let code = refused.code();
                tracing::error!(%job, key = %name, code, %refused, "the encrypted records do not open; this member stays away");
                return Ok(Vec::new());
            }
        }
        self.announced_before(job)
    }
}

/// What can be had of the records without a key.
enum Records {
    /// They lie plain.
    Read(DataSet),
    /// They lie under this key.
    Encrypted(KeyName),
}

/// Checks a proposal against the roster and computes its plan again.
fn parse(proposal: &wire::Proposal, site: &Site) -> Result<(Job, Plan), String> {
    let document = job_from_wire(proposal.spec.clone()).map_err(|error| error.to_string())?;
    let job = Job::new(document).map_err(|error| error.to_string())?;
    members_in_roster(&job, &site.roster).map_err(|error| error.to_string())?;
    let plan = plan_from_wire(&job, proposal.plan.clone()).map_err(|error| error.to_string())?;
    Ok((job, plan))
}

fn read_data(job: &Job, site: &Site) -> Result<Records, ConsentRefused> {
    let document = job.document();
    let dataset = dataset(job, site)?;
    Ok(match &dataset.key_id {
        None => Records::Read(data::load(
            &dataset.path,
            &document.data,
            most_records(job),
        )?),
        Some(key_id) => Records::Encrypted(data::sealed_under(
            &dataset.path,
            key_id,
            &document.dataset,
        )?),
    })
}

fn open_data(
    job: &Job,
    site: &Site,
    name: &KeyName,
    key: &DataKey,
) -> Result<DataSet, ConsentRefused> {
    let path = &dataset(job, site)?.path;
    let schema = &job.document().data;
    Ok(data::load_sealed(
        path,
        name,
        key,
        schema,
        most_records(job),
    )?)
}

fn dataset<'a>(job: &Job, site: &'a Site) -> Result<&'a DatasetConfig, ConsentRefused> {
    let name = &job.document().dataset;
    let dataset = site.datasets.get(name);
    dataset.ok_or_else(|| ConsentRefused::NoFile(name.clone()))
}

fn most_records(job: &Job) -> usize {
    let most = job.algorithm().records().max_records_per_member;
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// At most [`MAX_REASON_BYTES`], cut at a character.
fn shortened(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES)
            .rev()
            .find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
    }
    reason
}
