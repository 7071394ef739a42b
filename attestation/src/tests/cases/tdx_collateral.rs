//! Collateral that does not let a quote in: other keys, other dates, and what it says of the platform.

use serde_json::json;

use super::*;
use crate::simulated::SimulatedTdxVendor;
use crate::simulated::tdx::{CollateralDraft, Key, PCK_SERIAL};
use crate::tests::tdx_world::{TD, quote, vendor as intel};

/// A good quote, with collateral that was edited before it was signed.
fn with(
    name: &str,
    reason: Reason,
    begun: SystemTime,
    edit: impl FnOnce(&mut CollateralDraft),
) -> Case {
    let mut case = Case::tdx(name, reason, quote(|_| ()));
    case.store = edited_store(begun, edit);
    case
}

pub(super) fn edited_store(
    begun: SystemTime,
    edit: impl FnOnce(&mut CollateralDraft),
) -> TrustStore {
    let mut draft = CollateralDraft::new(intel(), begun).unwrap();
    edit(&mut draft);
    let mut store = TrustStore::new();
    store
        .add_collateral(draft.signed().unwrap().as_bytes())
        .unwrap();
    store
}

pub(super) fn collateral() -> Vec<Case> {
    let draft =
        |name: &str, reason, edit: fn(&mut CollateralDraft)| with(name, reason, start(), edit);
    let mut cases = vec![
        draft(
            "collateral that nobody certified signed",
            Reason::TdxCollateralSignature,
            |draft| {
                draft.signing_key = Key::random();
            },
        ),
        draft(
            "lists of another authority's key",
            Reason::TdxCollateralSignature,
            |draft| {
                draft.pck_authority.key = Key::random();
            },
        ),
        draft(
            "root's list of another key",
            Reason::TdxCollateralSignature,
            |draft| {
                draft.root.key = Key::random();
            },
        ),
        draft(
            "a signer whom the PCKs' authority certified",
            Reason::TdxCollateralSignature,
            |draft| {
                let signer = draft
                    .pck_authority
                    .issue("Intel SGX TCB Signing", 9, start(), |_| ());
                draft.signer = signer.unwrap();
                draft.signing_key = draft.signer.key.clone();
                draft.signer_issuer = Some(draft.pck_authority.clone());
            },
        ),
        draft("a revoked PCK", Reason::TdxCertificateRevoked, |draft| {
            draft.revoked_pcks = vec![1, PCK_SERIAL];
        }),
        draft(
            "a revoked authority",
            Reason::TdxCertificateRevoked,
            |draft| {
                draft.revoked_by_root = vec![2];
            },
        ),
        draft("a revoked signer", Reason::TdxCertificateRevoked, |draft| {
            draft.revoked_by_root = vec![3];
        }),
        draft("a revoked root", Reason::TdxCertificateRevoked, |draft| {
            draft.revoked_by_root = vec![1];
        }),
        draft(
            "another enclave's identity",
            Reason::TdxQeIdentity,
            |draft| {
                draft.qe_identity["id"] = json!("QE");
            },
        ),
        draft(
            "a platform below every level",
            Reason::TdxTcbLevel,
            |draft| {
                draft.tcb_info["tcbLevels"] = json!([draft.tcb_info["tcbLevels"][0].clone()]);
                draft.tcb_info["tcbLevels"][0]["tcb"]["pcesvn"] = json!(14);
            },
        ),
        draft("a revoked platform", Reason::TdxTcbRevoked, |draft| {
            draft.tcb_info["tcbLevels"][0]["tcbStatus"] = json!("Revoked");
        }),
        draft(
            "a platform that is out of date",
            Reason::TdxTcbStatus,
            |draft| {
                draft.tcb_info["tcbLevels"][0]["tcb"]["pcesvn"] = json!(14);
            },
        ),
        draft(
            "an enclave that is out of date",
            Reason::TdxTcbStatus,
            |draft| {
                draft.qe_identity["tcbLevels"][0]["tcbStatus"] = json!("OutOfDate");
            },
        ),
        draft(
            "a level with fifteen components",
            Reason::TdxAppraisal,
            |draft| {
                let components = &mut draft.tcb_info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"];
                components.as_array_mut().unwrap().pop();
            },
        ),
        draft(
            "an advisory beside a good level",
            Reason::TdxAdvisory,
            |draft| {
                draft.tcb_info["tcbLevels"][0]["advisoryIDs"] = json!(["INTEL-SA-90001"]);
            },
        ),
        draft(
            "an appraisal that is too old",
            Reason::TdxEvaluationNumber,
            |draft| {
                draft.qe_identity["tcbEvaluationDataNumber"] = json!(19);
            },
        )
        .rules("min_evaluation_number = 20"),
        draft(
            "another family's collateral",
            Reason::TdxCollateralMissing,
            |draft| {
                draft.tcb_info["fmspc"] = json!("FF514D000001");
            },
        ),
        with(
            "collateral from the future",
            Reason::TdxCollateralNotYetValid,
            now() + DAY,
            |_| (),
        ),
        with(
            "lists from the future",
            Reason::TdxCollateralNotYetValid,
            start(),
            |draft| {
                draft.lists_from = now() + DAY;
            },
        ),
        Case::tdx(
            "collateral past its date",
            Reason::TdxCollateralStale,
            quote(|_| ()),
        )
        .at(start() + 31 * DAY),
        with(
            "lists past their date",
            Reason::TdxCollateralStale,
            start(),
            |draft| {
                draft.lists_from = start() - 40 * DAY;
            },
        ),
        // Allowed by its word, and an advisory that is not.
        draft(
            "an advisory of an accepted level",
            Reason::TdxAdvisory,
            |draft| {
                draft.tcb_info["tcbLevels"][0]["tcb"]["pcesvn"] = json!(14);
            },
        )
        .rules("tcb_statuses = [\"UpToDate\", \"OutOfDate\"]"),
    ];
    for (name, reason, now) in [
        (
            "a quote before its certificates",
            Reason::TdxCertificateNotYetValid,
            start() - DAY,
        ),
        (
            "a quote after its certificates",
            Reason::TdxCertificateExpired,
            start() + 8 * 365 * DAY,
        ),
    ] {
        cases.push(Case::tdx(name, reason, quote(|_| ())).at(now));
    }
    cases.extend(others());
    cases
}

/// Another vendor's quotes, and keys of another vendor's under the names of this one.
fn others() -> Vec<Case> {
    let other = SimulatedTdxVendor::create(start()).unwrap();
    let machine = other.machine(TD, start()).unwrap();
    let foreign = machine.quote_edited(STATEMENT, |_| ());
    let mut pinned_beside = Case::tdx("another vendor's quote", Reason::TdxUnknownRoot, foreign);
    let collateral = other.collateral(start()).unwrap();
    pinned_beside
        .store
        .add_collateral(collateral.as_bytes())
        .unwrap();
    // The chain ends at the pinned root, which did not issue it.
    let spliced = quote(|draft| {
        let theirs = machine.chain_without_root();
        let ours = String::from_utf8(draft.chain.clone()).unwrap();
        let root = ours.rfind("-----BEGIN").unwrap();
        draft.chain = [theirs.as_bytes(), &ours.as_bytes()[root..]].concat();
        draft.pck = machine.pck_key().clone();
    });
    vec![
        pinned_beside,
        Case::tdx(
            "another vendor's PCK under the root",
            Reason::TdxCertificateChain,
            spliced,
        ),
    ]
}
