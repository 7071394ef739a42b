//! A stream that only an attested peer is at the other end of.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::in_force::LiveSession;
use super::peer::VerifiedPeer;

/// The application's bytes, after the gate. Tonic's requests carry the peer as `Arc<VerifiedPeer>` in their extensions.
///
/// It ends with an error once rules are in force that the peer's evidence fails.
#[derive(Debug)]
pub struct AttestedStream<S = TcpStream> {
    inner: TlsStream<S>,
    session: Arc<LiveSession>,
}

impl<S> AttestedStream<S> {
    pub(super) fn new(inner: TlsStream<S>, session: Arc<LiveSession>) -> Self {
        Self { inner, session }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<VerifiedPeer> {
        self.session.peer()
    }

    /// Whether rules have come into force that the peer's evidence fails.
    pub fn is_cut(&self) -> bool {
        self.session.is_cut()
    }
}

impl<S> Connected for AttestedStream<S> {
    type ConnectInfo = Arc<VerifiedPeer>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(self.session.peer())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for AttestedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.session.is_cut_or_wakes(cx) {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for AttestedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.session.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.session.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn cut() -> io::Error {
    let why = "the peer's evidence fails the manifest that is in force now";
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}
