//! What both `serve` commands share: crash points, and when to stop.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use consort_daemon::crash::CrashAt;
use tokio::signal::unix::{SignalKind, signal};

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

/// Resolves when the daemon is to stop: SIGTERM, Ctrl-C, or the end of input where that was asked for.
pub(crate) async fn shutdown(until_input_ends: bool) {
    let interrupted = tokio::signal::ctrl_c();
    let ended = async {
        if until_input_ends {
            input_ended().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupted => {}
        () = ended => {}
        () = terminated => {}
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
