//! One connection: the calls that answer what the coordinator asks, each at most once on this connection.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consort_aggregation::{Digest, MaskedUpdate};
use consort_audit::Cosignature;
use consort_contract::{JobId, Vote};
use consort_daemon::crash::CrashPoints;
use consort_model::{ArrivedParameters, ArrivingParameters, ParametersError};
use consort_proto::convert::{
    AttemptKey, ShownHead, advert_to_wire, attempt_to_wire, complaint_to_wire,
    confirmation_to_wire, share_keys_to_wire, shown_head_from_wire, unmask_to_wire, vote_to_wire,
};
use consort_proto::errors::code_of;
use consort_proto::wire::audit::v1 as audit;
use consort_proto::wire::audit::v1::witness_service_client::WitnessServiceClient;
use consort_proto::wire::consent::v1::CastVoteRequest;
use consort_proto::wire::consent::v1::consent_service_client::ConsentServiceClient;
use consort_proto::wire::round::v1 as wire;
use consort_round::blame::Complaint;
use consort_round::{MemberMessage, UpdateSeal};
use tokio::sync::{Notify, Semaphore, mpsc};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use wire::round_service_client::RoundServiceClient;

use super::patience::{self, patiently};
use super::{MAX_MESSAGE_BYTES, upload};
use crate::agent::{Effect, Input};
use crate::randomness::StretchedOsRng;
use crate::trainer::{TrainingFault, TrainingTask};

/// How long a small call may take. The coordinator stores before it answers: milliseconds, or a disk in trouble.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an upload or a download may take: the largest update, 128 MiB, at 2 Mbit/s. One that takes longer goes on where it
/// was, on another connection.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(600);

/// One attested connection.
pub(super) struct Session {
    channel: Channel,
    crash: Arc<CrashPoints>,
    inputs: mpsc::Sender<Input>,
    broken: Notify,
    /// How long a busy job is left alone first.
    pause: Duration,
    /// What is being said or was answered on this connection. The coordinator may ask for it again before it has the
    /// answer; on a new connection everything may be said again.
    said: Mutex<BTreeSet<Saying>>,
}

/// What is said at most once on a connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Saying {
    Vote(JobId),
    Message(AttemptKey, &'static str),
    Model(JobId, [u8; 32]),
    Head(JobId, [u8; 32]),
    Cosignature([u8; 32]),
}

impl Session {
    pub(super) fn new(
        channel: Channel,
        crash: Arc<CrashPoints>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        Self {
            channel,
            crash,
            inputs,
            broken: Notify::new(),
            pause: patience::FIRST,
            said: Mutex::new(BTreeSet::new()),
        }
    }

    /// Opens the stream on which the coordinator asks.
    pub(super) async fn follow(
        &self,
        instance: [u8; super::INSTANCE_BYTES],
    ) -> Result<tonic::Streaming<wire::FollowResponse>, String> {
        let request = wire::FollowRequest {
            instance: instance.to_vec(),
        };
        let mut service = self.rounds();
        let call = in_time(CALL_TIMEOUT, service.follow(request));
        call.await
            .map(Response::into_inner)
            .map_err(|status| describe(&status))
    }

    /// Ends when a call has found the connection broken.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Carries out one effect. A call that is refused is said in the log; one that fails breaks the connection.
    pub(super) async fn perform(&self, effect: Effect) {
        match effect {
            Effect::Vote { job, vote } => self.vote(job, &vote).await,
            Effect::Send { key, message } => self.send(key, *message).await,
            Effect::Complain { key, complaint } => self.complain(key, &complaint).await,
            Effect::Upload {
                key,
                update,
                seal,
                again,
            } => self.upload(key, update, seal, again).await,
            Effect::FetchModel { job, model, agreed } => {
                self.fetch(job, model, agreed.0.announced_values()).await
            }
            Effect::ProveHead {
                job,
                head,
                kept_entries,
            } => self.prove_head(job, head, kept_entries).await,
            Effect::Cosign { head, cosignature } => self.cosign(&head, &cosignature).await,
            // These need no connection to the coordinator: the uplink starts them itself.
            Effect::Train(_) | Effect::FetchKey(_) => {}
        }
    }

    async fn vote(&self, job: JobId, vote: &Vote) {
        if !self.first(&Saying::Vote(job.clone())) {
            return;
        }
        let request = CastVoteRequest {
            job: job.to_string(),
            vote: Some(vote_to_wire(vote)),
        };
        let service = ConsentServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let call = patiently(self.pause, || {
            let (mut service, request) = (service.clone(), request.clone());
            in_time(
                CALL_TIMEOUT,
                async move { service.cast_vote(request).await },
            )
        });
        match call.await {
            Ok(_) => tracing::info!(%job, approve = vote.approve, "the vote is cast"),
            Err(status) => self.failed(&Saying::Vote(job), "a vote", &status),
        }
    }

    async fn send(&self, key: AttemptKey, message: MemberMessage) {
        let (kind, point) = match &message {
            MemberMessage::Advert(_) => ("advert", "after-advert"),
            MemberMessage::ShareKeys(_) => ("shares", "after-shares"),
            MemberMessage::Confirmation(_) => ("confirmation", "after-confirm"),
            MemberMessage::Unmask(_) => ("unmask shares", "after-unmask"),
            // A seal goes with its update.
            MemberMessage::Seal(_) => return,
        };
        let saying = Saying::Message(key.clone(), kind);
        if !self.first(&saying) {
            return;
        }
        let call = patiently(self.pause, || {
            in_time(CALL_TIMEOUT, self.call(&key, &message))
        });
        match call.await {
            Ok(()) => {
                let (round, attempt) = (key.round.0, key.attempt.0);
                tracing::debug!(job = %key.job, round, attempt, kind, "acknowledged");
                self.crash.reached(point, round);
            }
            // t answers open the sum; the round does not wait for the others.
            Err(status) if kind == "unmask shares" && came_late(&status) => {
                tracing::debug!(job = %key.job, round = key.round.0, "the sum was opened without these shares");
            }
            Err(status) => self.failed(&saying, kind, &status),
        }
    }

    async fn complain(&self, key: AttemptKey, complaint: &Complaint) {
        let saying = Saying::Message(key.clone(), "complaint");
        if !self.first(&saying) {
            return;
        }
        let call = patiently(self.pause, || {
            let (mut service, request) = (self.rounds(), complaint_to_wire(&key, complaint));
            in_time(
                CALL_TIMEOUT,
                async move { service.report_blame(request).await },
            )
        });
        if let Err(status) = call.await {
            self.failed(&saying, "a complaint", &status);
        }
    }

    async fn call(&self, key: &AttemptKey, message: &MemberMessage) -> Result<(), Status> {
        let mut service = self.rounds();
        let id = Some(attempt_to_wire(key));
        match message {
            MemberMessage::Advert(advert) => {
                let advert = Some(advert_to_wire(advert));
                let request = wire::AdvertiseRequest { id, advert };
                service.advertise(request).await.map(drop)
            }
            MemberMessage::ShareKeys(shares) => service
                .share_keys(share_keys_to_wire(key, shares))
                .await
                .map(drop),
            MemberMessage::Confirmation(confirmation) => {
                let confirmation = Some(confirmation_to_wire(confirmation));
                let request = wire::ConfirmSurvivorsRequest { id, confirmation };
                service.confirm_survivors(request).await.map(drop)
            }
            MemberMessage::Unmask(shares) => {
                service.unmask(unmask_to_wire(key, shares)).await.map(drop)
            }
            MemberMessage::Seal(_) => Ok(()),
        }
    }

    async fn upload(
        &self,
        key: AttemptKey,
        update: Arc<MaskedUpdate>,
        seal: UpdateSeal,
        again: bool,
    ) {
        let saying = Saying::Message(key.clone(), "update");
        if !self.first(&saying) {
            return;
        }
        let mut again = again;
        let transfer = patiently(self.pause, || {
            // Some of what a busy coordinator did not take to its end may be there.
            let again = std::mem::replace(&mut again, true);
            let transfer = upload::send(self.rounds(), &key, &update, &seal, again, &self.crash);
            in_time(TRANSFER_TIMEOUT, transfer)
        });
        match transfer.await {
            Ok(bytes) => {
                metrics::counter!("consort_participant_update_bytes_total").increment(bytes);
                tracing::info!(job = %key.job, round = key.round.0, bytes, "the masked update is stored by the coordinator");
                self.crash.reached("after-seal", key.round.0);
            }
            Err(status) => self.failed(&saying, "an update", &status),
        }
    }

    async fn fetch(&self, job: JobId, model: Digest, values: usize) {
        let saying = Saying::Model(job.clone(), *model.as_bytes());
        if !self.first(&saying) {
            return;
        }
        let fetched = patiently(self.pause, || {
            in_time(TRANSFER_TIMEOUT, self.download(&job, &model, values))
        });
        let fetched = fetched.await;
        // Unlike what is said, a model may be asked for again on this connection.
        self.forget(&saying);
        let arrived = fetched.map_err(|status| {
            self.failed(&saying, "a model", &status);
            describe(&status)
        });
        let input = Input::Model {
            job,
            model,
            arrived,
        };
        if self.inputs.send(input).await.is_err() {
            tracing::debug!("the agent ended");
        }
    }

    /// Reads and hashes a model as it comes: the next piece is on its way meanwhile.
    async fn download(
        &self,
        job: &JobId,
        model: &Digest,
        values: usize,
    ) -> Result<ArrivedParameters, Status> {
        let request = wire::FetchModelRequest {
            job: job.to_string(),
            model: model.as_bytes().to_vec(),
        };
        let mut pieces = self.rounds().fetch_model(request).await?.into_inner();
        let mut arriving = ArrivingParameters::of_length(values);
        let unfit = |error: ParametersError| Status::out_of_range(error.to_string());
        while let Some(piece) = pieces.message().await? {
            arriving.push(&piece.data).map_err(unfit)?;
        }
        arriving.finish().map_err(unfit)
    }

    async fn prove_head(&self, job: JobId, head: Digest, kept_entries: u64) {
        let saying = Saying::Head(job.clone(), *head.as_bytes());
        if !self.first(&saying) {
            return;
        }
        let shown = in_time(CALL_TIMEOUT, self.shown_head(&head, kept_entries)).await;
        // Like a model, a head may be asked for again on this connection.
        self.forget(&saying);
        let shown = shown.map_err(|status| {
            self.failed(&saying, "a log head", &status);
            describe(&status)
        });
        let input = Input::Head {
            job,
            head,
            kept_entries,
            shown,
        };
        if self.inputs.send(input).await.is_err() {
            tracing::debug!("the agent ended");
        }
    }

    async fn shown_head(&self, head: &Digest, kept_entries: u64) -> Result<ShownHead, Status> {
        let request = audit::ProveHeadRequest {
            log_head: head.as_bytes().to_vec(),
            kept_entries,
        };
        let shown = self.witness().prove_head(request).await?.into_inner();
        shown_head_from_wire(shown).map_err(|error| Status::out_of_range(error.to_string()))
    }

    async fn cosign(&self, head: &Digest, cosignature: &Cosignature) {
        let saying = Saying::Cosignature(*head.as_bytes());
        if !self.first(&saying) {
            return;
        }
        let request = audit::CosignRequest {
            log_head: head.as_bytes().to_vec(),
            cosignature: cosignature.as_bytes().to_vec(),
        };
        let mut service = self.witness();
        match in_time(CALL_TIMEOUT, service.cosign(request)).await {
            Ok(_) => metrics::counter!("consort_participant_log_cosignatures_total").increment(1),
            // The round does not wait for it, and the link may be in order.
            Err(status) => {
                tracing::warn!(
                    problem = describe(&status),
                    "a co-signature on the log was not taken"
                );
            }
        }
    }

    fn witness(&self) -> WitnessServiceClient<Channel> {
        WitnessServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn rounds(&self) -> RoundServiceClient<Channel> {
        RoundServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Whether this is said for the first time on this connection.
    fn first(&self, saying: &Saying) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(saying.clone())
    }

    fn forget(&self, saying: &Saying) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.remove(saying);
    }

    fn failed(&self, saying: &Saying, what: &str, status: &Status) {
        let problem = describe(status);
        if is_broken(status.code()) {
            tracing::warn!(what, problem, "a call failed; the link is opened again");
            self.forget(saying);
            self.broken.notify_one();
        } else {
            tracing::warn!(what, problem, "the coordinator refuses");
        }
    }
}

/// Whether an answer came after its attempt, or with it the job, had ended.
fn came_late(status: &Status) -> bool {
    let code = code_of(status);
    matches!(
        code.as_deref(),
        Some("attempt_not_running" | "job_not_running")
    )
}

/// Trains where it may block, and tells the agent.
pub(super) async fn train(task: TrainingTask, turn: Arc<Semaphore>, inputs: mpsc::Sender<Input>) {
    let Ok(_turn) = turn.acquire_owned().await else {
        return;
    };
    let key = task.key.clone();
    let work = tokio::task::spawn_blocking(move || task.run(&mut StretchedOsRng::default()));
    let result = work.await.unwrap_or(Err(TrainingFault::Lost));
    if inputs.send(Input::Trained { key, result }).await.is_err() {
        tracing::debug!("the agent ended");
    }
}

async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

/// Codes that speak of the connection, not of the message.
fn is_broken(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// A status for people: its stable code, if it has one, and what it says.
pub(crate) fn describe(status: &Status) -> String {
    match code_of(status) {
        Some(code) => format!("{} ({code})", status.message()),
        None => super::with_sources(status),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
