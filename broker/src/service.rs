//! The gRPC services on the attested ports.

use std::sync::Arc;

use consort_attestation::channel::VerifiedPeer;
use consort_proto::errors;
use consort_proto::wire::keys::v1 as wire;
use consort_proto::wire::keys::v1::key_release_service_server::KeyReleaseService;
use consort_proto::wire::keys::v1::state_key_service_server::StateKeyService;
use consort_vault::release::SealedKey;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status};

use crate::broker::Broker;
use crate::nonces::{LIFETIME, Session};
use crate::release::{NotReleased, ReleaseFault};
use crate::rule::CoarseRefusal;
use crate::state_release::StateReleases;

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
            lifetime_ms: lifetime_ms(),
        }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let session = session(&request)?;
        self.answer(session, request.into_inner()).await
    }
}

impl Releases {
    /// Answers in a task of its own: a participant that hangs up does not keep a refusal out of the log, nor a fault from ending
    /// the process.
    async fn answer(
        &self,
        session: Session,
        request: wire::ReleaseRequest,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let (broker, faults) = (Arc::clone(&self.broker), self.faults.clone());
        let task = tokio::spawn(async move {
            let answer = broker.release(session, request).await;
            respond(answer, &faults)
        });
        let lost = |_| respond(Err(ReleaseFault::Lost.into()), &self.faults);
        let sealed = task.await.unwrap_or_else(lost)?;
        Ok(Response::new(wire::ReleaseResponse {
            encapsulated: sealed.encapsulated,
            sealed: sealed.sealed,
        }))
    }
}

/// Answers a participant that starts, behind the other gate.
pub(crate) struct StateKeys {
    pub(crate) releases: Arc<StateReleases>,
    /// Where a failed disk is told: the daemon ends.
    pub(crate) faults: mpsc::UnboundedSender<ReleaseFault>,
}

#[tonic::async_trait]
impl StateKeyService for StateKeys {
    async fn state_challenge(
        &self,
        request: Request<wire::StateChallengeRequest>,
    ) -> Result<Response<wire::StateChallengeResponse>, Status> {
        let nonce = self.releases.challenge(session(&request)?);
        Ok(Response::new(wire::StateChallengeResponse {
            nonce: nonce.to_vec(),
            lifetime_ms: lifetime_ms(),
        }))
    }

    /// Answers in a task of its own, as a data key's release is.
    async fn state_release(
        &self,
        request: Request<wire::StateReleaseRequest>,
    ) -> Result<Response<wire::StateReleaseResponse>, Status> {
        let session = session(&request)?;
        let (releases, faults) = (Arc::clone(&self.releases), self.faults.clone());
        let task = tokio::spawn(async move {
            let answer = releases.release(session, request.into_inner()).await;
            respond(answer, &faults)
        });
        let lost = |_| respond(Err(ReleaseFault::Lost.into()), &self.faults);
        let sealed = task.await.unwrap_or_else(lost)?;
        Ok(Response::new(wire::StateReleaseResponse {
            encapsulated: sealed.encapsulated,
            sealed: sealed.sealed,
        }))
    }
}

fn lifetime_ms() -> u32 {
    u32::try_from(LIFETIME.as_millis()).unwrap_or(u32::MAX)
}

fn respond(
    answer: Result<SealedKey, NotReleased>,
    faults: &mpsc::UnboundedSender<ReleaseFault>,
) -> Result<SealedKey, Status> {
    match answer {
        Ok(sealed) => Ok(sealed),
        Err(refused @ NotReleased::Refused { coarse, .. }) => Err(errors::status(
            grpc(coarse),
            coarse.code(),
            refused.to_string(),
        )),
        Err(NotReleased::Fault(fault)) => {
            // The receiver is gone only when the daemon stops.
            let _ = faults.send(fault);
            let coarse = CoarseRefusal::Unavailable;
            Err(errors::status(
                grpc(coarse),
                coarse.code(),
                coarse.to_string(),
            ))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_world::{SESSION, World};
    use consort_audit::ENTRIES_FILE;
    use consort_vault::release::ReleaseKeyPair;

    #[tokio::test]
    async fn a_request_that_is_given_up_leaves_its_refusal_in_the_log() {
        let world = World::new().await;
        let (faults, _told) = mpsc::unbounded_channel();
        let releases = Releases {
            broker: world.broker(),
            faults,
        };
        // A nonce that was never drawn.
        let request = world.request([9; 32], &ReleaseKeyPair::generate());
        tokio::select! {
            biased;
            answer = releases.answer(SESSION, request) => panic!("{answer:?}"),
            () = std::future::ready(()) => {}
        }
        let log = world.config.log_dir().join(ENTRIES_FILE);
        let logged = async {
            while !std::fs::read_to_string(&log).unwrap().contains("key_nonce") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), logged)
            .await
            .unwrap();
    }
}
