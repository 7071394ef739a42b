//! What verified evidence says: a value that only the verifier makes.

use crate::machine::{ChipId, HostData, Measurement, Product, Tcb};
use crate::statements::ReportData;

/// What verified evidence says. Only [`super::Verifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub(super) simulated: bool,
    pub(super) product: Product,
    pub(super) report_version: u32,
    pub(super) measurement: Measurement,
    pub(super) host_data: HostData,
    pub(super) chip_id: ChipId,
    pub(super) current_tcb: Tcb,
    pub(super) committed_tcb: Tcb,
    pub(super) reported_tcb: Tcb,
    pub(super) guest_policy: u64,
    pub(super) platform_info: u64,
    pub(super) report_data: ReportData,
    pub(super) root: [u8; 32],
}

impl Claims {
    /// Whether a simulated root vouches for this, and so no hardware does. Shown wherever the claims are.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// The processor's product line.
    pub fn product(&self) -> Product {
        self.product
    }

    /// The version of the report's layout.
    pub fn report_version(&self) -> u32 {
        self.report_version
    }

    /// Which software was launched. A simulated machine's is declared, not measured.
    pub fn measurement(&self) -> &Measurement {
        &self.measurement
    }

    /// The launch configuration.
    pub fn host_data(&self) -> &HostData {
        &self.host_data
    }

    /// The chip.
    pub fn chip_id(&self) -> &ChipId {
        &self.chip_id
    }

    /// The firmware level that runs now.
    pub fn current_tcb(&self) -> &Tcb {
        &self.current_tcb
    }

    /// The firmware level that the platform cannot be rolled back below.
    pub fn committed_tcb(&self) -> &Tcb {
        &self.committed_tcb
    }

    /// The firmware level that the signing key was derived for.
    pub fn reported_tcb(&self) -> &Tcb {
        &self.reported_tcb
    }

    /// The guest policy's bits, unknown ones too.
    pub fn guest_policy(&self) -> u64 {
        self.guest_policy
    }

    /// The platform's bits, unknown ones too: they are recorded, not refused.
    pub fn platform_info(&self) -> u64 {
        self.platform_info
    }

    /// The statement.
    pub fn report_data(&self) -> &ReportData {
        &self.report_data
    }

    /// SHA-256 of the ARK that vouches for all this.
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }
}
