//! What both `serve` commands share: crash points, and when to stop.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use consort_daemon::config::DaemonConfig;
use consort_daemon::crash::{CrashAt, CrashPoints};
use consort_daemon::program;

use crate::failure::Failure;

/// Options of a daemon.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Its configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// For tests and the demo: the daemon kills itself at this point of this round; it is logged and audited
    #[arg(long, value_name = "POINT@ROUND")]
    pub(crate) dangerous_crash_at: Vec<CrashAt>,
    /// Stop when standard input ends, so that the daemon does not outlive the program that started it
    #[arg(long)]
    pub(crate) until_input_ends: bool,
}

impl ServeOptions {
    /// Starts the log and arms the crash points.
    pub(crate) fn prepare(
        &self,
        config: &impl DaemonConfig,
        known: &[&str],
    ) -> Result<CrashPoints, Failure> {
        program::prepare(config, self.dangerous_crash_at.clone(), known)
            .map_err(|error| Failure::usage("crash_point", error))
    }

    /// Resolves when the daemon is to stop.
    pub(crate) async fn shutdown(&self) {
        shutdown(self.until_input_ends).await;
    }
}

/// Resolves when the program is to stop: SIGTERM, Ctrl-C, or the end of input where that was asked for.
pub(crate) async fn shutdown(until_input_ends: bool) {
    if until_input_ends {
        tokio::select! {
            () = program::told_to_stop() => {}
            () = input_ended() => {}
        }
    } else {
        program::told_to_stop().await;
    }
}

/// A thread of its own: a blocked read of standard input would keep the runtime from ending.
async fn input_ended() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(read) if read > 0) {}
        // The receiver is gone when the daemon stops for another reason.
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
