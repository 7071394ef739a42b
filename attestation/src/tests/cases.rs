//! Bad evidence, case by case: each is refused for exactly one reason, and every check has a case of its own.

mod certificates;
mod chains;
mod form;
mod identities;
mod machines;
mod tdx;
mod tdx_collateral;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use x509_cert::TbsCertificate;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;

use super::tdx_world::{self, TD};
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

    /// A quote, in the world of a simulated Intel.
    fn tdx(name: impl Into<String>, reason: Reason, quote: Vec<u8>) -> Self {
        Self {
            name: format!("TDX: {}", name.into()),
            reason,
            bytes: quote,
            policy: tdx_world::policy_text(),
            store: tdx_world::store(),
            machine: TD.binding(),
            report_data: STATEMENT,
            now: now(),
        }
    }

    fn rules(mut self, lines: &str) -> Self {
        self.policy = self.policy.replace("[tdx]\n", &format!("[tdx]\n{lines}\n"));
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
    let report = *attester().attest(STATEMENT).unwrap().halves().0;
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

impl Case {
    fn snp_replaced(mut self, line: &str, by: &str) -> Self {
        self.policy = self.policy.replace(line, by);
        self
    }
}

impl Evidence {
    fn with_report(&self, report: Report) -> Self {
        Self::new(report, self.halves().1.to_vec()).unwrap()
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
            form::form(),
            certificates::certificates(),
            chains::chains(),
            chains::dates(),
            machines::guests_and_platforms(),
            identities::identities(),
            tdx::quotes(),
            tdx::machines(),
            tdx::platforms(),
            tdx_collateral::collateral(),
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
        let policy = Policy::from_toml(&case.policy).unwrap();
        let verifier = Verifier::new(policy, &case.store).unwrap();
        let expected = Expected {
            machine: &case.machine,
            report_data: case.report_data,
        };
        let explained = verifier.explain(&case.bytes, &(&expected).into(), case.now);
        assert_eq!(explained.outcome.err(), Some(case.reason), "{}", case.name);
        let first = explained
            .findings
            .iter()
            .find(|finding| finding.verdict == crate::Verdict::Failed);
        assert_eq!(first.map(|it| it.check), Some(case.reason), "{}", case.name);
        let told: BTreeSet<_> = explained.findings.iter().map(|it| it.check).collect();
        let technology = Evidence::from_bytes(&case.bytes).map(|it| it.technology());
        let concerned = |check: &&Reason| technology.is_ok_and(|it| check.concerns(it));
        let every = match technology {
            Ok(_) => Reason::ALL.iter().filter(concerned).count(),
            Err(_) => Reason::ALL.len(),
        };
        assert_eq!(told.len(), every, "{}", case.name);
        assert_eq!(explained.findings.len(), told.len(), "{}", case.name);
    }
}

/// What an explanation goes on to, and what it does not take for something that it is not.
#[test]
fn an_explanation_goes_on_where_something_is_left_to_look_at() {
    let verdicts = |case: &Case| {
        let policy = Policy::from_toml(&case.policy).unwrap();
        let verifier = Verifier::new(policy, &case.store).unwrap();
        let explained = verifier.explain(&case.bytes, &crate::Wanted::default(), case.now);
        let of = |check| {
            let mut findings = explained.findings.iter();
            findings.find(|it| it.check == check).unwrap().verdict
        };
        [
            Reason::TcbCurrent,
            Reason::FirmwareProvisional,
            Reason::Measurement,
        ]
        .map(of)
    };
    use crate::Verdict::{NotJudged, NotReached, Passed};
    let good = edited(|_| ());
    let no_minimum = Case::new("", Reason::ProductWithoutMinimum, &good)
        .snp_replaced("min_tcb.genoa", "min_tcb.milan");
    assert_eq!(verdicts(&no_minimum), [NotJudged, Passed, Passed]);
    let version_6 = Case::new("", Reason::ReportVersion, &edited(|report| report[0] = 6));
    assert_eq!(verdicts(&version_6), [NotReached; 3]);
    assert_eq!(
        crate::fields::of_report(edited(|report| report[0] = 6).halves().0),
        Err(Reason::ReportVersion)
    );
    let version_4 = Case::new("", Reason::ReportVersion, &edited(|report| report[0] = 4));
    assert_eq!(verdicts(&version_4), [Passed; 3]);
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
    let good = Case::tdx("good", Reason::ReportData, tdx_world::quote(|_| ()));
    assert_eq!(good.judge().map(|_| ()), Ok(()));
    let (mut accepted, mut later, mut survived) = (0, Vec::new(), Vec::new());
    for site in mutants::seen().union(&sites) {
        let (check, file, line) = site;
        let outcomes: Vec<_> = all()
            .iter()
            .filter(|case| case.reason.code() == *check)
            .map(|case| mutants::without(site.clone(), || case.judge()))
            .collect();
        if outcomes.iter().any(Result::is_ok) {
            accepted += 1;
        } else if outcomes
            .iter()
            .any(|outcome| outcome.as_ref().unwrap_err().code() != *check)
        {
            later.push(format!("{check} at {file}:{line}"));
        } else {
            survived.push(format!("{check} at {file}:{line}"));
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

/// Clocks may differ by the policy's skew, at either end of what is dated, and no more; the cases above have the other side of each edge.
#[test]
fn a_quote_is_judged_by_dates_with_the_policys_clock_skew() {
    let skew = Duration::from_secs(300);
    let at = |now| Case::tdx("", Reason::ReportData, tdx_world::quote(|_| ())).at(now);
    let end = start() + 30 * DAY;
    for now in [start(), start() - skew, end, end + skew] {
        assert_eq!(at(now).judge().map(drop), Ok(()), "{now:?}");
    }
    let second = Duration::from_secs(1);
    let early = at(start() - skew - second).judge().map(drop);
    assert_eq!(early, Err(Reason::TdxCertificateNotYetValid));
    let late = at(end + skew + second).judge().map(drop);
    assert_eq!(late, Err(Reason::TdxCollateralStale));
    let strict = at(start() - second).trust("clock_skew_seconds = 0");
    assert_eq!(
        strict.judge().map(drop),
        Err(Reason::TdxCertificateNotYetValid)
    );
}

#[test]
fn a_platform_is_taken_where_the_policy_allows_its_configuration_or_the_pck_says_nothing() {
    let case = |quote| Case::tdx("", Reason::ReportData, quote);
    let every = tdx::on_platform(|platform| platform.configuration = Some([true; 3]));
    let allowing = "allow_smt = true\nallow_dynamic_platform = true\nallow_cached_keys = true";
    for case in [
        case(tdx::on_platform(|_| ())),
        case(tdx::on_platform(|platform| platform.configuration = None)),
        case(every).rules(allowing),
    ] {
        assert_eq!(case.judge().map(drop), Ok(()));
    }
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
            "family_id = \"{}\"\nimage_id = \"{}\"\nid_key_digests = [\"{}\"]",
            "00".repeat(16),
            "00".repeat(16),
            "00".repeat(48)
        )),
        case(
            "microcode that is ahead of what is committed",
            &edited(|report| report[0x38 + 7] += 1),
        ),
        case("an uncommitted level", &edited(|report| report[0x38] += 1))
            .snp("allow_provisional_firmware = true"),
    ] {
        let accepted = case.judge().map(|_| ());
        assert_eq!(accepted, Ok(()), "{}", case.name);
    }
}
