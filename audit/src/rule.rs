//! The rules that the entries of a log keep, and how a broken one is named.

use std::fmt;

/// A rule that entries keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The first entry, and no other, is the start.
    Start,
    /// Each restart is marked with the number of entries it found.
    Restart,
    /// Manifests come into force with versions that only rise.
    Manifest,
    /// Each entry of a job follows its one submission, and a final state is the last.
    Job,
    /// Each vote is on the contract that was submitted.
    Vote,
    /// Each member of a cohort had approved the contract when the round was opened.
    Consent,
    /// A job has one open round at a time, each newer than the last, no released one again.
    Opened,
    /// Each entry of a round is inside that attempt, by members of its cohort, phases in their order.
    Inside,
    /// Each advert follows accepted evidence of its member.
    Evidence,
    /// Each member has one acknowledged update in an attempt, after its advert.
    Update,
    /// Survivors are named once, each with an acknowledged update, and at least n_min.
    Survivors,
    /// A sum is opened after its survivors were named.
    Release,
    /// What a job has spent in a member's ledger never goes down.
    Budget,
    /// A released model follows a released round.
    Model,
    /// Each release of a data key by a broker follows accepted evidence, under a nonce of its own.
    KeyRelease,
    /// Each blame record convicts the member it names, by what that member signed in the round's context.
    Blame,
}

impl Rule {
    /// Every rule, in the order of a report.
    pub const ALL: [Self; 16] = [
        Self::Start,
        Self::Restart,
        Self::Manifest,
        Self::Job,
        Self::Vote,
        Self::Consent,
        Self::Opened,
        Self::Inside,
        Self::Evidence,
        Self::Update,
        Self::Survivors,
        Self::Release,
        Self::Budget,
        Self::Model,
        Self::KeyRelease,
        Self::Blame,
    ];

    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(self) -> &'static str {
        match self {
            Self::Start => "rule_start",
            Self::Restart => "rule_restart",
            Self::Manifest => "rule_manifest",
            Self::Job => "rule_job",
            Self::Vote => "rule_vote",
            Self::Consent => "rule_consent",
            Self::Opened => "rule_opened",
            Self::Inside => "rule_inside",
            Self::Evidence => "rule_evidence",
            Self::Update => "rule_update",
            Self::Survivors => "rule_survivors",
            Self::Release => "rule_release",
            Self::Budget => "rule_budget",
            Self::Model => "rule_model",
            Self::KeyRelease => "rule_key_release",
            Self::Blame => "rule_blame",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Start => "the log begins with its one start",
            Self::Restart => "each restart is marked with the number of entries it found",
            Self::Manifest => "manifests come into force with versions that only rise",
            Self::Job => {
                "each entry of a job follows its submission, and a final state is the last"
            }
            Self::Vote => "each vote is on the contract that was submitted",
            Self::Consent => {
                "each member of a cohort had approved the contract when the round was opened"
            }
            Self::Opened => "each round was opened alone, and is newer than the one before",
            Self::Inside => "each entry of a round is inside it, by its cohort, phases in order",
            Self::Evidence => "each advert follows accepted evidence of its member",
            Self::Update => "each acknowledged update follows an advert, one for each member",
            Self::Survivors => "survivors had acknowledged updates and were at least n_min",
            Self::Release => "each released sum follows the list of its survivors",
            Self::Budget => "what a job has spent in a member's ledger never goes down",
            Self::Model => "each released model follows a released round",
            Self::KeyRelease => {
                "each key was released after accepted evidence, under a nonce of its own"
            }
            Self::Blame => "each blame record convicts the member it names by its own signatures",
        })
    }
}

/// An entry that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} breaks the rule that {rule}: {what}")]
pub struct Broken {
    /// Which entry, from 0.
    pub index: u64,
    /// Which rule.
    pub rule: Rule,
    /// How.
    pub what: String,
}
