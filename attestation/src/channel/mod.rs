//! The gate: TLS 1.3 with evidence in both certificates as a first filter, then one attestation exchange before any byte of the application,
//! server first.
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

mod certificate;
mod cmw;
mod connector;
mod error;
mod exchange;
mod filter;
mod frame;
mod in_force;
mod messages;
mod own_certificate;
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

pub use crate::limits::{AGE_GRACE, EXCHANGE_TIMEOUT, MAX_CONNECTION_AGE, MAX_FRAME_BYTES};
pub use certificate::{
    CertificateReason, MAX_CERTIFICATE_BYTES, MAX_CERTIFICATE_LIFE, PeerCertificate,
};
pub use cmw::{unwrap as unwrap_evidence, wrap as wrap_evidence};
pub use connector::AttestedConnector;
pub use error::{
    CertificateRefused, ChannelError, CoarseReason, CorrelationId, ManifestDifference, PeerRefused,
    RefusalCause,
};
pub use in_force::{Dropped, InForce, ManifestId, Rules};
pub use messages::{MAX_ORGANISATION_BYTES, message_of};
pub use peer::{PeerDirectory, Refused, SessionId, VerifiedPeer};
pub use stream::AttestedStream;

use crate::attester::Attester;
use crate::statements::Role;
use exchange::{Exchange, Party};
use filter::FirstFilter;
use own_certificate::{Issued, OwnCertificate};
use tls::{Binding, client_config, server_config};

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
    certificate: OwnCertificate,
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
            certificate: OwnCertificate::new(role, Arc::clone(&settings.attester))?,
            party: Party::new(role, peer, settings)?,
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
    certificate: OwnCertificate,
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
        let attester = Arc::clone(&settings.attester);
        Ok(Self {
            certificate: OwnCertificate::new(role, attester)?,
            party: Party::new(role, peer, settings)?,
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
    let (party, certificate) = (&channel.party, &channel.certificate);
    let attempt = async {
        let (own, filter) = prepare(party, certificate).await?;
        let attempt = async {
            let config = server_config(&own, &filter)?;
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
            let binding = Binding::of(stream.get_ref().1, &own, filter.passed())?;
            let session = Exchange::new(party, binding).serve(&mut stream).await?;
            Ok(AttestedStream::new(stream.into(), session))
        };
        settle(attempt.await, party, certificate, &own).await
    };
    tokio::time::timeout(party.exchange_timeout(), attempt)
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
    let (party, certificate) = (&channel.party, &channel.certificate);
    let attempt = async {
        let (own, filter) = prepare(party, certificate).await?;
        let attempt = async {
            let config = client_config(&own, &filter)?;
            // Names say nothing here, evidence does; this one is never sent.
            let name = ServerName::try_from("consort.invalid").expect("a valid DNS name");
            let connector = TlsConnector::from(Arc::new(config));
            let shaken = connector.connect(name, stream).await;
            let mut stream = shaken.map_err(|error| ChannelError::Io(tls::unnamed_alert(error)))?;
            let binding = Binding::of(stream.get_ref().1, &own, filter.passed())?;
            let session = Exchange::new(party, binding).open(&mut stream).await?;
            Ok(AttestedStream::new(stream.into(), session))
        };
        settle(attempt.await, party, certificate, &own).await
    };
    tokio::time::timeout(party.exchange_timeout(), attempt)
        .await
        .map_err(|_| ChannelError::Timeout)?
}

/// What a handshake begins with: the newest own certificate, and who judges the peer's by the rules of now.
async fn prepare(
    party: &Party,
    certificate: &OwnCertificate,
) -> Result<(Arc<Issued>, Arc<FirstFilter>), ChannelError> {
    let (now, rules) = (party.now(), party.rules());
    let own = certificate.newest(now, rules.manifest).await?;
    let filter = FirstFilter::new(&tls::provider(), rules, party.peer_role(), now);
    Ok((own, filter))
}

/// Whose fault a failure is: what TLS refuses arrives wrapped as the transport's, also a refusal of the own certificate, which in TLS 1.3 a
/// client hears of after its handshake.
async fn settle<T>(
    outcome: Result<T, ChannelError>,
    party: &Party,
    certificate: &OwnCertificate,
    own: &Arc<Issued>,
) -> Result<T, ChannelError> {
    let outcome = outcome.map_err(|error| error.unwrapped(own.correlation));
    if let Err(ChannelError::CertificateRefusedByPeer(_)) = &outcome {
        certificate.doubt(own, party.now()).await;
    }
    outcome
}
