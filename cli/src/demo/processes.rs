//! The demo's daemons as processes of their own: started, watched, restarted where a crash was asked for, ended by their
//! own handles and with this program.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::failure::{Failure, at};

/// A daemon that was told to stop writes its last records well inside it; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Name of a daemon's log in its folder.
pub(crate) const LOG_FILE: &str = "log.txt";

/// A daemon to run.
#[derive(Clone)]
pub(crate) struct Daemon {
    /// `coordinator` or `participant`: the subcommand.
    pub(crate) program: &'static str,
    /// Its name in the roster.
    pub(crate) name: String,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// Where it is to kill itself, once.
    pub(crate) crash_at: Option<String>,
}

/// The processes that are running.
pub(crate) struct Processes {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    ended_sender: mpsc::UnboundedSender<Failure>,
    ended: mpsc::UnboundedReceiver<Failure>,
}

impl Processes {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (ended_sender, ended) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
            ended_sender,
            ended,
        }
    }

    /// Starts a daemon and keeps it running through the crash that was asked for.
    ///
    /// # Errors
    /// A [`Failure`] if the process cannot be started.
    pub(crate) fn start(&mut self, daemon: Daemon) -> Result<(), Failure> {
        let child = spawn(&daemon, daemon.crash_at.as_deref())?;
        let task = keep(
            daemon,
            child,
            self.stop.subscribe(),
            self.ended_sender.clone(),
        );
        self.tasks.spawn(task);
        Ok(())
    }

    /// Resolves when a daemon ended that was not to end; it names the daemon's log.
    pub(crate) async fn unexpected_end(&mut self) -> Failure {
        match self.ended.recv().await {
            Some(failure) => failure,
            // This value holds a sender, so the channel stays open.
            None => std::future::pending().await,
        }
    }

    /// Tells all to stop and waits until they did.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A daemon's process.
struct Running {
    child: Child,
    /// Never written to: when this program ends, however it ends, the daemon's input ends with it. It is kept apart from the
    /// child, since waiting for a child closes the input it holds.
    input: Option<ChildStdin>,
}

/// Owns one daemon's process. When this task is dropped the process is killed.
async fn keep(
    daemon: Daemon,
    mut running: Running,
    mut stop: watch::Receiver<bool>,
    ended: mpsc::UnboundedSender<Failure>,
) {
    let mut may_crash = daemon.crash_at.is_some();
    loop {
        let ended_by_itself = tokio::select! {
            status = running.child.wait() => Some(status),
            () = stopped(&mut stop) => None,
        };
        let Some(status) = ended_by_itself else {
            end(running).await;
            return;
        };
        if may_crash && status.as_ref().is_ok_and(was_killed) {
            may_crash = false;
            match spawn(&daemon, None) {
                Ok(again) => running = again,
                Err(failure) => {
                    // The receiver is gone only when the demo is over.
                    let _ = ended.send(failure);
                    return;
                }
            }
        } else {
            let _ = ended.send(unexpected(&daemon, status));
            return;
        }
    }
}

/// Resolves when all are told to stop. What the watch lends out must not outlive this function.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the demo is over.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn spawn(daemon: &Daemon, crash_at: Option<&str>) -> Result<Running, Failure> {
    let path = log_path(&daemon.config);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(at(&path))?;
    let errors = log.try_clone().map_err(at(&path))?;
    let program = std::env::current_exe().map_err(|error| Failure::failed("own_program", error))?;
    let mut command = Command::new(&program);
    command
        .args([daemon.program, "serve", "--until-input-ends", "--config"])
        .arg(&daemon.config);
    if let Some(point) = crash_at {
        command.args(["--dangerous-crash-at", point]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(at(&program))?;
    let input = child.stdin.take();
    Ok(Running { child, input })
}

async fn end(running: Running) {
    let Running { mut child, input } = running;
    drop(input);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait())
        .await
        .is_err()
    {
        // It has ended by itself if it cannot be killed.
        let _ = child.kill().await;
    }
}

fn was_killed(status: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    const SIGKILL: i32 = 9;
    status.signal() == Some(SIGKILL)
}

fn unexpected(daemon: &Daemon, status: std::io::Result<ExitStatus>) -> Failure {
    let path = log_path(&daemon.config);
    let how = match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let (code, said) = last_error(&path);
    let name = &daemon.name;
    let what = format!(
        "{name} ended ({how}): {said}; its log is {}",
        path.display()
    );
    Failure::failed(&code, what)
}

/// The code and text of the `error: TEXT [CODE]` that a daemon ended with, as this program prints it.
fn last_error(log: &Path) -> (String, String) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let error = text.rfind("error: ").map(|start| text[start..].trim_end());
    let parts = error.and_then(|error| {
        let (said, code) = error.strip_prefix("error: ")?.rsplit_once(" [")?;
        Some((code.strip_suffix(']')?.to_owned(), said.to_owned()))
    });
    parts.unwrap_or_else(|| ("daemon_ended".to_owned(), "it gave no reason".to_owned()))
}

fn log_path(config: &Path) -> PathBuf {
    config.with_file_name(LOG_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_reason_of_an_ended_daemon_are_read_from_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(LOG_FILE);
        std::fs::write(
            &log,
            "INFO started\nerror: 127.0.0.1:1 is in use [port_in_use]\n",
        )
        .unwrap();
        let (code, said) = last_error(&log);
        assert_eq!(
            (code.as_str(), said.as_str()),
            ("port_in_use", "127.0.0.1:1 is in use")
        );
    }

    #[test]
    fn a_daemon_that_said_nothing_has_a_code_all_the_same() {
        assert_eq!(last_error(Path::new("/no/such/log")).0, "daemon_ended");
    }
}
