use std::sync::atomic::{AtomicU32, Ordering};

use consort_contract::OrganisationId;
use consort_proto::errors;
use consort_proto::wire::consent::v1::CastVoteResponse;
use consort_proto::wire::consent::v1::consent_service_server::{
    ConsentService, ConsentServiceServer,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Request;
use tonic::transport::{Endpoint, Server};

use super::*;
use crate::test_world::{job_id, secret};

/// A coordinator whose job is busy at first.
#[derive(Clone)]
struct Busy {
    /// So often.
    times: u32,
    asked: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl ConsentService for Busy {
    async fn cast_vote(
        &self,
        _: Request<CastVoteRequest>,
    ) -> Result<Response<CastVoteResponse>, Status> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.times {
            let text = "too many requests wait for this job; try again in a second";
            return Err(errors::status(Code::Unavailable, "job_busy", text));
        }
        Ok(Response::new(CastVoteResponse {}))
    }
}

/// A vote that is cast at a coordinator that is busy so often: how often it was asked, over how many connections, and whether the
/// session took its link for broken.
async fn voted(times: u32) -> (u32, u32, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, connections) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
    let accepted = Arc::clone(&connections);
    let incoming = TcpListenerStream::new(listener).map(move |connection| {
        accepted.fetch_add(1, Ordering::SeqCst);
        connection
    });
    let service = Busy {
        times,
        asked: Arc::clone(&asked),
    };
    let server = Server::builder().add_service(ConsentServiceServer::new(service));
    let server = tokio::spawn(server.serve_with_incoming(incoming));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut session = Session::new(channel, Arc::default(), mpsc::channel(1).0);
    session.pause = Duration::from_micros(1);
    let vote = Vote::cast(
        &job_id(),
        &OrganisationId::new("clinic-1").unwrap(),
        Digest::of(b"contract"),
        Ok(()),
        &secret(1),
    );
    let job = job_id();
    session.perform(Effect::Vote { job, vote }).await;
    // A notification that was sent waits for whoever asks first.
    let broken = tokio::time::timeout(Duration::ZERO, session.broken()).await;
    server.abort();
    let count = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
    (count(&asked), count(&connections), broken.is_ok())
}

#[tokio::test]
async fn a_busy_coordinator_is_asked_again_on_the_same_connection() {
    assert_eq!(voted(3).await, (4, 1, false));
}

#[tokio::test]
async fn a_coordinator_that_stays_busy_is_left_for_another_connection() {
    assert_eq!(voted(u32::MAX).await, (patience::MOST, 1, true));
}
