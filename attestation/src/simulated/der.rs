//! Certificates as AMD issues them, signed with RSA-PSS and SHA-384 (AMD 57230, chapter 3).

use std::time::{Duration, SystemTime};

use rand_core::OsRng;
use rsa::pss::SigningKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use sha2::Sha384;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{Any, BitString, Ia5StringRef, OctetString, SetOfVec, Utf8StringRef};
use x509_cert::der::oid::{AssociatedOid, ObjectIdentifier};
use x509_cert::der::{self, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use crate::certificate::oid;
use crate::machine::{Product, Tcb};
use crate::trust::SIMULATED_ORGANISATION;

/// AMD's VCEKs live seven years; so do all simulated certificates.
const LIFETIME: Duration = Duration::from_secs(7 * 365 * 24 * 60 * 60);

/// What a certificate is to say.
pub(super) struct Subject<'a> {
    pub(super) issuer: &'a str,
    pub(super) common_name: &'a str,
    pub(super) serial: u32,
    pub(super) key: SubjectPublicKeyInfoOwned,
    pub(super) extensions: Vec<Extension>,
}

/// Issues a certificate, valid from now.
pub(super) fn issue(
    subject: Subject<'_>,
    signer: &SigningKey<Sha384>,
    now: SystemTime,
) -> Result<Certificate, der::Error> {
    let algorithm = signer
        .signature_algorithm_identifier()
        .map_err(|_| der::ErrorKind::Failed)?;
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::from(subject.serial),
        signature: algorithm.clone(),
        issuer: name(subject.issuer)?,
        validity: Validity {
            not_before: Time::try_from(now)?,
            not_after: Time::try_from(now + LIFETIME)?,
        },
        subject: name(subject.common_name)?,
        subject_public_key_info: subject.key,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: (!subject.extensions.is_empty()).then_some(subject.extensions),
    };
    let signature = signer.sign_with_rng(&mut OsRng, &tbs_certificate.to_der()?);
    Ok(Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature.to_bytes())?,
    })
}

/// The extensions of an authority: the ARK signs revocation lists too, the others sign endorsement keys alone.
pub(super) fn authority_extensions(is_root: bool) -> Result<Vec<Extension>, der::Error> {
    let constraints = BasicConstraints {
        ca: true,
        path_len_constraint: (!is_root).then_some(0),
    };
    let usage = if is_root {
        KeyUsages::KeyCertSign | KeyUsages::CRLSign
    } else {
        KeyUsages::KeyCertSign.into()
    };
    let critical = |extn_id, value: Vec<u8>| {
        Ok::<_, der::Error>(Extension {
            extn_id,
            critical: true,
            extn_value: OctetString::new(value)?,
        })
    };
    Ok(vec![
        critical(BasicConstraints::OID, constraints.to_der()?)?,
        critical(KeyUsage::OID, KeyUsage(usage).to_der()?)?,
    ])
}

/// The extensions of a VCEK, as KDS writes them (AMD 57230, table 8), but for the one that says whose it is.
fn endorsement_extensions(product: Product, tcb: &Tcb) -> Result<Vec<Extension>, der::Error> {
    let mut levels = vec![
        (oid::BOOTLOADER_SPL, tcb.bootloader),
        (oid::TEE_SPL, tcb.tee),
        (oid::SNP_SPL, tcb.snp),
        (oid::MICROCODE_SPL, tcb.microcode),
    ];
    levels.extend(tcb.fmc.map(|fmc| (oid::FMC_SPL, fmc)));
    let mut extensions = vec![
        extension(oid::STRUCT_VERSION, u8::from(tcb.fmc.is_some()).to_der()?)?,
        extension(
            oid::PRODUCT_NAME,
            Ia5StringRef::new(product.name())?.to_der()?,
        )?,
    ];
    for (kind, level) in levels {
        extensions.push(extension(kind, level.to_der()?)?);
    }
    Ok(extensions)
}

/// The extensions of a chip's VCEK.
pub(super) fn vcek_extensions(
    product: Product,
    tcb: &Tcb,
    hardware_id: &[u8],
) -> Result<Vec<Extension>, der::Error> {
    let mut extensions = endorsement_extensions(product, tcb)?;
    extensions.push(extension(oid::HARDWARE_ID, hardware_id.to_vec())?);
    Ok(extensions)
}

/// The extensions of a cloud provider's VLEK (AMD 58369).
#[cfg(test)]
pub(super) fn vlek_extensions(
    product: Product,
    tcb: &Tcb,
    csp_id: &str,
) -> Result<Vec<Extension>, der::Error> {
    let mut extensions = endorsement_extensions(product, tcb)?;
    extensions.push(extension(
        oid::CSP_ID,
        Ia5StringRef::new(csp_id)?.to_der()?,
    )?);
    Ok(extensions)
}

fn extension(extn_id: ObjectIdentifier, value: Vec<u8>) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}

/// The name of a simulated vendor's key.
pub(super) fn name(common_name: &str) -> Result<Name, der::Error> {
    let mut parts = Vec::new();
    for (oid, value) in [
        (oid::ORGANISATION, SIMULATED_ORGANISATION),
        (oid::COMMON_NAME, common_name),
    ] {
        let value = Any::encode_from(&Utf8StringRef::new(value)?)?;
        parts.push(RelativeDistinguishedName(SetOfVec::try_from(vec![
            AttributeTypeAndValue { oid, value },
        ])?));
    }
    Ok(RdnSequence(parts))
}
