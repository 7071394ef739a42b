//! The thread of a running job. Stores block, so a driver has a thread of its own and not a place in the runtime.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use consort_contract::thresholds::MAX_COHORT;
use consort_round::coordinator::Round;
use tokio::sync::{mpsc, oneshot};

use super::command::{Answer, Command, Reply};
use super::core::{Driver, Now};
use crate::error::{Fault, Refusal, RefusalKind};

/// Requests that may wait for one job: every member of the largest cohort twice over, so that nobody is turned away in a round.
const QUEUE: usize = 2 * MAX_COHORT as usize;

/// How long the thread sleeps when nothing is due: for ever, in practice.
const IDLE: Duration = Duration::from_secs(3600);

/// Between an acknowledgement and the crash that a test asked for right after it: long enough for loopback to carry it.
const CRASH_PAUSE: Duration = Duration::from_millis(50);

/// How the services reach a running job.
#[derive(Debug, Clone)]
pub(super) struct Handle(SyncSender<(Command, Reply)>);

impl Handle {
    /// Runs a driver until its job ends; a fault goes to `faults` and ends the daemon.
    pub(super) fn run(
        mut driver: Driver,
        clock: fn() -> Now,
        faults: mpsc::UnboundedSender<Fault>,
    ) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::spawn(move || {
            if let Err(fault) = serve(&mut driver, &receiver, clock) {
                // Nobody listens only when the daemon ends already.
                let _ = faults.send(fault);
            }
        });
        Self(sender)
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, command: Command) -> Result<Answer, Refusal> {
        let ended = || {
            Refusal::new(
                RefusalKind::NotNow,
                "job_not_running",
                "the job is not running",
            )
        };
        let (reply, answer) = oneshot::channel();
        match self.0.try_send((command, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let message = "too many requests wait for this job; try again in a second";
                return Err(Refusal::new(RefusalKind::Busy, "job_busy", message));
            }
            Err(TrySendError::Disconnected(_)) => return Err(ended()),
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Says something whose answer does not matter.
    pub(super) fn tell(&self, command: Command) {
        let (reply, _) = oneshot::channel();
        // A full queue has requests in it that bring the job forward; a job that ended needs to hear nothing.
        let _ = self.0.try_send((command, reply));
    }
}

fn serve(
    driver: &mut Driver,
    requests: &Receiver<(Command, Reply)>,
    clock: fn() -> Now,
) -> Result<(), Fault> {
    driver.advance(clock())?;
    while !driver.state().has_ended() {
        let due = driver.deadline().map_or(IDLE, |deadline| {
            Duration::from_millis(deadline.0.saturating_sub(clock().mono.0))
        });
        match requests.recv_timeout(due.min(IDLE)) {
            Ok((command, reply)) => {
                let outcome = driver.handle(command, clock())?;
                // The caller may have gone; what it said is stored.
                let _ = reply.send(outcome);
                crash_after_first_update(driver);
                driver.advance(clock())?;
            }
            Err(RecvTimeoutError::Timeout) => driver.advance(clock())?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    Ok(())
}

/// The crash point `mid-collecting`: one update is stored and acknowledged, the others are not.
fn crash_after_first_update(driver: &Driver) {
    let sealed = driver
        .state()
        .attempt
        .as_ref()
        .map_or(0, |attempt| attempt.sealed.len());
    let armed = format!(
        "dangerous_crash_at mid-collecting@{}",
        driver.round_number()
    );
    let crash = &driver.services.crash;
    if sealed == 1
        && matches!(driver.round, Some(Round::Collecting(_)))
        && crash.armed().any(|at| at == armed)
    {
        std::thread::sleep(CRASH_PAUSE);
        crash.reached("mid-collecting", driver.round_number());
    }
}
