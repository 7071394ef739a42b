//! Bad evidence, case by case: each is refused for exactly one reason, and every check has a case of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use x509_cert::TbsCertificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;

use super::world::{MACHINE, STATEMENT, TCB, attester, now, policy_text, start, vendor};
use crate::certificate::oid;
use crate::require::mutants;
use crate::simulated::bad::{ASK_SERIAL, ASVK_SERIAL, SimulatedProvider};
use crate::simulated::revocation::CRL_LIFETIME;
use crate::simulated::{SimulatedMachine, SimulatedVendor};
use crate::{
    Attester, ChipId, Claims, Evidence, Expected, HostData, MAX_EVIDENCE_BYTES, MachineBinding,
    Policy, Product, REPORT_BYTES, Reason, ReportData, Tcb, TrustStore, Verifier,
};

const CSP: &str = "CN=cc-test.example";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Report = [u8; REPORT_BYTES];
type Edit = fn(&mut TbsCertificate);

/// Evidence, and the world it is judged in.
#[derive(Clone)]
struct Case {
    name: String,
    reason: Reason,
    bytes: Vec<u8>,
    policy: String,
    store: TrustStore,
    machine: MachineBinding,
    report_data: ReportData,
    now: SystemTime,
}

impl Case {
    fn new(name: impl Into<String>, reason: Reason, evidence: &Evidence) -> Self {
        Self {
            name: name.into(),
            reason,
            bytes: evidence.to_bytes(),
            policy: policy_text(""),
            store: vendor().trust_store().unwrap(),
            machine: MACHINE.binding(),
            report_data: STATEMENT,
            now: now(),
        }
    }

    fn snp(mut self, lines: &str) -> Self {
        self.policy = self.policy.replace("[snp]\n", &format!("[snp]\n{lines}\n"));
        self
    }

    fn trust(mut self, lines: &str) -> Self {
        self.policy = self
            .policy
            .replace("[trust]\n", &format!("[trust]\n{lines}\n"));
        self
    }

    fn with_crl(mut self, crl: &[u8]) -> Self {
        self.store.add_crl(crl).unwrap();
        self
    }

    fn with_provider(mut self) -> Self {
        let bundle = provider().roots_pem.as_bytes();
        self.store.add_pem_bundle(bundle).unwrap();
        self
    }

    fn on(mut self, chip_id: ChipId) -> Self {
        self.machine.chip_id = chip_id;
        self
    }

    fn at(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    fn judge(&self) -> Result<Claims, Reason> {
        let evidence = Evidence::from_bytes(&self.bytes)?;
        let policy = Policy::from_toml(&self.policy).unwrap();
        let verifier = Verifier::new(policy, &self.store).unwrap();
        let expected = Expected {
            machine: &self.machine,
            report_data: self.report_data,
        };
        verifier.verify(&evidence, &expected, self.now)
    }
}

fn provider() -> &'static SimulatedProvider {
    static PROVIDER: OnceLock<SimulatedProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| vendor().provider(start()).unwrap())
}

/// Evidence whose report was edited before it was signed.
fn edited(edit: impl FnOnce(&mut Report)) -> Evidence {
    attester().attest_edited(STATEMENT, edit).unwrap()
}

/// Evidence whose VCEK was edited before it was signed.
fn certified(edit: impl FnOnce(&mut TbsCertificate)) -> Evidence {
    let attester = vendor().attester_with_edited_vcek(MACHINE, start(), edit);
    attester.unwrap().attest(STATEMENT).unwrap()
}

/// Good evidence with another certificate's bytes.
fn with_der(der: Vec<u8>) -> Evidence {
    let report = *attester().attest(STATEMENT).unwrap().report();
    Evidence::new(report, der).unwrap()
}

fn vlek(csp_id: &str) -> Evidence {
    vendor()
        .vlek_attester(provider(), MACHINE, csp_id, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap()
}

fn extension(certificate: &mut TbsCertificate, kind: ObjectIdentifier) -> &mut Extension {
    let extensions = certificate.extensions.as_mut().unwrap();
    extensions
        .iter_mut()
        .find(|extension| extension.extn_id == kind)
        .unwrap()
}

fn set(certificate: &mut TbsCertificate, kind: ObjectIdentifier, value: Vec<u8>) {
    extension(certificate, kind).extn_value = OctetString::new(value).unwrap();
}

fn ia5(text: &str) -> Vec<u8> {
    Ia5StringRef::new(text).unwrap().to_der().unwrap()
}

/// A report as version 2 had it: without the processor's family and model.
fn as_version_2(report: &mut Report) {
    report[0] = 2;
    report[0x188..0x18B].fill(0);
}

fn form() -> Vec<Case> {
    let good = attester().attest(STATEMENT).unwrap();
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let mut cases = Vec::new();
    let mut frame = |name: &str, reason, bytes: Vec<u8>| {
        let mut case = Case::new(name, reason, &good);
        case.bytes = bytes;
        cases.push(case);
    };
    let canonical = |label: &str, report: &[u8]| {
        let frame = consort_aggregation::Canonical::new(label);
        frame.bytes(report).bytes(good.vcek_der()).finish()
    };
    let label = "consort/attest/evidence/v1";
    frame("nothing", Reason::EvidenceEncoding, Vec::new());
    frame(
        "trailing byte",
        Reason::EvidenceEncoding,
        [good.to_bytes(), vec![0]].concat(),
    );
    frame(
        "cut short",
        Reason::EvidenceEncoding,
        good.to_bytes()[..1000].to_vec(),
    );
    frame(
        "another label",
        Reason::EvidenceEncoding,
        canonical("consort/attest/evidence/v2", good.report()),
    );
    frame(
        "too long",
        Reason::EvidenceSize,
        vec![0; MAX_EVIDENCE_BYTES + 1],
    );
    // Only the limit refuses this one: it would be read otherwise.
    let mut padded = good.vcek_der().to_vec();
    padded.resize(MAX_EVIDENCE_BYTES, 0);
    let padded = consort_aggregation::Canonical::new(label)
        .bytes(good.report())
        .bytes(&padded);
    frame(
        "a certificate past the limit",
        Reason::EvidenceSize,
        padded.finish(),
    );
    frame(
        "a short report",
        Reason::ReportSize,
        canonical(label, &good.report()[..REPORT_BYTES - 1]),
    );
    frame(
        "a long report",
        Reason::ReportSize,
        canonical(label, &[good.report().as_slice(), &[0]].concat()),
    );

    for version in [0, 1, 4, 6, 255] {
        let edit = |report: &mut Report| report[0] = version;
        cases.push(case(
            &format!("version {version}"),
            Reason::ReportVersion,
            &edited(edit),
        ));
    }
    cases.push(case(
        "a whole report of version 2",
        Reason::ReportVersion,
        &edited(as_version_2),
    ));
    cases.push(case(
        "version 3 and 256",
        Reason::ReportVersion,
        &edited(|report| report[1] = 1),
    ));
    // Reserved bytes, all of which `sev` reads past: at 4Ch, 18Bh, 1EBh, 1EFh and 1F8h, the middle of each TCB, and behind the
    // signature, where nothing is signed.
    let tcbs = [0x38, 0x180, 0x1E0, 0x1F0]
        .into_iter()
        .flat_map(|tcb| [tcb + 2, tcb + 5]);
    let reserved = [
        0x4C, 0x4F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x208, 0x29F, 0x330, 0x49F,
    ];
    for at in reserved.into_iter().chain(tcbs) {
        let name = format!("reserved byte {at:#x}");
        cases.push(case(
            &name,
            Reason::ReportEncoding,
            &edited(|report| report[at] = 1),
        ));
    }
    cases.push(case(
        "an unknown processor family",
        Reason::ReportEncoding,
        &edited(|report| report[0x188] = 0x17),
    ));
    for (at, number) in [(48, "r"), (71, "r"), (72 + 48, "s"), (143, "s")] {
        let mut report = *good.report();
        report[0x2A0 + at] = 1;
        let evidence = Evidence::new(report, good.vcek_der().to_vec()).unwrap();
        let name = format!("padding of {number} at {at}");
        cases.push(case(&name, Reason::SignaturePadding, &evidence));
    }
    for algorithm in [0, 2, 3] {
        let edit = |report: &mut Report| report[0x34] = algorithm;
        let name = format!("signature algorithm {algorithm}");
        cases.push(case(&name, Reason::SignatureAlgorithm, &edited(edit)));
    }
    for (at, bit) in [(0x48, 5), (0x49, 0), (0x4B, 7)] {
        let edit = |report: &mut Report| report[at] |= 1 << bit;
        let name = format!("key info, byte {at:#x} bit {bit}");
        cases.push(case(&name, Reason::KeyInfoReserved, &edited(edit)));
    }
    for (key_info, name) in [
        (1 << 2, "VLEK"),
        (2 << 2, "key 2"),
        (7 << 2, "nobody"),
        (1 << 1, "a masked VCEK"),
    ] {
        let edit = |report: &mut Report| report[0x48] = key_info;
        cases.push(case(
            &format!("signed by {name}"),
            Reason::SigningKey,
            &edited(edit),
        ));
    }
    cases.push(
        case(
            "a VLEK where none is allowed",
            Reason::SigningKey,
            &vlek(CSP),
        )
        .with_provider(),
    );
    cases
}

fn certificates() -> Vec<Case> {
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
            &with_der(super::bad_certificates::spelled_out_default()),
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

fn chains() -> Vec<Case> {
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
            with_der(attester().vcek_der().to_vec()).with_report(*other.report())
        }),
        case("a signature of zeros", Reason::ReportSignature, &{
            let mut report = *attester().attest(STATEMENT).unwrap().report();
            report[0x2A0..0x330].fill(0);
            with_der(attester().vcek_der().to_vec()).with_report(report)
        }),
        case(
            "a field edited after it was signed",
            Reason::ReportSignature,
            &{
                let mut report = *attester().attest(STATEMENT).unwrap().report();
                report[0x140] ^= 1;
                with_der(attester().vcek_der().to_vec()).with_report(report)
            },
        ),
    ]
}

fn dates() -> Vec<Case> {
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

fn guests_and_platforms() -> Vec<Case> {
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let policy = |bit: usize| edited(|report| report[0x08 + bit / 8] ^= 1 << (bit % 8));
    let platform = |bit: u8| edited(|report| report[0x40] &= !(1 << bit));
    let mut cases = vec![
        case("VMPL 1", Reason::Vmpl, &edited(|report| report[0x30] = 1)),
        case(
            "VMPL 3 where 2 is allowed",
            Reason::Vmpl,
            &edited(|report| report[0x30] = 3),
        )
        .snp("max_vmpl = 2"),
        case("VMPL 256", Reason::Vmpl, &edited(|report| report[0x31] = 1)),
        case("no bit 17", Reason::GuestPolicyReserved, &policy(17)),
        case("bit 26", Reason::GuestPolicyReserved, &policy(26)),
        case("bit 63", Reason::GuestPolicyReserved, &policy(63)),
        case("SMT", Reason::GuestSmt, &policy(16)),
        case(
            "a migration agent",
            Reason::GuestMigrationAgent,
            &policy(18),
        ),
        case("debugging", Reason::GuestDebug, &policy(19)),
        case("CXL", Reason::GuestCxl, &policy(21)),
        case("any sockets", Reason::GuestSingleSocket, &edited(|_| ()))
            .snp("require_single_socket = true"),
        case("no alias check", Reason::PlatformAliasCheck, &platform(5)),
        case(
            "no ciphertext hiding",
            Reason::PlatformCiphertextHiding,
            &platform(4),
        )
        .snp("require_ciphertext_hiding = true"),
        case("no ECC", Reason::PlatformEcc, &platform(2)).snp("require_ecc = true"),
        case("no TSME", Reason::PlatformTsme, &platform(1)).snp("require_tsme = true"),
    ];
    let components: [(&str, usize); 4] =
        [("boot loader", 0), ("tee", 1), ("snp", 6), ("microcode", 7)];
    for (component, byte) in components {
        for (level, at, reason) in [
            ("current", 0x38, Reason::TcbCurrent),
            ("committed", 0x1E0, Reason::TcbCommitted),
            ("launch", 0x1F0, Reason::TcbLaunch),
        ] {
            let name = format!("{level} {component} below the minimum");
            cases.push(case(
                &name,
                reason,
                &edited(|report| report[at + byte] -= 1),
            ));
        }
        // Reported level and VCEK agree, so the minimum alone can refuse.
        let mut tcb = TCB;
        *component_of(&mut tcb, byte) -= 1;
        let low = vendor()
            .attester(SimulatedMachine { tcb, ..MACHINE }, start())
            .unwrap();
        let evidence = low.attest_edited(STATEMENT, |report| {
            for at in [0x38, 0x1E0, 0x1F0] {
                report[at + byte] += 1;
            }
        });
        let name = format!("reported {component} below the minimum");
        cases.push(case(&name, Reason::TcbReported, &evidence.unwrap()));
    }
    let minimum = "min_firmware.genoa = \"1.55.40\"";
    for (index, part) in ["build", "minor", "major"].into_iter().enumerate() {
        let mut lower = |at: &[usize], name: &str, reason, lines: &str| {
            let evidence = edited(|report| at.iter().for_each(|at| report[at + index] -= 1));
            cases.push(case(&format!("{name} {part}"), reason, &evidence).snp(lines));
        };
        lower(
            &[0x1E8],
            "an old firmware, by its",
            Reason::FirmwareCurrent,
            &format!("{minimum}\nallow_provisional_firmware = true"),
        );
        lower(
            &[0x1EC],
            "a committed firmware that is old, by its",
            Reason::FirmwareCommitted,
            &format!("{minimum}\nallow_provisional_firmware = true"),
        );
        lower(
            &[0x1EC],
            "a firmware that is not committed, by its",
            Reason::FirmwareProvisional,
            "",
        );
    }
    cases
}

fn identities() -> Vec<Case> {
    let good = attester().attest(STATEMENT).unwrap();
    let case = |name: &str, reason| Case::new(name, reason, &good);
    let mut other_host = case("another launch configuration", Reason::HostData);
    other_host.machine.host_data = HostData::new([1; 32]);
    let mut other_statement = case("another statement", Reason::ReportData);
    other_statement.report_data = ReportData::new([0; 64]);
    let with = |edit: fn(&mut Report), name: &str, reason| Case::new(name, reason, &edited(edit));
    vec![
        case("an old guest", Reason::GuestSvn).snp("min_guest_svn = 1"),
        case("another family", Reason::FamilyId)
            .snp(&format!("family_id = \"{}\"", "01".repeat(16))),
        case("another image", Reason::ImageId).snp(&format!("image_id = \"{}\"", "01".repeat(16))),
        with(
            |report| report[0x90] ^= 1,
            "another measurement, first byte",
            Reason::Measurement,
        ),
        with(
            |report| report[0xBF] ^= 0x80,
            "another measurement, last byte",
            Reason::Measurement,
        ),
        case("another identity key", Reason::IdKeyDigest)
            .snp(&format!("id_key_digests = [\"{}\"]", "01".repeat(48))),
        case("another author key", Reason::AuthorKeyDigest)
            .snp(&format!("author_key_digests = [\"{}\"]", "01".repeat(48))),
        case(
            "a launch configuration that is not listed",
            Reason::HostDataPolicy,
        )
        .snp(&format!("host_data = [\"{}\"]", "00".repeat(32))),
        with(
            |report| report[0xC0] ^= 1,
            "a launch configuration that was edited",
            Reason::HostData,
        ),
        other_host,
        case("a denied chip", Reason::ChipDenied)
            .snp(&format!("denied_chips = [\"{}\"]", MACHINE.chip_id)),
        Case::new(
            "a denied chip that hides",
            Reason::ChipDenied,
            &edited(|report| report[0x1A0..0x1E0].fill(0)),
        )
        .snp(&format!(
            "allow_masked_chip_id = true\ndenied_chips = [\"{}\"]",
            MACHINE.chip_id
        )),
        case("another organisation's chip", Reason::ChipId).on(ChipId::new([1; 64])),
        case("an organisation without a chip", Reason::ChipId).on(ChipId::HIDDEN),
        Case::new(
            "a chip that hides, of another organisation",
            Reason::ChipId,
            &edited(|report| report[0x1A0..0x1E0].fill(0)),
        )
        .snp("allow_masked_chip_id = true")
        .on(ChipId::HIDDEN),
        Case::new(
            "a VLEK for an organisation with a chip",
            Reason::ChipId,
            &vlek(CSP),
        )
        .snp(&format!(
            "allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true"
        ))
        .with_provider(),
        with(
            |report| report[0x50] ^= 1,
            "another statement, first byte",
            Reason::ReportData,
        ),
        with(
            |report| report[0x8F] ^= 0x80,
            "another statement, last byte",
            Reason::ReportData,
        ),
        other_statement,
    ]
}

impl Case {
    fn snp_replaced(mut self, line: &str, by: &str) -> Self {
        self.policy = self.policy.replace(line, by);
        self
    }
}

impl Evidence {
    fn with_report(&self, report: Report) -> Self {
        Self::new(report, self.vcek_der().to_vec()).unwrap()
    }
}

fn flipped(byte: usize) -> ChipId {
    let mut bytes = *MACHINE.chip_id.as_bytes();
    bytes[byte] ^= 1;
    ChipId::new(bytes)
}

fn component_of(tcb: &mut Tcb, byte: usize) -> &mut u8 {
    match byte {
        0 => &mut tcb.bootloader,
        1 => &mut tcb.tee,
        6 => &mut tcb.snp,
        _ => &mut tcb.microcode,
    }
}

fn all() -> &'static [Case] {
    static ALL: OnceLock<Vec<Case>> = OnceLock::new();
    ALL.get_or_init(|| {
        [
            form(),
            certificates(),
            chains(),
            dates(),
            guests_and_platforms(),
            identities(),
        ]
        .concat()
    })
}

#[test]
fn each_case_is_refused_for_its_own_reason_and_there_are_at_least_90() {
    let mut names = BTreeSet::new();
    let mut counts = BTreeMap::new();
    for case in all() {
        let refused = case.judge().map(|_| ());
        assert_eq!(refused, Err(case.reason), "{}", case.name);
        assert!(names.insert(&case.name), "{} stands twice", case.name);
        *counts.entry(case.reason.code()).or_insert(0) += 1;
    }
    println!("{} negative cases: {counts:?}", names.len());
    assert!(names.len() >= 90);
}

#[test]
fn every_reason_has_a_case() {
    let refused: BTreeSet<_> = all().iter().map(|case| case.reason).collect();
    let without: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !refused.contains(reason))
        .collect();
    assert!(without.is_empty(), "{without:?}");
}

/// The explanation is the same list: its first failure is the verdict, and it leaves no check out.
#[test]
fn an_explanation_comes_to_the_same_verdict() {
    for case in all() {
        let Ok(evidence) = Evidence::from_bytes(&case.bytes) else {
            continue;
        };
        let policy = Policy::from_toml(&case.policy).unwrap();
        let verifier = Verifier::new(policy, &case.store).unwrap();
        let expected = Expected {
            machine: &case.machine,
            report_data: case.report_data,
        };
        let explained = verifier.explain(&evidence, &(&expected).into(), case.now);
        assert_eq!(explained.outcome.err(), Some(case.reason), "{}", case.name);
        let first = explained
            .findings
            .iter()
            .find(|finding| finding.verdict == crate::Verdict::Failed);
        assert_eq!(first.map(|it| it.check), Some(case.reason), "{}", case.name);
        let told: BTreeSet<_> = explained.findings.iter().map(|it| it.check).collect();
        assert_eq!(told.len(), Reason::ALL.len(), "{}", case.name);
    }
}

/// Removes each check in turn. Some case must then be accepted, or at least be refused for another reason; which of the two is
/// told for each.
#[test]
fn no_check_can_be_removed_unnoticed() {
    let _nothing = mutants::seen();
    for case in all() {
        let _refused = case.judge();
    }
    let sites = mutants::seen();
    let good = Case::new("good", Reason::ReportData, &edited(|_| ()));
    assert!(good.judge().is_ok());
    let (mut accepted, mut later, mut survived) = (0, Vec::new(), Vec::new());
    for site in mutants::seen().union(&sites) {
        let (check, file, line) = *site;
        let outcomes: Vec<_> = all()
            .iter()
            .filter(|case| case.reason == check)
            .map(|case| mutants::without(*site, || case.judge()))
            .collect();
        if outcomes.iter().any(Result::is_ok) {
            accepted += 1;
        } else if outcomes
            .iter()
            .any(|outcome| *outcome.as_ref().unwrap_err() != check)
        {
            later.push(format!("{} at {file}:{line}", check.code()));
        } else {
            survived.push(format!("{} at {file}:{line}", check.code()));
        }
    }
    println!(
        "{} checks removed in turn: {accepted} let a case in",
        sites.len()
    );
    println!("{} leave it to a later check: {later:#?}", later.len());
    println!("{} were not noticed: {survived:#?}", survived.len());
    assert!(survived.is_empty());
}

/// What is refused above for a choice of the policy's is accepted where the policy chooses otherwise.
#[test]
fn each_allowance_lets_in_what_it_names() {
    let hidden = edited(|report| report[0x1A0..0x1E0].fill(0));
    let vlek_lines = format!("allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true");
    let case = |name: &str, evidence: &Evidence| Case::new(name, Reason::ReportData, evidence);
    let provisional = edited(|report| report[0x1EC] -= 1);
    let version_2 = edited(as_version_2);
    let good = edited(|_| ());
    let crl = vendor().revocation_list(&[ASVK_SERIAL], start()).unwrap();
    let vlek_version_2 = vendor()
        .vlek_attester(provider(), MACHINE, CSP, start())
        .unwrap()
        .attest_edited(STATEMENT, as_version_2)
        .unwrap();
    let wrapped = certified(|vcek| {
        let inner = OctetString::new(MACHINE.chip_id.as_bytes().as_slice()).unwrap();
        set(vcek, oid::HARDWARE_ID, inner.to_der().unwrap());
    });
    for case in [
        case("a VLEK", &vlek(CSP))
            .snp(&vlek_lines)
            .with_provider()
            .on(ChipId::HIDDEN),
        case("a VLEK of version 2", &vlek_version_2)
            .snp(&vlek_lines)
            .snp_replaced("[3, 5]", "[2]")
            .with_provider()
            .on(ChipId::HIDDEN),
        case("a hidden chip that its VCEK names", &hidden).snp("allow_masked_chip_id = true"),
        case("a hardware id in an OCTET STRING", &wrapped),
        case("firmware that is not committed", &provisional)
            .snp("allow_provisional_firmware = true"),
        case("an old launch", &edited(|report| report[0x1F0] -= 1))
            .snp("allow_launch_below_minimum = true"),
        case("version 2", &version_2).snp_replaced("[3, 5]", "[2]"),
        case("a firmware at its minimum", &good).snp("min_firmware.genoa = \"1.55.40\""),
        case("a minimum for another product", &good).snp("min_firmware.turin = \"1.56.0\""),
        case("a list that does not revoke it", &good)
            .trust("crl = \"required\"")
            .with_crl(&crl),
        case("VMPL 2", &edited(|report| report[0x30] = 2)).snp("max_vmpl = 2"),
        case("listed identity key", &good).snp(&format!(
            "id_key_digests = [\"{}\"]\nauthor_key_digests = [\"{}\"]",
            "00".repeat(48),
            "00".repeat(48)
        )),
        case("listed family and image", &good).snp(&format!(
            "family_id = \"{}\"\nimage_id = \"{}\"",
            "00".repeat(16),
            "00".repeat(16)
        )),
    ] {
        let accepted = case.judge().map(|_| ());
        assert_eq!(accepted, Ok(()), "{}", case.name);
    }
}
