//! The gate: TLS 1.3, then one attestation exchange before any byte of the application, server first.
//!
//! ```text
//! server → client   hello     server nonce, and its manifest's version and hash
//! client → server   opening   client nonce, its manifest's version and hash, and the client's proof
//! server → client   proof     the server's proof           (or a verdict: refused)
//! client → server   verdict   accepted                     (or refused)
//! ```
//! A proof is an organisation's name, its identity key, that key's signature over the session statement, and evidence over the
//! same statement. The statement covers both TLS keys, the session's exporter, both nonces, the speaker's role and the context,
//! so a proof is good in this one session, in this one direction. Every connection attests anew; nothing is resumed.

mod connector;
mod error;
mod exchange;
mod frame;
mod in_force;
mod messages;
mod peer;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ed25519_dalek::SigningKey;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use crate::limits::{EXCHANGE_TIMEOUT, MAX_CONNECTION_AGE, MAX_FRAME_BYTES};
pub use connector::AttestedConnector;
pub use error::{
    ChannelError, CoarseReason, CorrelationId, ManifestDifference, PeerRefused, RefusalCause,
};
pub use in_force::{Dropped, InForce, ManifestId, Rules};
pub use messages::{MAX_ORGANISATION_BYTES, message_of};
pub use peer::{PeerDirectory, Refused, SessionId, VerifiedPeer};
pub use stream::AttestedStream;

use crate::attester::Attester;
use crate::statements::Role;
use exchange::{Exchange, Party};
use tls::{Binding, TlsKey};

/// How long a TCP connection may take to open: three SYNs at the usual back-off.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What one side of a channel needs.
pub struct ChannelSettings {
    /// The organisation this process speaks for, at most [`MAX_ORGANISATION_BYTES`].
    pub organisation: String,
    /// The organisation's identity key.
    pub identity: SigningKey,
    /// Who signs for this machine.
    pub attester: Arc<dyn Attester>,
    /// By what peers are judged, and which sessions live.
    pub in_force: Arc<InForce>,
    /// What time it is: `SystemTime::now`, but in tests.
    pub clock: fn() -> SystemTime,
}

/// The accepting side: the coordinator's, or a key broker's.
pub struct ServerChannel {
    party: Party,
    tls_key: TlsKey,
}

impl ServerChannel {
    /// Prepares the side, with a TLS key of its own.
    ///
    /// # Errors
    /// [`ChannelError::Tls`] when no key could be made, [`ChannelError::Name`] when the organisation's name is too long.
    pub fn new(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::of(Role::Coordinator, Role::Participant, settings)
    }

    /// The side of an organisation's key broker, to which participants speak too.
    ///
    /// # Errors
    /// As [`ServerChannel::new`].
    pub fn of_broker(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::of(Role::Broker, Role::Participant, settings)
    }

    /// The side of a key broker where a participant is let in that cannot open its state yet.
    ///
    /// # Errors
    /// As [`ServerChannel::new`].
    pub fn of_broker_to_starting(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::of(Role::Broker, Role::StartingParticipant, settings)
    }

    fn of(role: Role, peer: Role, settings: ChannelSettings) -> Result<Self, ChannelError> {
        Ok(Self {
            party: Party::new(role, peer, settings)?,
            tls_key: TlsKey::generate()?,
        })
    }

    /// How long a connection lives before it is closed and its peer attests anew, by the policy.
    pub fn max_age(&self) -> Duration {
        self.party.max_age()
    }
}

/// The connecting side: a participant's.
pub struct ClientChannel {
    party: Party,
    tls_key: TlsKey,
}

impl ClientChannel {
    /// Prepares the side, with a TLS key of its own.
    ///
    /// # Errors
    /// [`ChannelError::Tls`] when no key could be made, [`ChannelError::Name`] when the organisation's name is too long.
    pub fn new(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::to(Role::Participant, Role::Coordinator, settings)
    }

    /// A participant's side of a connection to its organisation's key broker, where no coordinator is taken for one.
    ///
    /// # Errors
    /// As [`ClientChannel::new`].
    pub fn to_broker(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::to(Role::Participant, Role::Broker, settings)
    }

    /// The side of a participant that cannot open its state yet. Its identity key is one that was drawn for this: what speaks for it
    /// is its evidence.
    ///
    /// # Errors
    /// As [`ServerChannel::new`].
    pub fn starting_to_broker(settings: ChannelSettings) -> Result<Self, ChannelError> {
        Self::to(Role::StartingParticipant, Role::Broker, settings)
    }

    fn to(role: Role, peer: Role, settings: ChannelSettings) -> Result<Self, ChannelError> {
        Ok(Self {
            party: Party::new(role, peer, settings)?,
            tls_key: TlsKey::generate()?,
        })
    }

    /// How long a connection lives before it is closed and its peer attests anew, by the policy.
    pub fn max_age(&self) -> Duration {
        self.party.max_age()
    }
}

/// Lets a peer in that proves itself within the policy's time, at most [`EXCHANGE_TIMEOUT`].
///
/// # Errors
/// [`ChannelError`]. A refused peer is [`ChannelError::PeerRefused`], with the precise reason; the peer was told a coarse one.
pub async fn accept(
    stream: TcpStream,
    channel: &ServerChannel,
) -> Result<AttestedStream, ChannelError> {
    stream.set_nodelay(true)?;
    accept_on(stream, channel).await
}

/// [`accept`] on any transport.
///
/// # Errors
/// As [`accept`].
pub async fn accept_on<S>(
    stream: S,
    channel: &ServerChannel,
) -> Result<AttestedStream<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let attempt = async {
        let (config, own_spki) = channel.tls_key.server_config(channel.party.now())?;
        let mut stream = TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .map_err(handshake)?;
        let binding = Binding::of(stream.get_ref().1, own_spki)?;
        let exchange = Exchange::new(&channel.party, binding);
        let session = exchange.serve(&mut stream).await?;
        Ok(AttestedStream::new(stream.into(), session))
    };
    tokio::time::timeout(channel.party.exchange_timeout(), attempt)
        .await
        .map_err(|_| ChannelError::Timeout)?
}

/// Opens a connection to a peer that proves itself within the policy's time, at most [`EXCHANGE_TIMEOUT`].
///
/// # Errors
/// [`ChannelError`]. A refused peer is [`ChannelError::PeerRefused`]; a peer that refused us is [`ChannelError::RefusedByPeer`].
pub async fn connect(
    address: impl ToSocketAddrs,
    channel: &ClientChannel,
) -> Result<AttestedStream, ChannelError> {
    let opening = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = opening.await.map_err(|_| ChannelError::Timeout)??;
    stream.set_nodelay(true)?;
    connect_on(stream, channel).await
}

/// [`connect`] on any transport that is open already.
///
/// # Errors
/// As [`connect`].
pub async fn connect_on<S>(
    stream: S,
    channel: &ClientChannel,
) -> Result<AttestedStream<S>, ChannelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let attempt = async {
        let (config, own_spki) = channel.tls_key.client_config(channel.party.now())?;
        // Names say nothing here, evidence does; this one is never sent.
        let name = ServerName::try_from("consort.invalid").expect("a valid DNS name");
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(handshake)?;
        let binding = Binding::of(stream.get_ref().1, own_spki)?;
        let exchange = Exchange::new(&channel.party, binding);
        let session = exchange.open(&mut stream).await?;
        Ok(AttestedStream::new(stream.into(), session))
    };
    tokio::time::timeout(channel.party.exchange_timeout(), attempt)
        .await
        .map_err(|_| ChannelError::Timeout)?
}

/// A handshake's failure arrives wrapped as the transport's; whose fault it is lies inside.
fn handshake(error: std::io::Error) -> ChannelError {
    match error.downcast::<rustls::Error>() {
        Ok(tls) => ChannelError::Tls(tls),
        Err(transport) => ChannelError::Io(transport),
    }
}
