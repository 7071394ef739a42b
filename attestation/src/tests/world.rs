//! A simulated vendor, a policy that trusts it, and a machine, made once for all tests: RSA keys take time.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::simulated::{SimulatedAttester, SimulatedMachine, SimulatedVendor};
use crate::{
    ChipId, Claims, Evidence, Expected, HostData, Measurement, Policy, Product, Reason, ReportData,
    Tcb, Verifier,
};

pub(crate) const TCB: Tcb = Tcb {
    fmc: None,
    bootloader: 10,
    tee: 1,
    snp: 25,
    microcode: 84,
};

pub(crate) const MACHINE: SimulatedMachine = SimulatedMachine {
    chip_id: ChipId::new([0xC1; 64]),
    measurement: Measurement::new([0x4D; 48]),
    host_data: HostData::new([0x4F; 32]),
    tcb: TCB,
};

pub(crate) const STATEMENT: ReportData = ReportData::new([0x5A; 64]);

/// When the simulated certificates begin: 2026-01-01.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A day into their life.
pub(crate) fn now() -> SystemTime {
    start() + Duration::from_secs(24 * 60 * 60)
}

pub(crate) fn vendor() -> &'static SimulatedVendor {
    static VENDOR: OnceLock<SimulatedVendor> = OnceLock::new();
    VENDOR.get_or_init(|| SimulatedVendor::create(Product::Genoa, start()).unwrap())
}

pub(crate) fn attester() -> &'static SimulatedAttester {
    static ATTESTER: OnceLock<SimulatedAttester> = OnceLock::new();
    ATTESTER.get_or_init(|| vendor().attester(MACHINE, start()).unwrap())
}

/// A strict policy that names the vendor's root, with more lines for `[snp]`.
pub(crate) fn policy_text(snp_lines: &str) -> String {
    format!(
        r#"
        [trust]
        roots = []
        dangerous_simulated_roots = ["{root}"]

        [snp]
        report_versions = [3, 5]
        measurements = ["{measurement}"]
        {snp_lines}

        [snp.min_tcb.genoa]
        bootloader = 10
        tee = 1
        snp = 25
        microcode = 84
        "#,
        root = hex::encode(vendor().root_hash().unwrap()),
        measurement = MACHINE.measurement,
    )
}

pub(crate) fn verifier_with(snp_lines: &str) -> Verifier {
    Verifier::new(
        Policy::from_toml(&policy_text(snp_lines)).unwrap(),
        &vendor().trust_store().unwrap(),
    )
    .unwrap()
}

pub(crate) fn judge(verifier: &Verifier, evidence: &Evidence) -> Result<Claims, Reason> {
    verifier.verify(
        evidence,
        &Expected {
            machine: &MACHINE.binding(),
            report_data: STATEMENT,
        },
        now(),
    )
}

/// Judges correctly signed evidence whose report was edited first, under the strict policy.
pub(crate) fn judge_edited(
    edit: impl FnOnce(&mut [u8; crate::REPORT_BYTES]),
) -> Result<Claims, Reason> {
    judge(
        &verifier_with(""),
        &attester().attest_edited(STATEMENT, edit).unwrap(),
    )
}
