//! The gRPC service on the attested port.

use std::sync::Arc;

use consort_attestation::channel::VerifiedPeer;
use consort_proto::errors;
use consort_proto::wire::keys::v1 as wire;
use consort_proto::wire::keys::v1::key_release_service_server::KeyReleaseService;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status};

use crate::broker::Broker;
use crate::nonces::{LIFETIME, Session};
use crate::release::{NotReleased, ReleaseFault};
use crate::rule::CoarseRefusal;

/// Answers the participant behind the gate.
pub(crate) struct Releases {
    pub(crate) broker: Arc<Broker>,
    /// Where a failed disk is told: the daemon ends.
    pub(crate) faults: mpsc::UnboundedSender<ReleaseFault>,
}

#[tonic::async_trait]
impl KeyReleaseService for Releases {
    async fn challenge(
        &self,
        request: Request<wire::ChallengeRequest>,
    ) -> Result<Response<wire::ChallengeResponse>, Status> {
        let nonce = self.broker.challenge(session(&request)?);
        Ok(Response::new(wire::ChallengeResponse {
            nonce: nonce.to_vec(),
            lifetime_ms: u32::try_from(LIFETIME.as_millis()).unwrap_or(u32::MAX),
        }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let session = session(&request)?;
        match self.broker.release(session, request.into_inner()).await {
            Ok(sealed) => Ok(Response::new(wire::ReleaseResponse {
                encapsulated: sealed.encapsulated,
                sealed: sealed.sealed,
            })),
            Err(refused @ NotReleased::Refused { coarse, .. }) => Err(errors::status(
                grpc(coarse),
                coarse.code(),
                refused.to_string(),
            )),
            Err(NotReleased::Fault(fault)) => {
                // The receiver is gone only when the daemon stops.
                let _ = self.faults.send(fault);
                let coarse = CoarseRefusal::Unavailable;
                Err(errors::status(
                    grpc(coarse),
                    coarse.code(),
                    coarse.to_string(),
                ))
            }
        }
    }
}

fn grpc(coarse: CoarseRefusal) -> Code {
    match coarse {
        CoarseRefusal::Malformed => Code::InvalidArgument,
        CoarseRefusal::Nonce => Code::FailedPrecondition,
        CoarseRefusal::Evidence | CoarseRefusal::Rule => Code::PermissionDenied,
        CoarseRefusal::Unavailable => Code::Unavailable,
    }
}

/// The session's name. The gate put the peer there: nobody else is on this port.
fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    let peer = request.extensions().get::<Arc<VerifiedPeer>>();
    let peer = peer.ok_or_else(|| {
        errors::status(
            Code::Unauthenticated,
            "not_attested",
            "this connection was not attested",
        )
    })?;
    Ok(*peer.session_id().as_bytes())
}
