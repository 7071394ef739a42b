//! What verified evidence says: a value that only the verifier makes.

use super::chain::CheckedEndorsement;
use crate::certificate::EndorsementKey;
use crate::machine::{ChipId, FirmwareVersion, HostData, Measurement, Product, Tcb};
use crate::snp::Report;
use crate::statements::ReportData;
use crate::tdx::{Appraisal, Quote, Td};

/// What verified evidence says. Only [`super::Verifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    simulated: bool,
    root: [u8; 32],
    measurement: Measurement,
    chip_id: ChipId,
    report_data: ReportData,
    machine: Machine,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Machine {
    Snp(Box<SnpClaims>),
    Tdx(Box<TdxClaims>),
}

impl Claims {
    pub(super) fn of_report(
        report: &Report,
        checked: &CheckedEndorsement,
        chip_id: ChipId,
    ) -> Self {
        Self {
            simulated: checked.simulated,
            root: checked.root,
            measurement: report.measurement(),
            chip_id,
            report_data: report.report_data(),
            machine: Machine::Snp(Box::new(SnpClaims::of(report, checked))),
        }
    }

    pub(super) fn of_quote(
        simulated: bool,
        root: [u8; 32],
        quote: &Quote,
        td: &Td,
        claims: TdxClaims,
    ) -> Self {
        Self {
            simulated,
            root,
            measurement: td.mr_td,
            chip_id: quote.platform,
            report_data: td.report_data,
            machine: Machine::Tdx(Box::new(claims)),
        }
    }

    /// Whether a simulated root vouches for this, and so no hardware does. Shown wherever the claims are.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// SHA-256 of the root that vouches for all this: an ARK, or Intel's.
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// Which software was launched: the launch digest, or MRTD. A simulated machine's is declared, not measured.
    pub fn measurement(&self) -> &Measurement {
        &self.measurement
    }

    /// The chip: as the VCEK names it even where the host has reports hide it, [`ChipId::HIDDEN`] where nothing names it; or the
    /// platform's PPID as the PCK has it, then zeros.
    pub fn chip_id(&self) -> &ChipId {
        &self.chip_id
    }

    /// The statement.
    pub fn report_data(&self) -> &ReportData {
        &self.report_data
    }

    /// What a machine of AMD's says beside that.
    pub fn snp(&self) -> Option<&SnpClaims> {
        match &self.machine {
            Machine::Snp(claims) => Some(claims),
            Machine::Tdx(_) => None,
        }
    }

    /// What a machine of Intel's says beside that.
    pub fn tdx(&self) -> Option<&TdxClaims> {
        match &self.machine {
            Machine::Snp(_) => None,
            Machine::Tdx(claims) => Some(claims),
        }
    }
}

/// What a verified SEV-SNP report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpClaims {
    product: Product,
    endorsement_key: EndorsementKey,
    csp_id: Option<String>,
    report_version: u32,
    host_data: HostData,
    current_tcb: Tcb,
    committed_tcb: Tcb,
    reported_tcb: Tcb,
    launch_tcb: Tcb,
    current_firmware: FirmwareVersion,
    committed_firmware: FirmwareVersion,
    mitigations: Option<(u64, u64)>,
    guest_policy: u64,
    platform_info: u64,
}

impl SnpClaims {
    fn of(report: &Report, checked: &CheckedEndorsement) -> Self {
        Self {
            product: checked.endorsement.product,
            endorsement_key: checked.endorsement.key,
            csp_id: checked.endorsement.csp_id.clone(),
            report_version: report.version(),
            host_data: report.host_data(),
            current_tcb: report.current_tcb(),
            committed_tcb: report.committed_tcb(),
            reported_tcb: report.reported_tcb(),
            launch_tcb: report.launch_tcb(),
            current_firmware: report.current_firmware(),
            committed_firmware: report.committed_firmware(),
            mitigations: report.mitigations(),
            guest_policy: report.guest_policy(),
            platform_info: report.platform_info(),
        }
    }

    /// The processor's product line.
    pub fn product(&self) -> Product {
        self.product
    }

    /// The version of the report's layout.
    pub fn report_version(&self) -> u32 {
        self.report_version
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
}

/// What a verified quote of Intel TDX says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdxClaims {
    quote_version: u16,
    fmspc: [u8; 6],
    tcb_status: String,
    advisories: Vec<String>,
    attributes: u64,
    xfam: u64,
    mr_seam: Measurement,
    mr_config_id: Measurement,
    rtmr: [Measurement; 4],
}

impl TdxClaims {
    pub(super) fn of(quote: &Quote, td: &Td, appraisal: Appraisal) -> Self {
        Self {
            quote_version: quote.version(),
            fmspc: quote.fmspc,
            tcb_status: appraisal.status,
            advisories: appraisal.advisories,
            attributes: td.attributes,
            xfam: td.xfam,
            mr_seam: td.mr_seam,
            mr_config_id: td.mr_config_id,
            rtmr: td.rtmr,
        }
    }

    /// The version of the quote's layout.
    pub fn quote_version(&self) -> u16 {
        self.quote_version
    }

    /// The family of platforms.
    pub fn fmspc(&self) -> &[u8; 6] {
        &self.fmspc
    }

    /// Intel's word for the firmware level.
    pub fn tcb_status(&self) -> &str {
        &self.tcb_status
    }

    /// The advisories that the level is open to.
    pub fn advisories(&self) -> &[String] {
        &self.advisories
    }

    /// The TD's attributes.
    pub fn attributes(&self) -> u64 {
        self.attributes
    }

    /// The processor features that the TD uses.
    pub fn xfam(&self) -> u64 {
        self.xfam
    }

    /// The TDX module.
    pub fn mr_seam(&self) -> &Measurement {
        &self.mr_seam
    }

    /// The launch configuration.
    pub fn mr_config_id(&self) -> &Measurement {
        &self.mr_config_id
    }

    /// What was measured at run time.
    pub fn rtmr(&self) -> &[Measurement; 4] {
        &self.rtmr
    }
}
