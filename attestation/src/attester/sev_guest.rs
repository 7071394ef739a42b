//! The driver's own device, `/dev/sev-guest`, for kernels before 6.7 (`SNP_GET_REPORT`, include/uapi/linux/sev-guest.h).
//!
//! The crate `sev` makes the request. Its call for a report *with* certificates (`SNP_GET_EXT_REPORT`) is not used: it walks the
//! table that the host wrote by pointers, without bounds, and the host is who a confidential machine must not trust with its
//! memory. Certificates come from files here.

use super::assemble::assemble;
use super::certificates::{CertificateTable, StapledCertificates};
use super::{Attester, AttesterFault};
use crate::evidence::{Evidence, REPORT_BYTES};
use crate::statements::ReportData;

/// Evidence by the driver's device.
pub struct SevGuest {
    stapled: StapledCertificates,
    vmpl: u32,
}

impl SevGuest {
    /// The device where the driver has it, with the certificates that its operator stapled, for reports at this VMPL.
    pub fn new(stapled: StapledCertificates, vmpl: u32) -> Self {
        Self { stapled, vmpl }
    }
}

impl Attester for SevGuest {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        let report = report(report_data, self.vmpl)?;
        assemble(
            report,
            report_data,
            &CertificateTable::empty(),
            &self.stapled,
        )
    }
}

const DEVICE: &str = "/dev/sev-guest";

#[cfg(target_os = "linux")]
fn report(report_data: ReportData, vmpl: u32) -> Result<[u8; REPORT_BYTES], AttesterFault> {
    use sev::firmware::guest::Firmware;

    let mut device =
        Firmware::open().map_err(|source| AttesterFault::of_io(DEVICE.into(), source))?;
    let report = device
        .get_report(None, Some(*report_data.as_bytes()), Some(vmpl))
        .map_err(|error| AttesterFault::Io {
            what: format!("asking {DEVICE} for a report"),
            source: std::io::Error::other(error.to_string()),
        })?;
    report.try_into().map_err(|_| AttesterFault::Malformed {
        what: "the driver's answer",
        why: "it does not hold a report of 1184 bytes",
    })
}

#[cfg(not(target_os = "linux"))]
fn report(_: ReportData, _: u32) -> Result<[u8; REPORT_BYTES], AttesterFault> {
    let source = std::io::ErrorKind::NotFound.into();
    Err(AttesterFault::of_io(DEVICE.into(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_device_says_so() {
        if std::path::Path::new(DEVICE).exists() {
            eprintln!("skipped: this machine has {DEVICE}");
            return;
        }
        let attester = SevGuest::new(StapledCertificates::none(), 0);
        let fault = attester.attest(ReportData::new([0; 64])).unwrap_err();
        assert_eq!(fault.code(), "attest.attester-no-interface");
        assert!(fault.to_string().contains(DEVICE), "{fault}");
    }
}
