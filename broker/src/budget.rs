//! What the jobs cost that a key was released for. The broker counts for itself: a participant whose state was rolled back, with
//! its ledger, gets the key for no other jobs than the budget covers.
//!
//! A job is booked whole, all its rounds, before its first release; a later release for the same job books nothing, however often
//! it is asked for: the budget limits which jobs get a key, not how often a booked one does. The
//! arithmetic is [`consort_privacy::Ledger`]; nothing is ever given back.

use std::sync::Arc;

use consort_aggregation::{Canonical, Digest};
use consort_contract::identity::hex;
use consort_contract::{JobId, Label};
use consort_privacy::{
    Account, Cap, DebitKey, Entry, EntryError, Ledger, LedgerError, Mechanism, Refused,
};
use consort_storage::{InvalidName, RecordChange, RecordError, RecordKey, RecordStore, StoreFault};

/// Where entries lie in the state file.
const COLLECTION: &str = "budget";

/// The purpose of every account: the cap holds for all purposes together.
const ALL_PURPOSES: &str = "all";

/// What was booked for one key.
pub(crate) struct Budget {
    records: Arc<dyn RecordStore>,
    key_id: Label,
    ledger: Ledger,
}

impl Budget {
    /// Reads what was booked for a key.
    pub(crate) fn open(
        records: Arc<dyn RecordStore>,
        key_id: Label,
        cap: Cap,
    ) -> Result<Self, BudgetFault> {
        let account = Account::new(key_id.as_str(), ALL_PURPOSES)?;
        let mut entries = Vec::new();
        for (place, line) in records.list(COLLECTION, &format!("{key_id}/"))? {
            let line = String::from_utf8(line).map_err(|_| BudgetFault::NotText(place))?;
            entries.push(Entry::from_line(&line)?);
        }
        Ok(Self {
            ledger: Ledger::replay(account, cap, entries)?,
            records,
            key_id,
        })
    }

    /// Whether a job is paid for, or could be.
    pub(crate) fn covers(&self, what: &Booking, whole_job: &Mechanism) -> Result<(), Refused> {
        match self.ledger.authorize(what.debit_key(), whole_job) {
            Ok(_) | Err(Refused::AlreadyDebited { .. }) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Books a job, once: checks, stores, books, in this order.
    pub(crate) fn book(&mut self, what: &Booking, whole_job: &Mechanism) -> Result<(), BookError> {
        let authorization = match self.ledger.authorize(what.debit_key(), whole_job) {
            Ok(authorization) => authorization,
            Err(Refused::AlreadyDebited { .. }) => return Ok(()),
            Err(refused) => return Err(refused.into()),
        };
        let entry = authorization.entry();
        // Padded, so that the byte order of keys is the order of the sequence numbers.
        let place = format!("{}/{:020}", self.key_id, entry.sequence());
        let key = RecordKey::new(COLLECTION, place).map_err(BudgetFault::Name)?;
        let value = entry.to_line().into_bytes();
        self.records
            .change(&[RecordChange::Insert { key, value }])
            .map_err(BudgetFault::Record)?;
        self.ledger.apply(authorization)?;
        Ok(())
    }
}

/// What is booked once: a contract under the name of one job. The same contract as another job costs again, and so does another
/// contract under the name of an earlier job.
pub(crate) struct Booking(Digest);

impl Booking {
    pub(crate) fn new(job: &JobId, contract: &Digest) -> Self {
        let hash = Canonical::new("consort/broker/booking/v1")
            .str(job.as_str())
            .bytes(contract.as_bytes())
            .hash();
        Self(hash)
    }

    /// A job is booked whole, under round 0, which no round has.
    fn debit_key(&self) -> DebitKey {
        DebitKey::new(&hex(self.0.as_bytes()), 0, 0).expect("64 hexadecimal characters are a name")
    }
}

/// A job that was not booked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// The budget says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] BudgetFault),
}

/// The budget's storage failed, or holds no budget.
#[derive(Debug, thiserror::Error)]
pub enum BudgetFault {
    /// The disk failed while reading.
    #[error("the budget cannot be read: {0}")]
    Store(#[from] StoreFault),
    /// An entry was not stored.
    #[error("an entry of the budget was not stored: {0}")]
    Record(#[source] RecordError),
    /// An entry has no possible place.
    #[error("an entry of the budget has no possible name: {0}")]
    Name(#[source] InvalidName),
    /// An entry is not text.
    #[error("the budget entry {0} is not text: restore the state file before a key is released")]
    NotText(RecordKey),
    /// An entry is malformed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The entries do not fit together.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl BudgetFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Record(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::NotText(_) => "budget_not_text",
            Self::Entry(error) => error.code(),
            Self::Ledger(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_privacy::{Delta, Epsilon, NoiseMultiplier, Relation, SamplingRate, Steps, Unit};
    use consort_storage::MemoryStore;

    fn job(name: &str) -> Booking {
        Booking::new(&JobId::new(name).unwrap(), &Digest::of(b"contract"))
    }

    fn costing(sigma: f64) -> Mechanism {
        Mechanism::new(
            NoiseMultiplier::new(sigma).unwrap(),
            SamplingRate::FULL_BATCH,
            Steps::new(1).unwrap(),
            Relation::AddRemove,
            Unit::Record,
        )
    }

    fn budget(records: &Arc<dyn RecordStore>, epsilon: f64) -> Budget {
        let cap = Cap {
            epsilon: Epsilon::new(epsilon).unwrap(),
            delta: Delta::new(1e-5).unwrap(),
        };
        Budget::open(Arc::clone(records), Label::new("k").unwrap(), cap).unwrap()
    }

    // One release of noise multiplier 10 costs epsilon 0.3 or so at delta 1e-5, a second one makes it 0.5.
    #[test]
    fn a_job_is_booked_once_and_what_was_booked_survives_a_restart() {
        let records: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
        let release = costing(10.0);
        let mut booked = budget(&records, 0.45);
        for _ in 0..3 {
            booked.book(&job("job-1"), &release).unwrap();
        }
        drop(booked);
        let mut again = budget(&records, 0.45);
        again.covers(&job("job-1"), &release).unwrap();
        again.book(&job("job-1"), &release).unwrap();
        let refused = again.covers(&job("job-2"), &release).unwrap_err();
        assert_eq!(refused.code(), "privacy_over_cap");
        assert!(again.book(&job("job-2"), &release).is_err());
        let other = Booking::new(&JobId::new("job-1").unwrap(), &Digest::of(b"other"));
        assert!(again.covers(&other, &release).is_err());
        budget(&records, 1.0)
            .covers(&job("job-2"), &release)
            .unwrap();
    }
}
