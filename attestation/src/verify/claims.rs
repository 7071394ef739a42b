//! What verified evidence says: a value that only the verifier makes.

use super::chain::CheckedEndorsement;
use crate::certificate::EndorsementKey;
use crate::machine::{ChipId, FirmwareVersion, HostData, Measurement, Product, Tcb};
use crate::snp::Report;
use crate::statements::ReportData;

/// What verified evidence says. Only [`super::Verifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    simulated: bool,
    product: Product,
    endorsement_key: EndorsementKey,
    csp_id: Option<String>,
    report_version: u32,
    measurement: Measurement,
    host_data: HostData,
    chip_id: ChipId,
    current_tcb: Tcb,
    committed_tcb: Tcb,
    reported_tcb: Tcb,
    launch_tcb: Tcb,
    current_firmware: FirmwareVersion,
    committed_firmware: FirmwareVersion,
    mitigations: Option<(u64, u64)>,
    guest_policy: u64,
    platform_info: u64,
    report_data: ReportData,
    root: [u8; 32],
}

impl Claims {
    pub(super) fn of(report: &Report, checked: &CheckedEndorsement, chip_id: ChipId) -> Self {
        Self {
            simulated: checked.simulated,
            product: checked.endorsement.product,
            endorsement_key: checked.endorsement.key,
            csp_id: checked.endorsement.csp_id.clone(),
            report_version: report.version(),
            measurement: report.measurement(),
            host_data: report.host_data(),
            chip_id,
            current_tcb: report.current_tcb(),
            committed_tcb: report.committed_tcb(),
            reported_tcb: report.reported_tcb(),
            launch_tcb: report.launch_tcb(),
            current_firmware: report.current_firmware(),
            committed_firmware: report.committed_firmware(),
            mitigations: report.mitigations(),
            guest_policy: report.guest_policy(),
            platform_info: report.platform_info(),
            report_data: report.report_data(),
            root: checked.root,
        }
    }

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

    /// Which of AMD's keys signed: the chip's own, or a cloud provider's.
    pub fn endorsement_key(&self) -> EndorsementKey {
        self.endorsement_key
    }

    /// The cloud provider, where its key signed.
    pub fn csp_id(&self) -> Option<&str> {
        self.csp_id.as_deref()
    }

    /// The chip: as the VCEK names it even where the host has reports hide it, [`ChipId::HIDDEN`] where nothing names it.
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

    /// The firmware level that ran when the guest was launched.
    pub fn launch_tcb(&self) -> &Tcb {
        &self.launch_tcb
    }

    /// The version of the firmware that runs now.
    pub fn current_firmware(&self) -> FirmwareVersion {
        self.current_firmware
    }

    /// The version of the firmware that the platform cannot be rolled back below.
    pub fn committed_firmware(&self) -> FirmwareVersion {
        self.committed_firmware
    }

    /// Which mitigations were verified at launch and are now, from report version 5 on. Recorded, not judged: AMD publishes no
    /// list of the bits that a verifier could hold a machine to.
    pub fn mitigations(&self) -> Option<(u64, u64)> {
        self.mitigations
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
