//! The participants' side of rounds.

use std::sync::Arc;

use consort_aggregation::Digest;
use consort_proto::convert::{
    AttemptKey, WireError, advert_from_wire, attempt_from_wire, complaint_from_wire,
    confirmation_from_wire, share_keys_from_wire, unmask_from_wire,
};
use consort_proto::errors;
use consort_proto::wire::round::v1 as wire;
use consort_proto::wire::round::v1::round_service_server::RoundService;
use consort_round::MemberMessage;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::consent::job_id;
use super::{Pieces, caller, follow, lazily, pieces, status, upload};
use crate::driver::{Answer, Command, Desk, Instance};

/// Serves attested members; each speaks for itself only.
pub struct Rounds(pub Arc<Desk>);

/// Messages that wait for a slow stream: the next one is made when this one is on its way.
const STREAM_QUEUE: usize = 1;

#[tonic::async_trait]
impl RoundService for Rounds {
    type FollowStream = ReceiverStream<Result<wire::FollowResponse, Status>>;

    async fn follow(
        &self,
        request: Request<wire::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let (member, peer) = caller(&request)?;
        let instance = request
            .into_inner()
            .instance
            .as_slice()
            .try_into()
            .map(Instance);
        let instance = instance.map_err(|_| {
            errors::status(
                Code::InvalidArgument,
                "instance_length",
                "an instance has 16 bytes",
            )
        })?;
        let link = self.0.connect(&member, instance, peer.claims().simulated());
        tracing::info!(%member, simulated = link.simulated, "a member is connected");
        follow::record_connected(&self.0);
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
        tokio::spawn(follow::follow(self.0.clone(), member, link, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn advertise(
        &self,
        request: Request<wire::AdvertiseRequest>,
    ) -> Result<Response<wire::AdvertiseResponse>, Status> {
        let parse = |request: wire::AdvertiseRequest| {
            Ok((
                attempt_from_wire(request.id)?,
                MemberMessage::Advert(advert_from_wire(request.advert)?),
            ))
        };
        self.say(request, parse).await?;
        Ok(Response::new(wire::AdvertiseResponse {}))
    }

    async fn share_keys(
        &self,
        request: Request<wire::ShareKeysRequest>,
    ) -> Result<Response<wire::ShareKeysResponse>, Status> {
        let parse = |request| {
            share_keys_from_wire(request)
                .map(|(key, message)| (key, MemberMessage::ShareKeys(message)))
        };
        self.say(request, parse).await?;
        Ok(Response::new(wire::ShareKeysResponse {}))
    }

    async fn submit_update(
        &self,
        request: Request<Streaming<wire::SubmitUpdateRequest>>,
    ) -> Result<Response<wire::SubmitUpdateResponse>, Status> {
        let (from, _) = caller(&request)?;
        upload::receive(&self.0, &from, request.into_inner()).await?;
        Ok(Response::new(wire::SubmitUpdateResponse {}))
    }

    async fn upload_status(
        &self,
        request: Request<wire::UploadStatusRequest>,
    ) -> Result<Response<wire::UploadStatusResponse>, Status> {
        let (from, _) = caller(&request)?;
        let progress = upload::progress(&self.0, &from, request.into_inner()).await?;
        Ok(Response::new(progress))
    }

    async fn confirm_survivors(
        &self,
        request: Request<wire::ConfirmSurvivorsRequest>,
    ) -> Result<Response<wire::ConfirmSurvivorsResponse>, Status> {
        let parse = |request: wire::ConfirmSurvivorsRequest| {
            let confirmation = request
                .confirmation
                .ok_or(WireError::Missing("confirmation"))?;
            Ok((
                attempt_from_wire(request.id)?,
                MemberMessage::Confirmation(confirmation_from_wire(&confirmation)?),
            ))
        };
        self.say(request, parse).await?;
        Ok(Response::new(wire::ConfirmSurvivorsResponse {}))
    }

    async fn unmask(
        &self,
        request: Request<wire::UnmaskRequest>,
    ) -> Result<Response<wire::UnmaskResponse>, Status> {
        let parse = |request| {
            unmask_from_wire(request).map(|(key, message)| (key, MemberMessage::Unmask(message)))
        };
        self.say(request, parse).await?;
        Ok(Response::new(wire::UnmaskResponse {}))
    }

    async fn report_blame(
        &self,
        request: Request<wire::ReportBlameRequest>,
    ) -> Result<Response<wire::ReportBlameResponse>, Status> {
        let (from, _) = caller(&request)?;
        let (key, complaint) =
            complaint_from_wire(request.into_inner()).map_err(|error| status(&error.into()))?;
        let job = key.job.clone();
        let command = Command::Complaint {
            from,
            key,
            complaint: Box::new(complaint),
        };
        let answer = self.0.ask(&job, command).await;
        answer.map_err(|refusal| status(&refusal))?;
        Ok(Response::new(wire::ReportBlameResponse {}))
    }

    type FetchModelStream = Pieces<wire::FetchModelResponse>;

    async fn fetch_model(
        &self,
        request: Request<wire::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let (from, _) = caller(&request)?;
        let request = request.into_inner();
        let model: [u8; 32] = request.model.as_slice().try_into().map_err(|_| {
            errors::status(
                Code::InvalidArgument,
                "model_hash_length",
                "a model's hash has 32 bytes",
            )
        })?;
        let command = Command::Model {
            from,
            model: Digest::new(model),
        };
        let answer = self
            .0
            .ask(&job_id(&request.job)?, command)
            .await
            .map_err(|refusal| status(&refusal))?;
        let bytes = match answer {
            Answer::Model(bytes) => bytes,
            Answer::Stored | Answer::Upload { .. } => Bytes::new(),
        };
        let pieces = pieces(bytes).map(|data| Ok(wire::FetchModelResponse { data }));
        Ok(Response::new(lazily(pieces)))
    }
}

impl Rounds {
    /// Parses a message and gives it to its job.
    async fn say<T>(
        &self,
        request: Request<T>,
        parse: impl FnOnce(T) -> Result<(AttemptKey, MemberMessage), WireError>,
    ) -> Result<(), Status> {
        let (from, _) = caller(&request)?;
        let (key, message) = parse(request.into_inner()).map_err(|error| status(&error.into()))?;
        let job = key.job.clone();
        let command = Command::Message {
            from,
            key,
            message: Box::new(message),
        };
        self.0
            .ask(&job, command)
            .await
            .map(drop)
            .map_err(|refusal| status(&refusal))
    }
}
