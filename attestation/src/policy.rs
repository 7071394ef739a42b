//! What evidence must say to be accepted: strict TOML, signed by the organisations as part of a manifest.
//!
//! An unknown field, a missing list and an empty list are errors that name the field; whatever is not spelled out is
//! the stricter choice. `attestation/policy.sample.toml` holds every field with its default and what it is about.
//!
//! ```
//! let policy = consort_attestation::Policy::from_toml(r#"
//!     [trust]
//!     roots = ["4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"]
//!     clock_skew_seconds = 300
//!
//!     [snp]
//!     report_versions = [3, 5]
//!     measurements = ["000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"]
//!
//!     [snp.min_tcb.genoa]
//!     bootloader = 10
//!     tee = 0
//!     snp = 25
//!     microcode = 84
//! "#)?;
//! assert!(policy.simulated_roots().is_empty());
//! # Ok::<(), consort_attestation::PolicyError>(())
//! ```

mod file;
mod tdx;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::{
    ChipId, FirmwareVersion, HostData, KeyDigest, LaunchId, Measurement, Product, Tcb,
};
use crate::trust::{AMD_ROOT_HASHES, INTEL_ROOT_HASH, TrustStore};

pub(crate) use tdx::{TcbStatus, TdxRules};

/// A policy that was read and found complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) trust: TrustRules,
    pub(crate) snp: SnpRules,
    pub(crate) tdx: TdxRules,
    pub(crate) session: SessionRules,
}

/// Which roots vouch for machines, and for how long they are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustRules {
    pub(crate) roots: BTreeSet<[u8; 32]>,
    pub(crate) simulated_roots: BTreeSet<[u8; 32]>,
    /// `None`: required of genuine roots, and of simulated ones, which publish none, only if given.
    pub(crate) crl: Option<CrlRule>,
    pub(crate) clock_skew: Duration,
    pub(crate) max_cert_lifetime: Duration,
}

/// Whether a root without a revocation list is believed. A list that is given is always obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CrlRule {
    /// A root without a fresh list is not believed.
    Required,
    /// A root without a list is believed.
    IfGiven,
}

/// What a report must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnpRules {
    /// Empty only where the policy has no section: then nothing is accepted.
    pub(crate) report_versions: BTreeSet<u32>,
    /// `None` only in [`Policy::vendors_roots_alone`], which judges no software.
    pub(crate) measurements: Option<BTreeSet<Measurement>>,
    pub(crate) min_tcb: BTreeMap<Product, Tcb>,
    pub(crate) min_firmware: BTreeMap<Product, FirmwareVersion>,
    pub(crate) denied_chips: BTreeSet<ChipId>,
    pub(crate) denied_products: BTreeSet<Product>,
    pub(crate) host_data: Option<BTreeSet<HostData>>,
    pub(crate) id_key_digests: Option<BTreeSet<KeyDigest>>,
    pub(crate) author_key_digests: Option<BTreeSet<KeyDigest>>,
    pub(crate) family_id: Option<LaunchId>,
    pub(crate) image_id: Option<LaunchId>,
    pub(crate) allow_vlek_csp_ids: BTreeSet<String>,
    pub(crate) switches: Switches,
}

impl SnpRules {
    /// Accepts nothing: of a policy without the section.
    pub(crate) fn nothing() -> Self {
        Self {
            report_versions: BTreeSet::new(),
            measurements: Some(BTreeSet::new()),
            min_tcb: BTreeMap::new(),
            min_firmware: BTreeMap::new(),
            denied_chips: BTreeSet::new(),
            denied_products: BTreeSet::from([Product::Milan]),
            host_data: None,
            id_key_digests: None,
            author_key_digests: None,
            family_id: None,
            image_id: None,
            allow_vlek_csp_ids: BTreeSet::new(),
            switches: file::default_switches(),
        }
    }

    /// Whether any report could be accepted.
    pub(crate) fn accept_any(&self) -> bool {
        !self.report_versions.is_empty()
    }
}

/// The choices that are a number or a yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switches {
    pub(crate) max_vmpl: u32,
    pub(crate) min_guest_svn: u32,
    pub(crate) allow_debug: bool,
    pub(crate) allow_migration_agent: bool,
    pub(crate) allow_smt: bool,
    pub(crate) allow_cxl: bool,
    pub(crate) allow_masked_chip_id: bool,
    pub(crate) allow_provisional_firmware: bool,
    pub(crate) allow_launch_below_minimum: bool,
    pub(crate) require_single_socket: bool,
    pub(crate) require_alias_check: bool,
    pub(crate) require_ciphertext_hiding: bool,
    pub(crate) require_ecc: bool,
    pub(crate) require_tsme: bool,
}

/// How long a session lives and how it is opened. A policy can only tighten what the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// How long a connection lives before it is closed and its peer attests anew.
    pub max_age: Duration,
    /// How long handshake and exchange may take together.
    pub exchange_timeout: Duration,
    /// The most bytes of a frame of the exchange.
    pub max_frame_bytes: usize,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`], which names the field.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        file::read(text)
    }

    /// What is asked of evidence when nobody says more: AMD's and Intel's own roots, a report version that tells of the alias check, no
    /// Milan, no debugging, no migration agent, no VLEK, no TDX platform that is not up to date. It says nothing about which software
    /// runs or whose machine it is, and takes any firmware level of AMD's, so it is for looking at evidence, not for letting a peer
    /// in: only an [`crate::Explainer`] has it.
    ///
    /// SMT is allowed, as nearly every host asks for it, and a root's revocation list is obeyed only if it is given.
    pub(crate) fn vendors_roots_alone() -> Self {
        let any = |product| Tcb {
            fmc: (product == Product::Turin).then_some(0),
            bootloader: 0,
            tee: 0,
            snp: 0,
            microcode: 0,
        };
        let products = [Product::Milan, Product::Genoa, Product::Turin];
        Self {
            trust: TrustRules {
                roots: AMD_ROOT_HASHES
                    .iter()
                    .map(|(_, hash)| *hash)
                    .chain([INTEL_ROOT_HASH])
                    .filter_map(HostData::from_hex)
                    .map(|hash| *hash.as_bytes())
                    .collect(),
                simulated_roots: BTreeSet::new(),
                crl: Some(CrlRule::IfGiven),
                clock_skew: Duration::from_secs(file::DEFAULT_CLOCK_SKEW_SECONDS),
                max_cert_lifetime: file::days(file::DEFAULT_MAX_CERT_LIFETIME_DAYS),
            },
            snp: SnpRules {
                report_versions: BTreeSet::from([3, 4, 5]),
                measurements: None,
                min_tcb: products.map(|product| (product, any(product))).into(),
                switches: Switches {
                    allow_smt: true,
                    ..file::default_switches()
                },
                ..SnpRules::nothing()
            },
            tdx: TdxRules::any_software(),
            session: SessionRules::default(),
        }
    }

    /// This policy with those of its roots that a store holds; nothing where it holds none.
    pub(crate) fn with_roots_of(mut self, store: &TrustStore) -> Option<Self> {
        let given = store.root_hashes();
        self.trust.roots.retain(|root| given.contains(root));
        (!self.trust.roots.is_empty()).then_some(self)
    }

    /// The hashes of the roots this policy takes for genuine.
    pub fn roots(&self) -> &BTreeSet<[u8; 32]> {
        &self.trust.roots
    }

    /// The hashes of the simulated roots this policy accepts. A program shows each at start: their evidence proves nothing
    /// about hardware.
    pub fn simulated_roots(&self) -> &BTreeSet<[u8; 32]> {
        &self.trust.simulated_roots
    }

    /// How long a session lives and how it is opened.
    pub fn session(&self) -> &SessionRules {
        &self.session
    }
}

/// A policy that is not taken. The file is at fault; nothing is accepted under it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Not TOML, or not of the expected shape.
    #[error("the attestation policy does not read: {0}")]
    Syntax(String),
    /// A field that must be spelled out is missing.
    #[error("the attestation policy lacks {0}: spell it out")]
    Missing(&'static str),
    /// A list that must not be empty is.
    #[error(
        "the attestation policy's {0} is empty: nothing could be accepted, or everything would be"
    )]
    Empty(&'static str),
    /// A value is out of its range or not hexadecimal of the right length.
    #[error("the attestation policy's {0} holds a value that cannot be used: it must be {1}")]
    Invalid(&'static str, &'static str),
    /// Something is asked of the ID block, and nobody is listed who may sign it.
    #[error(
        "the attestation policy's {0} is about the ID block, which the host brings: list who may sign it in snp.id_key_digests, or in \
         snp.author_key_digests (zeros are no author), or a host writes into it what is wanted"
    )]
    UnsignedIdBlock(&'static str),
    /// A root is listed as genuine and as simulated.
    #[error(
        "the attestation policy lists one root in trust.roots and in trust.dangerous_simulated_roots"
    )]
    RootTwice,
    /// A pinned root is not among those the verifier was given.
    #[error(
        "the attestation policy pins the root {0}, whose certificates this program was not given"
    )]
    RootNotGiven(String),
    /// A simulated vendor's root is listed as genuine.
    #[error(
        "the root {0} is a simulated vendor's: it may stand in trust.dangerous_simulated_roots alone"
    )]
    SimulatedRootNotSpelled(String),
}

impl PolicyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "policy.syntax",
            Self::Missing(_) => "policy.missing",
            Self::Empty(_) => "policy.empty",
            Self::Invalid(_, _) => "policy.invalid",
            Self::UnsignedIdBlock(_) => "policy.unsigned-id-block",
            Self::RootTwice => "policy.root-twice",
            Self::RootNotGiven(_) => "policy.root-not-given",
            Self::SimulatedRootNotSpelled(_) => "policy.simulated-root-not-spelled",
        }
    }
}
