//! TLS clients that do not get as far as the exchange.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::duplex;
use tokio_rustls::TlsConnector;

use super::super::*;
use super::{certificate_of, clinic, coordinator, end};

/// What a client of the clinic's would connect with.
async fn clinics_config() -> rustls::ClientConfig {
    let own = certificate_of(Role::Participant, &clinic());
    let (own, filter) = end(&own, Role::Coordinator).await;
    client_config(&own, &filter).unwrap()
}

/// What the server makes of a TLS client of this configuration.
async fn server_meets_tls_client(config: rustls::ClientConfig) -> ChannelError {
    let (near, far) = duplex(256 * 1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    let name = ServerName::try_from("consort.invalid").unwrap();
    let client = async {
        // In TLS 1.3 the client is done before its certificate is judged; it keeps the stream open, and may fail.
        TlsConnector::from(Arc::new(config))
            .connect(name, far)
            .await
    };
    let (accepted, _open) = tokio::join!(accept_on(near, &server), client);
    accepted.unwrap_err()
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_refused() {
    let victim = certificate_of(Role::Participant, &clinic());
    let (stolen, _) = end(&victim, Role::Coordinator).await;
    let thief = certificate_of(Role::Participant, &clinic());
    let own = thief.key().certified(stolen.certified.cert[0].clone());
    let mut config = clinics_config().await;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own.unwrap()));
    let error = server_meets_tls_client(config).await;
    let bad_signature = rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature);
    assert!(
        matches!(&error, ChannelError::Tls(tls) if *tls == bad_signature),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mut config = clinics_config().await;
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let error = server_meets_tls_client(config).await;
    let none = rustls::Error::NoCertificatesPresented;
    assert!(
        matches!(&error, ChannelError::Tls(tls) if *tls == none),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_of_tls_1_2_is_refused() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let error = server_meets_tls_client(config).await;
    assert!(
        matches!(error, ChannelError::Tls(rustls::Error::PeerIncompatible(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_without_aes_256_is_refused() {
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![
            rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let error = server_meets_tls_client(config).await;
    assert!(
        matches!(error, ChannelError::Tls(rustls::Error::PeerIncompatible(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_that_would_resume_is_given_no_ticket() {
    let (near, far) = duplex(256 * 1024);
    let server = ServerChannel::new(coordinator()).unwrap();
    let mut config = clinics_config().await;
    config.resumption = rustls::client::Resumption::default();
    let client = async {
        let name = ServerName::try_from("consort.invalid").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, far).await.unwrap();
        // Tickets would come before the hello does.
        frame::read(&mut stream, super::super::MAX_FRAME_BYTES)
            .await
            .unwrap();
        stream.get_ref().1.tls13_tickets_received()
    };
    let (accepted, tickets) = tokio::join!(accept_on(near, &server), client);
    assert!(matches!(accepted, Err(ChannelError::Io(_))));
    assert_eq!(tickets, 0);
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
