//! TLS 1.3 and nothing else: any well-formed certificate on both sides, no resumption, no tickets, no early data.
//!
//! # Security
//! A certificate proves nothing here but the possession of its key, and that only because the handshake's signature is always
//! checked: [`rustls::crypto::verify_tls13_signature`]. Who the peer is comes out of the attestation exchange.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName,
    Error, ServerConfig, SignatureScheme,
};
use x509_cert::der::Encode;

use super::MAX_CONNECTION_AGE;
use super::error::ChannelError;
use crate::certificate::parse_strict;

/// What is spoken inside: first the exchange, then HTTP/2. A port of another protocol is never mistaken for it (RFC 7301).
const ALPN: &[u8] = b"consort-attest/1";

/// RFC 8446, section 7.5.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-consort-attest/v1";

/// A certificate is dated for one connection, and back by as much as clocks commonly differ. Nothing relies on the dates.
const BACKDATED: Duration = Duration::from_secs(300);

/// The process's TLS key, ECDSA P-256. Its certificate is made anew for each connection.
pub(super) struct TlsKey(KeyPair);

impl TlsKey {
    pub(super) fn generate() -> Result<Self, ChannelError> {
        Ok(Self(
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(no_key)?,
        ))
    }

    /// A configuration for one accepted connection, and the own SubjectPublicKeyInfo in it.
    pub(super) fn server_config(
        &self,
        now: SystemTime,
    ) -> Result<(ServerConfig, Vec<u8>), ChannelError> {
        let (certificate, key, spki) = self.certificate(now)?;
        let provider = Arc::new(provider());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(AnyWellFormed::new(&provider)))
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok((config, spki))
    }

    /// A configuration for one opened connection, and the own SubjectPublicKeyInfo in it.
    pub(super) fn client_config(
        &self,
        now: SystemTime,
    ) -> Result<(ClientConfig, Vec<u8>), ChannelError> {
        let (certificate, key, spki) = self.certificate(now)?;
        let provider = Arc::new(provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyWellFormed::new(&provider)))
            .with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        Ok((config, spki))
    }

    pub(super) fn certificate(
        &self,
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>, Vec<u8>), ChannelError> {
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + MAX_CONNECTION_AGE + BACKDATED).into();
        let certificate = params.self_signed(&self.0).map_err(no_key)?.der().clone();
        let key = PrivateKeyDer::try_from(self.0.serialize_der()).map_err(no_key)?;
        let spki = spki(&certificate)?;
        Ok((certificate, key, spki))
    }
}

/// AES-256-GCM alone: a job may ask for AES-256 on the way, and no peer is to choose less.
fn provider() -> CryptoProvider {
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
    pub(super) fn of<Data>(
        connection: &ConnectionCommon<Data>,
        own_spki: Vec<u8>,
    ) -> Result<Self, ChannelError> {
        let certificate = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        let peer_spki = spki(certificate.ok_or(Error::NoCertificatesPresented)?)?;
        let exporter = connection.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
        Ok(Self {
            own_spki,
            peer_spki,
            exporter,
        })
    }
}

fn spki(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let certificate = parse_strict(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let spki = certificate.tbs_certificate.subject_public_key_info.to_der();
    Ok(spki.map_err(|_| CertificateError::BadEncoding)?)
}

fn no_key(error: impl std::fmt::Display) -> ChannelError {
    ChannelError::Tls(Error::General(format!(
        "no TLS key or certificate could be made: {error}"
    )))
}

/// Takes any single certificate that reads, and insists that its key signed the handshake.
#[derive(Debug)]
struct AnyWellFormed {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyWellFormed {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check(
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        spki(certificate).map(|_| ())
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.3 alone is spoken here".to_owned())
}

impl ServerCertVerifier for AnyWellFormed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for AnyWellFormed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
