//! The verifier: an ordered list of checks on evidence, cheap and structural ones first, each with a reason of its own.
//!
//! What a report says is looked at only after its signature was found good, so that a reason is always about something that
//! the machine really said. The verifier reads no clock and no network; time comes in, roots were given.

mod claims;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::certificate::{Dates, Vcek};
use crate::evidence::Evidence;
use crate::machine::{MachineBinding, Product};
use crate::policy::{Policy, PolicyError};
use crate::reason::Reason;
use crate::snp::{self, Report};
use crate::statements::ReportData;
use crate::trust::{Anchor, TrustStore};

pub use claims::Claims;

/// How many checked VCEKs are remembered. One peer has one or a few; a full cache is emptied, which costs time alone.
const MAX_CACHED_VCEKS: usize = 1024;

/// Judges evidence by one policy.
pub struct Verifier {
    policy: Policy,
    anchors: Vec<TrustedAnchor>,
    /// Chains that were found good, by SHA-256 of the VCEK. RSA is a third of a verification's cost.
    cache: Mutex<BTreeMap<[u8; 32], Arc<CheckedVcek>>>,
}

/// What evidence is compared with, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The machine that the organisation was enrolled with.
    pub machine: &'a MachineBinding,
    /// The statement that the machine was asked for.
    pub report_data: ReportData,
}

struct TrustedAnchor {
    anchor: Anchor,
    simulated: bool,
}

/// A VCEK whose chain to a pinned root was found good. Dates are looked at every time.
struct CheckedVcek {
    vcek: Vcek,
    dates: Dates,
    simulated: bool,
    root: [u8; 32],
}

impl Verifier {
    /// A verifier for a policy, with the roots that the policy pins. Roots that it does not pin are left out.
    ///
    /// # Errors
    /// [`PolicyError::RootNotGiven`] and [`PolicyError::SimulatedRootNotSpelled`].
    pub fn new(policy: Policy, store: &TrustStore) -> Result<Self, PolicyError> {
        for pinned in policy.roots.union(&policy.simulated_roots) {
            if !store
                .anchors()
                .iter()
                .any(|anchor| anchor.ark_hash == *pinned)
            {
                return Err(PolicyError::RootNotGiven(hex::encode(pinned)));
            }
        }
        let mut anchors = Vec::new();
        for anchor in store.anchors() {
            let simulated = policy.simulated_roots.contains(&anchor.ark_hash);
            if !simulated && !policy.roots.contains(&anchor.ark_hash) {
                continue;
            }
            if anchor.says_simulated && !simulated {
                return Err(PolicyError::SimulatedRootNotSpelled(hex::encode(
                    anchor.ark_hash,
                )));
            }
            anchors.push(TrustedAnchor {
                anchor: anchor.clone(),
                simulated,
            });
        }
        Ok(Self {
            policy,
            anchors,
            cache: Mutex::default(),
        })
    }

    /// The policy that evidence is judged by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges evidence: all checks, in order, the first that fails decides.
    ///
    /// # Errors
    /// The [`Reason`] of that check.
    ///
    /// # Security
    /// Good claims say that hardware of a pinned root signed `expected.report_data` for a guest that the policy accepts on the
    /// organisation's own machine. They do not say when: freshness is the statement's matter (a nonce, an exporter).
    /// Nothing here is secret, and nothing is done in constant time.
    pub fn verify(
        &self,
        evidence: &Evidence,
        expected: &Expected<'_>,
        now: SystemTime,
    ) -> Result<Claims, Reason> {
        let report = self.check_form(evidence)?;
        let checked = self.check_vcek(evidence.vcek_der())?;
        check_report_against_vcek(&report, &checked.vcek)?;
        self.check_dates(checked.dates, now)?;
        self.check_guest(&report)?;
        self.check_platform(&report, checked.vcek.product)?;
        self.check_identity(&report, expected)?;
        Ok(claims(&report, &checked))
    }

    /// What can be told from the report's bytes alone.
    fn check_form(&self, evidence: &Evidence) -> Result<Report, Reason> {
        require(
            self.policy
                .report_versions
                .contains(&snp::version(evidence.report())),
            Reason::ReportVersion,
        )?;
        let report = Report::parse(evidence.report())?;
        require(
            report.signature_algorithm() == snp::SIGNATURE_ALGORITHM,
            Reason::SignatureAlgorithm,
        )?;
        require(report.signed_with_vcek(), Reason::SigningKey)?;
        Ok(report)
    }

    /// The VCEK's own form, its product, and its chain to a pinned root; all of that once per VCEK.
    fn check_vcek(&self, der: &[u8]) -> Result<Arc<CheckedVcek>, Reason> {
        let hash = Sha256::digest(der).into();
        if let Some(checked) = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
        {
            return Ok(Arc::clone(checked));
        }
        let checked = Arc::new(self.check_vcek_anew(der)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED_VCEKS {
            cache.clear();
        }
        cache.insert(hash, Arc::clone(&checked));
        Ok(checked)
    }

    fn check_vcek_anew(&self, der: &[u8]) -> Result<CheckedVcek, Reason> {
        let vcek = Vcek::parse(der)?;
        require(
            !self.policy.denied_products.contains(&vcek.product),
            Reason::ProductDenied,
        )?;
        require(
            self.policy.min_tcb.contains_key(&vcek.product),
            Reason::ProductWithoutMinimum,
        )?;
        require(vcek.is_named_rightly(), Reason::CertificateName)?;
        let issuer = &vcek.certificate.tbs_certificate.issuer;
        let mut candidates = self
            .anchors
            .iter()
            .filter(|trusted| trusted.anchor.ask.tbs_certificate.subject == *issuer)
            .peekable();
        require(candidates.peek().is_some(), Reason::ChainUnknownRoot)?;
        let trusted = candidates
            .find(|trusted| snp::is_issued_by(&vcek.certificate, &trusted.anchor.ask))
            .ok_or(Reason::ChainSignature)?;
        Ok(CheckedVcek {
            dates: trusted.anchor.dates.and(Dates::of(&vcek.certificate)),
            simulated: trusted.simulated,
            root: trusted.anchor.ark_hash,
            vcek,
        })
    }

    fn check_dates(&self, dates: Dates, now: SystemTime) -> Result<(), Reason> {
        let skew = self.policy.clock_skew;
        require(
            dates.not_before <= now + skew,
            Reason::CertificateNotYetValid,
        )?;
        require(now <= dates.not_after + skew, Reason::CertificateExpired)
    }

    /// What the host may do to the guest (AMD 56860, table 10).
    fn check_guest(&self, report: &Report) -> Result<(), Reason> {
        let (allowed, bit) = (&self.policy.switches, |index: u32| {
            report.guest_policy >> index & 1 == 1
        });
        require(report.vmpl() <= allowed.max_vmpl, Reason::Vmpl)?;
        require(
            bit(17) && report.guest_policy >> 26 == 0,
            Reason::GuestPolicyReserved,
        )?;
        require(allowed.allow_debug || !bit(19), Reason::GuestDebug)?;
        require(
            allowed.allow_migration_agent || !bit(18),
            Reason::GuestMigrationAgent,
        )?;
        require(allowed.allow_smt || !bit(16), Reason::GuestSmt)?;
        require(allowed.allow_cxl || !bit(21), Reason::GuestCxl)?;
        require(
            !allowed.require_single_socket || bit(20),
            Reason::GuestSingleSocket,
        )
    }

    /// The machine under the guest: its switches (AMD 56860, table 25) and its firmware.
    fn check_platform(&self, report: &Report, product: Product) -> Result<(), Reason> {
        let (asked, bit) = (&self.policy.switches, |index: u32| {
            report.platform_info() >> index & 1 == 1
        });
        require(
            !asked.require_alias_check || bit(5),
            Reason::PlatformAliasCheck,
        )?;
        require(
            !asked.require_ciphertext_hiding || bit(4),
            Reason::PlatformCiphertextHiding,
        )?;
        require(!asked.require_ecc || bit(2), Reason::PlatformEcc)?;
        require(!asked.require_tsme || bit(1), Reason::PlatformTsme)?;
        let minimum = self
            .policy
            .min_tcb
            .get(&product)
            .ok_or(Reason::ProductWithoutMinimum)?;
        require(report.current_tcb().reaches(minimum), Reason::TcbCurrent)?;
        require(
            report.committed_tcb().reaches(minimum),
            Reason::TcbCommitted,
        )?;
        require(report.reported_tcb().reaches(minimum), Reason::TcbReported)
    }

    /// Which software, whose machine, which statement.
    fn check_identity(&self, report: &Report, expected: &Expected<'_>) -> Result<(), Reason> {
        let policy = &self.policy;
        require(
            report.guest_svn() >= policy.switches.min_guest_svn,
            Reason::GuestSvn,
        )?;
        require(
            policy.measurements.contains(&report.measurement()),
            Reason::Measurement,
        )?;
        let listed = policy
            .host_data
            .as_ref()
            .is_none_or(|list| list.contains(&report.host_data()));
        require(listed, Reason::HostDataPolicy)?;
        require(
            report.host_data() == expected.machine.host_data,
            Reason::HostData,
        )?;
        require(
            !policy.denied_chips.contains(&report.chip_id()),
            Reason::ChipDenied,
        )?;
        require(report.chip_id() == expected.machine.chip_id, Reason::ChipId)?;
        require(
            report.report_data() == expected.report_data,
            Reason::ReportData,
        )
    }
}

/// The VCEK is for this product, this chip and this firmware level, and it signed the report.
fn check_report_against_vcek(report: &Report, vcek: &Vcek) -> Result<(), Reason> {
    // A report of version 2 names no product. Its chip id and its TCB's layout still have to agree with the VCEK's.
    require(
        report
            .product()
            .is_none_or(|product| product == Ok(vcek.product)),
        Reason::VcekProduct,
    )?;
    let chip_id = report.chip_id();
    let (own, rest) = chip_id.as_bytes().split_at(vcek.product.chip_id_bytes());
    require(
        own == vcek.hardware_id && rest.iter().all(|byte| *byte == 0),
        Reason::VcekChipId,
    )?;
    require(report.reported_tcb() == vcek.tcb, Reason::VcekTcb)?;
    require(
        report.is_signed_by(&vcek.certificate),
        Reason::ReportSignature,
    )
}

fn claims(report: &Report, checked: &CheckedVcek) -> Claims {
    Claims {
        simulated: checked.simulated,
        product: checked.vcek.product,
        report_version: report.version(),
        measurement: report.measurement(),
        host_data: report.host_data(),
        chip_id: report.chip_id(),
        current_tcb: report.current_tcb(),
        committed_tcb: report.committed_tcb(),
        reported_tcb: report.reported_tcb(),
        guest_policy: report.guest_policy,
        platform_info: report.platform_info(),
        report_data: report.report_data(),
        root: checked.root,
    }
}

fn require(holds: bool, reason: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(reason) }
}
