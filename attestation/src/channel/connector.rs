//! The gate as a connector of tonic's: each reconnection attests again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::Uri;
use tower::Service;

use super::error::ChannelError;
use super::peer::VerifiedPeer;
use super::stream::AttestedStream;
use super::{ClientChannel, connect};

type Observer = dyn Fn(Result<&Arc<VerifiedPeer>, &ChannelError>) + Send + Sync;

/// Opens attested connections for `Endpoint::connect_with_connector`, whose URI is `http://host:port`: TLS is in here.
#[derive(Clone)]
pub struct AttestedConnector {
    channel: Arc<ClientChannel>,
    observer: Arc<Observer>,
}

impl AttestedConnector {
    /// A connector that tells `observer` how each attempt ended, for records and metrics.
    pub fn new(
        channel: Arc<ClientChannel>,
        observer: impl Fn(Result<&Arc<VerifiedPeer>, &ChannelError>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            channel,
            observer: Arc::new(observer),
        }
    }

    /// How long a connection lives, by the policy.
    pub fn max_age(&self) -> Duration {
        self.channel.max_age()
    }
}

impl Service<Uri> for AttestedConnector {
    type Response = TokioIo<AttestedStream>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (channel, observer) = (Arc::clone(&self.channel), Arc::clone(&self.observer));
        Box::pin(async move {
            let result = match address(&uri) {
                Some(address) => connect(address, &channel).await,
                None => Err(ChannelError::Address),
            };
            observer(result.as_ref().map(AttestedStream::peer));
            result.map(TokioIo::new)
        })
    }
}

fn address(uri: &Uri) -> Option<String> {
    Some(format!("{}:{}", uri.host()?, uri.port_u16()?))
}
