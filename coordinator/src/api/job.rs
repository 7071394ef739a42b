//! Jobs, for operators.

use std::sync::Arc;

use consort_contract::{JobDocument, JobId};
use consort_proto::convert::job_from_wire;
use consort_proto::wire::job::v1 as wire;
use consort_proto::wire::job::v1::job_service_server::JobService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::consent::job_id;
use super::{status, unavailable};
use crate::driver::{Command, Desk};
use crate::error::{Refusal, RefusalKind};

/// The operators' side of jobs.
pub struct Jobs(pub Arc<Desk>);

#[tonic::async_trait]
impl JobService for Jobs {
    async fn submit_job(
        &self,
        request: Request<wire::SubmitJobRequest>,
    ) -> Result<Response<wire::SubmitJobResponse>, Status> {
        let request = request.into_inner();
        let document =
            proposed(request.spec, &request.job_json).map_err(|refusal| status(&refusal))?;
        let desk = self.0.clone();
        let submitted =
            tokio::task::spawn_blocking(move || desk.submit(document, &request.idempotency_key))
                .await;
        match submitted.map_err(|error| Status::internal(error.to_string()))? {
            Ok(Ok(job)) => Ok(Response::new(wire::SubmitJobResponse { job: Some(job) })),
            Ok(Err(refusal)) => Err(status(&refusal)),
            Err(fault) => {
                let status = unavailable(&fault);
                self.0.fail(fault);
                Err(status)
            }
        }
    }

    async fn list_jobs(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        let after = request.into_inner().after;
        let after = match after.as_str() {
            "" => None,
            after => {
                let id = job_id(after)?;
                self.view(&id)?;
                Some(id)
            }
        };
        let board = &self.0.services().board;
        Ok(Response::new(board.views_after(after.as_ref())))
    }

    async fn list_rounds(
        &self,
        request: Request<wire::ListRoundsRequest>,
    ) -> Result<Response<wire::ListRoundsResponse>, Status> {
        let request = request.into_inner();
        let rounds = self
            .0
            .rounds_after(&job_id(&request.id)?, request.after_round);
        rounds
            .map(Response::new)
            .map_err(|refusal| status(&refusal))
    }

    async fn show_job(
        &self,
        request: Request<wire::ShowJobRequest>,
    ) -> Result<Response<wire::ShowJobResponse>, Status> {
        let job = self.view(&job_id(&request.into_inner().id)?)?;
        Ok(Response::new(wire::ShowJobResponse { job: Some(job) }))
    }

    type WatchJobStream = ReceiverStream<Result<wire::WatchJobResponse, Status>>;

    async fn watch_job(
        &self,
        request: Request<wire::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let id = job_id(&request.into_inner().id)?;
        self.view(&id)?;
        let (sender, receiver) = mpsc::channel(1);
        let desk = self.0.clone();
        tokio::spawn(async move {
            let mut watcher = desk.services().board.watch();
            let mut last = None;
            loop {
                watcher.borrow_and_update();
                let Ok(job) = desk.view(&id) else { return };
                let over = has_ended(&job);
                if last.as_ref() != Some(&job) {
                    last = Some(job.clone());
                    if sender
                        .send(Ok(wire::WatchJobResponse { job: Some(job) }))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                if over {
                    return;
                }
                tokio::select! {
                    changed = watcher.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cancel_job(
        &self,
        request: Request<wire::CancelJobRequest>,
    ) -> Result<Response<wire::CancelJobResponse>, Status> {
        let id = job_id(&request.into_inner().id)?;
        let mut watcher = self.0.services().board.watch();
        self.0
            .ask(&id, Command::Cancel)
            .await
            .map_err(|refusal| status(&refusal))?;
        // The job is shown as ended right after it answered.
        while !has_ended(&self.view(&id)?) && watcher.changed().await.is_ok() {}
        Ok(Response::new(wire::CancelJobResponse {
            job: Some(self.view(&id)?),
        }))
    }
}

impl Jobs {
    fn view(&self, id: &JobId) -> Result<wire::Job, Status> {
        self.0.view(id).map_err(|refusal| status(&refusal))
    }
}

/// The job of a submission, which says it in one way.
fn proposed(spec: Option<wire::JobSpec>, json: &str) -> Result<JobDocument, Refusal> {
    let invalid = |code, message: String| Refusal::new(RefusalKind::Invalid, code, message);
    match (spec, json) {
        (spec, "") => Ok(job_from_wire(spec)?),
        (None, json) => JobDocument::from_json(json)
            .map_err(|error| invalid(error.code(), format!("job_json: {error}"))),
        (Some(_), _) => {
            let message = "spec and job_json are both there; say the job in one of them";
            Err(invalid("job_twice", message.to_owned()))
        }
    }
}

fn has_ended(job: &wire::Job) -> bool {
    match job.state() {
        wire::JobState::Unspecified | wire::JobState::Voting | wire::JobState::Running => false,
        wire::JobState::Completed | wire::JobState::Failed | wire::JobState::Cancelled => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_job_is_taken_as_a_message_or_as_json_and_not_as_both() {
        let document = testing::document(2);
        let json = serde_json::to_string(&document).unwrap();
        let spec = || Some(consort_proto::convert::job_to_wire(&document));
        assert_eq!(proposed(None, &json).unwrap(), document);
        assert_eq!(proposed(spec(), "").unwrap(), document);
        assert_eq!(proposed(spec(), &json).unwrap_err().code, "job_twice");
        let broken = json.replacen("\"epsilon\":", "\"epsilom\":", 1);
        let refusal = proposed(None, &broken).unwrap_err();
        assert_eq!(refusal.code, "job_malformed");
        assert!(refusal.message.contains("privacy"), "{}", refusal.message);
        assert!(proposed(None, "").is_err());
    }
}
