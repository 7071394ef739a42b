//! What follows from a state without anybody asking: rounds are opened, survivors named, sums opened, models released.

use std::collections::BTreeMap;
use std::time::Instant;

use consort_aggregation::Digest;
use consort_contract::{Algorithm, ApprovedVotes, Job, Query, ServerStep};
use consort_model::Parameters;
use consort_round::coordinator::{Accepted, Input, Opening, Round};
use consort_round::{Attempt, RoundNumber, RoundOpen, RoundResult, RoundTerms};
use consort_storage::{BlobError, BlobKey, BlobStore};

use super::core::{Driver, Now};
use crate::error::{Fault, Refusal, RefusalKind};
use crate::jobs::{Ending, Final, JobEvent, NextStep, Released, Stage};
use crate::manifest::Manifest;
use crate::model_file;
use crate::release::{self, SumError};
use crate::report_file;

impl Driver {
    /// Does everything that is due, stores it, and shows what holds then.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn advance(&mut self, now: Now) -> Result<(), Fault> {
        if self.deadline().is_some_and(|deadline| now.mono >= deadline) && self.round.is_some() {
            self.feed(Input::Tick, JobEvent::PhaseExpired, &[], now)?
                .ok();
        }
        while self.proceed(now)? {}
        self.flush()?;
        self.publish();
        Ok(())
    }

    /// Takes one step that is due; false when there is none.
    fn proceed(&mut self, now: Now) -> Result<bool, Fault> {
        match self.state.stage {
            Stage::Ended(_) => return Ok(false),
            Stage::Voting => return self.close_vote(now),
            Stage::Running => {}
        }
        let Some(round) = &self.round else {
            match self.state.next_step() {
                NextStep::Open(round, attempt) => self.open_attempt(round, attempt, now)?,
                NextStep::Release => {
                    // The last round's outcome does not wait for the model's file.
                    self.publish();
                    self.release_model(now)?;
                }
                NextStep::Fail { code, reason } => self.fail(code, reason, now)?,
            }
            return Ok(true);
        };
        if let Some(collecting) = round.survivors_wanted() {
            let survivors = collecting.announce(&self.services.identity);
            self.services
                .crash
                .reached("before-survivors", self.round_number());
            let input = Input::AnnounceSurvivors(survivors.clone());
            let announced = self.feed(input, JobEvent::Survivors(survivors), &[], now)?;
            // Whoever is not in the set by now never will be: a late update leaves no trace.
            self.close_unsealed_uploads(None)?;
            return Ok(announced.is_ok());
        }
        match self.round.take() {
            Some(Round::Opened(opening)) => self.release_round(&opening, now)?,
            Some(Round::Aborted(reason)) => self.abort(reason.code(), reason.to_string(), now)?,
            round => {
                self.round = round;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn close_vote(&mut self, now: Now) -> Result<bool, Fault> {
        if let Some(no) = self.state.votes.values().find(|vote| !vote.approve) {
            let reason = format!("{} voted no: {}", no.organisation, no.reason);
            self.fail("vote_refused", reason, now)?;
            return Ok(true);
        }
        if now.mono < self.voting_ends {
            return Ok(false);
        }
        let members = self.state.contract.members();
        let silent: Vec<_> = members
            .iter()
            .filter(|name| !self.state.votes.contains_key(*name))
            .map(ToString::to_string)
            .collect();
        let reason = format!(
            "{} did not vote in time; start their participants and submit the job again",
            crate::jobs::named(silent.into_iter())
        );
        self.fail("voting_expired", reason, now)?;
        Ok(true)
    }

    fn open_attempt(
        &mut self,
        round: RoundNumber,
        attempt: Attempt,
        now: Now,
    ) -> Result<(), Fault> {
        let services = self.services.clone();
        let contract = &self.state.contract;
        let identities = contract.identities(&services.roster);
        let votes = self.state.votes.values().cloned();
        let votes = ApprovedVotes::verify(&contract.id, &contract.hash, &identities, votes)
            .map_err(|error| Fault::Replay {
                job: contract.id.to_string(),
                problem: error.to_string(),
            })?;
        let (job, cohort) = (contract.id.clone(), contract.cohort(&services.roster));
        let (thresholds, hash, schema) = (
            *contract.job.thresholds(),
            contract.hash,
            contract.plan.schema(),
        );
        // The announcement is bound to a log that has everything up to now.
        self.flush()?;
        let terms = RoundTerms {
            consortium: services.roster.consortium().clone(),
            job,
            round,
            attempt,
            cohort,
            thresholds,
            roster_root: services.roster.root(),
            contract: hash,
            votes: votes.hash(),
            model: self.state.model,
            schema,
            log_head: services.recorder.announce()?,
        };
        let open = RoundOpen::new(terms, &services.identity);
        self.commit(JobEvent::RoundOpened(Box::new(open)), &[], now)?;
        tracing::debug!(job = %self.id(), round = round.0, attempt = attempt.0, "a round is opened");
        services.crash.reached("round-opened", round.0);
        self.pass_over_convicts(now)
    }

    /// Whom an earlier attempt of this job convicted is not asked again: it could spend every round. (A conviction in the
    /// attempt that runs changes nothing in it: its shares are dealt.)
    pub(super) fn pass_over_convicts(&mut self, now: Now) -> Result<(), Fault> {
        let Some(attempt) = &self.state.attempt else {
            return Ok(());
        };
        let convicts: Vec<_> = self
            .state
            .contract
            .indexed()
            .filter(|(index, name)| {
                self.state.convicted.contains_key(*name) && !attempt.blamed.contains(index)
            })
            .map(|(index, name)| (index, name.clone()))
            .collect();
        for (index, name) in convicts {
            let left = self.feed(Input::Depart(index), JobEvent::Departed(index), &[], now)?;
            if left == Ok(Accepted::New) {
                tracing::warn!(job = %self.id(), member = %name, "a convicted member is not asked any more");
            }
        }
        Ok(())
    }

    fn abort(&mut self, code: &str, reason: String, now: Now) -> Result<(), Fault> {
        tracing::warn!(job = %self.id(), round = self.round_number(), code, reason, "an attempt ended without a sum");
        metrics::counter!("consort_rounds_aborted_total", "code" => code.to_owned()).increment(1);
        let key = self
            .state
            .attempt
            .as_ref()
            .map(|attempt| attempt.key.clone());
        self.commit(
            JobEvent::Aborted {
                code: code.to_owned(),
                reason: reason.clone(),
            },
            &[],
            now,
        )?;
        if let Some(key) = key {
            self.remove_updates(&release::updates_of(&key))?;
            self.tell_aborted(&key, code, &reason);
        }
        Ok(())
    }

    fn release_round(&mut self, opening: &Opening, now: Now) -> Result<(), Fault> {
        let services = self.services.clone();
        let Some(key) = self
            .state
            .attempt
            .as_ref()
            .map(|attempt| attempt.key.clone())
        else {
            return Ok(());
        };
        let contract = &self.state.contract;
        let started = Instant::now();
        let sum = match release::open_sum(
            opening,
            &key,
            contract.plan.schema(),
            &*services.blobs,
            services.workers,
        ) {
            Ok(sum) => sum,
            Err(error @ SumError::NotSealed(_)) => {
                return self.abort("abort_update_damaged", error.to_string(), now);
            }
            Err(SumError::Blob(error)) => return Err(error.into()),
        };
        let sum_took = started.elapsed();
        let survivors = u32::try_from(opening.survivors.len()).unwrap_or(u32::MAX);
        let workers = services.workers;
        let stepped = release::step(&self.optimizer, &key, contract, &sum, survivors, workers);
        let (stepped, noised_loss) = match stepped {
            Ok(stepped) => stepped,
            Err(error) => {
                self.abort(error.code(), error.to_string(), now)?;
                return self.fail(error.code(), format!("round {}: {error}", key.round.0), now);
            }
        };
        let step_took = started.elapsed().saturating_sub(sum_took);
        let goes_on = key.round.0 < contract.job.algorithm().rounds();
        let state = state_key(&key.job, key.round.0)?;
        // What is only read from the new state is made while the disk takes it.
        let (stored, digests) = std::thread::scope(|scope| {
            let storing = scope.spawn(|| {
                put_blob(&*services.blobs, &state, |put| match contract.plan.step() {
                    ServerStep::Gradient(_) | ServerStep::Average(_) => stepped.encode(put),
                    ServerStep::Report => put(&report_file::sum_to_bytes(sum.values())),
                })
            });
            let model = release::model_digest(&contract.job, &stepped);
            let fetched = goes_on.then(|| contract.job.announced(&stepped).to_le_bytes().into());
            let sum = sum.digest_with(workers);
            let stored = storing.join();
            let stored = stored.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (stored, (sum, model, fetched))
        });
        stored?;
        let answer = match contract.plan.step() {
            ServerStep::Gradient(_) | ServerStep::Average(_) => None,
            ServerStep::Report => Some(sum.values().to_vec()),
        };
        let (sum, model, fetched) = digests;
        let survivors = opening.survivors.clone();
        let result = RoundResult::new(opening.context, survivors, sum, &services.identity);
        let released = Released {
            result: result.clone(),
            model,
            noised_loss,
            phase_ms: self.phase_ms(now),
        };
        tracing::debug!(
            job = %key.job,
            round = key.round.0,
            sum_ms = sum_took.as_millis(),
            step_ms = step_took.as_millis(),
            store_ms = started.elapsed().saturating_sub(sum_took + step_took).as_millis(),
            "opened"
        );
        services.crash.reached("before-release", key.round.0);
        self.commit(JobEvent::Released(Box::new(released)), &[], now)?;
        self.optimizer = stepped;
        self.answer = answer;
        self.model_bytes = fetched.map(|bytes| (model, bytes));
        self.tell_released(&key, &result);
        metrics::counter!("consort_rounds_released_total").increment(1);
        metrics::gauge!("consort_epsilon_spent", "job" => key.job.to_string())
            .set(self.state.contract.epsilon_after(self.state.spent_rounds));
        self.flush()?;
        services.crash.reached("after-release", key.round.0);
        self.remove_updates(&release::updates_of(&key))
    }

    fn release_model(&mut self, now: Now) -> Result<(), Fault> {
        let services = self.services.clone();
        let contract = &self.state.contract;
        let attestation = if self.simulated {
            "simulated"
        } else {
            "hardware"
        };
        let parameters = self.optimizer.parameters().hash().to_string();
        let metadata = BTreeMap::from([
            ("consort.job".to_owned(), contract.id.to_string()),
            ("consort.contract".to_owned(), contract.hash.to_string()),
            ("consort.parameters".to_owned(), parameters),
            ("consort.attestation".to_owned(), attestation.to_owned()),
        ]);
        let (model_key, manifest_key) = released_keys(&contract.id)?;
        let failed = |problem: String| Fault::Release {
            job: contract.id.to_string(),
            problem,
        };
        let file = match &self.answer {
            None => model_file::write(contract.job.model(), &self.optimizer, metadata)
                .map_err(failed)?,
            Some(sum) => {
                let members = self
                    .state
                    .rounds
                    .last()
                    .map_or(0, |round| round.survivors.len());
                let members = u32::try_from(members).unwrap_or(u32::MAX);
                report_file::write(contract, sum, members)
                    .map_err(|error| failed(error.to_string()))?
            }
        };
        put_blob(&*services.blobs, &model_key, |put| put(&file))?;
        // An interrupted release has left its own file, which is the one that stays.
        let file = services.blobs.read(&model_key, u64::MAX)?;
        let manifest = Manifest::of(
            &self.state,
            &services.roster,
            self.simulated,
            &services.dangerous,
            &file,
        );
        put_blob(&*services.blobs, &manifest_key, |put| {
            put(&manifest.sign(&services.identity))
        })?;
        let manifest = services.blobs.read(&manifest_key, u64::MAX)?;
        self.released = Some((Digest::of(&file), Digest::of(&manifest)));
        self.end(Ending::new(Final::Completed, "", String::new()), now)
    }

    fn fail(&mut self, code: &str, reason: String, now: Now) -> Result<(), Fault> {
        tracing::warn!(job = %self.id(), code, reason, "the job failed");
        self.end(Ending::new(Final::Failed, code, reason), now)
    }

    /// Ends the job.
    pub(super) fn end(&mut self, ending: Ending, now: Now) -> Result<(), Fault> {
        tracing::info!(job = %self.id(), state = ending.state.name(), "the job ended");
        metrics::counter!("consort_jobs_ended_total", "state" => ending.state.name()).increment(1);
        self.commit(JobEvent::Ended(ending), &[], now)?;
        self.remove_updates(&release::updates_of_job(self.id()))
    }

    pub(super) fn round_number(&self) -> u32 {
        self.state
            .attempt
            .as_ref()
            .map_or(0, |attempt| attempt.key.round.0)
    }
}

/// Writes a blob that is there once; one that is there already is kept.
fn put_blob(
    blobs: &dyn BlobStore,
    key: &BlobKey,
    content: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), BlobError>) -> Result<(), BlobError>,
) -> Result<(), Fault> {
    let write = || {
        let mut writer = blobs.begin(key)?;
        content(&mut |piece| writer.write(piece).map(drop))?;
        writer.finish()
    };
    match write() {
        Ok(_) | Err(BlobError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Where the optimizer's state after a round lies.
pub(super) fn state_key(job: &consort_contract::JobId, round: u32) -> Result<BlobKey, Fault> {
    Ok(BlobKey::new(format!("models/{job}/{round}"))?)
}

/// Where a released model and its manifest lie.
pub(crate) fn released_keys(job: &consort_contract::JobId) -> Result<(BlobKey, BlobKey), Fault> {
    Ok((
        BlobKey::new(format!("released/{job}/model"))?,
        BlobKey::new(format!("released/{job}/manifest"))?,
    ))
}

/// The parameters that a job evaluates, as the job that it names released them; nothing for a job that evaluates none. Blocks.
///
/// # Errors
/// The inner [`Refusal`] when that job released no such model.
pub(super) fn released_parameters(
    blobs: &dyn BlobStore,
    job: &Job,
) -> Result<Result<Option<Parameters>, Refusal>, Fault> {
    let Algorithm::Query(Query::Evaluate(evaluate)) = job.algorithm() else {
        return Ok(Ok(None));
    };
    let (key, _) = released_keys(&evaluate.model_of)?;
    let refused = |problem: &dyn std::fmt::Display| {
        let of = &evaluate.model_of;
        let message = format!("job {of} released no model to evaluate: {problem}");
        Refusal::new(RefusalKind::Missing, "evaluate_model_unknown", message)
    };
    let file = match blobs.read(&key, u64::MAX) {
        Ok(file) => file,
        Err(BlobError::Missing { .. }) => {
            return Ok(Err(refused(
                &"it has not completed, or there is none of this name",
            )));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match model_file::read(job.model(), &file) {
        Ok(parameters) if *parameters.hash().as_bytes() == evaluate.parameters => {
            Ok(Some(parameters))
        }
        Ok(_) => Err(refused(
            &"its parameters have another hash than evaluate.parameters; their own stands in the metadata of the model's file",
        )),
        Err(error) => Err(refused(&error)),
    })
}
