//! AMD's certificates: strict reading, and the extensions in which a VCEK says which chip at which firmware level it is for.

use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::name::Name;

use crate::machine::{Product, Tcb};
use crate::reason::Reason;

/// AMD's extensions of a VCEK (AMD 57230, table 8).
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
    let agree = certificate.signature_algorithm == certificate.tbs_certificate.signature;
    // The count of unused bits is not signed either, and whoever checks the signature reads whole bytes.
    if again != der || !agree || certificate.signature.unused_bits() != 0 {
        return Err(Reason::CertificateEncoding);
    }
    Ok(certificate)
}

/// Reads a list of PEM certificates; nothing but white space is an empty list.
pub(crate) fn pem_list(pem: &[u8]) -> Result<Vec<Certificate>, x509_cert::der::Error> {
    // x509-cert 0.2.5 subtracts one from the length of what is left after line ends, and overflows at nothing.
    if pem.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    Certificate::load_pem_chain(pem)
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

    /// When both certificates are valid.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// A VCEK as it describes itself. Nothing vouches for it until its chain was checked.
pub(crate) struct Vcek {
    pub(crate) certificate: Certificate,
    pub(crate) product: Product,
    pub(crate) tcb: Tcb,
    pub(crate) hardware_id: Vec<u8>,
}

impl Vcek {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, Reason> {
        let certificate = parse_strict(der)?;
        let name =
            extension(&certificate, oid::PRODUCT_NAME)?.ok_or(Reason::CertificateExtension)?;
        let name = Ia5StringRef::from_der(name).map_err(|_| Reason::CertificateExtension)?;
        let product = Product::from_vcek_name(name.as_str()).ok_or(Reason::ProductUnknown)?;
        // KDS writes the bare bytes into the extension's octet string, without an inner type (AMD 57230, table 8).
        let hardware_id = extension(&certificate, oid::HARDWARE_ID)?
            .ok_or(Reason::CertificateExtension)?
            .to_vec();
        if hardware_id.len() != product.chip_id_bytes() {
            return Err(Reason::CertificateExtension);
        }
        let required = |kind| level(&certificate, kind)?.ok_or(Reason::CertificateExtension);
        let tcb = Tcb {
            fmc: level(&certificate, oid::FMC_SPL)?,
            bootloader: required(oid::BOOTLOADER_SPL)?,
            tee: required(oid::TEE_SPL)?,
            snp: required(oid::SNP_SPL)?,
            microcode: required(oid::MICROCODE_SPL)?,
        };
        Ok(Self {
            certificate,
            product,
            tcb,
            hardware_id,
        })
    }

    /// Whether subject and issuer are named as a VCEK's of its product are: a VLEK's and another product's differ.
    pub(crate) fn is_named_rightly(&self) -> bool {
        let certificate = &self.certificate.tbs_certificate;
        let issuer = format!("SEV-{}", self.product);
        name_value(&certificate.subject, oid::COMMON_NAME) == Some("SEV-VCEK")
            && name_value(&certificate.issuer, oid::COMMON_NAME) == Some(&issuer)
    }
}

/// An extension's value, if it is there once; twice is malformed.
fn extension(certificate: &Certificate, kind: ObjectIdentifier) -> Result<Option<&[u8]>, Reason> {
    let extensions = certificate
        .tbs_certificate
        .extensions
        .as_deref()
        .unwrap_or_default();
    let mut found = extensions
        .iter()
        .filter(|extension| extension.extn_id == kind);
    match (found.next(), found.next()) {
        (first, None) => Ok(first.map(|extension| extension.extn_value.as_bytes())),
        (_, Some(_)) => Err(Reason::CertificateExtension),
    }
}

/// A security version number: an INTEGER of 0 to 255.
fn level(certificate: &Certificate, kind: ObjectIdentifier) -> Result<Option<u8>, Reason> {
    let value = extension(certificate, kind)?;
    value
        .map(|der| u8::from_der(der).map_err(|_| Reason::CertificateExtension))
        .transpose()
}
