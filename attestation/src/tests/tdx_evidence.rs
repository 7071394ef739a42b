//! Good quotes and what verified ones say, flipped bits, collateral that does not read, and real quotes.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use super::tdx_world::{TD, attester, policy_text, quote, store, vendor};
use super::world::{STATEMENT, now, start};
use crate::attester::machine_of;
use crate::{
    Attester, Claims, Evidence, Expected, Explainer, INTEL_ROOT_HASH, MachineBinding, Policy,
    PolicyError, Reason, ReportData, TrustError, TrustStore, Verdict, Verifier, Wanted,
};

fn verifier(lines: &str) -> Verifier {
    let policy = policy_text().replace("[tdx]\n", &format!("[tdx]\n{lines}\n"));
    Verifier::new(Policy::from_toml(&policy).unwrap(), &store()).unwrap()
}

fn judge(verifier: &Verifier, bytes: &[u8], machine: &MachineBinding) -> Result<Claims, Reason> {
    let expected = Expected {
        machine,
        report_data: STATEMENT,
    };
    verifier.verify(&Evidence::from_bytes(bytes)?, &expected, now())
}

#[test]
fn a_good_quote_is_accepted_and_its_claims_are_what_the_machine_declared() {
    let evidence = attester().attest(STATEMENT).unwrap();
    let claims = judge(&verifier(""), &evidence.to_bytes(), &TD.binding()).unwrap();
    assert!(claims.simulated());
    assert_eq!(claims.root(), &vendor().root_hash());
    assert_eq!(claims.measurement(), &TD.mr_td);
    assert_eq!(claims.report_data(), &STATEMENT);
    assert_eq!(claims.chip_id(), &TD.binding().chip_id);
    assert!(claims.snp().is_none());
    let tdx = claims.tdx().unwrap();
    assert_eq!((tdx.tcb_status(), tdx.quote_version()), ("UpToDate", 4));
    assert!(tdx.advisories().is_empty());
    assert_eq!(machine_of(&evidence), Ok(TD.binding()));
}

/// What is refused among the bad cases for a choice of the policy's is accepted where the policy chooses otherwise.
#[test]
fn each_choice_of_the_policy_lets_in_what_it_names() {
    let anywhere = MachineBinding {
        chip_id: crate::ChipId::HIDDEN,
        ..TD.binding()
    };
    let old = "tcb_statuses = [\"OutOfDate\"]\naccepted_advisories = [\"INTEL-SA-90002\"]";
    let counting = quote(|draft| draft.td[0x07F] |= 0x80);
    let older_module = quote(|draft| draft.td[0] = 4);
    let zeros = format!("[\"{}\"]", "00".repeat(48));
    let nothing: String = ["mr_seam", "mr_owners", "mr_owner_configs", "rtmr0", "rtmr3"]
        .iter()
        .map(|field| format!("{field} = {zeros}\n"))
        .collect();
    for (name, lines, bytes, machine) in [
        ("counters", "allow_perfmon = true", counting, TD.binding()),
        (
            "any platform",
            "allow_any_platform = true",
            quote(|_| ()),
            anywhere,
        ),
        (
            "a module that is out of date",
            old,
            older_module,
            TD.binding(),
        ),
        ("listed registers", &nothing, quote(|_| ()), TD.binding()),
        (
            "AVX",
            "allowed_xfam = \"0000000000000007\"",
            quote(|_| ()),
            TD.binding(),
        ),
    ] {
        let judged = judge(&verifier(lines), &bytes, &machine).map(|_| ());
        assert_eq!(judged, Ok(()), "{name}");
    }
}

#[test]
fn a_padded_quote_is_taken_without_its_zeros_and_nothing_else_is_cut() {
    let good = quote(|_| ());
    let padded = [good.as_slice(), &[0; 70]].concat();
    assert_eq!(Evidence::of_quote(&padded).unwrap().to_bytes(), good);
    let other = [good.as_slice(), &[0; 69], &[1]].concat();
    assert_eq!(Evidence::of_quote(&other).unwrap().to_bytes(), other);
    assert_eq!(
        judge(&verifier(""), &other, &TD.binding()).unwrap_err(),
        Reason::TdxQuoteEncoding
    );
}

/// Every 61st bit, which meets every bit of a byte; all of them with `CONSORT_EVERY_BIT` set.
#[test]
fn a_flipped_bit_of_a_quote_is_refused() {
    let good = quote(|_| ());
    let verifier = verifier("");
    let every = std::env::var_os("CONSORT_EVERY_BIT").is_some();
    let mut flipped = 0;
    for bit in (0..8 * good.len()).step_by(if every { 1 } else { 61 }) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let judged = judge(&verifier, &bytes, &TD.binding());
        assert!(judged.is_err(), "bit {bit}");
        flipped += 1;
    }
    println!("{flipped} flipped bits of a quote were refused");
}

#[test]
fn a_root_of_software_counts_only_where_it_is_spelled_out() {
    let root = hex::encode(vendor().root_hash());
    let genuine = policy_text()
        .replace("roots = []", &format!("roots = [\"{root}\"]"))
        .replace(
            &format!("dangerous_simulated_roots = [\"{root}\"]"),
            "dangerous_simulated_roots = []",
        );
    let genuine = Policy::from_toml(&genuine).unwrap();
    assert_eq!(
        Verifier::new(genuine, &store()).err(),
        Some(PolicyError::SimulatedRootNotSpelled(root.clone()))
    );
    let policy = Policy::from_toml(&policy_text()).unwrap();
    assert_eq!(
        Verifier::new(policy, &TrustStore::new()).err(),
        Some(PolicyError::RootNotGiven(root))
    );
}

#[test]
fn collateral_that_does_not_read_or_comes_twice_is_refused() {
    let good = vendor().collateral(start()).unwrap();
    let add = |text: &str| TrustStore::new().add_collateral(text.as_bytes());
    assert_eq!(add(&good), Ok(()));
    let without = |part: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value.as_object_mut().unwrap().remove(part);
        value.to_string()
    };
    let replaced = |part: &str, by: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value[part] = by.into();
        value.to_string()
    };
    for bad in [
        String::new(),
        "{}".to_owned(),
        without("root_ca_crl"),
        without("qe_identity"),
        replaced("tcb_info", "{}"),
        replaced("pck_crl", "30820000"),
        replaced("tcb_info_issuer_chain", ""),
        good.replace("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE----"),
        good.replace("FF514D000000", "FF514D0000"),
        good.replace("T00:00:00Z", " 00:00:00"),
    ] {
        assert_eq!(add(&bad), Err(TrustError::CollateralMalformed), "{bad:.80}");
    }
    let mut twice = store();
    assert_eq!(
        twice.add_collateral(good.as_bytes()),
        Err(TrustError::CollateralTwice)
    );
}

/// A chain in the collateral is never looked at: the quote's own counts.
#[test]
fn a_chain_that_the_collateral_brings_changes_nothing() {
    let mut value: serde_json::Value =
        serde_json::from_str(&vendor().collateral(start()).unwrap()).unwrap();
    value["pck_certificate_chain"] = "no certificates".into();
    let mut store = TrustStore::new();
    store.add_collateral(value.to_string().as_bytes()).unwrap();
    let policy = Policy::from_toml(&policy_text()).unwrap();
    let verifier = Verifier::new(policy, &store).unwrap();
    assert!(judge(&verifier, &quote(|_| ()), &TD.binding()).is_ok());
}

#[test]
fn an_explanation_of_a_quote_tells_of_quotes_alone() {
    let explained = verifier("").explain(&quote(|_| ()), &Wanted::default(), now());
    assert!(explained.outcome.unwrap().simulated);
    assert!(explained.findings.iter().all(|finding| {
        finding.check.concerns(crate::Technology::Tdx) && finding.verdict != Verdict::NotReached
    }));
    let fields = crate::fields::of_evidence(&attester().attest(STATEMENT).unwrap()).unwrap();
    assert!(fields.iter().any(|field| field.name == "MRTD"));
}

/// Real quotes with Intel's collateral, as `dcap-qvl` has them in its package (folder `sample`): a folder of it is named in
/// `CONSORT_TDX_VECTORS`.
#[test]
fn real_quotes_are_judged_by_intels_own_root() {
    let Some(folder) = std::env::var_os("CONSORT_TDX_VECTORS").map(PathBuf::from) else {
        eprintln!("skipped: CONSORT_TDX_VECTORS names no folder of real quotes");
        return;
    };
    // Each at a time when its collateral was fresh.
    for (name, at, outcome, version) in [
        ("tdx_quote", 1_750_400_000, None, 4),
        (
            "tdx_quote_outdated",
            1_771_500_000,
            Some(Reason::TdxTcbLevel),
            5,
        ),
        ("tdx_quote_td15ex", 1_791_500_000, None, 5),
    ] {
        let outblob = std::fs::read(folder.join(name)).unwrap();
        let collateral = std::fs::read(folder.join(format!("{name}_collateral.json"))).unwrap();
        let evidence = Evidence::of_quote(&outblob).unwrap();
        let mut store = TrustStore::new();
        store.add_collateral(&collateral).unwrap();
        assert_eq!(hex::encode(store.root_hashes()[0]), INTEL_ROOT_HASH);
        let now = UNIX_EPOCH + Duration::from_secs(at);
        let explainer = Explainer::vendors_roots_alone(&store).unwrap();
        let explained = explainer.explain(&evidence.to_bytes(), &Wanted::default(), now);
        assert_eq!(
            explained.outcome.err(),
            outcome,
            "{name}: {:#?}",
            explained.findings
        );
        assert_eq!(evidence.to_bytes()[0], version, "{name}");
        let real = Real::new(&evidence, &store);
        // The last one's MRCONFIGID has 48 bytes of something: nobody's launch configuration.
        let outcome = outcome.or((!real.has_host_data).then_some(Reason::HostData));
        assert_eq!(
            real.judge(&evidence.to_bytes(), now).err(),
            outcome,
            "{name}"
        );
        let mut flipped = 0;
        let bytes = evidence.to_bytes();
        let every = std::env::var_os("CONSORT_EVERY_BIT").is_some();
        for bit in (0..8 * bytes.len()).step_by(if every { 1 } else { 61 }) {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let judged = real.judge(&other, now);
            let reason = judged.err();
            assert!(reason.is_some() && reason != outcome, "{name}, bit {bit}");
            flipped += 1;
        }
        println!("{name}: {flipped} flipped bits were refused");
    }
}

/// A policy that fits a real quote.
struct Real {
    verifier: Verifier,
    machine: MachineBinding,
    has_host_data: bool,
    report_data: ReportData,
}

impl Real {
    fn new(evidence: &Evidence, store: &TrustStore) -> Self {
        let quote = crate::tdx::Quote::parse(evidence.report()).unwrap();
        let td = quote.td();
        let policy = format!(
            "[trust]\nroots = [\"{INTEL_ROOT_HASH}\"]\n[tdx]\nquote_versions = [4, 5]\nallow_smt = true\nallow_dynamic_platform = true\n\
             allow_cached_keys = true\nmr_td = [\"{}\"]\n",
            td.mr_td
        );
        let host_data = crate::verify::host_data_of(&td.mr_config_id);
        Self {
            verifier: Verifier::new(Policy::from_toml(&policy).unwrap(), store).unwrap(),
            machine: MachineBinding {
                chip_id: quote.platform,
                host_data: host_data.unwrap_or(crate::HostData::new([0; 32])),
            },
            has_host_data: host_data.is_some(),
            report_data: td.report_data,
        }
    }

    fn judge(&self, bytes: &[u8], now: std::time::SystemTime) -> Result<Claims, Reason> {
        let expected = Expected {
            machine: &self.machine,
            report_data: self.report_data,
        };
        self.verifier
            .verify(&Evidence::from_bytes(bytes)?, &expected, now)
    }
}
