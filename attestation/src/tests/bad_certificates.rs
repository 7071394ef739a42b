//! VCEKs that a sound verifier refuses, most of them correctly signed by the vendor.

use std::time::Duration;

use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::{Certificate, TbsCertificate};

use super::world::{MACHINE, STATEMENT, attester, judge, now, start, vendor, verifier_with};
use crate::certificate::oid;
use crate::simulated::SimulatedVendor;
use crate::{Attester, Claims, Evidence, Product, Reason};

fn judge_with(edit: impl FnOnce(&mut TbsCertificate)) -> Result<Claims, Reason> {
    let attester = vendor()
        .attester_with_edited_vcek(MACHINE, start(), edit)
        .unwrap();
    judge(&verifier_with(""), &attester.attest(STATEMENT).unwrap())
}

fn judge_der(vcek_der: Vec<u8>) -> Reason {
    let report = *attester().attest(STATEMENT).unwrap().halves().0;
    let evidence = Evidence::new(report, vcek_der).unwrap();
    judge(&verifier_with(""), &evidence).unwrap_err()
}

fn set(certificate: &mut TbsCertificate, kind: ObjectIdentifier, value: Vec<u8>) {
    let extensions = certificate.extensions.as_mut().unwrap();
    let extension = extensions
        .iter_mut()
        .find(|extension| extension.extn_id == kind)
        .unwrap();
    extension.extn_value = OctetString::new(value).unwrap();
}

fn product_name(name: &str) -> Vec<u8> {
    Ia5StringRef::new(name).unwrap().to_der().unwrap()
}

#[test]
fn a_vcek_that_was_not_edited_is_accepted() {
    assert!(judge_with(|_| ()).is_ok());
}

#[test]
fn each_level_of_the_vcek_must_be_the_reports() {
    for kind in [
        oid::BOOTLOADER_SPL,
        oid::TEE_SPL,
        oid::SNP_SPL,
        oid::MICROCODE_SPL,
    ] {
        assert_eq!(
            judge_with(|vcek| set(vcek, kind, vec![2, 1, 99])).unwrap_err(),
            Reason::VcekTcb
        );
    }
}

#[test]
fn a_vcek_for_another_chip_is_refused() {
    assert_eq!(
        judge_with(|vcek| set(vcek, oid::HARDWARE_ID, vec![9; 64])).unwrap_err(),
        Reason::VcekChipId
    );
}

#[test]
fn a_malformed_missing_or_doubled_extension_is_refused() {
    let cases: [fn(&mut TbsCertificate); 6] = [
        |vcek| set(vcek, oid::HARDWARE_ID, vec![0xC1; 63]),
        |vcek| set(vcek, oid::SNP_SPL, vec![2, 2, 1, 0]),
        |vcek| set(vcek, oid::SNP_SPL, vec![4, 1, 25]),
        |vcek| set(vcek, oid::PRODUCT_NAME, b"Genoa".to_vec()),
        |vcek| {
            vcek.extensions
                .as_mut()
                .unwrap()
                .retain(|extension| extension.extn_id != oid::MICROCODE_SPL)
        },
        |vcek| {
            let extensions = vcek.extensions.as_mut().unwrap();
            let doubled = extensions.last().unwrap().clone();
            extensions.push(doubled);
        },
    ];
    for (index, edit) in cases.into_iter().enumerate() {
        assert_eq!(
            judge_with(edit).unwrap_err(),
            Reason::CertificateExtension,
            "case {index}"
        );
    }
}

#[test]
fn a_vcek_of_an_unknown_a_denied_or_an_unlisted_product_is_refused() {
    let named =
        |name| judge_with(|vcek| set(vcek, oid::PRODUCT_NAME, product_name(name))).unwrap_err();
    assert_eq!(named("Venice"), Reason::ProductUnknown);
    assert_eq!(named("Milan-B0"), Reason::ProductDenied);
    let milan = |vcek: &mut TbsCertificate| set(vcek, oid::PRODUCT_NAME, product_name("Milan"));
    let milan = vendor()
        .attester_with_edited_vcek(MACHINE, start(), milan)
        .unwrap();
    let evidence = milan.attest(STATEMENT).unwrap();
    assert_eq!(
        judge(&verifier_with("denied_products = []"), &evidence).unwrap_err(),
        Reason::ProductWithoutMinimum
    );
}

#[test]
fn a_certificate_that_is_not_named_as_a_vcek_is_refused() {
    // The ASK's own name, as a VLEK's differs from a VCEK's.
    assert_eq!(
        judge_with(|vcek| vcek.subject = vcek.issuer.clone()).unwrap_err(),
        Reason::CertificateName
    );
}

#[test]
fn a_vcek_under_an_issuer_of_no_trusted_root_is_refused() {
    let edit = |vcek: &mut TbsCertificate| vcek.issuer.0.swap(0, 1);
    assert_eq!(judge_with(edit).unwrap_err(), Reason::ChainUnknownRoot);
}

#[test]
fn a_vcek_of_another_vendor_of_the_same_name_is_refused() {
    let other = SimulatedVendor::create(Product::Genoa, start()).unwrap();
    let evidence = other
        .attester(MACHINE, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    assert_eq!(
        judge(&verifier_with(""), &evidence).unwrap_err(),
        Reason::ChainSignature
    );
}

#[test]
fn a_vcek_whose_own_dates_are_over_is_refused() {
    let hour = Duration::from_secs(60 * 60);
    let evidence = vendor()
        .attester(MACHINE, now() + hour)
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    assert_eq!(
        judge(&verifier_with(""), &evidence).unwrap_err(),
        Reason::CertificateNotYetValid
    );
}

#[test]
fn garbage_and_trailing_bytes_are_no_certificate() {
    let report = *attester().attest(STATEMENT).unwrap().halves().0;
    let longer = [attester().vcek_der(), &[0]].concat();
    for der in [Vec::new(), vec![0x30, 0x03, 1], longer] {
        let evidence = Evidence::new(report, der).unwrap();
        assert_eq!(
            judge(&verifier_with(""), &evidence).unwrap_err(),
            Reason::CertificateEncoding
        );
    }
}

/// What says how it was signed outside of what is signed must say the same as inside.
#[test]
fn a_certificate_whose_outer_signature_algorithm_differs_is_refused() {
    let mut certificate = Certificate::from_der(attester().vcek_der()).unwrap();
    certificate.signature_algorithm.parameters = None;
    assert_eq!(
        judge_der(certificate.to_der().unwrap()),
        Reason::CertificateEncoding
    );
}

/// `critical` is spelled out although FALSE is its default, which DER forbids (X.690, section 11.5). A parser that lets it pass
/// and checks the signature over its own encoding would accept bytes that nobody signed.
#[test]
fn a_certificate_that_is_not_its_own_encoding_is_refused() {
    assert_eq!(
        judge_der(spelled_out_default()),
        Reason::CertificateEncoding
    );
}

pub(super) fn spelled_out_default() -> Vec<u8> {
    let mut der = attester().vcek_der().to_vec();
    let tagged = der.windows(2).position(|two| two == [0xA3, 0x81]).unwrap();
    let (list, first) = (tagged + 3, tagged + 6);
    let behind_oid = first + 2 + 2 + 9;
    assert_eq!((der[list], der[first], der[first + 2]), (0x30, 0x30, 0x06));
    der.splice(behind_oid..behind_oid, [0x01, 0x01, 0x00]);
    der[first + 1] += 3;
    der[list + 2] += 3;
    der[tagged + 2] += 3;
    for outer in [0, 4] {
        let length = u16::from_be_bytes([der[outer + 2], der[outer + 3]]) + 3;
        der[outer + 2..outer + 4].copy_from_slice(&length.to_be_bytes());
    }
    der
}

/// Every 11th bit, which meets every bit position; each flip is a new certificate and costs an RSA verification.
#[test]
fn every_single_bit_flip_of_a_vcek_is_refused() {
    let (verifier, evidence) = (verifier_with(""), attester().attest(STATEMENT).unwrap());
    for bit in (0..evidence.halves().1.len() * 8).step_by(11) {
        let mut der = evidence.halves().1.to_vec();
        der[bit / 8] ^= 1 << (bit % 8);
        let flipped = Evidence::new(*evidence.halves().0, der).unwrap();
        assert!(
            judge(&verifier, &flipped).is_err(),
            "bit {bit} was flipped and nobody minded"
        );
    }
}

/// Found by the flips: four unused bits of a signature whose last byte ends in four zero bits are strict DER.
#[test]
fn a_signature_that_is_not_whole_bytes_is_refused() {
    let certificate = attester().vcek_der();
    let at = certificate.len() - 257;
    for unused in 1..8 {
        let mut der = certificate.to_vec();
        assert_eq!(std::mem::replace(&mut der[at], unused), 0);
        *der.last_mut().unwrap() &= 0x80;
        let evidence =
            Evidence::new(*attester().attest(STATEMENT).unwrap().halves().0, der).unwrap();
        let reason = judge(&verifier_with(""), &evidence).unwrap_err();
        assert_eq!(reason, Reason::CertificateEncoding);
    }
}

#[test]
fn a_refused_vcek_is_not_remembered_as_good() {
    let other = SimulatedVendor::create(Product::Genoa, start()).unwrap();
    let evidence = other
        .attester(MACHINE, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    let verifier = verifier_with("");
    for _ in 0..2 {
        assert_eq!(
            judge(&verifier, &evidence).unwrap_err(),
            Reason::ChainSignature
        );
    }
}
