//! What makes a node's evidence: the kernel's report interface, the driver's older device, or a machine of software.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use consort_attestation::attester::{ConfigfsTsm, SevGuest, StapledCertificates, machine_of};
use consort_attestation::simulated::{SimulatedMachine, SimulatedVendor};
use consort_attestation::{
    Attester, AttesterFault, ChipId, HostData, MachineBinding, Measurement, ReportData, Tcb,
};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::node::NodeError;

/// What makes a machine's evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum AttesterConfig {
    /// An SEV-SNP guest, by the kernel's report interface (`/sys/kernel/config/tsm/report`, Linux 6.7).
    ConfigfsTsm(HardwareConfig),
    /// An SEV-SNP guest, by the driver's device (`/dev/sev-guest`), for older kernels. Certificates have to be stapled.
    SevGuest(HardwareConfig),
    /// A machine of software, for laptops and tests. Policies accept it only under `dangerous_simulated_roots`.
    Simulated(SimulatedConfig),
}

/// What is said of an SEV-SNP guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareConfig {
    /// The VCEK or VLEK, DER or PEM, where the host hands out none: a file, or a folder with one for each firmware level.
    #[serde(default)]
    pub certificates: Option<PathBuf>,
    /// The level reports are asked for at: 0 unless something of the image runs below the kernel.
    #[serde(default)]
    pub vmpl: u32,
}

/// What a simulated machine declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedConfig {
    /// The folder of the simulated vendor.
    pub vendor_dir: PathBuf,
    /// 64 bytes, hexadecimal.
    pub chip_id: String,
    /// 48 bytes, hexadecimal. Declared, not measured.
    pub measurement: String,
    /// 32 bytes, hexadecimal.
    pub host_data: String,
}

/// The firmware level that simulated machines declare; policies for them may demand up to this.
pub const SIMULATED_TCB: Tcb = Tcb {
    fmc: None,
    bootloader: 10,
    tee: 0,
    snp: 23,
    microcode: 84,
};

/// What a machine signs to show that it can, and whose it is: no statement of the protocol's is a hash of zeros.
const NOTHING: ReportData = ReportData::new([0; 64]);

impl AttesterConfig {
    /// Makes every relative path start at the configuration file.
    pub(crate) fn resolve(&mut self, base: &Path) {
        match self {
            Self::ConfigfsTsm(hardware) | Self::SevGuest(hardware) => {
                if let Some(certificates) = &mut hardware.certificates {
                    *certificates = base.join(&*certificates);
                }
            }
            Self::Simulated(simulated) => simulated.vendor_dir = base.join(&simulated.vendor_dir),
        }
    }

    /// Whether its evidence proves nothing about hardware.
    pub fn is_simulated(&self) -> bool {
        match self {
            Self::Simulated(_) => true,
            Self::ConfigfsTsm(_) | Self::SevGuest(_) => false,
        }
    }

    /// What a roster says of this machine. A simulated one declares it; hardware is asked.
    ///
    /// # Errors
    /// [`NodeError::Attester`] when the hardware gives no evidence.
    pub(crate) fn machine(&self) -> Result<MachineBinding, NodeError> {
        if let Self::Simulated(simulated) = self {
            return Ok(simulated.machine()?.binding());
        }
        let evidence = self.open()?.attest(NOTHING)?;
        machine_of(&evidence).map_err(|reason| AttesterFault::new(reason.meaning()).into())
    }

    /// The attester, which has signed once: a machine that gives no evidence says why when it starts, not when a peer asks.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(crate) fn open(&self) -> Result<Arc<dyn Attester>, NodeError> {
        let attester: Arc<dyn Attester> = match self {
            Self::ConfigfsTsm(hardware) => {
                Arc::new(ConfigfsTsm::new(hardware.stapled(), hardware.vmpl))
            }
            Self::SevGuest(hardware) => Arc::new(SevGuest::new(hardware.stapled(), hardware.vmpl)),
            Self::Simulated(simulated) => {
                let vendor = SimulatedVendor::load(&simulated.vendor_dir)?;
                return Ok(Arc::new(
                    vendor.attester(simulated.machine()?, SystemTime::now())?,
                ));
            }
        };
        attester.attest(NOTHING)?;
        Ok(attester)
    }
}

impl HardwareConfig {
    fn stapled(&self) -> StapledCertificates {
        match &self.certificates {
            Some(path) => StapledCertificates::at(path.clone()),
            None => StapledCertificates::none(),
        }
    }
}

impl SimulatedConfig {
    fn machine(&self) -> Result<SimulatedMachine, NodeError> {
        let wrong = |field: &str, bytes: usize| {
            let digits = 2 * bytes;
            let problem =
                format!("attester.simulated.{field} must be {digits} hexadecimal characters");
            ConfigError::invalid(&self.vendor_dir, problem)
        };
        Ok(SimulatedMachine {
            chip_id: ChipId::from_hex(&self.chip_id).ok_or_else(|| wrong("chip_id", 64))?,
            measurement: Measurement::from_hex(&self.measurement)
                .ok_or_else(|| wrong("measurement", 48))?,
            host_data: HostData::from_hex(&self.host_data).ok_or_else(|| wrong("host_data", 32))?,
            tcb: SIMULATED_TCB,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Node {
        attester: AttesterConfig,
    }

    fn read(text: &str) -> Result<AttesterConfig, toml::de::Error> {
        toml::from_str::<Node>(text).map(|node| node.attester)
    }

    #[test]
    fn hardware_needs_no_more_than_its_name() {
        let config = read("[attester.configfs_tsm]").unwrap();
        assert_eq!(
            config,
            AttesterConfig::ConfigfsTsm(HardwareConfig::default())
        );
        assert!(!config.is_simulated());
        let mut config = read("[attester.sev_guest]\ncertificates = \"vcek\"\nvmpl = 1").unwrap();
        config.resolve(Path::new("/etc/consort"));
        let hardware = HardwareConfig {
            certificates: Some("/etc/consort/vcek".into()),
            vmpl: 1,
        };
        assert_eq!(config, AttesterConfig::SevGuest(hardware));
    }

    #[test]
    fn an_attester_that_is_unknown_or_one_of_two_is_refused() {
        assert!(read("[attester.tpm]").is_err());
        assert!(read("[attester.configfs_tsm]\nvendor_dir = \"x\"").is_err());
        assert!(read("[attester.configfs_tsm]\n[attester.sev_guest]").is_err());
    }

    #[test]
    fn a_machine_without_the_interface_does_not_start() {
        if Path::new("/sys/kernel/config/tsm/report").exists() {
            eprintln!("skipped: this machine has the kernel's report interface");
            return;
        }
        let config = AttesterConfig::ConfigfsTsm(HardwareConfig::default());
        let error = config.open().err().unwrap();
        assert_eq!(error.code(), "attest.attester-no-interface");
        assert_eq!(config.machine().unwrap_err().code(), error.code());
    }
}
