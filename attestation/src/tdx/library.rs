//! The crate's own verdict on a quote, with the cryptography that TLS has here, and a name for each of its refusals.

use std::time::{SystemTime, UNIX_EPOCH};

use dcap_qvl::config::{Config, CryptoProvider, EcdsaSigEncoder, ParsedCert, PckCa, X509Codec};
use dcap_qvl::verify::QuoteVerifier;
use p256::ecdsa::Signature;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384};
use x509_cert::Certificate;

use super::{Collateral, Quote};
use crate::certificate::parse_strict;
use crate::reason::Reason;

/// What the crate is built of here: strict certificates, and TLS's ECDSA.
pub(super) struct Backend;

impl Config for Backend {
    type X509 = Self;
    type SigEncoder = Self;
    type Crypto = Self;
}

impl X509Codec for Backend {
    type Parsed<'a> = Strict;

    fn from_der(der: &[u8]) -> anyhow::Result<Strict> {
        Ok(Strict(parse_strict(der)?))
    }
}

/// A certificate whose bytes are exactly its own encoding.
pub(super) struct Strict(Certificate);

impl ParsedCert for Strict {
    fn pck_ca(&self) -> Option<PckCa> {
        // It is asked for by those who fetch collateral. Nothing is fetched here.
        None
    }

    fn extension(&self, oid: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let extensions = self.0.tbs_certificate.extensions.as_deref();
        let mut found = extensions
            .unwrap_or_default()
            .iter()
            .filter(|extension| extension.extn_id.as_bytes() == oid);
        let first = found.next();
        anyhow::ensure!(found.next().is_none(), "an extension is there twice");
        Ok(first.map(|extension| extension.extn_value.as_bytes().to_vec()))
    }
}

impl EcdsaSigEncoder for Backend {
    fn encode_ecdsa_sig(r: &[u8], s: &[u8]) -> anyhow::Result<Vec<u8>> {
        let signature = Signature::from_slice(&[r, s].concat())?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

impl CryptoProvider for Backend {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        let all = aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all;
        let found = all.iter().find(|algorithm| {
            algorithm.public_key_alg_id() == alg_id::ECDSA_P256
                && algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
        });
        *found.expect("TLS's provider has ECDSA P-256 with SHA-256")
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        Sha256::digest(data).into()
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        Sha384::digest(data).into()
    }
}

/// What the crate found, when it refused for nothing.
pub(crate) struct Appraisal {
    /// Intel's word for the firmware level: of platform, TDX module and quoting enclave together.
    pub(crate) status: String,
    /// The advisories that the level is open to.
    pub(crate) advisories: Vec<String>,
}

/// What [`appraise`] refuses for, in the crate's order.
pub(crate) const VERDICTS: &[Reason] = &[
    Reason::TdxCollateralSignature,
    Reason::TdxCertificateChain,
    Reason::TdxCertificateRevoked,
    Reason::TdxQeReportSignature,
    Reason::TdxQeReportData,
    Reason::TdxQeIdentity,
    Reason::TdxQuoteSignature,
    Reason::TdxTcbLevel,
    Reason::TdxModule,
    Reason::TdxTcbRevoked,
    Reason::TdxDebug,
    Reason::TdxAttributesReserved,
    Reason::TdxMigratable,
    Reason::TdxServiceTd,
    Reason::TdxSeptVeDisable,
    Reason::TdxAppraisal,
];

/// Has the crate verify the quote by this collateral, at this time, which it takes as it is: whoever allows for clocks that differ gives it
/// a time at which all dates hold.
///
/// # Security
/// It refuses a revoked platform, a TD that may be debugged, profiled or migrated, one with service TDs, and one without
/// SEPT_VE_DISABLE, whatever a policy says. Its errors are text alone: they give a refusal its name, and decide nothing.
pub(crate) fn appraise(
    quote: &Quote,
    collateral: &Collateral,
    now: SystemTime,
) -> Result<Appraisal, Reason> {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let verifier = QuoteVerifier::<Backend>::new_with_config(collateral.root_der.clone());
    match verifier.verify(quote.raw(), &collateral.inner, seconds) {
        Ok(report) => Ok(Appraisal {
            status: report.status,
            advisories: report.advisory_ids,
        }),
        Err(error) => Err(reason_of(&format!("{error:#}"))),
    }
}

/// A name for each of the crate's refusals, in words that its version here has: the first that fits. Every name has a case among the
/// tests, so that a version with other words shows.
fn reason_of(text: &str) -> Reason {
    const NAMES: &[(&str, Reason)] = &[
        ("CertRevoked", Reason::TdxCertificateRevoked),
        ("QE report validation", Reason::TdxQeIdentity),
        ("qe_report in quote", Reason::TdxQeReportSignature),
        ("QE report hash", Reason::TdxQeReportData),
        ("QE auth data", Reason::TdxQeReportData),
        ("in quote_collateral", Reason::TdxCollateralSignature),
        ("signer must be issued", Reason::TdxCollateralSignature),
        ("CRL", Reason::TdxCollateralSignature),
        ("Crl", Reason::TdxCollateralSignature),
        ("certificate chain", Reason::TdxCertificateChain),
        ("QE Identity", Reason::TdxQeIdentity),
        ("QE MRSIGNER", Reason::TdxQeIdentity),
        ("QE ISVPRODID", Reason::TdxQeIdentity),
        ("QE MISCSELECT", Reason::TdxQeIdentity),
        ("QE ATTRIBUTES", Reason::TdxQeIdentity),
        ("ISV enclave report signature", Reason::TdxQuoteSignature),
        ("No matching TCB level", Reason::TdxTcbLevel),
        ("TDX module", Reason::TdxModule),
        ("Revoked", Reason::TdxTcbRevoked),
        ("Debug mode", Reason::TdxDebug),
        ("TD profiling", Reason::TdxDebug),
        ("Reserved bits in TD", Reason::TdxAttributesReserved),
        ("TD migration", Reason::TdxMigratable),
        ("SERVTD_EXT", Reason::TdxServiceTd),
        ("MR service TD", Reason::TdxServiceTd),
        ("SEPT_VE_DISABLE", Reason::TdxSeptVeDisable),
    ];
    let named = NAMES.iter().find(|(words, _)| text.contains(words));
    named.map_or(Reason::TdxAppraisal, |(_, reason)| *reason)
}
