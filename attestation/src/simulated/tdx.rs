//! Intel made of software: a root, the authority that certifies platforms, collateral for one family of them, and machines whose
//! quotes have the genuine layout and Intel's algorithms.

mod authority;
mod collateral;
mod machine;

use std::time::SystemTime;

use rcgen::{CustomExtension, DnType, IsCa};
use sha2::{Digest, Sha256};

use super::SimulationFault;
use super::vendor::making;
use crate::machine::{HostData, MachineBinding, Measurement};
use crate::trust::TrustStore;
use authority::Certified;
pub(crate) use authority::{Platform, sgx_extension};

#[cfg(test)]
pub(crate) use authority::Key;
#[cfg(test)]
pub(crate) use collateral::Draft as CollateralDraft;
#[cfg(test)]
pub(crate) use machine::Draft as QuoteDraft;
pub use machine::SimulatedTd;

/// The family that simulated platforms are of: none of Intel's begins so.
const FMSPC: [u8; 6] = [0xFF, 0x51, 0x4D, 0, 0, 0];

/// What a simulated TD declares about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdDeclaration {
    /// Its platform's PPID.
    pub platform: [u8; 16],
    /// The launch digest it declares. Nothing was measured.
    pub mr_td: Measurement,
    /// The launch configuration's hash, in MRCONFIGID.
    pub host_data: HostData,
}

impl TdDeclaration {
    /// What a roster says of this machine.
    pub fn binding(&self) -> MachineBinding {
        MachineBinding {
            chip_id: crate::tdx::platform_id(&self.platform),
            host_data: self.host_data,
        }
    }
}

/// A simulated vendor of TDX platforms. It lives as long as the process: nothing of it is saved.
pub struct SimulatedTdxVendor {
    pub(super) root: Certified,
    pub(super) pck_authority: Certified,
    /// Signs collateral.
    pub(super) signer: Certified,
}

impl SimulatedTdxVendor {
    /// Makes a new root, and the keys that it certifies.
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn create(now: SystemTime) -> Result<Self, SimulationFault> {
        let root = Certified::root(now)?;
        Ok(Self {
            pck_authority: root.issue("Intel SGX PCK Processor CA", 2, now, |params| {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
                params.key_usages = authority::SIGNS.to_vec();
            })?,
            signer: root.issue("Intel SGX TCB Signing", 3, now, |_| ())?,
            root,
        })
    }

    /// SHA-256 of the root's DER: what a policy names under `trust.dangerous_simulated_roots`.
    pub fn root_hash(&self) -> [u8; 32] {
        Sha256::digest(self.root.der()).into()
    }

    /// Collateral for the one family, good for 30 days, for [`TrustStore::add_collateral`].
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn collateral(&self, now: SystemTime) -> Result<String, SimulationFault> {
        collateral::Draft::new(self, now)?.signed()
    }

    /// A trust store that holds this vendor's root and collateral alone.
    ///
    /// # Errors
    /// [`SimulationFault`].
    pub fn trust_store(&self, now: SystemTime) -> Result<TrustStore, SimulationFault> {
        let mut store = TrustStore::new();
        store.add_collateral(self.collateral(now)?.as_bytes())?;
        Ok(store)
    }

    /// Makes a machine: a platform with a fresh PCK, and a TD on it.
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn machine(
        &self,
        declaration: TdDeclaration,
        now: SystemTime,
    ) -> Result<SimulatedTd, SimulationFault> {
        let extension = sgx_extension(&Platform {
            ppid: declaration.platform.to_vec(),
            pce_id: [0; 2],
            fmspc: FMSPC,
            configuration: None,
        })?;
        self.machine_with_extension(declaration, now, extension)
    }

    pub(crate) fn machine_with_extension(
        &self,
        declaration: TdDeclaration,
        now: SystemTime,
        extension: Vec<u8>,
    ) -> Result<SimulatedTd, SimulationFault> {
        let name = "Intel SGX PCK Certificate";
        let pck = self.pck_authority.issue(name, PCK_SERIAL, now, |params| {
            let content = CustomExtension::from_oid_content(authority::SGX_EXTENSION, extension);
            params.custom_extensions = vec![content];
        })?;
        let chain = [&pck, &self.pck_authority, &self.root].map(Certified::pem);
        let chain = chain.into_iter().collect::<Result<String, _>>()?;
        Ok(SimulatedTd::new(declaration, pck.into_key(), chain))
    }
}

/// The serial number of simulated PCKs.
pub(crate) const PCK_SERIAL: u64 = 77;

fn named(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(
        DnType::OrganizationName,
        crate::trust::SIMULATED_ORGANISATION,
    );
    name.push(DnType::CommonName, common_name);
    name
}

fn faulty(error: rcgen::Error) -> SimulationFault {
    making(error)
}
