//! The verifier's own roots: pairs of ARK and ASK it was configured with. A peer never supplies one.

use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Encode;

use crate::certificate::{Dates, name_value, oid, pem_list};
use crate::snp;

/// The roots a verifier was given. Which of them are trusted, and as what, is the policy's word.
#[derive(Clone, Default)]
pub struct TrustStore {
    anchors: Vec<Anchor>,
}

/// An ARK (self-signed) and the ASK it signed.
#[derive(Clone)]
pub(crate) struct Anchor {
    /// SHA-256 of the ARK's DER, as policies pin it.
    pub(crate) ark_hash: [u8; 32],
    pub(crate) ask: Certificate,
    /// When both are valid.
    pub(crate) dates: Dates,
    /// Whether the ARK says of itself that it is no hardware vendor's.
    pub(crate) says_simulated: bool,
}

/// The organisation that simulated vendors' certificates name, so that none passes for AMD's by a slip in a policy.
pub(crate) const SIMULATED_ORGANISATION: &str = "Consort simulated vendor";

impl TrustStore {
    /// A store without roots.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the root of one product from a PEM bundle as AMD publishes it: its ARK, its ASK and perhaps its ASVK, in any order.
    /// The ASVK is passed over: VLEK evidence is not accepted.
    ///
    /// # Errors
    /// [`TrustError`] when the bundle does not hold one self-signed ARK and one ASK that it signed.
    pub fn add_pem_bundle(&mut self, pem: &[u8]) -> Result<(), TrustError> {
        let certificates = pem_list(pem).map_err(|_| TrustError::NotPem)?;
        let (arks, others): (Vec<_>, Vec<_>) = certificates.into_iter().partition(|certificate| {
            certificate.tbs_certificate.subject == certificate.tbs_certificate.issuer
        });
        let [ark] = <[Certificate; 1]>::try_from(arks).map_err(|_| TrustError::NotOneArk)?;
        let asks: Vec<_> = others
            .into_iter()
            .filter(|certificate| !is_asvk(certificate))
            .collect();
        let [ask] = <[Certificate; 1]>::try_from(asks).map_err(|_| TrustError::NotOneAsk)?;
        if !snp::is_issued_by(&ark, &ark) || !snp::is_issued_by(&ask, &ark) {
            return Err(TrustError::NotSigned);
        }
        let der = ark.to_der().map_err(|_| TrustError::NotPem)?;
        self.anchors.push(Anchor {
            ark_hash: Sha256::digest(der).into(),
            dates: Dates::of(&ark).and(Dates::of(&ask)),
            says_simulated: name_value(&ark.tbs_certificate.subject, oid::ORGANISATION)
                == Some(SIMULATED_ORGANISATION),
            ask,
        });
        Ok(())
    }

    /// The SHA-256 hashes of the roots' ARKs, as a policy pins them.
    pub fn root_hashes(&self) -> Vec<[u8; 32]> {
        self.anchors.iter().map(|anchor| anchor.ark_hash).collect()
    }

    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

/// AMD names the key that signs VLEKs `SEV-VLEK-<product>`.
fn is_asvk(certificate: &Certificate) -> bool {
    name_value(&certificate.tbs_certificate.subject, oid::COMMON_NAME)
        .is_some_and(|name| name.starts_with("SEV-VLEK"))
}

/// A bundle of roots that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It does not read as PEM certificates.
    #[error("the bundle of roots is not a list of PEM certificates")]
    NotPem,
    /// It holds no ARK, or several.
    #[error(
        "a bundle of roots must hold exactly one self-issued certificate, the ARK; give each product its own file"
    )]
    NotOneArk,
    /// It holds no ASK, or several.
    #[error("a bundle of roots must hold exactly one ASK beside the ARK")]
    NotOneAsk,
    /// The ARK did not sign itself and the ASK.
    #[error("the ARK of the bundle did not sign itself and the ASK")]
    NotSigned,
}

impl TrustError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPem => "trust.not-pem",
            Self::NotOneArk => "trust.not-one-ark",
            Self::NotOneAsk => "trust.not-one-ask",
            Self::NotSigned => "trust.not-signed",
        }
    }
}
