//! The one list of checks, with its two consumers: deciding stops at the first failure, explaining writes every check down.

use crate::reason::{Reason, Technology};
use crate::require::require;

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The evidence says what was wanted.
    Passed,
    /// It does not. The first such check is the reason of the refusal.
    Failed,
    /// Nothing was wanted: the policy, or whoever asked, does not say.
    NotJudged,
    /// An earlier failure leaves nothing to look at.
    NotReached,
}

impl Verdict {
    /// The word for tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotJudged => "not judged",
            Self::NotReached => "not reached",
        }
    }
}

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, by the reason it refuses for.
    pub check: Reason,
    /// What the evidence says.
    pub says: String,
    /// What was wanted.
    pub wanted: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// Says what the evidence says, and what was wanted. Only an explanation calls it.
pub(super) type Words = (String, String);

/// Who consumes the checks.
pub(super) struct Checks {
    /// What was found so far; nobody writes it down when the checks only decide.
    findings: Option<Vec<Finding>>,
    first_failure: Option<Reason>,
}

impl Checks {
    /// Stops at the first failure.
    pub(super) fn deciding() -> Self {
        Self {
            findings: None,
            first_failure: None,
        }
    }

    /// Goes on after a failure and writes everything down.
    pub(super) fn explaining() -> Self {
        Self {
            findings: Some(Vec::new()),
            first_failure: None,
        }
    }

    pub(super) fn is_explaining(&self) -> bool {
        self.findings.is_some()
    }

    pub(super) fn first_failure(&self) -> Option<Reason> {
        self.first_failure
    }

    /// One check.
    #[track_caller]
    pub(super) fn require(
        &mut self,
        holds: bool,
        check: Reason,
        words: impl FnOnce() -> Words,
    ) -> Result<(), Reason> {
        let held = require(holds, check);
        let verdict = match held {
            Ok(()) => Verdict::Passed,
            Err(_) => Verdict::Failed,
        };
        self.write(check, verdict, words);
        self.go_on(held).map(|_| ())
    }

    /// A check for which nothing is wanted.
    pub(super) fn not_judged(&mut self, check: Reason, words: impl FnOnce() -> Words) {
        self.write(check, Verdict::NotJudged, words);
    }

    /// What a parser found: it refuses for one of these reasons, in this order, or for none.
    pub(super) fn parsed<T>(
        &mut self,
        checks: &[Reason],
        result: Result<T, Reason>,
        says: impl Fn(&T) -> String,
    ) -> Result<T, Reason> {
        for check in checks {
            match &result {
                Ok(value) => {
                    self.write(*check, Verdict::Passed, || (says(value), String::new()));
                }
                Err(reason) if check < reason => {
                    self.write(*check, Verdict::Passed, Words::default);
                }
                Err(reason) if check == reason => {
                    self.write(*check, Verdict::Failed, || {
                        (reason.meaning().to_owned(), String::new())
                    });
                }
                Err(_) => {}
            }
        }
        if let Err(reason) = &result {
            self.first_failure.get_or_insert(*reason);
        }
        result
    }

    /// After a failure: an explanation goes on without the value, a decision ends.
    pub(super) fn go_on<T>(&mut self, result: Result<T, Reason>) -> Result<Option<T>, Reason> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(reason) => {
                self.first_failure.get_or_insert(reason);
                if self.is_explaining() {
                    Ok(None)
                } else {
                    Err(reason)
                }
            }
        }
    }

    /// Every check of this kind of evidence once, in order: those that were not written down were not reached.
    pub(super) fn into_findings(self, technology: Option<Technology>) -> Vec<Finding> {
        let mut findings = self.findings.unwrap_or_default();
        let concerns = |check: &&Reason| technology.is_none_or(|it| check.concerns(it));
        findings.retain(|finding| concerns(&&finding.check));
        for check in Reason::ALL.iter().filter(concerns) {
            if !findings.iter().any(|finding| finding.check == *check) {
                findings.push(Finding {
                    check: *check,
                    says: String::new(),
                    wanted: String::new(),
                    verdict: Verdict::NotReached,
                });
            }
        }
        findings.sort_by_key(|finding| finding.check);
        findings
    }

    fn write(&mut self, check: Reason, verdict: Verdict, words: impl FnOnce() -> Words) {
        if let Some(findings) = &mut self.findings {
            let (says, wanted) = words();
            findings.push(Finding {
                check,
                says,
                wanted,
                verdict,
            });
        }
    }
}
