//! A machine: it signs reports of genuine layout over whatever it was configured to declare.

use std::fmt;

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};

use crate::attester::{Attester, AttesterFault};
use crate::evidence::{Evidence, REPORT_BYTES};
use crate::machine::{ChipId, HostData, MachineBinding, Measurement, Product, Tcb};
use crate::snp::{SIGNATURE_ALGORITHM, layout};
use crate::statements::ReportData;

/// What a simulated machine declares about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedMachine {
    /// Its chip. On Turin the bytes past the eighth must be zero, as they are on hardware.
    pub chip_id: ChipId,
    /// The launch digest it declares. Nothing was measured.
    pub measurement: Measurement,
    /// The launch configuration's hash.
    pub host_data: HostData,
    /// Its firmware level: current, committed, reported and at launch.
    pub tcb: Tcb,
}

impl SimulatedMachine {
    /// What a roster says of this machine.
    pub fn binding(&self) -> MachineBinding {
        MachineBinding {
            chip_id: self.chip_id,
            host_data: self.host_data,
        }
    }
}

/// An attester of software.
///
/// # Security
/// Its key lies in this process's memory. Whoever has it, or the vendor's directory, can declare anything.
pub struct SimulatedAttester {
    product: Product,
    machine: SimulatedMachine,
    key: SigningKey,
    vcek_der: Vec<u8>,
    /// Which key signs (AMD 56860, table 24): the VCEK, but in tests.
    key_info: u32,
}

impl SimulatedAttester {
    pub(super) fn new(
        product: Product,
        machine: SimulatedMachine,
        key: SigningKey,
        vcek_der: Vec<u8>,
    ) -> Self {
        Self {
            product,
            machine,
            key,
            vcek_der,
            key_info: 0,
        }
    }

    /// What the machine declares.
    pub fn machine(&self) -> &SimulatedMachine {
        &self.machine
    }

    /// Signs a report that was edited first, for cases that a sound verifier must refuse although their signature is good.
    ///
    /// # Errors
    /// [`AttesterFault`] when the evidence would be too long.
    pub fn attest_edited(
        &self,
        report_data: ReportData,
        edit: impl FnOnce(&mut [u8; REPORT_BYTES]),
    ) -> Result<Evidence, AttesterFault> {
        let mut report = self.unsigned_report(report_data);
        edit(&mut report);
        let signature: Signature = self.key.sign(&report[..layout::SIGNED_END]);
        for (index, scalar) in [signature.r().to_bytes(), signature.s().to_bytes()]
            .into_iter()
            .enumerate()
        {
            let at = layout::SIGNATURE + index * layout::SCALAR_BYTES;
            for (byte, value) in report[at..].iter_mut().zip(scalar.iter().rev()) {
                *byte = *value;
            }
        }
        Evidence::new(report, self.vcek_der.clone())
            .map_err(|reason| AttesterFault::new(reason.code()))
    }

    /// A report of version 3, or 5 on Turin (AMD 56860, table 23), with a strict guest policy on an orderly platform.
    fn unsigned_report(&self, report_data: ReportData) -> [u8; REPORT_BYTES] {
        let tcb = tcb_bytes(&self.machine.tcb);
        let (version, family, model): (u32, u8, u8) = match self.product {
            Product::Milan => (3, 0x19, 0x01),
            Product::Genoa => (3, 0x19, 0x11),
            Product::Turin => (5, 0x1A, 0x02),
        };
        let mut report = [0; REPORT_BYTES];
        let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
        put(layout::VERSION, &version.to_le_bytes());
        put(layout::POLICY, &GUEST_POLICY.to_le_bytes());
        put(0x34, &SIGNATURE_ALGORITHM.to_le_bytes());
        put(0x38, &tcb); // CURRENT_TCB
        put(0x40, &PLATFORM_INFO.to_le_bytes());
        put(0x48, &self.key_info.to_le_bytes());
        put(0x50, report_data.as_bytes());
        put(0x90, self.machine.measurement.as_bytes());
        put(0xC0, self.machine.host_data.as_bytes());
        put(0x180, &tcb); // REPORTED_TCB
        put(0x188, &[family, model]);
        put(0x1A0, self.machine.chip_id.as_bytes());
        put(0x1E0, &tcb); // COMMITTED_TCB
        put(0x1E8, &FIRMWARE); // CURRENT_BUILD, _MINOR, _MAJOR
        put(0x1EC, &FIRMWARE); // COMMITTED_BUILD, _MINOR, _MAJOR
        put(0x1F0, &tcb); // LAUNCH_TCB
        report
    }

    #[cfg(test)]
    pub(super) fn signing_as_vlek(mut self) -> Self {
        self.key_info = 1 << 2;
        self
    }

    #[cfg(test)]
    pub(crate) fn vcek_der(&self) -> &[u8] {
        &self.vcek_der
    }

    #[cfg(test)]
    pub(crate) fn set_vcek_der(&mut self, der: Vec<u8>) {
        self.vcek_der = der;
    }
}

impl Attester for SimulatedAttester {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        self.attest_edited(report_data, |_| ())
    }
}

impl fmt::Debug for SimulatedAttester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedAttester")
            .field("product", &self.product)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

/// Only the bit that must be one (AMD 56860, table 10): no debugging, no migration agent, no SMT, no CXL.
const GUEST_POLICY: u64 = 1 << 17;

/// ECC memory, alias check complete (AMD 56860, table 25).
const PLATFORM_INFO: u64 = 1 << 2 | 1 << 5;

/// Version 1.55.40: build, minor, major (AMD 56860, table 23).
const FIRMWARE: [u8; 3] = [40, 55, 1];

/// TCB_VERSION as the product lays it out (AMD 56860, tables 3 and 4).
fn tcb_bytes(tcb: &Tcb) -> [u8; 8] {
    match tcb.fmc {
        None => [tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode],
        Some(fmc) => [
            fmc,
            tcb.bootloader,
            tcb.tee,
            tcb.snp,
            0,
            0,
            0,
            tcb.microcode,
        ],
    }
}
