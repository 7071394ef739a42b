//! A job after a restart: its events are fed again to the same machines, and it goes on where it stood.

use std::sync::Arc;

use consort_aggregation::Digest;
use consort_model::OptimizerState;
use consort_round::Millis;
use consort_round::coordinator::{Accepted, Input};
use consort_round::messages::{RoundKeyJudge, RoundKeys};
use consort_storage::{StoredEvent, StreamId, Version};

use super::Services;
use super::core::{Arrival, Driver, Now};
use super::rounds::{released_keys, state_key};
use crate::error::Fault;
use crate::jobs::{Final, JobEvent, Stage, Stamped};
use crate::report_file;

/// Time does not pass on replay, except where an expiry is stored.
const STANDSTILL: Millis = Millis(0);

/// Later than every deadline.
const EXPIRED: Millis = Millis(u64::MAX);

/// Stored adverts were judged before they were stored; certificates may have run out since.
struct JudgedBefore;

impl RoundKeyJudge for JudgedBefore {
    fn judge(&self, _: &RoundKeys, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

impl Driver {
    /// Takes up a job from its stored events. A job that has not ended notes the restart and goes on.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read or holds what no run of this program leaves.
    pub fn recover(services: Arc<Services>, stream: &StreamId, now: Now) -> Result<Self, Fault> {
        let stored = services.store.read(stream, Version::START)?;
        let job = stream.as_str().to_owned();
        let mut events = stored.iter();
        let first = events
            .next()
            .map(|stored| decode(&job, stored))
            .transpose()?;
        let Some(Stamped {
            event: JobEvent::Submitted(contract),
            ..
        }) = &first
        else {
            return Err(Fault::Replay {
                job,
                problem: "its first event is not its submission".to_owned(),
            });
        };
        let mut driver = Self::empty(services, (**contract).clone(), now)?;
        let mut versions = stored.iter().map(|stored| stored.version);
        for stamped in first
            .into_iter()
            .map(Ok)
            .chain(events.map(|stored| decode(&job, stored)))
        {
            driver.replay(stamped?)?;
            driver.replayed(versions.next().unwrap_or_default());
        }
        driver.restore_model()?;
        driver.remove_stale_updates()?;
        if driver.state.has_ended() {
            driver.flush()?;
            driver.publish_quietly();
            return Ok(driver);
        }
        if let Some(round) = &mut driver.round {
            round.rearm(now.mono);
        }
        driver.commit(JobEvent::Restarted, &[], now)?;
        tracing::info!(job = %driver.id(), phase = driver.phase(), "a job goes on after the restart");
        driver.pass_over_convicts(now)?;
        driver.advance(now)?;
        Ok(driver)
    }

    fn replay(&mut self, stamped: Stamped) -> Result<(), Fault> {
        if let JobEvent::Advertised(advert) = &stamped.event {
            let key = self.arrival_key(advert.member)?;
            if let Some(arrival) = self
                .services
                .store
                .get(&key)?
                .as_deref()
                .and_then(Arrival::from_bytes)
            {
                self.simulated |= arrival.simulated;
                self.arrivals.insert(advert.member, arrival);
            }
        }
        if matches!(&stamped.event, JobEvent::Ended(ending) if ending.state == Final::Completed) {
            self.find_released()?;
        }
        let Some((input, time)) = self.input_of(&stamped.event)? else {
            self.adopt(stamped, STANDSTILL);
            return Ok(());
        };
        let round = self
            .round
            .take()
            .ok_or_else(|| self.unfit("an input outside a round"))?;
        let before = round.phase();
        let transition = round.handle(input, time);
        self.round = Some(transition.round);
        match transition.outcome {
            Ok(Accepted::New) => {
                self.note(stamped, Some(before));
                Ok(())
            }
            Ok(Accepted::Repeat | Accepted::Idle) => {
                Err(self.unfit("an input that changes nothing"))
            }
            Err(rejection) => Err(self.unfit(&rejection.to_string())),
        }
    }

    fn input_of(&self, event: &JobEvent) -> Result<Option<(Input, Millis)>, Fault> {
        let input = match event {
            JobEvent::Advertised(advert) => {
                let open = self.open.clone();
                let open = open.ok_or_else(|| self.unfit("an advert outside a round"))?;
                let verified = advert.clone().verify(&open, &JudgedBefore);
                Input::Advertise(verified.map_err(|rejection| self.unfit(&rejection.to_string()))?)
            }
            JobEvent::Shared(message) => Input::ShareKeys(message.clone()),
            JobEvent::Sealed { seal, .. } => Input::Seal(seal.clone()),
            JobEvent::Survivors(survivors) => Input::AnnounceSurvivors(survivors.clone()),
            JobEvent::Confirmed(confirmation) => Input::Confirm(confirmation.clone()),
            JobEvent::Unmasked(message) => Input::Unmask(message.clone()),
            JobEvent::Departed(member) => Input::Depart(*member),
            JobEvent::PhaseExpired => return Ok(Some((Input::Tick, EXPIRED))),
            JobEvent::Submitted(_)
            | JobEvent::Voted(_)
            | JobEvent::RoundOpened(_)
            | JobEvent::Blamed(_)
            | JobEvent::Released(_)
            | JobEvent::Aborted { .. }
            | JobEvent::Restarted
            | JobEvent::Ended(_) => return Ok(None),
        };
        Ok(Some((input, STANDSTILL)))
    }

    /// The optimizer's state after the newest released round, or the sum of a job that asks.
    fn restore_model(&mut self) -> Result<(), Fault> {
        let Some(newest) = self
            .state
            .rounds
            .iter()
            .rev()
            .find(|round| round.aborted.is_empty())
        else {
            return Ok(());
        };
        let key = state_key(self.id(), newest.key.round.0)?;
        let bytes = self.services.blobs.read(&key, u64::MAX)?;
        if self.state.contract.job.query().is_some() {
            let answer = report_file::sum_from_bytes(&bytes);
            self.answer = Some(answer.ok_or_else(|| self.unfit("the stored sum is cut"))?);
            return Ok(());
        }
        let state = OptimizerState::from_bytes(self.state.contract.job.model(), &bytes);
        let state = state.map_err(|error| self.unfit(&error.to_string()))?;
        if crate::release::model_digest(&self.state.contract.job, &state) != self.state.model {
            return Err(self.unfit("the stored model is not the one that was released"));
        }
        self.optimizer = state;
        Ok(())
    }

    fn find_released(&mut self) -> Result<(), Fault> {
        let (model, manifest) = released_keys(self.id())?;
        let hash = |key| Ok::<_, Fault>(Digest::of(&self.services.blobs.read(key, u64::MAX)?));
        self.released = Some((hash(&model)?, hash(&manifest)?));
        Ok(())
    }

    fn unfit(&self, problem: &str) -> Fault {
        let stage = match &self.state.stage {
            Stage::Voting => "voting",
            Stage::Running => "running",
            Stage::Ended(_) => "ended",
        };
        Fault::Replay {
            job: self.id().to_string(),
            problem: format!("{problem} (while {stage})"),
        }
    }
}

fn decode(job: &str, stored: &StoredEvent) -> Result<Stamped, Fault> {
    Stamped::decode(&stored.bytes).map_err(|source| Fault::Event {
        job: job.to_owned(),
        source,
    })
}
