//! What evidence must say to be accepted: strict TOML, signed by the organisations as part of a manifest.
//!
//! An unknown field, a missing list and an empty list are errors that name the field; whatever is not spelled out is
//! the stricter choice.
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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::machine::{ChipId, HostData, Measurement, Product, Tcb};

/// Clocks may differ by this much when the policy does not say: NTP keeps well inside it, no certificate lives that short.
const DEFAULT_CLOCK_SKEW_SECONDS: u64 = 300;

/// The most a policy may allow clocks to differ: past a day, dates mean nothing.
const MAX_CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// The report versions whose layout is known here.
const KNOWN_REPORT_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;

/// A policy that was read and found complete.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) roots: BTreeSet<[u8; 32]>,
    pub(crate) simulated_roots: BTreeSet<[u8; 32]>,
    pub(crate) clock_skew: Duration,
    pub(crate) report_versions: BTreeSet<u32>,
    pub(crate) measurements: BTreeSet<Measurement>,
    pub(crate) min_tcb: BTreeMap<Product, Tcb>,
    pub(crate) denied_chips: BTreeSet<ChipId>,
    pub(crate) denied_products: BTreeSet<Product>,
    pub(crate) host_data: Option<BTreeSet<HostData>>,
    pub(crate) switches: Switches,
}

/// The choices that are a number or a yes or no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switches {
    pub(crate) max_vmpl: u32,
    pub(crate) min_guest_svn: u32,
    pub(crate) allow_debug: bool,
    pub(crate) allow_migration_agent: bool,
    pub(crate) allow_smt: bool,
    pub(crate) allow_cxl: bool,
    pub(crate) require_single_socket: bool,
    pub(crate) require_alias_check: bool,
    pub(crate) require_ciphertext_hiding: bool,
    pub(crate) require_ecc: bool,
    pub(crate) require_tsme: bool,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`], which names the field.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let file: File =
            toml::from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
        let (trust, snp) = (file.trust, file.snp);
        let roots = hashes(
            "trust.roots",
            &trust.roots.ok_or(PolicyError::Missing("trust.roots"))?,
        )?;
        let simulated_roots = hashes(
            "trust.dangerous_simulated_roots",
            &trust.dangerous_simulated_roots,
        )?;
        if roots.is_empty() && simulated_roots.is_empty() {
            return Err(PolicyError::Empty("trust.roots"));
        }
        if !roots.is_disjoint(&simulated_roots) {
            return Err(PolicyError::RootTwice);
        }
        if trust.clock_skew_seconds > MAX_CLOCK_SKEW_SECONDS {
            return Err(PolicyError::Invalid("trust.clock_skew_seconds"));
        }
        Ok(Self {
            roots,
            simulated_roots,
            clock_skew: Duration::from_secs(trust.clock_skew_seconds),
            switches: snp.switches(),
            report_versions: report_versions(snp.report_versions)?,
            measurements: filled("snp.measurements", snp.measurements, Measurement::from_hex)?,
            min_tcb: minimums(snp.min_tcb)?,
            denied_chips: parsed("snp.denied_chips", &snp.denied_chips, ChipId::from_hex)?,
            denied_products: snp.denied_products.into_iter().collect(),
            host_data: match snp.host_data {
                Some(list) => Some(filled("snp.host_data", Some(list), HostData::from_hex)?),
                None => None,
            },
        })
    }

    /// The hashes of the simulated roots this policy accepts. A program shows each at start: their evidence proves nothing
    /// about hardware.
    pub fn simulated_roots(&self) -> &BTreeSet<[u8; 32]> {
        &self.simulated_roots
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
    #[error("the attestation policy's {0} holds a value that cannot be used")]
    Invalid(&'static str),
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
            Self::Invalid(_) => "policy.invalid",
            Self::RootTwice => "policy.root-twice",
            Self::RootNotGiven(_) => "policy.root-not-given",
            Self::SimulatedRootNotSpelled(_) => "policy.simulated-root-not-spelled",
        }
    }
}

/// The file, as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    trust: Trust,
    snp: Snp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    roots: Option<Vec<String>>,
    #[serde(default)]
    dangerous_simulated_roots: Vec<String>,
    #[serde(default = "default_clock_skew_seconds")]
    clock_skew_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snp {
    report_versions: Option<Vec<u32>>,
    measurements: Option<Vec<String>>,
    min_tcb: Option<BTreeMap<Product, Tcb>>,
    #[serde(default)]
    denied_chips: Vec<String>,
    /// Milan's VCEK seed can be extracted in software (arXiv 2605.12990): a policy that wants it says so with a list of its own.
    #[serde(default = "default_denied_products")]
    denied_products: Vec<Product>,
    host_data: Option<Vec<String>>,
    #[serde(default)]
    max_vmpl: u32,
    #[serde(default)]
    min_guest_svn: u32,
    #[serde(default)]
    allow_debug: bool,
    #[serde(default)]
    allow_migration_agent: bool,
    #[serde(default)]
    allow_smt: bool,
    #[serde(default)]
    allow_cxl: bool,
    #[serde(default)]
    require_single_socket: bool,
    #[serde(default = "yes")]
    require_alias_check: bool,
    #[serde(default)]
    require_ciphertext_hiding: bool,
    #[serde(default)]
    require_ecc: bool,
    #[serde(default)]
    require_tsme: bool,
}

impl Snp {
    fn switches(&self) -> Switches {
        Switches {
            max_vmpl: self.max_vmpl,
            min_guest_svn: self.min_guest_svn,
            allow_debug: self.allow_debug,
            allow_migration_agent: self.allow_migration_agent,
            allow_smt: self.allow_smt,
            allow_cxl: self.allow_cxl,
            require_single_socket: self.require_single_socket,
            require_alias_check: self.require_alias_check,
            require_ciphertext_hiding: self.require_ciphertext_hiding,
            require_ecc: self.require_ecc,
            require_tsme: self.require_tsme,
        }
    }
}

fn default_clock_skew_seconds() -> u64 {
    DEFAULT_CLOCK_SKEW_SECONDS
}

fn default_denied_products() -> Vec<Product> {
    vec![Product::Milan]
}

fn yes() -> bool {
    true
}

fn report_versions(list: Option<Vec<u32>>) -> Result<BTreeSet<u32>, PolicyError> {
    const FIELD: &str = "snp.report_versions";
    let versions: BTreeSet<u32> = list
        .ok_or(PolicyError::Missing(FIELD))?
        .into_iter()
        .collect();
    if versions.is_empty() {
        return Err(PolicyError::Empty(FIELD));
    }
    if !versions
        .iter()
        .all(|version| KNOWN_REPORT_VERSIONS.contains(version))
    {
        return Err(PolicyError::Invalid(FIELD));
    }
    Ok(versions)
}

/// Every product's minimum names exactly the components that the product has.
fn minimums(table: Option<BTreeMap<Product, Tcb>>) -> Result<BTreeMap<Product, Tcb>, PolicyError> {
    const FIELD: &str = "snp.min_tcb";
    let table = table.ok_or(PolicyError::Missing(FIELD))?;
    if table.is_empty() {
        return Err(PolicyError::Empty(FIELD));
    }
    if table
        .iter()
        .any(|(product, tcb)| (*product == Product::Turin) != tcb.fmc.is_some())
    {
        return Err(PolicyError::Invalid(FIELD));
    }
    Ok(table)
}

fn hashes(field: &'static str, list: &[String]) -> Result<BTreeSet<[u8; 32]>, PolicyError> {
    parsed(field, list, |text| {
        HostData::from_hex(text).map(|hash| *hash.as_bytes())
    })
}

fn filled<T: Ord>(
    field: &'static str,
    list: Option<Vec<String>>,
    read: fn(&str) -> Option<T>,
) -> Result<BTreeSet<T>, PolicyError> {
    let set = parsed(field, &list.ok_or(PolicyError::Missing(field))?, read)?;
    if set.is_empty() {
        Err(PolicyError::Empty(field))
    } else {
        Ok(set)
    }
}

fn parsed<T: Ord>(
    field: &'static str,
    list: &[String],
    read: impl Fn(&str) -> Option<T>,
) -> Result<BTreeSet<T>, PolicyError> {
    list.iter()
        .map(|text| read(text).ok_or(PolicyError::Invalid(field)))
        .collect()
}
