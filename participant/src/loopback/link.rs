//! The attested connection that all local clients share: opened when it is needed, given up when it reached its age.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use consort_attestation::channel::{AttestedConnector, ClientChannel};
use consort_proto::errors;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::Service;

use crate::uplink::{BadAddress, endpoint, note_verdict, with_sources};

/// One way to the coordinator. A connection that broke is opened, and attested, again by the next call; what is forwarded is
/// held back by HTTP/2's own windows, so nothing piles up here.
pub(super) struct Link {
    endpoint: Endpoint,
    connector: AttestedConnector,
    current: Mutex<(Channel, Instant)>,
}

impl Link {
    /// A link to `HOST:PORT` that is not open yet.
    pub(super) fn new(coordinator: &str, channel: ClientChannel) -> Result<Self, BadAddress> {
        let endpoint = endpoint(coordinator)?;
        let connector = AttestedConnector::new(Arc::new(channel), note_verdict);
        let current = Mutex::new(opened(&endpoint, &connector));
        Ok(Self {
            endpoint,
            connector,
            current,
        })
    }

    /// Forwards one call.
    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut channel, until) = self.current();
        let answer = async {
            poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        match timeout_at(until, answer).await {
            Ok(Ok(response)) => Ok(response.map(|body| Body::new(Answer::new(body, until)))),
            Ok(Err(error)) => {
                let problem = with_sources(&error);
                tracing::warn!(problem, "the coordinator is not reached");
                Err(not_connected(&problem))
            }
            Err(_) => Err(aged()),
        }
    }

    /// The connection of now, and until when it may be used.
    fn current(&self) -> (Channel, Instant) {
        // Nothing panics while it is held.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 <= Instant::now() {
            *current = opened(&self.endpoint, &self.connector);
        }
        current.clone()
    }
}

fn opened(endpoint: &Endpoint, connector: &AttestedConnector) -> (Channel, Instant) {
    let channel = endpoint.connect_with_connector_lazy(connector.clone());
    (channel, Instant::now() + connector.max_age())
}

fn not_connected(problem: &str) -> Status {
    let message = format!("the coordinator is not reached: {problem}; try again");
    errors::status(Code::Unavailable, "uplink_not_connected", message)
}

fn aged() -> Status {
    let message = "the attested connection reached its age; call again, both sides attest anew";
    errors::status(Code::Unavailable, "uplink_connection_aged", message)
}

/// An answer on its way back. It ends when its connection has reached its age, for a follow stream would keep it open for ever;
/// and it ends with a status where the connection breaks, since a client could make nothing of a stream that is reset.
struct Answer {
    body: Body,
    end: Pin<Box<Sleep>>,
    over: bool,
}

impl Answer {
    fn new(body: Body, until: Instant) -> Self {
        let end = Box::pin(sleep_until(until));
        let over = false;
        Self { body, end, over }
    }

    fn last_word(&mut self, status: &Status) -> Frame<<Body as http_body::Body>::Data> {
        self.over = true;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            tracing::debug!("a status has no form as trailers");
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Answer {
    type Data = <Body as http_body::Body>::Data;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Ok(self.last_word(&aged()))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            Ok(frame.unwrap_or_else(|broken| {
                tracing::warn!(problem = with_sources(&broken), "the link broke");
                self.last_word(&not_connected("it ended in the middle of an answer"))
            }))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_attestation::channel::MAX_CONNECTION_AGE;

    /// What comes first: a number of bytes, or the status that ends the answer.
    async fn first(body: Answer) -> Option<Result<usize, Code>> {
        let mut body = Box::pin(body);
        let frame = poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await?;
        let Ok(frame) = frame;
        Some(match frame.into_data() {
            Ok(data) => Ok(data.len()),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap();
                Err(Status::from_header_map(&trailers).unwrap().code())
            }
        })
    }

    fn young() -> Instant {
        Instant::now() + MAX_CONNECTION_AGE
    }

    #[tokio::test]
    async fn an_answer_ends_when_its_connection_is_old_also_when_nothing_is_said() {
        let old = Instant::now();
        let aged = Some(Err(Code::Unavailable));
        assert_eq!(first(Answer::new(Body::new(Silent), old)).await, aged);
        let talking = Body::new("said".to_owned());
        assert_eq!(first(Answer::new(talking, old)).await, aged);
    }

    #[tokio::test]
    async fn an_answer_passes_while_its_connection_is_young() {
        let talking = Answer::new(Body::new("said".to_owned()), young());
        assert_eq!(first(talking).await, Some(Ok(4)));
    }

    #[tokio::test]
    async fn an_answer_whose_connection_breaks_ends_with_a_status() {
        let broken = Answer::new(Body::new(Broken), young());
        assert_eq!(first(broken).await, Some(Err(Code::Unavailable)));
    }

    /// A body whose connection is gone.
    struct Broken;

    impl http_body::Body for Broken {
        type Data = <Body as http_body::Body>::Data;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Ready(Some(Err(Status::internal("reset"))))
        }
    }

    /// A body that never says anything.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = <Body as http_body::Body>::Data;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            Poll::Pending
        }
    }
}
