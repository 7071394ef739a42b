//! Hands the manifests that came into force here out to members.

use std::pin::Pin;

use consort_daemon::manifest::ManifestHistory;
use consort_proto::errors;
use consort_proto::wire::manifest::v1 as wire;
use consort_proto::wire::manifest::v1::manifest_service_server::ManifestService;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

/// Manifests on their way to one member: each may have two megabytes.
const WAITING: usize = 1;

/// The service on the members' port.
pub(crate) struct Manifests {
    /// What came into force here, as it lies on disk.
    pub(crate) history: ManifestHistory,
    /// The version in force.
    pub(crate) in_force: watch::Receiver<u64>,
}

#[tonic::async_trait]
impl ManifestService for Manifests {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<wire::FollowResponse, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<wire::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let after = request.into_inner().after;
        let (sender, receiver) = mpsc::channel(WAITING);
        let (history, in_force) = (self.history.clone(), self.in_force.clone());
        tokio::spawn(hand_out(history, in_force, after, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Until the member or the daemon is gone.
async fn hand_out(
    mut history: ManifestHistory,
    mut in_force: watch::Receiver<u64>,
    mut after: u64,
    member: mpsc::Sender<Result<wire::FollowResponse, Status>>,
) {
    loop {
        let newest = *in_force.borrow_and_update();
        if newest > after {
            let read = tokio::task::spawn_blocking(move || {
                let newer = history.after(after).map(|newer| {
                    // What was adopted on disk and is not in force yet is not handed out.
                    let newer = newer.iter().take_while(|it| it.version() <= newest);
                    newer
                        .map(|it| it.signed().to_json().into_bytes())
                        .collect::<Vec<_>>()
                });
                (history, newer)
            });
            let Ok((read, newer)) = read.await else {
                return;
            };
            history = read;
            let newer = match newer {
                Ok(newer) => newer,
                Err(error) => {
                    tracing::error!(code = error.code(), %error, "manifests are not handed out");
                    let status = errors::status(
                        Code::Unavailable,
                        "manifests_unreadable",
                        "the manifests cannot be read; ask the coordinator's operator",
                    );
                    // The member may be gone.
                    let _ = member.send(Err(status)).await;
                    return;
                }
            };
            for manifest in newer {
                if member
                    .send(Ok(wire::FollowResponse { manifest }))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            after = newest;
        }
        tokio::select! {
            changed = in_force.changed() => if changed.is_err() {
                return;
            },
            () = member.closed() => return,
        }
    }
}
