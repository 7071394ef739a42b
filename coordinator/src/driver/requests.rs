//! Requests to a job: checked, stored, answered.

use consort_aggregation::{Digest, MemberIndex};
use consort_attestation::Reason;
use consort_audit::{Event as AuditEvent, Fact, RoundRef};
use consort_contract::{OrganisationId, Vote};
use consort_daemon::peers::OLDER_MANIFEST;
use consort_daemon::record::{code, job, organisation};
use consort_proto::convert::AttemptKey;
use consort_round::MemberMessage;
use consort_round::blame::Complaint;
use consort_round::coordinator::Input;
use consort_round::rejection::Rejection;
use consort_storage::RecordChange;

use super::board::{Instance, OwnSession};
use super::command::{Answer, Command};
use super::core::{Arrival, Driver, Now};
use crate::error::{Fault, Refusal, RefusalKind};
use crate::jobs::{Ending, Final, JobEvent, Stage};

/// A request's outcome: whose fault it is decides how deep it lies.
type Outcome = Result<Result<Answer, Refusal>, Fault>;

impl Driver {
    /// Handles one request. What follows from it is done by [`Driver::advance`].
    ///
    /// # Errors
    /// [`Fault`].
    pub fn handle(&mut self, command: Command, now: Now) -> Outcome {
        match command {
            Command::Vote(vote) => self.vote(vote, now),
            Command::Connected(member, instance) => self.connected(&member, instance, now),
            Command::Message { from, key, message } => self.message(&from, &key, *message, now),
            Command::Upload { from, key } => self.upload(&from, &key),
            Command::Complaint {
                from,
                key,
                complaint,
            } => self.complaint(&from, &key, &complaint, now),
            Command::UploadRefused {
                from,
                key,
                refusal,
                seal,
            } => {
                if let Some(seal) = seal
                    && self.speaker(&from, &key).is_ok()
                {
                    self.blame(&Input::Seal(*seal), now)?;
                }
                self.refused(&from, &key, refusal)
            }
            Command::Model { from, model } => Ok(self.model(&from, &model)),
            Command::Cancel => self.cancel(now),
        }
    }

    fn vote(&mut self, vote: Vote, now: Now) -> Outcome {
        let contract = &self.state.contract;
        let Some(identity) = contract
            .identities(&self.services.roster)
            .get(&vote.organisation)
            .copied()
        else {
            return Ok(Err(stranger(&vote.organisation)));
        };
        if let Err(error) = vote.verify(&contract.id, &contract.hash, &identity) {
            return Ok(Err(Refusal::new(
                RefusalKind::Forbidden,
                error.code(),
                error,
            )));
        }
        match self.state.votes.get(&vote.organisation) {
            Some(known) if *known == vote => return Ok(Ok(Answer::Stored)),
            Some(_) => {
                let message = format!(
                    "{} has voted on job {} and votes once",
                    vote.organisation, contract.id
                );
                return Ok(Err(Refusal::new(
                    RefusalKind::Conflict,
                    "vote_cast_already",
                    message,
                )));
            }
            None => {}
        }
        if self.state.stage != Stage::Voting {
            let message = format!("job {} is not voted on any more", contract.id);
            return Ok(Err(Refusal::new(
                RefusalKind::NotNow,
                "vote_closed",
                message,
            )));
        }
        self.commit(JobEvent::Voted(vote), &[], now)?;
        Ok(Ok(Answer::Stored))
    }

    /// A process that did not advertise cannot go on with the attempt: the secrets of the one that did are gone.
    fn connected(&mut self, member: &OrganisationId, instance: Instance, now: Now) -> Outcome {
        let departed = self.state.contract.index_of(member).filter(|index| {
            self.arrivals
                .get(index)
                .is_some_and(|arrival| arrival.instance != instance)
        });
        if let Some(index) = departed {
            tracing::info!(job = %self.id(), member = %member, "a member was restarted and leaves this attempt");
            self.depart(index, now)?;
        }
        Ok(Ok(Answer::Stored))
    }

    /// Notes that a member will not answer any more in this attempt.
    fn depart(&mut self, index: MemberIndex, now: Now) -> Result<(), Fault> {
        // A machine that knows of the departure already is idle.
        self.feed(Input::Depart(index), JobEvent::Departed(index), &[], now)?
            .ok();
        self.close_unsealed_uploads(Some(index))
    }

    fn message(
        &mut self,
        from: &OrganisationId,
        key: &AttemptKey,
        message: MemberMessage,
        now: Now,
    ) -> Outcome {
        let (index, said_by) = match self.speaker(from, key) {
            Ok(index) => (index, member_of(&message)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if index != said_by {
            let refusal = Refusal::new(
                RefusalKind::Forbidden,
                "speaks_for_another",
                "a member speaks for itself only",
            );
            return self.refused(from, key, refusal);
        }
        let (input, event, changes) = match self.checked(message, index, from) {
            Ok(checked) => checked,
            Err(Ok(rejection)) => return self.refused(from, key, rejection.into()),
            Err(Err(fault)) => return Err(fault),
        };
        let arrival =
            matches!(event, JobEvent::Advertised(_)).then(|| self.arrivals.get(&index).copied());
        if let JobEvent::Advertised(_) = &event
            && let Some(link) = self.services.board.link(from)
        {
            self.arrivals.entry(index).or_insert(Arrival {
                instance: link.instance,
                simulated: link.simulated,
            });
        }
        let is_advert = arrival.is_some();
        match self.feed(input, event, &changes, now)? {
            Ok(_) => {
                if is_advert {
                    self.services.board.readmit(from.as_str());
                }
                self.simulated |= self
                    .arrivals
                    .get(&index)
                    .is_some_and(|arrival| arrival.simulated);
                Ok(Ok(Answer::Stored))
            }
            Err(rejection) => {
                if arrival == Some(None) {
                    self.arrivals.remove(&index);
                }
                if let Rejection::Evidence { reason, .. } = &rejection
                    && is_about_the_machine(reason)
                {
                    let board = &self.services.board;
                    board.quarantine(from.as_str(), reason, OwnSession::Failed, now.unix_ms);
                }
                self.refused(from, key, rejection.into())
            }
        }
    }

    /// The input, the event to store and the records beside it.
    fn checked(
        &mut self,
        message: MemberMessage,
        index: MemberIndex,
        from: &OrganisationId,
    ) -> Result<(Input, JobEvent, Vec<RecordChange>), Result<Rejection, Fault>> {
        Ok(match message {
            MemberMessage::Advert(advert) => {
                let Some(open) = self.open.clone() else {
                    let rejection = Rejection::WrongPhase {
                        message: "advert",
                        phase: "between rounds",
                    };
                    return Err(Ok(rejection));
                };
                let verified = advert
                    .clone()
                    .verify(&open, &*self.services.judge)
                    .map_err(Ok)?;
                let Some(link) = self.services.board.link(from) else {
                    return Err(Ok(Rejection::NotAsked(index)));
                };
                let arrival = Arrival {
                    instance: link.instance,
                    simulated: link.simulated,
                };
                let key = self.arrival_key(index).map_err(Err)?;
                let put = RecordChange::Put {
                    key,
                    value: arrival.to_bytes(),
                };
                (
                    Input::Advertise(verified),
                    JobEvent::Advertised(advert),
                    vec![put],
                )
            }
            MemberMessage::ShareKeys(message) => (
                Input::ShareKeys(message.clone()),
                JobEvent::Shared(message),
                Vec::new(),
            ),
            MemberMessage::Seal(seal) => {
                let bytes = self.state.contract.plan.schema().packed_len();
                metrics::counter!("consort_update_bytes_total").increment(bytes);
                (
                    Input::Seal(seal.clone()),
                    JobEvent::Sealed { seal, bytes },
                    Vec::new(),
                )
            }
            MemberMessage::Confirmation(message) => (
                Input::Confirm(message.clone()),
                JobEvent::Confirmed(message),
                Vec::new(),
            ),
            MemberMessage::Unmask(message) => (
                Input::Unmask(message.clone()),
                JobEvent::Unmasked(message),
                Vec::new(),
            ),
        })
    }

    /// The model of the running round; one buffer for all members.
    fn model(&mut self, from: &OrganisationId, model: &Digest) -> Result<Answer, Refusal> {
        if self.state.contract.index_of(from).is_none() {
            return Err(stranger(from));
        }
        if *model != self.state.model {
            let message =
                "this is not the model of the running round; take the one that was announced last";
            return Err(Refusal::new(
                RefusalKind::Missing,
                "model_not_current",
                message,
            ));
        }
        let (job, optimizer) = (&self.state.contract.job, &self.optimizer);
        let announced = || job.announced(optimizer).to_le_bytes().into();
        let (of, bytes) = self
            .model_bytes
            .get_or_insert_with(|| (*model, announced()));
        if of != model {
            (*of, *bytes) = (*model, announced());
        }
        Ok(Answer::Model(bytes.clone()))
    }

    /// A complaint counts if it convicts the dealer before everybody; one that does not is refused by name.
    fn complaint(
        &mut self,
        from: &OrganisationId,
        key: &AttemptKey,
        complaint: &Complaint,
        now: Now,
    ) -> Outcome {
        let index = match self.speaker(from, key) {
            Ok(index) => index,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let round = self.round.as_ref();
        let record = round.and_then(|round| round.complaint(index, complaint));
        match record {
            Some(record) => {
                self.convict(record, now)?;
                // It cannot submit in this attempt; nobody waits for it any more.
                if !self.has_sealed(index) {
                    self.depart(index, now)?;
                }
                Ok(Ok(Answer::Stored))
            }
            None => {
                let message = "the complaint does not convict the dealer; it counts while updates are collected only";
                let refusal = Refusal::new(RefusalKind::Invalid, "blame_unproven", message);
                self.refused(from, key, refusal)
            }
        }
    }

    fn cancel(&mut self, now: Now) -> Outcome {
        if self.state.has_ended() {
            let message = format!("job {} has ended already", self.id());
            return Ok(Err(Refusal::new(RefusalKind::NotNow, "job_ended", message)));
        }
        let reason = "an operator cancelled the job".to_owned();
        self.end(Ending::new(Final::Cancelled, "cancelled", reason), now)?;
        Ok(Ok(Answer::Stored))
    }

    /// The index of a member that speaks about the attempt that runs.
    pub(super) fn speaker(
        &self,
        from: &OrganisationId,
        key: &AttemptKey,
    ) -> Result<MemberIndex, Refusal> {
        let index = self
            .state
            .contract
            .index_of(from)
            .ok_or_else(|| stranger(from))?;
        if self
            .state
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.key == *key)
        {
            return Ok(index);
        }
        let message = format!(
            "round {} attempt {} of job {} is not running",
            key.round.0, key.attempt.0, key.job
        );
        Err(Refusal::new(
            RefusalKind::NotNow,
            "attempt_not_running",
            message,
        ))
    }

    /// Keeps a refusal in the audit log, by name and reason. A message that only came at the wrong time is nobody's fault.
    fn refused(&mut self, from: &OrganisationId, key: &AttemptKey, refusal: Refusal) -> Outcome {
        metrics::counter!("consort_messages_refused_total", "code" => refusal.code).increment(1);
        if refusal.kind == RefusalKind::NotNow {
            return Ok(Err(refusal));
        }
        tracing::warn!(job = %key.job, round = key.round.0, member = %from, code = refusal.code, reason = %refusal, "a member's message is refused");
        // What was accepted before comes first, so that the log tells the story in its order.
        self.flush()?;
        let event = AuditEvent::MemberRefused {
            organisation: organisation(from.as_str()),
            code: code(refusal.code),
        };
        let round = RoundRef {
            number: key.round.0.into(),
            attempt: key.attempt.0,
        };
        let fact = Fact::of_round(job(&key.job), round, event);
        self.services.recorder.append(vec![fact])?;
        Ok(Err(refusal))
    }
}

/// Whether a machine failed. One that passes and states something else, which is checked last, is a member that has taken another
/// manifest already, or not yet: its advert is refused, and that is all.
fn is_about_the_machine(reason: &str) -> bool {
    reason != OLDER_MANIFEST && reason != Reason::ReportData.code()
}

fn member_of(message: &MemberMessage) -> MemberIndex {
    match message {
        MemberMessage::Advert(advert) => advert.member,
        MemberMessage::ShareKeys(message) => message.statement.member,
        MemberMessage::Seal(seal) => seal.member,
        MemberMessage::Confirmation(confirmation) => confirmation.member,
        MemberMessage::Unmask(message) => message.member,
    }
}

fn stranger(name: &OrganisationId) -> Refusal {
    Refusal::new(
        RefusalKind::Forbidden,
        "not_a_member",
        format!("{name} is no member of this job"),
    )
}
