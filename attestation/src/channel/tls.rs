//! TLS 1.3 and nothing else: one certificate with evidence on both sides, no resumption, no tickets, no early data.
//!
//! # Security
//! The handshake's signature is always checked, and the evidence in the certificate with it: [`super::filter`]. Who the peer is comes out
//! of the attestation exchange.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConnectionCommon, Error, ServerConfig};

use super::error::ChannelError;
use super::filter::{FirstFilter, Passed};
use super::own_certificate::Issued;

/// What is spoken inside: first the exchange, then HTTP/2. A port of another protocol is never mistaken for it (RFC 7301). The second
/// version has evidence in its certificates.
const ALPN: &[u8] = b"consort-attest/2";

/// RFC 8446, section 7.5.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-consort-attest/v1";

/// A configuration for one accepted connection.
pub(super) fn server_config(
    own: &Issued,
    filter: &Arc<FirstFilter>,
) -> Result<ServerConfig, ChannelError> {
    let certificate = SingleCertAndKey::from(Arc::clone(&own.certified));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(filter) as _)
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// A configuration for one opened connection.
pub(super) fn client_config(
    own: &Issued,
    filter: &Arc<FirstFilter>,
) -> Result<ClientConfig, ChannelError> {
    let certificate = SingleCertAndKey::from(Arc::clone(&own.certified));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(filter) as _)
        .with_client_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// AES-256-GCM alone: a job may ask for AES-256 on the way, and no peer is to choose less.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    }
}

/// What ties a statement to this one TLS session.
pub(super) struct Binding {
    pub(super) own_spki: Vec<u8>,
    pub(super) peer_spki: Vec<u8>,
    pub(super) exporter: [u8; 32],
}

impl Binding {
    /// Of a connection whose peer has passed the first filter.
    pub(super) fn of<Data>(
        connection: &ConnectionCommon<Data>,
        own: &Issued,
        peer: Option<Passed>,
    ) -> Result<Self, ChannelError> {
        // A handshake that ends well without the filter's word would be one that was resumed: that is never offered.
        let peer = peer.ok_or(Error::NoCertificatesPresented)?;
        let exporter = connection.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
        Ok(Self {
            own_spki: own.spki.clone(),
            peer_spki: peer.spki().to_vec(),
            exporter,
        })
    }
}

/// A failed handshake of a client's. What refuses its certificate says so after it, under the session's keys; an alert before that may be
/// anybody's on the way, and is nobody's refusal.
pub(super) fn unnamed_alert(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(rustls::Error::AlertReceived(alert)) = tls {
        let said = format!("the handshake was ended by the TLS alert {alert:?}");
        return io::Error::new(io::ErrorKind::ConnectionAborted, said);
    }
    error
}
