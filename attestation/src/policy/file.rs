//! The policy's file: its fields, their defaults, and what each may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::tdx::{Tdx, TdxRules};
use super::{CrlRule, Policy, PolicyError, SessionRules, SnpRules, Switches, TrustRules};
use crate::evidence::MAX_EVIDENCE_BYTES;
use crate::limits::{EXCHANGE_TIMEOUT, MAX_CONNECTION_AGE, MAX_FRAME_BYTES};
use crate::machine::{
    ChipId, FirmwareVersion, HostData, KeyDigest, LaunchId, Measurement, Product, Tcb,
};
use crate::snp::KNOWN_VERSIONS;

/// Clocks may differ by this much when the policy does not say: NTP keeps well inside it, no certificate lives that short.
pub(super) const DEFAULT_CLOCK_SKEW_SECONDS: u64 = 300;

/// The most a policy may allow clocks to differ: past a day, dates mean nothing.
const MAX_CLOCK_SKEW_SECONDS: u64 = 24 * 60 * 60;

/// AMD's VCEKs live seven years, of which two may be leap years; its VLEKs one.
pub(super) const DEFAULT_MAX_CERT_LIFETIME_DAYS: u64 = 7 * 365 + 2;

/// The most a policy may allow: what AMD's roots live, so past it nothing is limited.
const MAX_CERT_LIFETIME_DAYS: u64 = 25 * 366;

/// The least a policy may set for a frame: evidence, a name, a key and a signature must fit.
const MIN_FRAME_BYTES: usize = MAX_EVIDENCE_BYTES + 1024;

/// Reads a policy.
pub(super) fn read(text: &str) -> Result<Policy, PolicyError> {
    let file: File =
        toml::from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
    Ok(Policy {
        trust: file.trust.rules()?,
        snp: match file.snp {
            Some(snp) => snp.rules()?,
            None if file.tdx.is_none() => return Err(PolicyError::Missing("snp or tdx")),
            None => SnpRules::nothing(),
        },
        tdx: match file.tdx {
            Some(tdx) => tdx.rules()?,
            None => TdxRules::nothing(),
        },
        session: file.session.rules()?,
    })
}

/// The switches of a policy that sets none.
pub(super) fn default_switches() -> Switches {
    Snp::default().switches()
}

pub(super) fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(24 * 60 * 60))
}

/// The file, as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    trust: Trust,
    snp: Option<Snp>,
    tdx: Option<Tdx>,
    #[serde(default)]
    session: Session,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    roots: Option<Vec<String>>,
    #[serde(default)]
    dangerous_simulated_roots: Vec<String>,
    crl: Option<CrlRule>,
    #[serde(default = "default_clock_skew_seconds")]
    clock_skew_seconds: u64,
    #[serde(default = "default_max_cert_lifetime_days")]
    max_cert_lifetime_days: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Snp {
    report_versions: Option<Vec<u32>>,
    measurements: Option<Vec<String>>,
    min_tcb: Option<BTreeMap<Product, Tcb>>,
    min_firmware: BTreeMap<Product, String>,
    denied_chips: Vec<String>,
    denied_products: Vec<Product>,
    host_data: Option<Vec<String>>,
    id_key_digests: Option<Vec<String>>,
    author_key_digests: Option<Vec<String>>,
    family_id: Option<String>,
    image_id: Option<String>,
    allow_vlek_csp_ids: Vec<String>,
    max_vmpl: u32,
    min_guest_svn: u32,
    allow_debug: bool,
    allow_migration_agent: bool,
    allow_smt: bool,
    allow_cxl: bool,
    allow_masked_chip_id: bool,
    allow_provisional_firmware: bool,
    allow_launch_below_minimum: bool,
    require_single_socket: bool,
    require_alias_check: bool,
    require_ciphertext_hiding: bool,
    require_ecc: bool,
    require_tsme: bool,
}

impl Default for Snp {
    fn default() -> Self {
        Self {
            report_versions: None,
            measurements: None,
            min_tcb: None,
            min_firmware: BTreeMap::new(),
            denied_chips: Vec::new(),
            // Milan's VCEK seed can be extracted in software (arXiv 2605.12990): a policy that wants it says so with a list of
            // its own.
            denied_products: vec![Product::Milan],
            host_data: None,
            id_key_digests: None,
            author_key_digests: None,
            family_id: None,
            image_id: None,
            allow_vlek_csp_ids: Vec::new(),
            max_vmpl: 0,
            min_guest_svn: 0,
            allow_debug: false,
            allow_migration_agent: false,
            allow_smt: false,
            allow_cxl: false,
            allow_masked_chip_id: false,
            allow_provisional_firmware: false,
            allow_launch_below_minimum: false,
            require_single_socket: false,
            require_alias_check: true,
            require_ciphertext_hiding: false,
            require_ecc: false,
            require_tsme: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Session {
    max_age_seconds: u64,
    exchange_timeout_seconds: u64,
    max_frame_bytes: usize,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            max_age_seconds: MAX_CONNECTION_AGE.as_secs(),
            exchange_timeout_seconds: EXCHANGE_TIMEOUT.as_secs(),
            max_frame_bytes: MAX_FRAME_BYTES,
        }
    }
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            max_age: MAX_CONNECTION_AGE,
            exchange_timeout: EXCHANGE_TIMEOUT,
            max_frame_bytes: MAX_FRAME_BYTES,
        }
    }
}

fn default_clock_skew_seconds() -> u64 {
    DEFAULT_CLOCK_SKEW_SECONDS
}

fn default_max_cert_lifetime_days() -> u64 {
    DEFAULT_MAX_CERT_LIFETIME_DAYS
}

const HASH: &str = "a SHA-256 hash, 64 hexadecimal digits";
pub(super) const DIGEST: &str = "a SHA-384 digest, 96 hexadecimal digits";

impl Trust {
    fn rules(self) -> Result<TrustRules, PolicyError> {
        let roots = self.roots.ok_or(PolicyError::Missing("trust.roots"))?;
        let roots = hashes("trust.roots", &roots)?;
        let simulated_roots = hashes(
            "trust.dangerous_simulated_roots",
            &self.dangerous_simulated_roots,
        )?;
        if roots.is_empty() && simulated_roots.is_empty() {
            return Err(PolicyError::Empty("trust.roots"));
        }
        if !roots.is_disjoint(&simulated_roots) {
            return Err(PolicyError::RootTwice);
        }
        let (skew, lifetime) = (self.clock_skew_seconds, self.max_cert_lifetime_days);
        if skew > MAX_CLOCK_SKEW_SECONDS {
            let wanted = "at most 86400, a day";
            return Err(PolicyError::Invalid("trust.clock_skew_seconds", wanted));
        }
        if !(1..=MAX_CERT_LIFETIME_DAYS).contains(&lifetime) {
            let wanted = "between 1 and 9150, 25 years";
            return Err(PolicyError::Invalid("trust.max_cert_lifetime_days", wanted));
        }
        Ok(TrustRules {
            roots,
            simulated_roots,
            crl: self.crl,
            clock_skew: Duration::from_secs(skew),
            max_cert_lifetime: days(lifetime),
        })
    }
}

impl Snp {
    fn rules(self) -> Result<SnpRules, PolicyError> {
        let switches = self.switches();
        if switches.max_vmpl > 3 {
            return Err(PolicyError::Invalid("snp.max_vmpl", "0, 1, 2 or 3"));
        }
        let measurements = self
            .measurements
            .ok_or(PolicyError::Missing("snp.measurements"))?;
        let digests = |field, list: Option<Vec<String>>| {
            list.map(|list| filled(field, DIGEST, &list, KeyDigest::from_hex))
                .transpose()
        };
        let id = |field, text: Option<String>| {
            let wanted = "32 hexadecimal digits";
            text.map(|text| LaunchId::from_hex(&text).ok_or(PolicyError::Invalid(field, wanted)))
                .transpose()
        };
        let rules = SnpRules {
            report_versions: report_versions(self.report_versions)?,
            measurements: Some(filled(
                "snp.measurements",
                DIGEST,
                &measurements,
                Measurement::from_hex,
            )?),
            min_tcb: minimums(self.min_tcb)?,
            min_firmware: firmware(self.min_firmware)?,
            denied_chips: parsed(
                "snp.denied_chips",
                "a chip id, 128 hexadecimal digits",
                &self.denied_chips,
                ChipId::from_hex,
            )?,
            denied_products: self.denied_products.into_iter().collect(),
            host_data: self
                .host_data
                .map(|list| filled("snp.host_data", HASH, &list, HostData::from_hex))
                .transpose()?,
            id_key_digests: digests("snp.id_key_digests", self.id_key_digests)?,
            author_key_digests: digests("snp.author_key_digests", self.author_key_digests)?,
            family_id: id("snp.family_id", self.family_id)?,
            image_id: id("snp.image_id", self.image_id)?,
            allow_vlek_csp_ids: csp_ids(self.allow_vlek_csp_ids)?,
            switches,
        };
        signed_id_block(&rules)?;
        Ok(rules)
    }

    fn switches(&self) -> Switches {
        Switches {
            max_vmpl: self.max_vmpl,
            min_guest_svn: self.min_guest_svn,
            allow_debug: self.allow_debug,
            allow_migration_agent: self.allow_migration_agent,
            allow_smt: self.allow_smt,
            allow_cxl: self.allow_cxl,
            allow_masked_chip_id: self.allow_masked_chip_id,
            allow_provisional_firmware: self.allow_provisional_firmware,
            allow_launch_below_minimum: self.allow_launch_below_minimum,
            require_single_socket: self.require_single_socket,
            require_alias_check: self.require_alias_check,
            require_ciphertext_hiding: self.require_ciphertext_hiding,
            require_ecc: self.require_ecc,
            require_tsme: self.require_tsme,
        }
    }
}

impl Session {
    fn rules(self) -> Result<SessionRules, PolicyError> {
        if !(1..=MAX_CONNECTION_AGE.as_secs()).contains(&self.max_age_seconds) {
            let wanted = "between 1 and 3600";
            return Err(PolicyError::Invalid("session.max_age_seconds", wanted));
        }
        if !(1..=EXCHANGE_TIMEOUT.as_secs()).contains(&self.exchange_timeout_seconds) {
            let (field, wanted) = ("session.exchange_timeout_seconds", "between 1 and 10");
            return Err(PolicyError::Invalid(field, wanted));
        }
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&self.max_frame_bytes) {
            let wanted = "between 17408 and 65536";
            return Err(PolicyError::Invalid("session.max_frame_bytes", wanted));
        }
        Ok(SessionRules {
            max_age: Duration::from_secs(self.max_age_seconds),
            exchange_timeout: Duration::from_secs(self.exchange_timeout_seconds),
            max_frame_bytes: self.max_frame_bytes,
        })
    }
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
    let known = |version| KNOWN_VERSIONS.contains(version);
    if !versions.iter().all(known) {
        return Err(PolicyError::Invalid(FIELD, "a list of 2, 3, 4 and 5"));
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
        let wanted = "with fmc for turin and without it for the others";
        return Err(PolicyError::Invalid(FIELD, wanted));
    }
    Ok(table)
}

/// Who may sign the ID block is listed wherever something that it says is asked for: the host brings the block, and writes into
/// one of its own whatever is wanted. An author key of zeros is none, under which any identity key may sign.
fn signed_id_block(rules: &SnpRules) -> Result<(), PolicyError> {
    let authors = rules.author_key_digests.as_ref();
    let author = authors.is_some_and(|listed| !listed.contains(&KeyDigest::new([0; 48])));
    if rules.id_key_digests.is_some() || author {
        return Ok(());
    }
    for (asked, field) in [
        (rules.switches.min_guest_svn > 0, "snp.min_guest_svn"),
        (rules.family_id.is_some(), "snp.family_id"),
        (rules.image_id.is_some(), "snp.image_id"),
    ] {
        if asked {
            return Err(PolicyError::UnsignedIdBlock(field));
        }
    }
    Ok(())
}

fn firmware(
    table: BTreeMap<Product, String>,
) -> Result<BTreeMap<Product, FirmwareVersion>, PolicyError> {
    let read = |(product, text): (Product, String)| {
        let wanted = "a version like \"1.55.40\" for each product";
        let version = FirmwareVersion::from_text(&text)
            .ok_or(PolicyError::Invalid("snp.min_firmware", wanted))?;
        Ok((product, version))
    };
    table.into_iter().map(read).collect()
}

fn csp_ids(list: Vec<String>) -> Result<BTreeSet<String>, PolicyError> {
    let set: BTreeSet<String> = list.into_iter().collect();
    if set.contains("") {
        let wanted = "the text of a VLEK's CSP id, as `consort attest report` prints it";
        return Err(PolicyError::Invalid("snp.allow_vlek_csp_ids", wanted));
    }
    Ok(set)
}

fn hashes(field: &'static str, list: &[String]) -> Result<BTreeSet<[u8; 32]>, PolicyError> {
    parsed(field, HASH, list, |text| {
        HostData::from_hex(text).map(|hash| *hash.as_bytes())
    })
}

pub(super) fn filled<T: Ord>(
    field: &'static str,
    wanted: &'static str,
    list: &[String],
    read: fn(&str) -> Option<T>,
) -> Result<BTreeSet<T>, PolicyError> {
    let set = parsed(field, wanted, list, read)?;
    if set.is_empty() {
        Err(PolicyError::Empty(field))
    } else {
        Ok(set)
    }
}

pub(super) fn parsed<T: Ord>(
    field: &'static str,
    wanted: &'static str,
    list: &[String],
    read: impl Fn(&str) -> Option<T>,
) -> Result<BTreeSet<T>, PolicyError> {
    list.iter()
        .map(|text| read(text).ok_or(PolicyError::Invalid(field, wanted)))
        .collect()
}
