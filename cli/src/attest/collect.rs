//! Evidence of the machine that the command runs on, by the attesters that nodes use: to see whether they work there.

use std::path::PathBuf;

use clap::Args;
use consort_attestation::attester::{ConfigfsTsm, SevGuest, StapledCertificates, machine_of};
use consort_attestation::{Attester, ReportData};

use crate::failure::{Failure, at};

/// What evidence is made of.
#[derive(Args)]
pub(crate) struct Collect {
    /// Where the evidence is written; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Ask the driver's device, /dev/sev-guest, in place of the kernel's report interface
    #[arg(long)]
    device: bool,
    /// The VCEK or VLEK, where the host hands out none: a file, or a folder of files, DER or PEM
    #[arg(long, value_name = "PATH")]
    certificates: Option<PathBuf>,
    /// The level the report is asked for at
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=3))]
    vmpl: u32,
    /// The statement: 128 hexadecimal digits; zeros if left out
    #[arg(long, value_name = "HEX", value_parser = super::report_data)]
    report_data: Option<ReportData>,
}

impl Collect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let stapled = self
            .certificates
            .map_or_else(StapledCertificates::none, StapledCertificates::at);
        let attester: Box<dyn Attester> = if self.device {
            Box::new(SevGuest::new(stapled, self.vmpl))
        } else {
            Box::new(ConfigfsTsm::new(stapled, self.vmpl))
        };
        let statement = self.report_data.unwrap_or(ReportData::new([0; 64]));
        let evidence = attester
            .attest(statement)
            .map_err(|fault| Failure::failed(fault.code(), fault))?;
        let machine = machine_of(&evidence)
            .map_err(|reason| Failure::failed(reason.code(), reason.meaning()))?;
        let mut file = std::fs::File::create_new(&self.out).map_err(at(&self.out))?;
        std::io::Write::write_all(&mut file, &evidence.to_bytes()).map_err(at(&self.out))?;
        println!("chip       {}", machine.chip_id);
        println!("host data  {}", machine.host_data);
        println!("evidence   {}", self.out.display());
        Ok(())
    }
}
