//! `consort top`: jobs, rounds, members, attestation and epsilon in a terminal, asked of the operators' API once a second.

mod draw;
mod state;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use consort_proto::wire::job::v1 as wire;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::client::{Access, Operators};
use crate::failure::Failure;
use state::{After, View};

/// How often the coordinator is asked. Phases of a round last seconds.
const EVERY: Duration = Duration::from_secs(1);

/// How long a thread waits for a key before it looks whether anybody still wants one.
const KEY_PATIENCE: Duration = Duration::from_millis(200);

/// Keys that wait to be looked at: more than fingers press in a second.
const KEYS_WAITING: usize = 64;

/// How long an answer is waited for: keys are not read meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which coordinator to look at.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    access: Access,
}

/// Runs until `q`.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        let what = "`consort top` needs a terminal; `consort job list --json` and `consort job show --json` tell programs the same";
        return Err(Failure::usage("top_terminal", what));
    }
    let mut operators = options.access.connect().await?;
    let mut view = View::new(options.access.coordinator.clone());
    // Asked once before the screen is taken, so that a wrong token is said as any command says it.
    refresh(&mut operators, &mut view).await?;
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let ended = watch(&mut terminal, &mut operators, &mut view).await;
    ratatui::restore();
    ended
}

async fn watch(
    terminal: &mut DefaultTerminal,
    operators: &mut Operators,
    view: &mut View,
) -> Result<(), Failure> {
    let mut events = keys();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal
            .draw(|frame| draw::screen(frame, view))
            .map_err(unusable)?;
        let ask = tokio::select! {
            event = events.recv() => match event {
                Some(event) => match view.handle(&event) {
                    After::Quit => return Ok(()),
                    After::Ask => true,
                    After::Draw => false,
                },
                None => return Err(Failure::failed("top_terminal", "the terminal cannot be read any more")),
            },
            _ = ticks.tick() => true,
        };
        if ask {
            // A coordinator that restarts is waited for; what was seen last stays on the screen.
            view.problem = match tokio::time::timeout(PATIENCE, refresh(operators, view)).await {
                Ok(asked) => asked.err().map(|failure| failure.to_string()),
                Err(_) => Some("the coordinator does not answer".to_owned()),
            };
        }
    }
}

/// Asks for the jobs, and for the rounds of the chosen one.
async fn refresh(operators: &mut Operators, view: &mut View) -> Result<(), Failure> {
    let mut jobs = Vec::new();
    let mut after = view.listed_after().to_owned();
    loop {
        let request = wire::ListJobsRequest { after };
        let page = operators.jobs.list_jobs(request).await?.into_inner();
        let last = page.jobs.last().map(|job| job.id.clone());
        jobs.extend(page.jobs);
        match last.filter(|_| page.more) {
            Some(last) => after = last,
            None => break,
        }
    }
    view.listed(jobs);
    if let Some(id) = view.chosen().map(|job| job.id.clone()) {
        let request = wire::ShowJobRequest { id };
        view.shown(operators.jobs.show_job(request).await?.into_inner().job);
    }
    Ok(())
}

/// What happens at the terminal, read by a thread of its own, which ends soon after nobody listens.
fn keys() -> mpsc::Receiver<event::Event> {
    let (sender, receiver) = mpsc::channel(KEYS_WAITING);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEY_PATIENCE) {
                Ok(false) => {}
                Ok(true) => match event::read() {
                    Ok(event) => {
                        if sender.blocking_send(event).is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                },
                Err(_) => return,
            }
        }
    });
    receiver
}

fn unusable(error: std::io::Error) -> Failure {
    Failure::failed(
        "top_terminal",
        format!("the terminal cannot be used: {error}"),
    )
}
