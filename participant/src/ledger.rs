//! This organisation's privacy ledger on disk: every release is paid for before it leaves, across all jobs on a data set.
//!
//! The arithmetic is [`consort_privacy::Ledger`]; this file stores each entry before it is booked. A data set has one
//! account whatever the purpose, since a record's loss adds up over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_contract::{JobId, Label};
use consort_privacy::{
    Account, AccountError, Cap, Debit, DebitKey, Entry, EntryError, Epsilon, Ledger, LedgerError,
    Mechanism, Refused, Spend,
};
use consort_storage::{InvalidName, RecordChange, RecordError, RecordKey, RecordStore, StoreFault};

/// Where entries lie in the state file.
pub(crate) const COLLECTION: &str = "ledger";

/// The purpose of every account: the cap holds for all purposes together.
const ALL_PURPOSES: &str = "all";

/// The ledger of every data set of this organisation.
pub struct PrivacyLedger {
    records: Arc<dyn RecordStore>,
    cap: Cap,
    accounts: BTreeMap<String, Ledger>,
    /// Rounds that were paid for, in whatever attempt.
    spent_rounds: BTreeSet<(String, u64)>,
}

impl PrivacyLedger {
    /// Reads the ledger back.
    ///
    /// # Errors
    /// [`LedgerFault`] when the disk fails or the entries are no ledger: nothing is released then.
    pub fn open(records: Arc<dyn RecordStore>, cap: Cap) -> Result<Self, LedgerFault> {
        let mut entries = BTreeMap::<String, Vec<Entry>>::new();
        for (key, line) in records.list(COLLECTION, "")? {
            let line = String::from_utf8(line).map_err(|_| LedgerFault::NotText(key.clone()))?;
            let entry = Entry::from_line(&line)?;
            let data_set = entry.account().data_set().to_owned();
            entries.entry(data_set).or_default().push(entry);
        }
        let mut ledger = Self {
            records,
            cap,
            accounts: BTreeMap::new(),
            spent_rounds: BTreeSet::new(),
        };
        for (data_set, entries) in entries {
            for entry in &entries {
                ledger.note_round(entry.key());
            }
            let account = Account::new(&data_set, ALL_PURPOSES)?;
            ledger
                .accounts
                .insert(data_set, Ledger::replay(account, cap, entries)?);
        }
        Ok(ledger)
    }

    /// Entries of all accounts: the number that peers see rise.
    pub fn sequence(&self) -> u64 {
        self.accounts.values().map(Ledger::sequence).sum()
    }

    /// What a data set has spent, at the cap's delta.
    pub fn spent(&self, data_set: &Label) -> Epsilon {
        let spent = self.accounts.get(data_set.as_str()).map(Ledger::spent);
        // Entries that were booked were accounted when they were authorized.
        spent
            .and_then(Result::ok)
            .map_or(Epsilon::ZERO, |spend| spend.enforced())
    }

    /// The cap over the life of each data set.
    pub fn cap(&self) -> Cap {
        self.cap
    }

    /// The data sets from which something was released.
    pub fn data_sets(&self) -> BTreeSet<Label> {
        let names = self.accounts.keys();
        names.filter_map(|name| Label::new(name).ok()).collect()
    }

    /// How many releases a data set has paid for, and what they cost together by each accountant.
    ///
    /// # Errors
    /// [`AccountError`] if they cannot be accounted together.
    pub fn account(&self, data_set: &Label) -> Result<(u64, Spend), AccountError> {
        match self.accounts.get(data_set.as_str()) {
            Some(ledger) => Ok((ledger.sequence(), ledger.spent()?)),
            None => Ok((0, new_account(data_set, self.cap).spent()?)),
        }
    }

    /// What a data set would have spent after this release too. Books nothing.
    ///
    /// # Errors
    /// [`Refused`] when the cap would be passed or the release cannot be accounted.
    pub fn what_if(&self, data_set: &Label, release: &Mechanism) -> Result<Spend, Refused> {
        match self.accounts.get(data_set.as_str()) {
            Some(ledger) => ledger.what_if(&[*release]),
            None => new_account(data_set, self.cap).what_if(&[*release]),
        }
    }

    /// Whether a round was paid for in any attempt: it is spent, and nothing is released for it again.
    pub fn round_is_spent(&self, job: &JobId, round: u32) -> bool {
        self.spent_rounds
            .contains(&(job.as_str().to_owned(), round.into()))
    }

    /// Pays for one release: checks, stores, books, in this order.
    ///
    /// # Errors
    /// [`PayError::Refused`] and [`PayError::RoundSpent`] when the ledger says no, and nothing was booked;
    /// [`PayError::Fault`] when the disk failed, after which the process must end: the entry may or may not be stored.
    pub fn pay(
        &mut self,
        data_set: &Label,
        key: DebitKey,
        release: &Mechanism,
    ) -> Result<Debit, PayError> {
        let round = (key.job().to_owned(), key.round());
        let (records, cap) = (Arc::clone(&self.records), self.cap);
        let ledger = self
            .accounts
            .entry(data_set.as_str().to_owned())
            .or_insert_with(|| new_account(data_set, cap));
        let authorization = ledger.authorize(key, release)?;
        // Rule R19.
        if self.spent_rounds.contains(&round) {
            return Err(PayError::RoundSpent {
                job: round.0,
                round: round.1,
            });
        }
        let entry = authorization.entry();
        // Padded, so that the byte order of keys is the order of the sequence numbers.
        let place = format!("{data_set}/{:020}", entry.sequence());
        let key = RecordKey::new(COLLECTION, place).map_err(LedgerFault::Name)?;
        let value = entry.to_line().into_bytes();
        records
            .change(&[RecordChange::Insert { key, value }])
            .map_err(LedgerFault::Record)?;
        let debit = ledger.apply(authorization)?;
        self.spent_rounds.insert(round);
        Ok(debit)
    }

    fn note_round(&mut self, key: &DebitKey) {
        self.spent_rounds
            .insert((key.job().to_owned(), key.round()));
    }
}

fn new_account(data_set: &Label, cap: Cap) -> Ledger {
    let account = Account::new(data_set.as_str(), ALL_PURPOSES)
        .expect("a label is 1 to 64 visible ASCII characters");
    Ledger::new(account, cap)
}

/// A release that was not paid for.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// The ledger says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Another attempt at the round was paid for.
    #[error(
        "round {round} of job {job} was paid for in an earlier attempt: a submitted round is spent and not released again"
    )]
    RoundSpent {
        /// The job.
        job: String,
        /// The round.
        round: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] LedgerFault),
}

impl PayError {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::RoundSpent { .. } => "ledger_round_spent",
            Self::Fault(fault) => fault.code(),
        }
    }
}

/// The ledger's storage failed, or holds no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    /// The disk failed while reading.
    #[error("the privacy ledger cannot be read: {0}")]
    Store(#[from] StoreFault),
    /// An entry was not stored.
    #[error("an entry of the privacy ledger was not stored: {0}")]
    Record(#[source] RecordError),
    /// An entry has no possible place.
    #[error("an entry of the privacy ledger has no possible name: {0}")]
    Name(#[source] InvalidName),
    /// An entry is not text.
    #[error("the ledger entry {0} is not text: restore the state file before anything is released")]
    NotText(RecordKey),
    /// An entry is malformed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The entries do not fit together.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl LedgerFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Record(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::NotText(_) => "ledger_not_text",
            Self::Entry(error) => error.code(),
            Self::Ledger(error) => error.code(),
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
