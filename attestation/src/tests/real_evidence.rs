//! AMD's own signatures: public evidence of other projects, read from `CONSORT_SNP_VECTORS` where it is present.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

use crate::snp::Report;
use crate::{Claims, Evidence, Expected, MachineBinding, Policy, Reason, TrustStore, Verifier};

/// The vectors' directory; tests say so and end where it is absent, and the same checks run on simulated evidence everywhere.
fn vectors() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/snp");
    let directory = std::env::var_os("CONSORT_SNP_VECTORS")
        .map_or_else(|| PathBuf::from(default), PathBuf::from);
    if directory.is_dir() {
        return Some(directory);
    }
    eprintln!(
        "skipped: no SEV-SNP vectors in {}; set CONSORT_SNP_VECTORS",
        directory.display()
    );
    None
}

/// 2025-11-01: inside every VCEK's validity here, and the VLEK's.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_761_955_200)
}

fn load(directory: &std::path::Path, report: &str, certificate: &str) -> Evidence {
    let report = std::fs::read(directory.join(report)).unwrap();
    let mut certificate_bytes = std::fs::read(directory.join(certificate)).unwrap();
    if certificate.ends_with(".pem") {
        certificate_bytes = Certificate::from_pem(&certificate_bytes)
            .unwrap()
            .to_der()
            .unwrap();
    }
    Evidence::new(report.try_into().unwrap(), certificate_bytes).unwrap()
}

/// Judges under a policy that pins AMD's roots and lists what this evidence itself says, with more lines for `[snp]`.
fn judge(
    directory: &std::path::Path,
    evidence: &Evidence,
    snp_lines: &str,
) -> Result<Claims, Reason> {
    let mut store = TrustStore::new();
    for product in ["milan", "genoa", "turin"] {
        let pem =
            std::fs::read(directory.join(format!("roots/{product}_ask_ark_asvk.pem"))).unwrap();
        store.add_pem_bundle(&pem).unwrap();
    }
    let roots: Vec<_> = store.root_hashes().iter().map(hex::encode).collect();
    let report = Report::parse(evidence.report()).unwrap();
    let policy = format!(
        "[trust]\nroots = {roots:?}\n[snp]\nmeasurements = [\"{}\"]\n{snp_lines}\n\
         [snp.min_tcb.milan]\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n\
         [snp.min_tcb.genoa]\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n\
         [snp.min_tcb.turin]\nfmc = 0\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n",
        report.measurement()
    );
    let verifier = Verifier::new(Policy::from_toml(&policy).unwrap(), &store).unwrap();
    let machine = MachineBinding {
        chip_id: report.chip_id(),
        host_data: report.host_data(),
    };
    verifier.verify(
        evidence,
        &Expected {
            machine: &machine,
            report_data: report.report_data(),
        },
        now(),
    )
}

const LOOSE: &str = "report_versions = [2, 3, 4, 5]\ndenied_products = []\nallow_smt = true\nrequire_alias_check = false\n";
const STRICT: &str = "report_versions = [3, 5]\n";

#[test]
fn genuine_evidence_is_accepted_where_the_policy_allows_it() {
    let Some(directory) = vectors() else { return };
    for (report, vcek) in [
        ("milan/virtee-sev.report.bin", "milan/virtee-sev.vcek.der"),
        (
            "milan/oak.milan_oc_release.report.bin",
            "milan/oak.milan_oc_release.vcek.der",
        ),
        (
            "genoa/oak.genoa_oc.report.bin",
            "genoa/oak.genoa_oc.vcek.der",
        ),
        ("genoa/trustee-az.report.bin", "genoa/trustee-az.vcek.pem"),
        (
            "turin/oak.turin_oc.report.bin",
            "turin/oak.turin_oc.vcek.der",
        ),
    ] {
        let evidence = load(&directory, report, vcek);
        let claims = judge(&directory, &evidence, LOOSE)
            .unwrap_or_else(|reason| panic!("{report}: {reason}"));
        assert!(!claims.simulated());
        assert_eq!(
            claims.product().name().to_lowercase(),
            report.split_once('/').unwrap().0
        );
    }
}

#[test]
fn turins_reserved_platform_bit_is_recorded() {
    let Some(directory) = vectors() else { return };
    let evidence = load(
        &directory,
        "turin/oak.turin_oc.report.bin",
        "turin/oak.turin_oc.vcek.der",
    );
    assert_eq!(
        judge(&directory, &evidence, LOOSE).unwrap().platform_info(),
        0x67
    );
}

#[test]
fn milan_is_refused_by_default_and_old_reports_without_an_alias_check_too() {
    let Some(directory) = vectors() else { return };
    let oak = load(
        &directory,
        "milan/oak.milan_oc_release.report.bin",
        "milan/oak.milan_oc_release.vcek.der",
    );
    assert_eq!(
        judge(&directory, &oak, STRICT).unwrap_err(),
        Reason::ProductDenied
    );
    let virtee = load(
        &directory,
        "milan/virtee-sev.report.bin",
        "milan/virtee-sev.vcek.der",
    );
    assert_eq!(
        judge(&directory, &virtee, STRICT).unwrap_err(),
        Reason::ReportVersion
    );
    let unchecked = LOOSE.replace("require_alias_check = false\n", "");
    assert_eq!(
        judge(&directory, &virtee, &unchecked).unwrap_err(),
        Reason::PlatformAliasCheck
    );
}

#[test]
fn a_genuine_guest_that_may_be_debugged_is_refused() {
    let Some(directory) = vectors() else { return };
    let evidence = load(
        &directory,
        "milan/go-sev-guest.report.bin",
        "milan/go-sev-guest.vcek.der",
    );
    assert_eq!(
        judge(&directory, &evidence, LOOSE).unwrap_err(),
        Reason::GuestDebug
    );
    assert!(
        judge(
            &directory,
            &evidence,
            &format!("{LOOSE}allow_debug = true\n")
        )
        .is_ok()
    );
}

#[test]
fn malformed_vceks_are_refused() {
    let Some(directory) = vectors() else { return };
    for vcek in [
        "milan/trustee.vcek-invalid-legacy.der",
        "milan/trustee.vcek-invalid-new.der",
    ] {
        let evidence = load(&directory, "milan/virtee-sev.report.bin", vcek);
        let reason = judge(&directory, &evidence, LOOSE).unwrap_err();
        assert!(
            matches!(
                reason,
                Reason::CertificateExtension | Reason::ChainSignature
            ),
            "{vcek}: {reason}"
        );
    }
}

#[test]
fn evidence_under_a_vlek_is_refused() {
    let Some(directory) = vectors() else { return };
    let evidence = load(
        &directory,
        "vlek/trustee.vlek-report.bin",
        "vlek/trustee.vlek.der",
    );
    assert_eq!(
        judge(&directory, &evidence, LOOSE).unwrap_err(),
        Reason::SigningKey
    );
}
