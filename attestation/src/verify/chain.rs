//! The certificate: its own form, its chain to a pinned root, that the report is its key's, and that it is still believed.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::{Checks, TrustedAnchor, Verifier};
use crate::certificate::{Dates, Endorsement, EndorsementKey, name_value, oid};
use crate::machine::ChipId;
use crate::policy::CrlRule;
use crate::reason::Reason;
use crate::snp::{self, Report};
use crate::trust::Signer;

/// How many checked certificates are remembered. One peer has one or a few; a full cache is emptied, which costs time alone.
const MAX_CACHED_CERTIFICATES: usize = 1024;

/// A VCEK or VLEK whose chain to a pinned root was found good. What depends on the time is looked at every time.
pub(super) struct CheckedEndorsement {
    pub(super) endorsement: Endorsement,
    /// Of the certificate alone.
    own_dates: Dates,
    /// Where in the verifier's lists its root and its signer stand.
    anchor: usize,
    signer: usize,
    pub(super) simulated: bool,
    pub(super) root: [u8; 32],
}

impl Verifier {
    /// The certificate's own form, its product, and its chain to a pinned root; all of that once per certificate.
    pub(super) fn check_endorsement(
        &self,
        checks: &mut Checks,
        der: &[u8],
        key: EndorsementKey,
    ) -> Result<Arc<CheckedEndorsement>, Reason> {
        // An explanation looks at everything itself.
        if checks.is_explaining() {
            return self.check_endorsement_anew(checks, der, key).map(Arc::new);
        }
        let cache_key = (Sha256::digest(der).into(), key);
        let cached = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&cache_key)
            .cloned();
        if let Some(checked) = cached {
            return Ok(checked);
        }
        let checked = Arc::new(self.check_endorsement_anew(checks, der, key)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED_CERTIFICATES {
            cache.clear();
        }
        cache.insert(cache_key, Arc::clone(&checked));
        Ok(checked)
    }

    fn check_endorsement_anew(
        &self,
        checks: &mut Checks,
        der: &[u8],
        key: EndorsementKey,
    ) -> Result<CheckedEndorsement, Reason> {
        let parsed = Endorsement::parse(der, key);
        let endorsement = checks.parsed(Endorsement::CHECKS, parsed, |parsed| {
            format!("{} for {}, {}", parsed.key, parsed.product, parsed.tcb)
        })?;
        let (rules, product) = (&self.policy.snp, endorsement.product);
        checks.require(
            !rules.denied_products.contains(&product),
            Reason::ProductDenied,
            || (product.to_string(), none_of(&rules.denied_products)),
        )?;
        checks.require(
            rules.min_tcb.contains_key(&product),
            Reason::ProductWithoutMinimum,
            || (product.to_string(), "a minimum for it".to_owned()),
        )?;
        checks.require(
            endorsement.is_named_rightly(),
            Reason::CertificateName,
            || {
                let (subject, issuer) = endorsement.right_names();
                (names(&endorsement), format!("{subject} by {issuer}"))
            },
        )?;
        check_csp(checks, &endorsement, &rules.allow_vlek_csp_ids)?;
        let (anchor, signer) = self.check_issuer(checks, &endorsement)?;
        let trusted = &self.anchors[anchor];
        Ok(CheckedEndorsement {
            own_dates: Dates::of(&endorsement.certificate),
            simulated: trusted.simulated,
            root: trusted.anchor.ark_hash,
            anchor,
            signer,
            endorsement,
        })
    }

    /// Which trusted key signed the certificate.
    fn check_issuer(
        &self,
        checks: &mut Checks,
        endorsement: &Endorsement,
    ) -> Result<(usize, usize), Reason> {
        let issuer = &endorsement.certificate.tbs_certificate.issuer;
        let named: Vec<_> = self
            .signers()
            .filter(|(_, _, signer)| {
                signer.signs == endorsement.key
                    && signer.certificate.tbs_certificate.subject == *issuer
            })
            .collect();
        checks.require(!named.is_empty(), Reason::ChainUnknownRoot, || {
            (
                issuer.to_string(),
                "a trusted root's ASK or ASVK".to_owned(),
            )
        })?;
        let signed = named.iter().position(|(_, _, signer)| {
            snp::is_issued_by(&endorsement.certificate, &signer.certificate)
        });
        // Only an explanation goes on where none signed, with the first of that name.
        let (anchor, signer, _) = named
            .get(signed.unwrap_or_default())
            .ok_or(Reason::ChainSignature)?;
        checks.require(signed.is_some(), Reason::ChainSignature, || {
            let root = hex::encode(self.anchors[*anchor].anchor.ark_hash);
            match signed {
                Some(_) => (format!("signed under root {root}"), String::new()),
                None => (String::new(), format!("signed under root {root}")),
            }
        })?;
        Ok((*anchor, *signer))
    }

    fn signers(&self) -> impl Iterator<Item = (usize, usize, &Signer)> {
        let anchors = self.anchors.iter().enumerate();
        anchors.flat_map(|(anchor, trusted)| {
            let signers = trusted.anchor.signers.iter().enumerate();
            signers.map(move |(signer, it)| (anchor, signer, it))
        })
    }

    /// The certificate is for this product, this chip and this firmware level, and its key signed the report. Tells the chip,
    /// which a VCEK names even where its host has reports hide it.
    pub(super) fn check_report_against(
        &self,
        checks: &mut Checks,
        report: &Report,
        checked: &CheckedEndorsement,
    ) -> Result<ChipId, Reason> {
        let endorsement = &checked.endorsement;
        // A report of version 2 names no product. Its chip id and its TCB's layout still have to agree with the certificate's.
        let product = report.product();
        checks.require(
            product.is_none_or(|product| product == Ok(endorsement.product)),
            Reason::VcekProduct,
            || {
                let says = match product {
                    None => "version 2 does not tell".to_owned(),
                    Some(Ok(product)) => product.to_string(),
                    Some(Err(())) => "a processor unknown here".to_owned(),
                };
                (says, endorsement.product.to_string())
            },
        )?;
        let chip_id = self.check_chip(checks, report, endorsement)?;
        checks.require(
            report.reported_tcb() == endorsement.tcb,
            Reason::VcekTcb,
            || {
                (
                    report.reported_tcb().to_string(),
                    endorsement.tcb.to_string(),
                )
            },
        )?;
        checks.require(
            report.is_signed_by(&endorsement.certificate),
            Reason::ReportSignature,
            || {
                let wanted = format!("ECDSA P-384 by the {}", endorsement.key);
                (String::new(), wanted)
            },
        )?;
        Ok(chip_id)
    }

    fn check_chip(
        &self,
        checks: &mut Checks,
        report: &Report,
        endorsement: &Endorsement,
    ) -> Result<ChipId, Reason> {
        let (chip_id, allowed) = (
            report.chip_id(),
            self.policy.snp.switches.allow_masked_chip_id,
        );
        let masked = chip_id == ChipId::HIDDEN;
        checks.require(!masked || allowed, Reason::ChipIdMasked, || {
            let wanted = if allowed { "shown or hidden" } else { "shown" };
            (
                if masked { "hidden" } else { "shown" }.to_owned(),
                wanted.to_owned(),
            )
        })?;
        if endorsement.key == EndorsementKey::Vlek {
            checks.not_judged(Reason::VcekChipId, || {
                (chip_id.to_string(), "a VLEK names no chip".to_owned())
            });
            return Ok(chip_id);
        }
        let named = endorsement.chip();
        checks.require(masked || Some(chip_id) == named, Reason::VcekChipId, || {
            let wanted = named.map_or(String::new(), |named| named.to_string());
            (chip_id.to_string(), wanted)
        })?;
        Ok(named.unwrap_or(chip_id))
    }

    /// Dates of the whole chain, and what the root has revoked.
    pub(super) fn check_validity(
        &self,
        checks: &mut Checks,
        checked: &CheckedEndorsement,
        now: SystemTime,
    ) -> Result<(), Reason> {
        let rules = &self.policy.trust;
        let trusted = &self.anchors[checked.anchor];
        let signer = &trusted.anchor.signers[checked.signer];
        let (dates, skew) = (signer.dates.and(checked.own_dates), rules.clock_skew);
        let says = || {
            let (from, until) = (when(dates.not_before), when(dates.not_after));
            (format!("{from} to {until}"), when(now))
        };
        let begun = dates.not_before <= now + skew;
        checks.require(begun, Reason::CertificateNotYetValid, says)?;
        let lasts = now <= dates.not_after + skew;
        checks.require(lasts, Reason::CertificateExpired, says)?;
        let (lifetime, longest) = (checked.own_dates.lifetime(), rules.max_cert_lifetime);
        checks.require(lifetime <= longest, Reason::CertificateLifetime, || {
            let days = |duration: std::time::Duration| duration.as_secs() / 86_400;
            let (says, wanted) = (days(lifetime), days(longest));
            (format!("{says} days"), format!("at most {wanted} days"))
        })?;
        self.check_revocation(checks, trusted, signer, now)
    }

    fn check_revocation(
        &self,
        checks: &mut Checks,
        trusted: &TrustedAnchor,
        signer: &Signer,
        now: SystemTime,
    ) -> Result<(), Reason> {
        let rules = &self.policy.trust;
        let rule = rules.crl.unwrap_or(if trusted.simulated {
            CrlRule::IfGiven
        } else {
            CrlRule::Required
        });
        let Some(newest) = trusted.anchor.newest_crl() else {
            let words = || ("no list given".to_owned(), crl_wanted(rule).to_owned());
            if rule == CrlRule::IfGiven {
                for check in [
                    Reason::CrlMissing,
                    Reason::CrlNotYetValid,
                    Reason::CrlStale,
                    Reason::CertificateRevoked,
                ] {
                    checks.not_judged(check, words);
                }
            }
            return match rule {
                CrlRule::IfGiven => Ok(()),
                CrlRule::Required => checks.require(false, Reason::CrlMissing, words),
            };
        };
        checks.require(true, Reason::CrlMissing, || {
            let says = format!("{} certificates revoked", newest.len());
            (says, crl_wanted(rule).to_owned())
        })?;
        checks.require(
            newest.this_update <= now + rules.clock_skew,
            Reason::CrlNotYetValid,
            || (format!("from {}", when(newest.this_update)), when(now)),
        )?;
        checks.require(
            now <= newest.next_update + rules.clock_skew,
            Reason::CrlStale,
            || (format!("until {}", when(newest.next_update)), when(now)),
        )?;
        let revoked = trusted
            .anchor
            .crls
            .iter()
            .any(|crl| crl.revokes(&signer.certificate));
        checks.require(!revoked, Reason::CertificateRevoked, || {
            let serial = &signer.certificate.tbs_certificate.serial_number;
            (format!("signing key {serial}"), "not revoked".to_owned())
        })
    }
}

fn check_csp(
    checks: &mut Checks,
    endorsement: &Endorsement,
    listed: &std::collections::BTreeSet<String>,
) -> Result<(), Reason> {
    match &endorsement.csp_id {
        None => {
            checks.not_judged(Reason::CspId, || {
                (String::new(), "a VCEK belongs to a chip".to_owned())
            });
            Ok(())
        }
        Some(csp_id) => checks.require(listed.contains(csp_id), Reason::CspId, || {
            (csp_id.clone(), format!("one of {listed:?}"))
        }),
    }
}

fn crl_wanted(rule: CrlRule) -> &'static str {
    match rule {
        CrlRule::Required => "a fresh list",
        CrlRule::IfGiven => "none is required",
    }
}

fn names(endorsement: &Endorsement) -> String {
    let tbs = &endorsement.certificate.tbs_certificate;
    let name = |name| name_value(name, oid::COMMON_NAME).unwrap_or("nobody");
    format!("{} by {}", name(&tbs.subject), name(&tbs.issuer))
}

fn none_of<T: std::fmt::Display>(list: &std::collections::BTreeSet<T>) -> String {
    let list: Vec<_> = list.iter().map(ToString::to_string).collect();
    if list.is_empty() {
        "any".to_owned()
    } else {
        format!("not {}", list.join(", "))
    }
}

/// A time as certificates write it.
pub(super) fn when(time: SystemTime) -> String {
    x509_cert::der::DateTime::from_system_time(time).map_or_else(
        |_| "a time out of range".to_owned(),
        |time| time.to_string(),
    )
}
