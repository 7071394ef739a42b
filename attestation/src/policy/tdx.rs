//! The policy's section for Intel TDX: its fields, their defaults, and what each may hold.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::PolicyError;
use super::file::{DIGEST, filled, parsed};
use crate::machine::{ChipId, Measurement};
use crate::tdx::{KNOWN_VERSIONS, platform_id};

/// What the processor features may be that a TD uses, where the policy does not say: those that TDX 1.5 knows (XFAM_FIXED0 of Intel's
/// TDX module).
const KNOWN_XFAM: u64 = 0x0006_DBE7;

/// What a quote must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TdxRules {
    /// Empty only where the policy has no section: then nothing is accepted.
    pub(crate) quote_versions: BTreeSet<u16>,
    /// `None` only in [`super::Policy::vendors_roots_alone`], which judges no software.
    pub(crate) mr_td: Option<BTreeSet<Measurement>>,
    pub(crate) mr_seam: Option<BTreeSet<Measurement>>,
    pub(crate) mr_config_ids: Option<BTreeSet<Measurement>>,
    pub(crate) mr_owners: Option<BTreeSet<Measurement>>,
    pub(crate) mr_owner_configs: Option<BTreeSet<Measurement>>,
    pub(crate) rtmr: [Option<BTreeSet<Measurement>>; 4],
    pub(crate) tcb_statuses: BTreeSet<TcbStatus>,
    pub(crate) accepted_advisories: BTreeSet<String>,
    pub(crate) min_evaluation_number: u32,
    pub(crate) min_tee_tcb_svn: [u8; 16],
    pub(crate) allowed_xfam: u64,
    pub(crate) allow_perfmon: bool,
    pub(crate) allow_any_platform: bool,
    pub(crate) allow_smt: bool,
    pub(crate) allow_dynamic_platform: bool,
    pub(crate) allow_cached_keys: bool,
    pub(crate) denied_platforms: BTreeSet<ChipId>,
}

impl TdxRules {
    /// Accepts nothing: of a policy without the section.
    pub(crate) fn nothing() -> Self {
        Self {
            quote_versions: BTreeSet::new(),
            mr_td: Some(BTreeSet::new()),
            ..Self::any_software()
        }
    }

    /// What is asked of a quote when nobody says more. How the platform is configured is not judged: nearly every one has SMT.
    pub(crate) fn any_software() -> Self {
        Self {
            quote_versions: KNOWN_VERSIONS.collect(),
            mr_td: None,
            mr_seam: None,
            mr_config_ids: None,
            mr_owners: None,
            mr_owner_configs: None,
            rtmr: [const { None }; 4],
            tcb_statuses: BTreeSet::from([TcbStatus::UpToDate]),
            accepted_advisories: BTreeSet::new(),
            min_evaluation_number: 0,
            min_tee_tcb_svn: [0; 16],
            allowed_xfam: KNOWN_XFAM,
            allow_perfmon: false,
            allow_any_platform: false,
            allow_smt: true,
            allow_dynamic_platform: true,
            allow_cached_keys: true,
            denied_platforms: BTreeSet::new(),
        }
    }

    /// Whether any quote could be accepted.
    pub(crate) fn accept_any(&self) -> bool {
        !self.quote_versions.is_empty()
    }
}

/// Intel's words for a firmware level, but for the one that no policy accepts: a revoked one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum TcbStatus {
    UpToDate,
    #[serde(rename = "SWHardeningNeeded")]
    SwHardeningNeeded,
    ConfigurationNeeded,
    #[serde(rename = "ConfigurationAndSWHardeningNeeded")]
    ConfigurationAndSwHardeningNeeded,
    OutOfDate,
    OutOfDateConfigurationNeeded,
    #[serde(rename = "TDRelaunchAdvised")]
    TdRelaunchAdvised,
    #[serde(rename = "TDRelaunchAdvisedConfigurationNeeded")]
    TdRelaunchAdvisedConfigurationNeeded,
}

impl TcbStatus {
    /// The word as Intel writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TdRelaunchAdvised => "TDRelaunchAdvised",
            Self::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        }
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The section, as TOML has it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tdx {
    quote_versions: Option<Vec<u16>>,
    mr_td: Option<Vec<String>>,
    mr_seam: Option<Vec<String>>,
    mr_config_ids: Option<Vec<String>>,
    mr_owners: Option<Vec<String>>,
    mr_owner_configs: Option<Vec<String>>,
    rtmr0: Option<Vec<String>>,
    rtmr1: Option<Vec<String>>,
    rtmr2: Option<Vec<String>>,
    rtmr3: Option<Vec<String>>,
    tcb_statuses: Option<BTreeSet<TcbStatus>>,
    accepted_advisories: BTreeSet<String>,
    min_evaluation_number: u32,
    min_tee_tcb_svn: Option<String>,
    allowed_xfam: Option<String>,
    allow_perfmon: bool,
    allow_any_platform: bool,
    allow_smt: bool,
    allow_dynamic_platform: bool,
    allow_cached_keys: bool,
    denied_platforms: Vec<String>,
}

impl Tdx {
    pub(super) fn rules(self) -> Result<TdxRules, PolicyError> {
        const VERSIONS: &str = "tdx.quote_versions";
        let quote_versions: BTreeSet<u16> = self
            .quote_versions
            .ok_or(PolicyError::Missing(VERSIONS))?
            .into_iter()
            .collect();
        if quote_versions.is_empty() {
            return Err(PolicyError::Empty(VERSIONS));
        }
        if !quote_versions.iter().all(|it| KNOWN_VERSIONS.contains(it)) {
            return Err(PolicyError::Invalid(VERSIONS, "a list of 4 and 5"));
        }
        let digests = |field, list: Option<Vec<String>>| {
            list.map(|list| filled(field, DIGEST, &list, Measurement::from_hex))
                .transpose()
        };
        let tcb_statuses = self
            .tcb_statuses
            .unwrap_or_else(|| BTreeSet::from([TcbStatus::UpToDate]));
        if tcb_statuses.is_empty() {
            return Err(PolicyError::Empty("tdx.tcb_statuses"));
        }
        if self.accepted_advisories.contains("") {
            let wanted = "an advisory like \"INTEL-SA-00837\"";
            return Err(PolicyError::Invalid("tdx.accepted_advisories", wanted));
        }
        let mr_td = self.mr_td.ok_or(PolicyError::Missing("tdx.mr_td"))?;
        Ok(TdxRules {
            quote_versions,
            mr_td: digests("tdx.mr_td", Some(mr_td))?,
            mr_seam: digests("tdx.mr_seam", self.mr_seam)?,
            mr_config_ids: digests("tdx.mr_config_ids", self.mr_config_ids)?,
            mr_owners: digests("tdx.mr_owners", self.mr_owners)?,
            mr_owner_configs: digests("tdx.mr_owner_configs", self.mr_owner_configs)?,
            rtmr: [
                digests("tdx.rtmr0", self.rtmr0)?,
                digests("tdx.rtmr1", self.rtmr1)?,
                digests("tdx.rtmr2", self.rtmr2)?,
                digests("tdx.rtmr3", self.rtmr3)?,
            ],
            tcb_statuses,
            accepted_advisories: self.accepted_advisories,
            min_evaluation_number: self.min_evaluation_number,
            min_tee_tcb_svn: bytes("tdx.min_tee_tcb_svn", self.min_tee_tcb_svn)?
                .unwrap_or_default(),
            allowed_xfam: bytes("tdx.allowed_xfam", self.allowed_xfam)?
                .map_or(KNOWN_XFAM, u64::from_be_bytes),
            allow_perfmon: self.allow_perfmon,
            allow_any_platform: self.allow_any_platform,
            allow_smt: self.allow_smt,
            allow_dynamic_platform: self.allow_dynamic_platform,
            allow_cached_keys: self.allow_cached_keys,
            denied_platforms: parsed(
                "tdx.denied_platforms",
                "a platform's PPID, 32 hexadecimal digits",
                &self.denied_platforms,
                platform,
            )?,
        })
    }
}

fn platform(text: &str) -> Option<ChipId> {
    let mut ppid = [0; 16];
    hex::decode_to_slice(text, &mut ppid).ok()?;
    Some(platform_id(&ppid))
}

fn bytes<const N: usize>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<[u8; N]>, PolicyError> {
    let read = |text: String| {
        let mut bytes = [0; N];
        let wanted = if N == 8 {
            "16 hexadecimal digits"
        } else {
            "32 hexadecimal digits"
        };
        hex::decode_to_slice(text, &mut bytes).map_err(|_| PolicyError::Invalid(field, wanted))?;
        Ok(bytes)
    };
    text.map(read).transpose()
}
