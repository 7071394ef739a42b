//! What can be asked of evidence before anybody knows whose machine it is: everything but that.

use std::time::{Duration, SystemTime};

use super::{Checks, Verifier, Wanted};
use crate::attester::machine_of;
use crate::evidence::Evidence;
use crate::machine::MachineBinding;
use crate::reason::{Reason, Technology};
use crate::statements::ReportData;

/// Evidence that was refused before anybody said whose it is.
#[derive(Debug)]
pub(crate) struct Screened {
    /// The first check that failed.
    pub(crate) reason: Reason,
    /// The machine that spoke, where its signature is good and the statement is the one asked for: then it is only what it says of itself
    /// that the policy does not take.
    pub(crate) machine: Option<MachineBinding>,
}

impl Verifier {
    /// All checks of [`Verifier::verify`] but whose machine it is.
    ///
    /// # Security
    /// Who passes is some machine that the policy has nothing against; nobody is let in for it.
    pub(crate) fn screen(
        &self,
        evidence: &Evidence,
        report_data: ReportData,
        now: SystemTime,
    ) -> Result<(), Screened> {
        let wanted = Wanted {
            report_data: Some(report_data),
            ..Wanted::default()
        };
        let mut checks = Checks::deciding();
        let judged = self.judge(&mut checks, evidence, &wanted, now);
        // As in `verify`: a decision that got so far has claims.
        let judged = judged.and_then(|claims| claims.ok_or(Reason::ReportSignature));
        judged.map(drop).map_err(|reason| Screened {
            machine: self.speaker(evidence, &wanted, reason, now),
            reason,
        })
    }

    /// By how much clocks may differ.
    pub(crate) fn clock_skew(&self) -> Duration {
        self.policy.trust.clock_skew
    }

    /// Whose machine evidence is from that was refused for what it says of itself. That it says so of itself is the point: the signature was
    /// found good before, and it must be about the statement asked for, or somebody shows what another machine once said.
    fn speaker(
        &self,
        evidence: &Evidence,
        wanted: &Wanted,
        reason: Reason,
        now: SystemTime,
    ) -> Option<MachineBinding> {
        let first_word = match evidence.technology() {
            Technology::Snp => Reason::Vmpl,
            Technology::Tdx => Reason::TdxTcbStatus,
        };
        if reason < first_word || reason == Reason::ReportData {
            return None;
        }
        let explained = self.explain(&evidence.to_bytes(), wanted, now);
        let stated = explained.findings.iter().any(|finding| {
            finding.check == Reason::ReportData && finding.verdict == super::Verdict::Passed
        });
        if !stated {
            return None;
        }
        machine_of(evidence).ok()
    }
}
