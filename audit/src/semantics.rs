//! What a log must say to make sense: the rules of starts, jobs, rounds, releases and budgets, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use crate::blame::{Accusation, Key};
use crate::epsilon::Epsilon;
use crate::hash::Hash;
use crate::record::{Event, JobState, Phase, Record, RoundRef};
use crate::rule::{Broken, Rule};
use crate::text::{JobId, Organisation, Text};

/// Checks records against the rules, without a log around them.
///
/// # Errors
/// [`Broken`] with the first entry that breaks a rule.
pub fn check_rules<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<(), Broken> {
    let mut semantics = Semantics::default();
    (0..)
        .zip(records)
        .try_for_each(|(index, record)| semantics.take(index, record))
}

/// Reads a log from its start and keeps what the rules need.
#[derive(Debug, Default)]
pub(crate) struct Semantics {
    jobs: BTreeMap<JobId, Job>,
    /// Organisations whose newest evidence was accepted.
    accepted: BTreeSet<Organisation>,
    /// Fingerprints of the identity keys that an organisation was enrolled with.
    enrolled: BTreeMap<Organisation, BTreeSet<Hash>>,
    kept: BTreeMap<Rule, u64>,
    /// Members that were convicted, and of what, in the order of the log.
    pub(crate) convicted: Vec<String>,
    pub(crate) convicted_unenrolled: u64,
    /// Nonces under which a broker released a key.
    nonces: BTreeSet<Hash>,
    pub(crate) simulated_verdicts: u64,
    pub(crate) simulated_releases: u64,
    pub(crate) refused_releases: u64,
    pub(crate) refused_peers: u64,
    pub(crate) aborted_rounds: u64,
    pub(crate) clock_steps_back: u64,
    pub(crate) dangerous: BTreeSet<Text>,
    last_time_unix_ms: u64,
    /// Version and hash of the manifest in force.
    manifest: Option<(u64, Hash)>,
}

#[derive(Debug)]
struct Job {
    contract: Hash,
    state: Option<JobState>,
    approved: BTreeSet<Organisation>,
    /// The newest attempt, open or ended.
    newest: Option<RoundRef>,
    open: Option<Attempt>,
    released: BTreeSet<RoundRef>,
    spent: BTreeMap<Organisation, Epsilon>,
}

#[derive(Debug)]
struct Attempt {
    round: RoundRef,
    context: Hash,
    blamed: BTreeSet<Organisation>,
    cohort: BTreeSet<Organisation>,
    n_min: u32,
    phase: Option<Phase>,
    adverts: BTreeSet<Organisation>,
    updates: BTreeMap<Organisation, Hash>,
    survivors: Option<BTreeSet<Organisation>>,
}

/// The rule that an entry breaks, and how.
type Verdict<T = ()> = Result<T, (Rule, String)>;

impl Semantics {
    /// Takes the entry `index`.
    pub(crate) fn take(&mut self, index: u64, record: &Record) -> Result<(), Broken> {
        if record.time_unix_ms < self.last_time_unix_ms {
            self.clock_steps_back += 1;
        }
        self.last_time_unix_ms = record.time_unix_ms;
        self.check(index, record)
            .map_err(|(rule, what)| Broken { index, rule, what })
    }

    /// Versions only rise; the same one again, which is a restart, is the same manifest.
    fn put_in_force(&mut self, version: u64, manifest: &Hash) -> Verdict {
        if let Some((before, hash)) = &self.manifest
            && (version < *before || (version == *before && manifest != hash))
        {
            return broken(
                Rule::Manifest,
                format!("manifest version {version} follows another of version {before}"),
            );
        }
        self.manifest = Some((version, *manifest));
        self.keep(Rule::Manifest);
        Ok(())
    }

    /// How often a rule was applied.
    pub(crate) fn kept(&self, rule: Rule) -> u64 {
        self.kept.get(&rule).copied().unwrap_or_default()
    }

    fn check(&mut self, index: u64, record: &Record) -> Verdict {
        let is_start = matches!(record.event, Event::Started { .. });
        if is_start != (index == 0) {
            return broken(
                Rule::Start,
                if is_start {
                    "a second start"
                } else {
                    "the first entry is no start"
                },
            );
        }
        match &record.event {
            Event::Started { dangerous, .. } => {
                self.dangerous.extend(dangerous.iter().cloned());
                self.keep(Rule::Start);
            }
            Event::CoordinatorRestarted {
                log_size,
                dangerous,
                ..
            } => {
                if *log_size != index {
                    return broken(
                        Rule::Restart,
                        format!("it found {log_size} entries, there were {index}"),
                    );
                }
                self.dangerous.extend(dangerous.iter().cloned());
                self.keep(Rule::Restart);
            }
            Event::Enrolment {
                organisation,
                identity,
                ..
            } => {
                let keys = self.enrolled.entry(organisation.clone()).or_default();
                keys.insert(*identity);
            }
            Event::ManifestInForce { version, manifest } => {
                self.put_in_force(*version, manifest)?
            }
            Event::MemberRefused { .. } => self.refused_peers += 1,
            Event::RefusalsLeftOut { count } => {
                self.refused_peers = self.refused_peers.saturating_add(*count);
            }
            Event::EvidenceVerdict {
                organisation,
                accepted,
                simulated,
                ..
            } => {
                self.simulated_verdicts += u64::from(*simulated);
                if *accepted {
                    self.accepted.insert(organisation.clone());
                } else {
                    self.accepted.remove(organisation);
                }
            }
            Event::KeyReleased {
                organisation,
                nonce,
                simulated,
                ..
            }
            | Event::StateKeyReleased {
                organisation,
                nonce,
                simulated,
                ..
            } => {
                if !self.accepted.contains(organisation) {
                    return broken(
                        Rule::KeyRelease,
                        format!("the evidence of {organisation} was not accepted"),
                    );
                }
                if !self.nonces.insert(*nonce) {
                    return broken(
                        Rule::KeyRelease,
                        "a key was released under its nonce before",
                    );
                }
                self.simulated_releases += u64::from(*simulated);
                self.keep(Rule::KeyRelease);
            }
            Event::KeyRefused { .. } => self.refused_releases += 1,
            Event::JobSubmitted { .. }
            | Event::Vote { .. }
            | Event::JobState { .. }
            | Event::RoundOpened { .. }
            | Event::PhaseChanged { .. }
            | Event::Advert { .. }
            | Event::Shares { .. }
            | Event::UpdateAcknowledged { .. }
            | Event::Blame { .. }
            | Event::Survivors { .. }
            | Event::Spend { .. }
            | Event::RoundReleased { .. }
            | Event::RoundAborted { .. }
            | Event::ModelReleased { .. } => {
                for rule in self.check_job(record)? {
                    self.keep(rule);
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, rule: Rule) {
        *self.kept.entry(rule).or_default() += 1;
    }

    /// Checks an entry of a job; returns the rules it keeps.
    fn check_job(&mut self, record: &Record) -> Verdict<Vec<Rule>> {
        let Some(id) = &record.job else {
            return broken(Rule::Job, "it names no job");
        };
        if let Event::JobSubmitted { contract, .. } = &record.event {
            if self.jobs.insert(id.clone(), Job::new(*contract)).is_some() {
                return broken(Rule::Job, format!("job {id} was submitted before"));
            }
            return Ok(vec![Rule::Job]);
        }
        let Some(job) = self.jobs.get_mut(id) else {
            return broken(Rule::Job, format!("job {id} was not submitted"));
        };
        if matches!(record.event, Event::RoundAborted { .. }) {
            self.aborted_rounds += 1;
        }
        let mut rules = vec![Rule::Job];
        rules.extend(job.take(record, &self.accepted)?);
        if let Event::Blame {
            organisation,
            fault,
            record: proof,
            proceedings,
        } = &record.event
        {
            let accusation = Accusation {
                organisation,
                fault,
                record: proof,
                proceedings,
            };
            let context = job.attempt(record)?.context;
            let conviction = accusation
                .verify(&context, &self.enrolled)
                .map_err(|what| (Rule::Blame, what))?;
            self.convicted_unenrolled += u64::from(conviction.key == Key::Announced);
            let round = round_of(record)?;
            let caution = if conviction.one_statement {
                "; by a record of the first version, which another statement of the dealer may answer"
            } else {
                ""
            };
            self.convicted.push(format!(
                "{organisation} is convicted of a {fault} in round {} attempt {} of job {id}{caution}",
                round.number, round.attempt
            ));
            rules.push(Rule::Blame);
        }
        Ok(rules)
    }
}

impl Job {
    fn new(contract: Hash) -> Self {
        Self {
            contract,
            state: None,
            approved: BTreeSet::new(),
            newest: None,
            open: None,
            released: BTreeSet::new(),
            spent: BTreeMap::new(),
        }
    }

    fn take(&mut self, record: &Record, accepted: &BTreeSet<Organisation>) -> Verdict<Vec<Rule>> {
        match &record.event {
            Event::Vote {
                organisation,
                contract,
                approve,
            } => self.vote(organisation, contract, *approve),
            Event::JobState { state } => self.enter(*state),
            Event::RoundOpened {
                context,
                cohort,
                n_min,
                ..
            } => self.open(round_of(record)?, *context, cohort, *n_min),
            Event::Spend { by, epsilon } => self.spend(by, *epsilon),
            Event::ModelReleased { .. } => self.release_model(record.round),
            Event::RoundReleased { .. } => {
                let attempt = self.attempt(record)?;
                if attempt.survivors.is_none() {
                    return broken(Rule::Release, "its survivors were not named");
                }
                let round = attempt.round;
                self.open = None;
                self.released.insert(round);
                Ok(vec![Rule::Inside, Rule::Release])
            }
            Event::RoundAborted { .. } => {
                self.attempt(record)?;
                self.open = None;
                Ok(vec![Rule::Inside])
            }
            Event::PhaseChanged { .. }
            | Event::Advert { .. }
            | Event::Shares { .. }
            | Event::UpdateAcknowledged { .. }
            | Event::Blame { .. }
            | Event::Survivors { .. } => {
                let mut rules = vec![Rule::Inside];
                rules.extend(self.attempt(record)?.take(&record.event, accepted)?);
                Ok(rules)
            }
            Event::Started { .. }
            | Event::CoordinatorRestarted { .. }
            | Event::Enrolment { .. }
            | Event::ManifestInForce { .. }
            | Event::MemberRefused { .. }
            | Event::RefusalsLeftOut { .. }
            | Event::EvidenceVerdict { .. }
            | Event::KeyReleased { .. }
            | Event::StateKeyReleased { .. }
            | Event::KeyRefused { .. }
            | Event::JobSubmitted { .. } => Ok(Vec::new()),
        }
    }

    fn vote(
        &mut self,
        organisation: &Organisation,
        contract: &Hash,
        approve: bool,
    ) -> Verdict<Vec<Rule>> {
        if *contract != self.contract {
            return broken(
                Rule::Vote,
                format!("{organisation} voted on another contract"),
            );
        }
        if approve {
            self.approved.insert(organisation.clone());
        } else {
            self.approved.remove(organisation);
        }
        Ok(vec![Rule::Vote])
    }

    fn enter(&mut self, state: JobState) -> Verdict<Vec<Rule>> {
        if self.state.is_some_and(JobState::is_final) {
            return broken(Rule::Job, "the job had ended");
        }
        self.state = Some(state);
        Ok(Vec::new())
    }

    fn open(
        &mut self,
        round: RoundRef,
        context: Hash,
        cohort: &[Organisation],
        n_min: u32,
    ) -> Verdict<Vec<Rule>> {
        if self.state.is_some_and(JobState::is_final) {
            return broken(Rule::Job, "the job had ended");
        }
        if let Some(open) = &self.open {
            return broken(
                Rule::Opened,
                format!(
                    "round {} was neither released nor aborted",
                    open.round.number
                ),
            );
        }
        if self.newest.is_some_and(|newest| round <= newest) {
            return broken(Rule::Opened, "it is not newer than the round before");
        }
        if self
            .released
            .iter()
            .any(|released| released.number == round.number)
        {
            return broken(Rule::Opened, "that round was released before");
        }
        let members: BTreeSet<_> = cohort.iter().cloned().collect();
        if members.len() != cohort.len() {
            return broken(Rule::Opened, "its cohort names a member twice");
        }
        if let Some(member) = members
            .iter()
            .find(|member| !self.approved.contains(*member))
        {
            return broken(Rule::Consent, format!("{member} had not approved"));
        }
        self.newest = Some(round);
        self.open = Some(Attempt {
            round,
            context,
            blamed: BTreeSet::new(),
            cohort: members,
            n_min,
            phase: None,
            adverts: BTreeSet::new(),
            updates: BTreeMap::new(),
            survivors: None,
        });
        Ok(vec![Rule::Opened, Rule::Consent])
    }

    fn spend(&mut self, by: &Organisation, epsilon: Epsilon) -> Verdict<Vec<Rule>> {
        let before = self.spent.insert(by.clone(), epsilon);
        if before.is_some_and(|before| epsilon < before) {
            return broken(Rule::Budget, format!("{by} had spent more before"));
        }
        Ok(vec![Rule::Budget])
    }

    fn release_model(&self, round: Option<RoundRef>) -> Verdict<Vec<Rule>> {
        let follows = match round {
            Some(round) => self.released.contains(&round),
            None => !self.released.is_empty(),
        };
        if follows {
            Ok(vec![Rule::Model])
        } else {
            broken(Rule::Model, "no such round was released")
        }
    }

    /// The open attempt, if the record is of that one.
    fn attempt(&mut self, record: &Record) -> Verdict<&mut Attempt> {
        let round = round_of(record)?;
        match &mut self.open {
            Some(open) if open.round == round => Ok(open),
            Some(_) | None => broken(
                Rule::Inside,
                format!(
                    "round {} attempt {} is not open",
                    round.number, round.attempt
                ),
            ),
        }
    }
}

impl Attempt {
    fn take(&mut self, event: &Event, accepted: &BTreeSet<Organisation>) -> Verdict<Option<Rule>> {
        match event {
            Event::PhaseChanged { phase, .. } => {
                if self.phase.is_some_and(|before| *phase < before) {
                    return broken(Rule::Inside, "the phase goes back");
                }
                self.phase = Some(*phase);
                Ok(None)
            }
            Event::Advert { organisation, .. } => {
                self.check_member(organisation)?;
                if !accepted.contains(organisation) {
                    return broken(
                        Rule::Evidence,
                        format!("the evidence of {organisation} was not accepted"),
                    );
                }
                self.adverts.insert(organisation.clone());
                Ok(Some(Rule::Evidence))
            }
            Event::Shares { organisation, .. } => self.check_member(organisation).map(|()| None),
            Event::UpdateAcknowledged { organisation, tree } => {
                self.acknowledge(organisation, *tree)
            }
            Event::Blame { organisation, .. } => {
                self.check_member(organisation)?;
                if !self.blamed.insert(organisation.clone()) {
                    return broken(
                        Rule::Blame,
                        format!("{organisation} was convicted in this attempt before"),
                    );
                }
                Ok(None)
            }
            Event::Survivors { members, .. } => self.name_survivors(members),
            Event::Started { .. }
            | Event::CoordinatorRestarted { .. }
            | Event::Enrolment { .. }
            | Event::ManifestInForce { .. }
            | Event::MemberRefused { .. }
            | Event::RefusalsLeftOut { .. }
            | Event::EvidenceVerdict { .. }
            | Event::KeyReleased { .. }
            | Event::StateKeyReleased { .. }
            | Event::KeyRefused { .. }
            | Event::JobSubmitted { .. }
            | Event::Vote { .. }
            | Event::JobState { .. }
            | Event::RoundOpened { .. }
            | Event::Spend { .. }
            | Event::RoundReleased { .. }
            | Event::RoundAborted { .. }
            | Event::ModelReleased { .. } => Ok(None),
        }
    }

    fn acknowledge(&mut self, organisation: &Organisation, tree: Hash) -> Verdict<Option<Rule>> {
        self.check_member(organisation)?;
        if !self.adverts.contains(organisation) {
            return broken(Rule::Update, format!("{organisation} sent no advert"));
        }
        // A coordinator that restarts may say again what it had said; only another update is a second one.
        match self.updates.get(organisation) {
            Some(before) if *before == tree => return Ok(Some(Rule::Update)),
            Some(_) => return broken(Rule::Update, format!("{organisation} has a second update")),
            None => {}
        }
        if self.survivors.is_some() {
            return broken(Rule::Update, "the survivors were named before");
        }
        self.updates.insert(organisation.clone(), tree);
        Ok(Some(Rule::Update))
    }

    fn name_survivors(&mut self, members: &[Organisation]) -> Verdict<Option<Rule>> {
        let named: BTreeSet<_> = members.iter().cloned().collect();
        if named.len() != members.len() {
            return broken(Rule::Survivors, "a member is named twice");
        }
        if self
            .survivors
            .as_ref()
            .is_some_and(|before| *before != named)
        {
            return broken(Rule::Survivors, "others were named before");
        }
        if let Some(member) = named
            .iter()
            .find(|member| !self.updates.contains_key(*member))
        {
            return broken(
                Rule::Survivors,
                format!("{member} has no acknowledged update"),
            );
        }
        if (named.len() as u64) < u64::from(self.n_min) {
            return broken(
                Rule::Survivors,
                format!("{} members, n_min is {}", named.len(), self.n_min),
            );
        }
        self.survivors = Some(named);
        Ok(Some(Rule::Survivors))
    }

    fn check_member(&self, organisation: &Organisation) -> Verdict {
        if self.cohort.contains(organisation) {
            Ok(())
        } else {
            broken(Rule::Inside, format!("{organisation} is not of the cohort"))
        }
    }
}

fn round_of(record: &Record) -> Verdict<RoundRef> {
    record
        .round
        .map_or_else(|| broken(Rule::Inside, "it names no round"), Ok)
}

fn broken<T>(rule: Rule, what: impl Into<String>) -> Verdict<T> {
    Err((rule, what.into()))
}
