//! The verifier: an ordered list of checks on evidence, cheap and structural ones first, each with a reason of its own.
//!
//! What a report says is looked at only after its signature was found good, so that a reason is always about something that
//! the machine really said. The verifier reads no clock and no network; time comes in, roots were given.
//!
//! The list is written once: [`Verifier::verify`] stops at the first check that fails, [`Verifier::explain`] goes on and tells
//! of every check what the evidence says and what was wanted.

mod chain;
mod checks;
mod claims;
mod explain;
mod said;
mod screen;
mod tdx;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::certificate::EndorsementKey;
use crate::evidence::{Evidence, Parts, REPORT_BYTES};
use crate::machine::{ChipId, HostData, MachineBinding, Measurement};
use crate::policy::{Policy, PolicyError};
use crate::reason::Reason;
use crate::snp::{self, Report};
use crate::statements::ReportData;
use crate::tdx::Collateral;
use crate::trust::{Anchor, TrustStore};
use chain::CheckedEndorsement;
use checks::Checks;

pub use checks::{Finding, Verdict};
pub use claims::{Claims, SnpClaims, TdxClaims};
pub use explain::{Explainer, Explanation, Unrefused};
pub(crate) use tdx::host_data_of;

/// Judges evidence by one policy.
pub struct Verifier {
    policy: Policy,
    anchors: Vec<TrustedAnchor>,
    /// Intel's, of the roots that the policy pins.
    collateral: Vec<Collateral>,
    /// Chains that were found good. RSA is a third of a verification's cost.
    cache: Mutex<BTreeMap<CacheKey, Arc<CheckedEndorsement>>>,
}

/// SHA-256 of a certificate, and what it was taken for.
type CacheKey = ([u8; 32], EndorsementKey);

/// What evidence is compared with, beside the policy.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The machine that the organisation was enrolled with.
    pub machine: &'a MachineBinding,
    /// The statement that the machine was asked for.
    pub report_data: ReportData,
}

/// What somebody who looks at evidence wants of it, beside the policy. What is not wanted is not judged, and the explanation
/// says so; a peer is let in by [`Expected`], which leaves nothing out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The chip.
    pub chip_id: Option<ChipId>,
    /// The launch configuration.
    pub host_data: Option<HostData>,
    /// The software, where the policy does not say.
    pub measurement: Option<Measurement>,
    /// The statement.
    pub report_data: Option<ReportData>,
}

impl From<&Expected<'_>> for Wanted {
    fn from(expected: &Expected<'_>) -> Self {
        Self {
            chip_id: Some(expected.machine.chip_id),
            host_data: Some(expected.machine.host_data),
            measurement: None,
            report_data: Some(expected.report_data),
        }
    }
}

struct TrustedAnchor {
    anchor: Anchor,
    simulated: bool,
}

impl Verifier {
    /// A verifier for a policy, with the roots that the policy pins. Roots that it does not pin are left out.
    ///
    /// # Errors
    /// [`PolicyError::RootNotGiven`] and [`PolicyError::SimulatedRootNotSpelled`].
    pub fn new(policy: Policy, store: &TrustStore) -> Result<Self, PolicyError> {
        let (roots, simulated_roots) = (policy.roots(), policy.simulated_roots());
        let given = store.root_hashes();
        for pinned in roots.union(simulated_roots) {
            if !given.contains(pinned) {
                return Err(PolicyError::RootNotGiven(hex::encode(pinned)));
            }
        }
        let mut collateral = Vec::new();
        for known in store.collateral() {
            let simulated = simulated_roots.contains(&known.root_hash);
            if !simulated && !roots.contains(&known.root_hash) {
                continue;
            }
            if known.says_simulated && !simulated {
                let root = hex::encode(known.root_hash);
                return Err(PolicyError::SimulatedRootNotSpelled(root));
            }
            collateral.push(known.clone());
        }
        let mut anchors = Vec::new();
        for anchor in store.anchors() {
            let simulated = simulated_roots.contains(&anchor.ark_hash);
            if !simulated && !roots.contains(&anchor.ark_hash) {
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
            collateral,
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
        let mut checks = Checks::deciding();
        let claims = self.judge(&mut checks, evidence, &Wanted::from(expected), now)?;
        // A decision that got here has claims: only an explanation goes on without.
        claims.ok_or(Reason::ReportSignature)
    }

    /// The list for the kind of evidence, if the policy accepts any of it. There are no claims where an explanation went on without
    /// what they are made of.
    fn judge(
        &self,
        checks: &mut Checks,
        evidence: &Evidence,
        wanted: &Wanted,
        now: SystemTime,
    ) -> Result<Option<Claims>, Reason> {
        let section =
            |section: &str| ("none accepted".to_owned(), format!("a section [{section}]"));
        match evidence.parts() {
            Parts::Snp { report, vcek_der } => {
                let accepted = self.policy.snp.accept_any();
                checks.require(accepted, Reason::EvidenceSnp, || section("snp"))?;
                self.judge_report(checks, report, vcek_der, wanted, now)
            }
            Parts::Tdx(quote) => {
                let accepted = self.policy.tdx.accept_any();
                checks.require(accepted, Reason::EvidenceTdx, || section("tdx"))?;
                self.judge_quote(checks, quote, wanted, now)
            }
        }
    }

    /// The list for SEV-SNP reports.
    fn judge_report(
        &self,
        checks: &mut Checks,
        report: &[u8; REPORT_BYTES],
        vcek_der: &[u8],
        wanted: &Wanted,
        now: SystemTime,
    ) -> Result<Option<Claims>, Reason> {
        let report = self.check_form(checks, report)?;
        let key = self.check_signing_key(checks, &report)?;
        let endorsed = match key {
            Some(key) => {
                let endorsed = self.check_endorsement(checks, vcek_der, key);
                checks.go_on(endorsed)?
            }
            None => None,
        };
        let product = endorsed.as_ref().map(|it| it.endorsement.product);
        let chip_id = match &endorsed {
            Some(endorsed) => {
                let chip_id = self.check_report_against(checks, &report, endorsed)?;
                self.check_validity(checks, endorsed, now)?;
                chip_id
            }
            None => report.chip_id(),
        };
        self.check_guest(checks, &report)?;
        self.check_platform(checks, &report)?;
        self.check_firmware(checks, &report, product)?;
        self.check_launch(checks, &report, wanted)?;
        self.check_whose(checks, &report, chip_id, wanted)?;
        Ok(endorsed
            .filter(|_| checks.first_failure().is_none())
            .map(|endorsed| Claims::of_report(&report, &endorsed, chip_id)))
    }

    /// What can be told from the report's bytes alone.
    fn check_form(&self, checks: &mut Checks, raw: &[u8; REPORT_BYTES]) -> Result<Report, Reason> {
        let version = snp::version(raw);
        let listed = &self.policy.snp.report_versions;
        checks.require(listed.contains(&version), Reason::ReportVersion, || {
            (version.to_string(), format!("one of {listed:?}"))
        })?;
        checks.parsed(Report::CHECKS, Report::parse(raw), |_| String::new())
    }

    /// A VCEK signed, or a VLEK where the policy lists a cloud provider.
    fn check_signing_key(
        &self,
        checks: &mut Checks,
        report: &Report,
    ) -> Result<Option<EndorsementKey>, Reason> {
        let key = report.signing_key();
        let vlek_allowed = !self.policy.snp.allow_vlek_csp_ids.is_empty();
        let allowed = match key {
            Some(EndorsementKey::Vcek) => true,
            Some(EndorsementKey::Vlek) => vlek_allowed,
            None => false,
        };
        checks.require(allowed, Reason::SigningKey, || {
            let says = key.map_or("nobody, or a masked VCEK".to_owned(), |key| key.to_string());
            let wanted = if vlek_allowed { "VCEK or VLEK" } else { "VCEK" };
            (says, wanted.to_owned())
        })?;
        Ok(key)
    }
}
