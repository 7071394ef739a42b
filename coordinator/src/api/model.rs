//! Released models, for operators.

use std::sync::Arc;

use consort_proto::wire::model::v1::download_model_response::Part;
use consort_proto::wire::model::v1::model_service_server::ModelService;
use consort_proto::wire::model::v1::{DownloadModelRequest, DownloadModelResponse};
use tonic::{Request, Response, Status};

use super::consent::job_id;
use super::{Pieces, lazily, pieces, status, unavailable};
use crate::driver::Desk;

/// Hands out released models.
pub struct Models(pub Arc<Desk>);

#[tonic::async_trait]
impl ModelService for Models {
    type DownloadModelStream = Pieces<DownloadModelResponse>;

    async fn download_model(
        &self,
        request: Request<DownloadModelRequest>,
    ) -> Result<Response<Self::DownloadModelStream>, Status> {
        let id = job_id(&request.into_inner().job)?;
        let desk = self.0.clone();
        let released = tokio::task::spawn_blocking(move || desk.released(&id)).await;
        let released = match released.map_err(|error| Status::internal(error.to_string()))? {
            Ok(released) => released.map_err(|refusal| status(&refusal))?,
            Err(fault) => return Err(unavailable(&fault)),
        };
        let data = pieces(released.model.into()).map(Part::Data);
        let parts = std::iter::once(Part::Manifest(released.manifest)).chain(data);
        let messages = parts.map(|part| Ok(DownloadModelResponse { part: Some(part) }));
        Ok(Response::new(lazily(messages)))
    }
}
