//! AMD's own signatures: public evidence of other projects, read from `CONSORT_SNP_VECTORS` where it is present.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

use crate::snp::Report;
use crate::{
    AMD_ROOT_HASHES, ChipId, Claims, EndorsementKey, Evidence, Expected, Explainer, MachineBinding,
    Policy, Product, Reason, ReportData, TrustStore, Verdict, Verifier, Wanted,
};

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

/// Genuine evidence of one machine of each product that names itself, where the vectors are.
pub(crate) fn genuine() -> Option<Vec<(Product, Evidence)>> {
    let directory = vectors()?;
    let of = |product: Product, name: &str| {
        let file = |kind: &str| format!("{}/{name}.{kind}", product.name().to_lowercase());
        let evidence = load(&directory, &file("report.bin"), &file("vcek.der"));
        (product, evidence)
    };
    Some(vec![
        of(Product::Milan, "oak.milan_oc_release"),
        of(Product::Genoa, "oak.genoa_oc"),
        of(Product::Turin, "oak.turin_oc"),
    ])
}

fn store(directory: &std::path::Path) -> TrustStore {
    let mut store = TrustStore::new();
    for product in ["milan", "genoa", "turin"] {
        let file = directory.join(format!("roots/{product}_ask_ark_asvk.pem"));
        store.add_pem_bundle(&std::fs::read(file).unwrap()).unwrap();
    }
    store
}

/// Judges under a policy that pins AMD's roots and lists what this evidence itself says, with more lines for `[snp]`.
fn judge(
    directory: &std::path::Path,
    evidence: &Evidence,
    snp_lines: &str,
) -> Result<Claims, Reason> {
    judge_at(directory, evidence, snp_lines, now())
}

fn judge_at(
    directory: &std::path::Path,
    evidence: &Evidence,
    snp_lines: &str,
    now: SystemTime,
) -> Result<Claims, Reason> {
    let (verifier, machine, report_data) = setting(directory, evidence, snp_lines);
    let expected = Expected {
        machine: &machine,
        report_data,
    };
    verifier.verify(evidence, &expected, now)
}

/// The verifier of [`judge`], and what it is asked to expect.
fn setting(
    directory: &std::path::Path,
    evidence: &Evidence,
    snp_lines: &str,
) -> (Verifier, MachineBinding, ReportData) {
    let store = store(directory);
    let roots: Vec<_> = store.root_hashes().iter().map(hex::encode).collect();
    let report = Report::parse(evidence.halves().0).unwrap();
    let policy = format!(
        "[trust]\nroots = {roots:?}\ncrl = \"if-given\"\n[snp]\nmeasurements = [\"{}\"]\n{snp_lines}\n\
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
    (verifier, machine, report.report_data())
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
            claims.snp().unwrap().product().name().to_lowercase(),
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
        judge(&directory, &evidence, LOOSE)
            .unwrap()
            .snp()
            .unwrap()
            .platform_info(),
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

/// What the cloud provider's key says of itself in its certificate.
const AWS: &str = "allow_vlek_csp_ids = [\"CN=cc-us-east-2.amazonaws.com\"]\n";

#[test]
fn evidence_under_a_vlek_is_accepted_where_the_policy_spells_all_of_it_out() {
    let Some(directory) = vectors() else { return };
    let (report, vlek) = VECTORS[6];
    let evidence = load(&directory, report, vlek);
    let judge = |lines: &str| judge(&directory, &evidence, &format!("{LOOSE}{lines}"));
    assert_eq!(judge("").unwrap_err(), Reason::SigningKey);
    let other = "allow_vlek_csp_ids = [\"CN=cc-us-east-1.amazonaws.com\"]\n";
    assert_eq!(judge(other).unwrap_err(), Reason::CspId);
    assert_eq!(judge(AWS).unwrap_err(), Reason::ChipIdMasked);
    let masked = format!("{AWS}allow_masked_chip_id = true\n");
    assert_eq!(judge(&masked).unwrap_err(), Reason::Vmpl);
    let lines = format!("{masked}max_vmpl = 1\n");
    let claims = judge(&lines).unwrap();
    assert_eq!(
        claims.snp().unwrap().endorsement_key(),
        EndorsementKey::Vlek
    );
    assert_eq!(
        claims.snp().unwrap().csp_id(),
        Some("CN=cc-us-east-2.amazonaws.com")
    );
    assert_eq!(claims.chip_id(), &ChipId::HIDDEN);
    // 2025-12-11: the VLEK ended the day before.
    let later = UNIX_EPOCH + Duration::from_secs(1_765_411_200);
    let late = judge_at(&directory, &evidence, &format!("{LOOSE}{lines}"), later);
    assert_eq!(late.unwrap_err(), Reason::CertificateExpired);
    assert_eq!(
        self::judge(
            &directory,
            &evidence,
            &format!("{LOOSE}{lines}").replace("denied_products = []\n", "")
        )
        .unwrap_err(),
        Reason::ProductDenied
    );
}

/// Every report with its certificate.
const VECTORS: [(&str, &str); 7] = [
    ("milan/virtee-sev.report.bin", "milan/virtee-sev.vcek.der"),
    (
        "milan/oak.milan_oc_release.report.bin",
        "milan/oak.milan_oc_release.vcek.der",
    ),
    (
        "milan/go-sev-guest.report.bin",
        "milan/go-sev-guest.vcek.der",
    ),
    ("genoa/trustee-az.report.bin", "genoa/trustee-az.vcek.pem"),
    (
        "genoa/oak.genoa_oc.report.bin",
        "genoa/oak.genoa_oc.vcek.der",
    ),
    (
        "turin/oak.turin_oc.report.bin",
        "turin/oak.turin_oc.vcek.der",
    ),
    ("vlek/trustee.vlek-report.bin", "vlek/trustee.vlek.der"),
];

/// What somebody is told who has evidence and no policy.
#[test]
fn each_file_is_judged_as_its_folder_says_without_a_policy_file() {
    let Some(directory) = vectors() else { return };
    let explainer = Explainer::vendors_roots_alone(&store(&directory)).unwrap();
    let told: Vec<_> = VECTORS
        .iter()
        .map(|(report, certificate)| {
            let evidence = load(&directory, report, certificate);
            let bytes = evidence.to_bytes();
            let explained = explainer.explain(&bytes, &Wanted::default(), now());
            let not_judged = explained
                .findings
                .iter()
                .filter(|finding| finding.verdict == Verdict::NotJudged);
            let refused = explained
                .findings
                .iter()
                .filter(|it| it.verdict == Verdict::Failed);
            let refused: Vec<_> = refused.map(|finding| finding.check).collect();
            (explained.outcome.err(), refused, not_judged.count())
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                Some(Reason::ReportVersion),
                vec![
                    Reason::ReportVersion,
                    Reason::ProductDenied,
                    Reason::PlatformAliasCheck
                ],
                10
            ),
            (Some(Reason::ProductDenied), vec![Reason::ProductDenied], 10),
            (
                Some(Reason::ReportVersion),
                vec![
                    Reason::ReportVersion,
                    Reason::ProductDenied,
                    Reason::GuestDebug,
                    Reason::PlatformAliasCheck
                ],
                10
            ),
            (None, vec![], 10),
            (None, vec![], 10),
            (None, vec![], 10),
            (
                Some(Reason::SigningKey),
                vec![
                    Reason::SigningKey,
                    Reason::ProductDenied,
                    Reason::CspId,
                    Reason::ChipIdMasked,
                    Reason::Vmpl
                ],
                10
            ),
        ]
    );
}

#[test]
fn the_pinned_roots_are_those_of_the_bundles() {
    let Some(directory) = vectors() else { return };
    let pinned = AMD_ROOT_HASHES.map(|(_, hash)| hash.to_owned());
    let given: Vec<_> = store(&directory)
        .root_hashes()
        .iter()
        .map(hex::encode)
        .collect();
    assert_eq!(given, pinned);
}

/// Every 61st bit of every report, which meets every bit of a byte; all of them with `CONSORT_EVERY_BIT` set, minutes long.
#[test]
fn a_flipped_bit_of_a_real_report_is_refused() {
    let Some(directory) = vectors() else { return };
    let step = if std::env::var_os("CONSORT_EVERY_BIT").is_some() {
        1
    } else {
        61
    };
    let lines =
        format!("{LOOSE}{AWS}allow_masked_chip_id = true\nallow_debug = true\nmax_vmpl = 1\n");
    let mut flipped = 0;
    for (report, certificate) in VECTORS {
        let evidence = load(&directory, report, certificate);
        let (verifier, machine, report_data) = setting(&directory, &evidence, &lines);
        let expected = Expected {
            machine: &machine,
            report_data,
        };
        assert!(
            verifier.verify(&evidence, &expected, now()).is_ok(),
            "{report}"
        );
        for bit in (0..crate::REPORT_BYTES * 8).step_by(step) {
            let mut raw = *evidence.halves().0;
            raw[bit / 8] ^= 1 << (bit % 8);
            let bad = Evidence::new(raw, evidence.halves().1.to_vec()).unwrap();
            assert!(
                verifier.verify(&bad, &expected, now()).is_err(),
                "{report}: bit {bit} was flipped and nobody minded"
            );
            flipped += 1;
        }
    }
    println!("{flipped} flipped bits were refused");
}
