//! What the programs of both daemons do around the service: get ready, and stop when they are told to.

use tokio::signal::unix::{SignalKind, signal};

use crate::config::DaemonConfig;
use crate::crash::{CrashAt, CrashError, CrashPoints};
use crate::telemetry;

/// Starts the log and arms crash points, of those a daemon has.
///
/// # Errors
/// [`CrashError`] lists the points there are.
pub fn prepare(
    config: &impl DaemonConfig,
    crash_at: Vec<CrashAt>,
    known: &[&str],
) -> Result<CrashPoints, CrashError> {
    telemetry::init_logs(config.node().log_json);
    CrashPoints::new(crash_at, known)
}

/// Resolves when the process is told to stop: SIGTERM, as container engines send it, or Ctrl-C. A system that cannot tell of
/// a signal lets the daemon serve until it is killed, which loses nothing. Needs a tokio runtime.
pub async fn told_to_stop() {
    tokio::select! {
        () = one(SignalKind::terminate()) => {}
        () = one(SignalKind::interrupt()) => {}
    }
}

async fn one(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_termination_signal_is_a_request_to_stop() {
        let stop = told_to_stop();
        tokio::pin!(stop);
        let early = timeout(Duration::ZERO, &mut stop).await;
        assert!(early.is_err(), "nobody has asked yet");
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        timeout(Duration::from_secs(60), stop).await.unwrap();
    }
}
