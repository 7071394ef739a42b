//! The launch digest that a machine will have, computed offline from the image it is started with: what a policy lists under
//! `snp.measurements`.
//!
//! The arithmetic is the `sev` crate's (AMD 56860, section 8.17: each page of the firmware, the pages its metadata names, the
//! hashes of kernel, initrd and command line, one VMSA for each processor). The crate indexes a firmware file by what the file
//! says of itself; [`LaunchImage::digest`] looks first whether what it says lies inside the file.

mod ovmf;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sev::measurement::snp::{SnpLaunchDigest, SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};
use sev::parser::ByteParser as _;

use crate::machine::Measurement;

/// The most processors a machine is measured with: QEMU starts no more.
pub const MAX_VCPUS: u32 = 4096;

/// What a machine is started with, under QEMU.
#[derive(Clone, Debug)]
pub struct LaunchImage {
    /// The firmware: an OVMF build with SEV metadata.
    pub firmware: PathBuf,
    /// The kernel, where it is started directly and its hash is measured.
    pub kernel: Option<PathBuf>,
    /// Its initial file system.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub append: Option<String>,
    /// How many processors.
    pub vcpus: u32,
    /// QEMU's name for them, `EPYC-v4` or `EPYC-Genoa`: it decides the signature in each VMSA.
    pub vcpu_type: String,
    /// SEV_FEATURES of the VMSA: 1 is SNP alone.
    pub guest_features: u64,
}

impl LaunchImage {
    /// The launch digest.
    ///
    /// # Errors
    /// [`MeasureError`] names the file or the option.
    pub fn digest(&self) -> Result<Measurement, MeasureError> {
        self.digest_from(None)
    }

    /// The launch digest, from the firmware's own digest where that is known: the file is then read for its metadata alone.
    fn digest_from(&self, firmware_digest: Option<&str>) -> Result<Measurement, MeasureError> {
        if self.kernel.is_none() && (self.initrd.is_some() || self.append.is_some()) {
            return Err(MeasureError::WithoutKernel);
        }
        // The crate measures a command line without the spaces around it, QEMU with them.
        if self.append.as_deref().is_some_and(|it| it.trim() != it) {
            return Err(MeasureError::Append);
        }
        if !(1..=MAX_VCPUS).contains(&self.vcpus) {
            return Err(MeasureError::Vcpus);
        }
        let vcpu_type = CpuType::try_from(self.vcpu_type.to_lowercase().as_str());
        let vcpu_type = vcpu_type.map_err(|_| MeasureError::VcpuType(self.vcpu_type.clone()))?;
        ovmf::check_firmware(&self.firmware)?;
        for file in [&self.kernel, &self.initrd].into_iter().flatten() {
            std::fs::File::open(file).map_err(|error| MeasureError::file(file, error))?;
        }
        let digest = snp_calc_launch_digest(SnpMeasurementArgs {
            vcpus: self.vcpus,
            vcpu_type,
            ovmf_file: self.firmware.clone(),
            guest_features: GuestFeatures(self.guest_features),
            kernel_file: self.kernel.clone(),
            initrd_file: self.initrd.clone(),
            append: self.append.as_deref(),
            ovmf_hash_str: firmware_digest,
            vmm_type: Some(VMMType::QEMU),
        });
        measurement(digest.map_err(|error| MeasureError::Image(error.to_string()))?)
    }
}

fn measurement(digest: SnpLaunchDigest) -> Result<Measurement, MeasureError> {
    let bytes = digest
        .to_bytes()
        .map_err(|error| MeasureError::Image(error.to_string()))?;
    Ok(Measurement::new(bytes))
}

/// A launch digest could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A file could not be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The firmware is not one that SNP machines start with.
    #[error("the firmware is no OVMF build for SEV-SNP: {0}")]
    Firmware(&'static str),
    /// An initrd or a command line was given without a kernel.
    #[error("an initrd and a command line are measured with a kernel alone: give one")]
    WithoutKernel,
    /// A command line that begins or ends with a space.
    #[error(
        "the command line begins or ends with white space, which is measured: write it as the machine gets it, without"
    )]
    Append,
    /// No such number of processors.
    #[error("a machine has 1 to 4096 processors")]
    Vcpus,
    /// No such processor.
    #[error("{0} is no processor of QEMU's: EPYC-v4, EPYC-Milan, EPYC-Genoa, EPYC-Turin")]
    VcpuType(String),
    /// The image does not fit together.
    #[error("the image cannot be measured: {0}")]
    Image(String),
}

impl MeasureError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "measure.file",
            Self::Firmware(_) => "measure.firmware",
            Self::WithoutKernel => "measure.without-kernel",
            Self::Append => "measure.append",
            Self::Vcpus => "measure.vcpus",
            Self::VcpuType(_) => "measure.vcpu-type",
            Self::Image(_) => "measure.image",
        }
    }

    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }
}
