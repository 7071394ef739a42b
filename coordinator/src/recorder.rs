//! The audit log as a projection of the events: each accepted event gives the same facts, on every replay. After a crash
//! the records that are missing are those past the number that the log has of the job. A record's time is that of its entry:
//! several threads append, and a time taken before the order is decided would seem to go back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use consort_aggregation::Digest;
use consort_attestation::Evidence;
use consort_audit::{
    AnnouncedHeads, AuditLog, Cosignature, Event, Fact, Hash, LogError, NotCosigned, NoteSigner,
    WitnessKey,
};
use consort_contract::{IdentitySecret, Roster};
use consort_daemon::record::{hash, organisation, text};
use consort_proto::convert::ShownHead;
use ed25519_dalek::SigningKey;

/// The wall clock, in milliseconds since 1970.
pub type WallClock = fn() -> u64;

/// Writes the audit log, for all jobs.
#[derive(Debug)]
pub struct Recorder {
    log: Mutex<AuditLog>,
    /// What members were told, and what they co-signed.
    heads: Mutex<AnnouncedHeads>,
    /// Records that the log had of each job when it was opened.
    found: BTreeMap<String, u64>,
    /// Whether the log began with this start.
    begins: bool,
    clock: WallClock,
}

/// The name of this program in the log.
const BUILD: &str = concat!("consort-coordinator ", env!("CARGO_PKG_VERSION"));

impl Recorder {
    /// Opens the log and marks the start, or the restart, with the dangerous choices in force.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(
        folder: &Path,
        origin: &str,
        identity: &IdentitySecret,
        dangerous: &[String],
        clock: WallClock,
    ) -> Result<Self, LogError> {
        let key = SigningKey::from_bytes(&identity.to_seed());
        let signer =
            NoteSigner::new(origin, key).map_err(|error| LogError::Checkpoint(error.into()))?;
        let mut log = AuditLog::open(folder, signer)?;
        let heads = AnnouncedHeads::open(folder, log.verifier())?;
        heads.check(&log)?;
        let size = log.size();
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for (_, record) in log.tail(usize::try_from(size).unwrap_or(usize::MAX))? {
            if let Some(job) = record.job.as_ref().filter(|_| is_projected(&record.event)) {
                *found.entry(job.to_string()).or_default() += 1;
            }
        }
        let dangerous = dangerous.iter().map(|choice| text(choice)).collect();
        let event = if size == 0 {
            Event::Started {
                build: text(BUILD),
                dangerous,
            }
        } else {
            Event::CoordinatorRestarted {
                build: text(BUILD),
                log_size: size,
                dangerous,
            }
        };
        log.append(&Fact::of_consortium(event).at(clock()))?;
        Ok(Self {
            log: Mutex::new(log),
            heads: Mutex::new(heads),
            found,
            begins: size == 0,
            clock,
        })
    }

    /// Enters every organisation of the roster when the log begins.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn enrol(&self, roster: &Roster) -> Result<(), LogError> {
        if !self.begins {
            return Ok(());
        }
        let enrolment = |(name, entry): (
            &consort_contract::OrganisationId,
            &consort_contract::RosterEntry,
        )| {
            let event = Event::Enrolment {
                organisation: organisation(name.as_str()),
                identity: hash(&entry.identity.fingerprint()),
                roster: hash(&roster.root()),
            };
            Fact::of_consortium(event)
        };
        self.append(roster.members().map(enrolment).collect())
    }

    /// Records that the log had of a job when it was opened: a replay skips as many.
    pub fn found(&self, job: &str) -> u64 {
        self.found.get(job).copied().unwrap_or_default()
    }

    /// Appends facts as records of now, under one checkpoint.
    ///
    /// # Errors
    /// [`LogError`]; the daemon must end.
    pub fn append(&self, facts: Vec<Fact>) -> Result<(), LogError> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        let records: Vec<_> = facts.into_iter().map(|fact| fact.at(now)).collect();
        log.append_all(&records).map(drop)
    }

    /// Hash of the newest signed checkpoint: what an announcement is bound to. The checkpoint is kept on disk before it is told, so that
    /// members can be shown it, also after a restart.
    ///
    /// # Errors
    /// [`LogError`]; the daemon must end.
    pub fn announce(&self) -> Result<Digest, LogError> {
        let (size, checkpoint) = {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            (log.size(), log.checkpoint().clone())
        };
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Digest::new(heads.announce(size, &checkpoint)?.0))
    }

    /// An announced checkpoint, and the proof that it and the first `kept_entries` of the log are of one log; no proof when the log has
    /// fewer. None when no such head is kept.
    pub fn prove(&self, head: &Digest, kept_entries: u64) -> Option<ShownHead> {
        let (size, checkpoint) = {
            let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
            let (size, note) = heads.find(&hash(head))?;
            (size, note.without_cosignatures().to_string())
        };
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let proof = log.proof_between(size.min(kept_entries), size.max(kept_entries));
        let proof = proof.unwrap_or_default();
        Some(ShownHead {
            checkpoint,
            proof: proof.into_iter().map(|hash| hash.0).collect(),
        })
    }

    /// Keeps a member's co-signature on an announced checkpoint.
    ///
    /// # Errors
    /// The inner [`NotCosigned`] is the member's fault; [`LogError`] ends the daemon.
    pub fn cosign(
        &self,
        head: &Digest,
        witness: &WitnessKey,
        cosignature: &Cosignature,
    ) -> Result<Result<bool, NotCosigned>, LogError> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.cosign(&hash(head), witness, cosignature)
    }
}

/// Whether a record follows from a stored event. A refusal follows from none: what is refused is not stored.
fn is_projected(event: &Event) -> bool {
    !matches!(
        event,
        Event::MemberRefused { .. } | Event::RefusalsLeftOut { .. }
    )
}

/// SHA-256 of the report in evidence; of all of it when it holds none, which is refused evidence.
pub(crate) fn report_hash(evidence: &[u8]) -> Hash {
    let report = Evidence::from_bytes(evidence).map(|evidence| Digest::of(evidence.report()));
    hash(&report.unwrap_or_else(|_| Digest::of(evidence)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use consort_daemon::record::code;

    use super::*;
    use crate::testing::secret;

    #[test]
    fn times_never_go_back_although_several_threads_append() {
        static TICKS: AtomicU64 = AtomicU64::new(1);
        let clock = || TICKS.fetch_add(1, Ordering::SeqCst);
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::open(folder.path(), "tests/audit", &secret(0), &[], clock);
        let recorder = recorder.unwrap();
        let refusal = || Event::MemberRefused {
            organisation: organisation("clinic-1"),
            code: code("for_a_test"),
        };
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..25 {
                        let facts = vec![Fact::of_consortium(refusal()); 2];
                        recorder.append(facts).unwrap();
                    }
                });
            }
        });
        drop(recorder);
        let report = consort_audit::verify(folder.path(), None).unwrap();
        assert_eq!(report.checkpoint.size, 201);
        let went_back = report.remarks.iter().find(|said| said.contains("clock"));
        assert_eq!(went_back, None);
    }
}
