//! A release from the request to the answer, in the one order that is safe: the nonce is spent before anything is looked at, the job
//! is booked before the log says that it has the key, and the log says so before the key is sent.

use std::sync::{Arc, PoisonError};

use consort_aggregation::Digest;
use consort_audit::{Event, Fact, Hash, LogError};
use consort_contract::{Label, OrganisationId};
use consort_daemon::record;
use consort_proto::convert::{KeyRequest, key_request_from_wire};
use consort_proto::wire::keys::v1::ReleaseRequest;
use consort_vault::release::{ReleaseTerms, SealedKey, check_public, seal};
use consort_vault::{DataKey, KeyName};
use rand_core::{OsRng, RngCore};

use crate::broker::Broker;
use crate::budget::{BookError, Booking, BudgetFault};
use crate::journal::Journal;
use crate::keys::StoredVersion;
use crate::nonces::Session;
use crate::rule::{CoarseRefusal, Judged, Refusal};

/// A release that was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotReleased {
    /// Somebody or some rule said no; the log has the reason.
    #[error("{coarse}; the broker's operator finds the reason in its log under {correlation}")]
    Refused {
        /// As much as is told.
        coarse: CoarseRefusal,
        /// Under which the log has the rest.
        correlation: String,
    },
    /// The disk failed: the process must end.
    #[error(transparent)]
    Fault(#[from] ReleaseFault),
}

/// The disk failed, and what is stored is not known any more.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseFault {
    /// The log.
    #[error("the log of releases failed: {0}")]
    Log(#[from] LogError),
    /// The budget.
    #[error(transparent)]
    Budget(#[from] BudgetFault),
    /// A thread ended without an answer.
    #[error("a release ended without an answer; look for an earlier message of this process")]
    Lost,
}

impl ReleaseFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(error) => error.code(),
            Self::Budget(fault) => fault.code(),
            Self::Lost => "release_lost",
        }
    }
}

/// A request whose every rule holds, but the budget's is still to be booked.
struct Good {
    request: KeyRequest,
    judged: Judged,
    version: StoredVersion,
}

impl Broker {
    /// Answers a request of this organisation's participant in one session. To be run to its end: what is dropped on the way has
    /// spent its nonce, and leaves no refusal in the log.
    ///
    /// # Errors
    /// [`NotReleased`].
    pub async fn release(
        self: &Arc<Self>,
        session: Session,
        request: ReleaseRequest,
    ) -> Result<SealedKey, NotReleased> {
        let asked_for = request.key_id.clone();
        match self.decide(session, request).await {
            Ok(sealed) => Ok(sealed),
            Err(Decided::Refused(refusal)) => {
                refuse(&self.journal, &self.organisation, &asked_for, &refusal).await
            }
            Err(Decided::Fault(fault)) => Err(fault.into()),
        }
    }

    async fn decide(
        self: &Arc<Self>,
        session: Session,
        request: ReleaseRequest,
    ) -> Result<SealedKey, Decided> {
        let broker = Arc::clone(self);
        let good = blocking(move || broker.check(&session, request)).await??;
        let key_id = &good.request.key_id;
        let key = self
            .keys
            .unwrap(key_id, &good.version, &self.wrapping)
            .await
            .map_err(Refusal::from)?;
        let broker = Arc::clone(self);
        blocking(move || broker.commit(&good, &key)).await?
    }

    /// Everything that is decided without the key.
    fn check(&self, session: &Session, request: ReleaseRequest) -> Result<Good, Refusal> {
        let nonce = request.nonce.as_slice().try_into();
        // Before the rest is read: what is refused is not asked twice under one nonce.
        if !nonce.is_ok_and(|nonce| self.spend(&nonce, session)) {
            return Err(Refusal::Nonce);
        }
        let request = key_request_from_wire(request)?;
        let (rule, budget) = self.rules.get(&request.key_id).ok_or(Refusal::NoKey)?;
        let versions = self.keys.versions(&request.key_id)?;
        let mut versions = versions.into_iter();
        let version = versions
            .find(|stored| stored.version == request.version)
            .ok_or(Refusal::NoKey)?;
        let judged = self
            .judge()
            .judge(&request, rule, &version, (self.clock)())?;
        let budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.covers(&booking(&request), &judged.whole_job)?;
        drop(budget);
        check_public(&request.hpke_key)?;
        Ok(Good {
            request,
            judged,
            version,
        })
    }

    /// Seals, books, logs; then it may be sent.
    fn commit(&self, good: &Good, key: &DataKey) -> Result<SealedKey, Decided> {
        let Good {
            request,
            judged,
            version,
        } = good;
        let (job, plan) = &request.contract;
        let contract = plan.contract_hash(job);
        let terms = ReleaseTerms {
            nonce: request.nonce,
            key: KeyName {
                key_id: request.key_id.clone(),
                version: version.version,
                data_set: version.data_set.clone(),
            },
            job: request.job.clone(),
            contract,
            manifest: judged.manifest,
        };
        let sealed = seal(&request.hpke_key, key, &terms).map_err(Refusal::from)?;
        let release = self.count_release();
        self.reached("before-log", release);
        self.book(request, judged)?;
        let event = Event::KeyReleased {
            organisation: record::organisation(self.organisation.as_str()),
            key: record::code(request.key_id.as_str()),
            version: version.version,
            data_set: record::text(version.data_set.as_str()),
            contract: record::hash(&contract),
            nonce: Hash(request.nonce),
            sealed_to: record::hash(&Digest::of(&request.hpke_key)),
            report: Hash(judged.report),
            simulated: judged.simulated,
        };
        let fact = Fact::of_job(record::job(&request.job), event);
        self.journal.append(fact).map_err(ReleaseFault::from)?;
        self.reached("after-log", release);
        if judged.simulated {
            tracing::warn!(job = %request.job, key = %terms.key, "a data key is released to a SIMULATED machine: dangerous_release_to_simulated");
        } else {
            tracing::info!(job = %request.job, key = %terms.key, "a data key is released");
        }
        metrics::counter!("consort_broker_releases_total", "code" => "released").increment(1);
        Ok(sealed)
    }

    fn book(&self, request: &KeyRequest, judged: &Judged) -> Result<(), Decided> {
        let (_, budget) = self.rules.get(&request.key_id).ok_or(Refusal::NoKey)?;
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        match budget.book(&booking(request), &judged.whole_job) {
            Ok(()) => Ok(()),
            Err(BookError::Refused(refused)) => Err(Refusal::from(refused).into()),
            Err(BookError::Fault(fault)) => Err(ReleaseFault::from(fault).into()),
        }
    }
}

/// The log has the reason, the participant is told where.
pub(crate) async fn refuse<T>(
    journal: &Arc<Journal>,
    organisation: &OrganisationId,
    asked_for: &str,
    refusal: &Refusal,
) -> Result<T, NotReleased> {
    let mut correlation = [0; 16];
    OsRng.fill_bytes(&mut correlation);
    let correlation = consort_contract::identity::hex(&correlation);
    let code = refusal.code();
    tracing::warn!(key = asked_for, code, %refusal, correlation, "a key is not released");
    metrics::counter!("consort_broker_releases_total", "code" => code).increment(1);
    let event = Event::KeyRefused {
        organisation: record::organisation(organisation.as_str()),
        // A name that is none says nothing.
        key: record::text(if Label::new(asked_for).is_ok() {
            asked_for
        } else {
            "no-key-id"
        }),
        code: record::code(code),
        correlation: record::code(&correlation),
    };
    let journal = Arc::clone(journal);
    let logged = blocking(move || journal.append(Fact::of_consortium(event))).await?;
    logged.map_err(ReleaseFault::from)?;
    Err(NotReleased::Refused {
        coarse: refusal.coarse(),
        correlation,
    })
}

fn booking(request: &KeyRequest) -> Booking {
    let (job, plan) = &request.contract;
    Booking::new(&request.job, &plan.contract_hash(job))
}

/// Why there is no key yet.
pub(crate) enum Decided {
    Refused(Refusal),
    Fault(ReleaseFault),
}

impl From<Refusal> for Decided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ReleaseFault> for Decided {
    fn from(fault: ReleaseFault) -> Self {
        Self::Fault(fault)
    }
}

/// Runs where it may block: evidence costs milliseconds of a core, and the log and the budget wait for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReleaseFault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ReleaseFault::Lost)
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
