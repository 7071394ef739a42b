//! The verifier's own roots: ARKs with the ASK and ASVK they signed, and their revocation lists; Intel's, with its collateral. A peer
//! never supplies one.

use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Encode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::certificate::{Dates, EndorsementKey, name_value, oid, parse_strict};
use crate::crl::RevocationList;
use crate::machine::Product;
use crate::tdx::Collateral;
use crate::{pem, snp};

/// The roots a verifier was given. Which of them are trusted, and as what, is the policy's word.
#[derive(Clone, Default)]
pub struct TrustStore {
    anchors: Vec<Anchor>,
    /// Intel's, each for one family of platforms under one root.
    collateral: Vec<Collateral>,
}

/// An ARK (self-signed) and the keys it signed.
#[derive(Clone)]
pub(crate) struct Anchor {
    /// SHA-256 of the ARK's DER, as policies pin it.
    pub(crate) ark_hash: [u8; 32],
    ark: Certificate,
    /// The ASK, the ASVK, or both.
    pub(crate) signers: Vec<Signer>,
    /// Whether the ARK says of itself that it is no hardware vendor's.
    pub(crate) says_simulated: bool,
    /// Its revocation lists, each signed by it. What any of them revokes is revoked; the newest must be fresh.
    pub(crate) crls: Vec<RevocationList>,
}

/// A key that signs VCEKs (ASK) or VLEKs (ASVK).
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) certificate: Certificate,
    pub(crate) signs: EndorsementKey,
    /// When both it and its ARK are valid.
    pub(crate) dates: Dates,
}

/// The organisation that simulated vendors' certificates name, so that none passes for AMD's by a slip in a policy.
pub(crate) const SIMULATED_ORGANISATION: &str = "Consort simulated vendor";

/// SHA-256 of AMD's three root certificates (ARK), DER, as published at `kdsintf.amd.com/vcek/v1/<product>/cert_chain`.
pub const AMD_ROOT_HASHES: [(Product, &str); 3] = [
    (
        Product::Milan,
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    ),
    (
        Product::Genoa,
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    ),
    (
        Product::Turin,
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    ),
];

/// SHA-256 of Intel's root certificate for SGX and TDX, DER, as published at
/// `certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer`.
pub const INTEL_ROOT_HASH: &str =
    "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

impl TrustStore {
    /// A store without roots.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the root of one product from a PEM bundle as AMD publishes it: its ARK, its ASK, its ASVK or both, in any order, and
    /// perhaps the ARK's revocation lists (`X509 CRL`).
    ///
    /// # Errors
    /// [`TrustError`] when the bundle does not hold one self-signed ARK and an ASK or ASVK that it signed, all of them
    /// authorities by their own extensions, or a revocation list is not the ARK's.
    pub fn add_pem_bundle(&mut self, bundle: &[u8]) -> Result<(), TrustError> {
        let (mut arks, mut others, mut crls) = (Vec::new(), Vec::new(), Vec::new());
        for block in pem::blocks(bundle).map_err(|_| TrustError::NotPem)? {
            if block.label == pem::CRL {
                crls.push(RevocationList::parse(&block.der)?);
                continue;
            }
            let certificate = parse_strict(&block.der).map_err(|_| TrustError::NotPem)?;
            let tbs = &certificate.tbs_certificate;
            if block.label != pem::CERTIFICATE {
                return Err(TrustError::NotPem);
            } else if tbs.subject == tbs.issuer {
                arks.push(certificate);
            } else {
                others.push(certificate);
            }
        }
        let [ark] = <[Certificate; 1]>::try_from(arks).map_err(|_| TrustError::NotOneArk)?;
        let mut anchor = Anchor::new(ark, others)?;
        for crl in crls {
            anchor.add_crl(crl)?;
        }
        // Bundles of one ARK, with its ASK and with its ASVK, obey the same lists, whichever of them brought them.
        let mut lists = std::mem::take(&mut anchor.crls);
        let mut of_this_ark = vec![anchor];
        let (same, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.anchors)
            .into_iter()
            .partition(|known| known.ark_hash == of_this_ark[0].ark_hash);
        lists.extend(
            same.first()
                .map(|known| known.crls.clone())
                .unwrap_or_default(),
        );
        of_this_ark.extend(same);
        for anchor in &mut of_this_ark {
            anchor.crls.clone_from(&lists);
        }
        self.anchors = others;
        self.anchors.extend(of_this_ark);
        Ok(())
    }

    /// Adds a revocation list, DER or PEM, to the roots that are here already.
    ///
    /// # Errors
    /// [`TrustError`] when it does not read, or no root here signed it.
    pub fn add_crl(&mut self, file: &[u8]) -> Result<(), TrustError> {
        let der = pem::one(file, pem::CRL).map_err(|_| TrustError::CrlMalformed)?;
        let crl = RevocationList::parse(&der)?;
        let mut of_its_name = self
            .anchors
            .iter_mut()
            .filter(|anchor| anchor.ark.tbs_certificate.subject == *crl.issuer())
            .peekable();
        if of_its_name.peek().is_none() {
            return Err(TrustError::CrlUnknownIssuer);
        }
        // Two bundles may hold one ARK, with its ASK and with its ASVK.
        let mut taken = false;
        for anchor in of_its_name {
            taken |= anchor.add_crl(crl.clone()).is_ok();
        }
        if taken {
            Ok(())
        } else {
            Err(TrustError::CrlNotSigned)
        }
    }

    /// Adds Intel's collateral for one family of platforms (FMSPC), with the root that it leads to: a JSON object of the eight parts, as
    /// `dcap-qvl` and others write it.
    ///
    /// # Errors
    /// [`TrustError::CollateralMalformed`], and [`TrustError::CollateralTwice`] where the family has some under this root already.
    ///
    /// # Security
    /// Who signed it is looked at with each quote, not here.
    pub fn add_collateral(&mut self, json: &[u8]) -> Result<(), TrustError> {
        let collateral = Collateral::parse(json)?;
        let same = |known: &Collateral| {
            (known.root_hash, known.fmspc) == (collateral.root_hash, collateral.fmspc)
        };
        if self.collateral.iter().any(same) {
            return Err(TrustError::CollateralTwice);
        }
        self.collateral.push(collateral);
        Ok(())
    }

    /// The SHA-256 hashes of the roots, ARKs and Intel's, as a policy pins them.
    pub fn root_hashes(&self) -> Vec<[u8; 32]> {
        let arks = self.anchors.iter().map(|anchor| anchor.ark_hash);
        arks.chain(self.collateral.iter().map(|it| it.root_hash))
            .collect()
    }

    pub(crate) fn collateral(&self) -> &[Collateral] {
        &self.collateral
    }

    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

impl Anchor {
    fn new(ark: Certificate, others: Vec<Certificate>) -> Result<Self, TrustError> {
        let mut signers: Vec<Signer> = Vec::new();
        for certificate in others {
            let signs = if is_asvk(&certificate) {
                EndorsementKey::Vlek
            } else {
                EndorsementKey::Vcek
            };
            if signers.iter().any(|signer| signer.signs == signs) {
                return Err(TrustError::NotOneAsk);
            }
            signers.push(Signer {
                dates: Dates::of(&ark).and(Dates::of(&certificate)),
                certificate,
                signs,
            });
        }
        if signers.is_empty() {
            return Err(TrustError::NotOneAsk);
        }
        let issued = |signer: &Signer| snp::is_issued_by(&signer.certificate, &ark);
        if !snp::is_issued_by(&ark, &ark) || !signers.iter().all(issued) {
            return Err(TrustError::NotSigned);
        }
        let signers_may = signers
            .iter()
            .all(|signer| may(&signer.certificate, KeyUsage::key_cert_sign));
        if !may(&ark, KeyUsage::key_cert_sign) || !signers_may {
            return Err(TrustError::NotAnAuthority);
        }
        let der = ark.to_der().map_err(|_| TrustError::NotPem)?;
        Ok(Self {
            ark_hash: Sha256::digest(der).into(),
            says_simulated: name_value(&ark.tbs_certificate.subject, oid::ORGANISATION)
                == Some(SIMULATED_ORGANISATION),
            ark,
            signers,
            crls: Vec::new(),
        })
    }

    fn add_crl(&mut self, crl: RevocationList) -> Result<(), TrustError> {
        if self.ark.tbs_certificate.subject != *crl.issuer() {
            return Err(TrustError::CrlUnknownIssuer);
        }
        if !may(&self.ark, KeyUsage::crl_sign) || !crl.is_signed_by(&self.ark) {
            return Err(TrustError::CrlNotSigned);
        }
        self.crls.push(crl);
        Ok(())
    }

    /// The list that must be fresh.
    pub(crate) fn newest_crl(&self) -> Option<&RevocationList> {
        self.crls.iter().max_by_key(|crl| crl.this_update)
    }
}

/// Whether a certificate says of itself that it is an authority's, and that its key may be used so (RFC 5280, sections
/// 4.2.1.3 and 4.2.1.9). AMD's ARK, ASK and ASVK all do.
fn may(certificate: &Certificate, use_of: fn(&KeyUsage) -> bool) -> bool {
    let tbs = &certificate.tbs_certificate;
    let constraints = tbs.get::<BasicConstraints>().ok().flatten();
    let usage = tbs.get::<KeyUsage>().ok().flatten();
    constraints.is_some_and(|(_, constraints)| constraints.ca)
        && usage.is_some_and(|(_, usage)| use_of(&usage))
}

/// AMD names the key that signs VLEKs `SEV-VLEK-<product>`.
fn is_asvk(certificate: &Certificate) -> bool {
    name_value(&certificate.tbs_certificate.subject, oid::COMMON_NAME)
        .is_some_and(|name| name.starts_with("SEV-VLEK"))
}

/// A bundle of roots or a revocation list that cannot be used.
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
    /// It holds neither ASK nor ASVK, or one of them twice.
    #[error("a bundle of roots must hold one ASK, one ASVK, or one of each beside the ARK")]
    NotOneAsk,
    /// The ARK did not sign itself and the others.
    #[error("the ARK of the bundle did not sign itself and the others")]
    NotSigned,
    /// A certificate of the bundle is not an authority's.
    #[error("a certificate of the bundle does not say that its key may sign certificates")]
    NotAnAuthority,
    /// A revocation list does not read.
    #[error(
        "the revocation list is not strict DER, names no next update, or holds a critical extension that is not understood"
    )]
    CrlMalformed,
    /// Collateral that does not read.
    #[error(
        "the collateral is not a JSON object of Intel's eight parts for one family of platforms under one root"
    )]
    CollateralMalformed,
    /// Two files for one family of platforms: which of them holds, nobody says.
    #[error("there is collateral for this family of platforms already: keep the newer file alone")]
    CollateralTwice,
    /// A revocation list of no root here.
    #[error("the revocation list is of an issuer that is none of the roots given")]
    CrlUnknownIssuer,
    /// A revocation list that the root it names did not sign.
    #[error("the root that the revocation list names did not sign it")]
    CrlNotSigned,
}

impl TrustError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPem => "trust.not-pem",
            Self::NotOneArk => "trust.not-one-ark",
            Self::NotOneAsk => "trust.not-one-ask",
            Self::NotSigned => "trust.not-signed",
            Self::NotAnAuthority => "trust.not-an-authority",
            Self::CollateralMalformed => "trust.collateral-malformed",
            Self::CollateralTwice => "trust.collateral-twice",
            Self::CrlMalformed => "trust.crl-malformed",
            Self::CrlUnknownIssuer => "trust.crl-unknown-issuer",
            Self::CrlNotSigned => "trust.crl-not-signed",
        }
    }
}
