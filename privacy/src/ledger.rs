//! The arithmetic of a privacy ledger: what a data set has spent for a purpose, and what may still be spent.
//!
//! A debit has three steps, and a crash between any two never under-counts: [`Ledger::authorize`] checks the cap and
//! gives the entry; the caller stores [`Entry::to_line`] durably; [`Ledger::apply`] books it and gives the [`Debit`] that
//! a release needs. An entry that was stored is spent, whether or not its round was opened; nothing is ever refunded.

use std::collections::BTreeMap;

use crate::entry::{Account, DebitKey, Entry, EntryError};
use crate::mechanism::Mechanism;
use crate::quantity::{Delta, Epsilon};
use crate::spend::{AccountError, Spend, spend};

/// The most that all releases from one account may cost together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cap {
    /// Epsilon over the life of the account.
    pub epsilon: Epsilon,
    /// Delta at which epsilon is counted.
    pub delta: Delta,
}

/// All releases from one account, and its cap.
#[derive(Clone, Debug)]
pub struct Ledger {
    account: Account,
    cap: Cap,
    entries: Vec<Entry>,
    booked: BTreeMap<DebitKey, u64>,
}

impl Ledger {
    /// An account from which nothing was released.
    pub fn new(account: Account, cap: Cap) -> Self {
        Self {
            account,
            cap,
            entries: Vec::new(),
            booked: BTreeMap::new(),
        }
    }

    /// The account with the entries that were stored for it, in order. A cap below what is spent is no error here: it
    /// refuses whatever comes next.
    ///
    /// # Errors
    /// [`LedgerError`] if an entry is missing, repeated, out of order or of another account.
    pub fn replay(
        account: Account,
        cap: Cap,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::new(account, cap);
        for entry in entries {
            if entry.account() != &ledger.account {
                return Err(LedgerError::OtherAccount {
                    sequence: entry.sequence(),
                });
            }
            if entry.sequence() != ledger.sequence() {
                return Err(LedgerError::Gap {
                    expected: ledger.sequence(),
                    found: entry.sequence(),
                });
            }
            if ledger.booked.contains_key(entry.key()) {
                return Err(LedgerError::Repeated {
                    sequence: entry.sequence(),
                });
            }
            ledger.book(entry);
        }
        Ok(ledger)
    }

    /// Checks that one more release stays within the cap, and gives the entry to store. Books nothing.
    ///
    /// # Errors
    /// [`Refused`]: the same round and attempt was debited before, the cap would be passed, or the release cannot be
    /// accounted with those before it.
    pub fn authorize(&self, key: DebitKey, next: &Mechanism) -> Result<Authorization, Refused> {
        if self.booked.contains_key(&key) {
            return Err(Refused::AlreadyDebited { key });
        }
        self.what_if(&[*next])?;
        Ok(Authorization {
            entry: Entry::new(self.account.clone(), self.sequence(), key, *next),
        })
    }

    /// Books an authorized entry that is now stored, and gives the proof that a release takes.
    ///
    /// # Errors
    /// [`Refused::Stale`] if the ledger has changed since the authorization; the stored entry still counts at the next
    /// replay.
    pub fn apply(&mut self, authorization: Authorization) -> Result<Debit, Refused> {
        let Authorization { entry } = authorization;
        if entry.account() != &self.account || entry.sequence() != self.sequence() {
            return Err(Refused::Stale {
                sequence: entry.sequence(),
            });
        }
        let debit = Debit {
            key: entry.key().clone(),
            mechanism: *entry.mechanism(),
            sequence: entry.sequence(),
        };
        self.book(entry);
        Ok(debit)
    }

    /// What the account would have spent after these releases too; checks the cap and books nothing.
    ///
    /// # Errors
    /// [`Refused`] if the cap would be passed or the releases cannot be accounted with those before them.
    pub fn what_if(&self, more: &[Mechanism]) -> Result<Spend, Refused> {
        let all: Vec<Mechanism> = self
            .entries
            .iter()
            .map(|entry| *entry.mechanism())
            .chain(more.iter().copied())
            .collect();
        let after = spend(&all, self.cap.delta)?;
        if after.enforced() > self.cap.epsilon {
            let spent = self.spent()?.enforced();
            return Err(Refused::OverCap {
                spent,
                after: after.enforced(),
                cap: self.cap.epsilon,
            });
        }
        Ok(after)
    }

    /// What the account has spent, at the delta of its cap, by all accountants over all entries.
    ///
    /// # Errors
    /// [`AccountError`] if the stored entries cannot be accounted together.
    pub fn spent(&self) -> Result<Spend, AccountError> {
        let all: Vec<Mechanism> = self
            .entries
            .iter()
            .map(|entry| *entry.mechanism())
            .collect();
        spend(&all, self.cap.delta)
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The cap.
    pub fn cap(&self) -> Cap {
        self.cap
    }

    /// The number of entries, which is the sequence number of the next.
    pub fn sequence(&self) -> u64 {
        self.entries.len() as u64
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn book(&mut self, entry: Entry) {
        self.booked.insert(entry.key().clone(), entry.sequence());
        self.entries.push(entry);
    }
}

/// An entry that fits the cap and is not booked yet: store it, then [`Ledger::apply`] it.
#[derive(Debug)]
#[must_use = "an authorization that is not stored and applied releases nothing"]
pub struct Authorization {
    entry: Entry,
}

impl Authorization {
    /// The entry to store.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// Proof that one release was paid for. Only [`Ledger::apply`] makes it, and one release consumes it.
///
/// ```compile_fail,E0451
/// # fn forge(key: consort_privacy::DebitKey, mechanism: consort_privacy::Mechanism) {
/// let debit = consort_privacy::Debit { key, mechanism, sequence: 0 };
/// # }
/// ```
/// ```
/// # fn pay(ledger: &mut consort_privacy::Ledger, key: consort_privacy::DebitKey, mechanism: consort_privacy::Mechanism)
/// # -> Result<consort_privacy::Debit, consort_privacy::Refused> {
/// let authorization = ledger.authorize(key, &mechanism)?;
/// // Store authorization.entry().to_line() durably here.
/// let debit = ledger.apply(authorization)?;
/// # Ok(debit) }
/// ```
#[derive(Debug, PartialEq)]
pub struct Debit {
    key: DebitKey,
    mechanism: Mechanism,
    sequence: u64,
}

impl Debit {
    /// What was paid for.
    pub fn key(&self) -> &DebitKey {
        &self.key
    }

    /// The release that was accounted.
    pub fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// The entry's place in the ledger.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// The ledger does not allow a release.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The same round and attempt was debited before.
    #[error("{key} was debited before: it is spent and not released again; start a new attempt")]
    AlreadyDebited {
        /// What was asked for.
        key: DebitKey,
    },
    /// The cap would be passed.
    #[error(
        "the release would bring the account from epsilon {spent} to {after}, past its cap of {cap}: plan fewer rounds or more noise, or let the data's steward raise the cap"
    )]
    OverCap {
        /// Spent so far.
        spent: Epsilon,
        /// Spent after the release.
        after: Epsilon,
        /// The cap.
        cap: Epsilon,
    },
    /// The ledger has moved on since the authorization.
    #[error(
        "entry {sequence} was authorized for another state of the ledger: ask for a new authorization"
    )]
    Stale {
        /// Sequence number of the authorization.
        sequence: u64,
    },
    /// The release cannot be accounted with those before it.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Refused {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyDebited { .. } => "privacy_already_debited",
            Self::OverCap { .. } => "privacy_over_cap",
            Self::Stale { .. } => "privacy_authorization_stale",
            Self::Account(error) => error.code(),
        }
    }
}

/// Stored entries that are no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// An entry of another account.
    #[error(
        "entry {sequence} belongs to another account: the ledger's storage is mixed up; restore it before anything is released"
    )]
    OtherAccount {
        /// Sequence number of the entry.
        sequence: u64,
    },
    /// A missing or repeated sequence number.
    #[error(
        "entry {expected} is missing, {found} was found: the ledger's storage is damaged; restore it before anything is released"
    )]
    Gap {
        /// The next number.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// Two entries for one round and attempt.
    #[error(
        "entry {sequence} repeats a round and attempt: the ledger's storage is damaged; restore it before anything is released"
    )]
    Repeated {
        /// Sequence number of the second.
        sequence: u64,
    },
    /// A line that is no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl LedgerError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherAccount { .. } => "privacy_ledger_other_account",
            Self::Gap { .. } => "privacy_ledger_gap",
            Self::Repeated { .. } => "privacy_ledger_repeated_entry",
            Self::Entry(error) => error.code(),
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
