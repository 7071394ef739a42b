//! Certificates that are not what AMD issues.

use super::*;

pub(super) fn certificates() -> Vec<Case> {
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let der = attester().vcek_der();
    let mut outer = x509_cert::Certificate::from_der(der).unwrap();
    outer.signature_algorithm.parameters = None;
    let mut unused = der.to_vec();
    let at = unused.len() - 257;
    unused[at] = 1;
    *unused.last_mut().unwrap() &= 0x80;
    let mut cases = vec![
        case(
            "no certificate",
            Reason::CertificateEncoding,
            &with_der(Vec::new()),
        ),
        case(
            "garbage",
            Reason::CertificateEncoding,
            &with_der(vec![0x30, 3, 1]),
        ),
        case(
            "trailing byte behind the certificate",
            Reason::CertificateEncoding,
            &with_der([der, &[0]].concat()),
        ),
        case(
            "another outer algorithm",
            Reason::CertificateEncoding,
            &with_der(outer.to_der().unwrap()),
        ),
        case(
            "a signature that is not whole bytes",
            Reason::CertificateEncoding,
            &with_der(unused),
        ),
        case(
            "a certificate that is not its own encoding",
            Reason::CertificateEncoding,
            &with_der(crate::tests::bad_certificates::spelled_out_default()),
        ),
    ];
    let extension_cases: [(&str, Edit); 9] = [
        ("a short hardware id", |vcek| {
            set(vcek, oid::HARDWARE_ID, vec![0xC1; 63])
        }),
        ("a long hardware id", |vcek| {
            set(vcek, oid::HARDWARE_ID, vec![0xC1; 65])
        }),
        ("a wrapped hardware id of another length", |vcek| {
            set(
                vcek,
                oid::HARDWARE_ID,
                OctetString::new(vec![0xC1; 63]).unwrap().to_der().unwrap(),
            );
        }),
        ("a level above 255", |vcek| {
            set(vcek, oid::SNP_SPL, vec![2, 2, 1, 0])
        }),
        ("a negative level", |vcek| {
            set(vcek, oid::SNP_SPL, vec![2, 1, 0x99])
        }),
        ("a level that is no integer", |vcek| {
            set(vcek, oid::SNP_SPL, vec![4, 1, 25])
        }),
        ("a bare product name", |vcek| {
            set(vcek, oid::PRODUCT_NAME, b"Genoa".to_vec())
        }),
        ("an extension twice", |vcek| {
            let extensions = vcek.extensions.as_mut().unwrap();
            extensions.push(extensions.last().unwrap().clone());
        }),
        ("a critical extension", |vcek| {
            extension(vcek, oid::STRUCT_VERSION).critical = true
        }),
    ];
    for (name, edit) in extension_cases {
        cases.push(case(name, Reason::CertificateExtension, &certified(edit)));
    }
    for (name, kind) in [
        ("product", oid::PRODUCT_NAME),
        ("boot loader", oid::BOOTLOADER_SPL),
        ("tee", oid::TEE_SPL),
        ("snp", oid::SNP_SPL),
        ("microcode", oid::MICROCODE_SPL),
        ("hardware id", oid::HARDWARE_ID),
    ] {
        let evidence = certified(|vcek| {
            vcek.extensions
                .as_mut()
                .unwrap()
                .retain(|it| it.extn_id != kind)
        });
        cases.push(case(
            &format!("no extension {name}"),
            Reason::CertificateExtension,
            &evidence,
        ));
    }
    let with_csp = certified(|vcek| {
        let mut csp = vcek.extensions.as_ref().unwrap()[0].clone();
        csp.extn_id = oid::CSP_ID;
        csp.extn_value = OctetString::new(ia5(CSP)).unwrap();
        vcek.extensions.as_mut().unwrap().push(csp);
    });
    cases.push(case(
        "a VCEK of a cloud provider",
        Reason::CertificateExtension,
        &with_csp,
    ));
    // The report says VLEK, the certificate is a VCEK.
    let vcek_as_vlek = edited(|report| report[0x48] = 1 << 2);
    let allowed = format!("allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true");
    cases.push(
        case(
            "a VCEK in place of a VLEK",
            Reason::CertificateExtension,
            &vcek_as_vlek,
        )
        .snp(&allowed)
        .with_provider(),
    );
    let p256 = certified(|vcek| {
        let p256 = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
        vcek.subject_public_key_info.algorithm.parameters = Some(p256.into());
    });
    let other = certified(|vcek| vcek.subject_public_key_info.algorithm.oid = oid::P384);
    cases.push(case(
        "a key on another curve",
        Reason::CertificateKey,
        &p256,
    ));
    cases.push(case(
        "a key of another kind",
        Reason::CertificateKey,
        &other,
    ));
    let named = |name: &'static str| certified(move |vcek| set(vcek, oid::PRODUCT_NAME, ia5(name)));
    cases.push(case(
        "an unknown product",
        Reason::ProductUnknown,
        &named("Venice"),
    ));
    cases.push(case(
        "a product's name and more",
        Reason::ProductUnknown,
        &named("Genoa2"),
    ));
    cases.push(case(
        "a denied product",
        Reason::ProductDenied,
        &named("Milan-B0"),
    ));
    cases.push(
        case(
            "the product denied by name",
            Reason::ProductDenied,
            &named("Genoa"),
        )
        .snp("denied_products = [\"genoa\"]"),
    );
    cases.push(
        case(
            "a product without a minimum",
            Reason::ProductWithoutMinimum,
            &named("Milan"),
        )
        .snp("denied_products = []"),
    );
    cases
}
