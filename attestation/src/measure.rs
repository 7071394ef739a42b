//! The launch digest that a machine will have, computed offline from the image it is started with: what a policy lists under
//! `snp.measurements`.
//!
//! The arithmetic is the `sev` crate's (AMD 56860, section 8.17: each page of the firmware, the pages its metadata names, the
//! hashes of kernel, initrd and command line, one VMSA for each processor). The crate indexes a firmware file by what the file
//! says of itself; [`LaunchImage::digest`] looks first whether what it says lies inside the file.

use std::path::{Path, PathBuf};

use sev::measurement::snp::{SnpLaunchDigest, SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};
use sev::parser::ByteParser as _;

use crate::machine::Measurement;

/// The most processors a machine is measured with: QEMU starts no more.
pub const MAX_VCPUS: u32 = 4096;

/// The largest firmware that is measured: it lies below 4 GiB and OVMF builds are 2 to 16 MiB.
const MAX_FIRMWARE_BYTES: u64 = 64 * 1024 * 1024;

/// The footer table begins this many bytes before the end of the file (OvmfPkg/ResetVector).
const FOOTER_FROM_END: usize = 32;

/// A table entry's length and identifier.
const ENTRY_HEADER_BYTES: usize = 18;

/// `dc886566-984a-4798-a75e-5585a7bf67cc`, little-endian: where the SEV metadata are.
const METADATA_GUID: [u8; 16] = [
    0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc,
];

/// The metadata's header, and each of its items.
const METADATA_HEADER_BYTES: usize = 16;
const METADATA_ITEM_BYTES: usize = 12;

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
        check_firmware(&self.firmware)?;
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

/// Whether every offset and length that a firmware file names lies inside it.
fn check_firmware(path: &Path) -> Result<(), MeasureError> {
    let metadata = std::fs::metadata(path).map_err(|error| MeasureError::file(path, error))?;
    if !metadata.is_file() {
        return Err(MeasureError::Firmware("it is no file"));
    }
    if metadata.len() > MAX_FIRMWARE_BYTES {
        return Err(MeasureError::Firmware("it is longer than any firmware"));
    }
    let data = std::fs::read(path).map_err(|error| MeasureError::file(path, error))?;
    check_inside(&data)
}

fn check_inside(data: &[u8]) -> Result<(), MeasureError> {
    let footer = data
        .len()
        .checked_sub(FOOTER_FROM_END + ENTRY_HEADER_BYTES)
        .ok_or(MeasureError::Firmware("it is too short for one"))?;
    let table = length_at(data, footer)
        .and_then(|length| length.checked_sub(ENTRY_HEADER_BYTES))
        .and_then(|length| data.get(footer.checked_sub(length)?..footer))
        .ok_or(MeasureError::Firmware("its table does not lie inside it"))?;
    let entry = metadata_entry(table)?;
    check_metadata(data, entry)
}

/// Walks the table from its end, as its entries' lengths stand behind them, to the entry of the SEV metadata.
fn metadata_entry(mut table: &[u8]) -> Result<&[u8], MeasureError> {
    let mut found = None;
    while let Some(header) = table.len().checked_sub(ENTRY_HEADER_BYTES) {
        let entry = length_at(table, header)
            .and_then(|length| header.checked_sub(length.checked_sub(ENTRY_HEADER_BYTES)?))
            .and_then(|start| table.get(start..header))
            .ok_or(MeasureError::Firmware("an entry of its table does not fit"))?;
        if table[header + 2..] == METADATA_GUID {
            found = Some(entry);
        }
        table = &table[..header - entry.len()];
    }
    found.ok_or(MeasureError::Firmware("it has no SEV metadata"))
}

/// An item of the page with the hashes of kernel, initrd and command line (OvmfPkg/AmdSev).
const KERNEL_HASHES: usize = 0x10;

const PAGE_BYTES: usize = 4096;

/// The most pages that metadata may have measured, 64 MiB: real ones name less than one. Each costs a hash.
const MAX_PAGES: usize = 16 * 1024;

fn check_metadata(data: &[u8], entry: &[u8]) -> Result<(), MeasureError> {
    let outside = MeasureError::Firmware("its SEV metadata do not lie inside it");
    let lies_inside = || {
        let start = data.len().checked_sub(word_at(entry, 0)?)?;
        let header = data.get(start..)?;
        let (length, items) = (word_at(header, 4)?, word_at(header, 12)?);
        let items = items.checked_mul(METADATA_ITEM_BYTES)?;
        let whole = items.checked_add(METADATA_HEADER_BYTES)?;
        let items = header.get(METADATA_HEADER_BYTES..whole)?;
        (length >= whole && length <= header.len()).then_some(items)
    };
    let mut pages = 0_usize;
    for item in lies_inside()
        .ok_or(outside)?
        .chunks_exact(METADATA_ITEM_BYTES)
    {
        let size = word_at(item, 4).unwrap_or(usize::MAX);
        // `sev` reads the lowest byte of the kind alone.
        let is_hashes = word_at(item, 8).is_some_and(|kind| kind & 0xFF == KERNEL_HASHES);
        if is_hashes && size != PAGE_BYTES {
            return Err(MeasureError::Firmware("its hashes do not take one page"));
        }
        pages = pages.saturating_add(size / PAGE_BYTES);
    }
    if pages > MAX_PAGES {
        return Err(MeasureError::Firmware(
            "it has more pages measured than any",
        ));
    }
    Ok(())
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*bytes).into())
}

fn word_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of an OVMF build, made from the figures of the AmdSev build that `virtee/sev` and `sev-snp-measure` measure in
    /// their tests: reset vector, hash table and the seven metadata items. All else is zero.
    fn firmware() -> Vec<u8> {
        let mut data = vec![0; 4096];
        let items: [[u32; 3]; 7] = [
            [0x80_0000, 0x9000, 1],
            [0x80_A000, 0x3000, 1],
            [0x80_D000, 0x1000, 2],
            [0x80_E000, 0x1000, 3],
            [0x80_F000, 0x1000, 4],
            [0x81_0000, 0x1000, 0x10],
            [0x81_1000, 0xF000, 1],
        ];
        let mut metadata = b"ASEV".to_vec();
        for word in [16 + 7 * 12, 1, 7] {
            metadata.extend(u32::to_le_bytes(word));
        }
        metadata.extend(
            items
                .as_flattened()
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        let at = data.len() - 1364;
        data[at..at + metadata.len()].copy_from_slice(&metadata);

        let entry = |content: &[u32], guid: &str| {
            let guid = uuid_le(guid);
            let mut entry: Vec<u8> = content.iter().flat_map(|word| word.to_le_bytes()).collect();
            let length = u16::try_from(entry.len() + ENTRY_HEADER_BYTES).unwrap();
            entry.extend(length.to_le_bytes());
            entry.extend(guid);
            entry
        };
        let mut table = entry(&[1364], "dc886566-984a-4798-a75e-5585a7bf67cc");
        table.extend(entry(
            &[0x81_0C00, 0x400],
            "7255371f-3a3b-4b04-927b-1da6efa8d454",
        ));
        table.extend(entry(&[0x80_B004], "00f771de-1a7e-4fcb-890e-68c77e2fb44e"));
        let length = u16::try_from(table.len() + ENTRY_HEADER_BYTES).unwrap();
        table.extend(length.to_le_bytes());
        table.extend(uuid_le("96b582de-1fb2-45f7-baea-a366c55a082d"));
        let at = data.len() - FOOTER_FROM_END - table.len();
        let end = data.len() - FOOTER_FROM_END;
        data[at..end].copy_from_slice(&table);
        data
    }

    #[test]
    fn the_firmware_that_is_fuzzed_is_the_one_of_these_tests() {
        assert_eq!(
            firmware(),
            include_bytes!("../../decoders/corpus/firmware/valid")
        );
    }

    /// An identifier as it is written, in the order of its bytes in memory.
    fn uuid_le(text: &str) -> [u8; 16] {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.replace('-', ""), &mut bytes).unwrap();
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    fn image(firmware: &Path) -> LaunchImage {
        LaunchImage {
            firmware: firmware.to_owned(),
            kernel: Some("/dev/null".into()),
            initrd: Some("/dev/null".into()),
            append: None,
            vcpus: 1,
            vcpu_type: "EPYC-v4".to_owned(),
            guest_features: 1,
        }
    }

    /// `virtee/sev`, tests/measurement.rs: `test_snp_ovmf_hash_gen_snp_only` and `test_snp_ovmf_hash_gen_default`. The firmware's
    /// digest is given there too, so that its other bytes do not matter.
    #[test]
    fn the_published_digests_come_out() {
        const FIRMWARE: &str = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), firmware()).unwrap();
        for (guest_features, published) in [
            (
                0x1,
                "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
            ),
            (
                0x21,
                "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
            ),
        ] {
            let image = LaunchImage {
                guest_features,
                ..image(file.path())
            };
            let digest = image.digest_from(Some(FIRMWARE)).unwrap();
            assert_eq!(digest.to_string(), published);
        }
    }

    #[test]
    fn everything_a_machine_is_started_with_changes_its_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other_firmware = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), firmware()).unwrap();
        let mut bytes = firmware();
        bytes[0] = 1;
        std::fs::write(other_firmware.path(), bytes).unwrap();
        let kernel = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(kernel.path(), b"kernel").unwrap();
        let base = image(file.path());
        let digests = [
            base.clone(),
            image(other_firmware.path()),
            LaunchImage {
                kernel: Some(kernel.path().to_owned()),
                ..base.clone()
            },
            LaunchImage {
                initrd: Some(kernel.path().to_owned()),
                ..base.clone()
            },
            LaunchImage {
                append: Some("quiet".to_owned()),
                ..base.clone()
            },
            LaunchImage {
                kernel: None,
                initrd: None,
                ..base.clone()
            },
            LaunchImage {
                vcpus: 2,
                ..base.clone()
            },
            LaunchImage {
                vcpu_type: "EPYC-Genoa".to_owned(),
                ..base.clone()
            },
            LaunchImage {
                guest_features: 0x21,
                ..base.clone()
            },
        ]
        .map(|image| image.digest().unwrap());
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert_eq!(base.digest().unwrap(), digests[0]);
    }

    #[test]
    fn a_file_that_is_no_firmware_is_refused_and_never_panics() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let measured = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            image(file.path()).digest()
        };
        let good = firmware();
        assert!(measured(&good).is_ok());
        assert!(measured(&[]).is_err());
        for length in (0..good.len()).step_by(97) {
            assert!(measured(&good[..length]).is_err(), "{length} bytes");
        }
        // Every byte of the metadata and of the table, set to what is least and most: it may be measured, it may be refused.
        let (metadata, table) = (good.len() - 1364, good.len() - 160);
        for at in (metadata..metadata + 100).chain(table..good.len() - FOOTER_FROM_END) {
            for value in [0, 0x7F, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = measured(&bad);
            }
        }
    }

    #[test]
    fn options_that_do_not_fit_are_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), firmware()).unwrap();
        let base = image(file.path());
        let code = |image: LaunchImage| image.digest().unwrap_err().code();
        assert_eq!(
            code(LaunchImage {
                kernel: None,
                ..base.clone()
            }),
            "measure.without-kernel"
        );
        assert_eq!(
            code(LaunchImage {
                append: Some("quiet ".to_owned()),
                ..base.clone()
            }),
            "measure.append"
        );
        assert_eq!(
            code(LaunchImage {
                vcpus: 0,
                ..base.clone()
            }),
            "measure.vcpus"
        );
        assert_eq!(
            code(LaunchImage {
                vcpus: MAX_VCPUS + 1,
                ..base.clone()
            }),
            "measure.vcpus"
        );
        assert_eq!(
            code(LaunchImage {
                vcpu_type: "Xeon".to_owned(),
                ..base.clone()
            }),
            "measure.vcpu-type"
        );
        assert_eq!(
            code(LaunchImage {
                kernel: Some("/nowhere".into()),
                ..base.clone()
            }),
            "measure.file"
        );
        assert_eq!(
            code(LaunchImage {
                firmware: "/nowhere".into(),
                ..base
            }),
            "measure.file"
        );
    }
}
