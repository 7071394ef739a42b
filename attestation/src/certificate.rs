//! AMD's certificates: strict reading, and the extensions in which a VCEK says which chip at which firmware level it is for, a
//! VLEK which cloud provider.

use std::fmt;
use std::time::{Duration, SystemTime};

use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::name::Name;

use crate::machine::{ChipId, Product, Tcb};
use crate::pem;
use crate::reason::Reason;
use crate::require::require;

/// AMD's extensions of a VCEK (AMD 57230, table 8) and a VLEK (AMD 58369), and the identifiers of keys.
pub(crate) mod oid {
    use super::ObjectIdentifier;

    pub(crate) const STRUCT_VERSION: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
    pub(crate) const PRODUCT_NAME: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
    pub(crate) const BOOTLOADER_SPL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
    pub(crate) const TEE_SPL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
    pub(crate) const SNP_SPL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
    pub(crate) const MICROCODE_SPL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
    pub(crate) const FMC_SPL: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
    pub(crate) const HARDWARE_ID: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
    pub(crate) const CSP_ID: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");
    pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    pub(crate) const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
}

/// Reads a certificate whose bytes are exactly its own encoding, and whose two statements of the signature algorithm agree
/// (RFC 5280, section 4.1.1.2): the outer one is not signed.
pub(crate) fn parse_strict(der: &[u8]) -> Result<Certificate, Reason> {
    let certificate = Certificate::from_der(der).map_err(|_| Reason::CertificateEncoding)?;
    let again = certificate
        .to_der()
        .map_err(|_| Reason::CertificateEncoding)?;
    require(again == der, Reason::CertificateEncoding)?;
    require(
        certificate.signature_algorithm == certificate.tbs_certificate.signature,
        Reason::CertificateEncoding,
    )?;
    // The count of unused bits is not signed either, and whoever checks the signature reads whole bytes.
    require(
        certificate.signature.unused_bits() == 0,
        Reason::CertificateEncoding,
    )?;
    Ok(certificate)
}

/// The DER of a certificate in a file, PEM or DER. Nothing but the outermost form is looked at.
pub fn certificate_der(file: &[u8]) -> Option<Vec<u8>> {
    pem::one(file, pem::CERTIFICATE).ok()
}

/// The name's first value of this kind, as text.
pub(crate) fn name_value(name: &Name, kind: ObjectIdentifier) -> Option<&str> {
    let values = name.0.iter().flat_map(|relative| relative.0.iter());
    let value = values
        .filter(|value| value.oid == kind)
        .map(|value| value.value.value())
        .next()?;
    std::str::from_utf8(value).ok()
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) struct Dates {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Dates {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        let validity = &certificate.tbs_certificate.validity;
        Self {
            not_before: validity.not_before.to_system_time(),
            not_after: validity.not_after.to_system_time(),
        }
    }

    /// How long a certificate is valid.
    pub(crate) fn lifetime(&self) -> Duration {
        self.not_after
            .duration_since(self.not_before)
            .unwrap_or_default()
    }

    /// When both certificates are valid.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// Which of AMD's two endorsement keys signs a machine's reports (AMD 56860, table 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndorsementKey {
    /// The chip's own key.
    Vcek,
    /// A key that AMD gave a cloud provider for all of its machines.
    Vlek,
}

impl fmt::Display for EndorsementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        })
    }
}

/// A VCEK or VLEK as it describes itself. Nothing vouches for it until its chain was checked.
pub(crate) struct Endorsement {
    pub(crate) certificate: Certificate,
    pub(crate) key: EndorsementKey,
    pub(crate) product: Product,
    pub(crate) tcb: Tcb,
    /// Of a VCEK: the chip.
    pub(crate) hardware_id: Vec<u8>,
    /// Of a VLEK: the cloud provider.
    pub(crate) csp_id: Option<String>,
}

impl Endorsement {
    /// What [`Endorsement::parse`] refuses for, in this order.
    pub(crate) const CHECKS: &'static [Reason] = &[
        Reason::CertificateEncoding,
        Reason::CertificateExtension,
        Reason::ProductUnknown,
        Reason::CertificateKey,
    ];

    pub(crate) fn parse(der: &[u8], key: EndorsementKey) -> Result<Self, Reason> {
        let certificate = parse_strict(der)?;
        // RFC 5280, section 4.2: a critical extension that is not understood refuses the certificate. AMD marks none.
        let critical = extensions(&certificate).iter().any(|it| it.critical);
        require(!critical, Reason::CertificateExtension)?;
        let (name, hardware_id, csp_id) = (
            extension(&certificate, oid::PRODUCT_NAME)?.ok_or(Reason::CertificateExtension)?,
            extension(&certificate, oid::HARDWARE_ID)?,
            extension(&certificate, oid::CSP_ID)?,
        );
        let name = Ia5StringRef::from_der(name).map_err(|_| Reason::CertificateExtension)?;
        let required = |kind| level(&certificate, kind)?.ok_or(Reason::CertificateExtension);
        let tcb = Tcb {
            fmc: level(&certificate, oid::FMC_SPL)?,
            bootloader: required(oid::BOOTLOADER_SPL)?,
            tee: required(oid::TEE_SPL)?,
            snp: required(oid::SNP_SPL)?,
            microcode: required(oid::MICROCODE_SPL)?,
        };
        let csp_id = match (key, hardware_id, csp_id) {
            (EndorsementKey::Vcek, Some(_), None) => None,
            (EndorsementKey::Vlek, None, Some(value)) => Some(text(value)?),
            (EndorsementKey::Vcek | EndorsementKey::Vlek, _, _) => {
                return Err(Reason::CertificateExtension);
            }
        };
        let product = Product::from_vcek_name(name.as_str()).ok_or(Reason::ProductUnknown)?;
        let hardware_id = match hardware_id {
            Some(value) => bare_bytes(value, product.chip_id_bytes())?.to_vec(),
            None => Vec::new(),
        };
        require(is_p384(&certificate), Reason::CertificateKey)?;
        Ok(Self {
            certificate,
            key,
            product,
            tcb,
            hardware_id,
            csp_id,
        })
    }

    /// Whether subject and issuer are named as a VCEK's or VLEK's of its product are: another product's differ.
    pub(crate) fn is_named_rightly(&self) -> bool {
        let (subject, issuer) = self.right_names();
        let certificate = &self.certificate.tbs_certificate;
        name_value(&certificate.subject, oid::COMMON_NAME) == Some(&subject)
            && name_value(&certificate.issuer, oid::COMMON_NAME) == Some(&issuer)
    }

    /// The chip that a VCEK is for, as reports write it: Turin's 8 bytes are followed by zeros.
    pub(crate) fn chip(&self) -> Option<ChipId> {
        let mut bytes = [0; 64];
        bytes
            .get_mut(..self.hardware_id.len())?
            .copy_from_slice(&self.hardware_id);
        Some(ChipId::new(bytes))
    }

    /// The common names of subject and issuer.
    pub(crate) fn right_names(&self) -> (String, String) {
        let issuer = match self.key {
            EndorsementKey::Vcek => format!("SEV-{}", self.product),
            EndorsementKey::Vlek => format!("SEV-VLEK-{}", self.product),
        };
        (format!("SEV-{}", self.key), issuer)
    }
}

/// KDS writes the hardware id's bytes into the extension bare, and wrote them as an OCTET STRING inside for a while: the two
/// forms differ in length and cannot be mixed up.
fn bare_bytes(value: &[u8], length: usize) -> Result<&[u8], Reason> {
    if value.len() == length {
        return Ok(value);
    }
    let inner = OctetStringRef::from_der(value).map_err(|_| Reason::CertificateExtension)?;
    require(
        inner.as_bytes().len() == length,
        Reason::CertificateExtension,
    )?;
    Ok(inner.as_bytes())
}

fn text(value: &[u8]) -> Result<String, Reason> {
    let text = Ia5StringRef::from_der(value).map_err(|_| Reason::CertificateExtension)?;
    Ok(text.as_str().to_owned())
}

fn is_p384(certificate: &Certificate) -> bool {
    let algorithm = &certificate
        .tbs_certificate
        .subject_public_key_info
        .algorithm;
    let curve = algorithm.parameters.as_ref();
    algorithm.oid == oid::EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve.decode_as() == Ok(oid::P384))
}

fn extensions(certificate: &Certificate) -> &[Extension] {
    let extensions = certificate.tbs_certificate.extensions.as_deref();
    extensions.unwrap_or_default()
}

/// An extension's value, if it is there once; twice is malformed.
fn extension(certificate: &Certificate, kind: ObjectIdentifier) -> Result<Option<&[u8]>, Reason> {
    let mut found = extensions(certificate)
        .iter()
        .filter(|extension| extension.extn_id == kind);
    let first = found.next();
    require(found.next().is_none(), Reason::CertificateExtension)?;
    Ok(first.map(|extension| extension.extn_value.as_bytes()))
}

/// A security version number: an INTEGER of 0 to 255.
fn level(certificate: &Certificate, kind: ObjectIdentifier) -> Result<Option<u8>, Reason> {
    let value = extension(certificate, kind)?;
    value
        .map(|der| u8::from_der(der).map_err(|_| Reason::CertificateExtension))
        .transpose()
}
