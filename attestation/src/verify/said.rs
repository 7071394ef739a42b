//! What a signed report says: of the guest, of its platform, of the firmware, of the launch, of whose machine it is.

use super::{Checks, Verifier, Wanted};
use crate::machine::{ChipId, Product, Tcb};
use crate::reason::Reason;
use crate::snp::{Report, is_zero};
use crate::statements::ReportData;

/// Which of a policy's two values a bit must not have.
fn bit(bits: u64, index: u32) -> bool {
    bits >> index & 1 == 1
}

impl Verifier {
    /// What the host may do to the guest (AMD 56860, table 10).
    pub(super) fn check_guest(&self, checks: &mut Checks, report: &Report) -> Result<(), Reason> {
        let (allowed, policy) = (&self.policy.snp.switches, report.guest_policy());
        checks.require(report.vmpl() <= allowed.max_vmpl, Reason::Vmpl, || {
            (
                report.vmpl().to_string(),
                format!("at most {}", allowed.max_vmpl),
            )
        })?;
        checks.require(
            bit(policy, 17) && policy >> 26 == 0,
            Reason::GuestPolicyReserved,
            || {
                let wanted = "bit 17, and none above 25".to_owned();
                (format!("{policy:#x}"), wanted)
            },
        )?;
        let forbidden = [
            (19, allowed.allow_debug, Reason::GuestDebug),
            (
                18,
                allowed.allow_migration_agent,
                Reason::GuestMigrationAgent,
            ),
            (16, allowed.allow_smt, Reason::GuestSmt),
            (21, allowed.allow_cxl, Reason::GuestCxl),
        ];
        for (index, allowed, reason) in forbidden {
            let set = bit(policy, index);
            checks.require(allowed || !set, reason, || {
                let wanted = if allowed { "either" } else { "not allowed" };
                (said(set, "allowed", "not allowed"), wanted.to_owned())
            })?;
        }
        let single = bit(policy, 20);
        checks.require(
            !allowed.require_single_socket || single,
            Reason::GuestSingleSocket,
            || {
                let says = said(single, "one socket", "any sockets");
                (says, wanted(allowed.require_single_socket, "one socket"))
            },
        )
    }

    /// What the platform is (AMD 56860, table 25). Bits that are unknown here are recorded in the claims, not refused: real
    /// Turin reports set bit 6.
    pub(super) fn check_platform(
        &self,
        checks: &mut Checks,
        report: &Report,
    ) -> Result<(), Reason> {
        let (asked, platform) = (&self.policy.snp.switches, report.platform_info());
        let required = [
            (5, asked.require_alias_check, Reason::PlatformAliasCheck),
            (
                4,
                asked.require_ciphertext_hiding,
                Reason::PlatformCiphertextHiding,
            ),
            (2, asked.require_ecc, Reason::PlatformEcc),
            (1, asked.require_tsme, Reason::PlatformTsme),
        ];
        for (index, required, reason) in required {
            let set = bit(platform, index);
            checks.require(!required || set, reason, || {
                (said(set, "yes", "no"), wanted(required, "yes"))
            })?;
        }
        Ok(())
    }

    /// All four firmware levels, both versions, and that no other version can come back.
    pub(super) fn check_firmware(
        &self,
        checks: &mut Checks,
        report: &Report,
        product: Option<Product>,
    ) -> Result<(), Reason> {
        let Some(product) = product else {
            return Ok(());
        };
        let (rules, switches) = (&self.policy.snp, &self.policy.snp.switches);
        // The certificate's product has a minimum: that was checked with the certificate, and only an explanation goes on without.
        let minimum = rules.min_tcb.get(&product);
        let minimum = checks.go_on(minimum.ok_or(Reason::ProductWithoutMinimum))?;
        let levels = [
            (report.current_tcb(), Reason::TcbCurrent, false),
            (report.committed_tcb(), Reason::TcbCommitted, false),
            (report.reported_tcb(), Reason::TcbReported, false),
            (
                report.launch_tcb(),
                Reason::TcbLaunch,
                switches.allow_launch_below_minimum,
            ),
        ];
        for (level, reason, allowed) in levels {
            let Some(minimum) = minimum else {
                checks.not_judged(reason, || {
                    let wanted = format!("the policy has no minimum for {product}");
                    (level.to_string(), wanted)
                });
                continue;
            };
            checks.require(allowed || level.reaches(minimum), reason, || {
                let wanted = if allowed {
                    "any".to_owned()
                } else {
                    format!("at least {minimum}")
                };
                (level.to_string(), wanted)
            })?;
        }
        let (current, committed) = (report.current_firmware(), report.committed_firmware());
        let minimum = rules.min_firmware.get(&product);
        for (version, reason) in [
            (current, Reason::FirmwareCurrent),
            (committed, Reason::FirmwareCommitted),
        ] {
            let reaches = minimum.is_none_or(|minimum| version >= *minimum);
            checks.require(reaches, reason, || {
                let wanted = minimum.map_or("any".to_owned(), |it| format!("at least {it}"));
                (version.to_string(), wanted)
            })?;
        }
        let allowed = switches.allow_provisional_firmware;
        let (running, kept) = (report.current_tcb(), report.committed_tcb());
        checks.require(
            allowed || current == committed && is_committed(&running, &kept),
            Reason::FirmwareProvisional,
            || {
                let says = format!("runs {current} ({running}), committed {committed} ({kept})");
                (says, wanted(!allowed, "the same, but for microcode"))
            },
        )
    }

    /// Which software was launched, and who signed the launch.
    pub(super) fn check_launch(
        &self,
        checks: &mut Checks,
        report: &Report,
        asked: &Wanted,
    ) -> Result<(), Reason> {
        let rules = &self.policy.snp;
        let (svn, least) = (report.guest_svn(), rules.switches.min_guest_svn);
        checks.require(svn >= least, Reason::GuestSvn, || {
            (svn.to_string(), format!("at least {least}"))
        })?;
        for (reason, says, one) in [
            (Reason::FamilyId, report.family_id(), rules.family_id),
            (Reason::ImageId, report.image_id(), rules.image_id),
        ] {
            let holds = one.is_none_or(|one| *one.as_bytes() == says);
            checks.require(holds, reason, || {
                let wanted = one.map_or("any".to_owned(), |one| one.to_string());
                (hex::encode(says), wanted)
            })?;
        }
        self.check_measurement(checks, report, asked)?;
        for (reason, says, listed) in [
            (
                Reason::IdKeyDigest,
                report.id_key_digest(),
                &rules.id_key_digests,
            ),
            (
                Reason::AuthorKeyDigest,
                report.author_key_digest(),
                &rules.author_key_digests,
            ),
        ] {
            let holds = listed
                .as_ref()
                .is_none_or(|listed| listed.iter().any(|it| *it.as_bytes() == says));
            checks.require(holds, reason, || {
                (hex::encode(says), one_of(listed.as_ref()))
            })?;
        }
        Ok(())
    }

    fn check_measurement(
        &self,
        checks: &mut Checks,
        report: &Report,
        asked: &Wanted,
    ) -> Result<(), Reason> {
        let (says, listed) = (report.measurement(), &self.policy.snp.measurements);
        if listed.is_none() && asked.measurement.is_none() {
            checks.not_judged(Reason::Measurement, || {
                (says.to_string(), "no policy says".to_owned())
            });
            return Ok(());
        }
        let holds = listed.as_ref().is_none_or(|listed| listed.contains(&says))
            && asked.measurement.is_none_or(|asked| asked == says);
        checks.require(holds, Reason::Measurement, || {
            let wanted = asked.measurement.map(|asked| asked.to_string());
            let wanted = wanted.unwrap_or_else(|| one_of(listed.as_ref()));
            (says.to_string(), wanted)
        })
    }

    /// Whose machine it is, and which statement it was asked for.
    pub(super) fn check_whose(
        &self,
        checks: &mut Checks,
        report: &Report,
        chip_id: ChipId,
        asked: &Wanted,
    ) -> Result<(), Reason> {
        let rules = &self.policy.snp;
        let host_data = report.host_data();
        let listed = rules
            .host_data
            .as_ref()
            .is_none_or(|list| list.contains(&host_data));
        checks.require(listed, Reason::HostDataPolicy, || {
            (host_data.to_string(), one_of(rules.host_data.as_ref()))
        })?;
        compare(checks, Reason::HostData, host_data, asked.host_data)?;
        let denied = rules.denied_chips.contains(&chip_id);
        checks.require(!denied, Reason::ChipDenied, || {
            let wanted = format!("not one of {} denied", rules.denied_chips.len());
            (chip_id.to_string(), wanted)
        })?;
        compare(checks, Reason::ChipId, chip_id, asked.chip_id)?;
        let (says, wants) = (report.report_data(), asked.report_data);
        let report_data = hex::encode(says.as_bytes());
        match wants {
            None => checks.not_judged(Reason::ReportDataParavisor, || {
                let what = said(is_short(&says), "32 bytes and zeros", "64 bytes");
                (what, "nobody says".to_owned())
            }),
            Some(wants) => checks.require(
                says == wants || is_short(&wants) || !is_short(&says),
                Reason::ReportDataParavisor,
                || {
                    let wanted = "a statement of 64 bytes".to_owned();
                    (report_data.clone(), wanted)
                },
            )?,
        }
        let asked = asked.report_data.map(|asked| hex::encode(asked.as_bytes()));
        compare(checks, Reason::ReportData, report_data, asked)
    }
}

/// Whether report data has 32 bytes and zeros behind them: a SHA-256, as paravisors write. Ours are SHA-512.
fn is_short(report_data: &ReportData) -> bool {
    let (first, second) = report_data.as_bytes().split_at(32);
    !is_zero(first) && is_zero(second)
}

/// Whether what runs is what was committed. Microcode may be ahead: the operating system loads it, and no SNP_COMMIT follows; a
/// cloud provider's real report shows it so.
fn is_committed(running: &Tcb, committed: &Tcb) -> bool {
    Tcb {
        microcode: committed.microcode,
        ..*running
    } == *committed
}

/// What the report says is what somebody wants, if anybody wants something.
#[track_caller]
pub(super) fn compare<T: PartialEq + std::fmt::Display>(
    checks: &mut Checks,
    reason: Reason,
    says: T,
    asked: Option<T>,
) -> Result<(), Reason> {
    match asked {
        None => {
            checks.not_judged(reason, || (says.to_string(), "nobody says".to_owned()));
            Ok(())
        }
        Some(asked) => checks.require(says == asked, reason, || {
            (says.to_string(), asked.to_string())
        }),
    }
}

fn said(set: bool, yes: &str, no: &str) -> String {
    if set { yes } else { no }.to_owned()
}

fn wanted(required: bool, what: &str) -> String {
    if required { what } else { "either" }.to_owned()
}

pub(super) fn one_of<T: std::fmt::Display>(
    listed: Option<&std::collections::BTreeSet<T>>,
) -> String {
    match listed {
        None => "any".to_owned(),
        Some(listed) => {
            let listed: Vec<_> = listed.iter().map(ToString::to_string).collect();
            listed.join(" or ")
        }
    }
}
