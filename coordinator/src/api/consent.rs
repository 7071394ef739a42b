//! Votes.

use std::sync::Arc;

use consort_contract::JobId;
use consort_proto::convert::vote_from_wire;
use consort_proto::errors;
use consort_proto::wire::consent::v1::consent_service_server::ConsentService;
use consort_proto::wire::consent::v1::{CastVoteRequest, CastVoteResponse};
use tonic::{Code, Request, Response, Status};

use super::{caller, status};
use crate::driver::{Command, Desk};
use crate::error::Refusal;

/// The participants' side of consent.
pub struct Consent(pub Arc<Desk>);

#[tonic::async_trait]
impl ConsentService for Consent {
    async fn cast_vote(
        &self,
        request: Request<CastVoteRequest>,
    ) -> Result<Response<CastVoteResponse>, Status> {
        let (from, _) = caller(&request)?;
        let request = request.into_inner();
        let vote = vote_from_wire(request.vote).map_err(|error| status(&error.into()))?;
        if vote.organisation != from {
            return Err(errors::status(
                Code::PermissionDenied,
                "speaks_for_another",
                "a member votes for itself only",
            ));
        }
        let job = job_id(&request.job)?;
        self.0
            .ask(&job, Command::Vote(vote))
            .await
            .map_err(|refusal| status(&refusal))?;
        Ok(Response::new(CastVoteResponse {}))
    }
}

/// A job's name from outside.
pub(super) fn job_id(text: &str) -> Result<JobId, Status> {
    use crate::error::RefusalKind::Invalid;
    JobId::new(text).map_err(|error| {
        status(&Refusal::new(
            Invalid,
            error.code(),
            format!("{text:?} is no job: {error}"),
        ))
    })
}
