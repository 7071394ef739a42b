//! Why a machine gave no evidence, and what its operator can do about it.

use std::io;
use std::path::PathBuf;

/// No evidence could be had from this machine. The fault lies on this side, never with a peer.
#[derive(Debug, thiserror::Error)]
pub enum AttesterFault {
    /// Something else, in words that name no secret.
    #[error("this machine gave no evidence: {0}; look at its attestation device and its host")]
    Other(String),
    /// The kernel offers no such interface here.
    #[error(
        "{path} is not there ({source}): evidence needs a confidential VM, a kernel with the sev-guest driver loaded, and for configfs \
         Linux 6.7 or later with configfs mounted at /sys/kernel/config"
    )]
    NoInterface {
        /// What was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// This process may not use the interface.
    #[error(
        "this process may not use {path}: run it as root, or give its user the right to create and write there"
    )]
    Denied {
        /// What it may not use.
        path: PathBuf,
    },
    /// The kernel's reports are of another kind of machine.
    #[error(
        "the kernel's report provider is {0:?}, and only sev_guest and tdx_guest are understood: this machine is no SEV-SNP guest and no TD"
    )]
    Provider(String),
    /// The least level this kernel may ask for is above the one asked for.
    #[error(
        "reports of VMPL {asked} were asked for, and this kernel may ask for VMPL {floor} and above: set the attester's vmpl, and the \
         policies' max_vmpl with it, if whatever runs below is part of the measured image"
    )]
    PrivilegeLevel {
        /// What the configuration asks for.
        asked: u32,
        /// The least that there is.
        floor: u32,
    },
    /// Somebody else wrote to this process's report entry, every time.
    #[error(
        "another process wrote into this one's report entries {0} times in a row: find it, nobody else should"
    )]
    Raced(u32),
    /// The kernel, the host or the firmware refused.
    #[error(
        "{what} failed: {source}; the kernel log (sev-guest) says why, the host may throttle or be misconfigured"
    )]
    Io {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the kernel handed out is not what its documentation says.
    #[error("{what} is not usable: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The report is about something else than what was asked.
    #[error(
        "the machine signed another statement than the one it was asked for; ask again, and distrust its host if it goes on"
    )]
    OtherStatement,
    /// No certificate at hand is of the key that signed the report.
    #[error(
        "{tried} certificates at hand, and none is of the key that signed this machine's report: {remedy}"
    )]
    NoCertificate {
        /// How many were tried.
        tried: usize,
        /// What to do.
        remedy: String,
    },
}

impl AttesterFault {
    /// A fault, in words that name no secret.
    pub fn new(what: impl Into<String>) -> Self {
        Self::Other(what.into())
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Other(_) => "attest.attester-fault",
            Self::NoInterface { .. } => "attest.attester-no-interface",
            Self::Denied { .. } => "attest.attester-denied",
            Self::Provider(_) => "attest.attester-provider",
            Self::PrivilegeLevel { .. } => "attest.attester-privilege-level",
            Self::Raced(_) => "attest.attester-raced",
            Self::Io { .. } => "attest.attester-io",
            Self::Malformed { .. } => "attest.attester-malformed",
            Self::OtherStatement => "attest.attester-other-statement",
            Self::NoCertificate { .. } => "attest.attester-no-certificate",
        }
    }

    /// What an error of the operating system means for whoever wanted to use this path.
    pub(super) fn of_io(path: PathBuf, source: io::Error) -> Self {
        // ENXIO and ENODEV: configfs is there, and no driver stands behind it (drivers/virt/coco/tsm.c).
        const NO_DEVICE: [i32; 2] = [6, 19];
        let absent = source.kind() == io::ErrorKind::NotFound
            || source
                .raw_os_error()
                .is_some_and(|code| NO_DEVICE.contains(&code));
        if absent {
            Self::NoInterface { path, source }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied { path }
        } else {
            let what = format!("using {}", path.display());
            Self::Io { what, source }
        }
    }
}
