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
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::tests::{real_evidence, world};

    #[test]
    fn a_machine_without_the_device_says_so() {
        if Path::new(DEVICE).exists() {
            eprintln!("skipped: this machine has {DEVICE}");
            return;
        }
        let attester = SevGuest::new(StapledCertificates::none(), 0);
        let fault = attester.attest(ReportData::new([0; 64])).unwrap_err();
        assert_eq!(fault.code(), "attest.attester-no-interface");
        assert!(fault.to_string().contains(DEVICE), "{fault}");
    }

    const REPORT: &str = "CONSORT_TEST_REPORT";
    const VMPL: &str = "CONSORT_TEST_VMPL";
    const CERTIFICATE: &str = "CONSORT_TEST_CERTIFICATE";
    const STATEMENT: &str = "CONSORT_TEST_STATEMENT";
    const CHILD: &str =
        "attester::sev_guest::tests::the_process_in_front_of_which_the_driver_stands";

    /// Only what the next test starts does anything here.
    #[test]
    fn the_process_in_front_of_which_the_driver_stands() {
        let Some(certificate) = std::env::var_os(CERTIFICATE) else {
            return;
        };
        let vmpl = std::env::var(VMPL).unwrap().parse().unwrap();
        let mut statement = [0; 64];
        hex::decode_to_slice(std::env::var(STATEMENT).unwrap(), &mut statement).unwrap();
        let attester = SevGuest::new(StapledCertificates::at(certificate.into()), vmpl);
        match attester.attest(ReportData::new(statement)) {
            Ok(evidence) => println!("evidence {}", hex::encode(evidence.hash())),
            Err(fault) => println!("fault {}", fault.code()),
        }
    }

    /// The driver's side by the kernel's own header (`linux/sev-guest.h`), in front of the C library of a process of its own: the request's
    /// number and the layouts of request and answer are the kernel's, not the crate's.
    #[test]
    fn the_driver_is_asked_as_its_header_says() {
        let folder = tempfile::tempdir().unwrap();
        let driver = folder.path().join("driver.so");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/attester/sev_guest_kernel.c"
        );
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([driver.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .output();
        if !compiled.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no C compiler, or no linux/sev-guest.h");
            return;
        }
        let genuine = real_evidence::genuine().unwrap_or_default();
        let genuine = genuine.into_iter().map(|(_, evidence)| evidence);
        for evidence in std::iter::once(simulated()).chain(genuine) {
            let (report, certificate) = evidence.halves();
            let files = (folder.path().join("report"), folder.path().join("vcek.der"));
            std::fs::write(&files.0, report).unwrap();
            std::fs::write(&files.1, certificate).unwrap();
            let ask = |statement: &[u8], vmpl: u32, driver_vmpl: u32| {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", CHILD, "--nocapture"])
                    .env("LD_PRELOAD", &driver)
                    .env(REPORT, &files.0)
                    .env(CERTIFICATE, &files.1)
                    .env(STATEMENT, hex::encode(statement))
                    .env(VMPL, vmpl.to_string())
                    .env("CONSORT_TEST_DRIVER_VMPL", driver_vmpl.to_string())
                    .output()
                    .unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let statement = &report[0x50..0x90];
            let good = format!("evidence {}", hex::encode(evidence.hash()));
            for vmpl in [0, 3] {
                let said = ask(statement, vmpl, vmpl);
                assert!(said.contains(&good), "VMPL {vmpl}: {said}");
            }
            // The driver stands there, and looks at what it is asked.
            for said in [ask(&[9; 64], 0, 0), ask(statement, 1, 0)] {
                assert!(said.contains("fault attest.attester-io"), "{said}");
            }
        }
    }

    fn simulated() -> Evidence {
        world::attester().attest(world::STATEMENT).unwrap()
    }
}
