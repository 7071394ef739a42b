//! Whoever can have the machine sign a statement: the kernel's report interface, its older device, or a machine of software.

mod assemble;
mod certificates;
mod configfs;
mod entries;
mod fault;
mod sev_guest;

#[cfg(test)]
mod tests;

use crate::certificate::{Endorsement, EndorsementKey};
use crate::evidence::{Evidence, Parts};
use crate::machine::{ChipId, MachineBinding};
use crate::reason::Reason;
use crate::snp::Report;
use crate::statements::ReportData;
use crate::tdx::Quote;
use crate::verify::host_data_of;

pub use certificates::{CertificateTable, StapledCertificates};
pub use configfs::ConfigfsTsm;
pub use fault::AttesterFault;
pub use sev_guest::SevGuest;

/// A source of evidence about the machine this process runs in.
pub trait Attester: Send + Sync {
    /// Has the hardware sign this report data. May block: real firmware answers in milliseconds and may throttle.
    ///
    /// # Errors
    /// [`AttesterFault`] when no evidence could be had.
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault>;
}

/// What evidence says whose machine it is from, for a roster entry: the chip, as the VCEK names it where the host hides it, or the
/// platform as the PCK names it, and the launch configuration.
///
/// # Errors
/// The [`Reason`] a verifier would refuse the form of report or certificate for; [`Reason::TdxMrConfigId`] of a TD whose MRCONFIGID is
/// more than a hash of 32 bytes and zeros.
///
/// # Security
/// No signature is looked at. It is for a machine's own evidence, which its owner compares with what was bought.
pub fn machine_of(evidence: &Evidence) -> Result<MachineBinding, Reason> {
    let (report, vcek_der) = match evidence.parts() {
        Parts::Snp { report, vcek_der } => (Report::parse(report)?, vcek_der),
        Parts::Tdx(quote) => {
            let quote = Quote::parse(quote)?;
            let host_data = host_data_of(&quote.td().mr_config_id);
            return Ok(MachineBinding {
                chip_id: quote.platform,
                host_data: host_data.ok_or(Reason::TdxMrConfigId)?,
            });
        }
    };
    let mut chip_id = report.chip_id();
    if let (ChipId::HIDDEN, Some(EndorsementKey::Vcek)) = (chip_id, report.signing_key()) {
        let endorsement = Endorsement::parse(vcek_der, EndorsementKey::Vcek)?;
        chip_id = endorsement.chip().unwrap_or(chip_id);
    }
    Ok(MachineBinding {
        chip_id,
        host_data: report.host_data(),
    })
}
