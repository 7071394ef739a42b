//! A service of the coordinator's, offered as it is: no message is read, kept or changed on its way.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::link::Link;

/// Forwards all calls of the service `S`, streams included.
pub(super) struct Forward<S> {
    link: Arc<Link>,
    service: PhantomData<fn() -> S>,
}

impl<S> Forward<S> {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            service: PhantomData,
        }
    }
}

impl<S> Clone for Forward<S> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.link))
    }
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Forward<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let answered = link.call(request).await;
            Ok(answered.unwrap_or_else(Status::into_http))
        })
    }
}
