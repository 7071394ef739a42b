//! What a confidential machine is known by: its product, its chip, its firmware level, and what was started in it.

use std::fmt;

use serde::Deserialize;

/// A line of AMD processors that SEV-SNP evidence is accepted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// The name as AMD writes it in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The product a VCEK names, whose value may carry a stepping: `Milan-B0` (AMD 57230, section 3.1).
    pub(crate) fn from_vcek_name(name: &str) -> Option<Self> {
        let line = name.split_once('-').map_or(name, |(line, _)| line);
        [Self::Milan, Self::Genoa, Self::Turin]
            .into_iter()
            .find(|product| product.name() == line)
    }

    /// How many bytes of chip id the product's VCEK carries (AMD 57230, section 3.1); the report's other bytes are zero.
    pub(crate) fn chip_id_bytes(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Security version numbers of a machine's firmware (AMD 56860, table 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// The FMC's, on Turin and later alone.
    pub fmc: Option<u8>,
    /// The secure processor's boot loader's.
    pub bootloader: u8,
    /// The secure processor's operating system's.
    pub tee: u8,
    /// The SNP firmware's.
    pub snp: u8,
    /// The lowest microcode patch level of all cores.
    pub microcode: u8,
}

impl Tcb {
    /// Whether every component is at least the minimum's. A component the minimum names and this level lacks is below it.
    pub fn reaches(&self, minimum: &Self) -> bool {
        self.fmc >= minimum.fmc
            && self.bootloader >= minimum.bootloader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc}, ")?;
        }
        write!(
            f,
            "bootloader {}, tee {}, snp {}, microcode {}",
            self.bootloader, self.tee, self.snp, self.microcode
        )
    }
}

/// A version of the SNP firmware: major, minor and build (AMD 56860, table 23). Written `1.55.40`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareVersion {
    /// Of the firmware's interface.
    pub major: u8,
    /// Of the firmware's interface.
    pub minor: u8,
    /// Of the firmware.
    pub build: u8,
}

impl FirmwareVersion {
    /// Reads `major.minor.build` in decimal; nothing else is taken.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| plain)
        });
        let version = Self {
            major: parts.next()??,
            minor: parts.next()??,
            build: parts.next()??,
        };
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Takes the bytes as they are.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Reads exactly this many bytes written in hexadecimal; nothing else is taken.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

impl ChipId {
    /// What a host that hides its chips' identifiers has reports say, and a roster of an organisation without a chip of its own.
    pub const HIDDEN: Self = Self([0; 64]);
}

bytes_newtype!(
    /// A chip's identifier, 64 bytes as reports carry it.
    ChipId, 64
);
bytes_newtype!(
    /// The hash of an organisation's launch configuration, 32 bytes, as the host handed it over at launch.
    HostData, 32
);
bytes_newtype!(
    /// The launch digest of the software a machine was started with, 48 bytes.
    Measurement, 48
);
bytes_newtype!(
    /// SHA-384 of the public key that signed a launch (ID key), or that certified the ID key (author key).
    KeyDigest, 48
);
bytes_newtype!(
    /// A family or an image, as the launch's ID block names it, 16 bytes.
    LaunchId, 16
);
bytes_newtype!(
    /// An organisation's Ed25519 identity public key, 32 bytes.
    IdentityKey, 32
);

/// Which machine an organisation was enrolled with: the part of its roster entry that evidence is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineBinding {
    /// The one chip its evidence may come from. All zeros says that the organisation has no chip of its own: evidence under a
    /// VLEK on a host that hides its chips' identifiers fits that, where the policy allows both, and nothing else does.
    pub chip_id: ChipId,
    /// The launch configuration it may have been started with.
    pub host_data: HostData,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: Tcb = Tcb {
        fmc: None,
        bootloader: 10,
        tee: 1,
        snp: 25,
        microcode: 84,
    };

    #[test]
    fn a_level_reaches_itself_and_no_level_that_is_higher_anywhere() {
        assert!(LEVEL.reaches(&LEVEL));
        assert!(!LEVEL.reaches(&Tcb {
            bootloader: 11,
            ..LEVEL
        }));
        assert!(!LEVEL.reaches(&Tcb { tee: 2, ..LEVEL }));
        assert!(!LEVEL.reaches(&Tcb { snp: 26, ..LEVEL }));
        assert!(!LEVEL.reaches(&Tcb {
            microcode: 85,
            ..LEVEL
        }));
        assert!(!LEVEL.reaches(&Tcb {
            fmc: Some(0),
            ..LEVEL
        }));
    }

    #[test]
    fn a_firmware_version_is_three_numbers_and_they_compare_in_order() {
        let version = FirmwareVersion::from_text("1.55.40").unwrap();
        assert_eq!(version.to_string(), "1.55.40");
        assert!(version > FirmwareVersion::from_text("1.54.255").unwrap());
        for text in [
            "",
            "1.55",
            "1.55.40.1",
            "1.55.256",
            "1.55.+4",
            "1.55.",
            "1..4",
        ] {
            assert_eq!(FirmwareVersion::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_stepping_is_no_part_of_the_product_and_an_unknown_product_is_none() {
        assert_eq!(Product::from_vcek_name("Milan-B0"), Some(Product::Milan));
        assert_eq!(Product::from_vcek_name("Turin"), Some(Product::Turin));
        assert_eq!(Product::from_vcek_name("Milano"), None);
    }
}
