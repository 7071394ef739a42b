//! The checks on a quote of Intel TDX: its form, its root, what Intel's rules make of it, and what the TD is.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::chain::when;
use super::claims::{Claims, TdxClaims};
use super::said::{compare, one_of};
use super::{Checks, Verifier, Wanted};
use crate::certificate::Dates;
use crate::machine::{ChipId, HostData, Measurement};
use crate::policy::{TcbStatus, TdxRules};
use crate::reason::Reason;
use crate::snp::is_zero;
use crate::statements::ReportData;
use crate::tdx::{Appraisal, Collateral, PlatformFlags, Quote, Td, VERDICTS, appraise, version};

/// The features that every TD has: x87 and SSE (Intel TDX Module ABI, XFAM_FIXED1).
const FIXED_XFAM: u64 = 0x3;

/// The attribute PERFMON (Intel TDX Module ABI, TD attributes).
const PERFMON: u32 = 63;

impl Verifier {
    /// The list for quotes. There are no claims where an explanation went on without what they are made of.
    pub(super) fn judge_quote(
        &self,
        checks: &mut Checks,
        raw: &[u8],
        wanted: &Wanted,
        now: SystemTime,
    ) -> Result<Option<Claims>, Reason> {
        let rules = &self.policy.tdx;
        let (version, listed) = (version(raw), &rules.quote_versions);
        checks.require(listed.contains(&version), Reason::TdxQuoteVersion, || {
            (version.to_string(), format!("one of {listed:?}"))
        })?;
        let quote = checks.parsed(Quote::CHECKS, Quote::parse(raw), |quote| {
            quote.body().to_owned()
        })?;
        let collateral = self.check_collateral(checks, &quote, now);
        let collateral = checks.go_on(collateral)?;
        let appraisal = match collateral {
            Some(collateral) => {
                let then = at(now, quote.dates.and(collateral.dates));
                let appraised = appraise(&quote, collateral, then);
                let appraised = checks.parsed(VERDICTS, appraised, |_| {
                    "as Intel's rules have it".to_owned()
                });
                checks.go_on(appraised)?
            }
            None => None,
        };
        if let Some(appraisal) = &appraisal {
            check_status(checks, appraisal, rules)?;
        }
        check_platform(checks, quote.flags, rules)?;
        let td = quote.td();
        check_module(checks, &td, rules)?;
        check_td(checks, &td, rules)?;
        check_whose(checks, &td, quote.platform, rules, wanted)?;
        let (Some(collateral), Some(appraisal)) = (collateral, appraisal) else {
            return Ok(None);
        };
        let simulated = self
            .policy
            .simulated_roots()
            .contains(&collateral.root_hash);
        let claims = TdxClaims::of(&quote, &td, appraisal);
        Ok(checks
            .first_failure()
            .is_none()
            .then(|| Claims::of_quote(simulated, collateral.root_hash, &quote, &td, claims)))
    }

    /// The quote's root is pinned, there is collateral under it for the quote's platform, and all of that is valid now.
    fn check_collateral(
        &self,
        checks: &mut Checks,
        quote: &Quote,
        now: SystemTime,
    ) -> Result<&Collateral, Reason> {
        let policy = &self.policy;
        let pinned = policy.roots().contains(&quote.root_hash)
            || policy.simulated_roots().contains(&quote.root_hash);
        checks.require(pinned, Reason::TdxUnknownRoot, || {
            let root = hex::encode(quote.root_hash);
            (root, "a pinned root".to_owned())
        })?;
        let known = self
            .collateral
            .iter()
            .find(|it| (it.root_hash, it.fmspc) == (quote.root_hash, quote.fmspc));
        checks.require(known.is_some(), Reason::TdxCollateralMissing, || {
            let family = hex::encode_upper(quote.fmspc);
            (format!("FMSPC {family}"), "collateral for it".to_owned())
        })?;
        if let Some(known) = known {
            let (says, about) = (quote.pce_id, known.pce_id);
            checks.require(says == about, Reason::TdxPceId, || {
                (hex::encode(says), hex::encode(about))
            })?;
        }
        let skew = policy.trust.clock_skew;
        let (dates, own) = (quote.dates, "the quote's certificates");
        let says = |dates: Dates, what: &str| {
            let (from, until) = (when(dates.not_before), when(dates.not_after));
            (format!("{what}: {from} to {until}"), when(now))
        };
        let begun = dates.not_before <= now + skew;
        checks.require(begun, Reason::TdxCertificateNotYetValid, || {
            says(dates, own)
        })?;
        let lasts = now <= dates.not_after + skew;
        checks.require(lasts, Reason::TdxCertificateExpired, || says(dates, own))?;
        // That there is some was checked above; only an explanation goes on without.
        let collateral = known.ok_or(Reason::TdxAppraisal)?;
        let (dates, whole) = (collateral.dates, "all of the collateral");
        let begun = dates.not_before <= now + skew;
        checks.require(begun, Reason::TdxCollateralNotYetValid, || {
            says(dates, whole)
        })?;
        let lasts = now <= dates.not_after + skew;
        checks.require(lasts, Reason::TdxCollateralStale, || says(dates, whole))?;
        let least = policy.tdx.min_evaluation_number;
        let number = collateral.evaluation_number;
        checks.require(number >= least, Reason::TdxEvaluationNumber, || {
            (number.to_string(), format!("at least {least}"))
        })?;
        Ok(collateral)
    }
}

/// The time nearest to now at which all of these dates hold: they do now, but for clocks that differ. The library takes a revocation list as
/// ended in the very second that it names.
fn at(now: SystemTime, dates: Dates) -> SystemTime {
    let last = dates.not_after - Duration::from_secs(1);
    now.min(last).max(dates.not_before)
}

/// How the platform is configured. What a PCK does not say, as one of Intel's Processor CA does not, is not judged, as in Intel's own rules.
fn check_platform(
    checks: &mut Checks,
    flags: PlatformFlags,
    rules: &TdxRules,
) -> Result<(), Reason> {
    for (reason, says, allowed) in [
        (Reason::TdxSmt, flags.smt, rules.allow_smt),
        (
            Reason::TdxDynamicPlatform,
            flags.dynamic_platform,
            rules.allow_dynamic_platform,
        ),
        (
            Reason::TdxCachedKeys,
            flags.cached_keys,
            rules.allow_cached_keys,
        ),
    ] {
        let Some(says) = says else {
            checks.not_judged(reason, || {
                (String::new(), "the PCK does not say".to_owned())
            });
            continue;
        };
        checks.require(allowed || !says, reason, || {
            let word = |yes| if yes { "yes" } else { "no" }.to_owned();
            (
                word(says),
                if allowed {
                    "either".to_owned()
                } else {
                    word(false)
                },
            )
        })?;
    }
    Ok(())
}

/// Intel's word for the firmware level, and the advisories that it is open to.
fn check_status(
    checks: &mut Checks,
    appraisal: &Appraisal,
    rules: &TdxRules,
) -> Result<(), Reason> {
    let listed = |status: &TcbStatus| status.name() == appraisal.status;
    checks.require(
        rules.tcb_statuses.iter().any(listed),
        Reason::TdxTcbStatus,
        || (appraisal.status.clone(), one_of(Some(&rules.tcb_statuses))),
    )?;
    let open: Vec<_> = appraisal
        .advisories
        .iter()
        .filter(|advisory| !rules.accepted_advisories.contains(*advisory))
        .collect();
    checks.require(open.is_empty(), Reason::TdxAdvisory, || {
        let accepted = one_of(Some(&rules.accepted_advisories));
        (
            format!("{:?}", appraisal.advisories),
            format!("none but {accepted}"),
        )
    })
}

/// Which TDX module runs the TD.
fn check_module(checks: &mut Checks, td: &Td, rules: &TdxRules) -> Result<(), Reason> {
    let reaches = |levels: &[u8; 16]| {
        let mut pairs = levels.iter().zip(&rules.min_tee_tcb_svn);
        pairs.all(|(level, minimum)| level >= minimum)
    };
    let reached = reaches(&td.tee_tcb_svn) && td.tee_tcb_svn2.as_ref().is_none_or(reaches);
    checks.require(reached, Reason::TdxTeeTcbSvn, || {
        let mut says = hex::encode(td.tee_tcb_svn);
        if let Some(now) = td.tee_tcb_svn2 {
            says = format!("{says} at launch, {} now", hex::encode(now));
        }
        (
            says,
            format!("at least {}", hex::encode(rules.min_tee_tcb_svn)),
        )
    })?;
    listed(
        checks,
        Reason::TdxMrSeam,
        td.mr_seam,
        rules.mr_seam.as_ref(),
    )
}

/// What the TD may do, and which software was launched in it.
fn check_td(checks: &mut Checks, td: &Td, rules: &TdxRules) -> Result<(), Reason> {
    let (xfam, allowed) = (td.xfam, rules.allowed_xfam);
    checks.require(
        xfam & !allowed == 0 && xfam & FIXED_XFAM == FIXED_XFAM,
        Reason::TdxXfam,
        || (format!("{xfam:#x}"), format!("no bit beside {allowed:#x}")),
    )?;
    let perfmon = td.attributes >> PERFMON & 1 == 1;
    checks.require(rules.allow_perfmon || !perfmon, Reason::TdxPerfmon, || {
        let allowed = rules.allow_perfmon;
        let says = if perfmon { "counts" } else { "does not count" };
        let wanted = if allowed { "either" } else { "does not count" };
        (says.to_owned(), wanted.to_owned())
    })?;
    if rules.mr_td.is_none() {
        checks.not_judged(Reason::TdxMrTd, || {
            (td.mr_td.to_string(), "no policy says".to_owned())
        });
    } else {
        listed(checks, Reason::TdxMrTd, td.mr_td, rules.mr_td.as_ref())?;
    }
    for (reason, says, list) in [
        (Reason::TdxMrConfigId, td.mr_config_id, &rules.mr_config_ids),
        (Reason::TdxMrOwner, td.mr_owner, &rules.mr_owners),
        (
            Reason::TdxMrOwnerConfig,
            td.mr_owner_config,
            &rules.mr_owner_configs,
        ),
        (Reason::TdxRtmr0, td.rtmr[0], &rules.rtmr[0]),
        (Reason::TdxRtmr1, td.rtmr[1], &rules.rtmr[1]),
        (Reason::TdxRtmr2, td.rtmr[2], &rules.rtmr[2]),
        (Reason::TdxRtmr3, td.rtmr[3], &rules.rtmr[3]),
    ] {
        listed(checks, reason, says, list.as_ref())?;
    }
    Ok(())
}

/// Whose TD it is, and which statement it was asked for.
fn check_whose(
    checks: &mut Checks,
    td: &Td,
    platform: ChipId,
    rules: &TdxRules,
    asked: &Wanted,
) -> Result<(), Reason> {
    let configuration = asked.host_data.map(|host_data| mr_config_id_of(&host_data));
    compare(checks, Reason::HostData, td.mr_config_id, configuration)?;
    let denied = rules.denied_platforms.contains(&platform);
    checks.require(!denied, Reason::ChipDenied, || {
        let wanted = format!("not one of {} denied", rules.denied_platforms.len());
        (platform.to_string(), wanted)
    })?;
    match asked.chip_id {
        Some(ChipId::HIDDEN) => {
            let any = rules.allow_any_platform;
            checks.require(any, Reason::ChipId, || {
                let wanted = if any {
                    "any"
                } else {
                    "one of the organisation"
                };
                (platform.to_string(), wanted.to_owned())
            })?;
        }
        asked => compare(checks, Reason::ChipId, platform, asked)?,
    }
    let statement = |data: &ReportData| hex::encode(data.as_bytes());
    let asked = asked.report_data.as_ref().map(statement);
    compare(
        checks,
        Reason::ReportData,
        statement(&td.report_data),
        asked,
    )
}

/// MRCONFIGID has 48 bytes, and the launch configuration's hash 32: zeros follow.
fn mr_config_id_of(host_data: &HostData) -> Measurement {
    let mut bytes = [0; 48];
    bytes[..32].copy_from_slice(host_data.as_bytes());
    Measurement::new(bytes)
}

/// The launch configuration's hash that a TD's MRCONFIGID stands for, where it stands for one.
pub(crate) fn host_data_of(mr_config_id: &Measurement) -> Option<HostData> {
    let (hash, rest) = mr_config_id.as_bytes().split_first_chunk::<32>()?;
    is_zero(rest).then(|| HostData::new(*hash))
}

#[track_caller]
fn listed(
    checks: &mut Checks,
    reason: Reason,
    says: Measurement,
    list: Option<&BTreeSet<Measurement>>,
) -> Result<(), Reason> {
    let holds = list.is_none_or(|list| list.contains(&says));
    checks.require(holds, reason, || (says.to_string(), one_of(list)))
}
