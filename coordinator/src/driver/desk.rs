//! Where requests find their jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consort_contract::{JobDocument, JobId, OrganisationId};
use consort_proto::wire::job::v1::{Job as JobView, ListRoundsResponse};
use consort_storage::{RecordChange, RecordKey, StreamId};
use tokio::sync::mpsc;

use super::Services;
use super::board::{Instance, Link};
use super::command::{Answer, Command};
use super::core::{Driver, Now};
use super::rounds::{released_keys, released_parameters};
use super::thread::Handle;
use crate::error::{Fault, Refusal, RefusalKind};
use crate::jobs::Contract;

/// Longest idempotency key, in bytes, as the schema says.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 64;

/// All jobs of a coordinator.
pub struct Desk {
    services: Arc<Services>,
    clock: fn() -> Now,
    faults: mpsc::UnboundedSender<Fault>,
    running: Mutex<BTreeMap<JobId, Handle>>,
    /// Held while a job is submitted, so that a key makes one job.
    submitting: Mutex<u64>,
}

impl Desk {
    /// Takes up every stored job. Faults of running jobs come out of `faults`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn open(
        services: Arc<Services>,
        clock: fn() -> Now,
        faults: mpsc::UnboundedSender<Fault>,
    ) -> Result<Self, Fault> {
        let mut streams: Vec<(u64, StreamId)> = Vec::new();
        for stream in services.store.streams("job/")? {
            streams.push((number_of(&stream), stream));
        }
        streams.sort();
        let submitted = streams.last().map_or(0, |(number, _)| *number);
        let mut running = BTreeMap::new();
        for (_, stream) in streams {
            let driver = Driver::recover(services.clone(), &stream, clock())?;
            if !driver.state().has_ended() {
                running.insert(
                    driver.id().clone(),
                    Handle::run(driver, clock, faults.clone()),
                );
            }
        }
        Ok(Self {
            services,
            clock,
            faults,
            running: Mutex::new(running),
            submitting: Mutex::new(submitted),
        })
    }

    /// What drivers work with.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Proposes a job to its members. The same key with the same job gives the same job again. Blocks.
    ///
    /// # Errors
    /// The inner [`Refusal`] is the caller's fault.
    pub fn submit(
        &self,
        document: JobDocument,
        idempotency_key: &str,
    ) -> Result<Result<JobView, Refusal>, Fault> {
        if idempotency_key.len() > MAX_IDEMPOTENCY_KEY_BYTES
            || idempotency_key.chars().any(char::is_control)
        {
            let message = format!(
                "an idempotency key has at most {MAX_IDEMPOTENCY_KEY_BYTES} printable bytes"
            );
            return Ok(Err(Refusal::new(
                RefusalKind::Invalid,
                "idempotency_key",
                message,
            )));
        }
        let mut submitted = self
            .submitting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = JobId::new(&format!("job-{}", *submitted + 1))
            .expect("letters, a dash and digits are a name");
        let contract = match Contract::propose(id, document, &self.services.roster) {
            Ok(contract) => contract,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(refusal) = released_parameters(&*self.services.blobs, &contract.job)? {
            return Ok(Err(refusal));
        }
        let mut changes = Vec::new();
        if !idempotency_key.is_empty() {
            let key = RecordKey::new("submissions", idempotency_key)?;
            if let Some(stored) = self.services.store.get(&key)? {
                return Ok(self.submitted_before(&stored, &contract));
            }
            changes.push(RecordChange::Insert {
                key,
                value: answer_of(&contract),
            });
        }
        let mut driver = Driver::submit(self.services.clone(), contract, &changes, (self.clock)())?;
        *submitted += 1;
        tracing::info!(job = %driver.id(), contract = %driver.state().contract.hash, "a job is proposed to its members");
        let id = driver.id().clone();
        // Members hear of the job while nobody can ask for it yet: their votes wait for this lock.
        let mut running = self.running();
        driver.advance((self.clock)())?;
        let handle = Handle::run(driver, self.clock, self.faults.clone());
        running.insert(id.clone(), handle);
        drop(running);
        Ok(self.view(&id))
    }

    fn submitted_before(&self, stored: &[u8], contract: &Contract) -> Result<JobView, Refusal> {
        let (hash, id) = stored.split_at_checked(32).unwrap_or_default();
        let id = std::str::from_utf8(id)
            .ok()
            .and_then(|id| JobId::new(id).ok());
        match id {
            Some(id) if hash == contract.job.hash().as_bytes() => self.view(&id),
            _ => {
                let message =
                    "this idempotency key was used for another job; choose a new key for a new job";
                Err(Refusal::new(
                    RefusalKind::Conflict,
                    "idempotency_key_reused",
                    message,
                ))
            }
        }
    }

    /// A job as operators see it.
    ///
    /// # Errors
    /// [`Refusal`] when there is none of this name.
    pub fn view(&self, id: &JobId) -> Result<JobView, Refusal> {
        self.services.board.view(id).ok_or_else(|| no_job(id))
    }

    /// A page of a job's rounds behind one, with the names of all survivors.
    ///
    /// # Errors
    /// [`Refusal`] when there is no job of this name.
    pub fn rounds_after(
        &self,
        id: &JobId,
        after_round: u32,
    ) -> Result<ListRoundsResponse, Refusal> {
        let rounds = self.services.board.rounds_after(id, after_round);
        rounds.ok_or_else(|| no_job(id))
    }

    /// Asks a running job.
    ///
    /// # Errors
    /// The job's [`Refusal`], or that there is none.
    pub async fn ask(&self, id: &JobId, command: Command) -> Result<Answer, Refusal> {
        let handle = self.running().get(id).cloned();
        let Some(handle) = handle else {
            return Err(match self.services.board.view(id) {
                Some(_) => Refusal::new(
                    RefusalKind::NotNow,
                    "job_ended",
                    format!("job {id} has ended"),
                ),
                None => no_job(id),
            });
        };
        handle.ask(command).await
    }

    /// A member opened a stream: every job hears which process it is.
    pub fn connect(&self, member: &OrganisationId, instance: Instance, simulated: bool) -> Link {
        let link = self.services.board.connect(member, instance, simulated);
        for handle in self.running().values() {
            handle.tell(Command::Connected(member.clone(), instance));
        }
        link
    }

    /// The released model, or report, and manifest of a job. Blocks.
    ///
    /// # Errors
    /// The inner [`Refusal`] when nothing was released.
    pub fn released(&self, id: &JobId) -> Result<Result<ReleasedFiles, Refusal>, Fault> {
        let view = match self.view(id) {
            Ok(view) => view,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if view.model.is_empty() {
            let message = format!("job {id} has released nothing yet; watch it until it completed");
            return Ok(Err(Refusal::new(
                RefusalKind::NotNow,
                "model_not_released",
                message,
            )));
        }
        let (model, manifest) = released_keys(id)?;
        let read = |key| self.services.blobs.read(key, u64::MAX);
        Ok(Ok(ReleasedFiles {
            model: read(&model)?,
            manifest: read(&manifest)?,
        }))
    }

    /// Reports a fault that a service met.
    pub fn fail(&self, fault: Fault) {
        // Nobody listens only when the daemon ends already.
        let _ = self.faults.send(fault);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<JobId, Handle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is handed over of a completed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedFiles {
    /// The safetensors file, or the report.
    pub model: Vec<u8>,
    /// The signed manifest.
    pub manifest: Vec<u8>,
}

fn no_job(id: &JobId) -> Refusal {
    Refusal::new(
        RefusalKind::Missing,
        "job_unknown",
        format!("there is no job {id}; list the jobs to see their names"),
    )
}

/// What a retry is compared with, and what it gets: the job's hash, then its name.
fn answer_of(contract: &Contract) -> Vec<u8> {
    [
        contract.job.hash().as_bytes().as_slice(),
        contract.id.as_str().as_bytes(),
    ]
    .concat()
}

/// The number in `job/job-N`.
fn number_of(stream: &StreamId) -> u64 {
    stream
        .as_str()
        .rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or_default()
}
