//! One attempt at a round, from the announcement to the shares of secrets: train while keys are agreed, pay, mask, submit.

use std::sync::Arc;

use consort_aggregation::{Digest, EncodedUpdate, MaskedUpdate};
use consort_contract::JobId;
use consort_model::ArrivedParameters;
use consort_privacy::DebitKey;
use consort_proto::convert::AttemptKey;
use consort_proto::parts::Assembly;
use consort_proto::wire::round::v1::follow_response::Event;
use consort_round::participant::{Answer, Member, MemberTransition, Surroundings};
use consort_round::{
    Directive, MemberMessage, Rejection, RoundOpen, SplitView, Survivors, UpdateSeal,
};
use rand_core::OsRng;

use super::{Agent, AgentFault, Effect, Site};
use crate::ledger::PayError;
use crate::randomness::StretchedOsRng;
use crate::state::StateFault;
use crate::trainer::{Contribution, Controls, TrainingFault, TrainingTask};

/// An attempt that this organisation takes part in, or is about to.
pub(super) enum RunningRound {
    /// Announced; its log head is being proven, or its model or the key of the records is being fetched.
    Announced {
        /// The attempt.
        key: AttemptKey,
        /// P0.
        open: Box<RoundOpen>,
    },
    /// Joined.
    Joined(Box<Joined>),
}

/// An attempt whose announcement was answered.
pub(super) struct Joined {
    key: AttemptKey,
    /// Taken out only while it handles a directive.
    member: Option<Member>,
    work: Work,
    /// The coordinator waits for the update.
    wanted: bool,
    /// The announced cohort: as many items as the lists of a message may have.
    cohort: usize,
    /// What has come of a message in parts.
    parts: Assembly,
    /// The first survivor set that the coordinator signed, whether it was confirmed or refused.
    survivors: Option<Survivors>,
}

/// How far the update is.
enum Work {
    /// Being trained.
    Training,
    /// Trained, not paid for.
    Trained(Box<Contribution>),
    /// Paid, masked and sealed: kept for byte-identical resends until the round ends.
    Masked(Arc<MaskedUpdate>, UpdateSeal),
    /// There will be none; the others go on without this member.
    Failed,
}

impl RunningRound {
    /// Whether it is announced under this log head, and not joined.
    pub(super) fn waits_for(&self, head: Digest) -> bool {
        match self {
            Self::Announced { open, .. } => open.terms.log_head == head,
            Self::Joined(_) => false,
        }
    }

    pub(super) fn key(&self) -> &AttemptKey {
        match self {
            Self::Announced { key, .. } => key,
            Self::Joined(joined) => &joined.key,
        }
    }
}

impl Agent {
    /// P0. Everything is checked before anything is fetched, stored or said.
    pub(super) fn announced(&mut self, open: RoundOpen) -> Result<Vec<Effect>, AgentFault> {
        let key = AttemptKey::of(&open.terms);
        if let Some(RunningRound::Joined(joined)) = self.rounds.get(&key.job)
            && joined.key == key
        {
            if let Some(record) = joined.other_announcement(&open, &self.site) {
                return self.refuse_split_view(&key, &record);
            }
            return self.asked(&key, &Directive::Advertise(open));
        }
        let unproven_head = self.unproven_head(&open);
        if let Err(rejection) = self.check_announcement(&open) {
            warn_rejected(&key, "a round", &rejection);
            // A coordinator that was rolled back announces what was answered long ago: its log is looked at all the same.
            return Ok(unproven_head.into_iter().collect());
        }
        if let Some(effect) = unproven_head {
            self.wait(key, open);
            return Ok(vec![effect]);
        }
        let Some(agreement) = self.agreements.get(&key.job) else {
            return Ok(Vec::new());
        };
        let mut effects = Vec::new();
        // The first round trains on the model that follows from the contract, whatever the coordinator announces.
        let lacks_model = !agreement.holds(open.terms.model) && agreement.fetches(key.round.0);
        if lacks_model {
            effects.push(Effect::FetchModel {
                job: key.job.clone(),
                model: open.terms.model,
                agreed: Arc::clone(&agreement.agreed),
            });
        }
        if !lacks_model && !agreement.lacks_key(&self.site) {
            return self.join(&open);
        }
        effects.extend(self.want_key(&key.job)?);
        self.wait(key, open);
        Ok(effects)
    }

    /// Keeps an announcement until what it waits for has come.
    fn wait(&mut self, key: AttemptKey, open: RoundOpen) {
        let (job, open) = (key.job.clone(), Box::new(open));
        self.rounds
            .insert(job, RunningRound::Announced { key, open });
    }

    /// Something came that an announced attempt may have waited for.
    pub(super) fn announced_before(&mut self, job: &JobId) -> Result<Vec<Effect>, AgentFault> {
        match self.rounds.remove(job) {
            Some(RunningRound::Announced { open, .. }) => self.announced(*open),
            Some(joined @ RunningRound::Joined(_)) => {
                self.rounds.insert(job.clone(), joined);
                Ok(Vec::new())
            }
            None => Ok(Vec::new()),
        }
    }

    /// The rules of P0 that need no model, and the ledger's.
    fn check_announcement(&self, open: &RoundOpen) -> Result<(), Rejection> {
        open.verify(&self.site.roster.coordinator().identity)?;
        let terms = &open.terms;
        if self.state.saw_split_view(&terms.job) {
            return Err(Rejection::Terms(
                "a job whose coordinator signed two contradicting statements",
            ));
        }
        let agreement = self
            .agreements
            .get(&terms.job)
            .ok_or(Rejection::Terms("no job that this member voted on"))?;
        let expected = agreement.expectations(
            &terms.job,
            &self.site,
            self.state.newest_answered(&terms.job),
            self.ledger.sequence(),
            terms.model,
        );
        expected
            .ok_or(Rejection::Terms("a job that not every member approved"))?
            .check(terms)?;
        if self.ledger.round_is_spent(&terms.job, terms.round.0) {
            return Err(Rejection::Terms(
                "a round that this member's ledger has spent",
            ));
        }
        let (job, plan) = &*agreement.agreed;
        if job
            .stated_parameters()
            .is_some_and(|stated| stated != terms.model)
        {
            return Err(Rejection::Terms(
                "a model of other parameters than the contract names",
            ));
        }
        let round = plan.noise().round_mechanism();
        match self.ledger.what_if(&job.document().dataset, &round) {
            Ok(_) => Ok(()),
            Err(refused) => {
                tracing::error!(job = %terms.job, code = refused.code(), %refused, "the ledger does not cover this round");
                Err(Rejection::Terms(
                    "a round that this member's ledger does not cover",
                ))
            }
        }
    }

    /// A model came, or did not.
    pub(super) fn fetched(
        &mut self,
        job: &JobId,
        model: Digest,
        arrived: Result<ArrivedParameters, String>,
    ) -> Result<Vec<Effect>, AgentFault> {
        let Some(agreement) = self.agreements.get_mut(job) else {
            return Ok(Vec::new());
        };
        match arrived {
            // Rule R3.
            Ok(arrived) if arrived.hash().as_bytes() == model.as_bytes() => {
                agreement.take_model(model, arrived.into_parameters());
            }
            Ok(_) => {
                tracing::error!(%job, %model, "the model that was fetched has another hash than was announced");
                return Ok(Vec::new());
            }
            Err(problem) => {
                tracing::warn!(%job, %model, problem, "the model was not fetched; it will be asked for again");
                return Ok(Vec::new());
            }
        }
        // An attempt on another model asks for that one again.
        self.announced_before(job)
    }

    /// Answers P0 with fresh keys, once the attempt is stored as answered, and starts training.
    fn join(&mut self, open: &RoundOpen) -> Result<Vec<Effect>, AgentFault> {
        let key = AttemptKey::of(&open.terms);
        let Some(agreement) = self.agreements.get_mut(&key.job) else {
            return Ok(Vec::new());
        };
        let data = match agreement.data(&self.site) {
            Ok(data) => data,
            Err(refused) => {
                let code = refused.code();
                tracing::error!(job = %key.job, code, %refused, "the data cannot be read any more; this member stays away");
                return Ok(Vec::new());
            }
        };
        let newest = self.state.newest_answered(&key.job);
        let (model, parameters) = agreement.model();
        let sequence = self.ledger.sequence();
        let Some(expected) = agreement.expectations(&key.job, &self.site, newest, sequence, model)
        else {
            return Ok(Vec::new());
        };
        // Checked again before it is stored, now with the model that is held: a refused attempt must not count as answered.
        if let Err(rejection) = expected.check(&open.terms) {
            warn_rejected(&key, "a round", &rejection);
            return Ok(Vec::new());
        }
        let (round, attempt) = (key.round.0, key.attempt.0);
        match self.state.answer(&key.job, round, attempt) {
            Ok(()) => {}
            Err(StateFault::NotNewer { .. }) => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        }
        let Site {
            identity,
            roster,
            judge,
            attest,
            ..
        } = &mut self.site;
        let mut around = Surroundings {
            identity,
            coordinator: &roster.coordinator().identity,
            judge: &**judge,
            rng: &mut OsRng,
        };
        let (member, advert) = match Member::join(open, &expected, &mut **attest, &mut around) {
            Ok(joined) => joined,
            Err(rejection) => {
                warn_rejected(&key, "a round", &rejection);
                return Ok(Vec::new());
            }
        };
        let joined = Joined {
            key: key.clone(),
            member: Some(member),
            work: Work::Training,
            wanted: false,
            cohort: open.terms.cohort.len(),
            parts: Assembly::default(),
            survivors: None,
        };
        self.rounds
            .insert(key.job.clone(), RunningRound::Joined(Box::new(joined)));
        tracing::info!(job = %key.job, round, attempt, "this member takes part");
        let controls = if agreement.agreed.0.has_control() {
            let elements = agreement.agreed.0.model().parameter_count();
            let own = self.state.control(&key.job, elements)?;
            let own = own.map(|control| control.at(model.as_bytes()));
            Some(Controls::new(&parameters.as_slice()[elements..], own))
        } else {
            None
        };
        let task = TrainingTask {
            controls,
            key: key.clone(),
            agreed: Arc::clone(&agreement.agreed),
            parameters,
            data,
        };
        let message = Box::new(MemberMessage::Advert(advert));
        Ok(vec![Effect::Send { key, message }, Effect::Train(task)])
    }

    /// P2 to P6.
    pub(super) fn asked(
        &mut self,
        key: &AttemptKey,
        directive: &Directive,
    ) -> Result<Vec<Effect>, AgentFault> {
        let Some(RunningRound::Joined(joined)) = self.rounds.get_mut(&key.job) else {
            tracing::debug!(job = %key.job, round = key.round.0, "a round is asked for that this process did not join");
            return Ok(Vec::new());
        };
        if joined.key != *key {
            return Ok(Vec::new());
        }
        if let Directive::Confirm(survivors) = directive
            && let Some(record) = joined.other_survivors(survivors, &self.site)
        {
            return self.refuse_split_view(key, &record);
        }
        let member = joined
            .member
            .take()
            .expect("a member is put back before anything returns");
        let site = &self.site;
        let mut around = Surroundings {
            identity: &site.identity,
            coordinator: &site.roster.coordinator().identity,
            judge: &*site.judge,
            rng: &mut OsRng,
        };
        let MemberTransition { member, outcome } = member.handle(directive, &mut around);
        joined.member = Some(member);
        match outcome {
            Ok(Answer::Send(MemberMessage::Seal(_))) => {
                Ok(joined.upload(true).into_iter().collect())
            }
            Ok(Answer::Send(message)) => Ok(vec![Effect::Send {
                key: key.clone(),
                message: Box::new(message),
            }]),
            Ok(Answer::Submit) => {
                joined.wanted = true;
                self.submit(&key.job)
            }
            // What was asked before an answer arrived may be asked once more; that is no offence.
            Err(Rejection::WrongPhase { message, phase }) => {
                tracing::debug!(job = %key.job, round = key.round.0, message, phase, "asked again");
                Ok(Vec::new())
            }
            Err(rejection) => {
                warn_rejected(key, "a message of the coordinator", &rejection);
                Ok(joined.complain(directive).into_iter().collect())
            }
        }
    }

    /// Keeps what convicts the coordinator, and leaves the job for good: its secrets are dropped, so that neither view is opened
    /// with what this member holds.
    fn refuse_split_view(
        &mut self,
        key: &AttemptKey,
        record: &SplitView,
    ) -> Result<Vec<Effect>, AgentFault> {
        self.state.keep_split_view(&key.job, &record.encode())?;
        self.rounds.remove(&key.job);
        let (round, attempt) = (key.round.0, key.attempt.0);
        tracing::error!(
            job = %key.job, round, attempt,
            "the coordinator signed two contradicting statements of one attempt: it shows members different views, or was restored from an old backup. This member takes no more part in this job. The record is kept: stop this participant, export it with `consort participant split-views`, and show it to the other members, who check it with `consort audit split-view`"
        );
        Ok(Vec::new())
    }

    /// Training ended.
    pub(super) fn trained(
        &mut self,
        key: &AttemptKey,
        result: Result<Contribution, TrainingFault>,
    ) -> Result<Vec<Effect>, AgentFault> {
        let Some(RunningRound::Joined(joined)) = self.rounds.get_mut(&key.job) else {
            return Ok(Vec::new());
        };
        if joined.key != *key || !matches!(joined.work, Work::Training) {
            return Ok(Vec::new());
        }
        joined.work = match result {
            Ok(contribution) => Work::Trained(Box::new(contribution)),
            Err(fault) => {
                let (code, round) = (fault.code(), key.round.0);
                tracing::error!(job = %key.job, round, code, %fault, "training failed; this member drops out of the round");
                Work::Failed
            }
        };
        self.submit(&key.job)
    }

    /// When the coordinator waits and the contribution is there: debit, then noise, then masks, then the upload.
    fn submit(&mut self, job: &JobId) -> Result<Vec<Effect>, AgentFault> {
        let Some(RunningRound::Joined(joined)) = self.rounds.get_mut(job) else {
            return Ok(Vec::new());
        };
        if !joined.wanted || !matches!(joined.work, Work::Trained(_)) {
            return Ok(Vec::new());
        }
        let Some(agreement) = self.agreements.get(job) else {
            return Ok(Vec::new());
        };
        let Work::Trained(contribution) = std::mem::replace(&mut joined.work, Work::Failed) else {
            return Ok(Vec::new());
        };
        let (agreed, plan) = &*agreement.agreed;
        let dataset = &agreed.document().dataset;
        let (round, attempt) = (joined.key.round.0, joined.key.attempt.0);
        let debit_key = DebitKey::new(job.as_str(), round.into(), attempt.into())
            .expect("a job's name is 1 to 64 visible ASCII characters");
        let debit = match self
            .ledger
            .pay(dataset, debit_key, &plan.noise().round_mechanism())
        {
            Ok(debit) => debit,
            Err(PayError::Fault(fault)) => return Err(fault.into()),
            Err(refused @ (PayError::Refused(_) | PayError::RoundSpent { .. })) => {
                let code = refused.code();
                tracing::error!(%job, round, code, %refused, "nothing leaves: the round is not paid for");
                return Ok(Vec::new());
            }
        };
        let spent = self.ledger.spent(dataset).value();
        metrics::gauge!("consort_participant_epsilon_spent", "dataset" => dataset.to_string())
            .set(spent);
        if let Some(control) = contribution.control() {
            self.state.keep_control(job, control)?;
        }
        let mut rng = StretchedOsRng::default();
        match contribution.encode(&joined.key, &agreement.agreed, debit, &mut rng) {
            Ok(update) => {
                tracing::info!(%job, round, epsilon_spent = spent, "the round is paid for and the update is masked");
                Ok(joined.mask(update, &self.site).into_iter().collect())
            }
            Err(fault) => {
                let code = fault.code();
                tracing::error!(%job, round, code, %fault, "the update cannot be encoded; the round stays spent");
                Ok(Vec::new())
            }
        }
    }
}

impl Joined {
    /// A message of this attempt that may come in parts, once it is whole.
    pub(super) fn whole(&mut self, key: &AttemptKey, part: Event) -> Option<Event> {
        if self.key != *key {
            return None;
        }
        match self.parts.take(part, self.cohort) {
            Ok(whole) => whole,
            Err(error) => {
                let (round, attempt) = (key.round.0, key.attempt.0);
                tracing::warn!(job = %key.job, round, attempt, code = error.code(), %error, "this member refuses a part of a message");
                None
            }
        }
    }

    /// What convicts a coordinator that announces another attempt under the name of this one.
    fn other_announcement(&self, open: &RoundOpen, site: &Site) -> Option<SplitView> {
        let answered = self.member.as_ref()?.open();
        SplitView::of_announcements(answered, open, &site.roster.coordinator().identity)
    }

    /// What convicts a coordinator that signed another survivor set before; else this one is what it signed.
    fn other_survivors(&mut self, survivors: &Survivors, site: &Site) -> Option<SplitView> {
        let coordinator = &site.roster.coordinator().identity;
        let member = self.member.as_ref()?;
        let context2 = member.context2()?;
        if let Some(first) = &self.survivors {
            let both = [first, survivors];
            return SplitView::of_survivors(member.open(), context2, both, coordinator);
        }
        if survivors.is_signed_by(coordinator, context2) {
            self.survivors = Some(survivors.clone());
        }
        None
    }

    /// A delivery that was refused for a wrong box convicts whoever sealed it.
    fn complain(&self, directive: &Directive) -> Option<Effect> {
        let Directive::Submit(delivery) = directive else {
            return None;
        };
        let complaint = self.member.as_ref()?.complaint(delivery, &mut OsRng)?;
        let (round, dealer) = (self.key.round.0, complaint.dealer.get());
        tracing::warn!(job = %self.key.job, round, dealer, "a box does not hold what its dealer committed to; the coordinator is told");
        Some(Effect::Complain {
            key: self.key.clone(),
            complaint: Box::new(complaint),
        })
    }

    fn mask(&mut self, update: EncodedUpdate, site: &Site) -> Option<Effect> {
        let member = self
            .member
            .take()
            .expect("a member is put back before anything returns");
        match member.submit_with(update, &site.identity, site.workers) {
            Ok((member, masked, seal)) => {
                self.member = Some(member);
                self.work = Work::Masked(Arc::new(masked), seal);
                metrics::counter!("consort_participant_updates_masked_total").increment(1);
                self.upload(false)
            }
            Err(refused) => {
                let (member, rejection) = *refused;
                self.member = Some(member);
                warn_rejected(&self.key, "its own update", &rejection);
                None
            }
        }
    }

    fn upload(&self, again: bool) -> Option<Effect> {
        match &self.work {
            Work::Masked(update, seal) => Some(Effect::Upload {
                key: self.key.clone(),
                update: Arc::clone(update),
                seal: seal.clone(),
                again,
            }),
            Work::Training | Work::Trained(_) | Work::Failed => None,
        }
    }
}

fn warn_rejected(key: &AttemptKey, what: &str, rejection: &Rejection) {
    let (round, attempt, code) = (key.round.0, key.attempt.0, rejection.code());
    metrics::counter!("consort_participant_refusals_total", "code" => code).increment(1);
    tracing::warn!(job = %key.job, round, attempt, code, %rejection, "this member refuses {what}");
}
