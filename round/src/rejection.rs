//! Why a message is refused, and why an attempt ends without a sum.

use consort_aggregation::MemberIndex;

/// A message was refused; the machine stays in its phase and the others go on. The fault is the sender's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The sender is not in the announced cohort, or not in the set this phase asks.
    #[error("member {0} is not asked in this phase")]
    NotAsked(MemberIndex),
    /// The message belongs to another phase. A late answer is refused for ever.
    #[error("a {message} message is not expected while the round is {phase}")]
    WrongPhase {
        /// Kind of message.
        message: &'static str,
        /// Phase of the machine.
        phase: &'static str,
    },
    /// The signature does not hold over this attempt's context.
    #[error("the signature of member {0} does not hold in this round's context")]
    Signature(MemberIndex),
    /// The coordinator's signature does not hold.
    #[error("the coordinator's signature does not hold in this round's context")]
    CoordinatorSignature,
    /// The evidence over a member's round keys was refused.
    #[error("the evidence of member {member} for its round keys was refused: {reason}")]
    Evidence {
        /// Whose evidence.
        member: MemberIndex,
        /// Reason code of the verifier.
        reason: String,
    },
    /// A second, different message of the same kind by the same member.
    #[error("member {0} said two different things in one phase")]
    Equivocation(MemberIndex),
    /// A count, set or length is not what the terms prescribe.
    #[error("{0}")]
    Malformed(&'static str),
    /// A share does not lie on the polynomial its owner committed to.
    #[error("member {from} sent a share of member {owner} that does not match the commitments")]
    Share {
        /// Who sent it.
        from: MemberIndex,
        /// Whose secret it belongs to.
        owner: MemberIndex,
    },
    /// The terms break a rule the member enforces.
    #[error("the announced terms break a rule: {0}")]
    Terms(&'static str),
    /// The attempt is not newer than one this member answered.
    #[error("round {round} attempt {attempt} is not newer than what this member already answered")]
    Stale {
        /// The round announced.
        round: u32,
        /// The attempt announced.
        attempt: u32,
    },
    /// Too few members for the rule that protects them.
    #[error("{have} members where at least {need} are needed")]
    TooFew {
        /// Members there are.
        have: u32,
        /// Members there must be.
        need: u32,
    },
    /// Somewhere on the circle too few in a row are left: honest members might hang together no more.
    #[error("too few members are left in some row of neighbours on the circle")]
    Gap,
    /// This member has answered this phase with other content; it answers once.
    #[error("this member has already answered another {0} in this attempt, and answers once")]
    AnsweredOnce(&'static str),
    /// Bytes that are no group element, scalar or ciphertext.
    #[error("cryptographic material of member {member} is not well-formed: {what}")]
    Material {
        /// Whose material.
        member: MemberIndex,
        /// Which part.
        what: &'static str,
    },
}

impl Rejection {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAsked(_) => "round_not_asked",
            Self::WrongPhase { .. } => "round_wrong_phase",
            Self::Signature(_) => "round_signature",
            Self::CoordinatorSignature => "round_coordinator_signature",
            Self::Evidence { .. } => "round_evidence",
            Self::Equivocation(_) => "round_equivocation",
            Self::Malformed(_) => "round_malformed",
            Self::Share { .. } => "round_share",
            Self::Terms(_) => "round_terms",
            Self::Stale { .. } => "round_stale",
            Self::TooFew { .. } => "round_too_few",
            Self::Gap => "round_gap",
            Self::AnsweredOnce(_) => "round_answered_once",
            Self::Material { .. } => "round_material",
        }
    }
}

/// Why an attempt ended without a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AbortReason {
    /// Too few adverts by the deadline.
    #[error("{have} members joined by the deadline and {need} are needed")]
    TooFewJoined {
        /// Members that joined.
        have: u32,
        /// Members needed.
        need: u32,
    },
    /// Too few members shared their keys.
    #[error("{have} members shared keys by the deadline and {need} are needed")]
    TooFewShared {
        /// Members that shared.
        have: u32,
        /// Members needed.
        need: u32,
    },
    /// Too few survivors: nothing is opened.
    #[error(
        "{have} members completed their update by the deadline and {need} are needed; nothing was opened"
    )]
    TooFewSurvivors {
        /// Members that survived.
        have: u32,
        /// Members needed.
        need: u32,
    },
    /// Too few signatures on the survivor set.
    #[error(
        "{have} members confirmed the survivors by the deadline and {need} are needed; nothing was opened"
    )]
    TooFewConfirmed {
        /// Members that confirmed.
        have: u32,
        /// Members needed.
        need: u32,
    },
    /// Too few members answered the request for shares.
    #[error("{have} members sent shares by the deadline and {need} are needed")]
    TooFewUnmasked {
        /// Members that answered.
        have: u32,
        /// Members needed.
        need: u32,
    },
    /// Too many in a row of neighbours on the circle shared no keys.
    #[error(
        "too many neighbours in a row shared no keys; the sum of the others could not be opened"
    )]
    GapInShared,
    /// Too many in a row of neighbours on the circle are no survivors, or did not confirm them: nothing is opened.
    #[error("too many neighbours in a row dropped out; nothing was opened")]
    GapInSurvivors,
    /// A reconstructed secret did not match what its owner had published.
    #[error("the secret of member {0} does not match what it published")]
    BadSecret(MemberIndex),
}

impl AbortReason {
    /// Stable code for gRPC details, metrics and audit.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFewJoined { .. } => "abort_too_few_joined",
            Self::TooFewShared { .. } => "abort_too_few_shared",
            Self::TooFewSurvivors { .. } => "abort_too_few_survivors",
            Self::TooFewConfirmed { .. } => "abort_too_few_confirmed",
            Self::TooFewUnmasked { .. } => "abort_too_few_unmasked",
            Self::GapInShared => "abort_gap_in_shared",
            Self::GapInSurvivors => "abort_gap_in_survivors",
            Self::BadSecret(_) => "abort_bad_secret",
        }
    }

    /// Whether members may have submitted masked updates: then the round is spent and is not tried again.
    pub fn after_submission(&self) -> bool {
        match self {
            Self::TooFewJoined { .. } | Self::TooFewShared { .. } | Self::GapInShared => false,
            Self::TooFewSurvivors { .. }
            | Self::TooFewConfirmed { .. }
            | Self::TooFewUnmasked { .. }
            | Self::GapInSurvivors
            | Self::BadSecret(_) => true,
        }
    }
}
