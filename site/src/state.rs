//! What must survive a restart: the newest attempt that was answered, and the contracts that were voted on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consort_contract::JobId;
use consort_proto::bounds;
use consort_proto::wire::consent::v1 as wire;
use consort_storage::{InvalidName, RecordChange, RecordError, RecordKey, RecordStore, StoreFault};
use prost::{Message, Name};

use crate::control::CONTROLS;

/// Newest answered attempt, by job.
const ANSWERED: &str = "answered";

/// Proposals that were voted on, by job.
const PROPOSALS: &str = "proposals";

/// This organisation's votes, by job.
const VOTES: &str = "votes";

/// Approvals that were verified, by job.
const APPROVALS: &str = "approvals";

/// What convicts the coordinator, by job.
const SPLIT_VIEWS: &str = "split-views";

/// The longest log of the coordinator's that was seen.
const LOG_HEADS: &str = "log-heads";

/// Its name in that collection.
const LONGEST: &str = "longest";

/// What shows that the coordinator's log does not go on as it was, by the lengths of both.
const LOG_CONTRADICTIONS: &str = "log-contradictions";

/// Contradictions that are kept: the first ones tell the most, and a coordinator could make any number.
const MOST_CONTRADICTIONS: usize = 16;

/// How jobs ended, by job.
const CLOSED: &str = "closed";

/// Every collection of this state, for whoever looks whether any of it lies unsealed.
pub const COLLECTIONS: [&str; 9] = [
    ANSWERED,
    PROPOSALS,
    VOTES,
    APPROVALS,
    SPLIT_VIEWS,
    LOG_HEADS,
    LOG_CONTRADICTIONS,
    CLOSED,
    CONTROLS,
];

/// The state of this organisation on disk.
pub struct SiteState {
    records: Arc<dyn RecordStore>,
    answered: BTreeMap<String, (u32, u32)>,
    split: BTreeSet<String>,
    log_head: Option<String>,
}

/// A job that was voted on, as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// What was proposed.
    pub proposal: wire::Proposal,
    /// This organisation's vote.
    pub vote: wire::Vote,
    /// The votes of all, when they were verified.
    pub approval: Option<wire::Approval>,
}

impl SiteState {
    /// Reads the state back.
    ///
    /// # Errors
    /// [`StateFault`] when the disk fails or a record is not what was written.
    pub fn open(records: Arc<dyn RecordStore>) -> Result<Self, StateFault> {
        let mut answered = BTreeMap::new();
        for (key, value) in records.list(ANSWERED, "")? {
            let (round, attempt) = std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.split_once(' '))
                .and_then(|(round, attempt)| Some((round.parse().ok()?, attempt.parse().ok()?)))
                .ok_or_else(|| StateFault::Damaged(key.clone()))?;
            answered.insert(key.key().to_owned(), (round, attempt));
        }
        let split = records.list(SPLIT_VIEWS, "")?;
        let split = split.into_iter().map(|(key, _)| key.key().to_owned());
        let longest = RecordKey::new(LOG_HEADS, LONGEST).map_err(StateFault::Name)?;
        let log_head = match records.get(&longest)? {
            Some(note) => {
                Some(String::from_utf8(note).map_err(|_| StateFault::Damaged(longest.clone()))?)
            }
            None => None,
        };
        Ok(Self {
            split: split.collect(),
            records,
            answered,
            log_head,
        })
    }

    /// The checkpoint of the longest log of the coordinator's that this member has seen, in this process or an earlier one.
    pub fn log_head(&self) -> Option<&str> {
        self.log_head.as_deref()
    }

    /// Keeps a longer log's checkpoint, before anything that is bound to it is answered. The log has its name and length: a
    /// coordinator that goes back behind it is noticed from here on, after a restart too.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn keep_log_head(&mut self, checkpoint: &str) -> Result<(), StateFault> {
        let longest = RecordKey::new(LOG_HEADS, LONGEST).map_err(StateFault::Name)?;
        self.records
            .put(&longest, checkpoint.as_bytes())
            .map_err(StateFault::Record)?;
        self.log_head = Some(checkpoint.to_owned());
        Ok(())
    }

    /// Forgets the longest log that was seen: the next head that is shown is believed whatever was before it.
    ///
    /// # Security
    /// For an organisation that has agreed with the others that the coordinator's log begins anew, and for nobody else.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn forget_log_head(&mut self) -> Result<(), StateFault> {
        let key = RecordKey::new(LOG_HEADS, LONGEST).map_err(StateFault::Name)?;
        self.records
            .change(&[RecordChange::Remove { key }])
            .map_err(StateFault::Record)?;
        self.log_head = None;
        Ok(())
    }

    /// Keeps what shows that the coordinator's log of `shown` entries is not shown to go on as that of `kept`. Of two lengths the first
    /// record is kept, and no more than a few in all.
    ///
    /// # Errors
    /// [`StateFault`] when the disk failed.
    pub fn keep_log_contradiction(
        &self,
        kept: u64,
        shown: u64,
        record: &str,
    ) -> Result<(), StateFault> {
        let key = RecordKey::new(LOG_CONTRADICTIONS, format!("{kept}-{shown}"));
        let key = key.map_err(StateFault::Name)?;
        let known = self.records.list(LOG_CONTRADICTIONS, "")?;
        if known.len() >= MOST_CONTRADICTIONS || known.iter().any(|(other, _)| *other == key) {
            return Ok(());
        }
        (self.records)
            .put(&key, record.as_bytes())
            .map_err(StateFault::Record)
    }

    /// What was kept of a log that did not go on as it was, each with both lengths as its name.
    ///
    /// # Errors
    /// [`StateFault`] when the disk fails.
    pub fn log_contradictions(&self) -> Result<Vec<(String, Vec<u8>)>, StateFault> {
        let kept = self.records.list(LOG_CONTRADICTIONS, "")?.into_iter();
        Ok(kept
            .map(|(key, record)| (key.key().to_owned(), record))
            .collect())
    }

    /// The newest (round, attempt) of a job that this member answered, in this process or an earlier one.
    pub fn newest_answered(&self, job: &JobId) -> Option<(u32, u32)> {
        self.answered.get(job.as_str()).copied()
    }

    /// Notes, before it is answered, that an attempt will be.
    ///
    /// # Errors
    /// [`StateFault::NotNewer`] when this or a newer attempt was answered; [`StateFault::Record`] when the disk failed.
    pub fn answer(&mut self, job: &JobId, round: u32, attempt: u32) -> Result<(), StateFault> {
        if self
            .newest_answered(job)
            .is_some_and(|newest| (round, attempt) <= newest)
        {
            return Err(StateFault::NotNewer { round, attempt });
        }
        let text = format!("{round} {attempt}");
        self.records
            .put(&place(ANSWERED, job)?, text.as_bytes())
            .map_err(StateFault::Record)?;
        self.answered
            .insert(job.as_str().to_owned(), (round, attempt));
        Ok(())
    }

    /// Keeps what convicts the coordinator of a job, before anything follows from it. The first record of a job is kept: nothing
    /// of the job is answered after it.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn keep_split_view(&mut self, job: &JobId, record: &[u8]) -> Result<(), StateFault> {
        if !self.saw_split_view(job) {
            let key = place(SPLIT_VIEWS, job)?;
            (self.records)
                .put(&key, record)
                .map_err(StateFault::Record)?;
            self.split.insert(job.as_str().to_owned());
        }
        Ok(())
    }

    /// Whether the coordinator is convicted of two views in this job.
    pub fn saw_split_view(&self, job: &JobId) -> bool {
        self.split.contains(job.as_str())
    }

    /// What was kept of coordinators that signed two views, each with its job's name.
    ///
    /// # Errors
    /// [`StateFault`] when the disk fails.
    pub fn split_views(&self) -> Result<Vec<(String, Vec<u8>)>, StateFault> {
        let kept = self.records.list(SPLIT_VIEWS, "")?.into_iter();
        Ok(kept
            .map(|(key, record)| (key.key().to_owned(), record))
            .collect())
    }

    /// Pins what was proposed and how this organisation votes on it, before the vote is sent. One job is voted on once.
    ///
    /// # Errors
    /// [`StateFault::Record`] when another contract is pinned for the job, or the disk failed.
    pub fn pin(
        &self,
        job: &JobId,
        proposal: &wire::Proposal,
        vote: &wire::Vote,
    ) -> Result<(), StateFault> {
        let insert = |collection, value| {
            let key = place(collection, job)?;
            Ok::<_, StateFault>(RecordChange::Insert { key, value })
        };
        let changes = [
            insert(PROPOSALS, proposal.encode_to_vec())?,
            insert(VOTES, vote.encode_to_vec())?,
        ];
        self.records.change(&changes).map_err(StateFault::Record)
    }

    /// Keeps the verified votes of all members.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn approve(&self, job: &JobId, approval: &wire::Approval) -> Result<(), StateFault> {
        self.records
            .put(&place(APPROVALS, job)?, &approval.encode_to_vec())
            .map_err(StateFault::Record)
    }

    /// Notes that a job ended. Its pins stay: the name is never used for another contract.
    ///
    /// # Errors
    /// [`StateFault::Record`] when the disk failed.
    pub fn close(&self, job: &JobId, state: &str) -> Result<(), StateFault> {
        self.records
            .put(&place(CLOSED, job)?, state.as_bytes())
            .map_err(StateFault::Record)
    }

    /// A job that was voted on.
    ///
    /// # Errors
    /// [`StateFault`] when the disk failed or the records are damaged.
    pub fn job(&self, job: &JobId) -> Result<Option<StoredJob>, StateFault> {
        let Some(proposal) = self.read::<wire::Proposal>(PROPOSALS, job)? else {
            return Ok(None);
        };
        let vote = self
            .read::<wire::Vote>(VOTES, job)?
            .ok_or_else(|| StateFault::Incomplete(job.clone()))?;
        let approval = self.read::<wire::Approval>(APPROVALS, job)?;
        Ok(Some(StoredJob {
            proposal,
            vote,
            approval,
        }))
    }

    /// Jobs that were voted on and have not ended.
    ///
    /// # Errors
    /// [`StateFault`] when the disk failed or a name is damaged.
    pub fn open_jobs(&self) -> Result<Vec<JobId>, StateFault> {
        let mut jobs = Vec::new();
        for (key, _) in self.records.list(PROPOSALS, "")? {
            let job = JobId::new(key.key()).map_err(|_| StateFault::Damaged(key))?;
            if self.records.get(&place(CLOSED, &job)?)?.is_none() {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    pub(crate) fn put(
        &self,
        collection: &str,
        job: &JobId,
        value: &[u8],
    ) -> Result<(), StateFault> {
        let key = place(collection, job)?;
        self.records.put(&key, value).map_err(StateFault::Record)
    }

    pub(crate) fn get(
        &self,
        collection: &str,
        job: &JobId,
    ) -> Result<Option<(RecordKey, Vec<u8>)>, StateFault> {
        let key = place(collection, job)?;
        let bytes = self.records.get(&key)?;
        Ok(bytes.map(|bytes| (key, bytes)))
    }

    fn read<T: Message + Name + Default>(
        &self,
        collection: &str,
        job: &JobId,
    ) -> Result<Option<T>, StateFault> {
        let key = place(collection, job)?;
        let Some(bytes) = self.records.get(&key)? else {
            return Ok(None);
        };
        // Within the schema's bounds, as it was when it was stored: a damaged record decides no allocation.
        bounds::decode(&bytes)
            .map(Some)
            .map_err(|_| StateFault::Damaged(key))
    }
}

fn place(collection: &str, job: &JobId) -> Result<RecordKey, StateFault> {
    RecordKey::new(collection, job.as_str()).map_err(StateFault::Name)
}

/// The state on disk failed, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The disk failed while reading.
    #[error("the state cannot be read: {0}")]
    Store(#[from] StoreFault),
    /// A record was not stored.
    #[error("the state was not stored: {0}")]
    Record(#[source] RecordError),
    /// A record has no possible name.
    #[error("a record of the state has no possible name: {0}")]
    Name(#[source] InvalidName),
    /// A record is not what was written.
    #[error("the record {0} is damaged; restore the state file")]
    Damaged(RecordKey),
    /// The kept checkpoint is none.
    #[error(
        "the checkpoint of the coordinator's log in the state is damaged; restore the state file"
    )]
    LogHead,
    /// A proposal without its vote.
    #[error("the state of job {0} lacks this organisation's vote; restore the state file")]
    Incomplete(JobId),
    /// The attempt, or a newer one, was answered before.
    #[error("round {round} attempt {attempt} was answered before, and is never answered again")]
    NotNewer {
        /// The round.
        round: u32,
        /// The attempt.
        attempt: u32,
    },
}

impl StateFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Record(error) => error.code(),
            Self::Name(error) => error.code(),
            Self::Damaged(_) => "state_damaged",
            Self::LogHead => "state_log_head",
            Self::Incomplete(_) => "state_incomplete",
            Self::NotNewer { .. } => "state_not_newer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_storage::EmbeddedStore;

    fn job() -> JobId {
        JobId::new("job-1").unwrap()
    }

    fn opened(folder: &tempfile::TempDir) -> SiteState {
        let store = EmbeddedStore::open(folder.path().join("state.redb")).unwrap();
        SiteState::open(Arc::new(store)).unwrap()
    }

    #[test]
    fn after_a_restart_the_same_attempt_is_not_answered_again() {
        let folder = tempfile::tempdir().unwrap();
        opened(&folder).answer(&job(), 4, 2).unwrap();
        let mut state = opened(&folder);
        assert_eq!(state.newest_answered(&job()), Some((4, 2)));
        for (round, attempt) in [(4, 2), (4, 1), (3, 9)] {
            let refused = state.answer(&job(), round, attempt).unwrap_err();
            assert_eq!(refused.code(), "state_not_newer");
        }
        state.answer(&job(), 4, 3).unwrap();
        state.answer(&job(), 5, 1).unwrap();
    }

    #[test]
    fn the_longest_log_that_was_seen_and_what_contradicts_it_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = opened(&folder);
        assert_eq!(state.log_head(), None);
        state.keep_log_head("five entries").unwrap();
        state.keep_log_head("nine entries").unwrap();
        state.keep_log_contradiction(9, 5, "first").unwrap();
        state.keep_log_contradiction(9, 5, "again").unwrap();
        drop(state);
        let mut state = opened(&folder);
        assert_eq!(state.log_head(), Some("nine entries"));
        let kept = [("9-5".to_owned(), b"first".to_vec())];
        assert_eq!(state.log_contradictions().unwrap(), kept);
        for shown in 0..100 {
            state.keep_log_contradiction(9, shown, "another").unwrap();
        }
        assert_eq!(
            state.log_contradictions().unwrap().len(),
            MOST_CONTRADICTIONS
        );
        state.forget_log_head().unwrap();
        drop(state);
        assert_eq!(opened(&folder).log_head(), None);
    }

    #[test]
    fn a_job_is_pinned_once_and_a_second_contract_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let proposal = wire::Proposal {
            job: "job-1".to_owned(),
            ..wire::Proposal::default()
        };
        let vote = wire::Vote {
            approve: true,
            ..wire::Vote::default()
        };
        let state = opened(&folder);
        state.pin(&job(), &proposal, &vote).unwrap();
        state.pin(&job(), &proposal, &vote).unwrap();
        let other = wire::Vote::default();
        let refused = state.pin(&job(), &proposal, &other).unwrap_err();
        assert_eq!(refused.code(), "record_exists");
        drop(state);
        let stored = opened(&folder).job(&job()).unwrap().unwrap();
        assert_eq!(
            (stored.proposal, stored.vote, stored.approval),
            (proposal, vote, None)
        );
    }

    #[test]
    fn a_job_that_ended_is_no_open_job_and_keeps_its_pin() {
        let folder = tempfile::tempdir().unwrap();
        let state = opened(&folder);
        let (proposal, vote) = (wire::Proposal::default(), wire::Vote::default());
        state.pin(&job(), &proposal, &vote).unwrap();
        assert_eq!(state.open_jobs().unwrap(), [job()]);
        state.close(&job(), "completed").unwrap();
        assert!(state.open_jobs().unwrap().is_empty());
        assert!(state.job(&job()).unwrap().is_some());
    }
}
