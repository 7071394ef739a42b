//! Chains that lead to no trusted root, keys that are not the report's, dates, and revocation.

use super::*;

pub(super) fn chains() -> Vec<Case> {
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let other = SimulatedVendor::create(Product::Genoa, start()).unwrap();
    let foreign = other
        .attester(MACHINE, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    let allowed = format!("allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true");
    let renamed = certified(|vcek| {
        let vlek = vendor()
            .vlek_attester(provider(), MACHINE, CSP, start())
            .unwrap();
        vcek.subject = x509_cert::Certificate::from_der(vlek.vcek_der())
            .unwrap()
            .tbs_certificate
            .subject;
    });
    let vlek_case = |name: &str, reason, evidence: &Evidence| {
        case(name, reason, evidence)
            .snp(&allowed)
            .with_provider()
            .on(ChipId::HIDDEN)
    };
    let mut without_asvk = vlek_case(
        "a VLEK without its signing key",
        Reason::ChainUnknownRoot,
        &vlek(CSP),
    );
    without_asvk.store = vendor().trust_store().unwrap();
    let mut broken = attester().vcek_der().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let mut in_signed = attester().vcek_der().to_vec();
    let at = in_signed
        .windows(8)
        .position(|bytes| bytes == [0xC1; 8])
        .unwrap();
    in_signed[at] ^= 1;
    vec![
        case(
            "the signing key's own name",
            Reason::CertificateName,
            &certified(|vcek| vcek.subject = vcek.issuer.clone()),
        ),
        case("a VLEK's name", Reason::CertificateName, &renamed),
        case(
            "another organisation's issuer",
            Reason::ChainUnknownRoot,
            &certified(|vcek| vcek.issuer.0.swap(0, 1)),
        ),
        without_asvk,
        case(
            "another vendor of the same name",
            Reason::ChainSignature,
            &foreign,
        ),
        case(
            "a broken signature",
            Reason::ChainSignature,
            &with_der(broken),
        ),
        case(
            "an edited hardware id",
            Reason::ChainSignature,
            &with_der(in_signed),
        ),
        vlek_case(
            "a cloud provider that is not listed",
            Reason::CspId,
            &vlek("CN=cc-other.example"),
        ),
        vlek_case(
            "a cloud provider's name and more",
            Reason::CspId,
            &vlek(&format!("{CSP}.org")),
        ),
        case(
            "a processor of Milan",
            Reason::VcekProduct,
            &edited(|report| report[0x189] = 0x01),
        ),
        case(
            "a hidden chip id",
            Reason::ChipIdMasked,
            &edited(|report| report[0x1A0..0x1E0].fill(0)),
        ),
        vlek_case(
            "a VLEK with a hidden chip id",
            Reason::ChipIdMasked,
            &vlek(CSP),
        )
        .snp_replaced("allow_masked_chip_id = true", ""),
        case(
            "another chip, first byte",
            Reason::VcekChipId,
            &edited(|report| report[0x1A0] ^= 1),
        ),
        case(
            "another chip, last byte",
            Reason::VcekChipId,
            &edited(|report| report[0x1DF] ^= 1),
        )
        .on(flipped(63)),
        case(
            "a VCEK of another chip",
            Reason::VcekChipId,
            &certified(|vcek| set(vcek, oid::HARDWARE_ID, vec![9; 64])),
        ),
        case(
            "a report of a lower level than its VCEK",
            Reason::VcekTcb,
            &edited(|report| report[0x180] -= 1),
        ),
        case(
            "a report of a higher level than its VCEK",
            Reason::VcekTcb,
            &edited(|report| report[0x187] += 1),
        ),
        case(
            "a VCEK of another boot loader",
            Reason::VcekTcb,
            &certified(|vcek| set(vcek, oid::BOOTLOADER_SPL, vec![2, 1, 99])),
        ),
        case(
            "a VCEK of another tee",
            Reason::VcekTcb,
            &certified(|vcek| set(vcek, oid::TEE_SPL, vec![2, 1, 99])),
        ),
        case(
            "a VCEK of another snp",
            Reason::VcekTcb,
            &certified(|vcek| set(vcek, oid::SNP_SPL, vec![2, 1, 99])),
        ),
        case(
            "a VCEK of another microcode",
            Reason::VcekTcb,
            &certified(|vcek| set(vcek, oid::MICROCODE_SPL, vec![2, 1, 99])),
        ),
        case("another machine's signature", Reason::ReportSignature, &{
            let other = vendor()
                .attester(MACHINE, start())
                .unwrap()
                .attest(STATEMENT)
                .unwrap();
            with_der(attester().vcek_der().to_vec()).with_report(*other.halves().0)
        }),
        case("a signature of zeros", Reason::ReportSignature, &{
            let mut report = *attester().attest(STATEMENT).unwrap().halves().0;
            report[0x2A0..0x330].fill(0);
            with_der(attester().vcek_der().to_vec()).with_report(report)
        }),
        case(
            "a field edited after it was signed",
            Reason::ReportSignature,
            &{
                let mut report = *attester().attest(STATEMENT).unwrap().halves().0;
                report[0x140] ^= 1;
                with_der(attester().vcek_der().to_vec()).with_report(report)
            },
        ),
    ]
}

pub(super) fn dates() -> Vec<Case> {
    let good = attester().attest(STATEMENT).unwrap();
    let case = |name: &str, reason| Case::new(name, reason, &good);
    let second = Duration::from_secs(1);
    let skew = 300 * second;
    let end = start() + 7 * 365 * DAY;
    let young = vendor()
        .attester(MACHINE, now() + 3600 * second)
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    let long = certified(|vcek| {
        vcek.validity.not_after =
            x509_cert::time::Time::try_from(start() + 7 * 365 * DAY + 3 * DAY).unwrap();
    });
    let crl = |revoked: &[u32], at| vendor().revocation_list(revoked, at).unwrap();
    let allowed = format!("allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true");
    vec![
        case("before the chain begins", Reason::CertificateNotYetValid).at(start() - skew - second),
        Case::new(
            "before the VCEK begins",
            Reason::CertificateNotYetValid,
            &young,
        ),
        case("after the chain ends", Reason::CertificateExpired).at(end + skew + second),
        Case::new(
            "a VCEK of more than seven years",
            Reason::CertificateLifetime,
            &long,
        ),
        case("a VCEK of more than a year", Reason::CertificateLifetime)
            .trust("max_cert_lifetime_days = 365"),
        case("no revocation list", Reason::CrlMissing).trust("crl = \"required\""),
        case("a revocation list of tomorrow", Reason::CrlNotYetValid)
            .with_crl(&crl(&[], now() + DAY)),
        case("a stale revocation list", Reason::CrlStale)
            .with_crl(&crl(&[], start()))
            .at(start() + CRL_LIFETIME + skew + second),
        case("a stale list where none is required", Reason::CrlStale)
            .trust("crl = \"if-given\"")
            .with_crl(&crl(&[], start()))
            .at(start() + CRL_LIFETIME + DAY),
        case("a stale list where one is required", Reason::CrlStale)
            .trust("crl = \"required\"")
            .with_crl(&crl(&[], start()))
            .at(start() + CRL_LIFETIME + DAY),
        case("a revoked ASK", Reason::CertificateRevoked).with_crl(&crl(&[7, ASK_SERIAL], start())),
        case(
            "an ASK that an older list revoked",
            Reason::CertificateRevoked,
        )
        .with_crl(&crl(&[ASK_SERIAL], start()))
        .with_crl(&crl(&[], start() + second)),
        Case::new("a revoked ASVK", Reason::CertificateRevoked, &vlek(CSP))
            .snp(&allowed)
            .with_provider()
            .on(ChipId::HIDDEN)
            .with_crl(&crl(&[ASVK_SERIAL], start())),
    ]
}
