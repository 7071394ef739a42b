//! The first filter, inside the handshake: a peer that does not hold its certificate's key, or whose certificate carries no good evidence for
//! that key, is not spoken to at all.
//!
//! # Security
//! The signature of the handshake comes first, so that evidence is judged, and a refusal noted, only of whoever holds the key it is about. It
//! is good evidence of some machine for this key; whose machine it is, and that the session ends in it, only the exchange shows: with a
//! leaked key this filter is passed (CVE-2026-33697).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::certificate::{CertificateReason, PeerCertificate};
use super::error::{CertificateRefused, CorrelationId};
use super::in_force::Rules;
use crate::require::require;
use crate::statements::Role;

/// Judges the one certificate of one handshake.
pub(super) struct FirstFilter {
    algorithms: WebPkiSupportedAlgorithms,
    rules: Arc<Rules>,
    /// The role that the peer must play.
    role: Role,
    now: SystemTime,
    passed: OnceLock<Passed>,
}

/// A peer that holds this key, for which a machine vouched that the policy has nothing against. Only the filter makes one.
#[derive(Clone)]
pub(super) struct Passed {
    spki: Vec<u8>,
}

impl Passed {
    /// The peer's key, as DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl FirstFilter {
    pub(super) fn new(
        provider: &CryptoProvider,
        rules: Arc<Rules>,
        role: Role,
        now: SystemTime,
    ) -> Arc<Self> {
        Arc::new(Self {
            algorithms: provider.signature_verification_algorithms,
            rules,
            role,
            now,
            passed: OnceLock::new(),
        })
    }

    /// The peer of this handshake, once it has passed.
    pub(super) fn passed(&self) -> Option<Passed> {
        self.passed.get().cloned()
    }

    /// Before the peer has shown its key: what costs nothing.
    fn check_form(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        require(intermediates.is_empty(), CertificateReason::Alone)
            .and_then(|()| PeerCertificate::parse(certificate))
            .map(drop)
            .map_err(|reason| self.refused(reason, certificate, None))
    }

    /// After it has: what its evidence is worth.
    pub(super) fn judge(&self, certificate: &CertificateDer<'_>) -> Result<Passed, Error> {
        let read = PeerCertificate::parse(certificate)
            .map_err(|reason| self.refused(reason, certificate, None))?;
        let refused = |reason| self.refused(reason, certificate, Some(&read));
        let verifier = &self.rules.verifier;
        read.check_dates(self.now, verifier.clock_skew())
            .map_err(refused)?;
        let evidence = read.evidence().map_err(refused)?;
        let report_data = read.report_data(self.role);
        match verifier.screen(&evidence, report_data, self.now) {
            Ok(()) => Ok(Passed {
                spki: read.spki().to_vec(),
            }),
            Err(screened) => {
                let machine = screened.machine.as_ref();
                let owner =
                    machine.and_then(|machine| self.rules.directory.owner(self.role, machine));
                Err(other(CertificateRefused {
                    organisation: owner,
                    ..self.refusal(
                        CertificateReason::Evidence(screened.reason),
                        certificate,
                        Some(&read),
                    )
                }))
            }
        }
    }

    fn refused(
        &self,
        reason: CertificateReason,
        certificate: &CertificateDer<'_>,
        read: Option<&PeerCertificate>,
    ) -> Error {
        other(self.refusal(reason, certificate, read))
    }

    fn refusal(
        &self,
        reason: CertificateReason,
        certificate: &CertificateDer<'_>,
        read: Option<&PeerCertificate>,
    ) -> CertificateRefused {
        CertificateRefused {
            role: self.role,
            organisation: None,
            reason,
            correlation: CorrelationId::of_certificate(certificate),
            evidence: read.map_or_else(Vec::new, |read| read.evidence_bytes().to_vec()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verify_tls13_signature(message, certificate, signed, &self.algorithms)?;
        let passed = self.judge(certificate)?;
        // A second certificate in one handshake cannot be: the first is the one that counts.
        let _kept = self.passed.set(passed);
        Ok(valid)
    }
}

/// TLS tells the peer `certificate_unknown` and nothing else, whatever the reason (RFC 8446, section 6.2).
fn other(refused: CertificateRefused) -> Error {
    CertificateError::Other(OtherError(Arc::new(refused))).into()
}

fn no_tls12() -> Error {
    Error::General("TLS 1.3 alone is spoken here".to_owned())
}

impl ServerCertVerifier for FirstFilter {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_form(end_entity, intermediates)
            .map(|()| ServerCertVerified::assertion())
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
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for FirstFilter {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_form(end_entity, intermediates)
            .map(|()| ClientCertVerified::assertion())
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
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for FirstFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFilter")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
