//! The rules of docs/protocol.md by number, and the one form in which the code holds to them.
//!
//! A check is written `Rule::R14c.require(condition, || rejection)?` where it stands, so that document, code and tests can be
//! held against each other by a tool (`scripts/rules.py`). A rule that follows from a type instead of a condition is marked
//! `by construction: C1` where the type says so.
//!
//! # Security
//! In the crate's own unit tests a rule can be switched off, to show what an attacker would gain without it. The switch is
//! compiled under `cfg(test)` of this crate alone: it is no feature, so no other crate and no release build can have it.

use crate::rejection::Rejection;

macro_rules! rules {
    ($($rule:ident $what:literal)*) => {
        /// A rule of docs/protocol.md: R for what a member refuses, C for what the coordinator refuses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $what] $rule,)*
        }

        impl Rule {
            /// Every rule, in the order of the document.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Its number in docs/protocol.md.
            pub fn number(self) -> &'static str {
                match self {
                    $(Self::$rule => stringify!($rule),)*
                }
            }
        }
    };
}

rules! {
    R1 "P0: the coordinator's signature holds."
    R2a "P0: consortium, job, contract and votes are those the member voted for."
    R2b "P0: roster and cohort are those the member pinned."
    R2c "P0: the thresholds are those of the contract."
    R2d "P0: the vector's schema is that of the contract."
    R2e "P0: the round lies within the contract, and attempts count from 1."
    R3 "P0: the model is the one whose bytes the member holds."
    R4 "P0: (round, attempt) is newer than any the member answered."
    R5 "P0: the member is in the cohort under its own identity key."
    R6a "P2: the member's own advert is in the key list, unchanged."
    R6b "P2: every advert is signed in this context by a member of the cohort."
    R6c "P2: each member is in the key list once."
    R7 "P2: every neighbour's evidence verifies for its round keys."
    R8a "P2: all keys are distinct."
    R8b "P2: U1 has at least the fewest survivors."
    R8c "P2: the evidence of each neighbour is in the key list, and of nobody else."
    R9a "P2: 2t exceeds |U1| + c."
    R9b "P2: one key list is answered, no other."
    R10a "P4: every statement is signed in ctx2 by a member of U1."
    R10b "P4: every statement has as many commitments to each secret as shares open it."
    R10c "P4: every statement commits to the advertised mask key."
    R10d "P4: every statement names one box for each of its owner's neighbours."
    R11a "P4: every box is the one that its statement names."
    R11b "P4: both shares in a box lie on the committed polynomials."
    R12a "P4: U2 has at least the fewest survivors."
    R12b "P4: U2 has the member's own statement, unchanged."
    R12c "P4: each member of U2 has one statement."
    R12d "P4: the others in U2 are in U1 and no neighbours."
    R12e "P4: U2 leaves at least m members of every row of the circle."
    R13 "P5: the coordinator's signature over the survivor set holds."
    R14a "P5: the member is a survivor."
    R14b "P5: every survivor is in U2."
    R14c "P5: U3 has at least the fewest survivors."
    R14d "P5: U3 leaves at least m members of every row of the circle."
    R15 "P5: the member confirms one survivor set, no other."
    R16a "P6: every confirmation is signed by a survivor over exactly the sets the member confirmed."
    R16b "P6: the signers are distinct."
    R16c "P6: the signers are at least the quorum."
    R16d "P6: the signers leave at least m members of every row of the circle."
    R16e "P6: each neighbour in U3 that did not sign it has sealed against the same U2."
    R17a "P6: the member gives one kind of share for each owner."
    R17b "P6: the member answers once and forgets its secrets."
    R18 "Any: no step is skipped or gone back to."
    R19 "P4: the debit is on disk before the first byte, and a round that was paid for is not joined again."
    R20a "P0: the log head is the hash of a checkpoint under the coordinator's signature, over the log of this consortium."
    R20b "P0: that log and the longest one the member has seen are one log; the longer head is on disk before the member answers."
    C1 "P1: the advert holds as members check it (R6b, R7)."
    C2 "P1 to P6: the sender is asked in this phase and has not departed."
    C3 "P1 to P6: a member says one thing in each phase."
    C4 "P3: the boxes are those that the statement names."
    C5 "P4: the seal is signed over ctx2 and S(U2)."
    C6 "P4: the stored chunks have the schema's length and the sealed tree hash."
    C7 "P5: the survivors are exactly the members whose update is complete."
    C8 "P5: the confirmation is over exactly the announced sets."
    C9 "P6: the answer is signed over ctx2, S(U2) and H(U3)."
    C10 "P6: one self-mask share for each survivor, one mask-key share for each dropout in the neighbourhood, no others."
    C11 "P6: every share lies on its owner's committed polynomial."
    C12 "Any: a message of another phase is refused, a late one for ever."
    C13 "P1 to P6: with too few members, in all or in a row of the circle, the attempt ends, before P6 with nothing opened."
    C14 "P6: every reconstructed secret is the one its owner published."
}

impl Rule {
    /// Whether a condition of this rule holds. The form for a rule that decides what is said rather than what is refused.
    #[inline]
    pub(crate) fn holds(self, condition: bool) -> bool {
        #[cfg(test)]
        if off::contains(self) {
            return true;
        }
        condition
    }

    /// Refuses unless the condition holds.
    #[inline]
    pub(crate) fn require(
        self,
        condition: bool,
        refusal: impl FnOnce() -> Rejection,
    ) -> Result<(), Rejection> {
        if self.holds(condition) {
            Ok(())
        } else {
            Err(refusal())
        }
    }

    /// Refuses what a check refused.
    #[inline]
    pub(crate) fn require_ok<E>(
        self,
        checked: Result<(), E>,
        refusal: impl FnOnce(E) -> Rejection,
    ) -> Result<(), Rejection> {
        match checked {
            Err(error) if !self.holds(false) => Err(refusal(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The rules that the running test has switched off.
#[cfg(test)]
pub(crate) mod off {
    use super::Rule;
    use std::{cell::RefCell, collections::BTreeSet};

    std::thread_local! {
        static OFF: RefCell<BTreeSet<Rule>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn contains(rule: Rule) -> bool {
        OFF.with_borrow(|off| off.contains(&rule))
    }

    /// Runs `attack` on this thread without these rules.
    pub(crate) fn without<T>(rules: &[Rule], attack: impl FnOnce() -> T) -> T {
        struct Restore(BTreeSet<Rule>);
        impl Drop for Restore {
            fn drop(&mut self) {
                OFF.set(std::mem::take(&mut self.0));
            }
        }
        let _restore = Restore(OFF.replace(rules.iter().copied().collect()));
        attack()
    }
}
