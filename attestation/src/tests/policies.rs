//! Policy files and trust stores that are not taken, and the vendor's directory.

use x509_cert::Certificate;
use x509_cert::der::EncodePem;
use x509_cert::der::pem::LineEnding;

use super::world::{MACHINE, STATEMENT, judge, policy_text, start, vendor};
use crate::simulated::{SimulatedVendor, SimulationFault};
use crate::{Attester, Policy, PolicyError, TrustError, TrustStore, Verifier};

fn refuse(text: &str) -> PolicyError {
    Policy::from_toml(text).unwrap_err()
}

#[test]
fn a_missing_list_is_refused_by_its_name() {
    let good = policy_text("");
    for (line, field) in [
        ("roots = []", "trust.roots"),
        ("report_versions = [3, 5]", "snp.report_versions"),
        (
            &format!("measurements = [\"{}\"]", MACHINE.measurement),
            "snp.measurements",
        ),
    ] {
        // `roots = []` is also the tail of no other line: the simulated list is not empty.
        assert_eq!(
            refuse(&good.replacen(line, "", 1)),
            PolicyError::Missing(field)
        );
    }
    let (before, _) = good.split_once("[snp.min_tcb").unwrap();
    assert_eq!(refuse(before), PolicyError::Missing("snp.min_tcb"));
}

#[test]
fn an_empty_list_is_refused_by_its_name() {
    let good = policy_text("");
    let measurement = format!("\"{}\"", MACHINE.measurement);
    assert_eq!(
        refuse(&good.replace(&measurement, "")),
        PolicyError::Empty("snp.measurements")
    );
    assert_eq!(
        refuse(&good.replace("[3, 5]", "[]")),
        PolicyError::Empty("snp.report_versions")
    );
    let root = format!("\"{}\"", hex::encode(vendor().root_hash().unwrap()));
    assert_eq!(
        refuse(&good.replace(&root, "")),
        PolicyError::Empty("trust.roots")
    );
    assert_eq!(
        refuse(&policy_text("host_data = []")),
        PolicyError::Empty("snp.host_data")
    );
}

#[test]
fn an_unknown_field_is_refused_in_every_table() {
    assert_eq!(
        refuse(&policy_text("allow_everything = true")).code(),
        "policy.syntax"
    );
    assert_eq!(
        refuse(&policy_text("").replace("[trust]", "[trust]\nroot = []")).code(),
        "policy.syntax"
    );
    assert_eq!(
        refuse(&policy_text("").replace("tee = 1", "tee = 1\npsp = 1")).code(),
        "policy.syntax"
    );
    assert_eq!(
        refuse(&policy_text("").replace("min_tcb.genoa", "min_tcb.rome")).code(),
        "policy.syntax"
    );
}

#[test]
fn a_value_out_of_range_is_refused_by_its_name() {
    assert!(matches!(
        refuse(&policy_text("denied_chips = [\"00\"]")),
        PolicyError::Invalid("snp.denied_chips", _)
    ));
    assert!(matches!(
        refuse(&policy_text("").replace("[3, 5]", "[6]")),
        PolicyError::Invalid("snp.report_versions", _)
    ));
    assert!(matches!(
        refuse(&policy_text("").replace("tee = 1", "tee = 1\nfmc = 1")),
        PolicyError::Invalid("snp.min_tcb", _)
    ));
    let skew = policy_text("").replace("[trust]", "[trust]\nclock_skew_seconds = 86401");
    assert!(matches!(
        refuse(&skew),
        PolicyError::Invalid("trust.clock_skew_seconds", _)
    ));
}

/// The host brings the ID block, and signs one of its own where the policy does not say whose it must be.
#[test]
fn what_an_id_block_says_is_asked_for_only_with_who_may_sign_it() {
    let (family, image) = (
        format!("family_id = \"{}\"", "01".repeat(16)),
        format!("image_id = \"{}\"", "01".repeat(16)),
    );
    let (some, none) = ("01".repeat(48), "00".repeat(48));
    for (line, field) in [
        ("min_guest_svn = 1", "snp.min_guest_svn"),
        (&family, "snp.family_id"),
        (&image, "snp.image_id"),
    ] {
        let unsigned = PolicyError::UnsignedIdBlock(field);
        assert_eq!(refuse(&policy_text(line)), unsigned);
        let no_author = format!("{line}\nauthor_key_digests = [\"{some}\", \"{none}\"]");
        assert_eq!(refuse(&policy_text(&no_author)), unsigned);
        for signed in ["id_key_digests", "author_key_digests"] {
            let signed = format!("{line}\n{signed} = [\"{some}\"]");
            assert!(Policy::from_toml(&policy_text(&signed)).is_ok());
        }
    }
}

#[test]
fn a_minimum_without_a_component_is_refused() {
    assert_eq!(
        refuse(&policy_text("").replace("tee = 1", "")).code(),
        "policy.syntax"
    );
}

#[test]
fn a_simulated_root_is_never_taken_for_a_genuine_one() {
    let root = hex::encode(vendor().root_hash().unwrap());
    let disguised = policy_text("")
        .replace("dangerous_simulated_roots", "x")
        .replace("roots = []", "");
    let disguised = disguised.replace("x =", "roots =");
    let policy = Policy::from_toml(&disguised).unwrap();
    let error = Verifier::new(policy, &vendor().trust_store().unwrap())
        .err()
        .unwrap();
    assert_eq!(error, PolicyError::SimulatedRootNotSpelled(root.clone()));
    let twice = policy_text("").replace("roots = []", &format!("roots = [\"{root}\"]"));
    assert_eq!(refuse(&twice), PolicyError::RootTwice);
}

#[test]
fn a_pinned_root_that_was_not_given_is_an_error() {
    let policy = Policy::from_toml(&policy_text("")).unwrap();
    assert_eq!(
        Verifier::new(policy, &TrustStore::new())
            .err()
            .unwrap()
            .code(),
        "policy.root-not-given"
    );
}

#[test]
fn a_bundle_that_is_not_an_ark_and_its_ask_is_refused() {
    let add = |pem: String| TrustStore::new().add_pem_bundle(pem.as_bytes());
    let pem = vendor().roots_pem().unwrap();
    let other = SimulatedVendor::create(vendor().product(), start())
        .unwrap()
        .roots_pem()
        .unwrap();
    let split = |pem: &str| {
        let (ask, ark) = pem.split_at(pem.rfind("-----BEGIN").unwrap());
        (ask.to_owned(), ark.to_owned())
    };
    let ((ask, ark), (other_ask, other_ark)) = (split(&pem), split(&other));
    assert_eq!(add(pem.clone()), Ok(()));
    assert_eq!(add(ark.clone() + &ask), Ok(()));
    assert_eq!(add(ask.clone()), Err(TrustError::NotOneArk));
    assert_eq!(add(ark.clone()), Err(TrustError::NotOneAsk));
    assert_eq!(add(pem.clone() + &other_ark), Err(TrustError::NotOneArk));
    assert_eq!(add(other_ask + &ark), Err(TrustError::NotSigned));
    assert_eq!(
        add("-----BEGIN CERTIFICATE-----\nnonsense".to_owned()),
        Err(TrustError::NotPem)
    );
    for nothing in ["", "\n", "\r\n\n"] {
        assert_eq!(add(nothing.to_owned()), Err(TrustError::NotOneArk));
    }
}

#[test]
fn an_ark_that_did_not_sign_itself_is_refused() {
    let pem = vendor().roots_pem().unwrap();
    let mut certificates = Certificate::load_pem_chain(pem.as_bytes()).unwrap();
    certificates[1].signature = certificates[0].signature.clone();
    let forged: String = certificates
        .iter()
        .map(|certificate| certificate.to_pem(LineEnding::LF).unwrap())
        .collect();
    let added = TrustStore::new().add_pem_bundle(forged.as_bytes());
    assert_eq!(added, Err(TrustError::NotSigned));
}

#[test]
fn a_vendor_read_back_from_its_directory_signs_under_the_same_root() {
    let directory = tempfile::tempdir().unwrap();
    vendor().save(directory.path()).unwrap();
    let loaded = SimulatedVendor::load(directory.path()).unwrap();
    assert_eq!(loaded.root_hash().unwrap(), vendor().root_hash().unwrap());
    let evidence = loaded
        .attester(MACHINE, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    assert!(judge(&super::world::verifier_with(""), &evidence).is_ok());
    assert!(
        matches!(
            vendor().save(directory.path()),
            Err(SimulationFault::Writing(_))
        ),
        "nothing is overwritten"
    );
}

#[test]
fn a_policy_accepts_reports_or_quotes_or_both_and_not_neither() {
    let quotes = super::tdx_world::policy_text();
    let (trust, _) = quotes.split_once("[tdx]").unwrap();
    let refused = |text: &str| Policy::from_toml(text).unwrap_err();
    assert_eq!(refused(trust), PolicyError::Missing("snp or tdx"));
    let quotes = Policy::from_toml(&quotes).unwrap();
    assert!(quotes.tdx.accept_any() && !quotes.snp.accept_any());
    let reports = Policy::from_toml(&policy_text("")).unwrap();
    assert!(reports.snp.accept_any() && !reports.tdx.accept_any());
}

#[test]
fn a_field_for_quotes_that_is_missing_empty_or_out_of_range_is_named() {
    let good = super::tdx_world::policy_text();
    let refused = |text: &str| Policy::from_toml(text).unwrap_err();
    let with = |line: &str| refused(&good.replace("[tdx]\n", &format!("[tdx]\n{line}\n")));
    let versions = |list: &str| refused(&good.replace("[4, 5]", list));
    assert_eq!(versions("[]"), PolicyError::Empty("tdx.quote_versions"));
    assert!(matches!(
        versions("[3]"),
        PolicyError::Invalid("tdx.quote_versions", _)
    ));
    let without = |field: &str| {
        let lines = good
            .lines()
            .filter(|line| !line.trim_start().starts_with(field));
        refused(&lines.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(
        without("quote_versions"),
        PolicyError::Missing("tdx.quote_versions")
    );
    assert_eq!(without("mr_td"), PolicyError::Missing("tdx.mr_td"));
    for (line, field) in [
        ("mr_seam = []", "tdx.mr_seam"),
        ("rtmr3 = []", "tdx.rtmr3"),
        ("tcb_statuses = []", "tdx.tcb_statuses"),
    ] {
        assert_eq!(with(line), PolicyError::Empty(field));
    }
    for (line, field) in [
        ("mr_owners = [\"00\"]", "tdx.mr_owners"),
        ("min_tee_tcb_svn = \"05\"", "tdx.min_tee_tcb_svn"),
        ("allowed_xfam = \"0x7\"", "tdx.allowed_xfam"),
        ("accepted_advisories = [\"\"]", "tdx.accepted_advisories"),
        ("denied_platforms = [\"7d\"]", "tdx.denied_platforms"),
    ] {
        assert!(matches!(with(line), PolicyError::Invalid(named, _) if named == field));
    }
    // No policy accepts a level that Intel revoked.
    assert!(matches!(
        with("tcb_statuses = [\"Revoked\"]"),
        PolicyError::Syntax(_)
    ));
    assert!(matches!(with("mr_enclave = []"), PolicyError::Syntax(_)));
}
