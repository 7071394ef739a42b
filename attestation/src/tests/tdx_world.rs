//! A simulated Intel, a policy that trusts it, and a TD, made once for all tests.

use std::sync::OnceLock;

use super::world::{STATEMENT, now, start};
use crate::simulated::tdx::QuoteDraft;
use crate::simulated::{SimulatedTd, SimulatedTdxVendor, TdDeclaration};
use crate::{HostData, Measurement, TrustStore};

pub(crate) const TD: TdDeclaration = TdDeclaration {
    platform: [0x7D; 16],
    mr_td: Measurement::new([0x4D; 48]),
    host_data: HostData::new([0x4F; 32]),
};

pub(crate) fn vendor() -> &'static SimulatedTdxVendor {
    static VENDOR: OnceLock<SimulatedTdxVendor> = OnceLock::new();
    VENDOR.get_or_init(|| SimulatedTdxVendor::create(start()).unwrap())
}

pub(crate) fn attester() -> &'static SimulatedTd {
    static ATTESTER: OnceLock<SimulatedTd> = OnceLock::new();
    ATTESTER.get_or_init(|| vendor().machine(TD, start()).unwrap())
}

pub(crate) fn store() -> TrustStore {
    vendor().trust_store(start()).unwrap()
}

/// A quote that was edited before it was signed.
pub(crate) fn quote(edit: impl FnOnce(&mut QuoteDraft)) -> Vec<u8> {
    assert!(start() < now());
    attester().quote_edited(STATEMENT, edit)
}

/// A strict policy that names the vendor's root, without a section for SEV-SNP.
pub(crate) fn policy_text() -> String {
    format!(
        r#"
[trust]
        roots = []
        dangerous_simulated_roots = ["{root}"]

[tdx]
        quote_versions = [4, 5]
        mr_td = ["{mr_td}"]
        "#,
        root = hex::encode(vendor().root_hash()),
        mr_td = TD.mr_td,
    )
}
